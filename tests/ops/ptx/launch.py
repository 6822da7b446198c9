"""Launches of Triton's kernels without a GPU: compiled for one, and the PTX run by `Machine`.

Triton must have been imported without TRITON_INTERPRET.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import triton
from triton.backends.compiler import GPUTarget

from tapehead.ops.triton_launches import Launches
from tests.ops.ptx.machine import Machine, run
from tests.ops.ptx.parse import Kernel, parse

CAPABILITY = 90


class NoDriver:
    """All that Triton asks of a driver before it launches."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", CAPABILITY, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


class Emulated:
    """In the place of a kernel: takes CPU tensors."""

    parsed: ClassVar[dict[str, Kernel]] = {}
    """by their PTX"""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*arguments: Any, **options: Any) -> None:
            made = self.kernel.warmup(*arguments, grid=grid, **options)
            machine = self.run(made, math.prod(grid), arguments)
            if machine.hazards:
                raise RuntimeError("\n".join(machine.hazards))

        return launch

    def run(self, made: Any, programs: int, arguments: tuple[Any, ...]) -> Machine:
        """What the compiler made of the kernel, in so many programs."""
        text = made.asm["ptx"]
        kernel = self.parsed.get(text) or self.parsed.setdefault(text, parse(text))
        kinds = made.src.signature
        named = zip(self.kernel.arg_names, arguments, strict=True)
        given = [value for name, value in named if kinds[name] != "constexpr"]
        given += [0] * (len(kernel.parameters) - len(given))  # Triton's own scratch, of which there is none
        return run(kernel, programs, given, made.metadata.shared)


def install(launches: Launches, emulated: type[Emulated] = Emulated) -> None:
    """Have a machine's kernels emulated from now on."""
    triton.runtime.driver.set_active(NoDriver())
    kernels = launches.kernels
    launches.kernels = lambda way: emulated(kernels(way))
