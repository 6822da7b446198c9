"""Rows of states: taken, replaced, put together; and states on disk."""

import io

import pytest
import torch

import tapehead
from tapehead import LSTM, MANN, NTM
from tapehead.states import concatenate_rows
from tapehead.testing import named_tensors

LAYERS = {
    "lstm": LSTM(3, 4, num_layers=2),
    "ntm": NTM(3, 4, memory_size=6, word_size=2, num_layers=2),
    "ntm_feedforward": NTM(3, 4, memory_size=6, word_size=2, controller="feedforward"),
    "mann": MANN(3, 4, memory_size=6, word_size=2),
}
every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


@torch.no_grad()
def state_after(layer, batch_size=4):
    return layer(torch.randn(5, batch_size, 3))[1]


def rows_of(state):
    """Rows of a state, each a dict of its parts of every tensor; (L, B, H) of an LSTM's and (B, ...) of all others."""
    return [
        {name: t[:, row] if name.endswith(("hidden", "cell")) else t[row] for name, t in named_tensors(state)}
        for row in range(state[0].shape[1] if isinstance(state, tapehead.LSTMState) else len(state[0]))
    ]


def assert_rows(state, expected):
    found = rows_of(state)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


@every_layer
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([3, 1], [3, 1]),
        ((2,), [2]),
        (slice(1, None), [1, 2, 3]),
        (torch.tensor([0, 0, 2]), [0, 0, 2]),
        (torch.tensor([True, False, False, True]), [0, 3]),
        ([True, False, False, True], [0, 3]),
        ([], []),
    ],
    ids=["list", "tuple", "slice", "numbers", "mask", "list of bool", "none"],
)
def test_some_rows_are_a_batch_of_their_own(layer, rows, expected):
    state = state_after(layer)
    taken = state.rows(rows)
    assert type(taken) is type(state)
    assert_rows(taken, [rows_of(state)[row] for row in expected])


@every_layer
def test_a_row_goes_on_as_in_its_batch(layer):
    state, input = state_after(layer), torch.randn(3, 4, 3)
    alone, _ = layer(input[:, [2]], state.rows([2]))
    torch.testing.assert_close(alone, layer(input, state)[0][:, [2]])


@every_layer
def test_there_is_no_such_row(layer):
    with pytest.raises(IndexError):
        state_after(layer).rows([4])


@every_layer
@pytest.mark.parametrize(
    ("rows", "kind", "message"),
    [
        (
            1,
            TypeError,
            r"\.rows: expected a slice, a sequence of numbers or a tensor, got 1\. One row is `rows",
        ),
        (None, TypeError, "expected a slice, a sequence of numbers or a tensor, got None"),
        ("12", TypeError, "expected a slice, a sequence of numbers or a tensor, got '12'"),
        (torch.tensor(1), ValueError, r"\.rows: expected rows \(K,\), one dimension, got \(\)"),
        ([[0, 1]], ValueError, r"expected rows \(K,\), one dimension, got \(1, 2\)"),
    ],
    ids=["number", "none", "text", "tensor of one", "nested"],
)
def test_what_is_no_rows(layer, rows, kind, message):
    with pytest.raises(kind, match=message):
        state_after(layer).rows(rows)


@every_layer
@pytest.mark.parametrize("others", [4, 1])
def test_replaced_rows_start_anew_and_the_rest_is_kept(layer, others):
    state, start = state_after(layer), layer.initial_state(others)
    replaced = state.replace_rows(torch.tensor([True, False, False, True]), start)
    assert type(replaced) is type(state)
    old, new = rows_of(state), rows_of(start)
    assert_rows(replaced, [new[0], old[1], old[2], new[-1]])


def test_a_gradient_reaches_the_state_that_was_chosen():
    layer = LAYERS["ntm"]
    state = layer(torch.randn(5, 2, 3))[1]
    start = layer.initial_state(1)._replace(memory=torch.zeros(1, 6, 2, requires_grad=True))
    state.replace_rows(torch.tensor([True, False]), start).memory.sum().backward()
    assert torch.equal(start.memory.grad, torch.ones(1, 6, 2))


