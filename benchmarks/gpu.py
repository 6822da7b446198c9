"""The NTM's kernels on a GPU against the eager reference, the same in a CUDA graph, torch.compile, and torch's LSTM.

First parity: without green tests of the kernels on the device no number is printed. Then forward and backward of a
model at many sizes, contestants alternating, timed by the device's own events after a warm-up; medians. `graph` is a
forward and backward captured once and replayed; `ten models` are ten of them in one call, as `study --together` trains
them; `lstm` is torch's own, of the same width, which no memory network could pass. The operations of the fused one, and
the bytes that it has to move, are counted (`benchmarks/traffic.py`) and stated as shares of what a product of matrices
and a copy reach on the same device.

    python -m benchmarks.gpu [--device cuda] [--quick] [--seconds S] [--no-parity] [--no-compile] [--tune] [--out FILE]
                             [--page docs/performance.md]

Without `--device` it takes the GPU, and where there is none it says so and does nothing. `--tune` first tunes the
kernels for the first size, as `tapehead tune` does: what is fastest is kept, and taken by what follows. `--page` writes
the page's part about GPUs. `--device cpu` tries this program where there is no GPU: the same contestants without
graphs, the fused one being the C++ core, and nothing to tune.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import tapehead
from benchmarks import gpu_page
from benchmarks.clock import milliseconds
from benchmarks.kernels import INPUT_SIZE, TARGET_SIZE, Point, operations
from benchmarks.peaks import copy_peak, cpu_name, product_peak
from benchmarks.traffic import traffic
from tapehead import LSTM, NTM, SequenceModel, backends
from tapehead.training.together.stack import Stack

BASE = Point()
POINTS = [
    BASE,
    *(BASE._replace(rows=rows) for rows in (1, 64, 512, 4096)),
    *(BASE._replace(steps=steps) for steps in (200, 1000)),
    *(BASE._replace(slots=slots) for slots in (512, 1024, 4096)),
    BASE._replace(rows=512, slots=1024),
]
MOST_BYTES = 30e9
"""Bytes that the reference may keep for its backward; it is left out where it would take more."""
TOGETHER = 10


class Limits(NamedTuple):
    """What the device reaches at most, as measured in the same run."""

    product_gflops: float
    copy_gbs: float


def model_of(point: Point, backend: str | None, device: torch.device) -> SequenceModel:
    """A model of the copy task; the backend None is an LSTM."""
    core: nn.Module
    if backend is None:
        core = LSTM(INPUT_SIZE, point.hidden, device=device)
    else:
        sizes: dict[str, Any] = {"memory_size": point.slots, "word_size": point.word}
        core = NTM(INPUT_SIZE, point.hidden, **sizes, backend=backend, device=device)
    return SequenceModel(core, TARGET_SIZE)


def passes(run: Callable[[Tensor], Any], model: nn.Module, input: Tensor) -> Callable[[], None]:
    """A forward and backward."""

    def both() -> None:
        for parameter in model.parameters():
            parameter.grad = None
        run(input)[0].square().mean().backward()

    return both


def together(models: Sequence[SequenceModel], input: Tensor) -> Callable[[], None]:
    """A forward and backward of several models in one call."""
    stack, members = Stack(models), list(range(len(models)))
    inputs = input.expand(len(models), *input.shape).contiguous()

    def both() -> None:
        stack.zero_grad()
        losses = stack.map(lambda answer, own: answer(own).square().mean(), members, inputs)
        losses.sum().backward()

    return both


def captured(both: Callable[[], None]) -> Callable[[], None]:
    """The same work in a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            both()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        both()
    return graph.replay


def contestants(point: Point, device: torch.device, *, compiled: bool) -> dict[str, Callable[[], None]]:
    """By name; what cannot run is left out, and said."""
    torch.manual_seed(0)
    input = (torch.rand(point.steps, point.rows, INPUT_SIZE, device=device) < 0.5).float()
    fused = model_of(point, "fused", device)
    makers: dict[str, Callable[[], Callable[[], None]]] = {
        "fused": lambda: passes(fused, fused, input),
        "ten models": lambda: together([model_of(point, "fused", device) for _ in range(TOGETHER)], input),
    }
    if device.type == "cuda":
        makers["fused, graph"] = lambda: captured(passes(fused, fused, input))
    if point.rows * point.steps * point.slots * point.word * 4 * 12 < MOST_BYTES:
        reference = model_of(point, "reference", device)
        makers["reference"] = lambda: passes(reference, reference, input)
        if device.type == "cuda":
            makers["reference, graph"] = lambda: captured(passes(reference, reference, input))
        if compiled and point.steps == BASE.steps:  # it unrolls the loop: minutes for this length, hours for others
            makers["compiled"] = lambda: passes(freshly_compiled(reference), reference, input)
    lstm = model_of(point, None, device)
    makers["lstm"] = lambda: passes(lstm, lstm, input)
    tried = {name: tried_once(f"{point}: {name}", make) for name, make in makers.items()}
    return {name: function for name, function in tried.items() if function is not None}


def freshly_compiled(model: SequenceModel) -> Callable[[Tensor], Any]:
    """Compiled for its sizes alone: after eight of them the compiler would go on without compiling, or for any size."""
    torch.compiler.reset()
    return torch.compile(model)


