"""Compile the Triton kernels as they would be launched, for a GPU that need not be there.

Usage: python -m tests.ops.triton_compiler OP CASE, with a name of `tests.cases.CASES` or, for "mann", of
`tests.mann_cases.MANN_CASES`. TRITON_INTERPRET must not be set.
"""

import sys
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget

from tapehead.ops.mann import cuda as mann_cuda
from tapehead.ops.ntm import cuda as ntm_cuda
from tests.cases import CASES
from tests.mann_cases import MANN_CASES
from tests.ops.fused_problems import problem_of, run
from tests.ops.mann_problems import mann_problem


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
            print(f"compiled {self.kernel.fn.__name__}: {len(made.asm['cubin'])} bytes")

        return launch


def main(op: str, name: str) -> None:
    triton.runtime.driver.set_active(NoDriver())
    launches, cases, make = {
        "ntm": (ntm_cuda.LAUNCHES, CASES, problem_of),
        "mann": (mann_cuda.LAUNCHES, MANN_CASES, mann_problem),
    }[op]
    kernels = launches.kernels
    launches.kernels = lambda way: Compiled(kernels(way))
    launches.op._kernels.update({("cpu", "forward"): launches.forward, ("cpu", "backward"): launches.backward})
    (case,) = (case for case in cases if case.name == name)
    run(make(case, torch.float32, ragged=True), "fused", checkpoint_every=2)


if __name__ == "__main__":
    main(*sys.argv[1:])
