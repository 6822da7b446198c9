"""What the heads of every machine share: their parameters, what keys and adds go through, and when they move."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

__all__ = ["Activation", "HeadParameters", "Order", "activate"]

Activation = Literal["linear", "tanh"]
"""What keys and adds go through before they are used"""
Order = Literal["read_write", "write_read"]
"""What a step does first: its reads come from the memory before its write, or after it"""


class HeadParameters(NamedTuple):
    """Parameters of all heads together: one linear map of the controller's output."""

    weight: Tensor
    """(sum of the settings' `head_sizes`, H)"""
    bias: Tensor
    """(sum of the settings' `head_sizes`,)"""


def activate(tensor: Tensor, activation: Activation) -> Tensor:
    """The tensor as it is, or its tanh."""
    return torch.tanh(tensor) if activation == "tanh" else tensor
