"""`tapehead export`: a run's model as a folder of its own, for `tapehead.from_pretrained`."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

from tapehead.errors import PretrainedError, RunError
from tapehead.training.evaluate import evaluate
from tapehead.training.runs import Run

__all__ = ["export_run"]

SCORED_SEQUENCES = 100
"""Of the largest size trained on: the score that goes into config.json, and that a later release must still give."""


def export_run(path: str | Path, folder: str | Path, *, checkpoint: str | Path | None = None) -> None:
    """Write a run's model into a new folder, with its task and where it comes from.

    Args:
        path: the run's folder
        folder: must not exist
        checkpoint: file in the run's `checkpoints`, or a path; None takes the best one

    Raises:
        RunError: the run or the checkpoint is missing or damaged.
        PretrainedError: the folder exists, or cannot be written.
        ModuleNotFoundError: safetensors is not installed.
    """
    run = Run.open(path)
    if Path(folder).exists():
        raise PretrainedError(
            f"{folder}: expected a new folder, got one that exists. Nothing is overwritten: name another."
        )
    config = run.config()
    chosen = _checkpoint(run, checkpoint)
    progress = run.load_checkpoint(chosen).get("progress")
    model = run.load_model(chosen)
    environment = _environment(run)
    provenance = {
        "seed": config.seed,
        "sequences": progress.get("sequences") if isinstance(progress, dict) else None,
        "command": _command(environment.get("command")),
        "commit": environment.get("commit"),
        "packages": environment.get("packages"),
        "score": evaluate(model, config.task, config.task.sizes()[-1:], sequences=SCORED_SEQUENCES),
    }
    task = {"name": config.task_name, "options": dataclasses.asdict(config.task.portable())}
    model.save_pretrained(folder, task=task, provenance=provenance)


PRIVATE = ("--out", "--task.data", "--task.cache")
"""Options that name folders."""


def _checkpoint(run: Run, name: str | Path | None) -> Path:
    if name is None:
        return run.best_checkpoint()
    for path in (run.checkpoints / name, Path(name)):
        if path.is_file():
            return path
    others = sorted(path.name for path in run.checkpoints.glob("*.ckpt"))
    raise RunError(
        f"--checkpoint: expected a file of {run.checkpoints}, got {name}. There are: {', '.join(others) or 'none'}."
    )


def _environment(run: Run) -> dict[str, Any]:
    """environment.json; a run without one is exported all the same, and says less of where it comes from."""
    try:
        data = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _command(words: Any) -> str | None:
    """The command that trained it, without where the run went and where its data were: nobody else's concern."""
    if not isinstance(words, list):
        return None
    kept, skip = [], False
    for word in map(str, words):
        if not skip and word.split("=")[0] not in PRIVATE:
            kept.append(word)
        skip = word in PRIVATE
    return shlex.join(kept)
