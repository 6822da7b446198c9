"""The fused MANN against the reference, at the size of the Omniglot task, side by side in one run.

First parity: without a green `pytest tests/ops/test_fused_mann.py` no number is printed. Then forward, and forward with
backward, with backends alternating; medians. Beside them: the time inside the core, the operations of the products
alone (controller, heads and the gradients of their weights), and the machine's peak in the same run.

    python -m benchmarks.mann [--no-parity] [--rounds R] [--threads 2 1]

Nothing else may run on the machine meanwhile. Where something does, `processor` helps: milliseconds of the
processor that a forward and backward took, which with one thread are nearly what it would take alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import torch

from benchmarks import parity
from benchmarks.clock import CPU, timed
from benchmarks.machines import SIZES
from benchmarks.operations import products
from benchmarks.peaks import cpu_name, fma_peak, product_peak
from tapehead import core
from tapehead.backends import Backend
from tapehead.ops.mann import cpu

POINT = SIZES["mann"][0]


class Contestant:
    """One backend: a layer and a batch."""

    def __init__(self, backend: Backend) -> None:
        torch.manual_seed(0)
        self.layer = POINT.core(backend, CPU)
        self.parameters = list(self.layer.parameters())
        self.input = torch.randn(POINT.steps, POINT.rows, self.layer.input_size)

    def forward(self) -> torch.Tensor:
        """A loss."""
        output, _ = self.layer(self.input)
        return output.square().mean()

    def both(self) -> None:
        """And its gradient."""
        torch.autograd.grad(self.forward(), self.parameters, allow_unused=True)


def inside_core(contestant: Contestant, rounds: int) -> dict[str, float]:
    """Milliseconds that a forward and backward spend in the core."""
    ways = ("forward", "backward")
    with timed([cpu._kernel(f"tapehead_mann_{way}") for way in ways]) as spent:
        for _ in range(rounds):
            contestant.both()
    return dict(zip(ways, map(statistics.median, spent), strict=True))


def measure(threads: int, rounds: int) -> dict[str, Any]:
    """Medians of both backends, in turn."""
    torch.set_num_threads(threads)
    contestants = {"fused": Contestant("fused"), "reference": Contestant("reference")}
    found: dict[str, dict[str, list[float]]] = {name: {"forward": [], "both": []} for name in contestants}
    processor: dict[str, list[float]] = {name: [] for name in contestants}
    for one in contestants.values():
        one.both()
    for _ in range(rounds):
        for kind in ("forward", "both"):
            for name, one in contestants.items():
                for _ in range(5 if name == "fused" else 1):
                    start, worked = time.perf_counter(), time.process_time()
                    getattr(one, kind)()
                    found[name][kind].append((time.perf_counter() - start) * 1e3)
                    if kind == "both":
                        processor[name].append((time.process_time() - worked) * 1e3)
    times = {name: {kind: statistics.median(all_) for kind, all_ in kinds.items()} for name, kinds in found.items()}
    inside = inside_core(contestants["fused"], 5 * rounds)
    product = product_peak(threads)
    operations, fma = products(POINT.shape()), fma_peak(threads)
    return {
        "threads": threads,
        "times": times,
        "ratio": {kind: times["reference"][kind] / times["fused"][kind] for kind in ("forward", "both")},
        "processor": {name: statistics.median(all_) for name, all_ in processor.items()},
        "core": inside,
        "products": {"gflop": operations / 1e9, "ms": operations / product / 1e6},
        "bound": times["reference"]["both"] / (operations / fma / 1e6),  # if all but the products took no time
        "peaks": {"fma": fma, "product": product},
    }


def main() -> None:
    """Parity, then figures."""
    parser = argparse.ArgumentParser(description="Time the fused MANN.")
    parser.add_argument("--no-parity", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    arguments = parser.parse_args()
    if core.why_not():
        raise SystemExit(" ".join(core.why_not()))
    if not arguments.no_parity:
        parity.require([parity.ON_THE_CPU["mann"]])
    print(f"{cpu_name()}, {core.isa()}, torch {torch.__version__}")
    print(POINT, flush=True)
    for threads in arguments.threads:
        print(json.dumps(measure(threads, arguments.rounds), indent=1), flush=True)


if __name__ == "__main__":
    main()
