"""One run of a study, from whatever is there of it to its end: the commands a user would type, as processes.

What is done is read from the run's folder. How it ended goes to a small record, `logs/<run>.json`, which the study
reads wherever the run was: on this machine, or on another that shares the folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tapehead.program import TAPEHEAD, program_of
from tapehead.studies.folder import StudyFolder, read_json
from tapehead.studies.plan import Evaluation, PlannedRun
from tapehead.training.runs import write_json

__all__ = [
    "FileStop",
    "Order",
    "Stop",
    "Training",
    "ended",
    "is_done",
    "last_line",
    "perform",
    "run_order",
    "run_process",
    "training_of",
]

POLL_SECONDS = 0.2
"""Between two looks at a child, and at whether it should stop."""

PRIVATE = ("LOCAL_RANK", "TAPEHEAD_RUN_FOLDER")
"""Environment variables that would tell a child it belongs to another run."""


class Stop(Protocol):
    """Tells a worker whether to go on."""

    def level(self) -> int:
        """0: go on. 1: ask the run to save and stop. 2: kill it."""


class FileStop:
    """A `Stop` for workers on other machines: a file in the study's folder, whose content is the level.

    Args:
        path: of the file; where there is none, work goes on
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def level(self) -> int:
        try:
            return int(self.path.read_text(encoding="utf-8") or 1)
        except (OSError, ValueError):
            return 0


class Order(NamedTuple):
    """All that a worker needs to know; plain data, which can be sent to another machine."""

    study: str
    """the study's folder"""
    task: str
    name: str
    """of the run, and of its folder in the study's"""
    model: str
    recipe: str
    """names its file in `configurations`"""
    seed: int
    threads: int
    has_memory: bool
    evaluation: Evaluation | None
    program: tuple[str, ...] = TAPEHEAD
    """Python's words that start the commands of its runs"""

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(self.study) / self.name

    @property
    def record(self) -> Path:
        """The file that tells how it went."""
        return StudyFolder(self.study).logs / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """The file of what its commands printed."""
        return StudyFolder(self.study).logs / f"{self.name}.log"


class Training(NamedTuple):
    """How a run is trained, as a command and as what `tapehead.training.train.prepare` takes."""

    words: list[str]
    """what follows `tapehead` in the command"""
    options: list[str]
    task: str | None
    model: str | None
    resume: str | None
    """the run's folder, of one that goes on; its configuration tells the rest"""


def run_order(folder: StudyFolder, task: str, run: PlannedRun, evaluation: Evaluation | None, threads: int) -> Order:
    """The order for a planned run."""
    has_memory = "memory_size" in run.recipe.config["model"]
    path = str(folder.path.resolve())
    recipe = run.recipe
    return Order(
        path, task, run.name, recipe.model, recipe.name, run.seed, threads, has_memory, evaluation, program_of(task)
    )


def is_done(order: Order) -> bool:
    """Whether there is nothing left to do: it is trained to its end, and scored as the study asks."""
    summary, record = read_json(order.folder / "summary.json"), read_json(order.record)
    if summary is None or order.evaluation is None:
        return summary is not None
    return record is not None and record.get("scored") == _scored(order, summary)


def perform(order: Order, stop: Stop, *, node: str | None = None, lock: int | None = None) -> dict[str, Any]:
    """Train and score one run, as far as that is left to do.

    Args:
        order: which run
        stop: asked all along
        node: where this is; None takes the machine's name
        lock: a file descriptor for the children to inherit: as long as one lives, no other study begins in the folder

    Returns:
        what the record then holds: "state" ("done", "died" or "stopped"), "node", "exit_status" and "message" of
        one that died, "scores" as evaluation.json's lengths, "scored" (what they are of)
    """
    before = read_json(order.record) or {}
    kept: dict[str, Any] = {name: before[name] for name in ("scores", "scored") if name in before}
    place = {"node": node or platform.node()}
    if stop.level():
        return {**kept, "state": "stopped", **place}
    write_json(order.record, {**kept, "state": "running", **place})
    record: dict[str, Any] = {"state": "done", **place}
    try:
        status = 0
        if not (order.folder / "summary.json").is_file():
            status = _run(training_of(order).words, order, stop, lock)
        if status == 0 and order.evaluation is not None:
            if not is_done(order):
                status = _run(_scoring(order, order.evaluation), order, stop, lock)
                if status == 0:
                    kept = _scores(order)
            record.update(kept)
        if status and stop.level():
            record["state"] = "stopped"
        elif status:
            record.update(state="died", exit_status=status, message=f"{ended(status)}: {last_line(order.log)}")
    except OSError as error:  # the disk, most of all
        record.update(state="died", exit_status=1, message=str(error))
    with contextlib.suppress(OSError):
        write_json(order.record, record)
    return record


