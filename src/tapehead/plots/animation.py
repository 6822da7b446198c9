"""A memory at work: one sequence step by step, as an animated GIF."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from tapehead.plots.answer import name_channels
from tapehead.plots.internals import Slots, check_trace, used_slots
from tapehead.plots.stage import Stage
from tapehead.plots.style import COLOURS, WIDTH, mark_answer, styled
from tapehead.traces import MANNTrace, Trace

__all__ = ["animate_memory", "steps_to_show"]

FRAME, LAST_FRAME = 200, 1500
"""Milliseconds."""

NOW = COLOURS[1]
"""Marks the present step."""

ARROW = "\N{RIGHTWARDS ARROW}"

# Inches.
TOP = 0.8
"""of the memory: above it are the title and the names of the columns"""
TIME_LEFT, TIME_RIGHT = 1.0, 0.15
"""margins of the panels over time"""
INPUT, OUTPUT = TIME_LEFT, WIDTH - 1.44
"""of their columns"""
HEADS_LEFT, HEADS_RIGHT = 2.05, 2.05
"""margins of heads and memory: at their left is the input, at their right the output"""
HEAD, ALL_HEADS, VECTOR = 0.2, 2.0, 0.25
"""widths of a head's column, of all of them at the most, and of a vector's column"""
GAP = 0.07
"""between heads and memory, and between panels over time"""
CELL, TIME_CELL = 0.2, 0.07
"""heights of a channel at one step, and over time"""


def steps_to_show(steps: int, most_frames: int) -> list[int]:
    """The steps that have a frame: all of them, or every second, every third and so on, the last one always.

    >>> steps_to_show(5, 10), steps_to_show(10, 4)
    ([0, 1, 2, 3, 4], [0, 3, 6, 9])
    """
    stride = -(-steps // most_frames)
    return list(range((steps - 1) % stride, steps, stride))


@styled
def animate_memory(
    trace: Trace | MANNTrace,
    input: Tensor,
    target: Tensor,
    output: Tensor,
    mask: Tensor,
    *,
    drawings: Tensor | None = None,
    captions: Sequence[str] = (),
    input_names: Sequence[str] = (),
    target_names: Sequence[str] = (),
    row: int = 0,
    title: str | None = None,
    most_frames: int = 120,
) -> bytes:
    """What goes in, where the heads write, what the memory holds, where they read and what comes out, step by step.

    From left to right a frame has the step's input, a column for each write head with its weight of every slot, the
    memory after the step's write with a row for each slot, a column for each read head, and the step's output and
    target. The slots no head looks at are left out. The scale of the memory ends where 1 in 100 of its numbers, leaving
    out those near zero, are larger. Below, input, output and target grow over time. A frame stands for 0.2 seconds, the
    last one for 1.5, and then it begins again.

    Args:
        trace: of a run, batched and not `batch_first`: every tensor (T, B, ...)
        input: what was shown; with drawings, the label that was told beside them
        target: 0 or 1
        output: probabilities in 0..1
        mask: the steps that count
        drawings: where a step shows one: ink is 1
        captions: of each drawing; or none
        input_names: of the input channels
        target_names: of the target channels
        row: which row of the trace
        title: of the picture
        most_frames: of a sequence with more steps, every second has a frame, or every third and so on

    Shape:
        input: (T, D)
        target, output: (T, O)
        mask: (T,), bool, some of it true
        drawings: (T, height, width)

    Returns:
        the bytes of a GIF file, 828 pixels wide

    Raises:
        ValueError: the shapes do not go together, no step counts, there is no such row in the trace or no frame, or a
            number of the trace is infinite or NaN.

    >>> import torch, tapehead
    >>> input, target, mask = torch.rand(5, 3), torch.zeros(5, 2), torch.arange(5) > 2
    >>> output, state, trace = tapehead.NTM(3, 16, memory_size=32).trace(input.unsqueeze(1))
    >>> animate_memory(trace, input, target, torch.rand(5, 2), mask)[:6]
    b'GIF89a'
    """
    check_trace("animate_memory", trace)
    _check_row(trace, row, most_frames)
    _check_shapes(trace, input, target, output, mask, drawings, captions)
    counts = mask.bool().cpu().numpy()
    shown, wanted, said = (_numpy(part).T for part in (input, target, output))
    wanted, said = np.where(counts, wanted, np.nan), np.where(counts, said, np.nan)
    over_time = {"Input" if drawings is None else "Label told": shown, "Output": said, "Target": wanted}

    write, read = (_numpy(part.weights[:, row]).swapaxes(0, 1) for part in (trace.write, trace.read))
    slots = used_slots(np.concatenate([write, read]))
    tall = min(max(0.06 * slots.length, 1.9), 3.0)
    heights = [min(max(0.18, TIME_CELL * len(values)), 1.5) for values in over_time.values()]
    strip = TOP + tall + 0.65
    stage = Stage(strip + 0.17 + sum(heights) + GAP * len(heights) + 0.45)
    _add_title(stage, title)
    _add_memory(
        stage, slots.take(write), slots.take(_numpy(trace.memory[:, row]).swapaxes(1, 2)), slots.take(read), slots, tall
    )
    if drawings is None:
        axes = _add_vector(stage, INPUT, tall, "Input", shown, input_names)
        if _low(shown) < 0:
            stage.scale(axes, INPUT - 0.5, TOP + tall + 0.08, 0.75, "input")
    else:
        _add_drawing(stage, _numpy(drawings), captions)
    axes = _add_vector(stage, OUTPUT, tall, "Output", said)
    _add_vector(stage, OUTPUT + 0.58, tall, "Target", wanted, target_names)
    stage.scale(axes, OUTPUT, TOP + tall + 0.08, 0.83, "bit, probability, weight")
    _add_time(stage, strip, heights, over_time, int(counts.argmax()))
    steps = steps_to_show(len(counts), most_frames)
    return stage.gif(steps, [FRAME] * (len(steps) - 1) + [LAST_FRAME])


def _check_row(trace: Trace | MANNTrace, row: int, most_frames: int) -> None:
    rows = trace.memory.shape[1]
    if not 0 <= row < rows:
        raise ValueError(f"animate_memory: expected row in 0..{rows - 1}, got {row}.")
    if most_frames < 1:
        raise ValueError(f"animate_memory: expected most_frames >= 1, got {most_frames}.")


def _check_shapes(
    trace: Trace | MANNTrace,
    input: Tensor,
    target: Tensor,
    output: Tensor,
    mask: Tensor,
    drawings: Tensor | None,
    captions: Sequence[str],
) -> None:
    steps = len(trace.memory)
    fits = input.dim() == target.dim() == 2 and target.shape == output.shape and mask.dim() == 1
    if not (fits and steps == len(input) == len(target) == len(mask)):
        raise ValueError(
            f"animate_memory: expected input (T, D), target and output (T, O) and mask (T,) with T = {steps}, "
            f"the steps of the trace, got {tuple(input.shape)}, {tuple(target.shape)}, {tuple(output.shape)} and "
            f"{tuple(mask.shape)}."
        )
    if not mask.any():
        raise ValueError("animate_memory: expected a mask with a step that counts, got none.")
    if drawings is not None and (drawings.dim() != 3 or len(drawings) != steps):
        raise ValueError(
            f"animate_memory: expected drawings ({steps}, height, width), one for each step, got "
            f"{tuple(drawings.shape)}."
        )
    if captions and (drawings is None or len(captions) != steps):
        raise ValueError(
            f"animate_memory: expected {steps} captions of as many drawings, or none, got {len(captions)} of "
            f"{0 if drawings is None else steps}."
        )


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().double().cpu().numpy()


def _add_title(stage: Stage, title: str | None) -> None:
    if title:
        stage.write(0.1, 0.22, title, align="left", weight="bold")
    clock = stage.write(WIDTH - TIME_RIGHT, 0.22, "", align="right")
    stage.move(clock, lambda step: clock.set_text(f"step {step}"))


def _add_memory(
    stage: Stage, write: np.ndarray, memory: np.ndarray, read: np.ndarray, slots: Slots, tall: float
) -> None:
    """The memory, (T, M, slots), between the columns of the heads, (heads, T, slots)."""
    head = min(HEAD, ALL_HEADS / (len(write) + len(read)))
    left = HEADS_LEFT + head * len(write) + GAP
    right = WIDTH - HEADS_RIGHT - head * len(read) - GAP
    first = _add_heads(stage, HEADS_LEFT, (head, tall), "Write", write)
    _add_heads(stage, right + GAP, (head, tall), "Read", read)
    ticks = slots.ticks()
    first.set_yticks(list(ticks), [str(slot) for slot in ticks.values()])
    first.set_ylabel(slots.describe())
    axes = stage.place(left, TOP, right - left, tall)
    sizes = np.abs(memory)
    most = sizes.max()
    limit = float(np.quantile(sizes[sizes >= most / 100], 0.99)) or 1.0  # a few large numbers would leave the rest pale
    stage.heat(axes, lambda step: memory[step].T, -limit, limit)
    middle = (left + right) / 2
    stage.write(middle, TOP - 0.07, "Memory", weight="bold")
    centres = (
        INPUT + VECTOR / 2,
        (HEADS_LEFT + left) / 2,
        middle,
        (right + WIDTH - HEADS_RIGHT) / 2,
        OUTPUT + VECTOR / 2,
    )
    for before, after in itertools.pairwise(centres):
        stage.write((before + after) / 2, TOP - 0.07, ARROW)
    stage.scale(axes, middle - 0.6, TOP + tall + 0.08, 1.2, f"{memory.shape[1]} numbers in each slot", extend="both")


def _add_heads(stage: Stage, left: float, size: tuple[float, float], name: str, weights: np.ndarray) -> Axes:
    """Columns of the write heads or of the read heads, numbered if there are several; returns the first."""
    width, tall = size
    several = len(weights) > 1
    every = 1 if width >= 0.15 else 5  # of the numbers, those that fit
    bottom = TOP - (0.2 if several else 0.07)
    middle = left + width * (len(weights) - 0.15) / 2
    stage.write(middle, bottom - 0.15, name, weight="bold")
    stage.write(middle, bottom, "heads" if several else "head", weight="bold")
    columns = []
    for head, values in enumerate(weights):
        axes = stage.place(left + width * head, TOP, 0.85 * width, tall)
        stage.heat(axes, _present(values.T), 0, 1)
        if several and (head + 1) % every == 0:
            axes.set_title(str(head + 1), loc="center", fontsize=8, fontweight="normal", pad=3)
        columns.append(axes)
    return columns[0]


def _add_vector(
    stage: Stage, left: float, tall: float, name: str, values: np.ndarray, names: Sequence[str] = ()
) -> Axes:
    """The present step of a vector over time, (D, T); the value of its one channel that is more than a bit below."""
    height = min(CELL * len(values), tall - 0.25)
    axes = stage.place(left, TOP, VECTOR, height)
    separate = height > 0.05 * len(values)
    stage.heat(axes, _present(values), _low(values), 1, separate=separate)
    stage.write(left + VECTOR / 2, TOP - 0.07, name, weight="bold")
    if names:
        name_channels(axes, len(values), names)
    if name == "Target":
        axes.yaxis.tick_right()
    (numbers,) = np.nonzero(((values != 0) & (values != 1) & ~np.isnan(values)).any(axis=1))
    if len(numbers) == 1:
        said = [f"{value:.2f}" if value else "" for value in np.nan_to_num(values[numbers[0]])]
        text = stage.write(left + VECTOR / 2, TOP + height + 0.18, "")
        stage.move(text, lambda step: text.set_text(said[step]))
    return axes


def _present(values: np.ndarray) -> Callable[[int], np.ndarray]:
    """The present step of (K, T), as a column."""
    return lambda step: values[:, step : step + 1]


def _so_far(values: np.ndarray) -> Callable[[int], np.ndarray]:
    """(K, T) up to the present step, NaN after it."""
    return lambda step: np.where(np.arange(values.shape[1]) <= step, values, np.nan)


def _low(values: np.ndarray) -> int:
    """The lower end of their scale, whose upper end is 1."""
    return -1 if np.nanmin(values) < 0 else 0


def _add_drawing(stage: Stage, drawings: np.ndarray, captions: Sequence[str]) -> None:
    """The drawing that the present step shows."""
    axes = stage.place(0.15, TOP, 1.0, 1.0)
    image = axes.imshow(drawings[0], cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    axes.spines[:].set_visible(True)
    stage.move(image, lambda step: image.set_data(drawings[step]))
    for spine in axes.spines.values():
        stage.move(spine)
    stage.write(0.65, TOP - 0.07, "Input", weight="bold")
    if captions:
        text = stage.write(0.65, TOP + 1.5, "")
        stage.move(text, lambda step: text.set_text(captions[step]))


def _add_time(stage: Stage, top: float, heights: Sequence[float], vectors: dict[str, np.ndarray], start: int) -> None:
    """Vectors over time, (D, T) each, as far as the present step, and where it is."""
    steps = next(iter(vectors.values())).shape[1]
    width = WIDTH - TIME_LEFT - TIME_RIGHT
    strip = stage.place(TIME_LEFT, top, width, 0.17)
    panels = [strip]
    top += 0.17 + GAP
    for (name, values), height in zip(vectors.items(), heights, strict=True):
        panels.append(stage.place(TIME_LEFT, top, width, height))
        stage.heat(panels[-1], _so_far(values), _low(values), 1)
        stage.write(TIME_LEFT - 0.08, top + height / 2 + 0.045, name, align="right", weight="bold")
        top += height + GAP
    panels[-1].xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    panels[-1].set_xlabel("time (step)")
    mark_answer(panels, start, steps)
    (pointer,) = strip.plot(0, 1, marker="v", markersize=6, color=NOW, clip_on=False)
    stage.move(pointer, lambda step: pointer.set_xdata([step]))
    for axes in panels[1:]:
        _add_frame(stage, axes)


def _add_frame(stage: Stage, axes: Axes) -> None:
    """Around the present step of a panel over time."""
    low, high = axes.get_ylim()
    frame = Rectangle((0, low), 1, high - low, fill=False, edgecolor=NOW, linewidth=1.4, clip_on=False)
    axes.add_patch(frame)
    stage.move(frame, lambda step: frame.set_x(step - 0.5))
