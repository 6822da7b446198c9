"""Every mistake is answered in one sentence: who expected what, what came instead, and what to do."""

import re
from functools import partial

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.nested import nested_tensor
from torch.nn.utils.rnn import pack_sequence

from tapehead import LSTM, MANN, NTM, Initial, LSTMState, MANNCell, NTMCell, SequenceModel

FORM = re.compile(r"^[A-Za-z_.]+(: state)?: expected .+, got .+")
OPTIONS = {"memory_size": 5, "word_size": 2}

ntm, cell, lstm = NTM(3, 4, **OPTIONS), NTMCell(3, 4, **OPTIONS), LSTM(3, 4)
feedforward_ntm = partial(NTM, 3, 4, **OPTIONS, controller="feedforward")
feedforward = feedforward_ntm()
input = torch.zeros(6, 2, 3)
state, lstm_state = ntm.initial_state(2), lstm.initial_state(2)
jagged = partial(nested_tensor, layout=torch.jagged)
turned = ntm.initial_state(2)._replace(controller=LSTMState(torch.zeros(2, 1, 4), torch.zeros(2, 1, 4)))


class Bare(torch.nn.Module):
    """A core without parameters."""

    output_size = 3


def assert_refused(call, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    text = str(caught.value)
    assert message in text
    assert FORM.match(text), text


def table(*rows):
    """Rows of (words of the message, exception, call); the words name the test."""
    return pytest.mark.parametrize(("message", "kind", "call"), rows, ids=[row[0] for row in rows])


SIZES = ["input_size", "hidden_size", "memory_size", "word_size", "num_read_heads", "num_write_heads", "num_layers"]


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module in (NTM, NTMCell) for name in SIZES]
    + [(LSTM, name) for name in ("input_size", "hidden_size", "num_layers")],
)
@pytest.mark.parametrize("value", [0, -1, 1.0, True, "3", None], ids=repr)
def test_sizes(module, name, value):
    kind = ValueError if type(value) is int else TypeError
    sizes = {"input_size": 3, "hidden_size": 4, name: value}
    assert_refused(lambda: module(**sizes), kind, f"expected {name}")


@pytest.mark.parametrize("module", [NTM, NTMCell, MANN, MANNCell])
@pytest.mark.parametrize(
    "options", [{"memory_size": 0}, {"memory_size": "3"}, {"order": "other"}, {"initial": 3}], ids=str
)
def test_arguments_are_those_of_who_was_made(module, options):
    with pytest.raises((TypeError, ValueError), match=f"^{module.__name__}: expected "):
        module(3, 4, **options)


CHOICES = ["addressing", "order", "key_activation", "add_activation", "controller", "controller_activation", "backend"]


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("module", [NTM, NTMCell])
@pytest.mark.parametrize("value", ["other", None, ["lstm"]], ids=repr)
def test_choices(module, name, value):
    assert_refused(lambda: module(3, 4, **{name: value}), ValueError, repr(value))


@table(
    ("max_shift >= 0", ValueError, lambda: NTM(3, 4, max_shift=-1)),
    ("memory_size >= 5", ValueError, lambda: NTM(3, 4, memory_size=4, max_shift=2)),
    ("to be a tapehead.Initial, got str", TypeError, lambda: NTM(3, 4, initial="learned")),
    ("'tanh' of an LSTM controller", ValueError, lambda: NTM(3, 4, controller_activation="relu")),
    (
        "with a feed-forward controller",
        ValueError,
        lambda: feedforward_ntm(initial=Initial(controller="learned")),
    ),
    (
        "initial.weights other than 'learned' with addressing='content'",
        ValueError,
        lambda: NTM(3, 4, addressing="content", initial=Initial(weights="learned")),
    ),
    ("torch.float32 or torch.float64, got torch.float16", ValueError, lambda: NTM(3, 4, dtype=torch.float16)),
    ("torch.float32 or torch.float64, got torch.int64", ValueError, lambda: LSTM(3, 4, dtype=torch.int64)),
    ("initial to be one of 'zero', 'learned', got 'random'", ValueError, lambda: LSTM(3, 4, initial="random")),
    ("memory to be one of", ValueError, lambda: Initial(memory="first_slot")),
    ("weights to be one of", ValueError, lambda: Initial(weights="constant")),
    ("reads to be one of", ValueError, lambda: Initial(reads="zero")),
    ("controller to be one of", ValueError, lambda: Initial(controller="random")),
    ("std >= 0, got -1", ValueError, lambda: Initial(std=-1.0)),
    ("std to be finite, got nan", ValueError, lambda: Initial(std=float("nan"))),
    ("std to be finite, got inf", ValueError, lambda: Initial(memory="random", std=float("inf"))),
    ("std to be a float, got 'a'", TypeError, lambda: Initial(std="a")),
    ("constant to be a float, got 'a'", TypeError, lambda: Initial(constant="a")),
    ("constant to be finite, got -inf", ValueError, lambda: Initial(constant=-float("inf"))),
    ("gradient_limit to be a float, got 'x'", TypeError, lambda: NTM(3, 4, gradient_limit="x")),
    ("core to be a layer with an output_size, got Linear", TypeError, lambda: SequenceModel(torch.nn.Linear(3, 4), 2)),
    ("core to be a layer with an output_size, got int", TypeError, lambda: SequenceModel(3, 2)),
    ("core to have parameters, got Bare with none", TypeError, lambda: SequenceModel(Bare(), 2)),
    ("target_size >= 1, got 0", ValueError, lambda: SequenceModel(ntm, 0)),
)
def test_making(message, kind, call):
    assert_refused(call, kind, message)


