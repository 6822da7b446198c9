"""The fused MANN as an op of torch: what compilers, modes and autograd see of it, and what it refuses."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from tapehead import MANN
from tapehead.ops.mann import cpu
from tapehead.states import map_tensors
from tapehead.testing import error
from tests.cases import Case
from tests.mann_cases import MANN_CASES, make_mann
from tests.ops.fused_problems import Problem, calls_of, cotangents, leaves_of, sequence
from tests.ops.mann_problems import mann_problem, some_cases
from tests.ops.test_fused_op import QUICK, assert_alike, by_module, results_of

FORWARD, BACKWARD = "tapehead::mann_forward", "tapehead::mann_backward"


@some_cases
@pytest.mark.parametrize("way", ["saves", "saves_ragged", "traces", "saves_nothing"])
def test_opcheck(case: Case, way: str):
    problem = mann_problem(case, torch.float32, ragged=way == "saves_ragged")
    if way == "saves_nothing":
        calls = calls_of(problem, grad=False)
        assert set(calls) == {FORWARD}
    else:
        calls = calls_of(problem, trace=way == "traces")
        assert set(calls) == {FORWARD, BACKWARD}
    for op, arguments in calls.values():
        torch.library.opcheck(op, arguments, test_utils=QUICK)


def test_opcheck_with_gradients():
    op, arguments = calls_of(mann_problem(MANN_CASES[0]))[FORWARD]
    leaves = [value.requires_grad_() if isinstance(value, Tensor) else value for value in arguments]
    torch.library.opcheck(op, tuple(leaves), test_utils=QUICK)


def test_compiled_in_one_graph_it_gives_the_same():
    torch.compiler.reset()
    layer = make_mann(Case("", {"backend": "fused", "least_used": "each"}))
    input, lengths = torch.randn(5, 3, 3, dtype=torch.float64), torch.tensor([5, 0, 3])
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)

    def differentiable(module: Any, *arguments: Any, **options: Any) -> Any:
        output, state = module(*arguments, **options)
        return output, state._replace(usage=None)

    found = results_of(_Wrapped(compiled, differentiable), input, lengths=lengths)
    expected = results_of(_Wrapped(layer, differentiable), input, lengths=lengths)
    assert_alike(found, by_module(expected))


class _Wrapped:
    """A layer whose results all have gradients."""

    def __init__(self, layer: Any, function: Any) -> None:
        self.layer, self.function = layer, function

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.function(self.layer, *arguments, **options)

    def named_parameters(self) -> Any:
        return self.layer.named_parameters()


def test_exported_it_is_one_node():
    layer = make_mann(Case("", {"backend": "fused"})).requires_grad_(False)
    input = torch.randn(5, 3, 3, dtype=torch.float64)
    exported = torch.export.export(layer, (input,))
    targets = [str(node.target) for node in exported.graph.nodes if "tapehead" in str(node.target)]
    assert targets == ["tapehead.mann_forward.default"]
    other = torch.randn_like(input)
    assert error(exported.module()(other)[0], layer(other)[0]) <= 1e-12


@some_cases
@pytest.mark.parametrize("trace", [False, True])
def test_fake_tensors_have_the_real_shapes(case: Case, trace: bool):
    problem = mann_problem(case)
    real = sequence(problem, backend="fused", trace=trace)
    mode, fake = FakeTensorMode(), copy.deepcopy(problem.layer)
    for module in fake.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, torch.nn.Parameter(mode.from_tensor(parameter.detach())))
    input, state = map_tensors(mode.from_tensor, (problem.input, problem.state))
    with mode:
        found = sequence(Problem(fake, input, state), backend="fused", trace=trace)
    assert found.keys() == real.keys()
    for name, value in real.items():
        assert (found[name].shape, found[name].dtype, found[name].device) == (value.shape, value.dtype, value.device)


@some_cases
def test_under_inference_mode(case: Case):
    problem = mann_problem(case, ragged=True)
    expected = sequence(problem, backend="fused")
    with torch.inference_mode():
        found = sequence(problem, backend="fused")
        traced = sequence(problem, backend="fused", trace=True)
    for name, value in found.items():
        assert torch.equal(value, expected[name].detach()), name
        assert torch.equal(value, traced[name]), name


def test_a_second_derivative_is_refused_by_name():
    problem = mann_problem(MANN_CASES[0])
    input = problem.input.requires_grad_()
    output = sequence(problem, backend="fused")["output"]
    (gradient,) = torch.autograd.grad(output.square().sum(), input, create_graph=True)
    with pytest.raises(RuntimeError, match=r"^MANN: expected a first derivative.*backend='reference'"):
        gradient.square().sum().backward()


@pytest.mark.parametrize("name", [n for n in leaves_of(mann_problem(Case("", {"num_layers": 2}))) if "usage" not in n])
def test_one_tensor_alone_requires_a_gradient(name: str):
    problem = mann_problem(Case("", {"num_layers": 2}), ragged=True)
    problem.layer.requires_grad_(False)
    leaf = leaves_of(problem)[name].requires_grad_()
    gradients = []
    for backend in ("fused", "reference"):
        values = {key: value for key, value in sequence(problem, backend=backend).items() if value.requires_grad}
        total = sum((value.square()).sum() for value in values.values())
        gradients += torch.autograd.grad(total, leaf)
    assert error(*gradients) <= 1e-10 * max(1.0, float(gradients[1].abs().max()))


@pytest.mark.parametrize("name", ["trace.usage", "trace.memory", "trace.write.weights", "output", "state.memory"])
def test_a_change_in_place_raises_or_changes_no_gradient(name: str):
    gradients = []
    for change in (False, True):
        torch.manual_seed(0)
        problem = mann_problem(MANN_CASES[0], ragged=True)
        values = sequence(problem, backend="fused", trace=True)
        used = {key: value for key, value in values.items() if value.requires_grad}
        total = sum((value * other).sum() for value, other in zip(used.values(), cotangents(used), strict=True))
        if change:
            with torch.no_grad():
                values[name].mul_(3.0)
        try:
            gradients.append(torch.autograd.grad(total, list(problem.layer.cell.heads.parameters())))
        except RuntimeError as raised:
            if "modified by an inplace operation" in str(raised):
                return
            raise
    assert all(torch.equal(left, right) for left, right in zip(*gradients, strict=True))


def narrowed() -> list[tuple[str, str, int]]:
    """Every dimension of every tensor that the ops take, as (op, argument, dimension)."""
    found = []
    for name, (op, arguments) in calls_of(mann_problem(Case("", {"num_layers": 2})), trace=True).items():
        for argument, value in zip(op._schema.arguments, arguments, strict=True):
            if isinstance(value, Tensor):
                found += [(name, argument.name, dim) for dim in range(value.dim()) if value.shape[dim] > 0]
    found.remove((FORWARD, "input", 0))  # fewer steps are a shorter sequence
    return found


@pytest.fixture(scope="module")
def traced_calls() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    return calls_of(mann_problem(Case("", {"num_layers": 2})), trace=True)


@pytest.mark.parametrize(("name", "argument", "dim"), narrowed())
def test_the_ops_themselves_refuse_sizes_that_do_not_fit(
    traced_calls, name: str, argument: str, dim: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cpu, "_kernel", lambda function: pytest.fail("the core was called"))
    op, arguments = traced_calls[name]
    wrong = [
        value.narrow(dim, 0, value.shape[dim] - 1) if parameter.name == argument else value
        for parameter, value in zip(op._schema.arguments, arguments, strict=True)
    ]
    with pytest.raises((ValueError, RuntimeError)):
        op(*wrong)


def test_nothing_requires_a_gradient():
    layer = MANN(3, 5, memory_size=7, word_size=4, backend="fused").requires_grad_(False)
    packed: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: packed.append(tensor), lambda tensor: tensor):
        output, state = layer(torch.randn(9, 2, 3))
    assert not packed
    assert not output.requires_grad
    assert not state.memory.requires_grad
