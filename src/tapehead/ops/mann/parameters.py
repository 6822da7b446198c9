"""What a MANN op is given besides tensors that flow: its sizes and choices, and its parameters."""

from __future__ import annotations

from typing import Literal, NamedTuple

from tapehead.ops.controller import ControllerActivation, ControllerParameters
from tapehead.ops.heads import Activation, HeadParameters, Order

__all__ = ["KeyStrength", "LeastUsed", "MANNParameters", "MANNSettings", "Write"]

Write = Literal["add", "key"]
LeastUsed = Literal["one", "each", "all"]
KeyStrength = Literal["learned", "one"]


class MANNSettings(NamedTuple):
    """Sizes and choices of a MANN that its tensors do not tell."""

    num_read_heads: int
    word_size: int
    usage_decay: float
    write: Write
    least_used: LeastUsed
    order: Order
    key_strength: KeyStrength
    key_activation: Activation
    add_activation: Activation
    controller_activation: ControllerActivation = "tanh"
    """of a feed-forward controller"""

    @property
    def num_least_used(self) -> int:
        """Slots that are cleared, and may be written, in a step."""
        return 1 if self.least_used == "one" else self.num_read_heads

    @property
    def head_sizes(self) -> list[int]:
        """Rows that each kind of head parameter takes in the heads' product, in their order.

        Kind by kind, and within a kind head by head: keys, key strengths (learned ones only), write gates, and adds
        (with `write="add"` only).
        """
        heads, word_size = self.num_read_heads, self.word_size
        strengths = heads if self.key_strength == "learned" else 0
        return [heads * word_size, strengths, heads, heads * word_size if self.write == "add" else 0]


class MANNParameters(NamedTuple):
    """Every parameter that a sequence uses, but for what starts it."""

    controller: ControllerParameters
    heads: HeadParameters