def training_of(order: Order) -> Training:
    """How a run is trained, from whatever is there of it; what died before its first checkpoint is removed."""
    folder = str(order.folder)
    if list(order.folder.glob("checkpoints/sequences-*.ckpt")):
        return Training(["train", "--resume", folder], [], None, None, folder)
    if order.folder.exists():
        shutil.rmtree(order.folder)
    configuration = StudyFolder(order.study).configuration(order.recipe)
    options = ["--config", str(configuration), "--seed", str(order.seed), "--out", folder]
    return Training(["train", order.task, "--model", order.model, *options], options, order.task, order.model, None)


def _scoring(order: Order, evaluation: Evaluation) -> list[str]:
    words = ["evaluate", str(order.folder), "--sequences", str(evaluation.sequences)]
    words += ["--lengths", *map(str, evaluation.lengths)]
    if evaluation.repeats:
        words += ["--repeats", *map(str, evaluation.repeats)]
    if evaluation.memory_size is not None and order.has_memory:
        words += ["--memory-size", str(evaluation.memory_size)]
    return words


def _scored(order: Order, summary: dict[str, Any]) -> dict[str, Any]:
    """What scores are of: a training that ended so, and sizes."""
    evaluation = dataclasses.asdict(order.evaluation) if order.evaluation else {}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in evaluation.items()}
    return {"sequences_trained": summary.get("sequences"), "seconds_trained": summary.get("seconds"), **plain}


def _scores(order: Order) -> dict[str, Any]:
    summary = read_json(order.folder / "summary.json") or {}
    found = read_json(order.folder / "evaluation.json") or {}
    return {"scores": found.get("lengths", {}), "scored": _scored(order, summary)}


def _run(words: list[str], order: Order, stop: Stop, lock: int | None) -> int:
    """Run a command of tapehead to its end, its output going to the log; returns the exit status, or -SIGNAL."""
    with order.log.open("a", encoding="utf-8") as log:
        log.write(f"$ {shlex.join(['tapehead', *words])}\n")
    return run_process([sys.executable, *order.program, *words], order.log, order.threads, stop, lock)


def run_process(command: list[str], log: Path, threads: int, stop: Stop, lock: int | None) -> int:
    """Run a process to its end.

    Args:
        command: its words
        log: takes its output, behind what is there
        threads: of the process
        stop: asked all along
        lock: a file descriptor for it to inherit

    Returns:
        the exit status, or -SIGNAL
    """
    environment = {name: value for name, value in os.environ.items() if name not in PRIVATE}
    environment |= {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    with log.open("ab") as output:
        # In a session of its own, so that a terminal's Ctrl-C reaches the study alone, which then asks every run.
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
            pass_fds=() if lock is None else (lock,),
        )
        asked = 0
        try:
            while (status := _wait(child)) is None:
                level = stop.level()
                if level > asked:
                    asked = level
                    child.send_signal(signal.SIGTERM if level == 1 else signal.SIGKILL)
            return status
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()


def _wait(child: subprocess.Popen[bytes]) -> int | None:
    """The exit status; None of a child that is still at work after a moment."""
    try:
        return child.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def ended(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def last_line(log: Path) -> str:
    """What was said last; of a command that said nothing, the command itself."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4000))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
