"""How long calls take: on a CPU by the clock, on a GPU by the events that the device records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["CPU", "milliseconds", "once", "timed"]

CPU = torch.device("cpu")


def milliseconds(
    function: Callable[[], Any], seconds: float, most: int = 200, device: torch.device = CPU
) -> list[float]:
    """Times of calls, as many as fit into the seconds, three at least and at most so many."""
    how = _on_the_device if device.type == "cuda" else once
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < most):
        times.append(how(function))
    return times


def once(function: Callable[[], Any]) -> float:
    """Milliseconds of a call, by the clock."""
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1e3


def _on_the_device(function: Callable[[], Any]) -> float:
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    function()
    stop.record()
    stop.synchronize()
    return float(start.elapsed_time(stop))


@contextmanager
def timed(kernels: Sequence[Any]) -> Iterator[list[list[float]]]:
    """For each of the core's functions the milliseconds of every call of it."""
    before = [kernel._function for kernel in kernels]
    spent: list[list[float]] = [[] for _ in kernels]

    def watched(index: int) -> Callable[[Any], int]:
        def run(array: Any) -> int:
            start = time.perf_counter()
            result = before[index](array)
            spent[index].append((time.perf_counter() - start) * 1e3)
            return int(result)

        return run

    for index, kernel in enumerate(kernels):
        kernel._function = watched(index)
    try:
        yield spent
    finally:
        for kernel, function in zip(kernels, before, strict=True):
            kernel._function = function
