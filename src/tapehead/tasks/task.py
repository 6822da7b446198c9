"""What a task is: sizes, a batch of sequences for a size, and a way to show one to people."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Batch", "Measure", "Size", "Task", "draw"]

Size = dict[str, int]
"""What decides how long a sequence is, by name: {"length": 20}, or {"length": 10, "repeats": 3}. The first number is
what users call the length, and what the stages of a curriculum limit."""


Measure = Literal["bit_errors", "excess_bits", "wrong_answers"]
"""What tells how well a task is done, a field of `tapehead.training.metrics.Score`: wrong bits of a sequence;
where nobody can know the answer, bits above the best possible predictor's; where a step has one answer, how many are
wrong."""


MOST_SIZES = 1_000_000
"""That a task of tapehead's own may have."""


class Batch(NamedTuple):
    """Sequences to train or test on; T is the longest row's number of steps.

    >>> from tapehead.tasks import Copy
    >>> batch = Copy(bits=8).sample(4, size={"length": 5})  # 5 vectors, a delimiter, and 5 steps for the answer
    >>> batch.input.shape, batch.target.shape, int(batch.mask[:, 0].sum()), batch.lengths
    (torch.Size([11, 4, 9]), torch.Size([11, 4, 8]), 5, None)
    """

    input: Tensor
    """(T, B, D)"""
    target: Tensor
    """(T, B, O), zero where the mask is false"""
    mask: Tensor
    """(T, B) bool: the steps that count"""
    lengths: Tensor | None
    """(B,) steps of each row, or None where every row has T"""


