"""The learning curves of a study: every seed, and what the seeds of each model have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tapehead.plots.curves import RunCurves, finish_axes, mark_threshold, plot_line
from tapehead.plots.metrics import together
from tapehead.plots.style import INK, QUIET, legend_below, look, new_figure, styled

__all__ = ["draw_study"]


@styled
def draw_study(
    runs: Sequence[RunCurves],
    *,
    measure: str = "bit_errors",
    heading: str = "wrong bits",
    band: bool = False,
    solved_below: float | None = 0.01,
    title: str | None = None,
) -> Figure:
    """The error per validation sequence, over the sequences trained on, of every run of a study.

    A thin line for each run and the median of each name, thick; with `band` a band of mean ± one standard deviation
    instead of the thin lines, and the mean. A run that has ended counts with its last value for as long as others go
    on. Runs that are not whole are dashed, and part of neither.

    Args:
        runs: at least one; those of the same name are taken together
        measure: of the error, in the names of the metrics
        heading: what people call it
        band: mean and deviation instead of median and every run
        solved_below: mean error at which a run counts as solved; with None, or 0, none is drawn
        title: of the picture

    Raises:
        ValueError: no run has logged a validation.

    >>> import numpy as np
    >>> from tapehead.plots import RunCurves, Series
    >>> errors = Series(sequences=np.array([1e4, 2e4, 3e4]), values=np.array([30.0, 4.0, 0.0]))
    >>> runs = [RunCurves("copy, ntm", {"validation_bit_errors": errors}, solved_at=at) for at in (30_000, None)]
    >>> draw_study(runs).legends[0].get_texts()[0].get_text()
    'copy, ntm (1 of 2 solved)'
    """
    metric = f"validation_{measure}"
    drawn = [run for run in runs if metric in run.metrics]
    if not drawn:
        raise ValueError("nothing to draw: no run has logged a validation")
    names = list(dict.fromkeys(run.name for run in drawn))
    figure = new_figure(3.9, title)
    axes = figure.subplots()
    for index, name in enumerate(names):
        _draw_name(axes, [run for run in drawn if run.name == name], metric, look(index), band)
    separator = " " if len(heading) < 12 else "\n"  # a long label would reach into the title
    finish_axes(axes, f"{heading}{separator}per validation sequence", solved_below)
    axes.set_xlabel("sequences trained on")
    handles: list[Line2D | Patch] = []
    for index, name in enumerate(names):
        own = [run for run in runs if run.name == name]
        solved = sum(run.solved_at is not None for run in own)
        label = f"{name} ({solved} of {len(own)} solved)"
        handles.append(Line2D([], [], **look(index), linewidth=2.2, label=label))
    if band:
        handles.append(Line2D([], [], color=QUIET, linewidth=2.2, label="mean"))
        handles.append(Patch(color=QUIET, alpha=0.2, linewidth=0, label="mean ± one standard deviation"))
    elif len(names) < len(drawn):
        handles.append(Line2D([], [], color=QUIET, linewidth=0.7, alpha=0.6, label="each seed"))
        handles.append(Line2D([], [], color=QUIET, linewidth=2.2, label="median"))
    if not band and any(run.solved_at is not None for run in drawn):
        handles.append(Line2D([], [], color=INK, linestyle="", marker="*", markersize=7, label="solved"))
    if not all(run.whole for run in drawn):
        handles.append(Line2D([], [], color=QUIET, linewidth=0.7, linestyle=(0, (4, 2)), label="not finished"))
    legend_below(figure, [*handles, *mark_threshold([axes], solved_below)], 3)
    return figure


def _draw_name(axes: Axes, runs: Sequence[RunCurves], metric: str, own_look: dict[str, Any], band: bool) -> None:
    whole = [run for run in runs if run.whole]
    for run in runs:
        if run.whole and band:
            continue
        series = run.metrics[metric]
        style = own_look if run.whole else {**own_look, "linestyle": (0, (4, 2))}
        plot_line(axes, *series, **style, linewidth=0.7, alpha=0.45)
        if run.solved_at is not None:
            height = np.interp(run.solved_at, *series)
            axes.plot(run.solved_at, height, "*", color=own_look["color"], markersize=7, clip_on=False, zorder=5)
    if not whole:
        return
    sequences, values = together([run.metrics[metric] for run in whole])
    if band:
        mean = values.mean(axis=0)
        deviation = values.std(axis=0, ddof=1) if len(whole) > 1 else np.zeros_like(mean)
        low = np.maximum(mean - deviation, 0)
        axes.fill_between(sequences, low, mean + deviation, color=own_look["color"], alpha=0.18, linewidth=0)
        plot_line(axes, sequences, mean, **own_look, linewidth=2.2)
    else:
        plot_line(axes, sequences, np.median(values, axis=0), **own_look, linewidth=2.2)
