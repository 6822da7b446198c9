"""How a trained model does at sizes that a user names, longer ones than it has seen among them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tapehead.nn import SequenceModel
from tapehead.nn.checks import check_size
from tapehead.tasks import Batch, Omniglot, Size, Task
from tapehead.tasks.checks import check_batch
from tapehead.tasks.stream import generator_for
from tapehead.training.instances import Instances
from tapehead.training.metrics import Score

__all__ = ["EVALUATION_STREAM", "MEMORY_STREAM", "PICTURE_STREAM", "VALIDATION_STREAM", "evaluate", "score_size"]

VALIDATION_STREAM, PICTURE_STREAM, MEMORY_STREAM, EVALUATION_STREAM = 1, 2, 3, 2**63
"""The first number of a generator that is not for training, whose own are a seed, a rank and a position (`Stream`).
Seeds end below 2**63, so that no training draws the sequences of an evaluation. Nor does a run draw those of its own
validation: they are of (1, seed, size), and in a run with seed 1 the rank is 0, or beyond every seed."""

Observe = Callable[[Tensor, Batch], None]
"""Sees every batch, with a model's logits (T, B, O)."""

ROWS = 50
"""Sequences run at once: enough to fill the machine, few enough for the memory of long ones."""


def batches(task: Task, size: Size, sequences: int, *numbers: int) -> Iterator[Batch]:
    """The fixed sequences of a size, in batches: the same for the same numbers, the first of which is a stream.

    Raises:
        DataError: the first is no batch of the task.
    """
    generator = generator_for(*numbers, *size.values())
    method = "validation_sample" if numbers[0] == VALIDATION_STREAM else "sample"
    for start in range(0, sequences, ROWS):
        rows = min(ROWS, sequences - start)
        batch = getattr(task, method)(rows, generator, size)
        if start == 0:
            check_batch(task, method, batch, rows)
        yield batch


def answer(
    model: SequenceModel, input: Tensor, lengths: Tensor | None = None, memory_size: int | None = None
) -> Tensor:
    """A model's logits (T, B, O) from its start, with a memory of so many slots; None are its own."""
    state = None if memory_size is None else model.core.initial_state(input.shape[1], memory_size)  # type: ignore[operator]
    logits: Tensor = model(input, state, lengths)[0]
    return logits


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Each part of a model as it is after `eval()`, and then as it was: an embedding learns from what it is shown."""
    training = [part for part in model.modules() if part.training]
    model.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


@torch.inference_mode()
def score_size(
    model: SequenceModel,
    task: Task,
    size: Size,
    sequences: int,
    *numbers: int,
    memory_size: int | None = None,
    observe: Observe | None = None,
    ask: Callable[[Tensor, int | None], Tensor] | None = None,
) -> Score:
    """Score a model on fixed sequences of one size.

    Args:
        model: to score
        task: to draw from
        size: of every sequence
        sequences: how many
        numbers: which ones: a stream and a seed
        memory_size: slots of the memory, when other than trained with
        observe: sees every batch, and the logits
        ask: who gives the logits of an input (T, B, D) with so many slots; None is the model
    """
    like = next(model.parameters())
    scores, counts = [], []
    for batch in batches(task, size, sequences, *numbers):
        rows = batch.input.shape[1]
        batch = Batch(*(None if part is None else part.to(like.device) for part in batch))  # type: ignore[arg-type]
        batch = batch._replace(input=batch.input.to(like.dtype), target=batch.target.to(like.dtype))
        with _evaluating(model):
            logits = ask(batch.input, memory_size) if ask else answer(model, batch.input, None, memory_size)
        scores.append(Score.of(logits, batch, task))
        if observe is not None:
            observe(logits, batch)
        counts.append(rows)
    weighted = (
        sum(value * count for value, count in zip(values, counts, strict=True)) for values in zip(*scores, strict=True)
    )
    return Score(*(value / sequences for value in weighted))


def evaluate(
    model: SequenceModel,
    task: Task,
    sizes: Sequence[Size],
    *,
    sequences: int = 100,
    seed: int = 0,
    memory_size: int | None = None,
) -> dict[str, Any]:
    """Score a model at each size.

    Args:
        model: to score
        task: it was trained on
        sizes: to score at, from `Task.evaluation_size`
        sequences: of each size
        seed: of the sequences
        memory_size: slots of the memory, when other than trained with

    Returns:
        what `evaluation.json` holds: {"memory_size": N or None for a model without one, "sequences": ..., "seed": ...,
        "lengths": {"20": {"bit_errors": ..., "bits": ..., "perfect": ..., "excess_bits": ...,
        "wrong_answers": ...}, ...}}; a size of several
        numbers is named "20x10". Where wrong bits count, a score holds "answer_bits" besides, the bits of a sequence's
        answer, any of which could be wrong; one of Omniglot "instances", as `Instances.rows` gives them
    """
    check_size("evaluate", "sequences", sequences)
    results = {
        "x".join(map(str, size.values())): _evaluate_size(model, task, size, sequences, seed, memory_size)
        for size in sizes
    }
    slots = memory_size or getattr(model.core, "memory_size", None)
    return {"memory_size": slots, "sequences": sequences, "seed": seed, "lengths": results}


def _evaluate_size(
    model: SequenceModel, task: Task, size: Size, sequences: int, seed: int, memory_size: int | None
) -> dict[str, Any]:
    instances = Instances(task) if isinstance(task, Omniglot) else None
    counted: list[int] = []

    def observe(logits: Tensor, batch: Batch) -> None:
        counted.append(int(batch.mask.sum()) * batch.target.shape[-1])
        if instances is not None:
            instances.add(logits, batch)

    numbers = EVALUATION_STREAM, seed
    result: dict[str, Any] = score_size(
        model, task, size, sequences, *numbers, memory_size=memory_size, observe=observe
    )._asdict()
    if task.measure == "bit_errors":
        result["answer_bits"] = sum(counted) / sequences
    if instances is not None:
        result["instances"] = instances.rows()
    return result
