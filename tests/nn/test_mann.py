"""The MANN through its public face: trace, gradients, what the access does in its limits, and what it refuses."""

import pytest
import torch
from torch.func import functional_call

from tapehead import MANN, LSTMState, MANNCell, MANNState
from tapehead.testing import named_tensors
from tests.cases import Case, by_name, make_input
from tests.mann_cases import MANN_CASES, MANN_INITIALS, make_mann, random_mann_state
from tests.nn.layers import assert_same
from tests.nn.test_errors import assert_refused, table
from tests.nn.test_gradients import every_backend, leaves_and_template

every_case = pytest.mark.parametrize("case", **by_name(MANN_CASES))


@every_case
@every_backend
def test_trace_agrees_with_forward(case: Case, backend: str):
    layer, input = make_mann(case, backend=backend), make_input(case)
    state = random_mann_state(layer, case.rows)
    output, new_state, trace = layer.trace(input, state)
    assert_same((output, new_state), layer(input, state))
    assert_same(trace.reads.flatten(2), output[..., layer.cell.hidden_size :])
    assert_same((trace.memory[-1], trace.read.weights[-1], trace.usage[-1], trace.reads[-1]), tuple(new_state[:4]))


@every_case
@every_backend
def test_shapes_are_those_of_the_docs(case: Case, backend: str):
    layer = make_mann(case, backend=backend)
    heads, words = layer.cell.settings.num_read_heads, layer.cell.settings.word_size
    time, slots = (case.steps, case.rows), layer.memory_size
    _, _, trace = layer.trace(make_input(case))
    tails = {
        "read.key": (heads, words), "read.key_strength": (heads,), "read.content_weights": (heads, slots),
        "read.weights": (heads, slots), "write.write_gate": (heads,), "write.least_used_weights": (heads, slots),
        "write.weights": (heads, slots), "add": (heads, words), "usage": (slots,), "reads": (heads, words),
        "memory": (slots, words),
    }  # fmt: skip
    found = {name: tuple(tensor.shape) for name, tensor in named_tensors(trace)}
    assert found == {name: (*time, *tail) for name, tail in tails.items()}


@every_case
@every_backend
def test_values_are_in_their_ranges(case: Case, backend: str):
    layer = make_mann(case, backend=backend)
    settings = layer.cell.settings
    _, _, trace = layer.trace(make_input(case), random_mann_state(layer, case.rows))
    assert (trace.read.key_strength >= 0).all()
    assert ((trace.read.weights.sum(-1) - 1).abs() < 1e-14).all()
    gate, unused = trace.write.write_gate, trace.write.least_used_weights
    assert ((gate >= 0) & (gate <= 1)).all()
    assert ((unused == 0) | (unused == 1)).all()
    counted = settings.num_read_heads if settings.least_used == "all" else 1
    assert (unused.sum(-1) == counted).all()
    assert ((trace.write.weights.sum(-1) - gate - (1 - gate) * counted).abs() < 1e-14).all()
    if settings.least_used == "each":
        assert (unused.sum(2) <= 1).all()
    else:
        assert (unused == unused[:, :, :1]).all()
    if settings.write == "key":
        assert torch.equal(trace.add, trace.read.key)


def outspoken(gate: float, **options) -> MANN:
    """A MANN that always sets its write gates to `gate`, 0 or 1, and writes with one head."""
    layer = make_mann(Case("", {"num_read_heads": 1, "memory_size": 5, **options}))
    with torch.no_grad():
        row = layer.cell.settings.word_size + 1
        layer.cell.heads.weight[row] = 0
        layer.cell.heads.bias[row] = 1000.0 if gate else -1000.0
    return layer


