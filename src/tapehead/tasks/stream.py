"""An endless stream of batches in which every batch has a number."""

from __future__ import annotations

import torch

from tapehead.tasks.checks import check_batch
from tapehead.tasks.task import Batch, Size, Task

__all__ = ["Stream", "generator_for"]

_MASK = (1 << 64) - 1
_OTHER_RANKS = 1 << 63
"""Added to ranks other than 0: seeds are lower, and the second number of a validation's generator is a seed."""


def generator_for(*numbers: int) -> torch.Generator:
    """A generator for a seed, a rank, a position...: other numbers give an unrelated one (splitmix64 over them).

    torch takes 32 bits of it, so among 100,000 generators one pair or two are expected to be the same by chance.

    >>> first, again, other = generator_for(0, 1), generator_for(0, 1), generator_for(1, 0)
    >>> first.initial_seed() == again.initial_seed(), first.initial_seed() == other.initial_seed()
    (True, False)
    """
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return torch.Generator().manual_seed(state >> 1)


class Stream:
    """Batches of a task, each drawn from a generator made for (seed, rank, position).

    The position is the whole state: a stream put at position 1,000 goes on exactly as one that drew 1,000 batches, and
    every process of a distributed run draws its own batches.

    Args:
        task: what to draw
        batch_size: B
        seed: of the run
        rank: of the process

    >>> from tapehead.tasks import Copy
    >>> stream = Stream(Copy(), batch_size=4, seed=0)
    >>> skipped, second = stream.draw(), stream.draw()
    >>> again = Stream(Copy(), batch_size=4, seed=0)
    >>> again.position = 1
    >>> torch.equal(again.draw().input, second.input)
    True
    """

    def __init__(self, task: Task, batch_size: int, seed: int, rank: int = 0) -> None:
        if batch_size < 1:
            raise ValueError(f"Stream: expected batch_size >= 1, got {batch_size}.")
        self.task = task
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.position = 0
        self._checked = False

    def draw(self, size: Size | None = None) -> Batch:
        """The next batch to train on; the first one drawn is checked.

        Raises:
            DataError: it is no batch of the task.
        """
        generator = generator_for(self.seed, self.rank and _OTHER_RANKS + self.rank, self.position)
        self.position += 1
        batch = self.task.training_sample(self.batch_size, generator, size)
        if not self._checked:
            check_batch(self.task, "training_sample", batch, self.batch_size)
            self._checked = True
        return batch
