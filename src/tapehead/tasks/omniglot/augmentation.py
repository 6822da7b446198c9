"""Drawings turned and moved: whole quarter turns, which make new classes, and small random ones, which do not."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["quarter_turns", "turned_and_moved"]


def quarter_turns(drawings: Tensor, turns: Tensor) -> Tensor:
    """Each drawing turned anticlockwise by its own number of quarters, to the pixel.

    Args:
        drawings: (P, S, S)
        turns: (P,) of 0, 1, 2, 3

    Returns:
        (P, S, S)

    >>> quarter_turns(torch.tensor([[[1, 2], [3, 4]]]), torch.tensor([1]))
    tensor([[[2, 4],
             [1, 3]]])
    """
    size = drawings.shape[-1]
    return drawings.flatten(1).gather(1, _turned_pixels(size)[turns]).view_as(drawings)


def turned_and_moved(
    drawings: Tensor,
    turns: Tensor,
    max_rotation: float,
    max_translation: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Each drawing turned by its quarters and by a random angle, and moved by a random distance.

    Angle and both distances are uniform and every drawing's own. Pixels are interpolated between the nearest four;
    what comes in from outside is paper.

    Args:
        drawings: (P, S, S) ink, 0 where there is paper
        turns: (P,) quarters, anticlockwise
        max_rotation: largest angle to either side, in degrees
        max_translation: largest distance to either side, across and down, in pixels
        generator: source of chance

    Returns:
        (P, S, S)
    """
    if not max_rotation and not max_translation:
        return quarter_turns(drawings, turns)
    count, size = drawings.shape[:2]
    chance = 2 * torch.rand(3, count, generator=generator, dtype=drawings.dtype) - 1
    angle = turns.to(drawings.dtype) * (math.pi / 2) + chance[0] * math.radians(max_rotation)
    across, down = chance[1:] * (2 * max_translation / size)  # an edge of the drawing is 2 long to `grid_sample`
    cosine, sine = angle.cos(), angle.sin()
    # Where a pixel comes from: rows of the matrix are (x, y) of the source. One product for all drawings, which leaves
    # x and y apart from each other: `functional.affine_grid` takes some twenty times as long for these sizes.
    matrices = torch.stack([cosine, -sine, across, sine, cosine, down], -1).view(2 * count, 3)
    sources = (matrices @ _pixel_centres(size, drawings.dtype)).view(count, 2, size, size).permute(0, 2, 3, 1)
    return functional.grid_sample(drawings.unsqueeze(1), sources, align_corners=False).squeeze(1)


@lru_cache
def _turned_pixels(size: int) -> Tensor:
    """From which pixel each one comes after 0, 1, 2, 3 quarters: (4, S * S)."""
    pixels = torch.arange(size * size).view(size, size)
    return torch.stack([pixels.rot90(quarters).flatten() for quarters in range(4)])


@lru_cache
def _pixel_centres(size: int, dtype: torch.dtype) -> Tensor:
    """x, y and 1 of every pixel, from -1 to 1 between the edges: (3, S * S)."""
    line = (2 * torch.arange(size, dtype=dtype) + 1) / size - 1
    down, across = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([across.flatten(), down.flatten(), torch.ones(size * size, dtype=dtype)])
