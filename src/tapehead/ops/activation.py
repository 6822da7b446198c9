"""What keys and adds go through before they are used."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Activation", "activate"]

Activation = Literal["linear", "tanh"]


def activate(tensor: Tensor, activation: Activation) -> Tensor:
    """The tensor as it is, or its tanh."""
    return torch.tanh(tensor) if activation == "tanh" else tensor
