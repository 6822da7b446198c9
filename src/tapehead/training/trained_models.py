"""What a user can name to evaluate or to plot: a run, a pretrained model of the package, or an exported folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from tapehead import pretrained
from tapehead.errors import PretrainedError, RunError, did_you_mean
from tapehead.nn import SequenceModel
from tapehead.tasks import TASKS, Task
from tapehead.training.options.config import RunConfig
from tapehead.training.runs import Run

__all__ = ["Trained", "open_model"]


class Trained(NamedTuple):
    """A trained model, and what is known of it."""

    path: Path
    """of the run's folder, or of the model's"""
    name: str
    """as the user wrote it"""
    task_name: str
    model_name: str
    seed: int | None
    task: Task
    model: SequenceModel
    """in evaluation mode"""
    run: Run | None
    """None for what is not a run, and so has no learning curves and keeps no results"""
    config: RunConfig | None = None
    """of the run"""

    @property
    def kind(self) -> str:
        """Task, model and, where it is not the usual one, controller: runs of one kind differ in their seeds."""
        feedforward = self.model.core.arguments().get("controller") == "feedforward"  # type: ignore[operator]
        return f"{self.task_name}, {self.model_name}{'-feedforward' if feedforward else ''}"

    @property
    def title(self) -> str:
        """Over pictures."""
        return self.kind if self.seed is None else f"{self.kind}, seed {self.seed}"

    @property
    def plots(self) -> Path:
        """Where pictures go unless told otherwise: into a run, else beside whoever calls."""
        return Path(f"{self.path.resolve().name}-plots") if self.run is None else self.run.plots


def open_model(source: str | Path) -> Trained:
    """A trained model by the name of a run's folder, of a pretrained model, or of an exported folder.

    Raises:
        RunError: there is nothing of that name, or the run is damaged.
        PretrainedError: the model's folder is damaged, or tells no task.
    """
    path = pretrained.find(source) if isinstance(source, str) else None
    if path is None:
        path = Path(source)
        if not path.is_dir():
            raise RunError(
                f"{source}: no such run. Runs are folders; `tapehead train` prints the name of its own. "
                f"Nor is it a pretrained model; there are: {', '.join(pretrained.names())}."
                + did_you_mean(str(source), pretrained.names())
            )
        if not (path / pretrained.CONFIG_NAME).is_file():
            return _open_run(path)
    config = pretrained.read_config(path)
    task = _task(path / pretrained.CONFIG_NAME, config["task"])
    model = SequenceModel.from_pretrained(path)
    sizes = (model.input_size, model.target_size)
    if sizes != (task.input_size, task.target_size):
        raise PretrainedError(
            f"{path / pretrained.CONFIG_NAME}: expected a model of input and target size {task.input_size} and "
            f"{task.target_size}, as its task has, got {sizes[0]} and {sizes[1]}. Export the run again."
        )
    seed = (config["provenance"] or {}).get("seed")
    model_name = config["model"]["core"].lower()
    return Trained(path, str(source), config["task"]["name"], model_name, seed, task, model, None)


def _open_run(path: Path) -> Trained:
    run = Run.open(path)
    config = run.config()
    names = config.task_name, config.model_name
    return Trained(path, str(path), *names, config.seed, config.task, run.load_model(config=config), run, config)


def _task(path: Path, description: dict[str, Any] | None) -> Task:
    """The task that config.json tells of."""
    if description is None:
        raise PretrainedError(
            f"{path}: expected a task to draw sequences from, got none. Export a run, or save the model with "
            'save_pretrained(folder, task={"name": ..., "options": {...}}).'
        )
    name, options = description["name"], description["options"]
    if name not in TASKS:
        raise PretrainedError(
            f"{path}: expected a task of {', '.join(TASKS)}, got {name!r}. If it is a task of your own, call its file: "
            "`python FILE.py evaluate ...`. Or it comes from a newer tapehead: install that one."
        )
    known = {field.name for field in dataclasses.fields(TASKS[name])}
    unknown = sorted(options.keys() - known)
    if unknown:
        raise PretrainedError(
            f"{path}: expected task.options of {', '.join(sorted(known))}, got {', '.join(unknown)}. It may come "
            "from a newer tapehead: install that one."
        )
    try:
        return TASKS[name](
            **{key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
        )
    except (TypeError, ValueError) as error:
        raise PretrainedError(
            f"{path}: expected task.options that fit, got others: {error} Export the run again."
        ) from error
