"""How often the k-th presentation of a class is named rightly: the measure of one-shot learning."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tapehead.tasks import Batch, Omniglot

__all__ = ["Instances"]


class Instances:
    """Collects the accuracy at each instance, the k-th presentation of a class, over many episodes.

    Args:
        task: whose episodes they are

    >>> from tapehead.tasks import Omniglot
    >>> found = Instances(Omniglot())
    >>> found.add_rows(torch.tensor([[True, True], [False, True]]), torch.tensor([[1, 1], [1, 2]]))
    >>> {name: row["accuracy"] for name, row in found.rows().items()}
    {'1': 0.75, '2': 1.0}
    """

    def __init__(self, task: Omniglot) -> None:
        self.task = task
        self._accuracies: list[Tensor] = []

    def add(self, logits: Tensor, batch: Batch) -> None:
        """Take in the answers (T, B, O) to a batch."""
        self.add_rows(self.task.right(logits, batch), self.task.instances(batch))

    def add_rows(self, right: Tensor, instances: Tensor) -> None:
        """Take in what was right, and which instance it was: (T, B) each."""
        most = int(instances.max())
        shown = instances.unsqueeze(-1) == torch.arange(1, most + 1, device=instances.device)  # (T, B, K)
        counts = shown.sum(0).double()
        self._accuracies.append(((shown & right.unsqueeze(-1)).sum(0) / counts).cpu())  # NaN where there is none

    def rows(self) -> dict[str, dict[str, float]]:
        """By instance, from "1": mean accuracy over the episodes that have it, 0..1, and the mean's standard error."""
        most = max((part.shape[1] for part in self._accuracies), default=0)
        padded = [torch.nn.functional.pad(part, (0, most - part.shape[1]), value=math.nan) for part in self._accuracies]
        rows = {}
        for number, column in enumerate(torch.cat(padded).T if padded else (), start=1):
            values = column[~column.isnan()]
            error = values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
            rows[str(number)] = {"accuracy": values.mean().item(), "standard_error": error}
        return rows
