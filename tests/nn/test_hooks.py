"""Hooks of the modules inside a layer: pruning and the old `weight_norm` make a parameter in one, before every call."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune, weight_norm

from tapehead import NTM
from tests.cases import by_name
from tests.nn.modules import PUBLIC, Public


def loss(module: nn.Module, input: torch.Tensor) -> torch.Tensor:
    return module(input)[0].square().sum()


def train(module: nn.Module, input: torch.Tensor, steps: int = 2) -> None:
    optimiser = torch.optim.SGD(module.parameters(), lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(module, input).backward()
        optimiser.step()


@pytest.mark.parametrize(
    "public", **by_name([public for public in PUBLIC if public.name.startswith(("LSTM", "MANN-", "NTM-"))])
)
def test_every_parameter_can_be_pruned(public: Public):
    module, input = public.make(), public.input()
    for part in list(module.modules()):
        for name in [name for name, _ in part.named_parameters(recurse=False)]:
            before = getattr(part, name).detach().clone()
            prune.random_unstructured(part, name, 0.5)
            train(module, input)
            kept = getattr(part, f"{name}_mask").bool()
            loss(module, input)  # makes the parameter of the last update
            assert torch.equal(getattr(part, name)[~kept], torch.zeros(int((~kept).sum())))
            assert (getattr(part, name)[kept] != before[kept]).any(), f"{name} of {part} was not trained"


def test_a_layer_computes_with_what_pruning_makes():
    layer, input = NTM(3, 4, memory_size=5, word_size=2), torch.randn(3, 2, 3)
    prune.random_unstructured(layer.cell.heads, "weight", 0.5)
    before = layer(input)[0]
    with torch.no_grad():
        layer.cell.heads.weight_orig.mul_(100)
    assert (layer(input)[0] - before).abs().max() > 1e-3


@pytest.mark.parametrize(
    "public", **by_name([public for public in PUBLIC if public.name in ("NTM", "MANN", "NTMCell")])
)
def test_old_weight_norm(public: Public):
    module, input = public.make(), public.input()
    cell = module if public.is_cell else module.cell
    expected = module(input)[0]
    for part, name in ((cell.heads, "weight"), (cell.controller, "weight_reads")):
        with pytest.warns(FutureWarning, match="weight_norm"):
            weight_norm(part, name)
    assert torch.allclose(module(input)[0], expected, atol=1e-6)
    train(module, input)
    module.double()
    assert module(input.double())[0].dtype == torch.float64
    module.initial_state(2)


@pytest.mark.parametrize(
    "public", **by_name([public for public in PUBLIC if public.name.startswith(("LSTM", "MANN", "NTM"))])
)
def test_a_parametrization_under_autocast(public: Public):
    module, input = public.make(), public.input()
    for name, value in list(module.named_parameters()):
        path, _, own = name.rpartition(".")
        if value.dim() == 2 and "initial" not in path:
            parametrizations.orthogonal(module.get_submodule(path), own)
    expected = loss(module, input)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, _ = module(input)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output.square().sum(), expected)


class _Mixed(nn.Module):
    """A product, which autocast would make bfloat16."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.eye(size) + 0.1)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value @ self.mix


@pytest.mark.parametrize(
    "public", **by_name([public for public in PUBLIC if public.name.startswith(("LSTM", "MANN", "NTM"))])
)
def test_a_parametrization_of_the_initial_state_under_autocast(public: Public):
    module, input = public.make(), public.input()
    for name, value in list(module.named_parameters()):
        path, _, own = name.rpartition(".")
        if "initial" in path or path.endswith("heads"):
            nn.init.normal_(value)
            parametrize.register_parametrization(module.get_submodule(path), own, _Mixed(value.shape[-1]))
    start, expected = module.initial_state(2), loss(module, input)
    expected_gradients = torch.autograd.grad(expected, [*module.parameters()])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found_start, found = module.initial_state(2), loss(module, input)
    gradients = torch.autograd.grad(found, [*module.parameters()])
    torch.testing.assert_close((found_start, found, gradients), (start, expected, expected_gradients), rtol=0, atol=0)