@pytest.mark.parametrize(
    ("rows", "other", "kind", "message"),
    [
        ([True, False], None, TypeError, r"expected rows as a tensor of torch.bool, got list\."),
        (
            torch.tensor([1, 0]),
            None,
            TypeError,
            r"expected rows as a tensor of torch.bool, got a tensor of torch.int64",
        ),
        (torch.tensor([True]), None, ValueError, r"expected rows \(2,\), one for each of the state, got \(1,\)"),
        (torch.tensor([True, False]), "mann", TypeError, "expected another NTMState, got MANNState"),
        (torch.tensor([True, False]), "ntm_feedforward", ValueError, "states with LSTM controllers, or states without"),
        (torch.tensor([True, False]), 3, ValueError, "expected a state of 2 rows, or of one, got one of 3"),
        (torch.tensor([True, False]), "larger", ValueError, r"expected rows like \(2, 6, 2\), got \(2, 9, 2\)"),
        (torch.tensor([True, False]), "unbatched", ValueError, "expected a state with a batch, got one without"),
    ],
    ids=str,
)
def test_what_cannot_be_replaced(rows, other, kind, message):
    layer = LAYERS["ntm"]
    others = {
        None: lambda: layer.initial_state(2),
        3: lambda: layer.initial_state(3),
        "larger": lambda: layer.initial_state(2, memory_size=9),
        "unbatched": lambda: layer.initial_state(),
    }
    state = others[other]() if other in others else LAYERS[other].initial_state(2)
    with pytest.raises(kind, match=message):
        layer.initial_state(2).replace_rows(rows, state)


@every_layer
def test_rows_kept_one_by_one_are_a_batch_again(layer):
    state = state_after(layer)
    kept = [state.rows([row]) for row in range(4)]
    assert_rows(concatenate_rows([kept[2], kept[0], state]), [rows_of(state)[row] for row in (2, 0, 0, 1, 2, 3)])
    assert_rows(concatenate_rows(kept[row] for row in (3, 1)), [rows_of(state)[row] for row in (3, 1)])


@pytest.mark.parametrize(
    ("states", "kind", "message"),
    [
        (list, ValueError, "expected one state or more, got none"),
        (lambda: [LAYERS["ntm"].initial_state()], ValueError, "expected a state with a batch, got one without"),
        (lambda: [LAYERS[name].initial_state(1) for name in ("ntm", "mann")], TypeError, "got MANNState, NTMState"),
        (lambda: [torch.zeros(1)], TypeError, "expected states of one kind, got Tensor"),
        (
            lambda: [LAYERS["ntm"].initial_state(1, memory_size=size) for size in (6, 9)],
            ValueError,
            r"expected states of the same sizes, got \(1, 6, 2\), \(1, 9, 2\)",
        ),
    ],
    ids=["none", "no batch", "two kinds", "a tensor", "two sizes"],
)
def test_what_cannot_be_put_together(states, kind, message):
    with pytest.raises(kind, match=message):
        concatenate_rows(states())


@every_layer
@pytest.mark.parametrize("target", [torch.float64, torch.device("meta"), "meta"], ids=str)
def test_to_moves_every_tensor(layer, target):
    moved = layer.initial_state(2).to(target)
    assert type(moved) is type(layer.initial_state(2))
    for _, tensor in named_tensors(moved):
        assert tensor.dtype == target if isinstance(target, torch.dtype) else tensor.is_meta


@every_layer
def test_a_saved_state_loads_without_more_ado(layer):
    state, buffer = state_after(layer), io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer)
    assert type(loaded) is type(state)
    assert_rows(loaded, rows_of(state))


@pytest.mark.skipif(torch.__version__ < (2, 7), reason="torch 2.6 fails to export the zip of two tuples in it")
def test_an_exported_layer_is_saved_with_its_state_and_trace():
    layer, input = LAYERS["ntm"], torch.randn(5, 2, 3)

    class Traced(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, input, state):
            return self.layer.trace(input, state)

    buffer, state = io.BytesIO(), layer.initial_state(2)
    torch.export.save(torch.export.export(Traced(), (input, state)), buffer)
    buffer.seek(0)
    with torch.no_grad():
        found, expected = torch.export.load(buffer).module()(input, state), layer.trace(input, state)
    assert isinstance(found[2], tapehead.Trace)
    for (name, one), (other, two) in zip(named_tensors(found), named_tensors(expected), strict=True):
        assert name == other
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32])
@every_layer
def test_numbers_of_rows_are_of_any_integer_dtype(layer, dtype):
    state = state_after(layer, batch_size=2)
    assert_rows(state.rows(torch.tensor([1, 0], dtype=dtype)), rows_of(state)[::-1])
