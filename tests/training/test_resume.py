"""A run that was stopped goes on as if it never had."""

from __future__ import annotations

import os
import shutil
import signal

import pytest
import torch

from tapehead.cli import main
from tapehead.errors import RunError
from tapehead.files import lock_folder
from tapehead.tasks import Copy
from tapehead.training.lightning.checkpoints import GracefulStop
from tapehead.training.lightning.module import TrainingModule
from tapehead.training.runs import Run
from tapehead.training.train import begin, prepare
from tests.training.tiny import same, train, weights

VARIANTS = {
    "plain": [],
    "schedule and Adam": ["--schedule.kind=cosine", "--schedule.warmup_sequences=8", "--optimiser.name=adam"],
    "curriculum": ["--curriculum.kind=incremental", "--curriculum.stages=[1,2]", "--curriculum.advance_below=1000"],
    "mixed lengths": ["--task.mixed_lengths=true"],
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    paths = {name: tmp_path_factory.mktemp("whole") / "run" for name in VARIANTS}
    for name, path in paths.items():
        assert train(path, *VARIANTS[name]) == 0
    return paths


@pytest.fixture(scope="module")
def at_16(tmp_path_factory):
    path = tmp_path_factory.mktemp("begun") / "run"
    assert train(path, "--training.sequences=16") == 0
    return path


@pytest.fixture
def begun(at_16, tmp_path):
    """A run of 16 sequences, the test's own: tmp_path / "run"."""
    return shutil.copytree(at_16, tmp_path / "run")


def validations(path):
    rows = []
    for file in sorted((path / "logs" / "csv").glob("version_*/metrics.csv")):
        lines = [line.split(",") for line in file.read_text().splitlines()]
        if "validation_bits" not in lines[0]:
            continue  # begun and stopped between two validations
        columns = [lines[0].index(name) for name in ("sequences", "validation_bits")]
        rows += [tuple(line[column] for column in columns) for line in lines[1:] if line[columns[1]]]
    return rows


def interrupt_at(monkeypatch, update):
    """Press Ctrl-C during an update; returns a list that gets an entry an update."""
    updates = []

    def on_update(self, module, loss, errors):
        updates.append(loss)
        if len(updates) == update:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(GracefulStop, "on_update", on_update, raising=False)
    return updates


@pytest.mark.parametrize("name", VARIANTS)
def test_stopped_by_a_limit(tmp_path, uninterrupted, name):
    assert train(tmp_path / "run", *VARIANTS[name], "--trainer.max_steps=13") == 0
    assert not same(weights(tmp_path / "run"), weights(uninterrupted[name]))
    assert main(["train", "--resume", str(tmp_path / "run"), "--trainer.max_steps", "-1"]) == 0
    assert same(weights(tmp_path / "run"), weights(uninterrupted[name]))


@pytest.mark.parametrize("update", [1, 3, 8, 10, 16])
def test_stopped_by_the_user_within_a_block_at_its_end_and_at_a_validation(
    tmp_path, uninterrupted, monkeypatch, capsys, update
):
    handler = signal.getsignal(signal.SIGINT)
    updates = interrupt_at(monkeypatch, update)
    assert train(tmp_path / "run") == 130
    assert f"tapehead train --resume {tmp_path / 'run'}" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is handler
    assert update <= len(updates) < 24
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert same(weights(tmp_path / "run"), weights(uninterrupted["plain"]))
    assert validations(tmp_path / "run") == validations(uninterrupted["plain"])


def test_sigterm_in_a_validation_saves(tmp_path, uninterrupted, monkeypatch):
    validate, seen = TrainingModule.validation_step, []

    def terminate(self, *arguments):
        seen.append(arguments)
        if len(seen) == 4:  # in the middle of the second
            os.kill(os.getpid(), signal.SIGTERM)
        return validate(self, *arguments)

    monkeypatch.setattr(TrainingModule, "validation_step", terminate)
    assert train(tmp_path / "run") == 130
    assert (tmp_path / "run" / "checkpoints" / "sequences-0000000032.ckpt").is_file()
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert same(weights(tmp_path / "run"), weights(uninterrupted["plain"]))


def test_counts_of_batches_stay_counts(tmp_path):
    limits = ["--trainer.limit_train_batches=4", "--trainer.limit_val_batches=1"]
    assert train(tmp_path / "whole", *limits) == 0
    assert train(tmp_path / "run", *limits, "--training.sequences=24") == 0
    assert main(["train", "--resume", str(tmp_path / "run"), "--training.sequences", "48"]) == 0
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))
    assert [row[0] for row in validations(tmp_path / "whole")] == ["8.0", "16.0", "24.0", "32.0", "40.0", "48.0"]
    assert validations(tmp_path / "run") == validations(tmp_path / "whole")


