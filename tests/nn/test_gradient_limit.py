"""The limit on what flows back to the head weights of the step before: what it cuts, and what it is there for."""

import pytest
import torch

from tapehead import NTM, NTMState
from tests.cases import Case, make_input, make_layer, random_state

every_backend = pytest.mark.parametrize("backend", ["reference", "fused"])
both_orders = pytest.mark.parametrize("order", ["read_write", "write_read"])
LIMIT = 0.01


def gradients(layer: NTM, input: torch.Tensor, state: NTMState) -> list[torch.Tensor]:
    """Gradients of the input, every parameter and the state it starts from."""
    leaves = [input.requires_grad_(), *layer.parameters(), state.read_weights.requires_grad_(), state.memory]
    leaves[-1].requires_grad_()
    output, _ = layer(input, state)
    return list(torch.autograd.grad(output.square().sum(), leaves))


def by_hand(layer: NTM, input: torch.Tensor, state: NTMState) -> list[torch.Tensor]:
    """The same, step by step without a limit, each step's way to the weights before cut with a hook."""
    leaves = [input.requires_grad_(), *layer.parameters(), state.read_weights.requires_grad_(), state.memory]
    leaves[-1].requires_grad_()
    total = torch.zeros((), dtype=input.dtype)
    for step in input:
        read, write = state.read_weights * 1, state.write_weights * 1
        for weights in (read, write):
            if weights.requires_grad:
                weights.register_hook(lambda gradient: gradient.clamp(-LIMIT, LIMIT))
        output, state = layer.cell(step, state._replace(read_weights=read, write_weights=write))
        total = total + output.square().sum()
    return list(torch.autograd.grad(total, leaves))


@every_backend
@both_orders
def test_what_flows_to_the_weights_before_is_cut(backend: str, order: str):
    case = Case("", {"num_read_heads": 2, "num_write_heads": 2, "order": order}, steps=6)
    torch.manual_seed(0)
    layer = make_layer(case, backend=backend, gradient_limit=LIMIT)
    exact = make_layer(case, backend="reference")
    exact.load_state_dict(layer.state_dict())
    input, state = make_input(case), random_state(layer, case.rows)
    found, expected = gradients(layer, input, state), by_hand(exact, input, state)
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-11)
    assert found[-2].abs().max() <= LIMIT  # of the read weights that the sequence started from
    uncut = gradients(exact, input, state)
    assert uncut[-2].abs().max() > LIMIT
    assert not all(torch.allclose(left, right, rtol=1e-3) for left, right in zip(found, uncut, strict=True))


@every_backend
def test_a_high_limit_changes_nothing(backend: str):
    case = Case("", {"num_read_heads": 2})
    layer = make_layer(case, backend=backend, gradient_limit=1e6)
    same = make_layer(case, backend=backend)
    same.load_state_dict(layer.state_dict())
    input, state = make_input(case), random_state(layer, case.rows)
    for left, right in zip(gradients(layer, input, state), gradients(same, input, state), strict=True):
        assert torch.equal(left, right)


def chaotic(limit: float | None, backend: str) -> NTM:
    """Heads that do nothing but sharpen what they pointed at before: no content, no move, a gamma near 6."""
    layer = NTM(2, 4, memory_size=16, word_size=3, backend=backend, gradient_limit=limit)
    with torch.no_grad():
        layer.cell.heads.weight.mul_(0.1)
        sizes = layer.cell.settings.head_sizes
        _, _, gate, shift, gamma, *_ = layer.cell.heads.bias.split(sizes)
        gate.fill_(-80)
        shift.copy_(torch.tensor([-80.0, 0.0, -80.0]).repeat(2))
        gamma.fill_(5)
    return layer


@every_backend
def test_a_head_spread_evenly_overflows_without_a_limit(backend: str):
    """Where nothing but roundings tells the slots apart, the gradient grows by gamma at every step."""
    torch.manual_seed(0)
    input, memory, norms = torch.randn(40, 2, 2), torch.randn(2, 16, 3), {}
    for limit in (None, 1e4):
        torch.manual_seed(1)
        layer = chaotic(limit, backend)
        state = layer.initial_state(2)
        even = torch.full_like(state.read_weights, 1 / 16)
        output, _ = layer(input, state._replace(memory=memory, read_weights=even, write_weights=even))
        output[-1].sum().backward()
        norms[limit] = torch.stack([parameter.grad.norm() for parameter in layer.parameters()]).norm()
    assert not norms[None] < 1e12
    assert norms[1e4] < 1e9


@pytest.mark.parametrize("limit", [0, -1.0, 1e-310])
def test_a_limit_is_above_0(limit: float):
    with pytest.raises(ValueError, match="NTM: expected gradient_limit > 0 and not subnormal, or None"):
        NTM(2, 3, gradient_limit=limit)


@pytest.mark.parametrize("limit", [float("inf"), float("nan")])
def test_a_limit_is_finite(limit: float):
    with pytest.raises(ValueError, match="NTM: expected gradient_limit to be finite, got"):
        NTM(2, 3, gradient_limit=limit)
