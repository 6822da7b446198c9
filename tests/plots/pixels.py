"""What the tests of pictures share."""

import io

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

from tapehead.plots import png


def pixels(figure: Figure) -> np.ndarray:
    """A figure as (height, width, 4) in 0..1, drawn as it is saved."""
    return imread(io.BytesIO(png(figure)), format="png")


def assert_drawn(figure: Figure) -> None:
    """White at the corner, something in it, at a README's width."""
    image = pixels(figure)
    np.testing.assert_array_equal(image[0, -1], 1)
    assert image[..., :3].std() > 0.02
    assert image.shape[1] == 1008


def titles(figure: Figure) -> list[str]:
    return [axes.get_title("left") for axes in figure.axes if axes.get_title("left")]


def panels(figure: Figure) -> dict[str, np.ndarray]:
    """The heat maps by their titles: what is drawn in them, masked where nothing is."""
    return {axes.get_title("left"): axes.images[0].get_array() for axes in figure.axes if axes.get_title("left")}
