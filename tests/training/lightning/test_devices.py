"""Where a run trains that leaves the device to Lightning; the other devices are pretended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tapehead import backends, core
from tapehead.training.lightning.devices import why_on_cpu
from tapehead.training.options.arguments import parse
from tapehead.training.runs import Run
from tests.training import tiny

needs_core = pytest.mark.skipif(bool(core.why_not()), reason="the C++ core is not built")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index=None: (9, 0))
    monkeypatch.setattr(backends, "_triton_is_missing", tuple)


@pytest.fixture
def mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


def asked(*options: str, model: str = "ntm", task: str = "copy") -> str | None:
    parsed = parse(list(options), task, model, None)
    return why_on_cpu(parsed.config, parsed.trainer)


@needs_core
def test_kernels_that_no_gpu_has_run_keep_a_run_on_the_cpu(cuda: None):
    said = asked()
    assert said is not None
    assert "on cuda it would be a plain loop" in said
    assert asked(model="mann", task="omniglot") == said


@needs_core
@pytest.mark.parametrize(
    "options",
    [
        ["--model.backend=fused"],
        ["--model.backend=reference"],
        ["--trainer.accelerator=gpu"],
        ["--trainer.accelerator=cpu"],
        ["--trainer.devices=2"],
    ],
)
def test_what_is_asked_for_is_done(options: list[str], cuda: None):
    assert asked(*options) is None


@needs_core
def test_kernels_that_a_gpu_has_run_leave_it_to_lightning(cuda: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backends, "passed_over", lambda backend, request: ())
    assert asked() is None


@needs_core
@pytest.mark.parametrize("backend", ["auto", "fused"])
def test_a_device_without_kernels(backend: str, mps: None):
    said = asked(f"--model.backend={backend}")
    assert said is not None
    assert "on mps" in said


def test_without_the_core_nothing_is_better_on_the_cpu(cuda: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backends, "_core_is_missing", lambda: ("it was not built.",))
    assert asked() is None


def test_an_lstm_is_left_to_lightning(cuda: None):
    assert asked(model="lstm") is None


def test_without_another_device_nothing_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert asked() is None


@needs_core
def test_it_is_said_and_the_run_does_it(mps: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert tiny.train(tmp_path / "run", "--trainer.accelerator=auto") == 0
    assert "Training on the CPU" in capsys.readouterr().out
    options: dict[str, Any] = Run(tmp_path / "run").config().trainer
    assert options["accelerator"] == "auto"  # another machine decides anew
