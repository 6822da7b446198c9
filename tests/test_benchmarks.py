"""The benchmark for GPUs, tried on a CPU in tiny form: that it runs, and not how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from benchmarks import gpu, peaks
from benchmarks.clock import milliseconds
from benchmarks.gpu_page import gpu_part
from benchmarks.marked import PAGE
from benchmarks.traffic import kept_every, shape_of, traffic
from tapehead import NTM
from tapehead.ops import tunings_file
from tapehead.ops.tilings import SHORT_LIST
from tapehead.ops.tuner import Timing, Tuning
from tests.ops.fused_problems import Recorder

TINY = gpu.BASE._replace(rows=2, steps=3, slots=8, word=4, hidden=5)


@pytest.fixture
def tiny(monkeypatch):
    """Two sizes that take no time, and limits that are measured on next to nothing."""
    monkeypatch.setattr(gpu, "BASE", TINY)
    monkeypatch.setattr(gpu, "POINTS", [TINY, TINY._replace(rows=3)])
    monkeypatch.setitem(peaks.PRODUCT_SIZE, "cpu", 16)
    monkeypatch.setitem(peaks.COPIED, "cpu", 4096)


def test_the_gpus_benchmark_can_be_tried_without_one(tiny, tmp_path, capsys):
    words = ["--device", "cpu", "--seconds", "0", "--no-parity", "--no-compile", "--tune"]
    files = ["--out", str(tmp_path / "gpu.json"), "--page", str(tmp_path / "page.md")]
    result = gpu.main([*words, *files])
    assert json.loads((tmp_path / "gpu.json").read_text()) == result
    assert json.loads((tmp_path / "results" / "performance-gpu.json").read_text()) == result
    assert gpu_part(result) in (tmp_path / "page.md").read_text()
    assert (result["kind"], result["parity"]) == ("cpu", False)
    assert [row["point"]["rows"] for row in result["rows"]] == [2, 3]
    for row in result["rows"]:
        assert row["milliseconds"].keys() == {"fused", "ten models", "reference", "lstm"}
        assert all(time > 0 for time in row["milliseconds"].values())
    assert result["product_gflops"] > 0
    assert result["copy_gbs"] > 0
    assert result["tuned"] == []
    said = capsys.readouterr().out
    assert "tuning is left out: tune: " in said
    assert "of the product's" in said
    assert "of the copy's" in said


def test_without_a_gpu_it_is_left_out_and_said(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main(["--page", str(tmp_path / "page.md")]) is None
    assert capsys.readouterr().out == "The benchmark for GPUs is left out: torch sees no CUDA device here.\n"
    assert not list(tmp_path.iterdir())


def test_a_gpu_that_is_asked_for_and_not_there_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stop:
        gpu.main(["--device", "cuda"])
    assert stop.value.code == 2
    assert "--device: expected one that torch sees" in capsys.readouterr().err


@pytest.mark.slow_start
def test_times_are_those_of_the_gpu_that_is_asked_for(monkeypatch):
    # Events are of the current device, whatever device the tensors are on.
    class Reached(Exception):
        pass

    def measured(*_, **__):
        assert current == [torch.device("cuda:1")]
        raise Reached

    current = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(gpu, "product_peak", measured)
    with pytest.raises(Reached):
        gpu.main(["--device", "cuda:1", "--no-parity"])


def test_make_bench_ends_well_without_a_gpu():
    before = PAGE.read_bytes()
    makefile = (PAGE.parents[1] / "Makefile").read_text("utf-8")
    (line,) = [line for line in makefile.splitlines() if "benchmarks.gpu" in line]
    _, _, *words = line.split()
    assert words == ["benchmarks.gpu", "--page", "docs/performance.md"]
    hidden = "import sys, torch; torch.cuda.is_available = lambda: False; from benchmarks import gpu; gpu.main()"
    done = subprocess.run([sys.executable, "-c", hidden, *words[1:]], cwd=PAGE.parents[1], capture_output=True)
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == 1
    assert PAGE.read_bytes() == before


def test_what_was_tuned_is_a_table(monkeypatch, capsys):
    key = tunings_file.Key("a GPU", "3.6.0", "0123", "ntm", "forward", "float32", 8, "")
    timings = (Timing(SHORT_LIST[0], 2.0), Timing(SHORT_LIST[1], 1.0), Timing(SHORT_LIST[2], None, "too large"))
    monkeypatch.setattr(gpu.tapehead, "tune", lambda model, batch: [Tuning(key, "forward", timings)])
    (found,) = gpu.tune(gpu.BASE, torch.device("cpu"))
    assert (found["kernel"], found["winner"]) == ("forward", SHORT_LIST[1]._asdict())
    assert [one["milliseconds"] for one in found["timings"]] == [2.0, 1.0, None]
    assert json.loads(json.dumps(found)) == found
    assert capsys.readouterr().out == "forward: 16 warps, memory 8192, weights 32 x 256\n"


def test_what_cannot_run_is_left_out_and_said(capsys):
    class OutOfResources(Exception):
        """Triton's, which is no RuntimeError."""

    for error in (RuntimeError("out of memory\nmore"), OutOfResources()):

        def fail(error=error):
            raise error

        assert gpu.tried_once("reference", fail) is None
    said = "reference is left out: out of memory\nreference is left out: OutOfResources\n"
    assert capsys.readouterr().out == said


