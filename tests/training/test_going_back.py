"""`train --resume RUN --from`: which checkpoint is meant, and that going back holds at once."""

from __future__ import annotations

import shutil

from tapehead.cli import main
from tapehead.training.runs import Run
from tests.training.tiny import train


def test_going_back_is_at_once_in_effect(tmp_path):
    run = tmp_path / "run"
    assert train(run, "--training.keep_last=3") == 0
    assert main(["train", "--resume", str(run), "--from", "sequences-0000000016", "--trainer.max_steps=4"]) == 0
    assert Run.open(run).last_checkpoint().stem == "sequences-0000000016"


def test_there_has_to_be_something_to_go_back_to(tmp_path, capsys):
    run = tmp_path / "run"
    assert train(run, "--training.sequences=32") == 0
    before = sorted((run / "checkpoints").iterdir())
    capsys.readouterr()
    other = shutil.copytree(run, tmp_path / "other")
    for name, said in (
        ("worst", f"--from: expected a file of {run / 'checkpoints'}, got worst. There are: best.ckpt, sequences-"),
        ("../config", f"--from: expected a file of {run / 'checkpoints'}, got ../config. There are: best.ckpt, seq"),
        ("", f"--from: expected a file of {run / 'checkpoints'}, got nothing. There are: best.ckpt, sequences-"),
        (str(other / "checkpoints" / "best.ckpt"), "best.ckpt is of another run. Name that one instead: "),
    ):
        assert main(["train", "--resume", str(run), "--from", name]) == 1
        assert said in capsys.readouterr().err
    assert main(["train", "copy", "--from", "best"]) == 2
    assert "--from: a new run has no checkpoints" in capsys.readouterr().err
    assert sorted((run / "checkpoints").iterdir()) == before
