"""A finished study for the tests that only look at one, and runs without processes of their own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tapehead.cli import main
from tapehead.studies import one_process, worker
from tapehead.studies.worker import Stop
from tests.studies.tiny_study import SCORED, study

Commands = list[list[str]]


def patched(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """What a study starts as a process is done here, its output going to the same log; the list of the commands."""
    commands: Commands = []

    def run_process(command: list[str], log: Path, threads: int, stop: Stop, lock: int | None) -> int:
        assert command[:3] == [sys.executable, "-m", "tapehead"]
        words = command[3:]
        commands.append(words)
        with log.open("a") as output, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            return main([*words, "--trainer.enable_progress_bar=false"] if words[0] == "train" else words)

    for module in (worker, one_process):
        monkeypatch.setattr(module, "run_process", run_process)
    return commands


@pytest.fixture
def in_process(monkeypatch) -> Commands:
    """Run the commands of runs in this process, with `--workers 1`; the list of them."""
    return patched(monkeypatch)


@pytest.fixture
def from_now_on(monkeypatch) -> Callable[[], Commands]:
    """Call it, and from then on it is as with `in_process`."""
    return lambda: patched(monkeypatch)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A study of two models and two seeds, scored."""
    folder = tmp_path_factory.mktemp("studies") / "finished"
    with pytest.MonkeyPatch.context() as monkeypatch:
        patched(monkeypatch)
        assert study(folder, "--models", "ntm", "lstm", "--seeds", "2", "--workers", "1", *SCORED) == 0
    return folder
