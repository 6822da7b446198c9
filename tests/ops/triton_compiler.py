"""Compile the Triton kernels as they would be launched, for a GPU that need not be there, and run them in the emulator.

Usage: python -m tests.ops.triton_compiler OP CASE [all | TILING ...]

OP is "ntm" or "mann", CASE a name of `tests.cases.CASES`, for "mann" of `tests.mann_cases.MANN_CASES`, or "paper" for
the sizes of a paper. It says what a thread of each kernel takes, and how many instructions and barriers it goes through
in a step: with the usual tiling, with all of the short list, or with those named as WARPS,TILE,ROWS,COLUMNS.
TRITON_INTERPRET must not be set.
"""

import re
import subprocess
import sys
import tempfile
from typing import Any, ClassVar

import torch
import triton

from tapehead.ops import tunings_file
from tapehead.ops.mann import cuda as mann_cuda
from tapehead.ops.ntm import cuda as ntm_cuda
from tapehead.ops.tilings import SHORT_LIST, USUAL, Tiling
from tests.cases import CASES
from tests.mann_cases import MANN_CASES
from tests.ops.fused_problems import REAL, Problem, problem_of, real_problem, run
from tests.ops.mann_problems import MANN_REAL, mann_problem, real_mann_problem
from tests.ops.ptx.launch import Emulated, install
from tests.ops.ptx.machine import Machine


class Watched(Emulated):
    """In the place of a kernel: keeps what the compiler makes of it, and how it runs."""

    found: ClassVar[dict[str, list[tuple[Any, Machine]]]] = {}
    """of each kernel, by its name, launch by launch"""

    def run(self, made: Any, programs: int, arguments: tuple[Any, ...]) -> Machine:
        machine = super().run(made, programs, arguments)
        self.found.setdefault(self.kernel.fn.__name__, []).append((made, machine))
        return machine


def report(name: str, launches: list[tuple[Any, Machine]]) -> str:
    """Of a kernel, launched for some steps and for one more."""
    (made, before), (_, after) = launches
    registers, spilled = used(made.asm["cubin"])
    step = after.counts - before.counts
    passed = f"{step['ld'] + step['st']:,} of them loads and stores, and {step['bar']} barriers"
    return (
        f"compiled {name}: {len(made.asm['cubin'])} bytes, {registers} registers and {spilled} bytes of spills a "
        f"thread, {made.metadata.shared} bytes shared, {made.asm['ptx'].count('bar.sync')} barriers; in a step a "
        f"thread runs {step.total():,} instructions, {passed}"
    )


def used(cubin: bytes) -> tuple[int, int]:
    """Registers of a thread, and bytes of its memory that take what had no room in them."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (found,) = re.findall(r"REG:(\d+) STACK:(\d+)", text)
    return int(found[0]), int(found[1])


def problem(op: str, name: str, steps: int) -> Problem:
    """The problem of a case; "paper" is an NTM, or a MANN, of the sizes of its paper."""
    if name == "paper":
        if op == "ntm":
            return real_problem(REAL[0]._replace(steps=steps, rows=2))
        return real_mann_problem(MANN_REAL[0]._replace(steps=steps, rows=2), hidden_size=200)
    cases, make = {"ntm": (CASES, problem_of), "mann": (MANN_CASES, mann_problem)}[op]
    (case,) = (case for case in cases if case.name == name)
    return make(case._replace(steps=steps), torch.float32)


def main(op: str, name: str, *numbers: str) -> None:
    launches = {"ntm": ntm_cuda.LAUNCHES, "mann": mann_cuda.LAUNCHES}[op]
    install(launches, Watched)
    launches.op._kernels.update({("cpu", "forward"): launches.forward, ("cpu", "backward"): launches.backward})
    several = [Tiling(*map(int, one.split(","))) for one in numbers] if numbers != ("all",) else SHORT_LIST
    for tiling in several or [USUAL]:
        tunings_file.chosen = lambda key, tiling=tiling: tiling
        print(tiling.text(), flush=True)
        Watched.found.clear()
        for steps in (2, 3):
            run(problem(op, name, steps), "fused")
        for kernel, made in Watched.found.items():
            print(report(kernel, made), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
