"""A figure that moves: what stands still is drawn once, and the frames become a GIF with one palette."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from PIL import Image

from tapehead.plots.style import QUIET, SIGNED, UNSIGNED, WIDTH, heat_map

__all__ = ["Stage", "encode_gif"]

DPI = 115
"""Makes 828 pixels of the house's width, about what a README shows without scaling: 8 point letters are 13 pixels."""

SAMPLES = 6
"""Frames from which the palette is made."""

LEVELS = {UNSIGNED: 64, SIGNED: 101}
"""Colours of a map, fewer than it has, so that those of both fit into one palette."""

UNKNOWN = 255
"""In place of a colour's number in the palette, which has one colour less than a GIF can have: Pillow needs the last
for what is as in the frame before."""

RGB = np.array([1 << 16, 1 << 8, 1], np.int32)
"""By which the three numbers of a pixel become one."""


class Stage:
    """A figure whose still parts are drawn once: for each frame only what moves is drawn, over them.

    Places are inches from the upper left corner.

    Args:
        height: of the figure in inches; its width is the house's
    """

    def __init__(self, height: float) -> None:
        self.height = height
        self.figure = Figure(figsize=(WIDTH, height), dpi=DPI)
        self.canvas = FigureCanvasAgg(self.figure)
        self._moving: list[tuple[Artist, Callable[[int], object] | None]] = []
        self._colours = np.zeros((0, 3), np.uint8)

    def place(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes without ticks."""
        box = (left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height)
        axes = self.figure.add_axes(box)
        axes.set(xticks=[], yticks=[])
        return axes

    def write(self, left: float, top: float, text: str, *, align: str = "center", weight: str = "normal") -> Text:
        """A text whose lowest line stands at `top`."""
        place = left / WIDTH, 1 - top / self.height
        return self.figure.text(*place, text, ha=align, va="baseline", fontsize=9.5, fontweight=weight)

    def move(self, artist: Artist, change: Callable[[int], object] | None = None) -> None:
        """Draw an artist in every frame anew, after `change` was told the step."""
        artist.set_animated(True)
        self._moving.append((artist, change))

    def heat(
        self, axes: Axes, values: Callable[[int], np.ndarray], low: float, high: float, *, separate: bool = False
    ) -> None:
        """A heat map of what `values` says of a step: rows and columns, NaN is pale. It is signed if `low` is."""
        colours = SIGNED if low < 0 else UNSIGNED
        image = heat_map(axes, values(0), colours=colours, low=low, high=high, separate=separate)
        colour_map = image.get_cmap().resampled(LEVELS[colours])
        self._colours = np.concatenate([self._colours, colour_map(np.arange(colour_map.N), bytes=True)[:, :3]])
        image.set_cmap(colour_map)
        image.set_interpolation("nearest")  # which adds no colours to those of the map
        self.move(image, lambda step: image.set_data(np.ma.masked_invalid(values(step))))
        for lines in axes.collections:
            self.move(lines)
        axes.set(xticks=[], yticks=[])

    def scale(self, axes: Axes, left: float, top: float, width: float, label: str, *, extend: str = "neither") -> None:
        """The scale of the heat map in some axes; `extend` has the ends be arrows where values lie beyond them."""
        place = self.place(left, top, width, 0.08)
        bar = self.figure.colorbar(axes.images[0], cax=place, orientation="horizontal", extend=extend)
        bar.ax.xaxis.set_major_locator(MaxNLocator(2))
        bar.outline.set_visible(False)
        bar.set_label(label, fontsize=8, labelpad=1)
        bar.ax.tick_params(labelsize=7, pad=1, length=2, color=QUIET)

    def gif(self, steps: Sequence[int], times: Sequence[int]) -> bytes:
        """A frame for each of these steps, shown for so many milliseconds, again and again."""
        self.canvas.draw()
        still = self.canvas.copy_from_bbox(self.figure.bbox)

        def frame(step: int) -> np.ndarray:
            self.canvas.restore_region(still)
            for artist, change in self._moving:
                if change is not None:
                    change(step)
                self.figure.draw_artist(artist)
            return np.array(self.canvas.buffer_rgba())[..., :3]

        return encode_gif(frame, steps, times, self._colours)


def encode_gif(
    frame: Callable[[int], np.ndarray], steps: Sequence[int], times: Sequence[int], colours: np.ndarray
) -> bytes:
    """Frames as the bytes of a GIF file that begins again for ever.

    All of them have one palette, so that no colour flickers: the given colours, and those that most pixels of some
    frames have. Another colour becomes the nearest of these.

    Args:
        frame: the frame of a step, (height, width, 3), uint8; called more than once for some
        steps: those to show
        times: of each, in milliseconds
        colours: (K, 3), uint8, in the palette in any case; no more than 255 different ones

    >>> frames = [np.full((20, 30, 3), shade, np.uint8) for shade in (0, 255)]
    >>> encode_gif(frames.__getitem__, steps=[0, 1], times=[200, 1500], colours=frames[0][0])[:6]
    b'GIF89a'
    """
    some = {steps[round(at)] for at in np.linspace(0, len(steps) - 1, SAMPLES)}
    found, counts = np.unique([_packed(frame(step)) for step in sorted(some)], return_counts=True)
    first = np.unique(_packed(colours))
    rest = np.isin(found, first, invert=True)
    chosen = np.concatenate([first, found[rest][np.argsort(-counts[rest], kind="stable")]])[:UNKNOWN]
    palette = chosen[:, None] // RGB % 256
    numbers = np.full(1 << 24, UNKNOWN, np.uint8)
    numbers[chosen] = np.arange(len(chosen))
    images = []
    for step in steps:
        pixels = _packed(frame(step))
        others = np.unique(pixels[numbers[pixels] == UNKNOWN])
        distances = others[:, None, None] // RGB % 256 - palette
        numbers[others] = (distances**2).sum(-1).argmin(-1)
        images.append(Image.fromarray(numbers[pixels]))
        images[-1].putpalette(palette.astype(np.uint8).tobytes())
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=list(times), loop=0, optimize=True)
    return file.getvalue()


def _packed(pixels: np.ndarray) -> np.ndarray:
    """(..., 3) -> (...), int32."""
    return sum(pixels[..., channel] * RGB[channel] for channel in range(3))
