"""The NTM's Triton kernels against the reference: in Triton's interpreter where there is no GPU, and on one."""

from typing import Any

import pytest
import torch

from tapehead.ops import launches
from tapehead.ops.ntm import cuda
from tapehead.ops.ntm.op import OP
from tapehead.testing import named_tensors
from tests.cases import CASES, Case, by_name
from tests.ops.fused_problems import (
    REAL,
    TOLERANCE,
    Problem,
    Run,
    assert_as_good,
    assert_close,
    assert_equal,
    problem_of,
    real_problem,
    run,
    sequence,
)

pytest.importorskip("triton")

# The interpreter takes some 100 ms for a step of a row.
NAMES = (
    "plain",
    "write_read",
    "many_heads_feedforward",
    "limited_write_read",
    "content_write_read",
    "tanh_both",
    "shift_round_the_circle",
    "one_slot",
    "feedforward",
    "two_layers",
    "two_layers_feedforward",
)
SMALL = {case.name: case._replace(steps=3, rows=3) for case in CASES if case.name in NAMES}
every_case = pytest.mark.parametrize("case", **by_name(list(SMALL.values())))
on_cuda = pytest.mark.cuda


def some_cases(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", **by_name([SMALL[name] for name in names]))


@pytest.fixture(params=["interpreter", pytest.param("cuda", marks=on_cuda)])
def device(request, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the problem has to be, for `backend="fused"` to run the kernels."""
    if request.param == "cuda":
        return "cuda"
    if torch.cuda.is_available():
        pytest.skip("the kernels are compiled for the GPU here, not interpreted")
    monkeypatch.setitem(OP._kernels, ("cpu", "forward"), cuda.LAUNCHES.forward)
    monkeypatch.setitem(OP._kernels, ("cpu", "backward"), cuda.LAUNCHES.backward)
    return "cpu"


@every_case
def test_float64_is_the_reference(case: Case, device: str):
    problem = problem_of(case, ragged=True).to(device)
    assert_close(run(problem, "fused", checkpoint_every=2), run(problem, "reference"), TOLERANCE)


@some_cases("plain", "limited_write_read", "two_layers")
def test_float64_traces_are_the_references(case: Case, device: str):
    problem = problem_of(case._replace(rows=2)).to(device)
    assert_close(run(problem, "fused", trace=True), run(problem, "reference", trace=True), TOLERANCE)


@some_cases("plain", "many_heads_feedforward")
def test_float32_is_as_good_as_the_reference(case: Case, device: str):
    problems = [problem_of(case._replace(rows=1), torch.float32).to(device) for _ in range(3)]
    assert_as_good(problems, together=True)


def test_a_memory_in_tiles_is_the_same_memory(device: str, monkeypatch: pytest.MonkeyPatch):
    case = Case("", {"memory_size": 37, "word_size": 17, "num_write_heads": 2, "order": "write_read"}, steps=2, rows=2)
    problem = problem_of(case).to(device)
    expected = run(problem, "reference")
    for name in ("TILE", "PRODUCT_ROWS", "PRODUCT_COLUMNS"):
        monkeypatch.setattr(launches, name, 16)
    cuda._plan.cache_clear()
    assert_close(run(problem, "fused"), expected, TOLERANCE)
    cuda._plan.cache_clear()


@some_cases("write_read")
def test_no_number_comes_from_fresh_memory(case: Case, device: str, request):
    problem = problem_of(case._replace(rows=2)).to(device)
    problem = problem._replace(lengths=torch.tensor([1, 3], device=device))
    expected = run(problem, "fused", checkpoint_every=2)
    request.getfixturevalue("nan_filled")
    assert_equal(run(problem, "fused", checkpoint_every=2), expected)
    for part in run(problem, "fused", trace=True):
        for name, tensor in part.items():
            assert tensor.isfinite().all(), name


def test_without_gradients_it_gives_the_same_values(device: str):
    problem = problem_of(SMALL["write_read"], ragged=True).to(device)
    kept = sequence(problem, backend="fused")
    with torch.no_grad():
        assert_close(Run(sequence(problem, backend="fused"), {}), Run(kept, {}), TOLERANCE)


def test_awkward_tensors(device: str):
    problem = problem_of(SMALL["two_layers"]._replace(rows=2)).to(device)
    expected = run(problem, "reference")
    awkward = problem._replace(
        input=problem.input.transpose(0, 1).contiguous().transpose(0, 1),
        state=problem.state._replace(memory=problem.state.memory.mT.contiguous().mT),
        lengths=torch.tensor([3, 3], dtype=torch.int32, device=device),
    )
    assert_close(run(awkward, "fused"), expected, TOLERANCE)


@pytest.mark.parametrize("wanted", ["input", "state", "parameters"])
def test_some_gradients_only(wanted: str, device: str):
    layer, input, state, _ = problem_of(SMALL["plain"]._replace(steps=2, rows=1)).to(device)
    gradients = []
    for backend in ("fused", "reference"):
        given = [tensor.detach().clone() for tensor in (input, state.memory)]
        leaves = {"input": given[:1], "state": given[1:], "parameters": list(layer.parameters())}[wanted]
        for parameter in layer.parameters():
            parameter.requires_grad_(wanted == "parameters")
        for leaf in leaves:
            leaf.requires_grad_()
        values = sequence(Problem(layer, given[0], state._replace(memory=given[1])), backend=backend)
        gradients.append(torch.autograd.grad(values["output"].square().sum(), leaves))
    names = {str(index): gradient for index, gradient in enumerate(gradients[0])}
    expected = {str(index): gradient for index, gradient in enumerate(gradients[1])}
    assert_close(Run(names, {}), Run(expected, {}), TOLERANCE)


# On a GPU only: sizes that the interpreter is too slow for, and what only a stream can show.


@on_cuda
@pytest.mark.parametrize("case", **by_name(REAL))
def test_float32_is_as_good_at_real_sizes(case: Case):
    assert_as_good([real_problem(case).to("cuda") for _ in range(4)], together=True)


@on_cuda
@pytest.mark.parametrize("options", [{"memory_size": 4096, "word_size": 20}, {"memory_size": 128, "word_size": 300}])
def test_float64_is_the_reference_at_large_sizes(options: dict[str, Any]):
    problem = real_problem(Case("", options, steps=5, rows=3), torch.float64, 70).to("cuda")
    assert_close(run(problem, "fused"), run(problem, "reference"))


@on_cuda
def test_nothing_waits_for_the_gpu():
    problem = problem_of(SMALL["plain"], torch.float32, ragged=True).to("cuda")
    run(problem, "fused")  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        values = sequence(problem, backend="fused")
        torch.autograd.grad(values["output"].sum(), list(problem.layer.parameters()))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@on_cuda
def test_a_cuda_graph_gives_the_same():
    problem = problem_of(SMALL["plain"], torch.float32).to("cuda")
    with torch.no_grad():
        expected = sequence(problem, backend="fused")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = sequence(problem, backend="fused")
        graph.replay()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@on_cuda
def test_a_layer_on_the_gpu_takes_the_kernels_when_asked():
    layer = problem_of(SMALL["plain"], torch.float32).layer.cuda()
    layer.cell.backend = "fused"
    input = torch.randn(3, 2, 3, device="cuda")
    found = dict(named_tensors(layer(input)))
    layer.cell.backend = "reference"
    for name, value in named_tensors(layer(input)):
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
