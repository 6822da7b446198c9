"""`tapehead export`: a run's model as a folder of its own, for `tapehead.from_pretrained`."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from pathlib import Path
from typing import Any

from tapehead.errors import PretrainedError
from tapehead.training.evaluate import evaluate
from tapehead.training.options.arguments import recipe_names
from tapehead.training.options.config import RunConfig
from tapehead.training.options.kinds import option_kinds
from tapehead.training.runs import Run

__all__ = ["export_run"]

SCORED_SEQUENCES = 100
"""Sequences, of the largest size trained on, for the score in config.json, which later releases must still give."""


def export_run(path: str | Path, folder: str | Path, *, checkpoint: str | Path | None = None) -> None:
    """Write a run's model into a new folder, with its task and where it comes from.

    Args:
        path: the run's folder
        folder: must not exist
        checkpoint: file in the run's `checkpoints`, with or without ".ckpt", or a path; None takes the best one

    Raises:
        RunError: the run or the checkpoint is missing or damaged, or the checkpoint is of another run.
        PretrainedError: the folder exists, or cannot be written.
        ModuleNotFoundError: safetensors is not installed.
    """
    run = Run.open(path)
    if Path(folder).exists():
        raise PretrainedError(
            f"{folder}: expected a new folder, got one that exists. Nothing is overwritten: name another."
        )
    config = run.config()
    chosen = run.best_checkpoint() if checkpoint is None else run.checkpoint_named(checkpoint, "--checkpoint")
    progress = run.load_checkpoint(chosen).get("progress")
    model = run.load_model(chosen, config=config)
    environment = _environment(run)
    provenance = {
        "seed": config.seed,
        "sequences": progress.get("sequences") if isinstance(progress, dict) else None,
        "command": _command(environment.get("command"), config),
        "commit": environment.get("commit"),
        "packages": environment.get("packages"),
        "score": evaluate(model, config.task, config.task.sizes()[-1:], sequences=SCORED_SEQUENCES),
    }
    task = {"name": config.task_name, "options": dataclasses.asdict(config.task.portable())}
    model.save_pretrained(folder, task=task, provenance=provenance)


PRIVATE = ("--out", "--config", "--task.data", "--task.cache", "--trainer.default_root_dir")
"""Options that name files and folders."""


def _environment(run: Run) -> dict[str, Any]:
    """environment.json; a run without one is exported all the same, and says less of where it comes from."""
    try:
        data = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _command(words: Any, config: RunConfig) -> str | None:
    """The command that trained it, without the options that name files and folders: nobody else's concern."""
    if not isinstance(words, list):
        return None
    kinds = option_kinds(config.task_name, config.model_name, trainer=False)
    names = {*PRIVATE, *(f"--{name}" for name in kinds)}
    options: list[list[str]] = [[]]
    for word in map(str, words):
        if word.startswith("--"):
            options.append([])
        options[-1].append(word)
    kept = [Path(word).name for word in options[0]]
    for option in options[1:]:
        name, _, value = option[0].partition("=")
        meant = {name} & names or {one for one in names if one.startswith(name)}  # it may be shortened
        private = meant and meant.issubset(PRIVATE)
        if not private and not any(map(_is_path, [value, *option[1:]])):
            kept += option
    return shlex.join(kept)


def _is_path(value: str) -> bool:
    """Whether a value names a file or folder, alone or in what it holds, and no recipe of the package."""
    return bool(re.search(r"[/\\]|^~|\.ya?ml$", value)) and value not in recipe_names()
