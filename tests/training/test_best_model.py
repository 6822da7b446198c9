"""Which weights a run ends with: the mean over updates, and the best checkpoint by lengths beyond training."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from tapehead.cli import main
from tapehead.training.evaluate import VALIDATION_STREAM, score_size
from tapehead.training.runs import AVERAGE_PREFIX, MODEL_PREFIX, Run
from tests.training.tiny import same, train, weights

EVERY_UPDATE = ["--training.sequences=12", "--training.validate_every=2", "--training.keep_last=100"]


def part(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


@pytest.mark.usefixtures("signed")
@pytest.mark.parametrize("words", [{}, {"task": "omniglot", "model": "mann"}], ids=["copy", "embedding"])
def test_the_mean_of_the_weights_is_an_exponential_one(words, tmp_path):
    options = ["--optimiser.average=0.75", *(["--task.data=x", "--embedding.kind=convolution"] if words else [])]
    assert train(tmp_path / "run", *EVERY_UPDATE, *options, **words) == 0
    run = Run.open(tmp_path / "run")
    states = [run.load_checkpoint(path)["state_dict"] for path in sorted(run.checkpoints.glob("sequences-*"))]
    assert len(states) == 6
    expected = part(states[0], MODEL_PREFIX)  # the first mean is the first weights
    for state in states[1:]:
        expected = {
            name: 0.75 * expected[name] + 0.25 * value if value.is_floating_point() else value
            for name, value in part(state, MODEL_PREFIX).items()
        }
    mean = part(states[-1], AVERAGE_PREFIX)
    assert not same(mean, part(states[-1], MODEL_PREFIX))
    for name, value in expected.items():
        torch.testing.assert_close(mean[name], value)
    last = run.load_model(run.last_checkpoint()).state_dict()
    assert same(dict(last), mean)


def test_the_mean_is_what_is_validated(tmp_path):
    assert train(tmp_path / "run", *EVERY_UPDATE, "--optimiser.average=0.75") == 0
    run = Run.open(tmp_path / "run")
    task, model = run.config().task, run.load_model(run.last_checkpoint())
    bits = [score_size(model, task, size, 2, VALIDATION_STREAM, 0).bits for size in task.sizes()]
    assert run.summary()["bits"] == pytest.approx(sum(bits) / len(bits), rel=1e-5)


def test_a_resumed_run_goes_on_with_its_mean(tmp_path):
    options = ["--optimiser.average=0.9", "--training.validate_every=16"]
    assert train(tmp_path / "whole", *options) == 0
    assert train(tmp_path / "parts", *options, "--training.sequences=32") == 0
    assert main(["train", "--resume", str(tmp_path / "parts"), "--training.sequences=48"]) == 0
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_without_a_mean_there_is_none(tmp_path):
    assert train(tmp_path / "run", "--optimiser.average=0") == 0
    assert not part(weights(tmp_path / "run"), AVERAGE_PREFIX)


def validations(path: Path) -> list[dict[str, float]]:
    """What was logged of each validation."""
    with (path / "logs" / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["selection"]]
    return [{name: float(value) for name, value in row.items() if value} for row in rows]


LONGER = [
    "--training.select_at=[5,7]",
    "--training.select_sequences=3",
    "--training.stop_when_solved=false",
    "--training.keep_last=100",
    "--training.validate_every=8",
    "--optimiser.learning_rate=0.02",
]


@pytest.mark.parametrize("clean", ["none", "some", "all"])
def test_a_clean_validation_is_chosen_at_longer_lengths_too(tmp_path, clean: str):
    limit = {"none": 0.0, "all": 1000.0}
    if clean == "some":
        assert train(tmp_path / "first", *LONGER) == 0
        errors = [row["validation_bit_errors"] for row in validations(tmp_path / "first")]
        limit["some"] = min(errors) + 1e-4
        assert errors[-1] > min(errors), "nothing was lost after it was solved: this test needs another seed"
    assert train(tmp_path / "run", *LONGER, f"--training.solved_below={limit[clean]}") == 0
    run, logged = Run.open(tmp_path / "run"), validations(tmp_path / "run")
    task, chosen = run.config().task, []
    for path, row in zip(sorted(run.checkpoints.glob("sequences-*")), logged, strict=True):
        model = run.load_model(path)
        longer = [score_size(model, task, {"length": length}, 3, VALIDATION_STREAM, 0).bits for length in (5, 7)]
        is_clean = row["validation_bit_errors"] <= limit[clean]
        chosen.append(row["validation_bits"] + (sum(longer) if is_clean else 100_000))
        assert row["selection"] == pytest.approx(chosen[-1], rel=1e-5)
    best = sorted(run.checkpoints.glob("sequences-*"))[chosen.index(min(chosen))]
    assert same(run.load_checkpoint(run.best_checkpoint())["state_dict"], run.load_checkpoint(best)["state_dict"])


def test_without_longer_lengths_the_bits_choose(tmp_path):
    assert train(tmp_path / "run", "--training.select_at=[]") == 0
    assert all(row["validation_bits"] == row["selection"] for row in validations(tmp_path / "run"))


@pytest.mark.parametrize(
    ("task", "lengths", "said"),
    [
        ("copy", "[5,0]", "got [5, 0]. Copy: expected a length >= 1, got 0."),
        ("ngrams", "[2]", "got [2]. NGrams: expected a length >= n = 3, got 2."),
    ],
)
def test_lengths_that_the_task_cannot_have_are_refused(tmp_path, capsys, task, lengths, said):
    assert train(tmp_path / "run", f"--training.select_at={lengths}", task=task) == 2
    error = capsys.readouterr().err
    assert f"tapehead: --training.select_at: expected select_at of lengths of {task}, {said}" in error
    assert not (tmp_path / "run").exists()


def test_what_is_scored_without_a_best_checkpoint_is_said(tmp_path, capsys):
    assert train(tmp_path / "run") == 0
    (tmp_path / "run" / "checkpoints" / "best.ckpt").unlink()
    latest = Run.open(tmp_path / "run").last_checkpoint().name
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run"), "--lengths", "2", "--sequences", "1"]) == 0
    assert f"This is {latest}, its latest checkpoint: it has no best.ckpt." in capsys.readouterr().out


def test_a_score_of_other_lengths_no_longer_decides(tmp_path):
    """Few bits at the training sizes alone would keep every later checkpoint, with more at longer ones, from it."""
    run = Run(tmp_path / "run")
    assert train(run.path, "--training.solved_below=100", "--training.stop_when_solved=false") == 0
    resume = ["train", "--resume", str(run.path)]
    assert main([*resume, "--training.sequences=64", "--training.select_at=[30]"]) == 0
    best = run.load_checkpoint(run.checkpoints / "best.ckpt")
    assert best["progress"]["sequences"] == 64
    (latest,) = [float(row["selection"]) for row in rows(run, 1) if row.get("selection")]
    assert latest > best["progress"]["bits"]
    assert main([*resume, "--training.sequences=80", "--optimiser.learning_rate=1000"]) == 0
    assert run.load_checkpoint(run.checkpoints / "best.ckpt")["progress"]["sequences"] == 64


def rows(run: Run, version: int) -> list[dict[str, str]]:
    with (run.logs / "csv" / f"version_{version}" / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))
