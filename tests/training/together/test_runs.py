"""Runs trained together: what each leaves is what it would have left alone."""

from __future__ import annotations

import csv
import io
import math
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tapehead.cli import main
from tapehead.errors import DataError, Interrupted, TrainingError
from tapehead.nn import SequenceModel
from tapehead.tasks import TASKS, Batch, Copy
from tapehead.training.lightning.module import TrainingModule
from tapehead.training.runs import Run
from tapehead.training.together import train_together, why_not_together
from tapehead.training.together.stack import Stack
from tapehead.training.train import Prepared, check, prepare
from tests.training import tiny

SEEDS = (4, 7, 5)
CLOCKS = {"seconds", "sequences_per_second"}


def prepared(
    folder: Path, *extra: str, task: str = "copy", model: str = "ntm", seeds: Iterable[int] = SEEDS
) -> list[Prepared]:
    words = [*tiny.options(task, model), *extra]
    return [
        prepare([*words, "--seed", str(seed), "--out", str(folder / f"{seed}")], task=task, model=model)
        for seed in seeds
    ]


def together(runs: list[Prepared]) -> list[BaseException | None]:
    return train_together(runs, [io.StringIO() for _ in runs])


def rows(run: Path) -> list[dict[str, str]]:
    found = []
    for path in sorted((run / "logs" / "csv").glob("version_*/metrics.csv")):
        with path.open() as file:
            found += list(csv.DictReader(file))
    return found


def assert_nearly(one: float, other: float) -> None:
    assert math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-4)


def assert_alike(one: Path, other: Path, tolerance: float = 1e-5) -> None:
    """Two runs are the same but for rounding, and for how long they took."""
    assert [path.name for path in sorted((one / "checkpoints").iterdir())] == [
        path.name for path in sorted((other / "checkpoints").iterdir())
    ]
    left, right = (run.load_checkpoint(run.last_checkpoint()) for run in (Run(one), Run(other)))
    assert left.keys() == right.keys()
    assert left["state_dict"].keys() == right["state_dict"].keys()
    for name, tensor in left["state_dict"].items():
        assert torch.allclose(tensor, right["state_dict"][name], rtol=0, atol=tolerance), name
        assert tensor.untyped_storage().nbytes() == tensor.nbytes
    (kept,), (expected,) = (saved["optimizer_states"] for saved in (left, right))
    assert kept["param_groups"] == expected["param_groups"]
    for place, state in expected["state"].items():
        assert state.keys() == kept["state"][place].keys()
        for name, tensor in state.items():
            assert torch.allclose(kept["state"][place][name], tensor, rtol=1e-3, atol=tolerance)
            assert kept["state"][place][name].untyped_storage().nbytes() == tensor.nbytes
    for name in ("stream_position", "global_step", "epoch"):
        assert left[name] == right[name]
    for name, value in left["progress"].items():
        if "seconds" not in name and value is not None:
            assert_nearly(value, right["progress"][name])
    for row, expected in zip(rows(one), rows(other), strict=True):
        assert row.keys() == expected.keys()
        for name, text in row.items():
            if text and name not in CLOCKS:
                assert_nearly(float(text), float(expected[name]))
            assert bool(text) == bool(expected[name])


def assert_as_alone(folder: Path, seeds: Iterable[int], *extra: str, tolerance: float = 1e-5, **kind: str) -> None:
    """The runs in a folder are what each of them is alone."""
    for seed in seeds:
        alone = folder.parent / "alone" / str(seed)
        assert tiny.train(alone, "--seed", str(seed), *extra, **kind) == 0
        assert_alike(folder / str(seed), alone, tolerance)


CASES = {
    "lengths of each their own": ("--training.solved_below=1000", "--training.stop_when_solved=false"),
    "one length, a learned start": ("--task.min_length=3", "--model.initial.memory=learned"),
    "rows of several lengths, Adam": ("--task.mixed_lengths=true", "--optimiser.name=adam", "--optimiser.eps=1e-4"),
    "memories of several sizes": ("--training.memory_sizes=[5,13]", "--model.controller=feedforward"),
    "validated at each": ("--optimiser.average=0.9", "--training.validate_every=2", "--training.sequences=8"),
    "a mean of the weights": ("--optimiser.average=0.9", "--training.select_at=[4]", "--training.solved_below=1000"),
    "batches that make one update": ("--trainer.accumulate_grad_batches=2", "--model.backend=reference"),
    "stages": ("--curriculum.kind=incremental", "--curriculum.stages=[1,2]", "--curriculum.advance_below=100"),
}


