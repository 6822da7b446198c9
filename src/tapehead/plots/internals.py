"""Inside the memory while a sequence runs: after figures 6 and 9 of the NTM paper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from tapehead.plots.style import SIGNED, UNSIGNED, colour_bar, heat_map, mark_answer, stack, styled
from tapehead.traces import MANNTrace, Trace

__all__ = ["Slots", "check_trace", "draw_internals", "draw_slots", "used_slots"]


class Slots(NamedTuple):
    """A stretch of the memory, which is a circle: slots first, first + 1, ..., modulo the memory's size."""

    first: int
    length: int
    memory_size: int

    def take(self, values: np.ndarray) -> np.ndarray:
        """These slots of (..., N), in order."""
        return np.take(values, np.arange(self.first, self.first + self.length), axis=-1, mode="wrap")

    def ticks(self, most: int = 6) -> dict[int, int]:
        """Where round slot numbers are: position in the stretch -> slot.

        >>> Slots(first=85, length=46, memory_size=128).ticks()
        {5: 90, 15: 100, 25: 110, 35: 120, 43: 0}
        """
        steps = (factor * 10**power for power in range(9) for factor in (1, 2, 5))
        step = next(step for step in steps if self.length <= step * most)
        found: dict[int, int] = {}
        for position in range(self.length):
            slot = (self.first + position) % self.memory_size
            if slot % step == 0:
                # Where the circle closes, the last one before slot 0 may be too near to it.
                found = {other: number for other, number in found.items() if position - other >= self.length / 12}
                found[position] = slot
        return found or {0: self.first}

    def describe(self) -> str:
        """The stretch in words, for the label of an axis."""
        if self.length == self.memory_size:
            return f"slot\n(all {self.memory_size})"
        last = (self.first + self.length - 1) % self.memory_size
        return f"slot of {self.memory_size}\n({self.first} to {last})"


