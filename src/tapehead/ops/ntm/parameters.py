"""What an NTM op is given besides tensors that flow: its sizes and choices, and its parameters."""

from __future__ import annotations

from typing import Literal, NamedTuple

from tapehead.ops.controller import ControllerActivation, ControllerParameters
from tapehead.ops.heads import Activation, HeadParameters, Order

__all__ = ["Addressing", "NTMParameters", "NTMSettings"]

Addressing = Literal["content_and_location", "content"]


class NTMSettings(NamedTuple):
    """Sizes and choices of an NTM that its tensors do not tell."""

    num_read_heads: int
    num_write_heads: int
    word_size: int
    max_shift: int
    addressing: Addressing
    order: Order
    key_activation: Activation
    add_activation: Activation
    gradient_limit: float | None = None
    """of the elements of the gradient that flows from a step to the head weights of the one before; None for none"""
    controller_activation: ControllerActivation = "tanh"
    """of a feed-forward controller"""

    @property
    def num_heads(self) -> int:
        """R + W."""
        return self.num_read_heads + self.num_write_heads

    @property
    def head_sizes(self) -> list[int]:
        """Rows that each kind of head parameter takes in the heads' product, in their order.

        Kind by kind, and within a kind head by head, read heads first: keys, key strengths, interpolation gates,
        shift weights, gammas (the last three only with location addressing), then erase and add of the write heads.
        """
        shift_size = 2 * self.max_shift + 1
        location = [1, shift_size, 1] if self.addressing == "content_and_location" else []
        addressing = [size * self.num_heads for size in [self.word_size, 1, *location]]
        return [*addressing, self.num_write_heads * self.word_size, self.num_write_heads * self.word_size]


class NTMParameters(NamedTuple):
    """Every parameter that a sequence uses, but for what starts it."""

    controller: ControllerParameters
    heads: HeadParameters