def with_lengths(lengths, input=input):
    return lambda layer: layer(input, lengths=lengths)


packed = pack_sequence([input[:, 0]])


@pytest.mark.parametrize("layer", [ntm, lstm], ids=["NTM", "LSTM"])
@table(
    ("input (T, B, 3), got (6, 2, 4)", ValueError, lambda layer: layer(torch.zeros(6, 2, 4))),
    ("input (T, 3), got (6, 4)", ValueError, lambda layer: layer(torch.zeros(6, 4))),
    ("input (T, B, 3), got (3,)", ValueError, lambda layer: layer(torch.zeros(3))),
    ("input (T, B, 3), got (1, 6, 2, 3)", ValueError, lambda layer: layer(input[None])),
    ("at least one step and one row, got T=0", ValueError, lambda layer: layer(input[:0])),
    ("at least one step and one row, got T=6, B=0", ValueError, lambda layer: layer(input[:, :0])),
    ("a PackedSequence, got list", TypeError, lambda layer: layer([[0.0]])),
    ("got one of layout torch.sparse_coo. Make", TypeError, lambda layer: layer(input.to_sparse())),
    ("got a nested one. Pad it with torch.nested", TypeError, lambda layer: layer(jagged([input, input[:3]]))),
    (
        "torch.float32, the parameters' dtype, got torch.float64",
        ValueError,
        lambda layer: layer(input.double()),
    ),
    ("torch.float32, the parameters' dtype, got torch.int64", ValueError, lambda layer: layer(input.long())),
    ("input on cpu, where the parameters are, got meta", ValueError, lambda layer: layer(input.to("meta"))),
    ("the PackedSequence (steps, 3), got (6, 4)", ValueError, lambda layer: layer(pack_sequence([torch.zeros(6, 4)]))),
    (
        "no lengths with a PackedSequence",
        ValueError,
        with_lengths(torch.tensor([6]), packed),
    ),
    ("lengths to be a Tensor (2,), got list", TypeError, with_lengths([6, 6])),
    ("an integer dtype, got torch.float32", TypeError, with_lengths(torch.tensor([6.0, 6.0]))),
    ("an integer dtype, got torch.bool", TypeError, with_lengths(torch.tensor([True, True]))),
    ("lengths (2,), one a row, got (3,)", ValueError, with_lengths(torch.tensor([6, 6, 6]))),
    ("lengths (2,), one a row, got ()", ValueError, with_lengths(torch.tensor(6))),
    (
        "lengths in 0..6, the steps of the input, got 3..7",
        ValueError,
        with_lengths(torch.tensor([3, 7])),
    ),
    (
        "lengths in 0..6, the steps of the input, got -1..3",
        ValueError,
        with_lengths(torch.tensor([3, -1])),
    ),
    ("batch_size >= 1, got 0", ValueError, lambda layer: layer.initial_state(0)),
    ("batch_size to be an int, got 2.0", TypeError, lambda layer: layer.initial_state(2.0)),
)
def test_input_and_lengths(layer, message, kind, call):
    assert_refused(lambda: call(layer), kind, message)


@table(
    ("memory_size >= 1, got 0", ValueError, lambda: ntm.initial_state(2, 0)),
    ("memory_size >= 3, the offsets of max_shift=1, got 2", ValueError, lambda: ntm.initial_state(2, 2)),
    ("input (B, 3), got (2, 4)", ValueError, lambda: cell(torch.zeros(2, 4))),
    ("input (3,), got (4,)", ValueError, lambda: cell(torch.zeros(4))),
    ("input (B, 3), got (6, 2, 3)", ValueError, lambda: cell(input)),
    ("at least one row, got (0, 3)", ValueError, lambda: cell(torch.zeros(0, 3))),
    ("input to be a Tensor (B, 3), got PackedSequence", TypeError, lambda: cell(packed)),
    ("input to be a Tensor (B, 3), got list", TypeError, lambda: cell([0.0, 0.0, 0.0])),
)
def test_cell_and_memory_size(message, kind, call):
    assert_refused(call, kind, message)


def with_field(**fields):
    return lambda: ntm(input, state._replace(**fields))


