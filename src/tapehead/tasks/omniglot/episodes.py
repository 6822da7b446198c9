"""The order of an episode: which classes, which of their drawings, and when."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["ClassCounts", "EpisodeOrder", "draw_order", "instances_of"]

ClassCounts = Literal["equal", "random"]
"""How often the classes of an episode come."""


class EpisodeOrder(NamedTuple):
    """What B episodes show; a slot is the place of a class among those of its episode."""

    classes: Tensor
    """(B, way) of 0..K-1, no two the same in an episode"""
    slots: Tensor
    """(T, B) of 0..way-1: whose turn it is"""
    drawers: Tensor
    """(T, B): by whom the drawing is, no two the same of a class of an episode"""


def draw_order(
    batch_size: int,
    length: int,
    way: int,
    classes: int,
    drawings: int,
    class_counts: ClassCounts,
    generator: torch.Generator | None = None,
) -> EpisodeOrder:
    """Draw the order of B episodes.

    Args:
        batch_size: B
        length: T, at most way * drawings
        way: classes of an episode
        classes: K, to draw from
        drawings: of each class, to draw from
        class_counts: "equal": every class is shown length / way times; where that is no whole number, `length % way` of
            them, drawn by chance, are shown once more than the others; the order is a random one of all that is shown.
            "random": whose turn it is, is drawn at every step anew among the classes that have a drawing left
        generator: source of chance

    >>> order = draw_order(2, length=6, way=3, classes=100, drawings=20, class_counts="equal")
    >>> order.slots.sort(0).values.T
    tensor([[0, 0, 1, 1, 2, 2],
            [0, 0, 1, 1, 2, 2]])
    """
    # The largest of as many random numbers: a random choice, and in a random order.
    chosen = torch.rand(batch_size, classes, generator=generator).topk(way).indices
    if class_counts == "equal":
        # Presentation p is number p // way of the class in slot p % way; time is a random order of the presentations.
        # The slots that come once more are always the first, but which class and which label they hold is chance.
        presentations = torch.rand(batch_size, length, generator=generator).argsort(1)
        slots, repeats = presentations % way, presentations // way
    else:
        slots = torch.randint(way, (batch_size, length), generator=generator)
        repeats = _repeats(slots, way)
        if (repeats >= drawings).any():
            slots = _with_drawings_left(slots, way, drawings, generator)
            repeats = _repeats(slots, way)
    most = int(repeats.max()) + 1
    drawers = torch.rand(batch_size, way, drawings, generator=generator).topk(most).indices
    rows = torch.arange(batch_size).unsqueeze(1)
    return EpisodeOrder(chosen, slots.T, drawers[rows, slots, repeats].T)


def _repeats(slots: Tensor, way: int) -> Tensor:
    """How often each slot's class has come before, (B, T)."""
    turns = functional.one_hot(slots, way)
    return (turns.cumsum(1) * turns).sum(-1) - 1


def _with_drawings_left(slots: Tensor, way: int, drawings: int, generator: torch.Generator | None) -> Tensor:
    """Draw again, step by step, where a class has been shown as often as it has drawings: (B, T)."""
    slots, rows = slots.clone(), torch.arange(len(slots))
    left = torch.full((len(slots), way), drawings)
    for time in range(slots.shape[1]):
        other = torch.multinomial((left > 0).float(), 1, generator=generator).squeeze(1)
        slots[:, time] = torch.where(left[rows, slots[:, time]] > 0, slots[:, time], other)
        left[rows, slots[:, time]] -= 1
    return slots


def instances_of(target: Tensor) -> Tensor:
    """For the label at each step, how many times it has come so far: (T, B, O) -> (T, B), from 1.

    >>> instances_of(torch.eye(2)[[0, 1, 0]].unsqueeze(1)).squeeze(1)
    tensor([1, 1, 2])
    """
    same = (target.unsqueeze(1) == target.unsqueeze(0)).all(-1)  # (T, T, B)
    return same.long().cumsum(1).diagonal(dim1=0, dim2=1).T
