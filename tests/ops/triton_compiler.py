"""Compile the Triton kernels as they would be launched, for a GPU that need not be there.

Usage: python -m tests.ops.triton_compiler OP CASE [all | TILING ...]

OP is "ntm" or "mann", CASE a name of `tests.cases.CASES`, for "mann" of `tests.mann_cases.MANN_CASES`, or "paper" for
the sizes of a paper. It says what a thread of each kernel takes, and how many barriers there are in the code (those in
loops once): with the usual tiling, with all of the short list, or with those named as WARPS,TILE,ROWS,COLUMNS.
TRITON_INTERPRET must not be set.
"""

import re
import subprocess
import sys
import tempfile
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget

from tapehead.ops import tunings_file
from tapehead.ops.mann import cuda as mann_cuda
from tapehead.ops.ntm import cuda as ntm_cuda
from tapehead.ops.tilings import SHORT_LIST, Tiling
from tests.cases import CASES
from tests.mann_cases import MANN_CASES
from tests.ops.fused_problems import REAL, Problem, problem_of, real_problem, run
from tests.ops.mann_problems import MANN_REAL, mann_problem, real_mann_problem


class NoDriver:
    """All that Triton asks of a driver before it launches."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


class Compiled:
    """In the place of a kernel: compiles what would be launched."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel

    def __getitem__(self, grid: tuple[int, ...]):
        def launch(*arguments: Any, **options: Any) -> None:
            made = self.kernel.warmup(*arguments, grid=grid, **options)
            registers, spilled = used(made.asm["cubin"])
            print(
                f"compiled {self.kernel.fn.__name__}: {len(made.asm['cubin'])} bytes, {registers} registers and "
                f"{spilled} bytes of spills a thread, {made.metadata.shared} bytes shared, "
                f"{made.asm['ptx'].count('bar.sync')} barriers",
                flush=True,
            )

        return launch


def used(cubin: bytes) -> tuple[int, int]:
    """Registers of a thread, and bytes of its memory that take what had no room in them."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (found,) = re.findall(r"REG:(\d+) STACK:(\d+)", text)
    return int(found[0]), int(found[1])


def problem(op: str, name: str) -> Problem:
    """The problem of a case; "paper" is an NTM, or a MANN, of the sizes of its paper."""
    if name == "paper":
        return real_problem(REAL[0]) if op == "ntm" else real_mann_problem(MANN_REAL[0], hidden_size=200)
    cases, make = {"ntm": (CASES, problem_of), "mann": (MANN_CASES, mann_problem)}[op]
    (case,) = (case for case in cases if case.name == name)
    return make(case, torch.float32, ragged=True)


def main(op: str, name: str, *numbers: str) -> None:
    triton.runtime.driver.set_active(NoDriver())
    launches = {"ntm": ntm_cuda.LAUNCHES, "mann": mann_cuda.LAUNCHES}[op]
    kernels = launches.kernels
    launches.kernels = lambda way: Compiled(kernels(way))
    launches.op._kernels.update({("cpu", "forward"): launches.forward, ("cpu", "backward"): launches.backward})
    several = [Tiling(*map(int, one.split(","))) for one in numbers] if numbers != ("all",) else SHORT_LIST
    for tiling in several or [None]:
        if tiling is not None:
            tunings_file.chosen = lambda key, tiling=tiling: tiling
            print(tiling.text(), flush=True)
        run(problem(op, name), "fused", checkpoint_every=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