@table(
    ("got LSTMState", TypeError, lambda: ntm(input, lstm_state)),
    ("got tuple", TypeError, lambda: ntm(input, tuple(state))),
    ("an LSTM controller, got the one of a feed-forward", TypeError, lambda: ntm(input, feedforward.initial_state(2))),
    ("(controller=None), got one with an LSTMState", TypeError, lambda: feedforward(input, state)),
    ("memory (2, N, 2), got (3, 5, 2)", ValueError, lambda: ntm(input, ntm.initial_state(3))),
    ("memory (2, N, 2), got (5, 2)", ValueError, lambda: ntm(input, ntm.initial_state())),
    ("memory (N, 2), got (2, 5, 2)", ValueError, lambda: ntm(input[:, 0], state)),
    ("memory (2, N, 2), got (2, 5, 3)", ValueError, with_field(memory=torch.zeros(2, 5, 3))),
    ("read_weights (2, 1, 6), got (2, 1, 5)", ValueError, with_field(memory=torch.zeros(2, 6, 2))),
    ("memory_size >= 3", ValueError, with_field(memory=torch.zeros(2, 2, 2))),
    ("read_weights (2, 1, 5), got (2, 2, 5)", ValueError, with_field(read_weights=torch.zeros(2, 2, 5))),
    ("write_weights (2, 1, 5), got (1, 1, 5)", ValueError, with_field(write_weights=torch.zeros(1, 1, 5))),
    ("reads (2, 1, 2), got (2, 2)", ValueError, with_field(reads=torch.zeros(2, 2))),
    ("reads to be a Tensor (2, 1, 2), got NoneType", TypeError, with_field(reads=None)),
    ("controller.hidden (1, 2, 4), got (2, 1, 4)", ValueError, lambda: ntm(input, turned)),
    ("memory of torch.float32", ValueError, with_field(memory=state.memory.double())),
    ("reads on cpu", ValueError, with_field(reads=state.reads.to("meta"))),
    ("got NTMState", TypeError, lambda: lstm(input, state)),
    ("got Tensor", TypeError, lambda: lstm(input, lstm_state.hidden)),
    ("hidden (1, 2, 4), got (1, 3, 4)", ValueError, lambda: lstm(input, lstm.initial_state(3))),
    ("hidden (1, 4), got (1, 2, 4)", ValueError, lambda: lstm(input[:, 0], lstm_state)),
    ("cell of torch.float32", ValueError, lambda: lstm(input, lstm_state._replace(cell=lstm_state.cell.double()))),
)
def test_state(message, kind, call):
    assert_refused(call, kind, message)


def test_batch_first_is_named_in_the_shape():
    layer = NTM(3, 4, batch_first=True)
    assert_refused(lambda: layer(torch.zeros(2, 6, 4)), ValueError, "input (B, T, 3), got (2, 6, 4)")


@pytest.mark.parametrize("layer", [NTM, MANN])
def test_lengths_without_values_are_not_looked_at(layer):
    with torch.device("meta"):
        output, _ = layer(3, 4, **OPTIONS)(torch.zeros(6, 2, 3), lengths=torch.zeros(2, dtype=torch.int64))
    assert output.is_meta
    with FakeTensorMode():
        output, _ = layer(3, 4, **OPTIONS)(torch.zeros(6, 2, 3), lengths=torch.tensor([9, 9]))
    assert output.shape[:2] == (6, 2)


@pytest.mark.cuda
def test_lengths_are_not_looked_at_while_a_cuda_graph_records():
    layer, lengths = NTM(3, 4, **OPTIONS).cuda(), torch.tensor([6, 2], device="cuda")
    given = input.cuda()
    with torch.no_grad():
        expected, _ = layer(given, lengths=lengths)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output, _ = layer(given, lengths=lengths)
        graph.replay()
    assert torch.allclose(output, expected)


@pytest.mark.parametrize("module", [NTM, MANN, LSTM])
def test_batch_first_is_true_or_false(module):
    assert_refused(lambda: module(3, 4, batch_first="yes"), TypeError, "expected batch_first to be True or False")


@pytest.mark.parametrize("kind", [NTMCell, MANNCell])
def test_a_model_of_a_cell_is_refused(kind):
    assert_refused(
        lambda: SequenceModel(kind(3, 4), 2)(torch.zeros(2, 1, 3)), TypeError, "expected a core that runs a sequence"
    )


class Unresettable(torch.nn.Module):
    """A core with a parameter that it cannot draw anew."""

    output_size = 3

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))


def test_a_part_that_cannot_be_reset_is_not_passed_over():
    model = SequenceModel(Unresettable(), 2)
    assert_refused(
        model.reset_parameters, TypeError, "expected Unresettable, which has parameters of its own, to have a"
    )


@pytest.mark.parametrize("kind", [NTM, MANN])
def test_a_layer_tells_its_sizes(kind):
    layer = kind(3, 4, memory_size=6, word_size=2, num_layers=2)
    assert (layer.input_size, layer.hidden_size, layer.num_layers) == (3, 4, 2)
    assert (layer.memory_size, layer.word_size) == (6, 2)


@pytest.mark.parametrize("module", [ntm, cell, lstm], ids=["NTM", "NTMCell", "LSTM"])
def test_a_symbolic_trace_is_refused_in_words(module):
    assert_refused(lambda: torch.fx.symbolic_trace(module), TypeError, "got Proxy")
