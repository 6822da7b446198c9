"""The progress bar of a whole run: sequences, loss, wrong bits and speed. Where nobody watches, a line a validation."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tapehead.training.lightning.running_means import Running
from tapehead.training.metrics import MEASURES, TRAINING_ERRORS

__all__ = ["RunBar", "RunConsole"]


WIDE = 110
"""Columns of a terminal from which bar and validations say everything. A narrower one keeps bar, times and errors."""


class RunConsole(Console):
    """Where a run says things; it goes on when whoever read them has gone, as `head` does."""

    def on_broken_pipe(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with contextlib.suppress(OSError):
            print("tapehead: nobody reads the output any more; training goes on. Ctrl-C stops it.", file=sys.stderr)


class RunBar(ProgressBar):
    """One bar for the run, redrawn a few times a second, whatever the updates cost.

    Args:
        refresh_seconds: between two redraws
        console: to draw on
    """

    def __init__(self, refresh_seconds: float = 0.5, console: Console | None = None) -> None:
        super().__init__()
        self.refresh_seconds = refresh_seconds
        self.console = console or RunConsole()
        self._enabled = True
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._running = Running(0)

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        self._running = Running(module.progress.sequences)
        if self._enabled and trainer.is_global_zero:
            self.console.print(_beginning(module), highlight=False, soft_wrap=True)
        if not (self._enabled and self.console.is_terminal):
            return
        self._bar = Progress(
            TextColumn("{task.completed:,.0f} / {task.total:,.0f} sequences"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TextColumn("[dim]gone,[/]"),
            TimeRemainingColumn(),
            TextColumn("[dim]left[/]"),
            console=self.console,
            auto_refresh=False,
            expand=True,
        )
        self._task = self._bar.add_task(
            "", total=module.config.training.sequences, completed=module.progress.sequences, state=""
        )
        self._bar.start()

    def on_update(self, module: Any, loss: float, errors: float) -> None:
        """Called after every update; draws only when it is time to."""
        self._running.add(loss, errors)
        if self._running.seconds() >= self.refresh_seconds:
            self._draw(module)

    def _draw(self, module: Any) -> None:
        running, sequences = self._running, module.progress.sequences
        running.look(sequences)
        if self._bar is None or self._task is None or running.bits is None:
            return
        parts, measure = [f"loss {running.bits:.2f} bits"], module.config.task.measure
        if TRAINING_ERRORS[measure] == measure:  # nobody works out an optimum in training
            parts.append(f"{MEASURES[measure]} {running.errors:.2f}")
        if self.console.width < WIDE:
            parts = parts[-1:]
        else:
            parts.append(f"{running.speed or 0:,.0f} sequences/s")
        state = "  ".join(parts)
        self._bar.update(self._task, completed=sequences, state=state, refresh=True)

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if trainer.sanity_checking or not self._enabled:
            return
        progress = pl_module.progress
        measure = pl_module.config.task.measure
        error = getattr(progress, measure)
        if error is None:
            return
        self._draw(pl_module)
        training = pl_module.config.training
        holds = progress.solved_at_sequences is not None and error <= training.solved_below
        solved = "  [bold green]solved[/]" if holds else ""  # a solved run may have lost it again
        if progress.solved_at_sequences == progress.sequences and training.stop_when_solved:
            more = training.sequences_after_solved
            solved += f", and goes on for {more:,} sequences" if more else ""
        narrow = self.console.is_terminal and self.console.width < WIDE
        bits = "" if narrow else f"{progress.bits:8.3f} bits  "
        text = (
            f"{progress.sequences:>9,} sequences {progress.seconds:>7.1f} s  validation: "
            f"{bits}{error:7.3f} {MEASURES[measure]}{solved}"
        )
        (self._bar.console if self._bar else self.console).print(text, highlight=False, soft_wrap=True)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._finish(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._finish(pl_module)  # Lightning tears nothing down after an exception

    def _finish(self, pl_module: LightningModule) -> None:
        if self._bar is not None:
            self._draw(pl_module)
            self._bar.stop()
            self._bar = None


def _beginning(module: Any) -> str:
    """What is trained, and how far."""
    config, seen = module.config, module.progress.sequences
    parameters = sum(parameter.numel() for parameter in module.model.parameters())
    went = f"goes on after {seen:,} sequences" if seen else f"seed {config.seed}"
    return (
        f"{config.task_name}, {config.model_name}: {parameters:,} parameters, {went}, at most "
        f"{config.training.sequences:,} sequences"
    )
