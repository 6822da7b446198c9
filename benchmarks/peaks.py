"""What a machine can do at most: fused multiply-adds in registers, and torch's matrix product, in GFLOP/s."""

from __future__ import annotations

import ctypes
import platform
import time
from pathlib import Path

import torch

from tapehead import core

__all__ = ["cpu_name", "fma_peak", "product_peak"]


def cpu_name() -> str:
    """The processor as the system calls it, and how many of its cores there are."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = f"{lines[0]}, {len(lines)} cores" if lines else name
    return name


def fma_peak(threads: int) -> float:
    """Of multiply-adds that never leave the registers, in the instruction set the kernels run with; best of several."""
    function = core.library().tapehead_fma_peak
    function.argtypes, function.restype = [ctypes.c_int64, ctypes.c_int64], ctypes.c_double
    best = 0.0
    for _ in range(7):
        start = time.perf_counter()
        operations = function(threads, 2_000_000)
        best = max(best, operations / (time.perf_counter() - start) / 1e9)
    return best


def product_peak(threads: int) -> float:
    """Of torch's product of two float32 matrices of 1,024 x 1,024; best of several."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
    best = 0.0
    for _ in range(15):
        start = time.perf_counter()
        left @ right
        best = max(best, 2 * 1024**3 / (time.perf_counter() - start) / 1e9)
    torch.set_num_threads(before)
    return best
