"""`tapehead tune`: what it tunes, what it prints, and what it refuses."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from tapehead import NTM, backends
from tapehead.cli import main
from tapehead.ops import tunings_file
from tapehead.ops.tilings import SHORT_LIST
from tapehead.ops.tuner import Timing, Tuning
from tapehead.tasks import TASKS
from tapehead.training import tune

KEY = tunings_file.Key("a GPU", "3.6.0", "0123", "ntm", "forward", "float32", 8, "")
PROBLEM = "RuntimeError: too much [shared] memory"
TIMINGS = (Timing(SHORT_LIST[0], 2.0), Timing(SHORT_LIST[1], 1.25), Timing(SHORT_LIST[2], None, PROBLEM))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is tunings_file, where nothing is tuned indeed."""
    found: list[Any] = []

    def instead(*arguments: Any) -> list[Tuning]:
        found[:] = arguments
        return [Tuning(KEY, name, TIMINGS) for name in ("forward", "backward")]

    monkeypatch.setattr(tune, "check", lambda model: None)
    monkeypatch.setattr(tune, "tune", instead)
    return found


def test_the_model_and_the_batch_are_those_of_train(asked: list[Any], tunings, capsys):
    words = ["--seed", "3", "--model.memory_size=32", "--training.batch_size", "6", "--task.max_length=7"]
    assert main(["tune", "copy", *words]) == 0
    model, input, lengths = asked
    assert isinstance(model.core, NTM)
    assert model.core.memory_size == 32
    assert input.shape == (2 * 7 + 1, 6, 9)
    assert input.dtype == torch.float32
    assert lengths is None
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines() if re.match(r" *\d+ +\d+ +\d+ x \d+ ", line)]
    assert rows[0] == ["8", "4096", "32", "x", "128", "2.000", "2.000"]
    assert [row[-1] for row in rows] == ["2.000", "1.250", "-"]
    assert f"16 warps, memory 2048, weights 64 x 128: left out of backward. {PROBLEM}" in said
    assert "for 6 sequences of 15 steps" in said
    assert "up to 8 sequences" in said
    assert str(tunings) in said


def test_recipes_and_precision_are_those_of_train(asked: list[Any], capsys):
    assert main(["tune", "copy", "--recipe", "copy/ntm-feedforward", "--trainer.precision", "64-true"]) == 0
    assert asked[0].core.cell.controller.kind == "feedforward"
    assert {asked[1].dtype, asked[0].readout.weight.dtype} == {torch.float64}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_batch(task: str, asked: list[Any], signed):
    assert main(["tune", task, "--training.batch_size", "2"]) == 0
    assert asked[1].shape[1] == 2


def test_without_a_gpu_it_says_why_not(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    reasons = backends.why_not("fused", backends.Request("ntm", torch.device("cuda"), torch.float32))
    assert main(["tune", "copy"]) == 1
    assert capsys.readouterr().err == (
        f"tapehead: tune: the kernels for CUDA tensors cannot run ntm: {' '.join(reasons)}\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tune"], "tune: expected a task of copy, .* as the first word, got nothing"),
        (["tune", "coppy"], "got coppy. Did you mean copy"),
        (["tune", "copy", "--model", "lstm"], "lstm has no memory, and no kernels to tune. Take ntm or mann"),
        (["tune", "copy", "--model", "gru"], "--model: expected one of .* got gru"),
        (["tune", "copy", "--out", "runs/x"], "--out: tune makes no run; leave it out"),
        (["tune", "copy", "--resume=runs/x"], "--resume: tune goes on with no run; name its task and its options"),
        (["tune", "--resume", "runs/x"], "--resume: tune goes on with no run"),
        (["tune", "copy", "--model.memory_sise", "3"], "no such option. Did you mean --model.memory_size"),
    ],
)
def test_what_does_not_fit_is_refused(words: list[str], said: str, capsys):
    assert main(words) == 2
    assert re.search(said, capsys.readouterr().err)
