"""The benchmark for GPUs, tried on a CPU in tiny form: that it runs, and not how fast anything is."""

from __future__ import annotations

import json

import torch

from benchmarks import gpu
from tapehead.ops import tuned
from tapehead.ops.tilings import SHORT_LIST
from tapehead.ops.tuning import Timing, Tuning


def test_the_gpus_benchmark_can_be_tried_without_one(tmp_path, monkeypatch, capsys):
    tiny = gpu.BASE._replace(rows=2, steps=3, slots=8, word=4, hidden=5)
    monkeypatch.setattr(gpu, "BASE", tiny)
    monkeypatch.setattr(gpu, "POINTS", [tiny, tiny._replace(rows=3)])
    words = ["--device", "cpu", "--seconds", "0", "--no-parity", "--no-compile", "--tune"]
    result = gpu.main([*words, "--out", str(tmp_path / "gpu.json")])
    assert json.loads((tmp_path / "gpu.json").read_text()) == result
    assert [row["point"]["rows"] for row in result["rows"]] == [2, 3]
    for row in result["rows"]:
        assert row["milliseconds"].keys() == {"fused", "ten models", "reference", "lstm"}
        assert all(time > 0 for time in row["milliseconds"].values())
    assert result["tuned"] == []
    said = capsys.readouterr().out
    assert "tuning is left out: tune: " in said
    assert "of the product's" in said


def test_what_was_tuned_is_a_table(monkeypatch, capsys):
    key = tuned.Key("a GPU", "3.6.0", "0123", "ntm", "forward", "float32", 8, "")
    timings = (Timing(SHORT_LIST[0], 2.0), Timing(SHORT_LIST[1], 1.0), Timing(SHORT_LIST[2], None, "too large"))
    monkeypatch.setattr(gpu.tapehead, "tune", lambda model, batch: [Tuning(key, "forward", timings)])
    (found,) = gpu.tune(gpu.BASE, torch.device("cpu"))
    assert (found["kernel"], found["winner"]) == ("forward", SHORT_LIST[1]._asdict())
    assert [one["milliseconds"] for one in found["timings"]] == [2.0, 1.0, None]
    assert json.loads(json.dumps(found)) == found
    assert capsys.readouterr().out == "forward: 16 warps, memory 8192, weights 32 x 256\n"


def test_what_cannot_run_is_left_out_and_said(capsys):
    def fail():
        raise RuntimeError("out of memory\nmore")

    assert gpu.tried_once("reference", fail) is None
    assert capsys.readouterr().out == "reference is left out: out of memory\n"
