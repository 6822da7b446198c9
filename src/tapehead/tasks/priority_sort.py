"""The priority sort task: NTM paper (arXiv 1410.5401), section 4.5."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import torch

from tapehead.tasks.task import (
    Batch,
    Size,
    Task,
    check_no_repeats,
    check_number_of_sizes,
    check_size_names,
    draw,
    shown_then_asked,
)

__all__ = ["PrioritySort"]


@dataclass(frozen=True)
class PrioritySort(Task):
    """See random vectors, each with a priority, and say those of the highest priorities, the highest first.

    Channels over time for L = 3 vectors of which the 2 highest are asked for, bits = 2 (D = 4, O = 2, T = 3 + 1 + 2)::

        time          0  1  2  3  4  5
        bit 0         a  b  c  .  .  .      shown for L steps
        bit 1         d  e  f  .  .  .
        priority     .1 .9 .4  .  .  .      uniform in -1..1, beside each vector
        delimiter     .  .  .  1  .  .      one step with only the delimiter, the last channel
        target 0                  b  c      as many empty steps as vectors are asked for, in which the answer counts
        target 1                  e  f

    Example, the highest 2 of 3: vectors (1,0), (0,1), (1,1) with priorities -0.5, 0.8, 0.1; what is shown is
    (1,0,-0.5,0), (0,1,0.8,0), (1,1,0.1,0), (0,0,0,1) and two empty steps, and the target of those is (0,1), (1,1).

    Example, all of 2: vectors (1,0), (0,1) with priorities 0.3, 0.2; what is shown is (1,0,0.3,0), (0,1,0.2,0),
    (0,0,0,1) and two empty steps, and the target of those is (1,0), (0,1).

    Attributes:
        bits: of each vector
        length: vectors shown, at the most where `min_length` is given
        highest: vectors asked for; all of them where fewer are shown
        min_length: vectors shown at the least, a number being drawn for each batch; left out, there are always `length`

    Differs from the paper:
        A delimiter tells that the answer is due; the paper says nothing of how it does. Its figures show the first
        vector of the answer as the one of the highest priority, as here.

    Raises:
        ValueError: no bits, no vectors, none asked for, or fewer at the most than at the least.

    >>> task = PrioritySort(bits=2, length=4, highest=2)
    >>> batch = task.sample(1, torch.Generator().manual_seed(3))
    >>> batch.input[:4, 0, 2]
    tensor([ 0.1888,  0.7757, -0.0979,  0.5990])
    >>> print(task.to_text(batch))
    sequence 1 of 1: 7 steps
      bit 0      .#.....
      bit 1      .#.#...
      priority   ++-+...
      delimiter  ....#..
      target 0        #.
      target 1        ##
    """

    evaluation_lengths: ClassVar[tuple[int, ...]] = (10, 15, 20, 25, 30)

    bits: int = 8
    length: int = 20
    highest: int = 16
    min_length: int | None = None

    def __post_init__(self) -> None:
        for name in ("bits", "length", "highest"):
            if getattr(self, name) < 1:
                raise ValueError(f"PrioritySort: expected {name} >= 1, got {getattr(self, name)}.")
        if not 1 <= self._shortest <= self.length:
            raise ValueError(
                f"PrioritySort: expected 1 <= min_length <= length, got {self.min_length} and {self.length}."
            )
        check_number_of_sizes("PrioritySort", (self._shortest, self.length))

    @property
    def _shortest(self) -> int:
        return self.length if self.min_length is None else self.min_length

    @property
    def input_size(self) -> int:
        return self.bits + 2

    @property
    def target_size(self) -> int:
        return self.bits

    def channel_names(self) -> list[str]:
        return [f"bit {index}" for index in range(self.bits)] + ["priority", "delimiter"]

    def sizes(self) -> list[Size]:
        return [{"length": length} for length in range(self._shortest, self.length + 1)]

    def stage(self, limit: int) -> PrioritySort:
        """Show at most `limit` vectors, or `min_length` where that is more."""
        return dataclasses.replace(self, length=max(self.min_length or 1, min(limit, self.length)))

    def evaluation_size(self, length: int, repeats: int | None = None) -> Size:
        if length < 1:
            raise ValueError(f"PrioritySort: expected a length >= 1, got {length}.")
        check_no_repeats("PrioritySort", repeats)
        return {"length": length}

    def slots(self, size: Size) -> int:
        return size["length"]

    def sample(self, batch_size: int, generator: torch.Generator | None = None, size: Size | None = None) -> Batch:
        check_size_names("PrioritySort", size, "length")
        length = size["length"] if size else self._draw_length(generator)
        dtype = torch.get_default_dtype()
        vectors = torch.randint(0, 2, (length, batch_size, self.bits), generator=generator, dtype=dtype)
        priorities = 2 * torch.rand(length, batch_size, generator=generator, dtype=dtype) - 1
        ranks = priorities.argsort(0, descending=True)[: self.highest]
        answer = vectors.gather(0, ranks.unsqueeze(-1).expand(-1, -1, self.bits))
        return shown_then_asked(torch.cat([vectors, priorities.unsqueeze(-1)], -1), answer)

    def _draw_length(self, generator: torch.Generator | None) -> int:
        if self.min_length is None:  # a draw would change the numbers that follow
            return self.length
        return int(draw(self.min_length, self.length, 1, generator, each=True))
