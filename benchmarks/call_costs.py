"""Where the time of a call goes, and what the short cuts around it save. Prints JSON; every figure is a median.

python -m benchmarks.call_costs parts                   microseconds along one call of the layer at batch 1
python -m benchmarks.call_costs shortcuts               microseconds with and without: dispatcher, optimiser, clipping
python -m benchmarks.call_costs kernels [B [threads]]   the kernels alone, over and over
python -m benchmarks.call_costs profile [B [threads]]   the same under `perf`: shares of the time inside the core

`make bench` runs all but the third for docs/performance.md. Nothing else may run meanwhile.
"""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.kernels import BASE, Contestant, inside_kernel, operations_of
from benchmarks.peaks import fma_peak
from tapehead import core
from tapehead.nn import ntm_cell as layers
from tapehead.ops import custom
from tapehead.ops.ntm import cpu, op
from tapehead.training import optimisers

# Between which marks a part lies, and what it is.
SEAMS = {
    ("call starts", "op starts"): "layer: checks, start state, parameters",
    ("op starts", "forward function starts"): "choice of the backend, into autograd",
    ("forward function starts", "forward core starts"): "sizes, results, addresses",
    ("forward core starts", "forward core ends"): "forward kernel",
    ("forward core ends", "layer ends"): "saving, out of autograd, new state",
    ("layer ends", "backward function starts"): "torch.autograd.backward, engine",
    ("backward function starts", "backward core starts"): "sizes, gradients, addresses",
    ("backward core starts", "backward core ends"): "backward kernel",
    ("backward core ends", "call ends"): "handing on the gradients",
}

# What a function of the core is part of, by what its name begins with.
GROUPS = {
    r"multiply_panel<\w+, \d+, \d+, false>": "products of the controller and the heads, of every step",
    r"multiply_panel<\w+, \d+, \d+, true>|multiply_over_steps|PanelColumns": "gradients of the weights",
    r"slot_sums|read|write|content_backward": "passes over the memory: similarity, read, write, and their backward",
    r"address": "addressing and its backward: exp and log over all slots",
    r"lstm": "gates of the LSTM and their backward",
}


def median_us(function: Callable[[], Any], count: int = 600) -> float:
    """Microseconds of one call."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times[count // 6 :]) * 1e6


def parts() -> dict[str, float]:
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
        setattr(op.OP.Sequence, way, staticmethod(marked(f"{way} function", getattr(op.OP.Sequence, way))))
    contestant = Contestant(BASE._replace(rows=1), "fused")
    layer = contestant.model.core
    seams: dict[str, list[float]] = {text: [] for text in SEAMS.values()}
    for round_ in range(1200):
        contestant.optimiser.zero_grad()
        marks["call starts"] = time.perf_counter()
        output, _ = layer(contestant.input)
        marks["layer ends"] = time.perf_counter()
        torch.autograd.backward(output, torch.ones_like(output))
        marks["call ends"] = time.perf_counter()
        if round_ >= 200:
            for (before, after), text in SEAMS.items():
                seams[text].append(marks[after] - marks[before])
    return {text: statistics.median(times) * 1e6 for text, times in seams.items()}


def shortcuts() -> dict[str, tuple[float, float]]:
    """Each thing twice: as it is, and without its short cut."""
    one = Contestant(BASE._replace(rows=1, steps=1), "fused")

    def call() -> None:
        one.optimiser.zero_grad()
        output, _ = one.model.core(one.input)
        torch.autograd.backward(output, torch.ones_like(output))

    eager, found = custom.is_eager, {}
    times = []
    for chosen in (eager, lambda: False) * 2:
        custom.is_eager = chosen
        times.append(median_us(call))
    custom.is_eager = eager
    found["forward and backward of one step, past torch's dispatcher"] = (min(times[::2]), min(times[1::2]))

    base = Contestant(BASE, "fused")
    base.both()
    fits = optimisers._fits_the_core
    functions: dict[str, Callable[[], Any]] = {
        "update": base.optimiser.step,
        "norm and clipping": lambda: optimisers.clip_gradients(base.parameters, base.config),
    }
    for name, function in functions.items():
        times = []
        for chosen in (fits, lambda *lists: False) * 2:
            optimisers._fits_the_core = chosen
            times.append(median_us(function))
        optimisers._fits_the_core = fits
        found[f"{name} of {len(base.parameters)} parameters, in the core"] = (min(times[::2]), min(times[1::2]))
    return found


def kernels(rows: int = 8, threads: int = 2) -> dict[str, Any]:
    """Training steps for some seconds; what the core takes of them."""
    torch.set_num_threads(threads)
    point = BASE._replace(rows=rows, threads=threads)
    contestant = Contestant(point, "fused")
    forward, backward = min((inside_kernel(contestant) for _ in range(5)), key=sum)
    speed = operations_of(point) / (forward + backward) / 1e6
    return {
        "sizes": f"{point}, {threads} threads, {core.isa()}",
        "forward, ms": forward,
        "backward, ms": backward,
        "GFLOP/s": speed,
        "of the peak": speed / fma_peak(threads),
    }


def profile(rows: int = 4, threads: int = 1) -> dict[str, float]:
    """Shares of the time inside the core; nothing where there is no `perf`."""
    perf = shutil.which("perf")
    if perf is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "perf.data")
        run = [sys.executable, "-m", "benchmarks.call_costs", "kernels", str(rows), str(threads)]
        subprocess.run([perf, "record", "-q", "-e", "cpu-clock", "-o", data, *run], check=True, capture_output=True)
        show = [perf, "report", "-i", data, "--stdio", "-F", "overhead,dso,symbol", "-t", ";"]
        report = subprocess.run(show, check=True, capture_output=True, text=True).stdout
    names = [*GROUPS.values(), "the rest: head parameters, unit keys, packing of the weights, start and end of a row"]
    shares = dict.fromkeys(names, 0.0)
    for line in report.splitlines():
        cells = [cell.strip() for cell in line.split(";")]
        if len(cells) < 3 or cells[1] != "_core.so" or "run_piece" in cells[2] or "clip" in cells[2]:
            continue
        function = re.sub(r"^\[\.\] (void )?(tapehead::)?(\w+::)?(\(anonymous namespace\)::)?", "", cells[2])
        group = next((name for pattern, name in GROUPS.items() if re.match(pattern, function)), names[-1])
        shares[group] += float(cells[0].rstrip("%"))
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


if __name__ == "__main__":
    kinds = {"parts": parts, "shortcuts": shortcuts, "kernels": kernels, "profile": profile}
    print(json.dumps(kinds[sys.argv[1]](*map(int, sys.argv[2:])), indent=1))
