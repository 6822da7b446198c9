"""What is shown of a training while it goes on: running means over the updates, and the speed."""

from __future__ import annotations

import math
import time

__all__ = ["Running"]

SMOOTHING = 0.02
"""Share of the newest update in the means."""


class Running:
    """Running means of the bits and errors of training sequences, and sequences a second between two looks.

    Args:
        sequences: trained on when it begins

    >>> running = Running(sequences=0)
    >>> running.add(loss=math.log(2), errors=3.0)
    >>> running.bits, running.errors
    (1.0, 3.0)
    >>> running.add(loss=2 * math.log(2), errors=8.0)
    >>> round(running.bits, 6), round(running.errors, 6)
    (1.02, 3.1)
    """

    def __init__(self, sequences: int) -> None:
        self.bits: float | None = None
        self.errors: float | None = None
        self.speed: float | None = None
        self._since = (time.perf_counter(), sequences)

    def add(self, loss: float, errors: float) -> None:
        """Take an update in: its loss in nats a sequence, and its errors a sequence."""
        bits = loss / math.log(2)
        if self.bits is None or self.errors is None:
            self.bits, self.errors = bits, errors
        self.bits += SMOOTHING * (bits - self.bits)
        self.errors += SMOOTHING * (errors - self.errors)

    def seconds(self) -> float:
        """Since the last look."""
        return time.perf_counter() - self._since[0]

    def look(self, sequences: int) -> None:
        """Work out the speed since the last look, after so many sequences in all."""
        now = time.perf_counter()
        if now > self._since[0] and sequences > self._since[1]:
            self.speed = (sequences - self._since[1]) / (now - self._since[0])
        self._since = (now, sequences)