@pytest.mark.parametrize("extra", CASES.values(), ids=CASES)
def test_each_ends_as_it_would_alone(tmp_path: Path, extra: tuple[str, ...]):
    assert together(prepared(tmp_path / "together", *extra, seeds=SEEDS[:2])) == [None, None]
    assert_as_alone(tmp_path / "together", SEEDS[:2], *extra)


@pytest.mark.cuda
@pytest.mark.parametrize("backend", ["reference", "fused"])
def test_on_a_gpu(tmp_path: Path, backend: str):
    extra = ("--trainer.accelerator=gpu", f"--model.backend={backend}")
    assert together(prepared(tmp_path / "together", *extra, seeds=SEEDS[:2])) == [None, None]
    assert_as_alone(tmp_path / "together", SEEDS[:2], *extra, tolerance=1e-4)


@pytest.mark.usefixtures("signed")
@pytest.mark.parametrize("model", ["mann", "ntm"])
def test_one_shot_learning(tmp_path: Path, model: str):
    # Adam divides a gradient by its size, and would make a whole step of one that is nothing but rounding.
    extra = ("--task.labels=strings", "--optimiser.eps=1e-4")
    assert together(prepared(tmp_path / "together", *extra, task="omniglot", model=model, seeds=SEEDS[:2])) == [
        None,
        None,
    ]
    assert_as_alone(tmp_path / "together", SEEDS[:2], *extra, task="omniglot", model=model)


@dataclass(frozen=True)
class Weighted(Copy):
    """Copy with a loss that an option of the task changes."""

    weight: float = 1.0

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        return self.weight * super().loss(logits, batch)


def test_a_loss_that_a_solved_task_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(TASKS, "weighted", Weighted)
    monkeypatch.setitem(tiny.TASKS, "weighted", tiny.TASKS["copy"])
    extra = (
        "--training.solved_below=1000",
        "--training.stop_when_solved=false",
        "--curriculum.solved_task={weight: 3.0}",
    )
    assert together(prepared(tmp_path / "together", *extra, task="weighted", seeds=SEEDS[:2])) == [None, None]
    assert_as_alone(tmp_path / "together", SEEDS[:2], *extra, task="weighted")


@dataclass(frozen=True)
class Averaged(Copy):
    """Copy with a loss that is a mean over all steps, those that do not count among them."""

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        return (logits - batch.target).square().mean()


def test_a_loss_of_somebody_else_sees_the_steps_that_it_sees_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(TASKS, "averaged", Averaged)
    monkeypatch.setitem(tiny.TASKS, "averaged", tiny.TASKS["copy"])
    assert together(prepared(tmp_path / "together", task="averaged", seeds=SEEDS[:2])) == [None, None]
    assert_as_alone(tmp_path / "together", SEEDS[:2], task="averaged")


@dataclass(frozen=True)
class Steep(Copy):
    """Copy with gradients that are not finite where all first vectors of a batch begin with 1."""

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        slope = 3e38 * batch.input[0, :, 0].prod()
        return super().loss(logits, batch) + (slope * (logits - logits.detach())).sum()


def test_updates_that_one_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(TASKS, "steep", Steep)
    monkeypatch.setitem(tiny.TASKS, "steep", tiny.TASKS["copy"])
    runs = prepared(tmp_path / "together", "--optimiser.average=0.5", task="steep", seeds=SEEDS[:2])
    assert together(runs) == [None, None]
    assert all(0 < run.module.progress.skipped < 24 for run in runs)
    assert_as_alone(tmp_path / "together", SEEDS[:2], "--optimiser.average=0.5", task="steep")