def tried_once(name: str, make: Callable[[], Callable[[], None]]) -> Callable[[], None] | None:
    """What is made, called once; None, and why is said, where it cannot run: out of memory, or not in a graph."""
    try:
        made = make()
        made()
    except Exception as error:  # those of Triton and of torch's compiler have nothing else in common
        print(f"{name} is left out: {(str(error) or type(error).__name__).splitlines()[0]}", flush=True)
        return None
    return made


def race(running: dict[str, Callable[[], None]], device: torch.device, seconds: float) -> dict[str, float]:
    """Medians, of several rounds in turn."""
    times: dict[str, list[float]] = {name: [] for name in running}
    for function in running.values():
        for _ in range(3):
            function()
    for _ in range(3):
        for name, function in running.items():
            times[name] += milliseconds(function, seconds, device=device)
    return {name: statistics.median(found) for name, found in times.items()}


def tune(point: Point, device: torch.device) -> list[dict[str, Any]]:
    """Tune the kernels for a point, as `tapehead tune` does: the times of each with every tiling."""
    input = torch.randn(point.steps, point.rows, INPUT_SIZE, device=device)
    try:
        tunings = tapehead.tune(model_of(point, "fused", device), input)
    except (tapehead.BackendError, ValueError) as error:
        print(f"tuning is left out: {error}", flush=True)
        return []
    found = []
    for one in tunings:
        timings = [{**timing._asdict(), "tiling": timing.tiling._asdict()} for timing in one.timings]
        found.append({"kernel": one.name, "winner": one.winner._asdict(), "timings": timings})
        print(f"{one.name}: {one.winner.text()}", flush=True)
    return found


def measure(point: Point, device: torch.device, seconds: float, limits: Limits, *, compiled: bool) -> dict[str, Any]:
    """One row of the table."""
    times = race(contestants(point, device, compiled=compiled), device, seconds)
    line = "  ".join(f"{name} {value:.3g}" for name, value in times.items())
    counted, moved = operations(point), traffic(point)
    shares = "fused did not run"
    if "fused" in times:
        rate, speed = counted / times["fused"] / 1e6, moved.device / times["fused"] / 1e6
        shares = (
            f"fused {rate:.0f} GFLOP/s, {rate / limits.product_gflops:.1%} of the product's, and {speed:.0f} GB/s, "
            f"{speed / limits.copy_gbs:.1%} of the copy's"
        )
    print(f"{point}: {line} ms; {shares}", flush=True)
    return {
        "point": point._asdict(),
        "milliseconds": times,
        "operations": counted,
        "bytes": moved._asdict(),
    }


def about(device: torch.device) -> dict[str, Any]:
    """What the numbers are of."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    found = {"kind": device.type, "device": name, "torch": torch.__version__}
    return {**found, "cuda": torch.version.cuda, "triton": backends.triton_version()}


def main(argv: Sequence[str] | None = None) -> dict[str, Any] | None:
    """Print the table, and return it; None where no device is asked for and there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", help="cuda, cuda:1 or cpu (default: the GPU, where there is one)")
    parser.add_argument("--quick", action="store_true", help="the first two sizes alone")
    parser.add_argument("--seconds", type=float, default=0.5, help="for a contestant in a round, of which there are 3")
    parser.add_argument("--no-parity", action="store_true", help="do not run the tests of the kernels first")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--tune", action="store_true", help="tune the kernels for the first size first")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a JSON file for the numbers")
    parser.add_argument("--page", type=Path, metavar="FILE", help="a page to write: docs/performance.md, or a copy")
    words = sys.argv[1:] if argv is None else argv
    told = parser.parse_args(words)
    if told.device is None and not torch.cuda.is_available():
        print("The benchmark for GPUs is left out: torch sees no CUDA device here.")
        return None
    device = torch.device(told.device or "cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error(f"--device: expected one that torch sees, such as cpu, got {device}.")
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # events, streams and graphs are of the current one
    if not told.no_parity:
        tests = "tests/ops/test_triton.py" if device.type == "cuda" else "tests/ops/test_fused.py"
        subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", tests], check=True)
    limits = Limits(product_peak(device=device), copy_peak(device))
    result: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.gpu", *words]),
        "date": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}",
        "parity": not told.no_parity,
        **about(device),
        **limits._asdict(),
        "rows": [],
    }
    print(
        f"{result['device']}, torch {torch.__version__}: product {limits.product_gflops:.0f} GFLOP/s in float32, copy "
        f"{limits.copy_gbs:.0f} GB/s",
        flush=True,
    )

    def keep() -> None:
        if told.out is not None:  # after every row: what a machine was lent for is not lost at its end
            told.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")

    if told.tune:
        result["tuned"] = tune(BASE, device)
        keep()
    for point in POINTS[:2] if told.quick else POINTS:
        result["rows"].append(measure(point, device, told.seconds, limits, compiled=not told.no_compile))
        keep()
    if told.page is not None:
        gpu_page.write(result, told.page)
        print(f"written: {told.page}, {gpu_page.numbers_of(told.page)}")
    return result


if __name__ == "__main__":
    main()
