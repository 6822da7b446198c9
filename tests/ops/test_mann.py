"""Every backend of the MANN op against the paper written down a second time, number by number."""

import pytest
import torch
from torch import Tensor

from tapehead import MANN
from tapehead.ops import mann
from tapehead.ops.usage import USAGE_TOLERANCE, clear, least_used
from tapehead.states import map_tensors
from tapehead.testing import error, named_tensors
from tests.cases import Case, by_name, make_input
from tests.mann_cases import MANN_CASES, MANN_INITIALS, make_mann, random_mann_state
from tests.ops import numpy_mann

# Some hundred operations in a row, each with a relative rounding of 1e-16 (6e-8 in float32): no wrong equation fits.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-4}

every_backend = pytest.mark.parametrize("backend", ["reference", "fused"])


def parameters_of(layer: MANN) -> mann.MANNParameters:
    return mann.MANNParameters(layer.cell.controller(), layer.cell.heads())


def compare_with_paper(layer: MANN, input: Tensor, state=None, lengths: Tensor | None = None) -> None:
    """Output, final state and every field of the trace."""
    output, new_state, trace = layer.trace(input, state, lengths)
    found = dict(named_tensors({"output": output, "state": new_state, "trace": trace}))

    start = layer.initial_state(input.shape[1]) if state is None else state
    arrays = [map_tensors(lambda t: t.detach().double().numpy(), nested) for nested in (start, parameters_of(layer))]
    expected = numpy_mann.run(input.double().numpy(), *arrays, layer.cell.settings, lengths)

    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        exact = torch.from_numpy(expected[name])
        assert error(tensor, exact) <= TOLERANCE[tensor.dtype] * max(1, float(exact.abs().max())), name


@pytest.mark.parametrize("case", **by_name(MANN_CASES))
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@every_backend
def test_paper_from_a_random_state(case: Case, dtype: torch.dtype, backend: str):
    layer = make_mann(case, dtype, backend=backend)
    compare_with_paper(layer, make_input(case, dtype), random_mann_state(layer, case.rows))


@pytest.mark.parametrize("initial", MANN_INITIALS)
@pytest.mark.parametrize("least_used", ["one", "each", "all"])
@every_backend
def test_paper_from_every_initial_state(initial: str, least_used: str, backend: str):
    case = Case(initial, {"initial": MANN_INITIALS[initial], "least_used": least_used}, steps=9)
    compare_with_paper(make_mann(case, backend=backend), make_input(case))


@pytest.mark.parametrize("case", **by_name(MANN_CASES))
@every_backend
def test_paper_with_lengths(case: Case, backend: str):
    layer = make_mann(case, backend=backend)
    lengths = torch.tensor([case.steps - 1, 0, case.steps])[: case.rows]
    compare_with_paper(layer, make_input(case), random_mann_state(layer, case.rows), lengths)


@every_backend
def test_paper_with_inputs_and_state_that_are_not_contiguous(backend: str):
    layer = make_mann(MANN_CASES[4], backend=backend)
    input = torch.randn(3, 3, 10, dtype=torch.float64).permute(2, 1, 0)[::2]
    state = map_tensors(lambda tensor: tensor.transpose(0, 1).contiguous().transpose(0, 1), random_mann_state(layer, 3))
    assert not input.is_contiguous()
    assert not state.memory.is_contiguous()
    compare_with_paper(layer, input, state)


@every_backend
def test_the_op_is_what_the_layer_calls(backend: str):
    case = MANN_CASES[0]
    layer, input = make_mann(case, backend=backend), make_input(case)
    state = random_mann_state(layer, case.rows)
    output, new_state, trace = mann.sequence(input, state, parameters_of(layer), layer.cell.settings, backend=backend)
    assert trace is None
    expected = dict(named_tensors(layer(input, state)))
    found = dict(named_tensors((output, new_state)))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_head_sizes_count_every_parameter_of_every_head():
    settings = make_mann(Case("", {"num_read_heads": 3})).cell.settings
    assert settings.head_sizes == [3 * 4, 3, 3, 3 * 4]
    assert settings._replace(write="key", key_strength="one").head_sizes == [3 * 4, 0, 3, 0]


def test_ties_go_to_the_lowest_slot():
    usage = torch.tensor([[1.0, 0.25, 0.5, 0.25], [0.0, 0.0, 0.0, 0.0]])
    assert least_used(usage, 4).argmax(-1).tolist() == [[1, 3, 2, 0], [0, 1, 2, 3]]
    # Where all slots are in much use, float32 knows no number within the tolerance of the least but itself.
    assert least_used(128 + 32 * usage, 3).argmax(-1).tolist() == [[1, 3, 2], [0, 1, 2]]


@pytest.mark.parametrize("noise", [0.0, 0.5 * USAGE_TOLERANCE])
def test_roundings_do_not_choose_a_slot(noise: float):
    usage = torch.full((1, 5), 3.0, dtype=torch.float64)
    usage[0, 2] -= noise
    assert least_used(usage, 2).argmax(-1).tolist() == [[0, 1]]
    usage[0, 2] -= 2 * USAGE_TOLERANCE
    assert least_used(usage, 2).argmax(-1).tolist() == [[2, 0]]


def test_clearing_leaves_neither_a_value_nor_a_gradient():
    memory = torch.full((1, 3, 2), torch.inf, requires_grad=True)
    cleared = clear(memory, torch.tensor([[[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]))
    assert cleared[0, 1:].tolist() == [[0, 0], [0, 0]]
    (gradient,) = torch.autograd.grad(cleared.sum(), memory)
    assert gradient.tolist() == [[[1, 1], [0, 0], [0, 0]]]
