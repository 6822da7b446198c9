"""The sizes of a call of the NTM's op, its state, and what it keeps."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

from tapehead.ops.ntm.parameters import NTMSettings
from tapehead.ops.shapes import SequenceShape, bits

__all__ = ["Shape", "Sizes"]


class Sizes(NamedTuple):
    """Choices and those sizes that no tensor tells, as the schema takes them: integers."""

    read_heads: int
    write_heads: int
    max_shift: int
    location: int
    write_read: int
    tanh_key: int
    tanh_add: int
    relu: int
    """of a feed-forward controller, in place of tanh"""
    gradient_limit: int
    """the bits of a float64, infinity where there is no limit: the core's fields are integers of 8 bytes"""
    groups: int = 1
    """of rows, each with parameters of its own"""

    @staticmethod
    def of(settings: NTMSettings) -> Sizes:
        return Sizes(
            settings.num_read_heads,
            settings.num_write_heads,
            settings.max_shift,
            int(settings.addressing == "content_and_location"),
            int(settings.order == "write_read"),
            int(settings.key_activation == "tanh"),
            int(settings.add_activation == "tanh"),
            int(settings.controller_activation == "relu"),
            bits(math.inf if settings.gradient_limit is None else settings.gradient_limit),
        )


class Shape(SequenceShape):
    """Every size of a call, by the names of the core's fields."""

    __slots__ = ()
    Sizes: ClassVar = Sizes

    @property
    def heads(self) -> int:
        """R + W."""
        return self.sizes.read_heads + self.sizes.write_heads

    @property
    def parameters(self) -> int:
        """P, the sum of `NTMSettings.head_sizes`."""
        location = 2 * self.sizes.max_shift + 3 if self.sizes.location else 0
        return self.heads * (self.word_size + 1 + location) + 2 * self.sizes.write_heads * self.word_size

    def traced(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays in `Results.traced`, in their order."""
        slots = (self.steps, self.rows, self.heads, self.padded_size)
        return {
            "weights": slots,
            "content": slots,
            "parameters": (self.steps, self.rows, self.parameters),
            "memories": (self.steps + 1, self.rows, self.word_size, self.padded_size),
        }

    def internals(self, checkpoint_every: int, save: bool, trace: bool) -> dict[str, int]:
        """How many numbers each array in `Results.internals` has, by the names of the core's fields, in their order.

        What is in a trace is not here.
        """
        slots = self.heads * self.padded_size
        widths = {
            "weights": slots * (not trace),
            "content": slots * (not trace),
            "parameters": self.parameters * (not trace),
            "similarity": slots,
            "logarithms": slots * self.sizes.location,
            "inverse_norms": (1 + self.sizes.write_read) * self.padded_size,
            "slopes": 4 * self.heads,
            "gates": 6 * self.hidden_size * self.layers * self.lstm,
            "lower": (self.layers - 1) * self.hidden_size * save,
        }
        return self.kept(widths, checkpoint_every, save, trace)

    def memory_state(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors of a state, but for the controller's."""
        sizes, rows = self.sizes, self.rows
        return {
            "memory": (rows, self.memory_size, self.word_size),
            "read_weights": (rows, sizes.read_heads, self.memory_size),
            "write_weights": (rows, sizes.write_heads, self.memory_size),
            "reads": (rows, sizes.read_heads, self.word_size),
        }
