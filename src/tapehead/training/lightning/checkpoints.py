"""Checkpoints: when they are written, and that they are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from tapehead.errors import Interrupted, RunError
from tapehead.files import replacing
from tapehead.program import typed
from tapehead.training.options.config import TrainingConfig
from tapehead.training.runs import Run

__all__ = ["GracefulStop", "SavingStop", "WholeCheckpoints", "model_checkpoints"]


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the old one and then renames it, so that a full disk leaves the old one whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch turns a failed write into a RuntimeError
            kept = sorted(other.name for other in path.parent.glob("*.ckpt"))
            advice = "No checkpoint was written before. Make room, then start the run again under another name."
            if kept:
                advice = f"Kept: {', '.join(kept)}. Make room, then go on with --resume {typed(path.parent.parent)}"
            raise RunError(f"{path}: cannot be written: {error}. {advice}") from error


class _Kept(ModelCheckpoint):
    """Lightning's; what counts for a run that goes on is what its folder holds, not what a checkpoint says of that.

    A checkpoint is written before the best one of the same validation, and its run may have been moved since.

    Args:
        run: whose checkpoints they are
        options: Lightning's
    """

    def __init__(self, run: Run, **options: Any) -> None:
        super().__init__(
            dirpath=run.checkpoints, auto_insert_metric_name=False, enable_version_counter=False, **options
        )
        self.run = run

    @property
    def state_key(self) -> str:
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_k_models = found = self.found()
        if found:
            best, worst = (max, min) if self.mode == "max" else (min, max)
            self.best_model_path = best(found, key=found.__getitem__)
            self.kth_best_model_path = worst(found, key=found.__getitem__)  # Lightning looks there for which to replace
            self.best_model_score, self.kth_value = found[self.best_model_path], found[self.kth_best_model_path]

    def found(self) -> dict[str, torch.Tensor]:
        """The checkpoints in the folder that compete with new ones, each with what they compete in."""
        raise NotImplementedError

    def named(self, path: Path) -> str:
        """What Lightning calls a checkpoint of the run."""
        return os.path.join(str(self.dirpath), path.name)


class _Latest(_Kept):
    """The checkpoints after the most sequences; those that a stop has saved, or that were gone on from, among them."""

    def found(self) -> dict[str, torch.Tensor]:
        paths = self.run.latest_checkpoints()[-self.save_top_k :]
        return {self.named(path): torch.tensor(float(path.stem.removeprefix("sequences-"))) for path in paths}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_end(trainer, pl_module)
        self._forget(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        self._forget(trainer)

    def _forget(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            for path in self.run.latest_checkpoints()[: -self.save_top_k]:
                path.unlink(missing_ok=True)


class _Best(_Kept):
    """The checkpoint of the best validation.

    Args:
        run: whose checkpoints they are
        selected_by: what the score is of; one of something else cannot be compared
        options: Lightning's
    """

    def __init__(self, run: Run, selected_by: dict[str, Any], **options: Any) -> None:
        super().__init__(run, **options)
        self.selected_by = selected_by

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "selected_by": self.selected_by}

    def found(self) -> dict[str, torch.Tensor]:
        path = self.run.checkpoints / "best.ckpt"
        with contextlib.suppress(RunError):  # none, or a damaged one, which the next validation replaces
            state = self.run.load_checkpoint(path).get("callbacks", {}).get(self.state_key, {})
            score = state.get("best_model_score")
            same = state.get("selected_by", self.selected_by) == self.selected_by  # earlier versions did not say
            if isinstance(score, torch.Tensor) and same:
                return {self.named(path): score}
        return {}


def model_checkpoints(run: Run, training: TrainingConfig, *, validating: bool) -> list[Callback]:
    """The callbacks that keep the latest checkpoints, and, where the run validates, the best one."""
    latest = _Latest(
        run, filename="sequences-{sequences:010.0f}", monitor="sequences", mode="max", save_top_k=training.keep_last
    )
    if not validating:
        return [latest]
    return [latest, _Best(run, training.selected_by(), filename="best", monitor="selection", mode="min", save_top_k=1)]


class GracefulStop(Callback):
    """On Ctrl-C or SIGTERM: finish the updates under way, and stop. A second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.requested = False
        self.handling = False

    @contextlib.contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Take the signals over; around `fit`, because Lightning puts back the handlers that it finds at its start."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        previous = [signal.signal(number, self.request) for number in numbers]
        self.handling = True
        try:
            yield
        finally:
            self.handling = False
            for number, handler in zip(numbers, previous, strict=True):
                signal.signal(number, handler)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning has put its own handler before this one, whose way out of a validation is to exit without saving.
        if self.handling:
            signal.signal(signal.SIGTERM, self.request)

    def request(self, number: int, frame: FrameType | None) -> None:
        """Ask for it, as a signal does."""
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # The last block of an epoch is followed by a validation: it stops after that one.
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._stop(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop(trainer, pl_module)

    def _stop(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.strategy.reduce_boolean_decision(self.requested, all=False):
            return
        self.save(trainer, pl_module)
        raise Interrupted

    def save(self, trainer: Trainer, pl_module: Any) -> None:
        """Nothing is saved where checkpoints are turned off."""


class SavingStop(Checkpoint, GracefulStop):
    """Saves before it stops.

    A `Checkpoint`, so that Lightning calls it after the other callbacks: best.ckpt is up to date when it stops.
    """

    def __init__(self, run: Run) -> None:
        GracefulStop.__init__(self)
        self.run = run

    def save(self, trainer: Trainer, pl_module: Any) -> None:
        path = self.run.checkpoint_path(pl_module.progress.sequences)
        if not path.is_file():
            trainer.save_checkpoint(path, weights_only=False)
