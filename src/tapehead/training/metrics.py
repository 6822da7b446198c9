"""What is measured of an answer: the loss, bits, wrong bits, and whether a sequence is perfect."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from tapehead.tasks import Batch, Measure, Task

__all__ = ["MEASURES", "Score", "sequence_loss", "wrong_bits"]

MEASURES: dict[Measure, str] = {"bit_errors": "wrong bits", "excess_bits": "bits above the optimum"}
"""What the measures of the tasks are called where people read them."""


class Score(NamedTuple):
    """Means over sequences. `Task.measure` names the one that counts."""

    bit_errors: float
    """wrong bits of a sequence after thresholding: the field's "cost" """
    bits: float
    """cross-entropy of a sequence in bits, summed over the steps that count"""
    perfect: float
    """share of sequences without a wrong bit, 0..1"""
    excess_bits: float
    """bits above those of the best possible predictor on the same sequences; `bits` where the answer is certain"""

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
        wrong = wrong_bits(logits, batch)
        bits = sequence_loss(logits, batch).item() / math.log(2)
        optimum = task.optimal_bits(batch).mean().item()
        return cls(wrong.float().mean().item(), bits, (wrong == 0).float().mean().item(), bits - optimum)

    @classmethod
    def mean(cls, scores: list[Score]) -> Score:
        """The mean of scores of equally many sequences each."""
        return cls(*(sum(values) / len(scores) for values in zip(*scores, strict=True)))


def sequence_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Binary cross-entropy in nats, summed over bits and the steps that count, averaged over the batch: ()."""
    loss = functional.binary_cross_entropy_with_logits(
        logits, batch.target, weight=batch.mask.unsqueeze(-1).to(logits.dtype), reduction="sum"
    )
    return loss / logits.shape[1]


def wrong_bits(logits: Tensor, batch: Batch) -> Tensor:
    """Bits of each sequence on the wrong side of 0.5, over the steps that count: (B,)."""
    wrong = (logits > 0) != (batch.target > 0.5)
    return (wrong & batch.mask.unsqueeze(-1)).sum((0, 2))
