"""Several layers trained together by `torch.func.vmap`, as each would train alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, grad_and_value, jacrev, jvp, stack_module_state, vmap

from tapehead import MANN, NTM, BackendError, Initial, MANNCell, NTMCell, SequenceModel
from tapehead.testing import error, named_tensors

SIZES = {"memory_size": 7, "word_size": 4, "dtype": torch.float64}
LENGTHS = torch.tensor([[6, 0], [3, 5], [1, 6]])
both = pytest.mark.parametrize("kind", [NTM, MANN])


def members_of(kind: type[nn.Module], backend: str = "auto", **options: Any) -> list[nn.Module]:
    return [kind(3, 5, backend=backend, **SIZES, **options) for _ in range(3)]


def together(members: list[nn.Module], input: Tensor, lengths: Tensor | None = None) -> tuple[Any, dict[str, Tensor]]:
    """What the members give in one call, and their stacked parameters."""
    parameters, buffers = stack_module_state(members)

    def one(parameters: Any, buffers: Any, input: Tensor, lengths: Tensor | None) -> Any:
        options = {} if lengths is None else {"lengths": lengths}
        output, state = functional_call(members[0], (parameters, buffers), (input,), options)
        return output, state._replace(controller=())  # vmap returns no None

    return vmap(one, in_dims=(0, 0, 0, None if lengths is None else 0))(parameters, buffers, input, lengths), parameters


def assert_trained_alike(found: dict[str, Tensor], members: list[nn.Module], compare: Callable[..., bool]) -> None:
    for group, member in enumerate(members):
        for name, parameter in member.named_parameters():
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            assert compare(found[name].grad[group], expected), name


def nearly(left: Tensor, right: Tensor) -> bool:
    left, right = left.detach(), right.detach()
    return error(left, right) <= 1e-10 * max(1.0, float(right.abs().max()))


@both
@pytest.mark.parametrize("backend", ["auto", "fused", "reference"])
@pytest.mark.parametrize("controller", ["lstm", "feedforward"])
def test_an_ensemble_learns_as_each_member_alone(kind: Any, backend: str, controller: str, core_calls: list[str]):
    members = members_of(kind, backend, controller=controller, num_layers=2)
    input = torch.randn(3, 6, 2, 3, dtype=torch.float64)
    (output, state), parameters = together(members, input, LENGTHS)
    (output.square().sum() + state.memory.square().sum()).backward()
    assert len(core_calls) == (0 if backend == "reference" else 2)
    compare = nearly if backend == "reference" else torch.equal
    for member, given, lengths, own, memory in zip(members, input, LENGTHS, output, state.memory, strict=True):
        alone, last = member(given, lengths=lengths)
        assert compare(own, alone)
        assert compare(memory, last.memory)
        (alone.square().sum() + last.memory.square().sum()).backward()
    assert_trained_alike(parameters, members, compare)


@both
def test_what_is_learned_about_the_start_is_learned_alike(kind: Any):
    initial = Initial(memory="learned", weights="learned", reads="learned", controller="learned")
    members, input = members_of(kind, initial=initial), torch.randn(3, 6, 2, 3, dtype=torch.float64)
    (output, _), parameters = together(members, input)
    output.square().sum().backward()
    for member, given in zip(members, input, strict=True):
        member(given)[0].square().sum().backward()
    assert_trained_alike(parameters, members, nearly)  # rows are summed by torch, in another order


@both
def test_an_optimiser_keeps_them_apart(kind: Any):
    """Ten updates of all members by one optimiser are those of each by its own."""
    members = [SequenceModel(member, target_size=2).double() for member in members_of(kind, "fused")]
    parameters, buffers = stack_module_state(members)
    input = torch.randn(10, 3, 6, 2, 3, dtype=torch.float64)

    def loss(parameters: Any, buffers: Any, input: Tensor) -> Tensor:
        return functional_call(members[0], (parameters, buffers), (input,))[0].square().mean()

    optimiser = torch.optim.Adam(parameters.values(), lr=0.01)
    for batch in input:
        optimiser.zero_grad()
        vmap(loss)(parameters, buffers, batch).sum().backward()
        optimiser.step()
    for group, member in enumerate(members):
        own = torch.optim.Adam(member.parameters(), lr=0.01)
        for batch in input[:, group]:
            own.zero_grad()
            member(batch)[0].square().mean().backward()
            own.step()
        for name, parameter in member.named_parameters():
            assert nearly(parameters[name][group], parameter), name


@pytest.mark.parametrize("kind", [NTMCell, MANNCell])
def test_a_cell_and_an_unbatched_input(kind: Any):
    members, input = members_of(kind, "fused"), torch.randn(3, 3, dtype=torch.float64)
    found, _ = together(members, input)
    for group, member in enumerate(members):
        output, state = member(input[group])
        expected = output, state._replace(controller=())
        for (_, left), (name, right) in zip(named_tensors(found), named_tensors(expected), strict=True):
            assert torch.equal(left[group], right), name


@both
def test_lengths_that_are_mapped_are_checked(kind: Any):
    with pytest.raises(ValueError, match=r"expected lengths in 0\.\.6, the steps of the input, got 0\.\.7"):
        together(
            members_of(kind), torch.randn(3, 6, 2, 3, dtype=torch.float64), LENGTHS.clamp(max=5) + 2 * (LENGTHS > 4)
        )


def half_squared(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda value: layer(value)[0].square().sum() / 2


@both
def test_gradients_by_torch_func_are_fused(kind: Any, core_calls: list[str]):
    layer, input = members_of(kind)[0], torch.randn(4, 2, 3, dtype=torch.float64)
    leaf = input.clone().requires_grad_()
    (expected,) = torch.autograd.grad(half_squared(layer)(leaf), leaf)
    core_calls.clear()
    assert torch.equal(grad(half_squared(layer))(input), expected)
    assert len(core_calls) == 2
    jacobian = jacrev(lambda value: layer(value)[0])(input)
    assert nearly(torch.einsum("tbo,tboxyz->xyz", layer(input)[0], jacobian), expected)
    several = vmap(grad(half_squared(layer)))(torch.stack([input, 2 * input]))
    assert torch.equal(several[0], expected)


@both
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is")  # torch itself calls it
def test_other_derivatives_are_the_references(kind: Any, core_calls: list[str]):
    auto, fused = members_of(kind)[0], members_of(kind, "fused")[0]
    input = torch.randn(2, 1, 3, dtype=torch.float64)

    def second(layer: nn.Module) -> Tensor:
        return grad(lambda value: grad(half_squared(layer))(value).square().sum())(input)

    def forward(layer: nn.Module) -> Tensor:
        return jvp(half_squared(layer), (input,), (input,))[1]

    for derivative in (second, forward):
        assert derivative(auto).isfinite().all()
        with pytest.raises(BackendError, match="first derivatives in reverse mode only"):
            derivative(fused)
    assert not core_calls


@both
def test_a_value_beside_a_gradient_has_its_own_gradient_outside(kind: Any):
    layer, input = members_of(kind, "fused")[0], torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(half_squared(layer)(input), input)
    gradient, value = grad_and_value(half_squared(layer))(input)
    assert torch.equal(torch.autograd.grad(value, input)[0], expected)
    assert torch.equal(gradient, expected)


@both
def test_a_second_derivative_through_torch_func_is_refused_by_name(kind: Any):
    layer, input = members_of(kind)[0], torch.randn(2, 1, 3, dtype=torch.float64)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    inner = grad(half_squared(layer))(input * scale)
    with pytest.raises(RuntimeError, match="backend='reference'"):
        inner.sum().backward()
