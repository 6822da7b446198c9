"""Runs so small that a test can train them: the real command, in this process, on a task of a few bits."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch  # noqa: F401  (it logs to the standard error of its import, which a test may have taken)
import torch

from tapehead.cli import main
from tapehead.training.runs import Run
from tests.hastened import hasten

hasten()

TASKS = {
    "copy": {"task.bits": 2, "task.max_length": 3},
    "repeat_copy": {"task.bits": 2, "task.max_length": 3, "task.max_repeats": 2},
    "associative_recall": {"task.bits": 2, "task.item_length": 1, "task.max_items": 3},
    "ngrams": {"task.n": 3, "task.length": 8},
    "priority_sort": {"task.bits": 2, "task.length": 4, "task.highest": 3},
    "omniglot": {"task.way": 2, "task.length": 4},
}
MODEL = {"model.hidden_size": 8}
MEMORY = {"model.memory_size": 8, "model.word_size": 4}
TRAINING = {
    "training.sequences": 48,
    "training.batch_size": 2,
    "training.validate_every": 16,
    "training.validation_sequences": 2,
    "training.select_at": "[]",
    "optimiser.average": 0,
    "trainer.log_every_n_steps": 3,
    "trainer.accelerator": "cpu",
    "trainer.enable_progress_bar": "false",
}


def options(task: str = "copy", model: str = "ntm") -> list[str]:
    """What makes a run of a task and a model tiny."""
    sizes = TASKS[task.replace("-", "_")]
    named = {**sizes, **MODEL, **(MEMORY if model != "lstm" else {}), **TRAINING}
    return [f"--{name}={value}" for name, value in named.items()]


def train(out: Path, *extra: str, task: str = "copy", model: str = "ntm") -> int:
    """Train into a folder; returns the command's exit status."""
    return main(["train", task, "--model", model, "--out", str(out), *options(task, model), *extra])


def weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights of the latest checkpoint of a run."""
    run = Run.open(path)
    state: dict[str, torch.Tensor] = run.load_checkpoint(run.last_checkpoint())["state_dict"]
    return state


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are the same to the bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)
