"""How often each presentation of a class is named rightly while training goes on: figure 2 of Santoro et al. 2016."""

from __future__ import annotations

import re
from collections.abc import Mapping

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter

from tapehead.plots.metrics import Series
from tapehead.plots.style import new_figure, styled

__all__ = ["draw_instances", "instance_series"]


def instance_series(metrics: Mapping[str, Series]) -> dict[int, Series]:
    """The accuracies of a run's validations by instance, from the metrics that `read_metrics` gives.

    >>> import numpy as np
    >>> one = Series(np.array([5.0]), np.array([0.4]))
    >>> list(instance_series({"validation_accuracy_2": one, "validation_bits": one}))
    [2]
    """
    found = {}
    for name, series in metrics.items():
        match = re.fullmatch(r"validation_accuracy_(\d+)", name)
        if match:
            found[int(match[1])] = series
    return dict(sorted(found.items()))


@styled
def draw_instances(series: Mapping[int, Series], *, title: str | None = None) -> Figure:
    """A line for each instance, over the sequences trained on.

    Args:
        series: accuracies 0..1 by instance, as `instance_series` gives them
        title: of the picture

    Raises:
        ValueError: there are none.

    >>> import numpy as np
    >>> series = {k: Series(np.array([100.0, 200.0]), np.array([0.2, 0.1 * k])) for k in (1, 2, 10)}
    >>> [text.get_text() for text in draw_instances(series).legends[0].get_texts()]
    ['1', '2', '10']
    """
    if not series:
        raise ValueError("nothing to draw: the run has logged no accuracy by instance")
    figure = new_figure(3.8, title)
    axes = figure.subplots()
    colours = matplotlib.colormaps["viridis"]
    for position, (instance, one) in enumerate(series.items()):
        shade = colours(0.9 * position / max(1, len(series) - 1))
        marker = "o" if len(one.values) == 1 else None
        axes.plot(*one, color=shade, linewidth=1.4, marker=marker, markersize=3, label=str(instance))
    axes.set(ylim=(0, 1.01), xlabel="sequences trained on", ylabel="right answers in validation")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(True)
    axes.set_axisbelow(True)
    figure.legend(loc="outside right center", title="presentation\nof a class", title_fontsize=8)
    return figure
