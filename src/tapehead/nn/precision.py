"""Recurrences compute in their parameters' dtype: autocast does not reach into them."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

__all__ = ["outside_autocast", "own_dtype", "under_autocast"]


def under_autocast(tensor: Tensor) -> bool:
    """Whether autocast is on for the tensor's device."""
    device = tensor.device.type
    # Some devices have no autocast, such as meta. The compiler of torch 2.6 cannot ask, and compiles for none of these.
    known = torch.compiler.is_compiling() or torch.amp.is_autocast_available(device)
    return known and torch.is_autocast_enabled(device)


def own_dtype(value: Any, like: Tensor) -> Any:
    """A floating-point tensor in the dtype of `like`; anything else as it is."""
    floating = isinstance(value, Tensor) and value.is_floating_point()
    return value.to(like.dtype) if floating else value


def outside_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """A context without autocast for the tensor's device; nothing at all where there was none."""
    if under_autocast(tensor):
        return torch.autocast(tensor.device.type, enabled=False)
    return contextlib.nullcontext()
