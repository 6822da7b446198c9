"""The benchmark for GPUs, tried on a CPU in tiny form: that it runs, and not how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from benchmarks import contestants, gpu, machines, parity, peaks
from benchmarks.clock import milliseconds, timed
from benchmarks.gpu_page import gpu_part
from benchmarks.machines import MACHINES, Point
from benchmarks.marked import PAGE
from tapehead.ops import tunings_file
from tapehead.ops.tilings import SHORT_LIST
from tapehead.ops.tuner import Timing, Tuning

CPU = torch.device("cpu")
TINY = {name: Point(name, rows=2, steps=3, slots=8, word=4, hidden=5) for name in MACHINES}
QUICKLY = ["--device", "cpu", "--seconds", "0", "--no-parity", "--no-compile"]


@pytest.fixture
def tiny(monkeypatch):
    """Two sizes of each machine that take no time, and limits that are measured on next to nothing."""
    monkeypatch.setattr(machines, "SIZES", {name: [one, one._replace(rows=3)] for name, one in TINY.items()})
    monkeypatch.setitem(peaks.PRODUCT_SIZE, "cpu", 16)
    monkeypatch.setitem(peaks.COPIED, "cpu", 4096)


def test_the_gpus_benchmark_can_be_tried_without_one(tiny, tmp_path, capsys):
    files = ["--out", str(tmp_path / "gpu.json"), "--page", str(tmp_path / "page.md")]
    result = gpu.main([*QUICKLY, "--tune", *files])
    assert json.loads((tmp_path / "gpu.json").read_text()) == result
    assert json.loads((tmp_path / "results" / "performance-gpu.json").read_text()) == result
    assert gpu_part(result) in (tmp_path / "page.md").read_text()
    assert (result["kind"], [run["parity"] for run in result["runs"]]) == ("cpu", [False])
    assert [(row["point"]["machine"], row["point"]["rows"]) for row in result["rows"]] == [
        *((name, 2) for name in MACHINES),
        *((name, 3) for name in MACHINES),
    ]
    for row in result["rows"]:
        assert row["milliseconds"].keys() == {"fused", "ten models", "reference", "lstm"}
        assert all(time > 0 for time in row["milliseconds"].values())
    assert result["product_gflops"] > 0
    assert result["copy_gbs"] > 0
    assert result["tuned"] == {name: [] for name in MACHINES}
    said = capsys.readouterr().out
    assert "ntm: B 2, T 3, 8 x 4, H 5: tuning is left out: tune: " in said
    assert "of the product's" in said
    assert "of the copy's" in said
    assert "8 sizes, at least 0 s in all\n" in said
    assert "8 of 8 sizes, " in said


def test_it_is_run_in_parts(tiny, tmp_path, capsys, monkeypatch):
    file, page = tmp_path / "gpu.json", tmp_path / "page.md"
    words = [*QUICKLY, "--out", str(file), "--resume"]
    first = gpu.main([*words, "--only", "mann"])
    assert [row["point"]["machine"] for row in first["rows"]] == ["mann", "mann"]

    def stopped(point, *_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(gpu, "measure", stopped)
        with pytest.raises(KeyboardInterrupt):
            gpu.main([*words, "--only", "ntm", "mann"])
    assert json.loads(file.read_text()) == first
    # It goes on where it was; the limits are the highest of all parts.
    file.write_text(json.dumps({**first, "copy_gbs": 1e9}))
    both = gpu.main([*words, "--only", "ntm", "mann"])
    assert both["rows"][:2] == first["rows"]
    assert [row["point"]["machine"] for row in both["rows"]] == ["mann", "mann", "ntm", "ntm"]
    assert both["copy_gbs"] == 1e9
    assert [run["command"].split()[-2:] for run in both["runs"]] == [["--only", "mann"], ["ntm", "mann"]]
    capsys.readouterr()
    assert gpu.main([*words, "--only", "ntm", "--page", str(page)]) == both
    assert capsys.readouterr().out.startswith(f"Nothing is left to measure: {file} has every size.\n")
    assert gpu_part(both) in page.read_text()


def test_what_was_measured_elsewhere_is_not_gone_on_with(tiny, tmp_path, capsys):
    file = tmp_path / "gpu.json"
    file.write_text(json.dumps({**gpu.about(CPU), "device": "another"}))
    for words, said in (
        (["--out", str(file), "--resume"], f"expected {file} to be of device "),
        (["--resume"], "--resume: expected --out FILE beside it"),
    ):
        with pytest.raises(SystemExit) as stop:
            gpu.main([*QUICKLY, *words])
        assert stop.value.code == 2
        assert said in capsys.readouterr().err


def test_it_says_how_long_it_takes():
    points = gpu.points_of(["ntm"], quick=False, done=[])
    assert points == machines.SIZES["ntm"]
    assert gpu.estimate(points[:1], CPU, 0.5, compile=False) == "1 size, at least 6 s in all"
    # Six contestants, of which the largest size has no reference, and torch.compile once.
    large = points[0]._replace(rows=10**6)
    assert not contestants.has_room(large)
    assert gpu.estimate([points[0], points[1], large], torch.device("cuda"), 1.0, compile=True) == (
        "3 sizes, at least 51 s in all, and besides what compiling the kernels takes, and torch.compile, 1 times some "
        "minutes"
    )


def test_parity_is_of_the_machines_that_are_timed(tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(parity, "require", lambda tests, device: asked.append((tests, device)))
    words = [word for word in QUICKLY if word != "--no-parity"]
    gpu.main([*words, "--quick", "--only", "mann"])
    assert asked == [(["tests/ops/test_fused_mann.py", "tests/ops/test_groups.py"], CPU)]
    cuda, triton = torch.device("cuda"), ["tests/ops/test_triton.py", "tests/ops/test_groups_triton.py"]
    assert parity.tests_of(["ntm", "mann"], cuda) == triton
    assert parity.tests_of(["mann"], cuda) == [*triton, "-k", "not ntm"]


def test_parity_is_tested_on_the_gpu_that_is_asked_for(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    asked_for = {name: torch.device(name) for name in ("cpu", "cuda", "cuda:0", "cuda:1")}
    seen = {name: parity.environment_for(device).get("CUDA_VISIBLE_DEVICES") for name, device in asked_for.items()}
    assert seen == {"cpu": None, "cuda": None, "cuda:0": None, "cuda:1": "1"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-8932f937")
    assert parity.environment_for(asked_for["cuda:1"])["CUDA_VISIBLE_DEVICES"] == "GPU-8932f937"
    assert parity.environment_for(asked_for["cuda:0"])["CUDA_VISIBLE_DEVICES"] == "5, GPU-8932f937"


@pytest.mark.parametrize(("status", "stops"), [(0, False), (1, True), (5, True)])
def test_there_are_no_figures_where_parity_fails(status: int, stops: bool, monkeypatch):
    commands = []
    done = subprocess.CompletedProcess([], status)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command) or done)
    if stops:
        with pytest.raises(SystemExit, match="parity failed: no figures from a wrong kernel"):
            parity.require(["tests/a.py"])
    else:
        parity.require(["tests/a.py"], torch.device("cuda"))
        assert commands[0][-3:] == ["-n", "8", "tests/a.py"]


def test_the_cores_functions_are_timed_and_then_as_they_were():
    class Kernel:
        def _function(self, array):
            return array + 1

    kernel, other = Kernel(), Kernel()
    before = kernel._function
    with timed([kernel, other]) as spent:
        assert (kernel._function(1), kernel._function(2)) == (2, 3)
    assert [len(times) for times in spent] == [2, 0]
    assert kernel._function == before


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
    monkeypatch.setattr(gpu, "about", lambda device: {})
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # and as it was after it
    with pytest.raises(Reached):
        gpu.main(["--device", "cuda:1", "--no-parity"])


def test_make_bench_ends_well_without_a_gpu(monkeypatch, capsys):
    before = PAGE.read_bytes()
    makefile = (PAGE.parents[1] / "Makefile").read_text("utf-8")
    (line,) = [line for line in makefile.splitlines() if "benchmarks.gpu" in line]
    _, _, *words = line.split()
    assert words == ["benchmarks.gpu", "--page", "docs/performance.md"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.chdir(PAGE.parents[1])
    assert gpu.main() is None
    said = capsys.readouterr()
    assert said.out.count("\n") == 1
    assert not said.err
    assert PAGE.read_bytes() == before


def test_what_was_tuned_is_a_table(monkeypatch, capsys):
    key = tunings_file.Key("a GPU", "3.6.0", "0123", "ntm", "forward", "float32", 8, "")
    timings = (Timing(SHORT_LIST[0], 2.0), Timing(SHORT_LIST[1], 1.0), Timing(SHORT_LIST[2], None, "too large"))
    monkeypatch.setattr(gpu.tapehead, "tune", lambda model, batch: [Tuning(key, "forward", timings)])
    (found,) = gpu.tune(machines.SIZES["ntm"][0], CPU)
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

        assert contestants.tried_once("reference", fail) is None
    said = "reference is left out: out of memory\nreference is left out: OutOfResources\n"
    assert capsys.readouterr().out == said


def test_a_row_without_the_fused_one_has_no_shares(tiny, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "contestants", lambda *_, **__: {"lstm": lambda: None})
    row = gpu.measure(TINY["ntm"], CPU, 0.0, gpu.Limits(1.0, 1.0), compiled=False)
    assert row["milliseconds"].keys() == {"lstm"}
    assert "fused did not run" in capsys.readouterr().out


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
