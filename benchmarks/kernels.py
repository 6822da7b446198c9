"""The NTM's fused kernels against the reference and torch.compile, side by side in one run; writes docs/performance.md.

First parity: without green tests of the kernels against the reference no number is printed. Then every size is timed
with backends alternating: forward, forward + backward, and a full training step with clipping and update. Medians.
Beside them stand the peaks of the same machine in the same run: fused multiply-adds in registers, and torch's matrix
product.

    python -m benchmarks.kernels [--quick] [--no-compile] [--no-parity] [--seconds S] [--out docs/performance.md]

Nothing else may run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks import machines, mann, parity
from benchmarks.clock import milliseconds, timed
from benchmarks.operations import operations
from benchmarks.peaks import cpu_name, fma_peak, product_peak
from tapehead import NTM, SequenceModel, core
from tapehead.backends import Backend
from tapehead.ops.ntm import cpu
from tapehead.training.optimisers import build_optimiser, clip_gradients
from tapehead.training.options.config import OptimiserConfig

ROOT = Path(__file__).parent.parent
INPUT_SIZE, TARGET_SIZE = machines.MACHINES["ntm"][2:4]  # of the copy task


class Point(NamedTuple):
    """Sizes of one measurement."""

    rows: int = 8
    steps: int = 41
    slots: int = 128
    word: int = 20
    hidden: int = 100
    threads: int = 2

    def __str__(self) -> str:
        return f"B {self.rows}, T {self.steps}, N {self.slots}, M {self.word}, H {self.hidden}"


BASE = Point()
SIZES = [
    BASE,
    BASE._replace(rows=1),
    BASE._replace(rows=64),
    BASE._replace(steps=200),
    BASE._replace(steps=1000),
    BASE._replace(slots=1024),
    BASE._replace(word=64),
    BASE._replace(hidden=256),
    BASE._replace(rows=1, steps=1000),
    BASE._replace(rows=64, steps=200),
    BASE._replace(slots=1024, word=64, hidden=256),
]
POINTS = [size._replace(threads=threads) for threads in (2, 1) for size in SIZES]


class Times(NamedTuple):
    """Milliseconds, medians."""

    forward: float
    both: float
    step: float


def operations_of(point: Point) -> int:
    """Floating-point operations of forward and backward inside the kernel."""
    return operations(machines.Point("ntm", *point[:5]).shape())


class Contestant:
    """One backend at one point: a model, its optimiser and a batch."""

    def __init__(self, point: Point, backend: Backend, compiled: bool = False) -> None:
        torch.manual_seed(0)
        core_ = NTM(INPUT_SIZE, point.hidden, memory_size=point.slots, word_size=point.word, backend=backend)
        self.model = SequenceModel(core_, TARGET_SIZE)
        self.run = torch.compile(self.model) if compiled else self.model
        self.parameters = list(self.model.parameters())
        self.config = OptimiserConfig()
        self.optimiser = build_optimiser(self.config, self.parameters)
        self.input = (torch.rand(point.steps, point.rows, INPUT_SIZE) < 0.5).float()
        self.target = (torch.rand(point.steps, point.rows, TARGET_SIZE) < 0.5).float()
        self.rows = point.rows

    def forward(self) -> torch.Tensor:
        """The loss."""
        logits, _ = self.run(self.input)
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, self.target, reduction="sum")
        return entropy / self.rows

    def both(self) -> None:
        """And its gradient."""
        self.optimiser.zero_grad()
        self.forward().backward()

    def step(self) -> None:
        """And clipping and update: what training repeats."""
        self.both()
        clip_gradients(self.parameters, self.config)
        self.optimiser.step()


def race(contestants: dict[str, Contestant], seconds: float) -> dict[str, Times]:
    """All of them in turn, in several rounds."""
    found: dict[str, dict[str, list[float]]] = {name: {"forward": [], "both": [], "step": []} for name in contestants}
    for one in contestants.values():
        one.step()
    gc.collect()
    for _ in range(3):
        for kind in ("forward", "both", "step"):
            for name, one in contestants.items():
                found[name][kind] += milliseconds(getattr(one, kind), seconds)
    return {name: Times(*(statistics.median(times[kind]) for kind in Times._fields)) for name, times in found.items()}


def inside_kernel(contestant: Contestant) -> tuple[float, float]:
    """Milliseconds that a training step spends in the core's forward and backward."""
    kernels = [cpu._kernel(name) for name in ("tapehead_ntm_forward", "tapehead_ntm_backward")]
    with timed(kernels) as spent:
        milliseconds(contestant.step, 2.0, 400)
    forward, backward = map(statistics.median, spent)
    return forward, backward


