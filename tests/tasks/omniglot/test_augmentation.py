"""Drawings turned and moved: what stays, what comes out, and how far at most."""

import math

import pytest
import torch

from tapehead.tasks.omniglot.augmentation import quarter_turns, turned_and_moved

ALL = torch.tensor([0, 1, 2, 3])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blob(row: float, column: float) -> torch.Tensor:
    """A round spot on 20 x 20."""
    place = torch.arange(20.0)
    return torch.exp(-((place - row).square().unsqueeze(1) + (place - column).square()) / 2)


def centres(drawings: torch.Tensor) -> torch.Tensor:
    """The centre of the ink from the drawing's own: (P, S, S) -> (P, 2), down and across."""
    place = torch.arange(20.0) - 9.5
    total = drawings.sum((1, 2))
    return torch.stack([drawings.sum(2) @ place / total, drawings.sum(1) @ place / total], 1)


def test_quarter_turns_are_rot90():
    drawings = torch.rand(4, 20, 20)
    for drawing, turned, turns in zip(drawings, quarter_turns(drawings, ALL), ALL.tolist(), strict=True):
        assert torch.equal(turned, drawing.rot90(turns))


def test_no_rotation_and_no_translation_change_nothing():
    drawings = torch.rand(4, 20, 20)
    assert torch.equal(turned_and_moved(drawings, torch.zeros(4, dtype=torch.long), 0, 0), drawings)
    assert torch.equal(turned_and_moved(drawings, ALL, 0, 0), quarter_turns(drawings, ALL))


def test_the_interpolation_turns_the_same_way():
    drawings = torch.rand(4, 20, 20)
    almost = turned_and_moved(drawings, ALL, 1e-9, 0, generator())
    torch.testing.assert_close(almost, quarter_turns(drawings, ALL), rtol=0, atol=1e-4)


def test_translations_reach_their_bounds_and_no_further():
    drawings = blob(9.5, 9.5).expand(3000, 20, 20)
    moved = turned_and_moved(drawings, torch.zeros(3000, dtype=torch.long), 0, 2.0, generator())
    offsets = centres(moved)
    assert offsets.abs().max() <= 2.01
    assert (offsets.amax(0) > 1.95).all()
    assert (offsets.amin(0) < -1.95).all()
    for side in (0, 1):  # a uniform one has variance 2^2 / 3, and its square 2^4 (1/5 - 1/9)
        error = (16 * (1 / 5 - 1 / 9) / 3000) ** 0.5
        assert abs(offsets[:, side].square().mean() - 4 / 3) < 4.5 * error + 0.01
    correlation = (offsets[:, 0] * offsets[:, 1]).mean() / (4 / 3)
    assert abs(correlation) < 4.5 / 3000**0.5
    torch.testing.assert_close(moved.sum((1, 2)), drawings.sum((1, 2)), rtol=1e-3, atol=0)


@pytest.mark.parametrize("turns", range(4))
def test_rotations_reach_their_bounds_and_no_further(turns: int):
    drawings = blob(9.5, 15.5).expand(3000, 20, 20)  # to the right of the centre
    moved = turned_and_moved(drawings, torch.full((3000,), turns), 11.25, 0, generator())
    offsets = centres(moved)
    angles = torch.rad2deg(torch.atan2(-offsets[:, 0], offsets[:, 1])) - 90 * turns  # anticlockwise
    angles = (angles + 180) % 360 - 180
    assert angles.abs().max() <= 11.3
    assert angles.max() > 11
    assert angles.min() < -11
    assert abs(angles.mean()) < 4.5 * 11.25 / math.sqrt(3 * 3000)
    torch.testing.assert_close(offsets.norm(dim=1), torch.full((3000,), 6.0), rtol=0, atol=0.05)


def test_what_is_moved_out_is_gone_and_paper_comes_in():
    drawings = torch.ones(200, 20, 20)
    moved = turned_and_moved(drawings, torch.zeros(200, dtype=torch.long), 0, 10.0, generator())
    assert moved.min() == 0
    assert moved.max() <= 1 + 1e-5
    assert moved.sum((1, 2)).min() < 200


def test_each_drawing_has_its_own_and_the_generator_decides():
    drawings = blob(5, 5).expand(50, 20, 20)
    turns = torch.zeros(50, dtype=torch.long)
    first, again, other = (turned_and_moved(drawings, turns, 10, 1, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(first.flatten(1).unique(dim=0)) == 50