@dataclass(frozen=True)
class Task(ABC):
    """A kind of sequence to learn. Subclasses are frozen dataclasses whose fields are the task's options."""

    evaluation_lengths: ClassVar[tuple[int, ...]] = (10, 20, 30, 50, 80, 120)
    """what a trained model is tested at where a user names no lengths; empty for the length trained on"""
    evaluation_sequences: ClassVar[int] = 100
    """how many of each, where a user does not say"""
    measure: ClassVar[Measure] = "bit_errors"
    """what counts"""
    image_size: ClassVar[int | None] = None
    """edge in pixels of the picture that every step's input begins with, row by row; None where it shows none"""

    @property
    @abstractmethod
    def input_size(self) -> int:
        """D, channels of the input."""

    @property
    @abstractmethod
    def target_size(self) -> int:
        """O, channels of the target."""

    @abstractmethod
    def sizes(self) -> list[Size]:
        """Every size that training draws from: being solved means no errors at any of them."""

    @abstractmethod
    def stage(self, limit: int) -> Task:
        """The same task with its training sizes cut at `limit`: a stage of a curriculum."""

    @abstractmethod
    def sample(self, batch_size: int, generator: torch.Generator | None = None, size: Size | None = None) -> Batch:
        """Draw a batch.

        Args:
            batch_size: B
            generator: source of chance; None is torch's own
            size: of every row, inside the training sizes or not, as validation and evaluation give it; None draws the
                row as training does: its size and all else as the task's options say
        """

    @abstractmethod
    def evaluation_size(self, length: int, repeats: int | None = None) -> Size:
        """The size that a length given by a user means.

        Raises:
            ValueError: not a size of this task.
        """

    def lengths_to_evaluate(self) -> tuple[int, ...]:
        """`evaluation_lengths`, and where there are none the longest trained on."""
        return self.evaluation_lengths or (next(iter(self.sizes()[-1].values())),)

    @abstractmethod
    def slots(self, size: Size) -> int:
        """Slots of a memory that keeps each thing to remember of a sequence of this size in one of its own."""

    def training_sample(
        self, batch_size: int, generator: torch.Generator | None = None, size: Size | None = None
    ) -> Batch:
        """Draw a batch to train on: as `sample` does where no size is named, and of a size named in the same way."""
        return self.sample(batch_size, generator, size)

    def validation_sample(self, batch_size: int, generator: torch.Generator | None, size: Size) -> Batch:
        """Draw a batch of a size to watch a training with; other data than tests are made with, where data are few."""
        return self.sample(batch_size, generator, size)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy in nats, summed over bits and the steps that count, averaged over the batch: ().

        Args:
            logits: (T, B, O)
            batch: that they answer
        """
        loss = functional.binary_cross_entropy_with_logits(
            logits, batch.target, weight=batch.mask.unsqueeze(-1).to(logits.dtype), reduction="sum"
        )
        return loss / logits.shape[1]

    def right(self, logits: Tensor, batch: Batch) -> Tensor:
        """Whether the answer of each step is right, all bits of it: (T, B) bool."""
        return ((logits > 0) == (batch.target > 0.5)).all(-1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """What pictures show of logits (T, B, O), in 0..1: of the same shape. The sigmoid, where channels are bits."""
        return logits.sigmoid()

    def optimal_bits(self, batch: Batch) -> Tensor:
        """Bits of each sequence under the best possible predictor: (B,). None at all where the answer is certain."""
        return batch.target.new_zeros(batch.target.shape[1])

    def portable(self) -> Task:
        """The same task without what belongs to this machine, such as paths."""
        return self

    def channel_names(self) -> list[str]:
        """A name for each input channel."""
        return [f"input {index}" for index in range(self.input_size)]

    def to_text(self, batch: Batch, logits: Tensor | None = None, rows: int = 4) -> str:
        """A batch as text: a line a channel, time from left to right.

        Ones are `#`, zeros `.`, other values their sign; steps of the target that do not count
        are blank. With logits a wrong bit is `x` (should be 0) or `o` (should be 1); where answers count and not bits,
        those of a wrong answer are, and the first line of the sequence says how many answers are wrong.

        Args:
            batch: what `sample` gave
            logits: (T, B, O), a model's answer
            rows: how many sequences to print at most
        """
        names = self.channel_names()
        targets = [f"target {channel}" for channel in range(self.target_size)]
        width = max(map(len, names + targets))
        lines = []
        wanted = answers = batch.target > 0.5
        heads = [""] * batch.input.shape[1]
        if logits is not None and self.measure == "wrong_answers":
            right = self.right(logits, batch)
            answers = torch.where(right.unsqueeze(-1), wanted, self.probabilities(logits) > 0.5)
            counts = zip((batch.mask & ~right).sum(0).tolist(), batch.mask.sum(0).tolist(), strict=True)
            heads = [f", {wrong} of {total} answers wrong" for wrong, total in counts]
        elif logits is not None:
            answers = logits > 0
        shown = min(rows, batch.input.shape[1])
        for row in range(shown):
            steps = batch.input.shape[0] if batch.lengths is None else int(batch.lengths[row])
            lines.append(f"sequence {row + 1} of {batch.input.shape[1]}: {steps} steps{heads[row]}")
            for channel, name in enumerate(names):
                values = batch.input[:steps, row, channel].tolist()
                lines.append(f"  {name:<{width}}  " + "".join(map(_symbol, values)))
            mask = batch.mask[:steps, row].tolist()
            for channel, name in enumerate(targets):
                marks = {(True, True): "#", (False, False): ".", (False, True): "x", (True, False): "o"}
                target, answer = (bits[:steps, row, channel].tolist() for bits in (wanted, answers))
                pairs = zip(mask, target, answer, strict=True)
                text = "".join(marks[want, have] if counts else " " for counts, want, have in pairs)
                lines.append(f"  {name:<{width}}  {text}".rstrip())
        return "\n".join(lines)


def _symbol(value: float) -> str:
    if value in (0.0, 1.0):
        return "#" if value else "."
    return "+" if value > 0 else "-"


def shown_then_asked(shown: Tensor, answer: Tensor) -> Batch:
    """What is shown, a step with only the delimiter, and as many empty steps as the answer has, in which it counts.

    Args:
        shown: (L, B, C), every step's channels but for the delimiter, which is the last
        answer: (K, B, O)
    """
    length, batch_size, channels = shown.shape
    steps = length + 1 + len(answer)
    input = shown.new_zeros(steps, batch_size, channels + 1)
    input[:length, :, :channels] = shown
    input[length, :, channels] = 1
    target = answer.new_zeros(steps, batch_size, answer.shape[2])
    target[length + 1 :] = answer
    mask = torch.zeros(steps, batch_size, dtype=torch.bool)
    mask[length + 1 :] = True
    return Batch(input, target, mask, None)


def draw(low: int, high: int, count: int, generator: torch.Generator | None, *, each: bool) -> Tensor:
    """`count` integers in low..high: each its own where `each`, else all the same one."""
    drawn = torch.randint(low, high + 1, (count if each else 1,), generator=generator)
    return drawn if each else drawn.expand(count)


def check_no_repeats(owner: str, repeats: int | None) -> None:
    """Raise if a user asked for repeats, of a task that has none."""
    if repeats is not None:
        raise ValueError(
            f"{owner}: expected no repeats, got {repeats}. They are not part of this task; leave them out."
        )


def check_size_names(owner: str, size: Size | None, *names: str) -> None:
    """Raise unless a size is None or has these names and no others."""
    if size is None:
        return
    example = ", ".join(f'"{name}": 5' for name in names)
    if not isinstance(size, dict):
        raise TypeError(f"{owner}: expected a size that is a dict, such as {{{example}}}, got {size!r}.")
    if size.keys() != set(names):
        raise ValueError(f"{owner}: expected a size with {' and '.join(names)}, such as {{{example}}}, got {size!r}.")


def check_word(owner: str, name: str, value: str, known: Iterable[str]) -> None:
    """Raise unless `value` is one of the words."""
    words = tuple(known)
    if value not in words:
        raise ValueError(f"{owner}: expected {name} {' or '.join(map(repr, words))}, got {value!r}.")


def check_range(owner: str, name: str, low: int, high: int, minimum: int = 1) -> None:
    """Raise unless minimum <= low <= high."""
    if not minimum <= low <= high:
        raise ValueError(f"{owner}: expected {minimum} <= min_{name} <= max_{name}, got {low} and {high}.")


def check_number_of_sizes(owner: str, *ranges: tuple[int, int]) -> None:
    """Raise unless the sizes between the lowest and the highest numbers are few enough for a list: one for each."""
    count = math.prod(high - low + 1 for low, high in ranges)
    if count > MOST_SIZES:
        raise ValueError(
            f"{owner}: expected at most {MOST_SIZES:,} sizes, as every one is looked at in a validation, got {count}. "
            "Take a shorter range."
        )
