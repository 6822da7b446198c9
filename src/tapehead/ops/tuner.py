"""Times tilings of a call of an op on its device, and checks that each gives the results of the usual one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tapehead.ops import mann, ntm, tunings_file
from tapehead.ops.tilings import SHORT_LIST, USUAL, Tiling
from tapehead.ops.triton_launches import Launch, Launches, as_they_are

__all__ = ["ROUNDS", "Clock", "Recorder", "Timing", "Tuning", "event_clock", "key_of_call", "tune_call"]

Clock = Callable[[Callable[[], None]], float]
"""Calls a launch once, and tells how many milliseconds of the device it took."""

ROUNDS = 15
"""times that every tiling is timed, in turn with the others"""
WARM_UP = 2
"""calls of each before that"""
DRAWS, FACTOR = 3, 16.0
"""Two tilings may differ by `FACTOR` times what roundings of the arguments change at the most, of so many draws of
them: sums in another order are other roundings."""
NOT_MOVED = ("internals", "traced")
"""arguments that the forward made, which hold numbers of slots as well"""


class Timing(NamedTuple):
    """What became of one tiling."""

    tiling: Tiling
    milliseconds: float | None
    """median of one launch; None where it is left out"""
    problem: str = ""
    """why it is left out"""


class Tuning(NamedTuple):
    """What became of a call: a kernel with certain sizes."""

    key: tunings_file.Key
    name: str
    """for people: "forward", "forward without gradients" or "backward" """
    timings: tuple[Timing, ...]
    """in the order in which they were tried, the usual one first"""

    @property
    def winner(self) -> Tiling:
        """The fastest; the first of those that are as fast.

        >>> timings = (Timing(USUAL, 2.0), Timing(SHORT_LIST[1], 1.5), Timing(SHORT_LIST[2], None, "wrong"))
        >>> Tuning(tunings_file.Key("", "", "", "ntm", "forward", "float32", 8, ""), "forward", timings).winner.warps
        16
        """
        return min((one for one in self.timings if one.milliseconds is not None), key=lambda one: one[1] or 0.0).tiling


class Recorder(TorchDispatchMode):
    """Keeps the arguments of every call of a machine's op."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Launches, str, tuple[Any, ...]]] = []
        machines = (ntm.fused.cuda.LAUNCHES, mann.fused.cuda.LAUNCHES)
        self._ops = {getattr(one.op, way): (one, way) for one in machines for way in ("forward", "backward")}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in self._ops:
            self.calls.append((*self._ops[function], args))
        return function(*args, **(kwargs or {}))


def event_clock(run: Callable[[], None]) -> float:
    """A clock that takes events of the current CUDA device."""
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    stop.record()
    stop.synchronize()
    return start.elapsed_time(stop)


def tune_call(
    launches: Launches,
    way: str,
    arguments: Sequence[Any],
    *,
    tilings: Sequence[Tiling] = SHORT_LIST,
    clock: Clock = event_clock,
    rounds: int = ROUNDS,
) -> Tuning:
    """Time tilings of one call; nothing is remembered.

    Args:
        launches: of the machine
        way: "forward" or "backward"
        arguments: of that op
        tilings: to try; the usual one is always tried, first
        clock: tells the milliseconds of a launch
        rounds: how often each is timed

    Raises:
        Exception: what the usual tiling raises; that of others is their problem in what is returned.
    """
    given = dict(zip(_kind(launches, way)._fields, arguments, strict=True))
    with torch.no_grad(), as_they_are(given["input"]):
        launch = launches.prepare(way, arguments)
        poison = torch.nan if given["lengths"] is None else 0.0  # past a row's length nothing is written
        expected = [tensor.clone() for tensor in _made(launch, USUAL, poison)]
        bounds = [FACTOR * float(torch.finfo(one.dtype).eps) * _largest(one) for one in expected]
        for seed in range(DRAWS):
            moved = launches.prepare(way, _moved(given, seed))
            changes = map(_difference, _made(moved, USUAL, poison), expected)
            # What overflows in one draw and not in another allows nothing.
            allowed = [FACTOR * change if math.isfinite(change) else 0.0 for change in changes]
            bounds = list(map(max, bounds, allowed))
            del moved  # it may be large
        problems: dict[Tiling, str] = {}
        for tiling in dict.fromkeys((USUAL, *tilings)):
            problems[tiling] = _problem(launch, tiling, poison, expected, bounds)
        times: dict[Tiling, list[float]] = {tiling: [] for tiling, problem in problems.items() if not problem}
        for _ in range(WARM_UP):
            for tiling in times:
                launch.run(tiling)
        for _ in range(rounds):
            for tiling, found in times.items():
                found.append(clock(lambda tiling=tiling: launch.run(tiling)))  # type: ignore[misc]
    timings = (
        Timing(tiling, statistics.median(times[tiling]) if tiling in times else None, problem)
        for tiling, problem in problems.items()
    )
    name = way if way == "backward" or given["save"] else "forward without gradients"
    return Tuning(launch.key, name, tuple(timings))


def key_of_call(launches: Launches, way: str, arguments: Sequence[Any]) -> tunings_file.Key:
    """What a tuning of a call holds for."""
    given = _kind(launches, way)._make(arguments)
    with torch.no_grad(), as_they_are(given.input):
        return launches.prepare(way, arguments).key


def _kind(launches: Launches, way: str) -> Any:
    return launches.op.arguments if way == "forward" else launches.op.backward_arguments


def _made(launch: Launch, tiling: Tiling, poison: float) -> Sequence[Tensor]:
    """What a launch makes, all of it anew."""
    for tensor in launch.made:
        tensor.fill_(poison)
    launch.run(tiling)
    if launch.made[0].is_cuda:
        torch.cuda.synchronize(launch.made[0].device)  # what goes wrong there shows itself here
    return launch.made


def _moved(given: dict[str, Any], seed: int) -> list[Any]:
    """The arguments, every number moved by at most half a unit in its last place."""
    found = []
    for name, value in given.items():
        if isinstance(value, Tensor) and value.is_floating_point() and name not in NOT_MOVED:
            generator = torch.Generator(value.device).manual_seed(seed)
            draw = torch.rand(value.shape, generator=generator, dtype=value.dtype, device=value.device)
            value = value * (1 + torch.finfo(value.dtype).eps / 2 * (2 * draw - 1))
        found.append(value)
    return found


def _problem(launch: Launch, tiling: Tiling, poison: float, expected: Sequence[Tensor], bounds: Sequence[float]) -> str:
    """Why a tiling cannot be taken; empty where it can."""
    try:
        made = _made(launch, tiling, poison)
    except Exception as error:  # Triton's own have no common class, and neither have those of the driver
        if tiling == USUAL:
            raise
        lines = str(error).strip().splitlines()
        return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    for tensor, exact, bound in zip(made, expected, bounds, strict=True):
        difference = _difference(tensor, exact)
        if not difference <= bound:
            return f"its results differ from the usual one's by {difference:.2g}, where roundings allow {bound:.2g}"
    return ""


def _largest(tensor: Tensor) -> float:
    finite = tensor.nan_to_num(0.0, 0.0, 0.0)
    return float(finite.abs().max()) if tensor.numel() else 0.0


def _difference(one: Tensor, other: Tensor) -> float:
    """The largest; numbers that are NaN, or infinite, in both are alike, and in one alone infinitely far apart."""
    if not one.numel():
        return 0.0
    same = (one == other) | (one.isnan() & other.isnan())
    return float((one - other).abs().nan_to_num(nan=torch.inf).masked_fill(same, 0.0).max())
