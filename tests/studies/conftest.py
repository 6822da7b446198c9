"""A finished study for the tests that only look at one, and runs without processes of their own."""

from __future__ import annotations

import pytest

from tapehead.cli import main
from tapehead.studies import worker
from tests.studies.tiny_study import SCORED, study


def patched(monkeypatch):
    commands = []

    def run(words, order, stop, lock):
        commands.append(words)
        return main([*words, "--trainer.enable_progress_bar=false"] if words[0] == "train" else words)

    monkeypatch.setattr(worker, "_run", run)
    return commands


@pytest.fixture
def in_process(monkeypatch):
    """Run the commands of runs in this process, with `--workers 1`; the list of them."""
    return patched(monkeypatch)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A study of two models and two seeds, scored."""
    folder = tmp_path_factory.mktemp("studies") / "finished"
    with pytest.MonkeyPatch.context() as monkeypatch:
        patched(monkeypatch)
        assert study(folder, "--models", "ntm", "lstm", "--seeds", "2", "--workers", "1", *SCORED) == 0
    return folder
