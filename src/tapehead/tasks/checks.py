"""What a task of a user's own gets wrong, said before it is trained on: what it is, its sizes, and its first batch."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import torch
from torch import Tensor

from tapehead.errors import DataError, UsageError
from tapehead.tasks.task import Batch, Measure, Task

__all__ = ["Tasks", "check_batch", "check_task"]


class Tasks(dict[str, type[Task]]):
    """Tasks by name. What no command could use is refused when it is added."""

    def __setitem__(self, name: str, kind: type[Task]) -> None:
        owner = f"TASKS[{name!r}]"
        if not isinstance(name, str) or not name.isidentifier():
            raise UsageError(f"{owner}: expected a name of letters, digits and _, such as 'my_task', got {name!r}.")
        if isinstance(kind, Task):
            raise UsageError(f"{owner}: expected the class, got an instance. Leave the parentheses out.")
        if not (isinstance(kind, type) and issubclass(kind, Task)):
            raise UsageError(f"{owner}: expected a subclass of tapehead.tasks.Task, got {kind!r}.")
        options = [one for one, text in inspect.get_annotations(kind).items() if "ClassVar" not in str(text)]
        if options and "__dataclass_fields__" not in vars(kind):
            raise UsageError(
                f"{owner}: expected a dataclass, or {', '.join(options)} would be no option. Write "
                f"@dataclass(frozen=True) above class {kind.__name__}."
            )
        super().__setitem__(name, kind)


def check_task(task: Task) -> None:
    """Raise unless a task's measure, channels and sizes are what the rest of tapehead takes them for.

    Raises:
        UsageError: they are not.
    """
    owner = type(task).__name__
    if task.measure not in get_args(Measure):
        words = " or ".join(map(repr, get_args(Measure)))
        raise UsageError(f"{owner}.measure: expected {words}, got {task.measure!r}.")
    for name in ("input_size", "target_size"):
        size: Any = getattr(task, name)
        if callable(size):
            raise UsageError(f"{owner}.{name}: expected a number, got a method. Write @property above it.")
        if not isinstance(size, int) or size < 1:
            raise UsageError(f"{owner}.{name}: expected a whole number >= 1, got {size!r}.")
    sizes: Any = task.sizes()
    if not isinstance(sizes, list) or not sizes or not all(map(_is_size, sizes)):
        raise UsageError(
            f'{owner}.sizes: expected a list of sizes by name, such as [{{"length": 1}}, {{"length": 2}}], got '
            f"{_shortened(sizes)}."
        )


def _is_size(size: Any) -> bool:
    return isinstance(size, dict) and bool(size) and all(isinstance(number, int) for number in size.values())


def check_batch(task: Task, method: str, batch: Any, batch_size: int) -> None:
    """Raise unless a task has drawn a batch, and can tell its loss and which answers are right.

    Args:
        task: that drew it
        method: by which
        batch: that it drew
        batch_size: that it was asked for

    Raises:
        DataError: it has not, or cannot.
    """
    owner = f"{type(task).__name__}.{method}"
    if not isinstance(batch, Batch):
        raise DataError(f"{owner}: expected a tapehead.tasks.Batch, got a {type(batch).__name__}. Return Batch(...).")
    input, target, mask, lengths = batch
    steps = len(input) if isinstance(input, Tensor) and input.dim() else 0
    for name, part, length, size in (
        ("input", input, "T", task.input_size),
        ("target", target, steps, task.target_size),
    ):
        hint = _layout_hint(part, batch_size) or "Give it this shape, and .float() if it holds integers."
        good = isinstance(part, Tensor) and part.shape == (steps, batch_size, size) and part.is_floating_point()
        if not good or not steps:
            _refuse(owner, name, f"({length}, {batch_size}, {size}) of floating point", part, hint)
    if not (isinstance(mask, Tensor) and mask.shape == (steps, batch_size) and mask.dtype == torch.bool):
        hint = _layout_hint(mask, batch_size) or "Give it this shape, and dtype=torch.bool."
        _refuse(owner, "mask", f"({steps}, {batch_size}) bool", mask, hint)
    if not mask.any():
        raise DataError(f"{owner}: expected a mask that is true in the steps that count, got one that never is.")
    if lengths is not None and not (
        isinstance(lengths, Tensor)
        and lengths.shape == (batch_size,)
        and not lengths.is_floating_point()
        and lengths.dtype != torch.bool
    ):
        hint = "Make it a tensor with each row's steps, or None where all rows have as many."
        _refuse(owner, "lengths", f"None or ({batch_size},) integers", lengths, hint)
    _check_answers(task, batch)


def _check_answers(task: Task, batch: Batch) -> None:
    logits = torch.zeros_like(batch.target)
    owner, loss, right = type(task).__name__, task.loss(logits, batch), task.right(logits, batch)
    if not isinstance(loss, Tensor) or loss.shape != () or not loss.is_floating_point():
        raise DataError(
            f"{owner}.loss: expected one number as a tensor, (), got {_described(loss)}. Sum it over the steps that "
            "count, and average it over the rows."
        )
    if not isinstance(right, Tensor) or right.shape != batch.mask.shape or right.dtype != torch.bool:
        raise DataError(
            f"{owner}.right: expected {tuple(batch.mask.shape)} bool, one for each step of each row, got "
            f"{_described(right)}. Where a step's answer has several bits, take .all(-1) of them."
        )


def _refuse(owner: str, name: str, expected: str, part: Any, hint: str) -> None:
    raise DataError(f"{owner}: expected a batch whose {name} is {expected}, got {_described(part)}. {hint}")


def _layout_hint(part: Any, batch_size: int) -> str | None:
    """What to do about rows where steps should be."""
    swapped = isinstance(part, Tensor) and part.dim() >= 2 and len(part) == batch_size != part.shape[1]
    return "It seems to be batch-first: steps come first here; transpose(0, 1) it." if swapped else None


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return f"{type(value).__name__} {_shortened(value)}"


def _shortened(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
