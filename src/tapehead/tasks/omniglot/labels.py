"""What a class is called in an episode: one of so many numbers, or a string of five letters."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "CHARACTERS",
    "LETTERS",
    "STRINGS",
    "Labels",
    "draw_labels",
    "label_losses",
    "label_probabilities",
    "label_texts",
    "labels_are_right",
]

Labels = Literal["one_hot", "strings"]
"""The kind: "one_hot", a number each; "strings", five letters, each of which is one-hot."""

LETTERS, CHARACTERS = "abcde", 5
"""The alphabet of strings, and how many of its letters one has."""

STRINGS = len(LETTERS) ** CHARACTERS
"""How many there are."""


def draw_labels(kind: Labels, way: int, batch_size: int, generator: torch.Generator | None = None) -> Tensor:
    """Labels for the classes of each episode, no two of which are the same.

    Args:
        kind: of label
        way: classes of an episode
        batch_size: B
        generator: source of chance

    Returns:
        (B, way, O): with O = way a permutation of the numbers, or with O = 25 a string each

    >>> draw_labels("one_hot", 5, 2).shape, draw_labels("strings", 7, 2).shape
    (torch.Size([2, 5, 5]), torch.Size([2, 7, 25]))
    """
    chance = torch.rand(batch_size, way if kind == "one_hot" else STRINGS, generator=generator)
    numbers = chance.topk(way).indices
    dtype = torch.get_default_dtype()
    if kind == "one_hot":
        return functional.one_hot(numbers, way).to(dtype)
    powers = len(LETTERS) ** torch.arange(CHARACTERS - 1, -1, -1)
    letters = numbers.unsqueeze(-1) // powers % len(LETTERS)
    return functional.one_hot(letters, len(LETTERS)).flatten(2).to(dtype)


def split_characters(kind: Labels, values: Tensor) -> Tensor:
    """(..., O) -> (..., characters, letters), where a number is a single character."""
    return values.unflatten(-1, (-1, len(LETTERS))) if kind == "strings" else values.unsqueeze(-2)


def label_probabilities(kind: Labels, logits: Tensor) -> Tensor:
    """The probability of each label, or of each letter in its place: (..., O) -> (..., O)."""
    return split_characters(kind, logits).softmax(-1).flatten(-2)


def label_losses(kind: Labels, logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy in nats: (..., O) -> (...); that of a string is the sum of its five letters'."""
    logarithms = split_characters(kind, logits).log_softmax(-1)
    return -(split_characters(kind, target) * logarithms).sum((-2, -1))


def labels_are_right(kind: Labels, logits: Tensor, target: Tensor) -> Tensor:
    """Whether the label with the largest logits is the target's, all of its letters: (..., O) -> (...) bool."""
    return (split_characters(kind, logits).argmax(-1) == split_characters(kind, target).argmax(-1)).all(-1)


def label_texts(kind: Labels, values: Tensor) -> list[str]:
    """The labels with the largest values, as people read them: (K, O) -> K texts.

    >>> label_texts("one_hot", torch.eye(3)), label_texts("strings", torch.eye(5).flatten().unsqueeze(0))
    (['0', '1', '2'], ['abcde'])
    """
    places = split_characters(kind, values).argmax(-1).tolist()
    return ["".join(LETTERS[place] if kind == "strings" else str(place) for place in label) for label in places]
