"""Who runs against whom on a GPU: a forward and backward of one model, by every way there is to compute it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.clock import milliseconds
from benchmarks.machines import MACHINES, Point
from tapehead import SequenceModel
from tapehead.training.together.stack import Stack

__all__ = ["ROUNDS", "captured", "contestants", "how_many", "race", "tried_once"]

MOST_BYTES = 30e9
"""Bytes that the reference may keep for its backward; it is left out where it would take more."""
MEMORIES = 12
"""Of a step, that it keeps or makes meanwhile, for each head that writes with an erase of its own."""
TOGETHER = 10
ROUNDS = 3


def passes(run: Callable[[Tensor], Any], model: nn.Module, input: Tensor) -> Callable[[], None]:
    """A forward and backward."""

    def both() -> None:
        for parameter in model.parameters():
            parameter.grad = None
        run(input)[0].square().mean().backward()

    return both


def together(models: Sequence[SequenceModel], input: Tensor) -> Callable[[], None]:
    """A forward and backward of several models in one call."""
    stack, members = Stack(models), list(range(len(models)))
    inputs = input.expand(len(models), *input.shape).contiguous()

    def both() -> None:
        stack.zero_grad()
        losses = stack.map(lambda answer, own: answer(own).square().mean(), members, inputs)
        losses.sum().backward()

    return both


def captured(both: Callable[[], None]) -> Callable[[], None]:
    """The same work in a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            both()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        both()
    return graph.replay


def freshly_compiled(model: SequenceModel) -> Callable[[Tensor], Any]:
    """Compiled for its sizes alone: after eight of them the compiler would go on without compiling, or for any size."""
    torch.compiler.reset()
    return torch.compile(model)


def has_room(point: Point) -> bool:
    """Whether the reference keeps no more than it may."""
    writers = MACHINES[point.machine].options.get("num_write_heads", 1)
    return point.rows * point.steps * point.slots * point.word * 4 * MEMORIES * writers < MOST_BYTES


def contestants(point: Point, device: torch.device, *, compiled: bool) -> dict[str, Callable[[], None]]:
    """By name; what cannot run is left out, and said."""
    torch.manual_seed(0)
    input, fused = point.input(device), point.model("fused", device)
    makers: dict[str, Callable[[], Callable[[], None]]] = {
        "fused": lambda: passes(fused, fused, input),
        "ten models": lambda: together([point.model("fused", device) for _ in range(TOGETHER)], input),
    }
    if device.type == "cuda":
        makers["fused, graph"] = lambda: captured(passes(fused, fused, input))
    if has_room(point):
        reference = point.model("reference", device)
        makers["reference"] = lambda: passes(reference, reference, input)
        if device.type == "cuda":
            makers["reference, graph"] = lambda: captured(passes(reference, reference, input))
        if compiled:
            makers["compiled"] = lambda: passes(freshly_compiled(reference), reference, input)
    lstm = point.lstm(device)
    makers["lstm"] = lambda: passes(lstm, lstm, input)
    tried = {name: tried_once(f"{point}: {name}", make) for name, make in makers.items()}
    return {name: function for name, function in tried.items() if function is not None}


def how_many(point: Point, device: torch.device, *, compiled: bool) -> int:
    """How many contestants there are, if all can run."""
    graphs = device.type == "cuda"
    return 3 + graphs + has_room(point) * (1 + graphs + compiled)


def tried_once(name: str, make: Callable[[], Callable[[], None]]) -> Callable[[], None] | None:
    """What is made, called once; None, and why is said, where it cannot run: out of memory, or not in a graph."""
    try:
        made = make()
        made()
    except Exception as error:  # those of Triton and of torch's compiler have nothing else in common
        print(f"{name} is left out: {(str(error) or type(error).__name__).splitlines()[0]}", flush=True)
        return None
    return made


def race(running: dict[str, Callable[[], None]], device: torch.device, seconds: float) -> dict[str, float]:
    """Medians, of several rounds in turn."""
    times: dict[str, list[float]] = {name: [] for name in running}
    for function in running.values():
        for _ in range(3):
            function()
    for _ in range(ROUNDS):
        for name, function in running.items():
            times[name] += milliseconds(function, seconds, device=device)
    return {name: statistics.median(found) for name, found in times.items()}
