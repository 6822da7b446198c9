"""What all pictures share: size, fonts, colours, and how a heat map over time is drawn."""

from __future__ import annotations

import functools
import io
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

__all__ = [
    "COLOURS",
    "ERROR",
    "INK",
    "QUIET",
    "SIGNED",
    "UNSIGNED",
    "colour_bar",
    "heat_map",
    "legend_below",
    "look",
    "mark_answer",
    "new_figure",
    "png",
    "stack",
    "styled",
]

WIDTH = 7.2
"""Inches: at the width of a README, 800 pixels, 8 point letters are 12 pixels high."""

DPI = 140

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, which people with any kind of colour blindness tell apart."""

DASHES = ("-", (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1.2, 1, 1.2)))
"""Of the lines that have a colour again: all, dashed, dotted, both by turns."""

LEGEND_ROOM = 0.5
"""Inches below the axes that a figure has for its legend without growing."""

INK, QUIET, PALE, MARK = "#222222", "#666666", "#e6e6ea", "#56B4E9"

UNSIGNED, SIGNED, ERROR = "viridis", "RdBu_r", "Reds"
"""Colour maps: for values from 0, for values on both sides of 0, and for what should be 0."""

STYLE = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.labelsize": 9,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "figure.constrained_layout.h_pad": 0.03,
}

Draw = TypeVar("Draw", bound=Callable[..., Any])


def styled(function: Draw) -> Draw:
    """Run a function under matplotlib's defaults and the house's style, whatever the user's own settings are."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        settings: dict[Any, Any] = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
        with matplotlib.rc_context(settings | STYLE):
            return function(*args, **kwargs)

    return wrapper  # type: ignore[return-value]


def new_figure(height: float, title: str | None = None) -> Figure:
    """A figure of the house's width; the title is drawn above all of its axes, on the left."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return figure


def look(index: int) -> dict[str, Any]:
    """Colour and dashes of the line of this number, so that those of 24 lines differ."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index // len(COLOURS) % len(DASHES)]}


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """A legend below all axes, in at most so many columns, and no more than the figure has room for.

    Names that are wider than the figure are broken, and where the legend is high the figure grows.
    """
    renderer = FigureCanvasAgg(figure).get_renderer()
    count, names = columns, [str(handle.get_label()) for handle in handles]
    limit = max(map(len, names))
    while True:
        labels = [_broken(name, limit) for name in names]
        legend = figure.legend(list(handles), labels, loc="outside lower center", ncols=count, columnspacing=1.4)
        extent = legend.get_window_extent(renderer)
        if extent.width <= figure.bbox.width or limit < 20:
            break
        legend.remove()
        count, limit = (count - 1, limit) if count > 1 else (1, limit - 4)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + max(0.0, extent.height / figure.dpi - LEGEND_ROOM))


def _broken(name: str, limit: int) -> str:
    """A name in lines of at most so many characters, broken behind commas where it has some."""
    if len(name) <= limit:
        return name
    glued = name.replace(" ", "\N{NO-BREAK SPACE}").replace(",\N{NO-BREAK SPACE}", ", ")
    return "\n".join(textwrap.wrap(glued, limit, subsequent_indent="    ", break_on_hyphens=False))


@styled
def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def stack(heights: Sequence[float], title: str | None = None) -> tuple[Figure, list[Axes]]:
    """A figure of panels over the same time: under a thin strip for `mark_answer`, one of each height in inches."""
    figure = new_figure(sum(heights) + 0.3 * len(heights) + 0.75, title)
    grid = figure.add_gridspec(len(heights) + 1, 1, height_ratios=[0.16, *heights])
    panels: list[Axes] = []
    for index in range(len(heights) + 1):
        panels.append(figure.add_subplot(grid[index], sharex=panels[0] if panels else None))
    for axes in panels[:-1]:
        axes.tick_params(labelbottom=False)
    panels[-1].set_xlabel("time (step)")
    return figure, panels


def heat_map(
    axes: Axes, values: np.ndarray, *, colours: str, low: float, high: float, separate: bool = False
) -> AxesImage:
    """Rows over time: `values` (rows, T), a cell each; NaN is pale. Row 0 is at the top, step 0 at the left."""
    colour_map = matplotlib.colormaps[colours].with_extremes(bad=PALE)
    image = axes.imshow(np.ma.masked_invalid(values), aspect="auto", cmap=colour_map, norm=Normalize(low, high))
    if separate:
        axes.hlines(np.arange(values.shape[0] - 1) + 0.5, -0.5, values.shape[1] - 0.5, color="#9a9aa0", linewidth=0.4)
    axes.spines[:].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    return image


def colour_bar(
    figure: Figure, image: AxesImage, panels: Sequence[Axes], label: str, *, ticks: int = 4, **options: Any
) -> None:
    """The scale of a heat map, at the right of its panels; its numbers part it into at most `ticks` steps."""
    bar = figure.colorbar(image, ax=list(panels), pad=0.015, fraction=0.05, aspect=options.pop("aspect", 8), **options)
    bar.set_label(label)
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_locator(MaxNLocator(ticks, min_n_ticks=2))


def mark_answer(panels: Sequence[Axes], start: int, steps: int) -> None:
    """Name input and answer in the first panel, a thin strip, and part them by a line through the others.

    Args:
        panels: as `stack` made them
        start: the first step of the answer
        steps: T
    """
    strip, *others = panels
    strip.set(xlim=(-0.5, steps - 0.5), ylim=(0, 1))
    strip.axis("off")
    for name, first, last, colour in (("input", 0, start, PALE), ("answer", start, steps, "#cfe3f1")):
        strip.axvspan(first - 0.5, last - 0.5, color=colour, linewidth=0)
        if (last - first) / steps > 0.1:
            strip.text((first + last - 1) / 2, 0.45, name, ha="center", va="center", fontsize=8)
    for axes in others:
        axes.axvline(start - 0.5, color=MARK, linewidth=1, linestyle=(0, (3, 2)))
