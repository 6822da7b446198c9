"""Addressing by content: NTM paper (arXiv 1410.5401), section 3.3.1."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["NORM_EPSILON", "content_weights", "cosine_similarity"]

NORM_EPSILON = 1e-6
"""Joins each norm as sqrt(|v|^2 + epsilon^2), so that a slot or key of zeros has similarity 0 and finite gradients."""


def cosine_similarity(key: Tensor, memory: Tensor) -> Tensor:
    """Cosine of the angle between each key and each slot, eq. 6: K[u, v] = u.v / (|u| |v|).

    Args:
        key: (B, heads, M)
        memory: (B, N, M)

    Returns:
        (B, heads, N), in -1..1

    Differs from the paper:
        Norms carry `NORM_EPSILON`: the similarity to a slot of zeros is 0 rather than undefined.

    >>> key, memory = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[3.0, 4.0], [-3.0, -4.0], [0.0, 0.0]]])
    >>> cosine_similarity(key, memory)
    tensor([[[ 1., -1.,  0.]]])
    """
    key_norm = (key.square().sum(-1) + NORM_EPSILON**2).sqrt()
    memory_norm = (memory.square().sum(-1) + NORM_EPSILON**2).sqrt()
    return (key / key_norm.unsqueeze(-1)) @ (memory / memory_norm.unsqueeze(-1)).transpose(-1, -2)


def content_weights(key: Tensor, key_strength: Tensor, memory: Tensor) -> Tensor:
    """Weights by content, eq. 5: w^c(i) = softmax_i(beta K[k, M(i)]).

    Args:
        key: (B, heads, M), k_t
        key_strength: (B, heads), beta_t >= 0
        memory: (B, N, M)

    Returns:
        (B, heads, N), a distribution over the slots

    >>> key, memory = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> content_weights(key, torch.tensor([[100.0]]), memory)
    tensor([[[1.0000e+00, 3.7835e-44]]])
    """
    return torch.softmax(key_strength.unsqueeze(-1) * cosine_similarity(key, memory), -1)
