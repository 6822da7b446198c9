"""`tapehead info`: what it says of the core."""

import pytest
import torch

from tapehead import backends, core
from tapehead.info import describe
from tapehead.ops import tunings_file
from tapehead.ops.tilings import SHORT_LIST, USUAL


def core_line() -> str:
    (line,) = [line for line in describe().splitlines() if line.startswith("core ")]
    return line


def test_the_instruction_set_that_runs_and_those_built(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(core, "why_not", lambda: ())
    monkeypatch.setattr(core, "isa", lambda: "avx2")
    monkeypatch.setattr(core, "isas_built", lambda: ("avx512", "avx2", "baseline"))
    assert core_line() == "core          avx2 (built: avx512, avx2, baseline)"


def test_no_core(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(core, "why_not", lambda: ("There is none. Make one.",))
    monkeypatch.setattr(core, "path", lambda: None)
    assert core_line() == "core          not built: There is none. Make one."


def test_a_core_that_does_not_load(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setattr(core, "why_not", lambda: ("It is broken.",))
    monkeypatch.setattr(core, "path", lambda: tmp_path)
    assert core_line() == "core          not usable: It is broken."


def test_the_core_of_this_machine():
    assert core_line() == f"core          {core.isa()} (built: {', '.join(core.isas_built())})" or core.why_not()


def test_where_tunings_are_and_how_many_hold_for_each_gpu(monkeypatch: pytest.MonkeyPatch, tunings):
    assert f"tunings       {tunings}" in describe().splitlines()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {getattr(device, 'index', device)}")
    own = {"triton": backends.triton_version() or "", "kernels": tunings_file.kernels_hash("mann")}
    key = tunings_file.Key("GPU 1", op="mann", way="forward", dtype="float32", programs=8, sizes="", **own)
    tunings_file.remember(
        {key: SHORT_LIST[1], key._replace(way="backward"): SHORT_LIST[1], key._replace(device="other"): USUAL}
    )
    monkeypatch.setattr(backends, "why_not", lambda backend, request: ())
    assert f"tunings       {tunings} (none for cuda:0, 2 for cuda:1)" in describe().splitlines()


def test_a_backend_that_auto_passes_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "a GPU")
    monkeypatch.setattr(backends, "why_not", lambda backend, request: ())
    lines = describe().split("backends of ntm on cuda:0:\n")[1].splitlines()
    assert lines[0].startswith('  fused       yes, but not by "auto": its Triton kernels')
    assert lines[1] == "  reference   yes (auto)"


def test_triton_under_another_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backends, "triton_version", lambda: "3.5.0+git7416ffcb")
    assert "triton        3.5.0+git7416ffcb" in describe().splitlines()
    monkeypatch.setattr(backends, "triton_version", lambda: None)
    assert "triton        not installed" in describe().splitlines()
