"""Which classes a model is trained on, and which are held out."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

__all__ = ["BACKGROUND", "CLASSES", "SPLITS", "Split", "held_out_classes", "split_sizes", "training_classes"]

Split = Literal["background/evaluation", "1200/423"]
"""A name of `SPLITS`."""

CLASSES, BACKGROUND = 1623, 964
"""Characters of Omniglot, and those of them that its authors made for learning: the first ones."""

SPLITS: dict[Split, int] = {"background/evaluation": BACKGROUND, "1200/423": 1200}
"""How many classes each split trains on; the others are held out."""

_SEED = 160506065
"""Seed of the order that "1200/423" cuts: the number of the paper on arXiv. Never to be changed."""


def training_classes(split: Split) -> Tensor:
    """The classes to train on: (K,), as places in the order of Omniglot's own character numbers, which begins at 0.

    "background/evaluation" is Omniglot's own: 964 classes of 30 alphabets. "1200/423" takes the sizes of the paper,
    which does not say which classes they are: the first 1,200 of a fixed order of all of them,
    `torch.randperm(1623, generator=torch.Generator().manual_seed(160506065))`.

    >>> training_classes("background/evaluation")[-1], training_classes("1200/423").shape
    (tensor(963), torch.Size([1200]))
    """
    return _order(split)[: SPLITS[split]]


def held_out_classes(split: Split) -> Tensor:
    """The classes that training never shows, likewise.

    >>> held_out_classes("background/evaluation")[0], held_out_classes("1200/423").shape
    (tensor(964), torch.Size([423]))
    """
    return _order(split)[SPLITS[split] :]


def split_sizes(split: Split) -> tuple[int, int]:
    """How many classes are trained on, and how many held out.

    >>> split_sizes("background/evaluation")
    (964, 659)
    """
    return SPLITS[split], CLASSES - SPLITS[split]


@lru_cache
def _order(split: Split) -> Tensor:
    if split == "background/evaluation":
        return torch.arange(CLASSES)
    return torch.randperm(CLASSES, generator=torch.Generator().manual_seed(_SEED))
