"""What goes wrong on a user's machine: NaN, a full disk, a checkpoint that would run code."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import sys

import pytest
import torch

from tapehead.cli import main
from tapehead.files import replacing
from tapehead.tasks import TASKS, Copy
from tapehead.training.runs import Run
from tests.training.tiny import same, train, weights


def test_a_loss_that_is_not_finite_stops_the_run_with_what_to_do(tmp_path, capsys):
    assert train(tmp_path / "run", "--training.sequences=16") == 0
    before = weights(tmp_path / "run")
    capsys.readouterr()
    options = ["--training.sequences", "400", "--optimiser.learning_rate", "1e38"]
    assert main(["train", "--resume", str(tmp_path / "run"), *options]) == 1
    error = capsys.readouterr().err
    for said in ("update", "sequences-0000000016.ckpt", "--optimiser.learning_rate", "Traceback"):
        assert (said in error) == (said != "Traceback")
    assert same(weights(tmp_path / "run"), before)


def test_an_update_with_gradients_that_are_not_finite_is_left_out_and_counted(tmp_path, monkeypatch):
    from tapehead.training.lightning.module import TrainingModule

    backward, seen = TrainingModule.manual_backward, []

    def spoilt(self, loss):
        backward(self, loss)
        seen.append({name: p.detach().clone() for name, p in self.named_parameters()})
        if len(seen) == 5:
            self.model.readout.weight.grad[0, 0] = float("inf")

    monkeypatch.setattr(TrainingModule, "manual_backward", spoilt)
    assert train(tmp_path / "run", "--optimiser.name=adam") == 0
    assert Run.open(tmp_path / "run").summary()["skipped_updates"] == 1
    moved = [not same(seen[update], seen[update + 1]) for update in range(7)]
    assert moved == [True, True, True, True, False, True, True]


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch, capsys):
    synchronise, saved = os.fsync, []

    def full(file):
        name = os.readlink(f"/proc/self/fd/{file}")
        if ".ckpt" in name:
            saved.append(name)
            if len(saved) == 4:  # the second validation's best.ckpt
                raise OSError(errno.ENOSPC, "No space left on device")
        synchronise(file)

    monkeypatch.setattr(os, "fsync", full)
    assert train(tmp_path / "run") == 1
    monkeypatch.undo()
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert f"--resume {tmp_path / 'run'}" in error
    assert not list((tmp_path / "run").rglob("*.part"))
    assert train(tmp_path / "whole") == 0
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_a_disk_that_is_full_before_the_first_checkpoint(tmp_path, monkeypatch, capsys):
    def full(file):
        if ".ckpt" in os.readlink(f"/proc/self/fd/{file}"):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert train(tmp_path / "run") == 1
    error = capsys.readouterr().err
    assert "No checkpoint was written before. Make room, then start the run again under another name." in error
    assert "--resume" not in error


def test_a_write_that_fails_leaves_the_file_before(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail():
        with replacing(path) as file:
            file.write(b"new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


class Payload:
    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("words", [["evaluate"], ["train", "--resume"]], ids=lambda words: words[0])
def test_a_checkpoint_executes_nothing(tmp_path, capsys, words):
    assert train(tmp_path / "run", "--training.sequences=16") == 0
    Payload.path = str(tmp_path / "executed")
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        torch.save({"state_dict": Payload()}, path)
    capsys.readouterr()
    assert main([*words, str(tmp_path / "run")]) == 1
    assert "damaged" in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()
    pickle.loads(pickle.dumps(Payload()))  # the payload itself works: elsewhere it would have been executed
    assert (tmp_path / "executed").exists()


def test_weights_of_another_model_are_refused(tmp_path, capsys):
    assert train(tmp_path / "run", "--training.sequences=16") == 0
    assert train(tmp_path / "other", "--training.sequences=16", "--model.hidden_size=9") == 0
    best = "checkpoints/best.ckpt"
    (tmp_path / "run" / best).write_bytes((tmp_path / "other" / best).read_bytes())
    assert main(["evaluate", str(tmp_path / "run")]) == 1
    assert "of another model" in capsys.readouterr().err


@pytest.fixture(scope="module")
def short_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("short") / "run"
    assert train(path, "--training.sequences=16") == 0
    return path


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda contents: contents.pop("progress"), "it has no progress."),
        (lambda contents: contents.pop("random_state"), "it has no random_state."),
        (lambda contents: contents.update(stream_position=None), "it has no stream_position."),
        (
            lambda contents: contents["progress"].update(mood="good"),
            "whose runs keep mood as well",
        ),
    ],
    ids=["no progress", "no random state", "no position", "more progress"],
)
def test_a_checkpoint_with_other_parts_is_refused(short_run, tmp_path, capsys, spoil, said):
    run = Run.open(shutil.copytree(short_run, tmp_path / "run"))
    checkpoint = run.last_checkpoint()
    contents = torch.load(checkpoint, weights_only=True)
    spoil(contents)
    torch.save(contents, checkpoint)
    before = sorted(path.name for path in run.path.rglob("*"))
    assert main(["train", "--resume", str(run.path), "--training.sequences=32"]) == 1
    error = capsys.readouterr().err
    assert str(checkpoint) in error
    assert said in error
    assert sorted(path.name for path in run.path.rglob("*")) == before


def test_a_run_goes_on_when_nobody_reads_its_output_any_more(tmp_path, monkeypatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert train(tmp_path / "run", "--trainer.enable_progress_bar=true") == 0
        monkeypatch.undo()
    assert capsys.readouterr().err.count("nobody reads the output any more; training goes on") == 1
    assert Run.open(tmp_path / "run").summary()["sequences"] == 48
    assert not (tmp_path / "run" / "progress.json").exists()


@pytest.mark.parametrize("method", ["training_sample", "validation_sample"])
def test_a_task_that_draws_no_batch_gets_a_sentence_and_leaves_no_run(tmp_path, capsys, monkeypatch, method):
    monkeypatch.setitem(TASKS, "plain", type("Plain", (Copy,), {method: lambda self, *draw: tuple(self.sample(*draw))}))
    options = ["--training.sequences=4", "--training.validate_every=4", "--trainer.accelerator=cpu"]
    assert main(["train", "plain", "--out", str(tmp_path / "run"), *options, "--model.hidden_size=4"]) == 1
    error = capsys.readouterr().err
    assert f"Plain.{method}: expected a tapehead.tasks.Batch, got a tuple." in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()