def test_what_came_out_is_forgotten_while_a_run_goes_on(tmp_path, monkeypatch):
    assert train(tmp_path / "run", "--training.sequences=32") == 0
    interrupt_at(monkeypatch, 2)
    assert main(["train", "--resume", str(tmp_path / "run"), "--training.sequences", "48"]) == 130
    assert not (tmp_path / "run" / "summary.json").exists()


def test_stopping_a_run_that_saves_nothing(tmp_path, monkeypatch, capsys):
    interrupt_at(monkeypatch, 2)
    assert train(tmp_path / "run", "--trainer.enable_checkpointing=false") == 130
    assert "nothing is saved" in capsys.readouterr().err


def test_a_finished_run_can_be_given_more_elsewhere(tmp_path, uninterrupted):
    assert train(tmp_path / "run", "--training.sequences=32") == 0
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    assert main(["train", "--resume", str(moved), "--training.sequences", "48"]) == 0
    assert same(weights(moved), weights(uninterrupted["plain"]))
    assert Run.open(moved).config().training.sequences == 48
    assert [path.name for path in (moved / "checkpoints").glob("best*")] == ["best.ckpt"]


def test_a_run_that_goes_on_follows_its_new_options(tmp_path):
    for name in ("plain", "schedule and Adam"):
        stopped = tmp_path / f"{name}, stopped"
        assert train(stopped, *VARIANTS[name], "--training.sequences=16") == 0
        run = shutil.copytree(stopped, tmp_path / name)
        assert main(["train", "--resume", str(run), "--training.sequences=48", "--optimiser.learning_rate=1e-9"]) == 0
        for tensor, before in zip(weights(run).values(), weights(stopped).values(), strict=True):
            assert (tensor - before).abs().max() < 0.05  # what momentum carries on; the old rate moves 0.1 and more
        assert not same(weights(run), weights(stopped))


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["repeat_copy"], "is a run of copy"),
        (["--model", "lstm"], "is a run of ntm"),
        (["--recipe", "copy/ntm"], "leave --recipe out"),
        (["--out", "elsewhere"], "leave --out out"),
        (["--seed", "5"], "--seed: cannot change"),
        (["--model.hidden_size", "9"], "--model: cannot change"),
        (["--task.bits", "3"], "--task: cannot change"),
        (["--embedding.features", "9"], "--embedding: cannot change"),
        (["--optimiser.name", "adam"], "--optimiser.name: cannot change"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_run_goes_on_only_as_itself(tmp_path, uninterrupted, capsys, extra, said):
    task, options = (extra, []) if not extra[0].startswith("-") else ([], extra)
    assert main(["train", *task, "--resume", str(uninterrupted["plain"]), *options]) == 2
    assert said in capsys.readouterr().err


def test_missing_and_damaged_runs_are_named(tmp_path, begun, capsys):
    assert main(["train", "--resume", str(tmp_path / "none")]) == 1
    assert "no such run" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["train", "--resume", str(tmp_path / "empty")]) == 1
    assert "no config.yaml" in capsys.readouterr().err

    last = tmp_path / "run" / "checkpoints" / "sequences-0000000016.ckpt"
    whole = last.read_bytes()
    last.write_bytes(whole[: len(whole) // 2])
    capsys.readouterr()
    assert main(["train", "--resume", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert "damaged" in error
    assert "best.ckpt" in error
    last.unlink()
    assert main(["train", "--resume", str(tmp_path / "run")]) == 1
    assert "no checkpoint" in capsys.readouterr().err
    (tmp_path / "run" / "config.yaml").write_text("model: [")
    assert main(["train", "--resume", str(tmp_path / "run")]) == 1
    assert "config.yaml: damaged" in capsys.readouterr().err


def test_random_numbers_that_a_model_draws_go_on_where_they_were(tmp_path, monkeypatch):
    loss = Copy.loss

    def drawn(self, logits, batch):
        """Where it learns, as dropout does."""
        return loss(self, logits, batch) * (torch.rand(()) if logits.requires_grad else 1)

    monkeypatch.setattr(Copy, "loss", drawn)
    assert train(tmp_path / "run", "--training.sequences=16") == 0
    torch.manual_seed(123)
    assert main(["train", "--resume", str(tmp_path / "run"), "--training.sequences", "48"]) == 0
    assert train(tmp_path / "whole") == 0
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_a_run_with_nothing_left_to_train_says_so(tmp_path, capsys):
    assert train(tmp_path / "run", "--training.sequences=16") == 0
    assert "Nothing was left" not in capsys.readouterr().out
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert "Nothing was left to train. To go on, name more: --training.sequences." in capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_a_solved_run_of_the_version_before_has_nothing_left_to_train_either(tmp_path, capsys):
    run = tmp_path / "run"
    assert train(run, "--training.solved_below=1000", "--training.sequences_after_solved=16") == 0
    for path in (run / "checkpoints").iterdir():
        contents = torch.load(path, weights_only=True)
        del contents["progress"]["finished"]
        torch.save(contents, path)
    before = weights(run)
    assert main(["train", "--resume", str(run)]) == 0
    assert "Nothing was left to train" in capsys.readouterr().out
    assert same(weights(run), before)


def test_a_run_that_max_steps_ended_is_told_of_it(tmp_path, capsys):
    assert train(tmp_path / "run", "--trainer.max_steps=12") == 0
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert "Nothing was left to train. To go on, raise --trainer.max_steps." in capsys.readouterr().out
    assert main(["train", "--resume", str(tmp_path / "run"), "--trainer.max_steps=-1"]) == 0
    assert Run.open(tmp_path / "run").summary()["sequences"] == 48


def test_an_ended_run_is_told_of_as_it_ended(tmp_path, capsys):
    assert train(tmp_path / "run", "--training.solved_below=1000") == 0
    assert main(["train", "--resume", str(tmp_path / "run"), "--training.solved_below=0.5"]) == 0
    said = capsys.readouterr().out
    assert said.count("at most 1000.0 wrong bits") == 2
    assert Run.open(tmp_path / "run").config().training.solved_below == 1000


def test_an_ended_run_goes_on_where_the_trainer_is_told_to(tmp_path, begun):
    assert main(["train", "--resume", str(tmp_path / "run"), "--trainer.min_steps", "20"]) == 0
    assert Run.open(tmp_path / "run").summary()["sequences"] >= 40


@pytest.mark.parametrize("after", [0, 16])
def test_a_solved_run_has_nothing_left_to_train_and_says_so(tmp_path, capsys, after):
    run, resume = tmp_path / "run", ["train", "--resume", str(tmp_path / "run")]
    assert train(run, "--training.solved_below=1000", f"--training.sequences_after_solved={after}") == 0
    ended = Run.open(run).summary()["sequences"]
    assert ended == 16 + after
    before = weights(run)
    capsys.readouterr()
    for _ in range(2):
        assert main(resume) == 0
        said = "Nothing was left to train. To go on, add --training.stop_when_solved false."
        assert said in capsys.readouterr().out
        assert Run.open(run).summary()["sequences"] == ended
        assert same(weights(run), before)
    assert main([*resume, "--training.stop_when_solved", "false"]) == 0
    assert "Nothing was left" not in capsys.readouterr().out
    assert Run.open(run).summary()["sequences"] == 48


def test_a_solved_run_goes_on_for_longer_when_told_to(tmp_path):
    assert train(tmp_path / "run", "--training.solved_below=1000", "--training.sequences_after_solved=0") == 0
    assert main(["train", "--resume", str(tmp_path / "run"), "--training.sequences_after_solved=16"]) == 0
    assert Run.open(tmp_path / "run").summary()["sequences"] == 32


def test_a_run_stopped_after_it_was_solved_still_comes_to_its_validation(tmp_path, monkeypatch):
    options = ["--training.solved_below=1000", "--training.sequences_after_solved=8"]
    assert train(tmp_path / "whole", *options) == 0
    interrupt_at(monkeypatch, 13)  # 26 sequences: solved at 16, 10 ago
    assert train(tmp_path / "run", *options) == 130
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert Run.open(tmp_path / "run").summary()["sequences"] == 32
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_a_run_of_an_unknown_task(tmp_path, begun, capsys):
    path = tmp_path / "run" / "config.yaml"
    path.write_text(path.read_text().replace("task_name: copy", "task_name: sing"))
    assert main(["evaluate", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "of a task 'sing' that is not known here. Known are copy, " in said
    assert "If it is a task of your own, call its file: `python FILE.py evaluate ...`." in said


def test_only_one_process_at_a_time_trains_in_a_folder(tmp_path, capsys):
    run, resume = tmp_path / "run", ["train", "--resume", str(tmp_path / "run"), "--training.sequences", "80"]
    assert train(run) == 0
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    other = lock_folder(run)
    assert main(resume) == 1
    assert "another `tapehead train` is at work in it" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    os.close(other)
    assert main(resume) == 0


def test_a_run_that_goes_on_may_keep_fewer_checkpoints(tmp_path):
    assert train(tmp_path / "run", "--training.sequences=32", "--training.keep_last=3") == 0
    assert main(["train", "--resume", str(tmp_path / "run"), "--training.keep_last=1", "--training.sequences=48"]) == 0
    assert "sequences-0000000048.ckpt" in {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}


@pytest.fixture(scope="module")
def worse(tmp_path_factory, uninterrupted):
    """A run that went on from 32 sequences, its best ones, to what is no good."""
    run = tmp_path_factory.mktemp("worse") / "run"
    assert train(run, "--training.sequences=32", "--training.keep_last=3") == 0
    (run / "checkpoints" / "best.ckpt").write_bytes((run / "checkpoints" / "sequences-0000000032.ckpt").read_bytes())
    more = ["--training.sequences=48", "--optimiser.learning_rate=0.5"]
    assert main(["train", "--resume", str(run), *more]) == 0
    assert not same(weights(run), weights(uninterrupted["plain"]))
    return run


@pytest.mark.parametrize(
    "checkpoint", ["best", "sequences-0000000032", "sequences-0000000032.ckpt", "run/checkpoints/best.ckpt"]
)
def test_a_run_goes_back_to_a_checkpoint(tmp_path, uninterrupted, worse, checkpoint, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = shutil.copytree(worse, tmp_path / "run")
    again = ["--training.sequences=48", "--optimiser.learning_rate=3e-4", "--training.keep_last=2"]
    assert main(["train", "--resume", str(run), "--from", checkpoint, *again]) == 0
    assert same(weights(run), weights(uninterrupted["plain"]))
    names = [path.stem for path in sorted((run / "checkpoints").glob("sequences-*"))]
    assert names == ["sequences-0000000032", "sequences-0000000048"]


def test_a_seed_that_was_edited_is_refused(tmp_path, capsys):
    run = tmp_path / "run"
    assert train(run, "--seed=4") == 0
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("seed: 4", "seed: 5"))
    capsys.readouterr()
    assert main(["train", "--resume", str(run), "--training.sequences=64"]) == 1
    assert "trained with seed 4, and config.yaml says 5. Put 4 back there." in capsys.readouterr().err
    (run / "config.yaml").write_text(config)
    assert main(["train", "--resume", str(run), "--training.sequences=64"]) == 0


def test_a_run_that_another_process_went_on_with_since_is_refused(tmp_path, begun):
    argv = ["--training.sequences", "48"]
    late = prepare(argv, task=None, model=None, resume=str(tmp_path / "run"))
    assert main(["train", "--resume", str(tmp_path / "run"), "--training.sequences", "32"]) == 0
    with pytest.raises(RunError, match="has gone on with it since"):
        begin(late)
    late.run.release()


def test_a_run_in_training_holds_its_folder(tmp_path, monkeypatch):
    refused = []

    def on_update(self, module, loss, errors):
        with pytest.raises(BlockingIOError):
            lock_folder(tmp_path / "run")
        refused.append(loss)

    monkeypatch.setattr(GracefulStop, "on_update", on_update, raising=False)
    assert train(tmp_path / "run", "--training.sequences=16") == 0
    assert refused
    os.close(lock_folder(tmp_path / "run"))
