"""Addressing by location: NTM paper (arXiv 1410.5401), section 3.3.2."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["interpolate", "sharpen", "shift"]


def interpolate(content_weights: Tensor, previous_weights: Tensor, interpolation_gate: Tensor) -> Tensor:
    """Mix content and the last step's weights, eq. 7: w^g = g w^c + (1 - g) w_{t-1}.

    Args:
        content_weights: (B, heads, N)
        previous_weights: (B, heads, N)
        interpolation_gate: (B, heads), in 0..1; 1 = content, 0 = previous weights

    Returns:
        (B, heads, N)

    >>> interpolate(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]]), torch.tensor([[0.25]]))
    tensor([[[0.2500, 0.7500]]])
    """
    return torch.lerp(previous_weights, content_weights, interpolation_gate.unsqueeze(-1))


def shift(weights: Tensor, shift_weights: Tensor) -> Tensor:
    """Rotate the weights by a mixture of offsets, eq. 8: w~(i) = sum_j w(i - j) s(j), slots in a circle.

    Args:
        weights: (B, heads, N), N >= S
        shift_weights: (B, heads, S), a distribution; entry j is offset j - max_shift, a positive one moves to
            higher slots

    Returns:
        (B, heads, N)

    Raises:
        ValueError: S is even.

    >>> shift(torch.tensor([[[1.0, 0.0, 0.0, 0.0]]]), torch.tensor([[[0.0, 0.0, 1.0]]]))
    tensor([[[0., 1., 0., 0.]]])
    """
    size = shift_weights.shape[-1]
    if size % 2 == 0:
        raise ValueError(f"shift: expected an odd number of shift weights, 2 max_shift + 1, got {size}.")
    max_shift = size // 2
    # (B, heads, S, N): the weights as each offset alone would move them.
    moved = torch.stack([weights.roll(offset, -1) for offset in range(-max_shift, max_shift + 1)], -2)
    return (shift_weights.unsqueeze(-1) * moved).sum(-2)


def sharpen(weights: Tensor, gamma: Tensor) -> Tensor:
    """Sharpen a distribution, eq. 9: w(i) = w~(i)^gamma / sum_j w~(j)^gamma.

    Computed as softmax(gamma log w~): the power form underflows to 0 / 0 when the weights are spread over many slots.

    Args:
        weights: (B, heads, N), >= 0
        gamma: (B, heads), >= 1

    Returns:
        (B, heads, N), a distribution over the slots

    >>> sharpen(torch.tensor([[[0.75, 0.25]]]), torch.tensor([[2.0]]))
    tensor([[[0.9000, 0.1000]]])
    """
    # The smallest normal number keeps log(0) finite, and the gradient at a weight of exactly 0 right for gamma = 1.
    logarithm = torch.log(weights + torch.finfo(weights.dtype).tiny)
    return torch.softmax(gamma.unsqueeze(-1) * logarithm, -1)
