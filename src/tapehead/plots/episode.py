"""An episode of Omniglot: every drawing in its order, what it was called, what it is, and what the memory did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from tapehead.plots.internals import check_trace, draw_slots, used_slots
from tapehead.plots.style import COLOURS, QUIET, new_figure, styled
from tapehead.traces import MANNTrace, Trace

__all__ = ["draw_episode"]

COLUMNS = 10
RIGHT, WRONG = COLOURS[2], COLOURS[1]


@styled
def draw_episode(
    drawings: Tensor,
    labels: Sequence[str],
    answers: Sequence[str],
    instances: Tensor,
    *,
    trace: Trace | MANNTrace | None = None,
    row: int = 0,
    title: str | None = None,
) -> Figure:
    """The drawings of one episode in rows, framed by whether the answer was right.

    Under each stands the answer, and where it is wrong what it should have been; in its corner, which drawing of
    its class it is, counted from 1. With a trace, above each stand the slots that were written and read most while it
    was shown, and two panels below have the weights of all heads, summed.

    Args:
        drawings: ink is 1
        labels: of each
        answers: to each
        instances: of each, which drawing of its class it is, counted from 1
        trace: of the run, batched, every tensor (T, B, ...); None for a model without a memory
        row: which row of the trace
        title: of the picture

    Shape:
        drawings: (T, height, width)
        instances: (T,)

    Raises:
        ValueError: there is no drawing; not as many labels, answers, instances or steps of the trace as drawings, or no
            such row in it; or a number of the trace is infinite or NaN.

    >>> import torch
    >>> drawings, instances = torch.rand(3, 20, 20), torch.tensor([1, 1, 2])
    >>> figure = draw_episode(drawings, labels=["a", "b", "a"], answers=["b", "b", "a"], instances=instances)
    >>> figure.get_supxlabel().splitlines()[-1]
    'Wrong: 1 of 3, 1 at first sight.'
    """
    steps = len(drawings)
    if not steps:
        raise ValueError("draw_episode: expected one drawing or more, got none.")
    if not steps == len(labels) == len(answers) == len(instances):
        raise ValueError(
            f"draw_episode: expected as many labels, answers and instances as drawings, got {steps} drawings, "
            f"{len(labels)}, {len(answers)} and {len(instances)}."
        )
    if trace is not None and len(trace.memory) != steps:
        raise ValueError(
            f"draw_episode: expected a trace of {steps} steps, one for each drawing, got {len(trace.memory)}."
        )
    if trace is not None and not 0 <= row < trace.memory.shape[1]:
        raise ValueError(f"draw_episode: expected row in 0..{trace.memory.shape[1] - 1}, got {row}.")
    if trace is not None:
        check_trace("draw_episode", trace)
    images = drawings.detach().double().cpu().numpy()
    rows = -(-steps // COLUMNS)
    weights = None if trace is None else _summed(trace, row)
    heights = [0.95] * rows if weights is None else [0.82] * rows + [1.0, 1.0]
    figure = new_figure(sum(heights) + (0.75 if weights is None else 2.0), title)
    grid = figure.add_gridspec(len(heights), COLUMNS, height_ratios=heights)
    for step in range(rows * COLUMNS):
        axes = figure.add_subplot(grid[divmod(step, COLUMNS)])
        axes.set(xticks=[], yticks=[])
        if step >= steps:
            axes.axis("off")
            continue
        right = labels[step] == answers[step]
        axes.imshow(images[step], cmap="gray_r", vmin=0, vmax=1)
        axes.spines[:].set(visible=True, color=RIGHT if right else WRONG, linewidth=1.6 if right else 2.4)
        axes.text(0.03, 0.97, str(int(instances[step])), transform=axes.transAxes, va="top", fontsize=6.5, color=QUIET)
        if weights is not None:
            written, read = (int(values[step].argmax()) for values in weights)
            axes.set_title(f"w {written}  r {read}", loc="center", fontsize=6, fontweight="normal", color=QUIET, pad=2)
        answer = answers[step] if right else f"{answers[step]}, is {labels[step]}"
        axes.set_xlabel(answer, labelpad=2, fontsize=8 if len(answer) < 9 else 6, color=RIGHT if right else WRONG)
    wrong = sum(label != answer for label, answer in zip(labels, answers, strict=True))
    first = sum(
        label != answer and int(instance) == 1
        for label, answer, instance in zip(labels, answers, instances, strict=True)
    )
    told = "Under a drawing the answer, in its corner which drawing of its class it is"
    if weights is not None:
        told += ", above it the slots most written, w, and read, r"
        slots = used_slots(np.stack(weights))
        titles = ("Where it wrote: weights of all heads, summed", "Where it read")
        for place, values, name in zip((-2, -1), weights, titles, strict=True):
            axes = figure.add_subplot(grid[place, :])
            image = draw_slots(figure, axes, values, slots, float(values.max()) or 1.0, "weight")
            image.set_extent((0.5, steps + 0.5, slots.length - 0.5, -0.5))  # drawings are counted from 1
            axes.set_title(name)
        axes.set_xlabel("drawing")
    figure.supxlabel(f"{told}.\nWrong: {wrong} of {steps}, {first} at first sight.", fontsize=8)
    return figure


def _summed(trace: Trace | MANNTrace, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights written and read with, summed over the heads: (T, N) each."""
    written, read = (part.weights[:, row].sum(1).detach().double().cpu().numpy() for part in (trace.write, trace.read))
    return written, read
