"""Checks of what a user hands to a layer. Each message says who expected what, what came, and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import torch
from torch import Tensor

from tapehead.backends import DTYPES

__all__ = [
    "check_bool",
    "check_choice",
    "check_dtype",
    "check_number",
    "check_numbers",
    "check_size",
    "check_tensor",
    "speaking_for",
]


def check_bool(owner: str, name: str, value: Any) -> None:
    """Raise unless `value` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{owner}: expected {name} to be True or False, got {value!r} of type {type(value).__name__}.")


def check_size(owner: str, name: str, value: Any, minimum: int = 1) -> None:
    """Raise unless `value` is an int of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{owner}: expected {name} to be an int, got {value!r} of type {type(value).__name__}.")
    if value < minimum:
        raise ValueError(f"{owner}: expected {name} >= {minimum}, got {value}.")


def check_number(owner: str, name: str, value: Any) -> None:
    """Raise unless `value` is a finite float or int."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{owner}: expected {name} to be a float, got {value!r} of type {type(value).__name__}.")
    if not math.isfinite(value):
        raise ValueError(f"{owner}: expected {name} to be finite, got {value}.")


def check_numbers(owner: str, name: str, values: Any, count: int, meaning: str) -> None:
    """Raise unless `values` is None or so many finite numbers; `meaning` says to the user what they are for."""
    if values is None:
        return
    if not isinstance(values, (list, tuple)):
        raise TypeError(
            f"{owner}: expected {name} to be None or a list of floats, {meaning}, got {values!r} of type "
            f"{type(values).__name__}."
        )
    if len(values) != count:
        raise ValueError(f"{owner}: expected {name} of length {count}, {meaning}, got {len(values)}: {list(values)}.")
    for place, value in enumerate(values):
        check_number(owner, f"{name}[{place}]", value)


def check_choice(owner: str, name: str, value: Any, choices: Any) -> None:
    """Raise unless `value` is one of the strings of a Literal."""
    allowed = get_args(choices)
    if value not in allowed:
        raise ValueError(f"{owner}: expected {name} to be one of {', '.join(map(repr, allowed))}, got {value!r}.")


def check_dtype(owner: str, dtype: torch.dtype | None) -> None:
    """Raise unless parameters of this dtype can be made."""
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"{owner}: expected dtype torch.float32 or torch.float64, got {dtype}.")


def check_tensor(owner: str, name: str, value: Any, shape: tuple[int | str, ...], like: Tensor) -> None:
    """Raise unless `value` is a tensor of this shape, with the dtype and device of `like`.

    A string in `shape` stands for any size and names it in the message.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{owner}: expected {name} to be a Tensor {_written(shape)}, got {type(value).__name__}.")
    if value.is_nested:
        raise TypeError(
            f"{owner}: expected {name} to be a padded Tensor {_written(shape)}, got a nested one. Pad it with "
            "torch.nested.to_padded_tensor, and say the lengths of its rows."
        )
    if value.layout != torch.strided:
        raise TypeError(
            f"{owner}: expected {name} to be a dense Tensor {_written(shape)}, got one of layout {value.layout}. Make "
            "it one with .to_dense()."
        )
    actual = value.shape
    if actual != shape and not _fits(actual, shape):
        raise ValueError(f"{owner}: expected {name} {_written(shape)}, got {tuple(actual)}.")
    if value.dtype != like.dtype:
        raise ValueError(
            f"{owner}: expected {name} of {like.dtype}, the parameters' dtype, got {value.dtype}. "
            f"Convert one of them, with .to({like.dtype}) or module.to(dtype)."
        )
    if value.device != like.device:
        raise ValueError(
            f"{owner}: expected {name} on {like.device}, where the parameters are, got {value.device}. "
            "Move one of them with .to(device)."
        )


def _fits(actual: tuple[int, ...], shape: tuple[int | str, ...]) -> bool:
    if len(actual) != len(shape):
        return False
    return all(isinstance(want, str) or want == have for want, have in zip(shape, actual, strict=True))


def _written(shape: tuple[int | str, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


@contextmanager
def speaking_for(owner: str, part: str) -> Iterator[None]:
    """Let what `part` says of wrong arguments name its owner, whose arguments they are."""
    try:
        yield
    except (TypeError, ValueError) as error:
        message = str(error)
        if type(error) not in (TypeError, ValueError) or not message.startswith(f"{part}:"):
            raise
        raise type(error)(owner + message.removeprefix(part)) from None
