"""Lightning's Trainer for a run: every option of its own keeps its meaning, though a Lightning step is a block here.

| option | what becomes of it |
|---|---|
| `log_every_n_steps` | the block: so many updates make a Lightning step, logged once |
| `limit_train_batches`, `val_check_interval` | the updates between two validations, which is an epoch |
| `accumulate_grad_batches`, `gradient_clip_val`, `gradient_clip_algorithm` | done by the training step |
| `accelerator` | "auto" stays on the CPU where another device would be slower (`devices.py`) |
| `sync_batchnorm` | refused with an embedding, which each process normalises over its own pictures |
| `overfit_batches` | the stream starts over after so many batches; so many sizes are validated |
| `max_steps`, `min_steps`, `max_time`, `max_epochs`, `fast_dev_run` and the rest | Lightning's, unchanged |
"""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from tapehead.errors import UsageError
from tapehead.training.lightning.bar import RunBar
from tapehead.training.lightning.checkpoints import GracefulStop, SavingStop, WholeCheckpoints, model_checkpoints
from tapehead.training.lightning.devices import why_on_cpu
from tapehead.training.lightning.module import TrainingModule
from tapehead.training.lightning.progress_file import ProgressFile
from tapehead.training.lightning.same_buffers import SameBuffers
from tapehead.training.options.config import OptimiserConfig, RunConfig
from tapehead.training.options.kinds import option_kinds
from tapehead.training.options.refusals import with_option, with_trainer_option
from tapehead.training.runs import Run

__all__ = ["build"]


def build(config: RunConfig, options: dict[str, Any], run: Run) -> tuple[Trainer, TrainingModule]:
    """The trainer and the module of a run.

    Args:
        config: of the run
        options: of the Trainer, by its own names
        run: its folder

    Raises:
        UsageError: an option that cannot keep its meaning.
    """
    options = dict(options)
    accumulate = options.pop("accumulate_grad_batches", None) or 1
    try:
        config = dataclasses.replace(config, optimiser=_clipping(config.optimiser, options))
    except ValueError as error:
        raise UsageError(
            f"--trainer.gradient_clip_val, --trainer.gradient_clip_algorithm: {str(error).partition(': ')[2]}"
        ) from error
    if options.get("sync_batchnorm") and config.embedding.kind != "none":
        raise UsageError(
            "--trainer.sync_batchnorm: expected false with an embedding, which every process normalises over its own "
            "pictures, got true. Leave it out."
        )
    cycle = _cycle(options)
    block_steps = max(1, options.pop("log_every_n_steps", None) or 1)
    watch = {name: options.pop(name, None) for name in ("limit_train_batches", "val_check_interval")}
    options["default_root_dir"] = options.get("default_root_dir") or str(run.path)
    if not options.get("barebones"):
        options["log_every_n_steps"] = 1
        _add_parts(options, config, run)
    if watch["limit_train_batches"] == 0:
        options["limit_train_batches"] = 0
    if why_on_cpu(config, options) is not None:
        options["accelerator"] = "cpu"
    try:
        trainer = Trainer(**options)
    except (MisconfigurationException, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(with_trainer_option(str(error), options)) from error
    if trainer.precision in ("16-true", "bf16-true"):
        raise UsageError(
            f"--trainer.precision: expected a precision that keeps parameters in float32 or float64, got "
            f"{trainer.precision}. Take 16-mixed or bf16-mixed."
        )
    sequences_per_step = config.training.batch_size * accumulate * trainer.world_size
    epoch_steps = _epoch_steps(math.ceil(config.training.validate_every / sequences_per_step), **watch)
    try:
        module = TrainingModule(
            config, epoch_steps=epoch_steps, block_steps=block_steps, accumulate=accumulate, cycle=cycle
        )
    except (TypeError, ValueError) as error:
        kinds = option_kinds(config.task_name, config.model_name, trainer=False)
        raise UsageError(with_option(str(error), kinds)) from error
    if trainer.precision == "64-true":
        module.double()  # Lightning does so only after it has read a checkpoint, which float32 would round
    return trainer, module


def _clipping(optimiser: OptimiserConfig, options: dict[str, Any]) -> OptimiserConfig:
    limit, algorithm = options.pop("gradient_clip_val", None), options.pop("gradient_clip_algorithm", None)
    if algorithm is not None:
        optimiser = dataclasses.replace(optimiser, clip=getattr(algorithm, "value", algorithm))
    if limit is not None and not limit:
        return dataclasses.replace(optimiser, clip="none")
    return optimiser if limit is None else dataclasses.replace(optimiser, clip_limit=float(limit))


def _cycle(options: dict[str, Any]) -> int | None:
    batches = options.pop("overfit_batches", None) or 0
    if not batches:
        return None
    if isinstance(batches, float):
        raise UsageError(
            f"--trainer.overfit_batches: expected a number of batches, got {batches}. A share of an endless stream "
            "is no number."
        )
    options["limit_val_batches"] = options.get("limit_val_batches") or batches
    return int(batches)


def _epoch_steps(steps: int, limit_train_batches: float | None, val_check_interval: float | None) -> int:
    """Updates between two validations: an epoch of so many, limited or cut into shares as the Trainer would."""
    for value in (limit_train_batches, val_check_interval):
        if isinstance(value, float):
            steps = round(steps * value)
        elif value is not None:
            steps = min(steps, value) if value is limit_train_batches else value
    return max(1, steps)


def _check_name(run: Run) -> None:
    """Raise unless the run's folder has a name that TensorBoard can write."""
    try:
        os.path.abspath(run.path).encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{os.fsencode(run.path)!r}: expected a folder whose name this locale can read, got one outside of "
            f"{sys.getfilesystemencoding()}. Set PYTHONUTF8=1, or name another folder."
        ) from None


def _add_parts(options: dict[str, Any], config: RunConfig, run: Run) -> None:
    """Our callbacks, loggers and checkpoint writer, where the user has not turned them off."""
    callbacks: list[Callback] = [ProgressFile(run.path / "progress.json")]
    if config.embedding.kind != "none":
        callbacks.append(SameBuffers())
    if options.get("enable_progress_bar") is not False:
        callbacks.append(RunBar())
    if options.get("enable_checkpointing") is not False:
        validating = options.get("limit_val_batches") != 0
        callbacks += model_checkpoints(run, config.training, validating=validating)
        callbacks.append(SavingStop(run))
    else:
        callbacks.append(GracefulStop())
    own = options.get("callbacks") or []
    options["callbacks"] = [*(own if isinstance(own, list) else [own]), *callbacks]

    if options.get("logger") in (None, True):
        _check_name(run)
        loggers: list[Logger] = [CSVLogger(run.logs, name="csv"), TensorBoardLogger(run.logs, name="tensorboard")]
        options["logger"] = loggers
    plugins = options.get("plugins") or []
    options["plugins"] = [*(plugins if isinstance(plugins, list) else [plugins]), WholeCheckpoints()]