@pytest.mark.parametrize("usage_decay", [0.5, 0.95, 1.0])
@every_backend
def test_gate_0_fills_one_slot_after_the_other_and_then_the_least_used(usage_decay: float, backend: str):
    layer = outspoken(0, backend=backend, usage_decay=usage_decay, initial=MANN_INITIALS["zero_memory"])
    with torch.no_grad():
        layer.cell.heads.bias[layer.cell.settings.word_size] = -1000.0  # key strength 0: all slots are read alike
    _, _, trace = layer.trace(torch.randn(7, 1, 3, dtype=torch.float64))
    written = trace.write.weights[:, 0, 0].argmax(-1).tolist()
    assert written == [0, 1, 2, 3, 4, 0, 1]
    for time, slot in enumerate(written):
        assert torch.equal(trace.memory[time, 0, slot], trace.add[time, 0, 0])  # cleared first, so nothing of before


@every_backend
def test_gate_1_writes_where_it_read(backend: str):
    layer = outspoken(1, backend=backend)
    state = random_mann_state(layer, 2)
    _, _, trace = layer.trace(torch.randn(4, 2, 3, dtype=torch.float64), state)
    before = torch.cat([state.read_weights.unsqueeze(0), trace.read.weights[:-1]])
    assert torch.equal(trace.write.weights, before)


@pytest.mark.parametrize("lengths", [None, torch.tensor([5, 0, 2])], ids=["full", "ragged"])
@every_backend
def test_usage_has_no_gradient_and_gives_none(lengths: torch.Tensor | None, backend: str):
    layer, input = make_mann(MANN_CASES[0], backend=backend), make_input(MANN_CASES[0])
    state = random_mann_state(layer, 3)
    state = state._replace(usage=state.usage.requires_grad_())
    output, new_state, trace = layer.trace(input, state, lengths)
    assert not new_state.usage.requires_grad
    assert not trace.usage.requires_grad
    assert not trace.write.least_used_weights.requires_grad
    assert torch.autograd.grad(output.sum(), state.usage, allow_unused=True) == (None,)


SMALL = {"memory_size": 4, "word_size": 2}
GRADIENT_CASES = [
    Case(name, {**SMALL, **options}, steps=3, rows=2)
    for name, options in {
        "plain": {},
        "each": {"least_used": "each", "controller": "feedforward"},
        "paper": {"write": "key", "least_used": "all", "key_strength": "one"},
        "relu": {"controller": "feedforward", "controller_activation": "relu"},
        "read_write": {"order": "read_write", "num_layers": 2},
        "linear": {"key_activation": "linear", "add_activation": "linear"},
    }.items()
]


@pytest.mark.parametrize("case", **by_name(GRADIENT_CASES))
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@every_backend
def test_gradients_against_finite_differences(case: Case, ragged: bool, backend: str):
    layer, lengths = make_mann(case, backend=backend), torch.tensor([3, 1]) if ragged else None
    names = [name for name, _ in layer.named_parameters()]
    parameters = [parameter.detach().requires_grad_() for parameter in layer.parameters()]
    given = random_mann_state(layer, case.rows)
    leaves, fill = leaves_and_template(given._replace(usage=None))

    def run(input, *tensors):
        named = dict(zip(names, tensors[: len(names)], strict=True))
        state = fill(tensors[len(names) :])._replace(usage=given.usage)
        output, new_state = functional_call(layer, named, (input, state, lengths))
        return tuple(tensor for _, tensor in named_tensors((output, new_state._replace(usage=None))))

    assert torch.autograd.gradcheck(run, (make_input(case).requires_grad_(), *parameters, *leaves), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every_backend
def test_zero_memory_has_finite_gradients_everywhere(dtype: torch.dtype, backend: str):
    case = MANN_CASES[0]
    layer = make_mann(case, dtype, initial=MANN_INITIALS["zero_memory"], backend=backend)
    input = make_input(case, dtype)
    total = sum(tensor.square().sum() for _, tensor in named_tensors(layer(input.requires_grad_())))
    for gradient in torch.autograd.grad(total, [input, *layer.parameters()], materialize_grads=True):
        assert gradient.isfinite().all()


layer, cell = MANN(3, 4, **SMALL, num_read_heads=2), MANNCell(3, 4, **SMALL, num_read_heads=2)
input, state = torch.zeros(6, 2, 3), layer.initial_state(2)


@pytest.mark.parametrize(
    "name", ["input_size", "hidden_size", "memory_size", "word_size", "num_read_heads", "num_layers"]
)
@pytest.mark.parametrize("module", [MANN, MANNCell])
@pytest.mark.parametrize("value", [0, True, 1.5], ids=repr)
def test_sizes(module, name, value):
    kind = ValueError if type(value) is int else TypeError
    assert_refused(lambda: module(**{"input_size": 3, "hidden_size": 4, name: value}), kind, f"expected {name}")


CHOICES = ["write", "least_used", "order", "key_strength", "key_activation", "add_activation"]
CHOICES += ["controller", "controller_activation", "backend"]


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["other", None], ids=repr)
def test_choices(name, value):
    assert_refused(lambda: MANN(3, 4, **{name: value}), ValueError, repr(value))


