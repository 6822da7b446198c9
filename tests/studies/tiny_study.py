"""Studies so small that a test can run them: the real command, in this process; its runs are processes of their own."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tapehead.cli import main

OPTIONS = {
    "task.bits": 2,
    "task.max_length": 3,
    "model.hidden_size": 8,
    "training.sequences": 48,
    "training.batch_size": 2,
    "training.validate_every": 16,
    "training.validation_sequences": 2,
    "training.select_at": "[]",
    "trainer.log_every_n_steps": 3,
    "trainer.accelerator": "cpu",
}
SCORED = ["--lengths", "3", "5", "--sequences", "2"]
LONG = ["--training.sequences=700", "--training.validate_every=100", "--training.stop_when_solved=false"]
"""Options of runs that are still at work when they are asked to stop, which takes a moment."""
KILLED = [*LONG, "--training.sequences=400"]
"""The same for a signal that nobody is asked about."""


def study(out: Path, *words: str) -> int:
    """Run a study into a folder; returns the command's exit status."""
    options = [f"--{name}={value}" for name, value in OPTIONS.items()]
    return main(["study", "copy", "--out", str(out), *options, *words])


def contents(folder: Path) -> dict[str, str]:
    """A hash of every file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def process_of(run: Path | str, command: str = "train") -> int | None:
    """The process that trains a run: both are among its words."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if str(run) in words and command in words:
            return int(folder.name)
    return None


def when(condition: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Do something as soon as a condition holds, beside whatever goes on."""

    def wait() -> None:
        end = time.monotonic() + 600
        while time.monotonic() < end:
            if condition():
                act()
                return
            time.sleep(0.005)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def has_checkpoint(run: Path) -> bool:
    """Whether a run could be gone on with."""
    return any((run / "checkpoints").glob("sequences-*.ckpt"))


def signal_to(run: Path, number: int) -> None:
    """Send a signal to the process that trains a run."""
    pid = process_of(run)
    assert pid is not None
    os.kill(pid, number)