def test_one_call_for_all(tmp_path: Path, core_calls: list[str]):
    assert together(prepared(tmp_path / "together")) == [None, None, None]
    of_all, _ = list(core_calls), core_calls.clear()
    assert tiny.train(tmp_path / "alone") == 0
    assert sorted(of_all) == sorted(core_calls)


def test_one_that_is_solved_stops_and_the_others_go_on(tmp_path: Path):
    runs = prepared(tmp_path / "together")
    threshold = {}

    class Solved(TrainingModule):
        def on_validation_epoch_end(self) -> None:
            super().on_validation_epoch_end()
            if self.config.seed == SEEDS[1]:
                threshold[self.progress.sequences] = self.progress.bit_errors
                self.trainer.should_stop = True

    runs[1].module.__class__ = Solved
    assert together(runs) == [None, None, None]
    assert list(threshold) == [16]
    assert [run.module.progress.sequences for run in runs] == [48, 16, 48]
    assert_as_alone(tmp_path / "together", (SEEDS[0], SEEDS[2]))


def test_one_that_fails_leaves_the_others_alone(tmp_path: Path):
    runs = prepared(tmp_path / "together")
    with torch.no_grad():
        next(iter(runs[1].module.model.readout.parameters())).fill_(math.nan)
    outputs = [io.StringIO() for _ in runs]
    ended = train_together(runs, outputs)
    assert ended[0] is ended[2] is None
    assert isinstance(ended[1], TrainingError)
    assert "the loss is nan at update 1" in outputs[1].getvalue()
    assert not (tmp_path / "together" / str(SEEDS[1]) / "summary.json").exists()
    assert_as_alone(tmp_path / "together", (SEEDS[0], SEEDS[2]))


def test_what_is_no_fault_of_training_ends_its_run_alone_too(tmp_path: Path):
    runs = prepared(tmp_path / "together")

    def fail(*_: object) -> None:
        raise OSError("no space left")

    runs[2].module.on_validation_epoch_end = fail  # type: ignore[method-assign]
    outputs = [io.StringIO() for _ in runs]
    ended = train_together(runs, outputs)
    assert ended[:2] == [None, None]
    assert isinstance(ended[2], OSError)
    assert "Traceback" in outputs[2].getvalue()


def test_what_lightning_does_to_a_model_that_has_ended_touches_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # On a GPU it moves the model back, which gives its parameters another place.
    monkeypatch.setattr(TrainingModule, "cpu", lambda self: self.to(torch.float64).to(torch.float32))
    runs = prepared(tmp_path / "together")
    with torch.no_grad():
        next(iter(runs[0].module.model.readout.parameters())).fill_(math.nan)
    stacked: list[int] = []
    build = Stack.__init__

    def counted(self: Stack, models: list[SequenceModel]) -> None:
        stacked.append(len(models))
        build(self, models)

    monkeypatch.setattr(Stack, "__init__", counted)
    ended = together(runs)
    assert isinstance(ended[0], TrainingError)
    assert ended[1:] == [None, None]
    assert stacked == [3, 2]


def test_the_first_one_ends_before_the_others_and_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # On a GPU, Lightning moves the model back to the CPU; another dtype stands in for another device.
    monkeypatch.setattr(TrainingModule, "cpu", lambda self: self.to(torch.float64))
    runs = prepared(tmp_path / "together")
    with torch.no_grad():
        next(iter(runs[0].module.model.readout.parameters())).fill_(math.nan)
    ended = together(runs)
    assert isinstance(ended[0], TrainingError)
    assert ended[1:] == [None, None]
    monkeypatch.undo()
    assert_as_alone(tmp_path / "together", SEEDS[1:])


@pytest.mark.parametrize("average", [0, 0.9])
def test_one_ends_while_the_others_are_validated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, average: float):
    # Runs that ask for one more score of their first validation are a request behind from then on.
    extra = ("--training.sequences=32", f"--optimiser.average={average}")
    runs = prepared(tmp_path / "together", *extra)
    end = TrainingModule.on_validation_epoch_end

    def slow(self: TrainingModule) -> None:
        end(self)
        if self is not runs[0].module and self.progress.sequences == 16:
            self._score(self.config.task.sizes()[0], 2)
        if self is runs[0].module:
            self.trainer.should_stop = True

    monkeypatch.setattr(TrainingModule, "on_validation_epoch_end", slow)
    assert together(runs) == [None, None, None]
    monkeypatch.undo()
    assert_as_alone(tmp_path / "together", SEEDS[1:], *extra)


