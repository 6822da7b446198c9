"""The Omniglot task, learning a character from one drawing: Santoro et al. 2016 (arXiv 1605.06065), section 4.1."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from tapehead.tasks.omniglot.augmentation import quarter_turns, turned_and_moved
from tapehead.tasks.omniglot.episodes import ClassCounts, draw_order, instances_of
from tapehead.tasks.omniglot.images import SIZE, load
from tapehead.tasks.omniglot.labels import (
    CHARACTERS,
    LETTERS,
    STRINGS,
    Labels,
    draw_labels,
    label_losses,
    label_probabilities,
    label_texts,
    labels_are_right,
)
from tapehead.tasks.omniglot.reading import DRAWINGS
from tapehead.tasks.omniglot.splits import SPLITS, Split, held_out_classes, split_sizes, training_classes
from tapehead.tasks.task import Batch, Measure, Size, Task, check_no_repeats, check_size_names, check_word

__all__ = ["Omniglot"]

_PIXELS = SIZE * SIZE

Part = Literal["training", "validation", "held_out"]
"""A part of the classes"""


@dataclass(frozen=True)
class Omniglot(Task):
    """Name characters never seen before: guess when one comes first, and know it when it comes again.

    An episode draws `way` classes, gives each a label, which holds for this episode alone, and shows drawings of them
    in a random order. The right label of a drawing is told one step later, beside the next drawing. So a model has to
    keep what it saw until it hears what that was, and find it again. No drawing comes twice.

    Channels over time for way = 2, T = 4, labels "one_hot" (D = 402, O = 2), with first and second drawings of a
    character k and a character m, whose labels are 1 and 0::

        time          0   1   2   3
        pixels        k1  m1  k2  m2     the drawing, 20 x 20, row by row; ink is 1, paper 0
        label 0       .   .   1   .      the label of the drawing before, nothing at first
        label 1       .   1   .   1
        target 0      .   1   .   1      the label of this drawing; every step counts
        target 1      1   .   1   .

    Labels "one_hot" are numbers, and O = way. Labels "strings" are five letters of a..e, no two strings of an episode
    the same; each letter is one-hot, and O = 25.

    `sample` without a size draws from the classes for training, augmented. With a size it draws from the classes held
    out, not augmented, as evaluation does. `training_sample` draws from the classes for training, with a size and
    without; `validation_sample` from some of them, which the others never show. `episodes` says it in so many words.

    In validation and evaluation every class comes `length` / `way` times; where that is no whole number, some, drawn by
    chance, come once more than the others. In training that would teach a model to count, and to guess what has come
    least (docs/training-tasks.md): there the class of a drawing is drawn by chance, whatever has come before.

    Nothing is read before the first batch is drawn. Then the drawings are read from `data`, or downloaded.

    Attributes:
        data: folder of a local copy, as zip, npz or folders of PNG; left out, that of TAPEHEAD_OMNIGLOT, and
            where that is not set the original archives are downloaded
        cache: folder for downloads and shrunk drawings; left out, TAPEHEAD_CACHE, or else the user's cache
        split: which classes are trained on: Omniglot's own 964 of 1,623, or 1,200 drawn once and for all
        way: classes of an episode; in training by chance fewer may come
        length: T, drawings of an episode
        labels: "one_hot", or "strings"
        validation_classes: how many of the classes for training, the last ones, are kept to watch a training with; 0
            watches it with those held out, which is no way to choose a model
        rotated_classes: whether characters turned by 90, 180 and 270 degrees are classes of their own in training
        rotated_held_out_classes: the same of the classes held out, and of those for validation
        class_counts: how often the classes of an episode come in training: "random", or "equal" as they come in
            validation and evaluation
        max_rotation: of a drawing in training, by chance to either side, in degrees
        max_translation: of a drawing in training, by chance across and down, in pixels of the 20 x 20

    Differs from the paper:
        Which classes are held out, how far drawings are turned and moved, how they are made smaller, and how often each
        class comes are choices of ours. The paper's test classes came turned as well: `rotated_held_out_classes`. Two
        classes of an episode never have the same string.

    Raises:
        ValueError: an unknown split or kind of label; fewer than 2 classes, or more than the split or the strings have;
            an episode shorter than its classes, or with more drawings of a class than there are; a negative rotation
            or translation.

    >>> task = Omniglot(way=5, length=50)
    >>> task.input_size, task.target_size, task.sizes()
    (405, 5, [{'length': 50, 'way': 5}])
    """

    evaluation_lengths: ClassVar[tuple[int, ...]] = ()
    evaluation_sequences: ClassVar[int] = 1000
    measure: ClassVar[Measure] = "wrong_answers"
    image_size: ClassVar[int | None] = SIZE

    data: str | None = None
    cache: str | None = None
    split: Split = "background/evaluation"
    way: int = 5
    length: int = 50
    labels: Labels = "one_hot"
    validation_classes: int = 60
    rotated_classes: bool = True
    rotated_held_out_classes: bool = False
    class_counts: ClassCounts = "random"
    max_rotation: float = 5.0
    max_translation: float = 1.0

    def __post_init__(self) -> None:
        for name, known in (
            ("split", tuple(SPLITS)),
            ("labels", get_args(Labels)),
            ("class_counts", get_args(ClassCounts)),
        ):
            check_word("Omniglot", name, getattr(self, name), known)
        for name, most in (("max_rotation", 180), ("max_translation", SIZE)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"Omniglot: expected {name} in 0..{most}, got {getattr(self, name)}.")
        training = split_sizes(self.split)[0]
        if not 0 <= self.validation_classes < training:
            raise ValueError(
                f"Omniglot: expected validation_classes in 0..{training - 1}, a part of the classes for training, got "
                f"{self.validation_classes}."
            )
        parts: tuple[Part, ...] = ("held_out", "training", "validation")
        for part in parts:
            if part != "validation" or self.validation_classes:
                self._check_size(self.way, self.length, part)

    @property
    def input_size(self) -> int:
        return _PIXELS + self.target_size

    @property
    def target_size(self) -> int:
        return self.way if self.labels == "one_hot" else CHARACTERS * len(LETTERS)

    def portable(self) -> Omniglot:
        return dataclasses.replace(self, data=None, cache=None)

    def channel_names(self) -> list[str]:
        pixels = [f"pixel {row},{column}" for row in range(SIZE) for column in range(SIZE)]
        if self.labels == "one_hot":
            return pixels + [f"label {label}" for label in range(self.way)]
        return pixels + [f"letter {place} {letter}" for place in range(CHARACTERS) for letter in LETTERS]

    def sizes(self) -> list[Size]:
        return [{"length": self.length, "way": self.way}]

    def stage(self, limit: int) -> Omniglot:
        """Show at most `limit` drawings, but no fewer than there are classes."""
        return dataclasses.replace(self, length=max(self.way, min(limit, self.length)))

    def evaluation_size(self, length: int, repeats: int | None = None) -> Size:
        check_no_repeats("Omniglot", repeats)
        self._check_size(self.way, length, "held_out")
        return {"length": length, "way": self.way}

    def slots(self, size: Size) -> int:
        """One for each class."""
        return size["way"]

    def sample(self, batch_size: int, generator: torch.Generator | None = None, size: Size | None = None) -> Batch:
        check_size_names("Omniglot", size, "length", "way")
        if size is None:
            return self.episodes(batch_size, generator, part="training")
        return self.episodes(batch_size, generator, part="held_out", way=size["way"], length=size["length"])

    def training_sample(
        self, batch_size: int, generator: torch.Generator | None = None, size: Size | None = None
    ) -> Batch:
        """Episodes of the classes for training, whether a size is named or not."""
        check_size_names("Omniglot", size, "length", "way")
        size = size or {}
        return self.episodes(batch_size, generator, part="training", way=size.get("way"), length=size.get("length"))

    def validation_sample(self, batch_size: int, generator: torch.Generator | None, size: Size) -> Batch:
        """Episodes of the classes for validation: those held out are for the end."""
        check_size_names("Omniglot", size, "length", "way")
        part: Part = "validation" if self.validation_classes else "held_out"
        return self.episodes(batch_size, generator, part=part, way=size["way"], length=size["length"])

    def episodes(
        self,
        batch_size: int,
        generator: torch.Generator | None = None,
        *,
        part: Part,
        way: int | None = None,
        length: int | None = None,
        augment: bool | None = None,
        class_counts: ClassCounts | None = None,
    ) -> Batch:
        """Draw a batch of episodes.

        Args:
            batch_size: B
            generator: source of chance; None is torch's own
            part: "training", "validation" or "held_out", the classes to draw from
            way: classes of an episode; None takes the task's. Labels "one_hot" allow no other
            length: T; None takes the task's
            augment: whether each drawing is turned and moved by chance; None does it with "training"
            class_counts: how often each class comes; None takes the task's with "training", and else "equal"

        Raises:
            ValueError: way, length, part or class_counts that the task cannot have.
            DataError: the drawings are missing or damaged, or cannot be downloaded.
            ModuleNotFoundError: the extra `tapehead[omniglot]` is not installed.
        """
        check_word("Omniglot", "part", part, get_args(Part))
        way, length = self.way if way is None else way, self.length if length is None else length
        self._check_size(way, length, part)
        if self.labels == "one_hot" and way != self.way:
            raise ValueError(
                f'Omniglot.episodes: expected way {self.way}, which labels "one_hot" are made for, got {way}. '
                'Make another task for it, or take the labels "strings".'
            )
        classes = self._classes(part)
        if class_counts is None:
            class_counts = self.class_counts if part == "training" else "equal"
        check_word("Omniglot", "class_counts", class_counts, get_args(ClassCounts))
        order = draw_order(batch_size, length, way, self._count(part), DRAWINGS, class_counts, generator)
        labels = draw_labels(self.labels, way, batch_size, generator)

        rows = torch.arange(batch_size)
        drawn = order.classes[rows, order.slots]  # (T, B)
        turns = torch.div(drawn, len(classes), rounding_mode="floor").flatten()
        places = classes[drawn % len(classes)] * DRAWINGS + order.drawers
        drawings = load(self.data or os.environ.get("TAPEHEAD_OMNIGLOT") or None, self.cache)
        images = drawings.flatten(0, 1).index_select(0, places.flatten())
        if part == "training" if augment is None else augment:
            images = turned_and_moved(images, turns, self.max_rotation, self.max_translation, generator)
        elif turns.any():
            images = quarter_turns(images, turns)

        target = labels[rows, order.slots]
        input = target.new_zeros(length, batch_size, self.input_size)
        input[:, :, :_PIXELS] = images.view(length, batch_size, _PIXELS)
        input[1:, :, _PIXELS:] = target[:-1]
        return Batch(input, target, torch.ones(length, batch_size, dtype=torch.bool), None)

    def drawings(self, batch: Batch) -> Tensor:
        """What a batch shows, as images: (T, B, 20, 20)."""
        return batch.input[:, :, :_PIXELS].unflatten(-1, (SIZE, SIZE))

    def instances(self, batch: Batch) -> Tensor:
        """For each step, which drawing of its class in the episode it is, counted from 1: (T, B)."""
        return instances_of(batch.target)

    def label_names(self, values: Tensor) -> list[str]:
        """What people call the labels with the largest values: (T, O) -> T names."""
        return label_texts(self.labels, values)

    def right(self, logits: Tensor, batch: Batch) -> Tensor:
        """Whether the answer is the label, all letters of it: (T, B, O) -> (T, B) bool."""
        return labels_are_right(self.labels, logits, batch.target)

    def probabilities(self, logits: Tensor) -> Tensor:
        """The probability of each label, or of each letter in its place."""
        return label_probabilities(self.labels, logits)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy in nats, summed over steps and letters of a string, averaged over the batch: ()."""
        return (label_losses(self.labels, logits, batch.target) * batch.mask).sum() / logits.shape[1]

    def optimal_bits(self, batch: Batch) -> Tensor:
        """Bits of each episode for who knows every character again, and guesses at first: (B,).

        The first drawing of the k-th class to come may have any label that has not come yet: log2(way - k + 1) bits, or
        log2(3125 - k + 1) for strings. Every later one is certain.
        """
        first = self.instances(batch) == 1
        labels = self.way if self.labels == "one_hot" else STRINGS
        remaining = labels - (first.long().cumsum(0) - 1)
        return (remaining.clamp(min=1).log2() * first).sum(0).to(batch.target.dtype)

    def to_text(self, batch: Batch, logits: Tensor | None = None, rows: int = 4) -> str:
        """A batch as text: a line a step, with the drawing's label and which drawing of its class it is.

        Args:
            batch: what `sample` gave
            logits: (T, B, O), a model's answer: shown beside, with an `x` where it is wrong
            rows: how many episodes to print at most
        """
        instances, lines = self.instances(batch), []
        right = None if logits is None else self.right(logits, batch)
        for row in range(min(rows, batch.input.shape[1])):
            lines.append(f"sequence {row + 1} of {batch.input.shape[1]}: {batch.input.shape[0]} steps")
            lines.append("  step  label  instance" + ("" if logits is None else "  answer"))
            labels = label_texts(self.labels, batch.target[:, row])
            answers = labels if logits is None else label_texts(self.labels, logits[:, row])
            for step, label in enumerate(labels):
                line = f"  {step:>4}  {label:>5}  {int(instances[step, row]):>8}"
                if right is not None:
                    line += f"  {answers[step]:>6}" + ("" if right[step, row] else " x")
                lines.append(line)
        return "\n".join(lines)

    def _classes(self, part: Part) -> Tensor:
        """What there is to draw from: (K,)."""
        kept = split_sizes(self.split)[0] - self.validation_classes
        return {
            "training": training_classes(self.split)[:kept],
            "validation": training_classes(self.split)[kept:],
            "held_out": held_out_classes(self.split),
        }[part]

    def _count(self, part: Part) -> int:
        """How many classes that makes, with the turned ones."""
        training, held_out = split_sizes(self.split)
        kept = training - self.validation_classes
        classes = {"training": kept, "validation": self.validation_classes, "held_out": held_out}[part]
        rotated = self.rotated_classes if part == "training" else self.rotated_held_out_classes
        return classes * (4 if rotated else 1)

    def _check_size(self, way: int, length: int, part: Part) -> None:
        most = self._count(part)
        if self.labels == "strings":
            most = min(most, STRINGS)
        if not 2 <= way <= most:
            which = "held out" if part == "held_out" else f"for {part}"
            raise ValueError(
                f"Omniglot: expected way in 2..{most}, the classes {which} that can have a label each, got {way}."
            )
        if not way <= length <= way * DRAWINGS:
            raise ValueError(
                f"Omniglot: expected length in {way}..{way * DRAWINGS}: room for each of {way} classes, and none more "
                f"often than it has drawings, {DRAWINGS}; got {length}."
            )
