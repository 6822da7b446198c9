"""Both machines' kernels on a GPU against the eager reference, a CUDA graph, torch.compile, and torch's LSTM.

First parity: without green tests of the kernels on the device no number is printed. Then forward and backward of
several machines (`benchmarks/machines.py`) at many sizes, contestants alternating, timed by the device's own events
after a warm-up; medians. `graph` is a forward and backward captured once and replayed; `ten models` are ten of them in
one call, as `study --together` trains them; `lstm` is torch's own, as wide and as deep as the controller, which no
memory network with such a controller could pass. All of it is float32 without tf32. The operations of the fused one
(`benchmarks/operations.py`), and the bytes that it has to move (`benchmarks/traffic.py`), are counted and stated as
shares of what a product of matrices and a copy reach on the same device.

    python -m benchmarks.gpu [--device cuda] [--only MACHINE ...] [--quick] [--seconds S] [--no-parity] [--no-compile]
                             [--tune] [--out FILE [--resume]] [--page docs/performance.md]

Without `--device` it takes the GPU, and where there is none it says so and does nothing. `--only` names machines, and
`--resume` keeps the rows that FILE has: so what takes too long for one command is done in several, or goes on after one
was stopped. `--tune` first tunes the kernels for the first size of each machine, as `tapehead tune` does: what is
fastest is kept, and taken by what follows. `--page` writes the page's part about GPUs. `--device cpu` tries this
program where there is no GPU: the same contestants without graphs, the fused one being the C++ core, and nothing to
tune.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

import tapehead
from benchmarks import gpu_page, machines, parity
from benchmarks.contestants import ROUNDS, contestants, how_many, race
from benchmarks.machines import MACHINES, Point
from benchmarks.operations import operations
from benchmarks.peaks import copy_peak, cpu_name, product_peak
from benchmarks.traffic import traffic
from tapehead import backends
from tapehead.ops.tunings_file import kernels_hash

OPS = ("ntm", "mann")
QUICK = 2
"""Sizes of each machine with `--quick`."""


class Limits(NamedTuple):
    """What the device reaches at most, as measured in the same run."""

    product_gflops: float
    copy_gbs: float


def tune(point: Point, device: torch.device) -> list[dict[str, Any]]:
    """Tune the kernels for a point, as `tapehead tune` does: the times of each with every tiling."""
    try:
        tunings = tapehead.tune(point.model("fused", device), point.input(device))
    except (tapehead.BackendError, ValueError) as error:
        print(f"{point}: tuning is left out: {error}", flush=True)
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
    shape = point.shape()
    counted, moved = operations(shape), traffic(shape, point.kept_every())
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
    return {
        "kind": device.type,
        "device": name,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "triton": backends.triton_version(),
        "kernels": {op: kernels_hash(op) for op in OPS},
    }


def measured_before(file: Path | None, own: dict[str, Any]) -> dict[str, Any]:
    """What a file of `--out` has, to go on with; nothing measured, where there is no file.

    Raises:
        ValueError: it was measured elsewhere, or is of other kernels.
    """
    if file is None or not file.exists():
        return {**own, **Limits(0.0, 0.0)._asdict(), "runs": [], "rows": []}
    before: dict[str, Any] = json.loads(file.read_text("utf-8"))
    for name, value in own.items():
        if before.get(name) != value:
            raise ValueError(
                f"--resume: expected {file} to be of {name} {value}, got {before.get(name)}. Give another --out."
            )
    return before


def points_of(only: Sequence[str], *, quick: bool, done: Sequence[dict[str, Any]]) -> list[Point]:
    """What is to be measured, the first size of every machine before the others."""
    chosen = [machines.SIZES[name][: QUICK if quick else None] for name in MACHINES if name in only]
    points = [*(points[0] for points in chosen), *(point for points in chosen for point in points[1:])]
    there = [row["point"] for row in done]
    return [point for point in points if point._asdict() not in there]


def is_first(point: Point) -> bool:
    """Whether it is the size of its machine for which torch.compile is run, and kernels are tuned."""
    return point == machines.SIZES[point.machine][0]


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--device", help="cuda, cuda:1 or cpu (default: the GPU, where there is one)")
    names = list(MACHINES)
    found.add_argument("--only", nargs="+", choices=names, default=names, metavar="MACHINE", help=", ".join(names))
    found.add_argument("--quick", action="store_true", help="the first two sizes of each machine alone")
    found.add_argument(
        "--seconds", type=float, default=0.5, help=f"for a contestant in a round, of which there are {ROUNDS}"
    )
    found.add_argument("--no-parity", action="store_true", help="do not run the tests of the kernels first")
    found.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    found.add_argument("--tune", action="store_true", help="tune the kernels for each machine's first size first")
    found.add_argument("--out", type=Path, metavar="FILE", help="a JSON file for the numbers, written after every row")
    found.add_argument("--resume", action="store_true", help="keep the rows that FILE has already")
    found.add_argument("--page", type=Path, metavar="FILE", help="a page to write: docs/performance.md, or a copy")
    return found


def estimate(points: Sequence[Point], device: torch.device, seconds: float, *, compile: bool) -> str:
    """How long it takes, as far as that can be told."""
    runs = [how_many(point, device, compiled=compile and is_first(point)) for point in points]
    text = f"{len(points)} size{'s' * (len(points) > 1)}, at least {sum(runs) * ROUNDS * seconds:.0f} s in all"
    if device.type == "cuda":
        text += ", and besides what compiling the kernels takes"
    firsts = sum(map(is_first, points)) if compile else 0
    return text + (f", and torch.compile, {firsts} times some minutes" if firsts else "")


def measure_all(
    points: Sequence[Point], device: torch.device, result: dict[str, Any], command: str, told: argparse.Namespace
) -> None:
    """Add a run to the result, with rows for all points, and keep it after every row."""
    if not told.no_parity:
        ops = [op for op in OPS if any(MACHINES[point.machine].op == op for point in points)]
        parity.require(parity.tests_of(ops, device), device)
    limits = Limits(product_peak(device=device), copy_peak(device))
    limits = Limits(*map(max, limits, (result[name] for name in Limits._fields)))
    date = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}"
    result["runs"].append({"command": command, "date": date, "parity": not told.no_parity})
    result.update(limits._asdict())
    compile = not told.no_compile
    print(
        f"{result['device']}, torch {torch.__version__}: product {limits.product_gflops:.0f} GFLOP/s in float32, copy "
        f"{limits.copy_gbs:.0f} GB/s\n{estimate(points, device, told.seconds, compile=compile)}",
        flush=True,
    )

    def keep() -> None:
        if told.out is not None:  # after every row: what a machine was lent for is not lost at its end
            told.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")

    start = time.perf_counter()
    for point in filter(is_first, points) if told.tune else ():
        result.setdefault("tuned", {})[point.machine] = tune(point, device)
        keep()
    for index, point in enumerate(points, 1):
        compiled = compile and is_first(point)
        result["rows"].append(measure(point, device, told.seconds, limits, compiled=compiled))
        keep()
        print(f"{index} of {len(points)} sizes, {time.perf_counter() - start:.0f} s", flush=True)


def main(argv: Sequence[str] | None = None) -> dict[str, Any] | None:
    """Print the table, and return it; None where no device is asked for and there is no GPU."""
    words, options = sys.argv[1:] if argv is None else argv, parser()
    told = options.parse_args(words)
    if told.resume and told.out is None:
        options.error("--resume: expected --out FILE beside it, got none. Name the file to go on with.")
    if told.device is None and not torch.cuda.is_available():
        print("The benchmark for GPUs is left out: torch sees no CUDA device here.")
        return None
    device = torch.device(told.device or "cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        options.error(f"--device: expected one that torch sees, such as cpu, got {device}.")
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # torch's LSTM would take it
        if device.index is not None:
            torch.cuda.set_device(device)  # events, streams and graphs are of the current one
    try:
        result = measured_before(told.out if told.resume else None, about(device))
    except ValueError as error:
        options.error(str(error))
    points = points_of(told.only, quick=told.quick, done=result["rows"])
    if points:
        measure_all(points, device, result, " ".join(["python -m benchmarks.gpu", *words]), told)
    else:
        print(f"Nothing is left to measure: {told.out} has every size.")
    if told.page is not None:
        gpu_page.write(result, told.page)
        print(f"written: {told.page}, {gpu_page.numbers_of(told.page)}")
    return result


if __name__ == "__main__":
    main()
