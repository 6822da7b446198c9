"""The repeat copy task: NTM paper (arXiv 1410.5401), section 4.2."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, get_args

import torch

from tapehead.tasks.bits import Density, draw_vectors
from tapehead.tasks.task import (
    Batch,
    Size,
    Task,
    check_number_of_sizes,
    check_range,
    check_size_names,
    check_word,
    draw,
)

__all__ = ["RepeatCopy"]


@dataclass(frozen=True)
class RepeatCopy(Task):
    """Store a sequence of random bits, say it as often as asked, and then say that it ends.

    Channels over time for length L = 2, bits = 2, repeats R = 2 (D = 4, O = 3, T = L + 1 + L*R + 1 = 8)::

        time          0  1  2  3  4  5  6  7
        bit 0         a  b  .  .  .  .  .  .      shown for L steps
        bit 1         c  d  .  .  .  .  .  .
        delimiter     .  .  1  .  .  .  .  .      one step with the delimiter and, normalised, the repeats
        repeats       .  .  r  .  .  .  .  .
        target 0               a  b  a  b  .      L*R + 1 empty steps, in which the answer counts
        target 1               c  d  c  d  .
        end marker             .  .  .  .  1      the last target channel, once, after the last repeat

    r = (R - mean) / deviation over the training repeats, as the paper normalises it to mean 0 and variance 1.

    Example, length 1, repeats 2 of 1..3 (mean 2, r = 0): input (1,0); what is shown is (1,0,0,0), (0,0,1,0) and three
    empty steps, and the target of those is (1,0,0), (1,0,0), (0,0,1).

    Example, length 1, repeats 3 of 1..3 (deviation 0.816, r = 1.22): input (0,1); what is shown is (0,1,0,0),
    (0,0,1,1.22) and four empty steps, and the target of those is (0,1,0), (0,1,0), (0,1,0), (0,0,1).

    Attributes:
        bits: of each vector
        min_length: shortest sequence, in vectors
        max_length: longest sequence, in vectors
        min_repeats: fewest repeats
        max_repeats: most repeats
        mixed_lengths: whether every row of a batch draws its own length and repeats; else a batch has one of each
        density: how likely a bit of a training sequence is 1: "even" with probability 1/2, "random" with one drawn for
            each sequence, so that vectors of zeros are common. Those of validation and evaluation are always even

    Differs from the paper:
        The step that shows the repeats has a delimiter as well, so that repeats at the mean do not look like nothing.

    Raises:
        ValueError: a range or the bits below 1, a range upside down, or an unknown density.

    >>> task = RepeatCopy(bits=2)
    >>> batch = task.sample(1, torch.Generator().manual_seed(1), {"length": 2, "repeats": 3})
    >>> print(task.to_text(batch))
    sequence 1 of 1: 10 steps
      bit 0      #.........
      bit 1      #.........
      delimiter  ..#.......
      repeats    ..-.......
      target 0      #.#.#..
      target 1      #.#.#..
      target 2      ......#
    """

    evaluation_lengths: ClassVar[tuple[int, ...]] = (5, 10, 15, 20)

    bits: int = 8
    min_length: int = 1
    max_length: int = 10
    min_repeats: int = 1
    max_repeats: int = 10
    mixed_lengths: bool = False
    density: Density = "even"

    def __post_init__(self) -> None:
        check_range("RepeatCopy", "length", self.min_length, self.max_length)
        check_range("RepeatCopy", "repeats", self.min_repeats, self.max_repeats)
        ranges = (self.min_length, self.max_length), (self.min_repeats, self.max_repeats)
        check_number_of_sizes("RepeatCopy", *ranges)
        if self.bits < 1:
            raise ValueError(f"RepeatCopy: expected bits >= 1, got {self.bits}.")
        check_word("RepeatCopy", "density", self.density, get_args(Density))

    @property
    def input_size(self) -> int:
        return self.bits + 2

    @property
    def target_size(self) -> int:
        return self.bits + 1

    def channel_names(self) -> list[str]:
        return [f"bit {index}" for index in range(self.bits)] + ["delimiter", "repeats"]

    def sizes(self) -> list[Size]:
        return [
            {"length": length, "repeats": repeats}
            for length in range(self.min_length, self.max_length + 1)
            for repeats in range(self.min_repeats, self.max_repeats + 1)
        ]

    def stage(self, limit: int) -> RepeatCopy:
        """Cut the lengths at `limit`. The repeats stay, and with them the scale of their channel."""
        return dataclasses.replace(self, max_length=max(self.min_length, min(limit, self.max_length)))

    def evaluation_size(self, length: int, repeats: int | None = None) -> Size:
        repeats = self.max_repeats if repeats is None else repeats
        if length < 1 or repeats < 1:
            raise ValueError(f"RepeatCopy: expected length and repeats >= 1, got {length} and {repeats}.")
        return {"length": length, "repeats": repeats}

    def normalise(self, repeats: torch.Tensor) -> torch.Tensor:
        """Number of repeats -> what the repeats channel shows: mean 0 and variance 1 over the training repeats."""
        low, high = self.min_repeats, self.max_repeats
        deviation = math.sqrt(((high - low + 1) ** 2 - 1) / 12) or 1.0
        return (repeats.to(torch.get_default_dtype()) - (low + high) / 2) / deviation

    def slots(self, size: Size) -> int:
        return size["length"]

    def sample(self, batch_size: int, generator: torch.Generator | None = None, size: Size | None = None) -> Batch:
        return self._draw(batch_size, generator, size, "even" if size else self.density)

    def training_sample(
        self, batch_size: int, generator: torch.Generator | None = None, size: Size | None = None
    ) -> Batch:
        return self._draw(batch_size, generator, size, self.density)

    def _draw(self, batch_size: int, generator: torch.Generator | None, size: Size | None, density: Density) -> Batch:
        check_size_names("RepeatCopy", size, "length", "repeats")
        if size is not None:
            lengths = torch.full((1,), size["length"]).expand(batch_size)
            repeats = torch.full((1,), size["repeats"]).expand(batch_size)
        else:
            lengths = draw(self.min_length, self.max_length, batch_size, generator, each=self.mixed_lengths)
            repeats = draw(self.min_repeats, self.max_repeats, batch_size, generator, each=self.mixed_lengths)
        answers = lengths * repeats
        longest, steps = int(lengths.max()), int((lengths + answers).max()) + 2
        time = torch.arange(steps).unsqueeze(1)
        end = lengths + 1 + answers
        mask = (time > lengths) & (time <= end)

        vectors = draw_vectors(longest, batch_size, self.bits, generator, density)
        vectors *= (time[:longest] < lengths).unsqueeze(-1)
        input = vectors.new_zeros(steps, batch_size, self.input_size)
        input[:longest, :, : self.bits] = vectors
        delimiter = time == lengths
        input[:, :, self.bits] = delimiter
        input[:, :, self.bits + 1] = delimiter * self.normalise(repeats)
        # The answer at step L + 1 + i is vector i mod L, then the end marker.
        source = ((time - lengths - 1).clamp(0) % lengths).unsqueeze(-1).expand(-1, -1, self.bits)
        target = vectors.new_zeros(steps, batch_size, self.target_size)
        target[:, :, : self.bits] = vectors.gather(0, source) * (mask & (time < end)).unsqueeze(-1)
        target[:, :, self.bits] = time == end
        ragged = size is None and self.mixed_lengths
        return Batch(input, target, mask, end + 1 if ragged else None)
