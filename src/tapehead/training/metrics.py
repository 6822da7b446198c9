"""What is measured of an answer: the loss, bits, wrong bits, and whether a sequence is perfect."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from tapehead.tasks import Batch

__all__ = ["Score", "sequence_loss", "wrong_bits"]


class Score(NamedTuple):
    """Means over sequences."""

    bit_errors: float
    """wrong bits of a sequence after thresholding: the field's "cost" """
    bits: float
    """cross-entropy of a sequence in bits, summed over the steps that count"""
    perfect: float
    """share of sequences without a wrong bit, 0..1"""

    @classmethod
    def of(cls, logits: Tensor, batch: Batch) -> Score:
        """Score logits (T, B, O) against a batch.

        >>> import torch
        >>> from tapehead.tasks import Copy
        >>> batch = Copy(bits=2).sample(4, size={"length": 3})
        >>> round(Score.of(torch.zeros_like(batch.target), batch).bits, 4)
        6.0
        """
        wrong = wrong_bits(logits, batch)
        bits = sequence_loss(logits, batch).item() / math.log(2)
        return cls(wrong.float().mean().item(), bits, (wrong == 0).float().mean().item())

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
