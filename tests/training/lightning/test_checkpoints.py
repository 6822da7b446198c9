"""Which checkpoints a run keeps that goes on: those of its folder count, whatever the one it goes on from says."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tapehead.cli import main
from tapehead.training.lightning.checkpoints import GracefulStop
from tapehead.training.lightning.module import TrainingModule
from tapehead.training.runs import Run
from tests.training.tiny import same, train, weights


def names(run: Path) -> list[str]:
    return sorted(path.stem for path in (run / "checkpoints").iterdir())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of three validations, the last of which is the best; a fourth one lies between that and the second."""
    worth = {16: 4.0, 32: 3.0, 48: 1.0, 64: 2.0}
    monkeypatch.setattr(TrainingModule, "_selection", lambda self, *_: worth.get(self.progress.sequences, 5.0))
    assert train(tmp_path / "run") == 0
    return tmp_path / "run"


@pytest.mark.parametrize("how", ["as it is", "moved", "gone back"])
def test_the_best_checkpoint_stays_where_a_run_goes_on_that_is_not_better(run, how):
    best = (run / "checkpoints" / "best.ckpt").read_bytes()
    if how == "moved":
        run = run.rename(run.with_name("moved"))
    back = ["--from", "sequences-0000000032"] if how == "gone back" else []
    assert main(["train", "--resume", str(run), *back, "--training.sequences=80"]) == 0
    assert (run / "checkpoints" / "best.ckpt").read_bytes() == best


def test_a_damaged_best_checkpoint_is_replaced(run):
    (run / "checkpoints" / "best.ckpt").write_bytes(b"")
    assert main(["train", "--resume", str(run), "--training.sequences=80"]) == 0
    assert Run.open(run).load_checkpoint(run / "checkpoints" / "best.ckpt")["progress"]["sequences"] == 64


@pytest.mark.parametrize("moved", [False, True])
def test_a_run_that_goes_on_keeps_as_many_as_it_is_told(run, monkeypatch, moved):
    other = run / "checkpoints" / "sequences-mine.ckpt"
    other.write_bytes(b"whatever")
    if moved:
        run = run.rename(run.with_name("moved"))

    def on_update(self, module, loss, errors):
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(GracefulStop, "on_update", on_update, raising=False)
        assert main(["train", "--resume", str(run), "--training.sequences=64"]) == 130
    last = ["best", *(f"sequences-00000000{count}" for count in (32, 48, 54)), "sequences-mine"]
    assert names(run) == last
    assert main(["train", "--resume", str(run), "--training.sequences=64"]) == 0
    assert names(run) == ["best", "sequences-0000000054", "sequences-0000000064", "sequences-mine"]
    assert main(["train", "--resume", str(run), "--training.sequences=96", "--training.keep_last=1"]) == 0
    assert names(run) == ["best", "sequences-0000000096", "sequences-mine"]


def test_a_run_in_float64_goes_on_as_if_it_had_never_stopped(tmp_path):
    precision = "--trainer.precision=64-true"
    assert train(tmp_path / "whole", precision, "--optimiser.average=0.9") == 0
    assert train(tmp_path / "parts", precision, "--optimiser.average=0.9", "--training.sequences=16") == 0
    assert main(["train", "--resume", str(tmp_path / "parts"), "--training.sequences=48"]) == 0
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))
