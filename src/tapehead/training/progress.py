"""How far a run has come, in a small file: for whoever watches it from another process or another machine."""

from __future__ import annotations

import contextlib
import json
import math
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["ProgressFile"]

SMOOTHING = 0.02
"""Share of the newest update in the running means."""


class ProgressFile(Callback):
    """Keeps `progress.json` in a run's folder while it trains: `sequences` of `total`, `sequences_per_second`,
    `bits` and `bit_errors` (of a training sequence, running means), `measure`, `solved_at_sequences`.

    It is replaced whole, without waiting for the disk, and removed when training ends; a run that died leaves it.

    Args:
        path: of the file
        seconds: between two of them
    """

    def __init__(self, path: Path, seconds: float = 1.0) -> None:
        self.path = path
        self.seconds = seconds
        self._bits: float | None = None
        self._errors = 0.0
        self._since = (0.0, 0)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._since = (time.perf_counter(), pl_module.progress.sequences)
        self._write(pl_module, None)

    def on_update(self, module: Any, loss: float, errors: float) -> None:
        """Called after every update; writes only when it is time to."""
        bits = loss / math.log(2)
        if self._bits is None:
            self._bits, self._errors = bits, errors
        self._bits += SMOOTHING * (bits - self._bits)
        self._errors += SMOOTHING * (errors - self._errors)
        now = time.perf_counter()
        if now - self._since[0] >= self.seconds:
            sequences = module.progress.sequences
            speed = (sequences - self._since[1]) / (now - self._since[0])
            self._since = (now, sequences)
            self._write(module, speed)

    def _write(self, module: Any, speed: float | None) -> None:
        if not module.trainer.is_global_zero:
            return
        state = {
            "sequences": module.progress.sequences,
            "total": module.config.training.sequences,
            "sequences_per_second": speed,
            "bits": self._bits,
            "bit_errors": None if self._bits is None else self._errors,
            "measure": module.config.task.measure,
            "solved_at_sequences": module.progress.solved_at_sequences,
        }
        beside = self.path.with_name(f".{self.path.name}.part")
        with contextlib.suppress(OSError):  # nobody can watch; the run goes on
            beside.write_text(json.dumps(state), encoding="utf-8")
            beside.replace(self.path)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.is_global_zero:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
