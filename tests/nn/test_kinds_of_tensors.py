"""Tensors whose numbers do not lie at their addresses, wherever they meet the fused kernels: the reference's answer."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from tapehead import MANN, NTM


class Wrapper(Tensor):
    """A subclass that has its numbers in another tensor."""

    @staticmethod
    def __new__(cls, inside: Tensor) -> "Wrapper":
        made: Wrapper = Tensor._make_wrapper_subclass(cls, inside.shape, dtype=inside.dtype, device=inside.device)
        return made

    def __init__(self, inside: Tensor) -> None:
        self.inside = inside

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        plain = pytree.tree_map_only(Wrapper, lambda wrapper: wrapper.inside, (args, kwargs or {}))
        return function(*plain[0], **plain[1])


KINDS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "negative view": (torch._neg_view, -1.0),
    "zero": (lambda tensor: torch._efficientzerotensor(tensor.shape, dtype=tensor.dtype), 0.0),
    "subclass": (Wrapper, 1.0),
}
"""What makes each of a plain tensor, and the factor between the two."""


def layer_and_arguments(kind: type[nn.Module], backend: str) -> tuple[nn.Module, Tensor, Any]:
    torch.manual_seed(0)
    layer = kind(3, 4, memory_size=7, word_size=5, backend=backend, dtype=torch.float64)
    return layer, torch.randn(6, 2, 3, dtype=torch.float64), layer.initial_state(2)


@pytest.mark.parametrize("machine", [NTM, MANN])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("place", ["input", "memory", "weight"])
def test_as_an_argument(machine: type[nn.Module], name: str, place: str) -> None:
    make, factor = KINDS[name]

    def output(backend: str, change: Callable[[Tensor], Tensor]) -> Tensor:
        layer, input, state = layer_and_arguments(machine, backend)
        parameters = {key: value.detach() for key, value in layer.named_parameters()}
        if place == "input":
            input = change(input)
        elif place == "memory":
            state = state._replace(memory=change(state.memory))
        else:
            parameters["cell.heads.weight"] = change(parameters["cell.heads.weight"])
        answer: Tensor = functional_call(layer, parameters, (input, state))[0]
        return answer

    torch.testing.assert_close(output("fused", make), output("reference", lambda tensor: tensor * factor))


class Named(Tensor):
    """A subclass whose operations give others of it."""


@pytest.mark.parametrize("machine", [NTM, MANN])
def test_a_call_with_parameters_of_a_subclass_leaves_nothing_behind(machine: type[nn.Module]) -> None:
    layer, input, _ = layer_and_arguments(machine, "reference")
    special = {name: value.detach().as_subclass(Named) for name, value in layer.named_parameters()}
    assert type(functional_call(layer, special, (input,))[0]) is Named
    output, state = layer(input)
    assert {type(output), *map(type, state[:4]), *map(type, state.controller)} == {Tensor}


@pytest.mark.parametrize("machine", [NTM, MANN])
@pytest.mark.parametrize("name", KINDS)
def test_as_a_gradient(machine: type[nn.Module], name: str) -> None:
    make, factor = KINDS[name]
    layer, input, state = layer_and_arguments(machine, "fused")
    output, _ = layer(input, state)
    gradient, parameters = torch.randn_like(output), list(layer.parameters())
    found = torch.autograd.grad(output, parameters, make(gradient), retain_graph=True)
    expected = torch.autograd.grad(output, parameters, gradient * factor)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("machine", [NTM, MANN])
def test_gradients_of_several_at_once(machine: type[nn.Module]) -> None:
    layer, input, state = layer_and_arguments(machine, "fused")
    input.requires_grad_()
    output, new_state = layer(input, state)
    results, wanted = (output, new_state.memory), [input, *layer.parameters()]
    gradients = (torch.randn(3, *output.shape, dtype=output.dtype), torch.randn(3, 2, 7, 5, dtype=output.dtype))
    found = torch.autograd.grad(results, wanted, gradients, is_grads_batched=True, retain_graph=True)
    each = [torch.autograd.grad(results, wanted, one, retain_graph=True) for one in zip(*gradients, strict=True)]
    torch.testing.assert_close(found, tuple(map(torch.stack, zip(*each, strict=True))))


@pytest.mark.parametrize("machine", [NTM, MANN])
def test_a_vectorized_jacobian(machine: type[nn.Module]) -> None:
    layer, input, state = layer_and_arguments(machine, "fused")

    def last(input: Tensor) -> Tensor:
        output: Tensor = layer(input, state)[0][-1, 0]
        return output

    expected = torch.autograd.functional.jacobian(last, input)
    torch.testing.assert_close(torch.autograd.functional.jacobian(last, input, vectorize=True), expected)
