"""Where the time of a call goes, and what the short cuts around it save. Every figure is a median.

python -m benchmarks.call_costs parts        one call of the layer at batch 1, cut at every seam
python -m benchmarks.call_costs shortcuts    dispatcher, optimiser and clipping, with and without
python -m benchmarks.call_costs kernels [B [threads]]     the kernels alone, over and over: for a profiler
"""

from __future__ import annotations

import itertools
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.kernels import BASE, Contestant, inside_kernel, operations
from benchmarks.peaks import fma_peak
from tapehead import core
from tapehead.nn import ntm as layers
from tapehead.ops.ntm import cpu, op
from tapehead.training import optimisers


def median_us(function: Callable[[], Any], count: int = 600) -> float:
    """Microseconds of one call."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times[count // 6 :]) * 1e6


def parts() -> None:
    """Marks along forward and backward of the layer; the time between two of them."""
    marks: dict[str, float] = {}

    def marked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            marks[f"{name} starts"] = time.perf_counter()
            result = function(*arguments, **options)
            marks[f"{name} ends"] = time.perf_counter()
            return result

        return run

    layers.ntm.sequence = marked("op", layers.ntm.sequence)
    for way in ("forward", "backward"):
        kernel = cpu._kernel(f"tapehead_ntm_{way}")
        kernel._function = marked(f"{way} core", kernel._function)
        op._KERNELS["cpu", way] = marked(f"{way} kernel", op._KERNELS["cpu", way])
        setattr(op._Sequence, way, staticmethod(marked(f"{way} function", getattr(op._Sequence, way))))
    contestant = Contestant(BASE._replace(rows=1), "fused")
    layer, seams = contestant.model.core, {}
    for round_ in range(700):
        contestant.optimiser.zero_grad()
        marks["call starts"] = time.perf_counter()
        output, _ = layer(contestant.input)
        marks["layer ends"] = time.perf_counter()
        torch.autograd.backward(output, torch.ones_like(output))
        marks["call ends"] = time.perf_counter()
        if round_ >= 100:
            names = sorted(marks, key=marks.__getitem__)
            for before, after in itertools.pairwise(names):
                seams.setdefault(f"{before} -> {after}", []).append(marks[after] - marks[before])
    for name, times in seams.items():
        print(f"{name:48s} {statistics.median(times) * 1e6:7.1f} us")


def shortcuts() -> None:
    """Each thing twice: as it is, and without its short cut."""
    one = Contestant(BASE._replace(rows=1, steps=1), "fused")

    def call() -> None:
        one.optimiser.zero_grad()
        output, _ = one.model.core(one.input)
        torch.autograd.backward(output, torch.ones_like(output))

    eager = op.is_eager
    direct = median_us(call)
    op.is_eager = lambda: False
    print(f"forward and backward at T 1, B 1: {direct:.0f} us; through torch's dispatcher {median_us(call):.0f} us")
    op.is_eager = eager

    base = Contestant(BASE, "fused")
    base.both()
    gradients = [parameter.grad for parameter in base.parameters]
    fits = optimisers._fits_the_core
    for name, function in {
        "update": base.optimiser.step,
        "norm and clipping": lambda: optimisers.clip_gradients(base.parameters, base.config),
    }.items():
        times = []
        for chosen in (fits, lambda *lists: False):
            optimisers._fits_the_core = chosen
            times.append(median_us(function))
        optimisers._fits_the_core = fits
        print(f"{name} of {len(gradients)} parameters: {times[0]:.0f} us; in operations of torch {times[1]:.0f} us")


def faults(keep: int = 1) -> None:
    """Pages that the system hands out again and again, with the block that glibc remembers, or (0) without."""
    if not keep:
        cpu._keep_freed_memory = lambda: None
    base = Contestant(BASE, "fused")
    for _ in range(20):
        base.step()
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for _ in range(300):
        base.step()
    after, seconds = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - start
    pages, system = (after.ru_minflt - before.ru_minflt) / 300, (after.ru_stime - before.ru_stime) / 0.3
    print(f"a step of {seconds / 0.3:.2f} ms: {pages:.0f} page faults, {system:.2f} ms in the system")


def kernels(rows: int = 8, threads: int = 2) -> None:
    """Training steps for some seconds; what the core takes of them."""
    torch.set_num_threads(threads)
    point = BASE._replace(rows=rows, threads=threads)
    contestant = Contestant(point, "fused")
    forward, backward = min((inside_kernel(contestant) for _ in range(5)), key=sum)
    speed = operations(point) / (forward + backward) / 1e6
    print(f"{point}, {threads} threads, {core.isa()}: {forward:.3f} + {backward:.3f} ms, {speed:.0f} GFLOP/s,", end=" ")
    print(f"{speed / fma_peak(threads):.0%} of the peak")


if __name__ == "__main__":
    {"parts": parts, "shortcuts": shortcuts, "faults": faults, "kernels": kernels}[sys.argv[1]](*map(int, sys.argv[2:]))