def test_a_row_without_the_fused_one_has_no_shares(tiny, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "contestants", lambda *_, **__: {"lstm": lambda: None})
    row = gpu.measure(TINY, torch.device("cpu"), 0.0, gpu.Limits(1.0, 1.0), compiled=False)
    assert row["milliseconds"].keys() == {"lstm"}
    assert "fused did not run" in capsys.readouterr().out


def test_what_is_counted_as_kept_is_what_a_call_keeps():
    for point in (TINY, TINY._replace(steps=40), TINY._replace(slots=20, word=7, hidden=3)):
        layer = NTM(gpu.INPUT_SIZE, point.hidden, memory_size=point.slots, word_size=point.word, backend="fused")
        with Recorder() as recorder:
            layer(torch.randn(point.steps, point.rows, gpu.INPUT_SIZE))[0].sum().backward()
        (made,) = [arguments for op, arguments in recorder.calls.items() if "backward" in op.name()]
        given = layer.cell.settings
        assert (given.num_read_heads, given.num_write_heads, given.order) == (1, 1, "read_write")
        shape, every = shape_of(point), kept_every(point)
        kept = sum(shape.internals(every, True, False).values())
        sizes = [tensor.shape for tensor in made if isinstance(tensor, torch.Tensor)]
        assert (kept,) in sizes
        assert (point.steps, point.rows, shape.hidden_size + shape.reads) in sizes
        assert made[-3] == every


def test_bytes_are_counted():
    # H 2, M 3, N 16, one step of one row. G = 8 sums, P = 2 * (3 + 1 + 1 + 3 + 1) + 2 * 3 = 24 words.
    point = gpu.Point(rows=1, steps=1, slots=16, word=3, hidden=2)
    weights = 8 * (3 + 2) + 24 * 2
    assert kept_every(point) == 1
    assert traffic(point).caches == 4 * 2 * weights  # the memory is held
    padded = {"weights": 32, "content": 32, "parameters": 32, "similarity": 32, "logarithms": 32}
    padded |= {"inverse_norms": 16, "slopes": 16, "gates": 16, "memories": 2 * 16 * 3}
    assert traffic(point).device == 4 * (2 * sum(padded.values()) + 2 * (2 * 8 + 24) + 3 * (2 + 3))
    # Five steps with every fourth memory kept: five are written again, and read once.
    five = traffic(point._replace(steps=5))
    assert five.caches == 4 * (5 * 2 * weights + (5 + 5) * 16 * 3)
    assert traffic(point._replace(steps=5, rows=7)).caches == 7 * five.caches
    # A memory that is passed over in tiles; of the five, three are made from others.
    large = point._replace(slots=4096)
    assert traffic(large).caches == 4 * (2 * weights + (4 + 7) * 4096 * 3)
    assert traffic(large._replace(steps=5)).caches == 4 * (5 * 2 * weights + (5 * (4 + 7) + 5 + 3) * 4096 * 3)


def test_limits_are_measured_and_leave_torch_as_it_was(monkeypatch):
    monkeypatch.setitem(peaks.PRODUCT_SIZE, "cpu", 16)
    monkeypatch.setitem(peaks.COPIED, "cpu", 4096)
    threads = torch.get_num_threads()
    seen = []
    monkeypatch.setattr(peaks, "_best", lambda function, device: seen.append(torch.get_num_threads()) or 2.0)
    assert peaks.product_peak(3) == 2 * 16**3 / 2.0 / 1e6
    assert peaks.product_peak() == 2 * 16**3 / 2.0 / 1e6
    assert peaks.copy_peak() == 2 * 4096 / 2.0 / 1e6
    assert seen == [3, threads, threads]
    assert torch.get_num_threads() == threads


def test_times_are_three_at_least_and_no_more_than_asked_for():
    calls = []
    assert len(milliseconds(lambda: calls.append(0), 0.0)) == len(calls) == 3
    assert len(milliseconds(lambda: None, 60.0, 5)) == 5


def test_a_gpus_times_are_those_of_its_events(monkeypatch):
    order = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            order.append("event")

        def synchronize(self):
            order.append("waited for")

        def elapsed_time(self, stop):
            assert stop is not self
            return 2.5

    monkeypatch.setattr(torch.cuda, "Event", Event)
    assert milliseconds(lambda: order.append("call"), 0.0, device=torch.device("cuda")) == [2.5, 2.5, 2.5]
    assert order == 3 * ["event", "call", "event", "waited for"]
