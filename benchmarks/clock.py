"""How long calls take: on a CPU by the clock, on a GPU by the events that the device records."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["CPU", "milliseconds"]

CPU = torch.device("cpu")


def milliseconds(
    function: Callable[[], Any], seconds: float, most: int = 200, device: torch.device = CPU
) -> list[float]:
    """Times of calls, as many as fit into the seconds, three at least and at most so many."""
    timed = _on_the_device if device.type == "cuda" else _by_the_clock
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < most):
        times.append(timed(function))
    return times


def _by_the_clock(function: Callable[[], Any]) -> float:
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
