"""The dynamic N-grams task: NTM paper (arXiv 1410.5401), section 4.4."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tapehead.tasks.task import Batch, Measure, Size, Task, check_no_repeats, check_size_names

__all__ = ["NGrams"]


@dataclass(frozen=True)
class NGrams(Task):
    """Predict every next bit of a sequence whose rule is new each time, and has to be learned from the sequence itself.

    The rule is a table: for each of the 2^(n - 1) possible contexts, the last n - 1 bits, the probability that a 1
    follows, drawn from Beta(1/2, 1/2). The first n - 1 bits have no context yet and are 0 or 1 with equal chance.
    Channels over time for a sequence of 4 bits (D = 1, O = 1, T = 4)::

        time       0  1  2  3
        bit        .  a  b  c      the bit before, nothing at first
        target 0   a  b  c  d      the next one; every step counts

    Example, n = 2: context 0 is followed by a 1 with probability 0.9, context 1 with 0.2. A likely sequence is 0, 1, 0,
    1: what is shown is 0, 0, 1, 0, and the target 0, 1, 0, 1.

    Example, n = 3: with a table whose contexts 00, 01, 10 and 11 are followed by a 1 with probability 0, 1, 1 and 0,
    the sequence that begins 0, 1 goes on 1, 0, 1, 1, 0, ...: shown one step late, and predicted but for the first two.

    No predictor makes fewer bits than the Bayesian one of `optimal_predictions`: some 133.35 in the mean for the
    paper's sizes, 5 of them for the first 5 bits. What counts is the number of bits above that, on the same sequences.

    Attributes:
        n: a bit depends on the n - 1 before it
        length: bits of a sequence

    Raises:
        ValueError: n outside 1..16, or a length below n.

    >>> task = NGrams(n=3, length=20)
    >>> batch = task.sample(1, torch.Generator().manual_seed(2))
    >>> print(task.to_text(batch))
    sequence 1 of 1: 20 steps
      bit       ...#.#.#.#.#..#.#.#.
      target 0  ..#.#.#.#.#..#.#.#.#
    >>> task.optimal_bits(batch)
    tensor([12.0185])
    """

    evaluation_lengths: ClassVar[tuple[int, ...]] = (100, 200, 400)
    measure: ClassVar[Measure] = "excess_bits"

    n: int = 6
    length: int = 200

    def __post_init__(self) -> None:
        if not 1 <= self.n <= 16:
            raise ValueError(f"NGrams: expected n in 1..16, got {self.n}.")
        if self.length < self.n:
            raise ValueError(f"NGrams: expected length >= n = {self.n}, got {self.length}.")

    @property
    def input_size(self) -> int:
        return 1

    @property
    def target_size(self) -> int:
        return 1

    def channel_names(self) -> list[str]:
        return ["bit"]

    def sizes(self) -> list[Size]:
        return [{"length": self.length}]

    def stage(self, limit: int) -> NGrams:
        """Cut the sequences at `limit` bits."""
        return dataclasses.replace(self, length=max(self.n, min(limit, self.length)))

    def evaluation_size(self, length: int, repeats: int | None = None) -> Size:
        if length < self.n:
            raise ValueError(f"NGrams: expected a length >= n = {self.n}, got {length}.")
        check_no_repeats("NGrams", repeats)
        return {"length": length}

    def slots(self, size: Size) -> int:
        """One for each context, at any length."""
        return 2 ** (self.n - 1)

    def sample(self, batch_size: int, generator: torch.Generator | None = None, size: Size | None = None) -> Batch:
        check_size_names("NGrams", size, "length")
        length = size["length"] if size else self.length
        tables = self._tables(batch_size, generator).tolist()
        chances = torch.rand(batch_size, length, generator=generator, dtype=torch.float64).tolist()
        bits = torch.tensor([self._sequence(*row) for row in zip(tables, chances, strict=True)])
        target = bits.T.unsqueeze(-1).to(torch.get_default_dtype())
        input = torch.cat([torch.zeros_like(target[:1]), target[:-1]])
        return Batch(input, target, torch.ones(length, batch_size, dtype=torch.bool), None)

    def _tables(self, batch_size: int, generator: torch.Generator | None) -> Tensor:
        """The probability of a 1 after each context, (B, 2^(n - 1)): Beta(1/2, 1/2) is the arcsine distribution."""
        uniform = torch.rand(batch_size, 2 ** (self.n - 1), generator=generator, dtype=torch.float64)
        return torch.sin(torch.pi / 2 * uniform).square()

    def _sequence(self, table: list[float], chances: list[float]) -> list[int]:
        """One sequence: each step needs the bits of the one before, so plain numbers are faster than tensors."""
        context, last = 0, len(table) - 1
        bits = []
        for time, chance in enumerate(chances):
            bit = int(chance < (0.5 if time < self.n - 1 else table[context]))
            bits.append(bit)
            context = (2 * context + bit) & last
        return bits

    def optimal_predictions(self, bits: Tensor) -> Tensor:
        """What the best possible predictor says, NTM paper eq. 10: (T, B) -> (T, B), the probability of a 1.

            P(1 | N_1, N_0, c) = (N_1 + 1/2) / (N_1 + N_0 + 1)

        with N_1 and N_0 the ones and zeros seen so far in this sequence after the same context c.

        Args:
            bits: of the sequences, 0 or 1

        >>> NGrams(n=2).optimal_predictions(torch.tensor([[1.0], [1.0], [1.0], [0.0]])).squeeze(1)
        tensor([0.5000, 0.5000, 0.7500, 0.8333])
        """
        steps, batch_size = bits.shape
        whole = bits.long()
        counts = bits.new_zeros(batch_size, 2 ** (self.n - 1), 2)
        rows = torch.arange(batch_size, device=bits.device)
        context = torch.zeros_like(whole[0])
        predictions = torch.full_like(bits, 0.5)
        for time in range(steps):
            if time >= self.n - 1:
                seen = counts[rows, context]
                predictions[time] = (seen[:, 1] + 0.5) / (seen.sum(1) + 1)
                counts[rows, context, whole[time]] += 1
            context = (2 * context + whole[time]) & (2 ** (self.n - 1) - 1)
        return predictions

    def optimal_bits(self, batch: Batch) -> Tensor:
        """Bits of each sequence under `optimal_predictions`: (B,)."""
        target = batch.target.squeeze(-1)
        chance = self.optimal_predictions(target)
        return -torch.where(target > 0.5, chance, 1 - chance).log2().sum(0)
