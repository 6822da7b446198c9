"""Least-recently-used access: Santoro et al. 2016 (arXiv 1605.06065), section 3.2."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["USAGE_TOLERANCE", "clear", "least_used", "update_usage", "write_weights"]

USAGE_TOLERANCE = 1e-6
"""Slots whose usage is this close to the least are used equally little: roundings must not choose between slots that
nothing has told apart yet."""


def least_used(usage: Tensor, count: int) -> Tensor:
    """The slots of least usage, eq. 21, as rows of one 1 each: the least used first, of equal ones the lowest.

    Args:
        usage: (B, N), w^u_{t-1}
        count: how many slots, at most N

    Returns:
        (B, count, N) of 0 and 1, without a gradient

    >>> least_used(torch.tensor([[0.5, 0.0, 2.0, 0.0]]), 3)
    tensor([[[0., 1., 0., 0.],
             [0., 0., 0., 1.],
             [1., 0., 0., 0.]]])
    """
    usage, slots = usage.detach(), torch.arange(usage.shape[-1], device=usage.device)
    chosen = []
    for _ in range(count):
        close = usage <= usage.amin(-1, keepdim=True) + USAGE_TOLERANCE
        slot = close.to(torch.uint8).argmax(-1, keepdim=True) == slots
        chosen.append(slot)
        usage = usage.masked_fill(slot, torch.inf)
    return torch.stack(chosen, -2).to(usage.dtype)


def write_weights(write_gate: Tensor, previous_read_weights: Tensor, least_used_weights: Tensor) -> Tensor:
    """Where each head writes, eq. 22: w^w = sigma(alpha) w^r_{t-1} + (1 - sigma(alpha)) w^lu_{t-1}.

    Args:
        write_gate: (B, heads), sigma(alpha) in 0..1; 1 = where it last read, 0 = the least used
        previous_read_weights: (B, heads, N)
        least_used_weights: (B, heads, N)

    Returns:
        (B, heads, N)

    >>> read, unused = torch.tensor([[[0.0, 0.0, 1.0]]]), torch.tensor([[[1.0, 0.0, 0.0]]])
    >>> write_weights(torch.tensor([[0.25]]), read, unused)
    tensor([[[0.7500, 0.0000, 0.2500]]])
    """
    return torch.lerp(least_used_weights, previous_read_weights, write_gate.unsqueeze(-1))


def clear(memory: Tensor, slots: Tensor) -> Tensor:
    """The memory with some slots set to zero, before it is written.

    Args:
        memory: (B, N, M)
        slots: (B, count, N), each row a 1 at the slot to clear

    >>> clear(torch.ones(1, 3, 2), torch.tensor([[[0.0, 1.0, 0.0]]]))
    tensor([[[1., 1.],
             [0., 0.],
             [1., 1.]]])
    """
    return memory.masked_fill(slots.bool().any(1).unsqueeze(-1), 0)


def update_usage(usage: Tensor, read_weights: Tensor, write_weights: Tensor, usage_decay: float) -> Tensor:
    """What the slots are used, eq. 20: w^u = gamma w^u_{t-1} + w^r + w^w, summed over the heads.

    Args:
        usage: (B, N), w^u_{t-1}
        read_weights: (B, heads, N), w^r_t
        write_weights: (B, heads, N), w^w_t
        usage_decay: gamma, in 0..1

    Returns:
        (B, N), without a gradient: only the choice of the least used looks at it

    >>> read, written = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])
    >>> update_usage(torch.tensor([[4.0, 2.0]]), read, written, 0.5)
    tensor([[3., 2.]])
    """
    return usage_decay * usage.detach() + read_weights.detach().sum(1) + write_weights.detach().sum(1)