def used_slots(weights: np.ndarray, *, least: float = 0.05, margin: int = 2, fewest: int = 8) -> Slots:
    """The shortest stretch of the circle that holds every slot a head ever gives a weight of at least `least`.

    Args:
        weights: (..., N), those of all heads at all steps
        least: weight that makes a slot used
        margin: slots to add on both sides
        fewest: slots to show at the least

    >>> weights = np.zeros((1, 64))
    >>> weights[0, [60, 63, 1]] = 0.5
    >>> used_slots(weights, margin=0, fewest=1)
    Slots(first=60, length=6, memory_size=64)
    """
    size = weights.shape[-1]
    peaks = weights.reshape(-1, size).max(axis=0)
    used = np.flatnonzero(peaks >= min(least, peaks.max()))
    gaps = np.diff(used, append=used[0] + size)
    widest = int(gaps.argmax())
    first, count = int(used[(widest + 1) % len(used)]), size - int(gaps[widest]) + 1
    margin = max(margin, -(-(fewest - count) // 2))
    if count + 2 * margin >= size:
        return Slots(0, size, size)
    return Slots((first - margin) % size, count + 2 * margin, size)


@styled
def draw_internals(trace: Trace | MANNTrace, answer_start: int, *, row: int = 0, title: str | None = None) -> Figure:
    """Adds, write weights, memory, read weights and reads over time, a panel for each head.

    The memory's panel shows how much each slot holds: its norm after every step's write. The slots no head looks at
    are left out.

    Args:
        trace: of a run, batched and not `batch_first`: every tensor (T, B, ...)
        answer_start: the first step of the answer
        row: which row of the batch
        title: of the picture

    Raises:
        ValueError: the row, or the step, is not in the trace, or a number of it is infinite or NaN.

    >>> import torch, tapehead
    >>> output, state, trace = tapehead.NTM(9, 16, memory_size=32).trace(torch.randn(11, 2, 9))
    >>> figure = draw_internals(trace, answer_start=6, row=1)
    >>> [axes.get_title(loc="left").partition(":")[0] for axes in figure.axes[1:6]]
    ['Adds', 'Write weights', 'Memory', 'Read weights', 'Reads']
    """
    check_trace("draw_internals", trace)
    steps, batch_size = trace.memory.shape[:2]
    if not (0 <= row < batch_size and 0 <= answer_start < steps):
        raise ValueError(
            f"draw_internals: expected row in 0..{batch_size - 1} and answer_start in 0..{steps - 1}, got {row} and "
            f"{answer_start}."
        )
    write_weights, read_weights = _heads(trace.write.weights, row), _heads(trace.read.weights, row)
    adds, reads = _heads(trace.add, row), _heads(trace.reads, row)
    norms = np.linalg.norm(trace.memory[:, row].detach().double().cpu().numpy(), axis=-1)
    slots = used_slots(np.concatenate([write_weights, read_weights]))

    word, tall = _height(adds.shape[-1]), _height(slots.length)
    writers, readers = len(adds), len(reads)
    figure, (strip, *panels) = stack([word] * writers + [tall] * (writers + 1 + readers) + [word] * readers, title)
    mark_answer([strip, *panels], answer_start, steps)
    following = iter(panels)
    _draw_words(figure, following, adds, "Adds", "written to the slots pointed at", "add")
    _draw_weights(figure, following, write_weights, slots, "Write weights", "where the write head points")
    axes = next(following)
    draw_slots(figure, axes, norms, slots, float(norms.max()) or 1.0, "norm")
    axes.set_title("Memory: how much each slot holds (the norm of its word)")
    _draw_weights(figure, following, read_weights, slots, "Read weights", "where the read head points")
    _draw_words(figure, following, reads, "Reads", "what the read head brings back", "read")
    return figure


def check_trace(owner: str, trace: Trace | MANNTrace) -> None:
    """Raise unless a trace has a step, and finite numbers in all that a picture shows of it."""
    if not len(trace.memory):
        raise ValueError(f"{owner}: expected a trace of one step or more, got none.")
    shown = {"add": trace.add, "write.weights": trace.write.weights, "memory": trace.memory}
    shown |= {"read.weights": trace.read.weights, "reads": trace.reads}
    for name, tensor in shown.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{owner}: expected a trace of finite numbers, got inf or NaN in {name}.")


def _heads(values: Tensor, row: int) -> np.ndarray:
    """(T, B, heads, K) -> (heads, T, K) of one row."""
    return values[:, row].detach().double().cpu().numpy().transpose(1, 0, 2)


def _height(rows: int) -> float:
    """Inches for a panel of so many rows."""
    return min(max(0.05 * rows, 0.85), 1.3 + 0.003 * rows, 2.0)


def _title(name: str, head: int, heads: int, what: str) -> str:
    return f"{name}: {what}" if heads == 1 else f"{name}, head {head + 1} of {heads}: {what}"


def _draw_words(figure: Figure, panels: Iterator[Axes], values: np.ndarray, name: str, what: str, label: str) -> None:
    """Vectors as wide as a slot, (heads, T, M): a panel for each head, all in one scale."""
    limit = float(np.abs(values).max()) or 1.0
    for head, vectors in enumerate(values):
        axes = next(panels)
        image = heat_map(axes, vectors.T, colours=SIGNED, low=-limit, high=limit)
        axes.set_title(_title(name, head, len(values), what))
        axes.set_ylabel("element")
        colour_bar(figure, image, [axes], label)


def _draw_weights(
    figure: Figure, panels: Iterator[Axes], values: np.ndarray, slots: Slots, name: str, what: str
) -> None:
    """Weights over the slots, (heads, T, N): a panel for each head."""
    for head, weights in enumerate(values):
        axes = next(panels)
        draw_slots(figure, axes, weights, slots, 1.0, "weight")
        axes.set_title(_title(name, head, len(values), what))


def draw_slots(figure: Figure, axes: Axes, values: np.ndarray, slots: Slots, high: float, label: str) -> AxesImage:
    """A number for each slot, (T, N), of which only `slots` are shown, under their own numbers."""
    image = heat_map(axes, slots.take(values).T, colours=UNSIGNED, low=0, high=high)
    ticks = slots.ticks()
    axes.set_yticks(list(ticks), [str(slot) for slot in ticks.values()])
    axes.set_ylabel(slots.describe())
    colour_bar(figure, image, [axes], label)
    return image
