"""The random vectors of bits that tasks are made of, and how those that are trained on may differ."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Density", "balanced_bits", "draw_vectors"]

Density = Literal["even", "random"]
"""How likely a bit of a training sequence is 1: with probability 1/2; or with one that is drawn for each sequence."""


def draw_vectors(
    length: int, batch_size: int, bits: int, generator: torch.Generator | None, density: Density = "even"
) -> Tensor:
    """Vectors of random bits, of torch's default dtype: (L, B, bits).

    Args:
        length: L, vectors of a sequence
        batch_size: B
        bits: of a vector
        generator: source of chance; None is torch's own
        density: "even": every bit is 1 with probability 1/2; "random": with a probability drawn evenly from 0..1 for
            each sequence, so that a ninth of all vectors of 8 bits are zeros

    >>> draw_vectors(3, 2, 8, torch.Generator().manual_seed(0)).shape
    torch.Size([3, 2, 8])
    """
    shape, dtype = (length, batch_size, bits), torch.get_default_dtype()
    if density == "even":
        return torch.randint(0, 2, shape, generator=generator, dtype=dtype)
    probability = torch.rand(batch_size, 1, generator=generator)
    return (torch.rand(shape, generator=generator) < probability).to(dtype)


def balanced_bits(counts: Tensor, most: int, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Random bits of which, at every place, half of a row's are 1: (K, B, *shape), K = `most`.

    Row b has counts[b] values at each place of `shape`, and zeros past them. Where that is an odd number, one more or
    one less than half is 1, by chance.

    Args:
        counts: (B,) integers in 0..K
        most: K
        shape: of one of a row's values
        generator: source of chance; None is torch's own

    >>> balanced_bits(torch.tensor([4, 2]), 4, (3,), torch.Generator().manual_seed(0)).sum(0)
    tensor([[2., 2., 2.],
            [1., 1., 1.]])
    """
    whole = (most, len(counts), *shape)
    counts = counts.view(-1, *[1] * len(shape))
    absent = torch.arange(most).view(-1, *[1] * (len(shape) + 1)) >= counts
    # The rank of each value among those of its row and place is a permutation; absent ones come last.
    ranks = torch.rand(whole, generator=generator).masked_fill(absent, 2).argsort(0).argsort(0)
    more = torch.randint(0, 2, whole[1:], generator=generator)
    ones = torch.div(counts + more, 2, rounding_mode="floor")
    return (ranks < ones).to(torch.get_default_dtype())
