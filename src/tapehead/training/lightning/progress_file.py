"""How far a run has come, in a small file: for whoever watches it from another process or another machine."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from tapehead.files import replacing
from tapehead.training.lightning.running_means import Running

__all__ = ["ProgressFile"]


class ProgressFile(Callback):
    """Keeps `progress.json` in a run's folder while it trains: `sequences` of `total`, `sequences_per_second`,
    `bits` and `errors` (of a training sequence, running means), `measure`, `solved_at_sequences`.

    It is replaced whole, without waiting for the disk, and removed when training ends; a run that died leaves it.

    Args:
        path: of the file
        seconds: between two of them
    """

    def __init__(self, path: Path, seconds: float = 1.0) -> None:
        self.path = path
        self.seconds = seconds
        self._running = Running(0)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        self._running = Running(pl_module.progress.sequences)
        self._write(pl_module)

    def on_update(self, module: Any, loss: float, errors: float) -> None:
        """Called after every update; writes only when it is time to."""
        self._running.add(loss, errors)
        if self._running.seconds() >= self.seconds:
            self._running.look(module.progress.sequences)
            self._write(module)

    def _write(self, module: Any) -> None:
        if not module.trainer.is_global_zero:
            return
        state = {
            "sequences": module.progress.sequences,
            "total": module.config.training.sequences,
            "sequences_per_second": self._running.speed,
            "bits": self._running.bits,
            "errors": self._running.errors,
            "measure": module.config.task.measure,
            "solved_at_sequences": module.progress.solved_at_sequences,
        }
        with contextlib.suppress(OSError), replacing(self.path, waiting=False) as file:  # nobody may watch; it goes on
            file.write(json.dumps(state).encode())

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.is_global_zero:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