def with_field(**fields):
    return lambda: layer(input, state._replace(**fields))


@table(
    ("usage_decay in 0..1, got 1.5", ValueError, lambda: MANN(3, 4, usage_decay=1.5)),
    ("usage_decay to be finite, got nan", ValueError, lambda: MANN(3, 4, usage_decay=float("nan"))),
    ("usage_decay to be a float, got '1'", TypeError, lambda: MANN(3, 4, usage_decay="1")),
    ("memory_size >= 4, the slots that least_used='each'", ValueError,
     lambda: MANN(3, 4, memory_size=3, least_used="each")),
    ("to be a tapehead.Initial, got str", TypeError, lambda: MANN(3, 4, initial="learned")),
    ("memory_size=128, got 64", ValueError,
     lambda: MANN(3, 4, initial=MANN_INITIALS["all_learned"]).initial_state(1, 64)),
    ("input (T, B, 3), got (6, 2, 4)", ValueError, lambda: layer(torch.zeros(6, 2, 4))),
    ("input (B, 3), got (2, 4)", ValueError, lambda: cell(torch.zeros(2, 4))),
    ("at least one row, got (0, 3)", ValueError, lambda: cell(torch.zeros(0, 3))),
    ("a MANNState, got LSTMState", TypeError,
     lambda: layer(input, LSTMState(*torch.zeros(2, 1, 2, 4)))),
    ("got the one of a feed-forward controller", TypeError, with_field(controller=None)),
    ("memory (2, N, 2), got (2, 4, 3)", ValueError, with_field(memory=torch.zeros(2, 4, 3))),
    ("read_weights (2, 2, 4), got (2, 1, 4)", ValueError, with_field(read_weights=torch.zeros(2, 1, 4))),
    ("usage (2, 4), got (2, 5)", ValueError, with_field(usage=torch.zeros(2, 5))),
    ("reads (2, 2, 2), got (2, 1, 2)", ValueError, with_field(reads=torch.zeros(2, 1, 2))),
)  # fmt: skip
def test_refusals(message, kind, call):
    assert_refused(call, kind, message)


def test_a_state_decides_the_memory_size():
    larger = layer.initial_state(2, memory_size=9)
    assert isinstance(larger, MANNState)
    output, new_state = layer(input, larger)
    assert new_state.memory.shape == (2, 9, 2)
    assert new_state.usage.shape == (2, 9)
    assert output.shape == (6, 2, layer.output_size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_decay_too_small_to_be_normal_is_0(dtype):
    small, none = (MANN(3, 4, memory_size=5, word_size=2, usage_decay=decay, dtype=dtype) for decay in (1e-310, 0.0))
    none.load_state_dict(small.state_dict())
    input = torch.randn(6, 2, 3, dtype=dtype)
    assert_same(small(input), none(input))
