"""Every backend of the NTM op against the paper written down a second time, number by number."""

import pytest
import torch
from torch import Tensor

from tapehead import NTM
from tapehead.ops import ntm
from tapehead.states import map_tensors
from tapehead.testing import error, named_tensors
from tests.cases import CASES, INITIALS, Case, by_name, make_input, make_layer, random_state
from tests.ops import numpy_ntm

# Some hundred operations in a row, each with a relative rounding of 1e-16 (6e-8 in float32), and sharpening, which
# multiplies a relative error by gamma at every step: 1e-10 leaves room, and no wrong equation fits into it.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}


every_backend = pytest.mark.parametrize("backend", ["reference", "fused"])


def parameters_of(layer: NTM) -> ntm.NTMParameters:
    return ntm.NTMParameters(layer.cell.controller(), layer.cell.heads())


def compare_with_paper(layer: NTM, input: Tensor, state=None, lengths: Tensor | None = None) -> None:
    """Output, final state and every field of the trace."""
    output, new_state, trace = layer.trace(input, state, lengths)
    found = dict(named_tensors({"output": output, "state": new_state, "trace": trace}))

    start = layer.initial_state(input.shape[1]) if state is None else state
    arrays = [map_tensors(lambda t: t.detach().double().numpy(), nested) for nested in (start, parameters_of(layer))]
    expected = numpy_ntm.run(input.double().numpy(), *arrays, layer.cell.settings, lengths)

    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        exact = torch.from_numpy(expected[name])
        assert error(tensor, exact) <= TOLERANCE[tensor.dtype] * max(1, float(exact.abs().max())), name


@pytest.mark.parametrize("case", **by_name(CASES))
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@every_backend
def test_paper_from_a_random_state(case: Case, dtype: torch.dtype, backend: str):
    layer = make_layer(case, dtype, backend=backend)
    compare_with_paper(layer, make_input(case, dtype), random_state(layer, case.rows))


@pytest.mark.parametrize("initial", INITIALS)
@pytest.mark.parametrize("order", ["read_write", "write_read"])
@every_backend
def test_paper_from_every_initial_state(initial: str, order: str, backend: str):
    case = Case(initial, {"initial": INITIALS[initial], "order": order, "num_read_heads": 2})
    compare_with_paper(make_layer(case, backend=backend), make_input(case))


@pytest.mark.parametrize("case", **by_name(CASES))
@every_backend
def test_paper_with_lengths(case: Case, backend: str):
    layer = make_layer(case, backend=backend)
    lengths = torch.tensor([case.steps - 1, 0, case.steps])[: case.rows]
    compare_with_paper(layer, make_input(case), random_state(layer, case.rows), lengths)


@pytest.mark.parametrize("case", **by_name(CASES[:6]))
@every_backend
def test_paper_with_inputs_and_state_that_are_not_contiguous(case: Case, backend: str):
    layer = make_layer(case, backend=backend)
    steps = max(case.steps, 2)
    input = torch.randn(3, max(case.rows, 2), 2 * steps, dtype=torch.float64).permute(2, 1, 0)[::2]
    state = map_tensors(
        lambda tensor: tensor.transpose(1, 2).contiguous().transpose(1, 2), random_state(layer, input.shape[1])
    )
    assert not input.is_contiguous()
    assert not state.memory.is_contiguous()
    compare_with_paper(layer, input, state)


@every_backend
def test_the_op_is_what_the_layer_calls(backend: str):
    case = CASES[0]
    layer, input = make_layer(case, backend=backend), make_input(case)
    state = random_state(layer, case.rows)
    output, new_state, trace = ntm.sequence(input, state, parameters_of(layer), layer.cell.settings, backend=backend)
    assert trace is None
    expected = dict(named_tensors(layer(input, state)))
    found = dict(named_tensors((output, new_state)))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_head_sizes_count_every_parameter_of_every_head():
    settings = make_layer(Case("", {"num_read_heads": 2, "num_write_heads": 3, "max_shift": 2})).cell.settings
    assert settings.num_heads == 5
    assert settings.head_sizes == [5 * 4, 5, 5, 5 * 5, 5, 3 * 4, 3 * 4]
    assert settings._replace(addressing="content").head_sizes == [5 * 4, 5, 3 * 4, 3 * 4]
