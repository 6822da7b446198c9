"""What a machine can do at most: multiply-adds in registers, torch's matrix product, and a copy in its memory."""

from __future__ import annotations

import ctypes
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.clock import CPU, milliseconds
from tapehead import core

__all__ = ["copy_peak", "cpu_name", "fma_peak", "product_peak"]

PRODUCT_SIZE = {"cpu": 1024, "cuda": 4096}
"""Rows and columns of the matrices, by the type of the device."""
COPIED = {"cpu": 2**28, "cuda": 2**30}
"""Bytes of what is copied: many times what the caches hold."""


def cpu_name() -> str:
    """The processor as the system calls it, and how many of its cores there are."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        name = f"{lines[0]}, {len(lines)} cores" if lines else name
    return name


def fma_peak(threads: int) -> float:
    """GFLOP/s of multiply-adds that never leave the registers, in the core's instruction set; best of several."""
    function = core.library().tapehead_fma_peak
    function.argtypes, function.restype = [ctypes.c_int64, ctypes.c_int64], ctypes.c_double
    best = 0.0
    for _ in range(7):
        start = time.perf_counter()
        operations = function(threads, 2_000_000)
        best = max(best, operations / (time.perf_counter() - start) / 1e9)
    return best


def product_peak(threads: int | None = None, device: torch.device = CPU) -> float:
    """GFLOP/s of torch's product of two float32 matrices, `PRODUCT_SIZE` square, without tf32; best of several.

    Args:
        threads: of the CPU; None leaves them as they are
        device: where the product is made
    """
    size = PRODUCT_SIZE[device.type]
    before, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(threads or before)
    torch.set_float32_matmul_precision("highest")
    try:
        left, right = (torch.randn(size, size, device=device) for _ in range(2))
        return 2 * size**3 / _best(lambda: left @ right, device) / 1e6
    finally:
        torch.set_num_threads(before)
        torch.set_float32_matmul_precision(precision)


def copy_peak(device: torch.device = CPU) -> float:
    """GB/s of a copy of `COPIED` bytes in the device's memory, counting what is read and what is written; the best."""
    origin = torch.ones(COPIED[device.type] // 4, device=device)
    to = torch.empty_like(origin)
    return 2 * origin.nbytes / _best(lambda: to.copy_(origin), device) / 1e6


def _best(function: Callable[[], Any], device: torch.device) -> float:
    """Milliseconds of the fastest of some fifteen calls, after a warm-up."""
    milliseconds(function, 0.0, device=device)
    return min(milliseconds(function, 1.0, 15, device))
