"""Compile the Triton kernels as they would be launched, for a GPU that need not be there.

Usage: python -m tests.ops.triton_compiler OP CASE, with a name of `tests.cases.CASES` or, for "mann", of
`tests.mann_cases.MANN_CASES`. TRITON_INTERPRET must not be set.
"""

import sys
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tapehead.ops.mann import cuda as mann_cuda
from tapehead.ops.ntm import cuda as ntm_cuda
from tests.cases import CASES
from tests.mann_cases import MANN_CASES
from tests.ops.fused_problems import problem_of, run
from tests.ops.mann_problems import mann_problem

CAPABILITY = 90
POINTERS = {torch.float32: "*fp32", torch.float64: "*fp64", torch.int64: "*i64"}


class Compiled:
    """In the place of a kernel: compiles it for every launch."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel

    def __getitem__(self, grid: tuple[int, ...]):
        return self.launch

    def launch(self, *arguments: Any, **options: Any) -> None:
        signature, constants, known = {}, {}, {}
        for index, (name, value) in enumerate(zip(self.kernel.arg_names, arguments, strict=True)):
            if isinstance(value, Tensor):
                signature[name] = POINTERS[value.dtype]
                known[(index,)] = [["tt.divisibility", 16]]
            elif type(value) is int and value != 1:
                signature[name] = "i32"
                if value % 16 == 0:
                    known[(index,)] = [["tt.divisibility", 16]]
            else:
                signature[name], constants[(index,)] = "constexpr", value
        source = ASTSource(fn=self.kernel, signature=signature, constexprs=constants, attrs=known)
        made = triton.compile(source, target=GPUTarget("cuda", CAPABILITY, 32), options=options)
        print(f"compiled {self.kernel.fn.__name__}: {len(made.asm['cubin'])} bytes")


def main(op: str, name: str) -> None:
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
