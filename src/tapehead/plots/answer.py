"""What a model was shown, what it should have answered, and what it did: figures 3 and 8 of the NTM paper."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from torch import Tensor

from tapehead.plots.style import ERROR, INK, SIGNED, UNSIGNED, colour_bar, heat_map, mark_answer, stack, styled

__all__ = ["draw_answer", "name_channels"]

ROW = 0.13
"""Height of a channel in inches: just enough for a line of 8 point letters."""

MOST_NUMBERS = 6
"""How many values other than 0 and 1 are written beside their cells."""


@styled
def draw_answer(
    input: Tensor,
    target: Tensor,
    output: Tensor,
    mask: Tensor,
    *,
    input_names: Sequence[str] = (),
    target_names: Sequence[str] = (),
    right: Tensor | None = None,
    title: str | None = None,
) -> Figure:
    """Input, target, output and error of one sequence, a row for each channel, time from left to right.

    Steps that do not count are pale. The error is `|output - target|`; a cross marks a bit on the wrong side of 0.5, or
    where it is known which answers are right the largest error of a wrong one.

    Args:
        input: what was shown
        target: 0 or 1
        output: probabilities in 0..1
        mask: the steps that count
        input_names: of the input channels
        target_names: of the target channels
        right: whether the answer of each step is right, where answers count; None where bits do
        title: of the picture

    Shape:
        input: (T, D)
        target, output: (T, O)
        mask: (T,), bool, some of it true
        right: (T,), bool

    Raises:
        ValueError: the shapes do not go together, or no step counts.

    >>> import torch
    >>> input, target, mask = torch.zeros(4, 3), torch.tensor([[0.0], [0.0], [1.0], [0.0]]), torch.arange(4) > 1
    >>> figure = draw_answer(input, target, output=torch.full((4, 1), 0.2), mask=mask)
    >>> figure.axes[4].get_title(loc="left")
    'Error: 1 of 2 bits is wrong (cross)'
    """
    shown, wanted, said = (part.detach().double().cpu().numpy().T for part in (input, target, output))
    counts = mask.bool().cpu().numpy()
    steps = counts.shape[0]
    if not (wanted.shape == said.shape and shown.shape[1] == wanted.shape[1] == steps):
        raise ValueError(
            f"draw_answer: expected input (T, D), target and output (T, O) and mask (T,), got {tuple(input.shape)}, "
            f"{tuple(target.shape)}, {tuple(output.shape)} and {tuple(mask.shape)}."
        )
    if not counts.any():
        raise ValueError("draw_answer: expected a mask with a step that counts, got none.")
    wanted, said = np.where(counts, wanted, np.nan), np.where(counts, said, np.nan)
    error = abs(said - wanted)
    wrong = counts & ((said > 0.5) != (wanted > 0.5))
    if right is not None:
        largest = np.arange(len(wanted))[:, None] == np.nan_to_num(error).argmax(0)
        wrong = counts & ~right.bool().cpu().numpy() & largest

    heights = [max(0.3, ROW * rows) for rows in (len(shown), len(wanted), len(wanted), len(wanted))]
    figure, (strip, *panels) = stack(heights, title)
    signed = shown.min() < 0
    for axes, values, names in zip(
        panels, (shown, wanted, said), (input_names, target_names, target_names), strict=False
    ):
        colours, low = (SIGNED, -1) if signed and axes is panels[0] else (UNSIGNED, 0)
        image = heat_map(axes, values, colours=colours, low=low, high=1, separate=True)
        name_channels(axes, values.shape[0], names)
        if signed and axes is panels[0]:
            colour_bar(figure, image, panels[:1], "input")
    colour_bar(figure, image, panels[1:3] if signed else panels[:3], "bit, or probability of a 1", aspect=25)
    _write_numbers(panels[0], shown)
    errors = heat_map(panels[3], error, colours=ERROR, low=0, high=1, separate=True)
    name_channels(panels[3], wanted.shape[0], target_names)
    colour_bar(figure, errors, panels[3:], "error", ticks=4 if len(wanted) > 3 else 1)
    rows, columns = np.nonzero(wrong)
    panels[3].scatter(columns, rows, s=min(16, (400 / steps) ** 2), marker="x", color="black", linewidth=0.9)

    total = int(counts.sum()) * (wanted.shape[0] if right is None else 1)
    what = ("bit" if right is None else "answer") + ("s" if total != 1 else "")
    panels[0].set_title("Input")
    panels[1].set_title("Target")
    panels[2].set_title("Output")
    if len(rows):
        verb = "is wrong (cross)" if len(rows) == 1 else "are wrong (crosses)"
        summary = f"{len(rows):,} of {total:,} {what} {verb}"
    else:
        summary = f"none of {total:,} {what} is wrong; the largest error is {np.nanmax(error):.2g}"
    panels[3].set_title(f"Error: {summary}")
    mark_answer([strip, *panels], int(counts.argmax()), steps)
    return figure


def name_channels(axes: Axes, rows: int, names: Sequence[str]) -> None:
    """Label the rows: of a numbered series, such as bit 0 to bit 7, the first and the last."""
    if len(names) != rows:
        axes.set_ylabel("channel")
        return
    series = [re.sub(r"\s*\d+$", "", name) for name in names]
    inner = [
        0 < row < rows - 1 and series[row - 1] == series[row] == series[row + 1] != names[row] for row in range(rows)
    ]
    axes.set_yticks(
        [row for row in range(rows) if not inner[row]], [names[row] for row in range(rows) if not inner[row]]
    )


def _write_numbers(axes: Axes, values: np.ndarray) -> None:
    """Write values other than 0 and 1 beside their cells, where they are few."""
    rows, columns = np.nonzero((values != 0) & (values != 1))
    if len(rows) > MOST_NUMBERS:
        return
    for row, column in zip(rows, columns, strict=True):
        left = column > values.shape[1] / 2
        axes.annotate(
            f"{values[row, column]:.2f}",
            (column + (-0.5 if left else 0.5), row),
            xytext=(-3 if left else 3, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center_baseline",
            fontsize=8,
            color="white",
            path_effects=[withStroke(linewidth=2.5, foreground=INK)],
        )
