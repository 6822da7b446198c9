"""Options of Lightning's Trainer mean what they mean anywhere, though a Lightning step holds many updates here."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import pytest
import torch
from lightning.pytorch import Callback

from tapehead.training.runs import Run
from tests.training.tiny import same, train, weights


def summary(path):
    return json.loads((path / "summary.json").read_text())


def rows(path, column):
    with (path / "logs" / "csv" / "version_0" / "metrics.csv").open() as file:
        return [float(row[column]) for row in csv.DictReader(file) if row[column]]


@pytest.mark.parametrize(
    ("option", "updates"),
    [
        ("fast_dev_run=true", 1),
        ("fast_dev_run=2", 2),
        ("max_steps=7", 7),
        ("max_epochs=2", 16),
        ("min_steps=27", 27),
        ("min_epochs=4", 32),
        ("max_time=00:00:00:00", 0),
    ],
)
def test_limits(tmp_path, option, updates):
    assert train(tmp_path / "run", f"--trainer.{option}") == 0
    assert summary(tmp_path / "run")["sequences"] == 2 * updates


@pytest.mark.parametrize(
    ("option", "validations"),
    [
        ("limit_train_batches=4", [8, 16, 24, 32, 40, 48]),
        ("limit_train_batches=0.5", [8, 16, 24, 32, 40, 48]),
        ("val_check_interval=12", [24, 48]),
        ("val_check_interval=0.5", [8, 16, 24, 32, 40, 48]),
        ("check_val_every_n_epoch=3", [48]),
        ("limit_val_batches=0", []),
        ("limit_val_batches=1", [16, 32, 48]),
    ],
)
def test_when_validations_come(tmp_path, option, validations):
    assert train(tmp_path / "run", f"--trainer.{option}") == 0
    with (tmp_path / "run" / "logs" / "csv" / "version_0" / "metrics.csv").open() as file:
        found = [float(row["sequences"]) for row in csv.DictReader(file) if row.get("validation_bits")]
    assert found == validations


def test_a_run_that_validates_on_some_sizes_only_is_not_solved(tmp_path):
    assert train(tmp_path / "run", "--trainer.limit_val_batches=1", "--training.solved_below=1000") == 0
    assert not summary(tmp_path / "run")["solved"]


def test_what_is_logged_how_often(tmp_path):
    assert train(tmp_path / "run", "--trainer.log_every_n_steps=4") == 0
    with (tmp_path / "run" / "logs" / "csv" / "version_0" / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["train_bits"]]
    assert steps == [4, 8, 12, 16, 20, 24]


def test_the_length_of_a_block_changes_nothing(tmp_path):
    for block in (1, 5, 100):
        assert train(tmp_path / str(block), f"--trainer.log_every_n_steps={block}") == 0
    assert same(weights(tmp_path / "1"), weights(tmp_path / "5"))
    assert same(weights(tmp_path / "1"), weights(tmp_path / "100"))


def test_accumulated_gradients_are_those_of_all_their_batches(tmp_path):
    options = ["--optimiser.clip=none", "--trainer.precision=64-true", "--training.sequences=8"]
    assert train(tmp_path / "two", "--trainer.accumulate_grad_batches=2", *options) == 0
    assert summary(tmp_path / "two")["sequences"] == 8
    # The first update by hand: the mean of the gradients of batches 0 and 1.
    from tapehead.tasks import Stream
    from tapehead.training.optimisers import build_optimiser

    config = Run.open(tmp_path / "two").config()
    torch.manual_seed(config.seed)
    model = config.build_model().double()
    optimiser, stream = build_optimiser(config.optimiser, model.parameters()), Stream(config.task, 2, config.seed)
    for _ in range(2):
        optimiser.zero_grad()
        for _ in range(2):
            batch = stream.draw()
            batch = batch._replace(input=batch.input.double(), target=batch.target.double())
            (config.task.loss(model(batch.input)[0], batch) / 2).backward()
        optimiser.step()
    trained = Run.open(tmp_path / "two").load_model(Run.open(tmp_path / "two").last_checkpoint()).state_dict()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(trained[name], tensor, rtol=1e-9, atol=1e-12)


def test_gradient_clipping_by_the_trainers_names(tmp_path):
    assert train(tmp_path / "own", "--optimiser.clip=value", "--optimiser.clip_limit=0.01") == 0
    names = ["--trainer.gradient_clip_val=0.01", "--trainer.gradient_clip_algorithm=value"]
    assert train(tmp_path / "trainers", *names) == 0
    assert train(tmp_path / "default") == 0
    assert same(weights(tmp_path / "own"), weights(tmp_path / "trainers"))
    assert not same(weights(tmp_path / "own"), weights(tmp_path / "default"))


def test_overfit_batches_repeats_them(tmp_path):
    assert train(tmp_path / "run", "--trainer.overfit_batches=1", "--optimiser.learning_rate=1e-9") == 0
    assert len({round(bits, 4) for bits in rows(tmp_path / "run", "train_bits")}) == 1
    assert train(tmp_path / "fresh", "--optimiser.learning_rate=1e-9") == 0
    assert len({round(bits, 4) for bits in rows(tmp_path / "fresh", "train_bits")}) > 1


def test_precision(tmp_path):
    assert train(tmp_path / "double", "--trainer.precision=64-true") == 0
    assert {tensor.dtype for tensor in weights(tmp_path / "double").values()} == {torch.float64}
    assert next(Run.open(tmp_path / "double").load_model().parameters()).dtype == torch.float64
    assert train(tmp_path / "mixed", "--trainer.precision=bf16-mixed") == 0
    assert {tensor.dtype for tensor in weights(tmp_path / "mixed").values()} == {torch.float32}


@pytest.mark.parametrize(
    "option",
    ["barebones=true", "enable_checkpointing=false", "logger=false", "profiler=simple", "detect_anomaly=true"],
)
def test_parts_can_be_turned_off_and_on(tmp_path, option):
    assert train(tmp_path / "run", f"--trainer.{option}") == 0
    assert summary(tmp_path / "run")["sequences"] == 48
    assert (tmp_path / "run" / "checkpoints").exists() == (
        option not in ("barebones=true", "enable_checkpointing=false")
    )
    assert (tmp_path / "run" / "logs").exists() == (option not in ("barebones=true", "logger=false"))


def test_a_callback_of_the_users_own(tmp_path):
    options = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=validation_bits"]
    assert train(tmp_path / "run", *options, "--trainer.callbacks.divergence_threshold=0.001") == 0
    assert summary(tmp_path / "run")["sequences"] == 16


class Listener(Callback):
    """Counts the backward passes that it hears of."""

    heard = 0

    def on_after_backward(self, trainer, pl_module):
        Listener.heard += 1


def test_a_callback_of_the_users_own_hears_of_every_backward(tmp_path, monkeypatch):
    monkeypatch.setattr(Listener, "heard", 0)
    assert train(tmp_path / "run", f"--trainer.callbacks+={__name__}.Listener") == 0
    assert Listener.heard == 24


@pytest.mark.slow_start
def test_two_processes_train_one_model_on_twice_the_sequences(tmp_path):
    command = [
        sys.executable, "-m", "tapehead", "train", "copy", f"--out={tmp_path / 'run'}",
        "--task.bits=2", "--task.max_length=3", "--model.hidden_size=8", "--model.memory_size=8",
        "--training.batch_size=2", "--training.sequences=32", "--training.validate_every=16",
        "--training.validation_sequences=2", "--trainer.accelerator=cpu", "--trainer.devices=2",
        "--trainer.strategy=ddp",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Run: ") == 1
    run = Run.open(tmp_path / "run")
    assert run.summary()["sequences"] == 32
    assert run.load_checkpoint(run.last_checkpoint())["global_step"] == 8
    assert rows(tmp_path / "run", "validation_bits")