def measure(point: Point, seconds: float, *, compiled: bool) -> dict[str, Any]:
    """One row of the table."""
    torch.set_num_threads(point.threads)
    contestants = {"fused": Contestant(point, "fused")}
    # What the reference keeps for its backward: some ten memories a step.
    if point.rows * point.steps * point.slots * point.word * 4 * 12 < 12e9:
        contestants["reference"] = Contestant(point, "reference")
    compile_seconds = None
    if compiled:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp()  # without what it compiled in a run before
        start = time.perf_counter()
        contestants["compiled"] = Contestant(point, "reference", compiled=True)
        contestants["compiled"].step()
        compile_seconds = time.perf_counter() - start
        print(f"torch.compile of {point}: {compile_seconds:.0f} s", flush=True)
    times = race(contestants, seconds)
    forward, backward = inside_kernel(contestants["fused"])
    row = {
        "point": point._asdict(),
        "times": {name: value._asdict() for name, value in times.items()},
        "kernel": {"forward": forward, "backward": backward},
        "gflops": operations_of(point) / (forward + backward) / 1e6,
        "compile_seconds": compile_seconds,
    }
    line = "  ".join(f"{name} {value.step:.2f}" for name, value in times.items())
    print(f"{point}, {point.threads} threads: step {line} ms; kernel {forward:.2f} + {backward:.2f} ms", flush=True)
    return row


def call_cost() -> dict[str, float]:
    """Where a training step at batch 1 goes: milliseconds of the layer's call around its kernels."""
    torch.set_num_threads(2)
    contestant = Contestant(BASE._replace(rows=1), "fused")
    layer = contestant.model.core
    milliseconds(contestant.step, 1.0, 200)
    forward, backward = inside_kernel(contestant)
    step = statistics.median(milliseconds(contestant.step, 3.0, 1000))

    def call() -> None:
        output, _ = layer(contestant.input)
        torch.autograd.backward(output, torch.ones_like(output))

    contestant.optimiser.zero_grad()
    both = statistics.median(milliseconds(call, 3.0, 1000))
    return {
        "step": step,
        "layer": both,
        "kernels": forward + backward,
        "cost": both - forward - backward,
        "share": (both - forward - backward) / step,
    }


def aside(*arguments: str) -> Any:
    """What `benchmarks.call_costs` finds, in a process of its own."""
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.call_costs", *arguments],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    print(f"{' '.join(arguments)}: {found}", flush=True)
    return json.loads(found)


def linear_cost() -> list[dict[str, Any]]:
    """Milliseconds of a forward and backward at sizes that double, one at a time."""
    rows = []
    torch.set_num_threads(1)
    base = Point(rows=4, steps=50, threads=1)
    for name, sizes in {
        "steps": [50, 100, 200, 400, 800],
        "rows": [4, 8, 16, 32, 64],
        "slots": [128, 256, 512, 1024, 2048],
        "word": [16, 32, 64, 128],
    }.items():
        for size in sizes:
            point = base._replace(**{name: size})
            forward, backward = inside_kernel(Contestant(point, "fused"))
            rows.append({"name": name, "size": size, "ms": forward + backward})
            print(f"{name} {size}: {forward + backward:.2f} ms", flush=True)
    return rows


def main() -> None:
    """Parity, peaks, points, page."""
    parser = argparse.ArgumentParser(description="Time the fused kernels.")
    parser.add_argument("--quick", action="store_true", help="two sizes only")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--no-parity", action="store_true")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each kind of each contestant, three times")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "performance.md")
    arguments = parser.parse_args()
    if core.why_not():
        raise SystemExit(" ".join(core.why_not()))
    if not arguments.no_parity:
        parity.require(parity.ON_THE_CPU.values())
    points = [BASE, BASE._replace(rows=1)] if arguments.quick else POINTS
    result: dict[str, Any] = {
        "command": "python -m benchmarks.kernels" + "".join(f" {word}" for word in sys.argv[1:]),
        "date": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}",
        "machine": {"processor": cpu_name(), "isa": core.isa(), "python": platform.python_version()},
        "torch": torch.__version__,
        "parity": not arguments.no_parity,
        "peaks": {str(threads): {"fma": fma_peak(threads), "product": product_peak(threads)} for threads in (1, 2)},
    }
    print(json.dumps(result, indent=1), flush=True)
    result["rows"] = [
        measure(point, arguments.seconds, compiled=point == BASE and not arguments.no_compile) for point in points
    ]
    result["peaks_after"] = {str(t): {"fma": fma_peak(t), "product": product_peak(t)} for t in (1, 2)}
    result["call"] = call_cost()
    print(json.dumps(result["call"], indent=1), flush=True)
    result["parts"], result["shortcuts"] = aside("parts"), aside("shortcuts")
    result["profile"] = aside("profile")
    result["mann"] = [mann.measure(threads, rounds=5 if arguments.quick else 15) for threads in (2, 1)]
    result["linear"] = [] if arguments.quick else linear_cost()
    from benchmarks.performance_page import write  # matplotlib only now

    write(result, arguments.out)
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    main()
