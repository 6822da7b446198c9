"""The benchmark for GPUs, tried on a CPU in tiny form: that it runs, and not how fast anything is."""

from __future__ import annotations

import json

from benchmarks import gpu
from tapehead.ops import launches


def test_the_gpus_benchmark_can_be_tried_without_one(tmp_path, monkeypatch, capsys):
    tiny = gpu.BASE._replace(rows=2, steps=3, slots=8, word=4, hidden=5)
    monkeypatch.setattr(gpu, "BASE", tiny)
    monkeypatch.setattr(gpu, "POINTS", [tiny, tiny._replace(rows=3)])
    before = (launches.WARPS, launches.TILE)
    words = ["--device", "cpu", "--seconds", "0", "--no-parity", "--no-compile", "--tune"]
    result = gpu.main([*words, "--out", str(tmp_path / "gpu.json")])
    assert json.loads((tmp_path / "gpu.json").read_text()) == result
    assert [row["point"]["rows"] for row in result["rows"]] == [2, 3]
    for row in result["rows"]:
        assert row["milliseconds"].keys() == {"fused", "ten models", "reference", "lstm"}
        assert all(time > 0 for time in row["milliseconds"].values())
    assert len(result["tuned"]) == 32
    assert before == (launches.WARPS, launches.TILE)
    assert "of the product's" in capsys.readouterr().out


def test_what_cannot_run_is_left_out_and_said(capsys):
    def fail():
        raise RuntimeError("out of memory\nmore")

    assert gpu.tried_once("reference", fail) is None
    assert capsys.readouterr().out == "reference is left out: out of memory\n"
