"""What is measured of an answer: the loss, bits, wrong bits, wrong answers, and whether a sequence is perfect."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from tapehead.tasks import Batch, Measure, Task

__all__ = ["MEASURES", "TRAINING_ERRORS", "Score", "training_errors", "wrong_bits"]

MEASURES: dict[Measure, str] = {
    "bit_errors": "wrong bits",
    "excess_bits": "bits above the optimum",
    "wrong_answers": "wrong answers",
}
"""What the measures of the tasks are called where people read them."""

TRAINING_ERRORS: dict[Measure, Measure] = {
    "bit_errors": "bit_errors",
    "excess_bits": "bit_errors",
    "wrong_answers": "wrong_answers",
}
"""What is counted of training sequences, by the task's measure: nobody works out an optimum there."""


class Score(NamedTuple):
    """Means over sequences. `Task.measure` names the one that counts."""

    bit_errors: float
    """wrong bits of a sequence after thresholding: the field's "cost" """
    bits: float
    """cross-entropy of a sequence in bits, summed over the steps that count"""
    perfect: float
    """share of sequences without a wrong answer, 0..1"""
    excess_bits: float
    """bits above those of the best possible predictor on the same sequences; `bits` where the answer is certain"""
    wrong_answers: float
    """steps of a sequence whose answer is wrong"""

    @classmethod
    def of(cls, logits: Tensor, batch: Batch, task: Task) -> Score:
        """Score logits (T, B, O) against a batch of a task.

        >>> import torch
        >>> from tapehead.tasks import Copy
        >>> task = Copy(bits=2)
        >>> batch = task.sample(4, size={"length": 3})
        >>> round(Score.of(torch.zeros_like(batch.target), batch, task).bits, 4)
        6.0
        """
        wrong = (~task.right(logits, batch) & batch.mask).sum(0)
        bits = task.loss(logits, batch).item() / math.log(2)
        optimum = task.optimal_bits(batch).mean().item()
        return cls(
            wrong_bits(logits, batch).float().mean().item(),
            bits,
            (wrong == 0).float().mean().item(),
            bits - optimum,
            wrong.float().mean().item(),
        )

    @classmethod
    def mean(cls, scores: list[Score]) -> Score:
        """The mean of scores of equally many sequences each."""
        return cls(*(sum(values) / len(scores) for values in zip(*scores, strict=True)))


def wrong_bits(logits: Tensor, batch: Batch) -> Tensor:
    """Bits of each sequence on the wrong side of 0.5, over the steps that count: (B,)."""
    wrong = (logits > 0) != (batch.target > 0.5)
    return (wrong & batch.mask.unsqueeze(-1)).sum((0, 2))


def training_errors(logits: Tensor, batch: Batch, task: Task) -> Tensor:
    """Errors of a training sequence, in the mean: what `TRAINING_ERRORS` names for the task; ()."""
    if TRAINING_ERRORS[task.measure] == "wrong_answers":
        wrong = (~task.right(logits, batch) & batch.mask).sum()
    else:
        wrong = wrong_bits(logits, batch).sum()
    return wrong / logits.shape[1]
