"""A run that was stopped ends with the same weights, also where validations draw numbers or look at more."""

from __future__ import annotations

import dataclasses
import os
import signal

import pytest
import torch

from tapehead.cli import main
from tapehead.tasks import TASKS, Copy
from tapehead.training.lightning.checkpoints import GracefulStop
from tapehead.training.runs import Run
from tests.training import tiny
from tests.training.tiny import same, train, weights


@dataclasses.dataclass(frozen=True)
class Careless(Copy):
    """Draws from torch's own generator, whatever it is given."""

    def sample(self, batch_size, generator=None, size=None):
        return super().sample(batch_size, None, size)

    def training_sample(self, batch_size, generator=None, size=None):
        return super().training_sample(batch_size, None, size)


VARIANTS = {
    "random memory": ("copy", ["--model.initial.memory=random", "--model.initial.weights=random"]),
    "memory sizes": ("copy", ["--model.initial.memory=random", "--training.memory_sizes=[6,8,12]"]),
    "longer lengths": (
        "copy",
        [
            "--model.initial.memory=random",
            "--training.select_at=[5]",
            "--training.select_memory_size=12",
            "--training.select_sequences=4",
            "--training.solved_below=1000",
            "--training.stop_when_solved=false",
        ],
    ),
    "solved": (
        "copy",
        [
            "--training.solved_below=1000",
            "--training.sequences_after_solved=24",
            "--training.solved_memory_sizes=[6,8,12]",
            "--curriculum.solved_task.density=random",
            "--optimiser.average=0.9",
        ],
    ),
    "torch's generator": ("careless", []),
}
SOLVED_AT_32 = ["--training.validate_every=32", "--training.solved_below=1000", "--training.stop_when_solved=false"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    runs = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, (task, options) in VARIANTS.items():
            known(patch)
            runs[name] = tmp_path_factory.mktemp("whole") / "run"
            assert train(runs[name], *options, task=task) == 0
    return runs


def known(patch):
    patch.setitem(TASKS, "careless", Careless)
    patch.setitem(tiny.TASKS, "careless", tiny.TASKS["copy"])


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("update", [8, 11])
def test_stopped_by_the_user(tmp_path, monkeypatch, whole, name, update):
    known(monkeypatch)
    task, options = VARIANTS[name]
    updates = []

    def on_update(self, module, loss, errors):
        updates.append(loss)
        if len(updates) == update:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(GracefulStop, "on_update", on_update, raising=False)
        assert train(tmp_path / "run", *options, task=task) == 130
    torch.manual_seed(123)
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert same(weights(tmp_path / "run"), weights(whole[name]))


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("steps", [13])
def test_stopped_by_a_limit(tmp_path, monkeypatch, whole, name, steps):
    known(monkeypatch)
    task, options = VARIANTS[name]
    assert train(tmp_path / "run", *options, f"--trainer.max_steps={steps}", task=task) == 0
    torch.manual_seed(123)
    assert main(["train", "--resume", str(tmp_path / "run"), "--trainer.max_steps=-1"]) == 0
    assert same(weights(tmp_path / "run"), weights(whole[name]))


def test_what_a_run_is_told_by_its_last_look_holds_for_it_alone(tmp_path):
    """One that is stopped between two validations looks once more; that must not be where it counts as solved."""
    for name, limit in (("whole", -1), ("run", 5)):
        assert train(tmp_path / name, *SOLVED_AT_32, f"--trainer.max_steps={limit}") == 0
    assert Run.open(tmp_path / "run").summary()["solved_at_sequences"] == 10
    assert main(["train", "--resume", str(tmp_path / "run"), "--trainer.max_steps=-1"]) == 0
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))
    solved = [Run.open(tmp_path / name).summary()["solved_at_sequences"] for name in ("run", "whole")]
    assert solved == [32, 32]


def test_a_run_solved_at_its_last_look_has_ended(tmp_path, capsys):
    options = ["--training.sequences=10", "--training.validate_every=32", "--training.solved_below=1000"]
    options.append("--training.sequences_after_solved=0")
    assert train(tmp_path / "run", *options) == 0
    before = weights(tmp_path / "run")
    capsys.readouterr()
    assert main(["train", "--resume", str(tmp_path / "run"), "--training.sequences=48"]) == 0
    assert "Nothing was left to train. To go on, add --training.stop_when_solved false" in capsys.readouterr().out
    assert same(weights(tmp_path / "run"), before)
