"""The associative recall task: NTM paper (arXiv 1410.5401), section 4.3."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from tapehead.tasks.bits import balanced_bits
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
)

__all__ = ["AssociativeRecall"]

ItemBits = Literal["independent", "balanced"]
"""How the bits of the items of a training sequence are drawn."""


@dataclass(frozen=True)
class AssociativeRecall(Task):
    """See a list of items, be shown one of them again, and say which one came after it.

    An item is a few vectors of random bits. Channels over time for K = 2 items of 2 vectors, bits = 2
    (D = 4, O = 2, T = 3K + 4 + 2 = 12)::

        time             0  1  2  3  4  5  6  7  8  9 10 11
        bit 0            .  a  b  .  e  f  .  a  b  .  .  .      every item after its delimiter,
        bit 1            .  c  d  .  g  h  .  c  d  .  .  .      then the query between two of its own,
        item delimiter   1  .  .  1  .  .  .  .  .  .  .  .      any item but the last
        query delimiter  .  .  .  .  .  .  1  .  .  1  .  .
        target 0                                      e  f      as many empty steps, in which the answer counts:
        target 1                                      g  h      the item that came after the query

    Example, items of 1 vector: items (1,0), (0,1), (1,1), query (0,1); what is shown is (0,0,1,0), (1,0,0,0),
    (0,0,1,0), (0,1,0,0), (0,0,1,0), (1,1,0,0), (0,0,0,1), (0,1,0,0), (0,0,0,1), (0,0,0,0), and the target of the last
    step is (1,1).

    Example, the same items, query (1,0): the last four steps shown are (0,0,0,1), (1,0,0,0), (0,0,0,1), (0,0,0,0), and
    the target of the last is (0,1).

    Attributes:
        bits: of each vector
        item_length: vectors in an item
        min_items: fewest items
        max_items: most items
        mixed_lengths: whether every row of a batch draws its own number of items; else a batch has one
        item_bits: how a training sequence draws the bits of its items: "independent" of each other; or "balanced", so
            that at every place half of the items that may be asked for, all but the first, have a 1, or of an odd
            number one more or one less: little is gained then by answering with what most of them have. Those of
            validation and evaluation are always independent

    Differs from the paper:
        Nothing that it says. Items are drawn independently, so two may be equal: with 18 bits hardly ever, with few
        bits often, and then the query has two answers.

    Raises:
        ValueError: fewer than 2 items, no bits or no vectors, a range upside down, or an unknown way to draw items.

    >>> task = AssociativeRecall(bits=2, item_length=2)
    >>> batch = task.sample(1, torch.Generator().manual_seed(0), {"items": 3})
    >>> print(task.to_text(batch))
    sequence 1 of 1: 15 steps
      bit 0            ..#.##.##..#...
      bit 1            .#..##.#..#....
      item delimiter   #..#..#........
      query delimiter  .........#..#..
      target 0                      ##
      target 1                      ##
    """

    evaluation_lengths: ClassVar[tuple[int, ...]] = (6, 8, 10, 12, 15, 20)

    bits: int = 6
    item_length: int = 3
    min_items: int = 2
    max_items: int = 6
    mixed_lengths: bool = False
    item_bits: ItemBits = "independent"

    def __post_init__(self) -> None:
        check_range("AssociativeRecall", "items", self.min_items, self.max_items, minimum=2)
        check_number_of_sizes("AssociativeRecall", (self.min_items, self.max_items))
        for name in ("bits", "item_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"AssociativeRecall: expected {name} >= 1, got {getattr(self, name)}.")
        check_word("AssociativeRecall", "item_bits", self.item_bits, get_args(ItemBits))

    @property
    def input_size(self) -> int:
        return self.bits + 2

    @property
    def target_size(self) -> int:
        return self.bits

    def channel_names(self) -> list[str]:
        return [f"bit {index}" for index in range(self.bits)] + ["item delimiter", "query delimiter"]

    def sizes(self) -> list[Size]:
        return [{"items": items} for items in range(self.min_items, self.max_items + 1)]

    def stage(self, limit: int) -> AssociativeRecall:
        """Cut the number of items at `limit`."""
        return dataclasses.replace(self, max_items=max(self.min_items, min(limit, self.max_items)))

    def evaluation_size(self, length: int, repeats: int | None = None) -> Size:
        """A length is a number of items."""
        if length < 2:
            raise ValueError(f"AssociativeRecall: expected a length of >= 2 items, got {length}.")
        check_no_repeats("AssociativeRecall", repeats)
        return {"items": length}

    def slots(self, size: Size) -> int:
        """One for each vector."""
        return size["items"] * self.item_length

    def sample(self, batch_size: int, generator: torch.Generator | None = None, size: Size | None = None) -> Batch:
        return self._draw(batch_size, generator, size, "independent" if size else self.item_bits)

    def training_sample(
        self, batch_size: int, generator: torch.Generator | None = None, size: Size | None = None
    ) -> Batch:
        return self._draw(batch_size, generator, size, self.item_bits)

    def _draw(self, batch_size: int, generator: torch.Generator | None, size: Size | None, kind: ItemBits) -> Batch:
        check_size_names("AssociativeRecall", size, "items")
        mixed = size is None and self.mixed_lengths
        if size is None:
            counts = draw(self.min_items, self.max_items, batch_size, generator, each=mixed)
        else:
            counts = torch.full((1,), size["items"]).expand(batch_size)
        most, span = int(counts.max()), self.item_length + 1
        items = self._items(most, batch_size, generator)
        if kind == "balanced":
            items[1:] = balanced_bits(counts - 1, most - 1, (self.item_length, self.bits), generator).transpose(1, 2)
        items *= (torch.arange(most).unsqueeze(1) < counts).view(most, 1, batch_size, 1)
        queries = (torch.rand(batch_size, generator=generator) * (counts - 1)).long()  # of items 0 .. K - 2

        end = counts * span  # where the query's first delimiter is
        steps = most * span + 2 * span
        input = items.new_zeros(steps, batch_size, self.input_size)
        listed = input[: most * span].view(most, span, batch_size, self.input_size)
        listed[:, 1:, :, : self.bits] = items
        listed[:, 0, :, self.bits] = (torch.arange(most).unsqueeze(1) < counts).to(items.dtype)
        rows = torch.arange(batch_size)
        target = items.new_zeros(steps, batch_size, self.bits)
        mask = torch.zeros(steps, batch_size, dtype=torch.bool)
        for place in range(self.item_length):
            input[end + 1 + place, rows, : self.bits] = items[queries, place, rows]
            target[end + span + 1 + place, rows] = items[queries + 1, place, rows]
            mask[end + span + 1 + place, rows] = True
        input[end, rows, self.bits + 1] = 1
        input[end + span, rows, self.bits + 1] = 1
        return Batch(input, target, mask, self._steps(counts) if mixed else None)

    def _items(self, count: int, batch_size: int, generator: torch.Generator | None) -> Tensor:
        """Items that are independent of each other: (K, item_length, B, bits)."""
        shape = (count, self.item_length, batch_size, self.bits)
        return torch.randint(0, 2, shape, generator=generator, dtype=torch.get_default_dtype())

    def _steps(self, counts: Tensor) -> Tensor:
        """Steps of sequences with so many items."""
        return (counts + 2) * (self.item_length + 1)
