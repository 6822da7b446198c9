"""The Triton kernels inside what torch builds around a layer: compiled, captured, in mixed precision, distributed."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from benchmarks.contestants import captured
from tapehead.nn import SequenceModel
from tests.nn.test_distributed import group_of_one  # noqa: F401  (a fixture)
from tests.ops.test_triton import device, on_cuda  # noqa: F401  (a fixture)
from tests.ops.triton_kinds import Kind, some_kinds

some = some_kinds("NTM-plain", "MANN-plain")


def model_of(kind: Kind, device: str, dtype: torch.dtype = torch.float64) -> SequenceModel:  # noqa: F811
    layer = kind.problem(dtype).layer
    layer.cell.backend = "fused"
    return SequenceModel(layer, 2).to(device, dtype)


def batch(device: str, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:  # noqa: F811
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 2, 3, generator=generator, dtype=dtype).to(device)


def gradients(model: torch.nn.Module, input: Tensor) -> list[Tensor]:
    logits, _ = model(input)
    return list(torch.autograd.grad(logits.square().mean(), list(model.parameters())))


def assert_alike(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@some
def test_compiled(kind: Kind, device: str):  # noqa: F811
    model, input = model_of(kind, device), batch(device)
    expected = gradients(model, input)
    compiled = torch.compile(model.core, fullgraph=True, backend="inductor" if device == "cuda" else "aot_eager")
    output, _ = compiled(input)
    found = torch.autograd.grad(model.readout(output).square().mean(), list(model.parameters()))
    assert_alike(list(found), expected)


@some
def test_under_mixed_precision(kind: Kind, device: str):  # noqa: F811
    model, input = model_of(kind, device, torch.float32), batch(device, torch.float32)
    expected = gradients(model, input)
    scaler = torch.amp.GradScaler(device, init_scale=1024.0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.0)
    with torch.autocast(device, dtype=torch.bfloat16):
        output, _ = model.core(input.bfloat16())
        assert output.dtype == torch.float32
        loss = model.readout(output).float().square().mean()
    scaler.scale(loss).backward()
    scaler.unscale_(optimiser)
    # Of the readout's products and of the rounded input alone.
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert parameter.grad is not None
        assert (parameter.grad - gradient).norm() <= 0.05 * max(float(gradient.norm()), 1e-3)


@some
@pytest.mark.usefixtures("group_of_one")
def test_distributed(kind: Kind, device: str):  # noqa: F811
    model, input = model_of(kind, device), batch(device)
    expected = gradients(model, input)
    logits, _ = DistributedDataParallel(model)(input)
    logits.square().mean().backward()
    assert_alike([parameter.grad for parameter in model.parameters()], expected)  # type: ignore[misc]


def training_step(model: SequenceModel, input: Tensor) -> Callable[[], None]:
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01, capturable=input.is_cuda)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        logits, _ = model(input)
        logits.square().mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimiser.step()

    return step


@on_cuda
@some
def test_a_whole_training_step_in_a_cuda_graph(kind: Kind):
    model = model_of(kind, "cuda")
    alone = copy.deepcopy(model)
    inputs = [batch("cuda", seed=seed) for seed in range(5)]
    given, taken = inputs[0].clone(), inputs[0].clone()
    step, expected = training_step(model, given), training_step(alone, taken)
    replay = captured(step)  # after three steps
    for _ in range(3):
        expected()
    for input in inputs:
        given.copy_(input)
        taken.copy_(input)
        replay()
        expected()
    assert_alike(list(model.parameters()), list(alone.parameters()))
