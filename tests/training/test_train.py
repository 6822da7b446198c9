"""`tapehead train`: what a run leaves, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import os
import shlex
import warnings
from pathlib import Path

import pytest
import torch
import yaml

from tapehead import core
from tapehead.cli import main
from tapehead.tasks import Copy
from tapehead.training.runs import Run
from tests.training.tiny import same, train, weights


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "finished"
    assert train(path) == 0
    return path


def test_a_run_leaves_all_that_it_takes_to_repeat_and_judge_it(finished):
    summary = json.loads((finished / "summary.json").read_text())
    assert summary.keys() >= {
        "task", "model", "seed", "solved", "solved_at_sequences", "solved_at_seconds", "sequences", "seconds",
        "bit_errors", "bits", "parameters",
    }  # fmt: skip
    assert (summary["task"], summary["model"], summary["seed"]) == ("copy", "ntm", 0)
    assert summary["sequences"] == 48
    assert summary["parameters"] == sum(p.numel() for p in Run.open(finished).load_model().parameters())
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["command"][:5] == ["tapehead", "train", "copy", "--model", "ntm"]
    assert ["--out", str(finished)] == environment["command"][5:7]
    assert environment["packages"].keys() >= {"tapehead", "torch", "lightning"}
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["task"]["max_length"] == 3
    assert config["trainer"]["log_every_n_steps"] == 3
    assert sorted(path.name for path in (finished / "checkpoints").iterdir()) == [
        "best.ckpt", "sequences-0000000032.ckpt", "sequences-0000000048.ckpt",
    ]  # fmt: skip
    assert (finished / "logs" / "csv" / "version_0" / "metrics.csv").is_file()
    assert list((finished / "logs" / "tensorboard" / "version_0").glob("events*"))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(finished, tmp_path):
    assert train(tmp_path / "again") == 0
    assert train(tmp_path / "other", "--seed=1") == 0
    assert same(weights(finished), weights(tmp_path / "again"))
    assert not same(weights(finished), weights(tmp_path / "other"))


def test_an_update_takes_no_more_threads_than_it_has_rows(tmp_path, monkeypatch):
    seen = []
    sample = Copy.training_sample
    monkeypatch.setattr(Copy, "training_sample", lambda *given: seen.append(torch.get_num_threads()) or sample(*given))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert train(tmp_path / "one", "--training.batch_size=1") == 0
        assert train(tmp_path / "two", "--training.batch_size=2") == 0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1, 2}


def test_a_run_repeats_from_its_own_configuration(finished, tmp_path):
    assert main(["train", "copy", "--config", str(finished / "config.yaml"), "--out", str(tmp_path / "again")]) == 0
    assert same(weights(finished), weights(tmp_path / "again"))


def test_an_existing_run_is_never_overwritten(finished, capsys):
    before = sorted(finished.rglob("*"))
    assert train(finished) == 1
    assert "never overwritten" in capsys.readouterr().err
    assert sorted(finished.rglob("*")) == before


def test_the_default_folder_names_task_model_and_seed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train("", "--seed=7", "--trainer.fast_dev_run=true") == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("copy-ntm-seed7-")


def test_the_commands_named_at_the_end_run(tmp_path, capsys, unrendered):
    assert train(tmp_path / "a [bold] run") == 0
    said, commands = capsys.readouterr().out.split("Next: ")
    assert f"Run: {tmp_path / 'a [bold] run'}\n" in said
    evaluate, plot = commands.splitlines()
    for command, *more in (
        [evaluate, "--lengths", "2", "--sequences", "1"],
        [plot, "--out", str(tmp_path / "pictures")],
    ):
        program, *words = shlex.split(command)
        assert program == "tapehead"
        assert main([*words, *more]) == 0
    assert any((tmp_path / "pictures").iterdir())
    assert "a [bold] run: ntm on copy" in capsys.readouterr().out


def test_training_stops_when_solved_and_says_when(tmp_path, capsys):
    assert train(tmp_path / "run", "--training.solved_below=1000", "--training.sequences_after_solved=0") == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["solved"]
    assert summary["solved_at_sequences"] == summary["sequences"] == 16
    assert 0 < summary["solved_at_seconds"] <= summary["seconds"]
    assert "Solved copy after 16 sequences" in capsys.readouterr().out
    assert train(tmp_path / "on", "--training.solved_below=1000", "--training.stop_when_solved=false") == 0
    summary = json.loads((tmp_path / "on" / "summary.json").read_text())
    assert (summary["solved_at_sequences"], summary["sequences"]) == (16, 48)


def test_once_solved_a_run_goes_on_for_a_while_at_a_lower_rate(tmp_path):
    options = ["--training.solved_below=1000", "--training.sequences_after_solved=10", "--optimiser.learning_rate=0.01"]
    options += ["--schedule.solved_fraction=0.5", "--schedule.solved_kind=cosine"]
    assert train(tmp_path / "run", *options) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["solved_at_sequences"], summary["sequences"]) == (16, 32)  # the next validation after 26
    with (tmp_path / "run" / "logs" / "csv" / "version_0" / "metrics.csv").open() as file:
        rates = [(float(row["sequences"]), row["learning_rate"]) for row in csv.DictReader(file)]
    assert {round(float(rate), 6) for sequences, rate in rates if rate and sequences <= 16} == {0.01}
    after = {sequences - 2 - 16: float(rate) for sequences, rate in rates if rate and sequences > 16}  # of a batch of 2
    assert len(after) > 2
    for seen, rate in after.items():
        assert rate == pytest.approx(0.005 * (1 + math.cos(math.pi * min(1, seen / 10))) / 2, abs=1e-9)


def test_once_solved_weights_may_decay(tmp_path):
    """With no gradient to speak of, a decay of the weights is what is left."""
    options = ["--training.solved_below=1000", "--training.sequences_after_solved=32", "--schedule.solved_fraction=1"]
    norms = {}
    for decay in (0, 100):
        run = tmp_path / str(decay)
        assert train(run, *options, f"--schedule.solved_weight_decay={decay}", "--optimiser.clip=none") == 0
        norms[decay] = sum(float(tensor.square().sum()) for tensor in weights(run).values())
    assert norms[100] < 0.999 * norms[0]
    options[0] = "--training.solved_below=0"
    for decay in (0, 100):
        run = tmp_path / f"unsolved-{decay}"
        assert train(run, *options, f"--schedule.solved_weight_decay={decay}") == 0
    assert same(weights(tmp_path / "unsolved-0"), weights(tmp_path / "unsolved-100"))


@pytest.mark.parametrize(
    ("task", "model"),
    [
        ("copy", "lstm"),
        ("repeat-copy", "ntm"),
        ("repeat_copy", "lstm"),
        ("associative-recall", "ntm"),
        ("associative_recall", "lstm"),
    ],
)
def test_every_task_trains_every_model(tmp_path, task, model):
    assert train(tmp_path / "run", "--training.sequences=16", task=task, model=model) == 0
    assert Run.open(tmp_path / "run").summary()["task"] == task.replace("-", "_")


@pytest.mark.parametrize(
    "extra",
    [
        ["--task.mixed_lengths=true"],
        ["--model.controller=feedforward", "--model.order=write_read", "--model.num_read_heads=2"],
        ["--optimiser.name=adamw", "--optimiser.weight_decay=0.1", "--schedule.kind=linear"],
        ["--optimiser.name=rmsprop", "--optimiser.clip=value", "--schedule.warmup_sequences=8"],
        ["--optimiser.name=adam", "--optimiser.clip=none", "--curriculum.kind=none"],
        ["--model.initial.memory=learned", "--model.initial.controller=learned"],
    ],
    ids=lambda extra: " ".join(extra),
)
def test_options_reach_the_run(tmp_path, extra):
    assert train(tmp_path / "run", *extra, "--training.sequences=16") == 0
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    for word in extra:
        name, value = word.removeprefix("--").split("=")
        found = config
        for key in name.split("."):
            found = found[key]
        assert str(found).lower() == value


def test_a_recipe_brings_its_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny = ["--task.max_length=2", "--trainer.fast_dev_run=true", "--trainer.accelerator=cpu", "--model.hidden_size=4"]
    assert main(["train", "copy", "--recipe", "copy/lstm", "--out", "run", *tiny]) == 0
    assert Run.open("run").config().model_name == "lstm"


@pytest.mark.parametrize("option", ["--config", "--recipe"])
def test_a_file_brings_its_model(tmp_path, monkeypatch, option):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("model_name: lstm\nmodel:\n  hidden_size: 5\n")
    tiny = ["--task.max_length=2", "--trainer.fast_dev_run=true", "--trainer.accelerator=cpu"]
    assert main(["train", "copy", option, "mine.yaml", "--out", "run", *tiny]) == 0
    config = Run.open("run").config()
    assert (config.model_name, config.model.hidden_size) == ("lstm", 5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "sing"], "expected a task of copy, repeat_copy, associative_recall"),
        (["train"], "expected a task of copy, repeat_copy, associative_recall"),
        (["train", "copy", "--model", "gru"], "expected one of ntm, mann, lstm"),
        (
            ["train", "copy", "--recipe", "copy/no-such"],
            "no recipe 'copy/no-such', and no such file. Of copy there are",
        ),
        (
            ["train", "copy", "--recipe", "omniglot/mann"],
            "omniglot/mann is for omniglot. Of copy there are: copy/lstm, ",
        ),
        (["train", "copy", "--task.colour", "red"], "task.colour"),
        (["train", "copy", "--task.max_length", "long"], "task.max_length"),
        (["train", "copy", "--task.max_length", "0"], "min_length <= max_length"),
        (["train", "copy", "--model.checkpoint_every", "0"], "checkpoint_every >= 1"),
        (["train", "copy", "--model.max_shift", "-1"], "max_shift >= 0"),
        (["train", "copy", "--model.max_shift", "64"], "memory_size >= 129"),
        (["train", "copy", "--model.initial.std", "-1"], "std >= 0"),
        (["train", "copy", "--training.batch_size", "0"], "batch_size > 0"),
        (["train", "copy", "--optimiser.name", "sgd"], "optimiser.name"),
        (["train", "copy", "--trainer.colour", "red"], "trainer.colour"),
        (["train", "copy", "--trainer.overfit_batches", "0.5"], "overfit_batches"),
        (["train", "copy", "--model", "ntm", "--recipe", "copy/lstm"], "is for lstm, not for ntm"),
        (["train", "copy", "--seed", "-1"], "seed"),
        (["train", "copy", "--seed", "99999999999999999999"], "seed"),
        (["train", "copy", "--optimiser.momentum", "-1"], "0 <= momentum < 1"),
        (["train", "copy", "--optimiser.betas", "[0.9, 1.5]"], "0 <= betas < 1"),
        (["train", "copy", "--optimiser.eps", "-1"], "eps > 0"),
        (["train", "copy", "--schedule.warmup_sequences", "-5"], "warmup_sequences >= 0"),
        (["train", "copy", "--trainer.gradient_clip_algorithm", "colour"], "gradient_clip_algorithm"),
        (["train", "copy", "--trainer.gradient_clip_val", "-1"], "clip_limit > 0"),
        (["train", "copy", "--trainer.accelerator", "colour"], "accelerator"),
        (["train", "copy", "--trainer.strategy", "colour"], "strategy"),
        (["train", "copy", "--trainer.devices", "0"], "devices"),
        (["train", "copy", "--trainer.precision", "16-true"], "16-mixed"),
        (["train", "--seed", "3", "copy"], "as the first word"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_word_gets_a_sentence_and_leaves_nothing(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert main(words) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_a_backend_that_cannot_run_says_why(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(core, "why_not", lambda: ("there is no core.",))
    assert main(["train", "copy", "--model.backend", "fused"]) in (1, 2)
    error = capsys.readouterr().err
    assert "backend 'fused' cannot run ntm: there is no core." in error
    assert "Traceback" not in error
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_run_that_goes_on_says_so_once(tmp_path):
    """Lightning's own words of the checkpoint are left out."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addHandler(handler)
    try:
        assert train(tmp_path / "run", "--training.sequences=16") == 0
        assert main(["train", "--resume", str(tmp_path / "run"), "--training.sequences=32"]) == 0
    finally:
        logging.getLogger("lightning.pytorch.utilities.rank_zero").removeHandler(handler)
    assert said.getvalue() == ""


def test_training_leaves_the_callers_process_as_it_was(tmp_path):
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch")]
    before = dict(os.environ), [list(logger.filters) for logger in loggers], list(warnings.filters)
    assert train(tmp_path / "run", "--training.sequences=8") == 0
    assert train(tmp_path / "run") == 1
    assert (dict(os.environ), [list(logger.filters) for logger in loggers], list(warnings.filters)) == before
