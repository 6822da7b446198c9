"""Recurrences compute in their parameters' dtype: autocast does not reach into them."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch
from torch import Tensor

__all__ = ["outside_autocast"]


def outside_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """A context without autocast for the tensor's device; nothing at all where there was none."""
    device = tensor.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return contextlib.nullcontext()
