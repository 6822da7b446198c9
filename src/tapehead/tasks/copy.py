"""The copy task: NTM paper (arXiv 1410.5401), section 4.1."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from tapehead.tasks.bits import Density, draw_vectors
from tapehead.tasks.task import (
    Batch,
    Size,
    Task,
    check_no_repeats,
    check_number_of_sizes,
    check_range,
    check_size_names,
    check_word,
    draw,
    shown_then_asked,
)

__all__ = ["Copy"]


@dataclass(frozen=True)
class Copy(Task):
    """Store a sequence of random bits, and say it again after the delimiter.

    Channels over time for length L = 3, bits = 2 (D = 3, O = 2, T = 7)::

        time          0  1  2  3  4  5  6
        bit 0         a  b  c  .  .  .  .      shown for L steps
        bit 1         d  e  f  .  .  .  .
        delimiter     .  .  .  1  .  .  .      one step with only the delimiter, the last channel
        target 0                  a  b  c      L empty steps, in which the answer counts
        target 1                  d  e  f

    Example, length 2: input (1,0), (1,1); what is shown is (1,0,0), (1,1,0), (0,0,1), (0,0,0), (0,0,0), and the
    target of the last two steps is (1,0), (1,1).

    Example, length 1: input (0,1); what is shown is (0,1,0), (0,0,1), (0,0,0), and the target of the last step
    is (0,1).

    Attributes:
        bits: of each vector
        min_length: shortest sequence, in vectors
        max_length: longest sequence, in vectors
        mixed_lengths: whether every row of a batch draws its own length; else a batch has one
        density: how likely a bit of a training sequence is 1: "even" with probability 1/2, "random" with one drawn for
            each sequence, so that vectors of zeros are common. Those of validation and evaluation are always even

    Raises:
        ValueError: lengths or bits below 1, the shortest longer than the longest, or an unknown density.

    >>> task = Copy(bits=2)
    >>> batch = task.sample(1, torch.Generator().manual_seed(1), {"length": 3})
    >>> batch.input.shape, batch.target.shape
    (torch.Size([7, 1, 3]), torch.Size([7, 1, 2]))
    >>> print(task.to_text(batch))
    sequence 1 of 1: 7 steps
      bit 0      #.#....
      bit 1      #.#....
      delimiter  ...#...
      target 0       #.#
      target 1       #.#
    """

    bits: int = 8
    min_length: int = 1
    max_length: int = 20
    mixed_lengths: bool = False
    density: Density = "even"

    def __post_init__(self) -> None:
        check_range("Copy", "length", self.min_length, self.max_length)
        check_number_of_sizes("Copy", (self.min_length, self.max_length))
        if self.bits < 1:
            raise ValueError(f"Copy: expected bits >= 1, got {self.bits}.")
        check_word("Copy", "density", self.density, get_args(Density))

    @property
    def input_size(self) -> int:
        return self.bits + 1

    @property
    def target_size(self) -> int:
        return self.bits

    def channel_names(self) -> list[str]:
        return [f"bit {index}" for index in range(self.bits)] + ["delimiter"]

    def sizes(self) -> list[Size]:
        return [{"length": length} for length in range(self.min_length, self.max_length + 1)]

    def stage(self, limit: int) -> Copy:
        return dataclasses.replace(self, max_length=max(self.min_length, min(limit, self.max_length)))

    def evaluation_size(self, length: int, repeats: int | None = None) -> Size:
        if length < 1:
            raise ValueError(f"Copy: expected a length >= 1, got {length}.")
        check_no_repeats("Copy", repeats)
        return {"length": length}

    def slots(self, size: Size) -> int:
        return size["length"]

    def sample(self, batch_size: int, generator: torch.Generator | None = None, size: Size | None = None) -> Batch:
        return self._draw(batch_size, generator, size, "even" if size else self.density)

    def training_sample(
        self, batch_size: int, generator: torch.Generator | None = None, size: Size | None = None
    ) -> Batch:
        return self._draw(batch_size, generator, size, self.density)

    def _draw(self, batch_size: int, generator: torch.Generator | None, size: Size | None, density: Density) -> Batch:
        check_size_names("Copy", size, "length")
        if size is None and self.mixed_lengths:
            lengths = draw(self.min_length, self.max_length, batch_size, generator, each=True)
            return self._ragged(lengths, generator, density)
        length = size["length"] if size else int(draw(self.min_length, self.max_length, 1, generator, each=True))
        vectors = draw_vectors(length, batch_size, self.bits, generator, density)
        return shown_then_asked(vectors, vectors)

    def _ragged(self, lengths: Tensor, generator: torch.Generator | None, density: Density) -> Batch:
        """A batch whose rows have these lengths, (B,)."""
        longest = int(lengths.max())
        time = torch.arange(2 * longest + 1).unsqueeze(1)
        mask = (time > lengths) & (time <= 2 * lengths)
        vectors = draw_vectors(longest, len(lengths), self.bits, generator, density)
        vectors *= (time[:longest] < lengths).unsqueeze(-1)
        input = vectors.new_zeros(2 * longest + 1, len(lengths), self.input_size)
        input[:longest, :, : self.bits] = vectors
        input[:, :, self.bits] = time == lengths
        # The answer at step L + 1 + i is vector i.
        source = (time - lengths - 1).clamp(0, longest - 1).unsqueeze(-1).expand(-1, -1, self.bits)
        target = vectors.gather(0, source) * mask.unsqueeze(-1)
        return Batch(input, target, mask, 2 * lengths + 1)
