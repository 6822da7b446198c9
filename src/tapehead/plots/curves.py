"""Learning curves: of one run, or of several with mean and deviation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, FixedLocator, FuncFormatter, NullLocator

from tapehead.plots.metrics import Series, mean_and_deviation
from tapehead.plots.style import COLOURS, INK, QUIET, legend_below, look, new_figure, styled

__all__ = ["RunCurves", "draw_curves", "finish_axes", "mark_threshold", "plot_line"]


class RunCurves(NamedTuple):
    """What the learning curves of a run need."""

    name: str
    """of its kind, such as "copy, ntm": runs of the same name are averaged"""
    metrics: dict[str, Series]
    """as `read_metrics` gives them"""
    solved_at: int | None = None
    """sequences after which it was solved"""
    whole: bool = True
    """whether it has come to its end"""


@styled
def draw_curves(
    runs: Sequence[RunCurves],
    *,
    measure: str = "bit_errors",
    heading: str = "wrong bits",
    solved_below: float | None = 0.01,
    title: str | None = None,
) -> Figure:
    """Bits per sequence, and the error in the task's measure, over the sequences trained on.

    One run: training and validation, and where it was solved. Several: a thin line for each, and for those of the
    same name the mean, thick, within a band of one standard deviation on each side, as far as all of them have come.
    Errors reach exactly 0, so the scale is logarithmic above `solved_below` and linear below it. The seventh name has
    the colour of the first again, and dashes.

    Args:
        runs: at least one
        measure: of the error, in the names of the metrics; "excess_bits" is above an optimum, which is drawn as well
        heading: what people call it
        solved_below: mean error at which a run counts as solved; with None, or 0, none is drawn
        title: of the picture; None gives a run its name

    Raises:
        ValueError: there are no runs, or none has logged what is drawn.

    >>> import numpy as np
    >>> series = Series(sequences=np.array([1e4, 2e4, 3e4]), values=np.array([30.0, 4.0, 0.0]))
    >>> run = RunCurves("copy, ntm", {"train_bits": series, "validation_bit_errors": series}, solved_at=30_000)
    >>> draw_curves([run]).get_suptitle()
    'copy, ntm'
    """
    metrics = ("train_bits", f"train_{measure}", f"validation_{measure}")
    if not any(run.metrics.keys() & set(metrics) for run in runs):
        raise ValueError(f"nothing to draw: no run has logged its bits or {heading}")
    if len(runs) == 1:
        return _draw_one(runs[0], measure, heading, solved_below, title or runs[0].name)
    return _draw_several(runs, metrics, heading, solved_below, title)


def _draw_one(run: RunCurves, measure: str, heading: str, solved_below: float | None, title: str) -> Figure:
    figure = new_figure(4.9, title)
    bits, errors = figure.subplots(2, 1, sharex=True)
    handles: dict[str, Line2D | Patch] = {}
    for axes, metric in ((bits, "bits"), (errors, measure)):
        for name, label, colour, width in (
            ("train", "training", COLOURS[0], 1.0),
            ("validation", "validation", COLOURS[1], 1.8),
        ):
            series = run.metrics.get(f"{name}_{metric}")
            if series is not None:
                (handles[label],) = plot_line(axes, *series, color=colour, linewidth=width)
                handles[label].set_label(label)
    if measure == "excess_bits" and {"validation_bits", "validation_excess_bits"} <= run.metrics.keys():
        optimum = run.metrics["validation_bits"].values[-1] - run.metrics["validation_excess_bits"].values[-1]
        handles["optimum"] = bits.axhline(optimum, color=INK, linewidth=1.2, linestyle=(0, (1, 1)))
        handles["optimum"].set_label(f"optimum: {optimum:.1f} bits")
    finish_axes(bits, "bits per sequence", solved_below, linear=measure == "excess_bits")
    finish_axes(errors, f"{heading}\nper sequence", solved_below)
    marked = mark_threshold([errors], solved_below)
    if run.solved_at is not None:
        dashes = {"color": COLOURS[2], "linewidth": 1.4, "linestyle": (0, (4, 2))}
        for axes in (bits, errors):
            handles["solved"] = axes.axvline(run.solved_at, **dashes)
        handles["solved"].set_label(f"solved after {run.solved_at:,} sequences")
    errors.set_xlabel("sequences trained on")
    legend_below(figure, [*handles.values(), *marked], 4)
    return figure


def _draw_several(
    runs: Sequence[RunCurves], metrics: Sequence[str], heading: str, solved_below: float | None, title: str | None
) -> Figure:
    metrics = [metric for metric in metrics if any(metric in run.metrics for run in runs)]
    names = list(dict.fromkeys(run.name for run in runs))
    looks = {name: look(index) for index, name in enumerate(names)}
    figure = new_figure(1.5 + 2 * len(metrics), title)
    panels: list[Axes] = list(figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0])
    for axes, metric in zip(panels, metrics, strict=True):
        for name in names:
            _draw_group(axes, [run for run in runs if run.name == name], metric, looks[name])
        label, linear = f"{heading}\nper sequence", False
        if metric == "train_bits":
            label, linear = "bits per sequence", "validation_excess_bits" in metrics
        finish_axes(axes, label, solved_below, linear=linear)
        axes.set_title("Training" if metric.startswith("train") else "Validation")
    errors = [axes for axes, metric in zip(panels, metrics, strict=True) if metric != "train_bits"]
    marked = mark_threshold(errors, solved_below)
    panels[-1].set_xlabel("sequences trained on")
    counts = {name: sum(run.name == name for run in runs) for name in names}
    handles: list[Line2D | Patch] = [
        Line2D([], [], **looks[name], linewidth=2.2, label=f"{name} ({count} {'run' if count == 1 else 'runs'})")
        for name, count in counts.items()
    ]
    if max(counts.values()) > 1:
        handles += [
            Line2D([], [], color=QUIET, linewidth=0.7, alpha=0.6, label="each run"),
            Line2D([], [], color=QUIET, linewidth=2.2, label="mean, as far as all have come"),
            Patch(color=QUIET, alpha=0.2, linewidth=0, label="mean ± one standard deviation"),
        ]
    if any(run.solved_at is not None for run in runs):
        handles.append(Line2D([], [], color=INK, linestyle="", marker="*", markersize=7, label="solved"))
    legend_below(figure, [*handles, *marked], 3)
    return figure


def _draw_group(axes: Axes, runs: Sequence[RunCurves], metric: str, own_look: dict[str, Any]) -> None:
    """The runs of one name: each, their mean, and the deviation around it."""
    present = [run for run in runs if metric in run.metrics]
    alone = len(present) == 1
    for run in present:
        series = run.metrics[metric]
        plot_line(axes, *series, **own_look, linewidth=1.6 if alone else 0.7, alpha=1 if alone else 0.45)
        if run.solved_at is not None:
            height = np.interp(run.solved_at, *series)
            axes.plot(run.solved_at, height, "*", color=own_look["color"], markersize=7, clip_on=False, zorder=5)
    together = mean_and_deviation([run.metrics[metric] for run in present])
    if together is not None and not alone:
        sequences, mean, deviation = together
        low, high = np.maximum(mean - deviation, 0), mean + deviation
        axes.fill_between(sequences, low, high, color=own_look["color"], alpha=0.18, linewidth=0)
        plot_line(axes, sequences, mean, **own_look, linewidth=2.2)


def plot_line(axes: Axes, sequences: np.ndarray, values: np.ndarray, *, linewidth: float, **style: Any) -> list[Line2D]:
    """A curve; one of a single point, which would be no line, as a dot."""
    marker = "o" if len(values) == 1 else None
    return axes.plot(sequences, values, linewidth=linewidth, marker=marker, markersize=2.4 + linewidth, **style)


def finish_axes(axes: Axes, label: str, solved_below: float | None, *, linear: bool = False) -> None:
    """Scale, ticks and label of a panel; its lines are drawn already. `linear` is for what never comes near 0."""
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(True)
    axes.set_axisbelow(True)
    axes.set_ylabel(label)
    if linear:
        return
    threshold = solved_below or 0.01
    top = max((float(np.max(line.get_ydata(), initial=0.0)) for line in axes.lines), default=1.0)
    if threshold > 1:  # the whole range is of interest, and a logarithm would have no room for it
        axes.set_ylim(-0.03 * top, 1.05 * max(top, threshold))
        return
    axes.set_yscale("symlog", linthresh=threshold, linscale=0.5)
    decades = np.arange(np.floor(np.log10(threshold)), np.ceil(np.log10(max(top, threshold * 10))) + 1)
    axes.yaxis.set_major_locator(FixedLocator([0.0, *(value for value in 10.0**decades if value >= threshold)]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_ylim(-threshold / 5, max(top, threshold * 10) * 1.4)  # so that a line at exactly 0 is seen


def mark_threshold(panels: Sequence[Axes], solved_below: float | None) -> list[Patch]:
    """Shade where a run counts as solved, if there is such a place; returns what the legend says of it."""
    if not solved_below:
        return []
    for axes in panels:
        axes.axhspan(-solved_below / 5, solved_below, color=COLOURS[2], alpha=0.14, linewidth=0)
    return [Patch(color=COLOURS[2], alpha=0.14, linewidth=0, label=f"at most {solved_below:g}: counts as solved")]