def test_one_whose_batches_fail_leaves_the_others_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    runs = prepared(tmp_path / "together")

    def fail() -> None:
        raise DataError("drawings: gone")

    start = TrainingModule.on_train_start

    def failing(self: TrainingModule) -> None:
        start(self)
        if self is runs[1].module:
            self.updates.draw = fail  # type: ignore[assignment, method-assign]

    monkeypatch.setattr(TrainingModule, "on_train_start", failing)
    outputs = [io.StringIO() for _ in runs]
    ended = train_together(runs, outputs)
    assert ended[0] is ended[2] is None
    assert isinstance(ended[1], DataError)
    assert "tapehead: drawings: gone" in outputs[1].getvalue()
    assert not (tmp_path / "together" / str(SEEDS[1])).exists()  # as where `tapehead train` finds no data


def test_what_each_prints_goes_to_its_own_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    outputs = [io.StringIO() for _ in SEEDS]
    before = sys.stdout
    train_together(prepared(tmp_path / "together"), outputs)
    assert sys.stdout is before
    for seed, output in zip(SEEDS, outputs, strict=True):
        assert f"Run: {tmp_path / 'together' / str(seed)}" in output.getvalue()
    assert "Run:" not in capsys.readouterr().out


def test_a_signal_saves_every_run_and_each_goes_on_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    words = ["--training.sequences=64", "--training.stop_when_solved=false"]
    step = TrainingModule.training_step

    def interrupted(self: TrainingModule, block: int, index: int) -> None:
        step(self, block, index)
        if self.progress.sequences == 22 and self.config.seed == SEEDS[1]:
            os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", interrupted)
        ended = together(prepared(tmp_path / "together", *words))
    assert [type(error) for error in ended] == [Interrupted] * 3
    assert "--resume" in str(ended[0])
    assert signal.getsignal(signal.SIGTERM) is handler
    for seed in SEEDS:
        run, alone = tmp_path / "together" / str(seed), tmp_path / "alone" / str(seed)
        assert 16 < Run(run).load_checkpoint(Run(run).last_checkpoint())["progress"]["sequences"] < 48
        assert main(["train", "--resume", str(run)]) == 0
        assert tiny.train(alone, "--seed", str(seed), *words) == 0
        left, right = tiny.weights(run), tiny.weights(alone)
        assert all(torch.allclose(left[name], right[name], rtol=0, atol=1e-5) for name in right)


@pytest.mark.parametrize(
    ("words", "model", "said"),
    [
        ([], "lstm", "LSTM layers are of torch"),
        (["--trainer.precision=bf16-mixed"], "ntm", "--trainer.precision bf16-mixed"),
        (["--trainer.devices=2", "--trainer.accelerator=cpu"], "ntm", "--trainer.devices 2"),
        (["--trainer.barebones=true"], "ntm", "--trainer.barebones True"),
        (["--trainer.callbacks+=lightning.pytorch.callbacks.Timer"], "ntm", "--trainer.callbacks"),
    ],
)
def test_what_cannot_be_trained_together_says_why(words: list[str], model: str, said: str):
    assert said in (why_not_together(check(words, task="copy", model=model)) or "")


def test_an_embedding_cannot(signed: None):
    config = check(["--embedding.kind=convolution"], task="omniglot", model="mann")
    assert "embedding" in (why_not_together(config) or "")
    assert why_not_together(check([], task="omniglot", model="mann")) is None


@dataclass(frozen=True)
class Picky(Copy):
    """A task whose loss picks elements by a mask, of which each model has its own number."""

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        return logits[batch.mask].square().sum()


def test_a_loss_that_cannot_be_computed_for_several_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(TASKS, "picky", Picky)
    said = why_not_together(check([], task="picky", model="ntm"))
    assert said is not None
    assert said.startswith("the loss of picky cannot be computed for several models at once: ")
