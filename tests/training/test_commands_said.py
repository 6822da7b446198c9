"""What a run tells a user to type next is what works."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
from pathlib import Path

import torch

from tapehead.cli import main
from tapehead.training.lightning.checkpoints import GracefulStop
from tapehead.training.runs import Run
from tests.training.tiny import train


def words_after(text: str, begin: str) -> list[str]:
    return shlex.split(next(line for line in text.splitlines() if begin in line).partition("tapehead ")[2])


def test_a_folder_of_any_name_can_be_gone_on_with_and_looked_at(tmp_path, monkeypatch, capsys, unrendered):
    monkeypatch.chdir(tmp_path)
    name = "-dash and words"

    def on_update(self, module, loss, errors):
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(GracefulStop, "on_update", on_update, raising=False)
        assert train(Path("other"), f"--out={name}") == 130
    assert main(words_after(capsys.readouterr().err, "Go on with")) == 0
    out = capsys.readouterr().out
    for begin in ("Next: tapehead evaluate", "  tapehead plot"):
        assert main([*words_after(out, begin), *(["--lengths=2"] if "evaluate" in begin else ["--length=2"])]) == 0


def test_nothing_is_next_where_nothing_was_saved(tmp_path, capsys):
    assert train(tmp_path / "none", "--trainer.fast_dev_run=true") == 0
    assert "Next" not in capsys.readouterr().out
    assert train(tmp_path / "unlogged", "--trainer.logger=false", "--training.sequences=16") == 0
    out = capsys.readouterr().out
    assert "tapehead evaluate" in out
    assert "tapehead plot" not in out


def test_what_lets_a_run_go_on_is_named(tmp_path, capsys):
    assert train(tmp_path / "run", "--training.sequences=16") == 0
    for limit, value in (("max_epochs", "1"), ("max_steps", "8"), ("max_time", "00:00:00:00")):
        run = shutil.copytree(tmp_path / "run", tmp_path / limit)
        more = ["--training.sequences=32", f"--trainer.{limit}={value}"]
        assert main(["train", "--resume", str(run), *more]) == 0
        assert f"To go on, raise --trainer.{limit}." in capsys.readouterr().out


def test_a_damaged_checkpoint_names_one_to_go_back_to(tmp_path, capsys):
    assert train(tmp_path / "run") == 0
    Run.open(tmp_path / "run").last_checkpoint().write_bytes(b"")
    more = ["train", "--resume", str(tmp_path / "run"), "--training.sequences=64"]
    assert main(more) == 1
    error = capsys.readouterr().err
    assert error.rstrip().endswith("such as --from sequences-0000000032.")
    assert main([*more, "--from", "sequences-0000000032"]) == 0


def test_a_run_that_cannot_be_written_is_scored_and_does_not_go_on(tmp_path, monkeypatch, capsys):
    run, kind = tmp_path / "run", Path.open
    assert train(run, "--training.sequences=16") == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    def open_file(self, mode="r", *arguments, **options):
        if "w" in mode and run in self.parents:
            raise PermissionError(13, "Permission denied", str(self))
        return kind(self, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_file)
    capsys.readouterr()
    assert main(["evaluate", str(run), "--lengths", "2"]) == 1
    said = capsys.readouterr()
    assert "wrong bits" in said.out
    assert "evaluation.json: cannot be written: Permission denied" in said.err
    assert main(["train", "--resume", str(run), "--training.sequences=32"]) == 1
    assert "cannot be written: Permission denied. A run goes on in its own folder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_machine_without_room_is_told_in_a_sentence(tmp_path, monkeypatch, capsys):
    def full(*arguments, **options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.\nMore")

    with monkeypatch.context() as small:
        small.setattr(torch.Tensor, "new_full", full)
        assert train(tmp_path / "run") == 1
    error = capsys.readouterr().err
    assert (
        "tapehead: Out of memory: DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes." in error
    )
    assert "More" not in error
    assert train(tmp_path / "run", "--training.sequences=16") == 0
