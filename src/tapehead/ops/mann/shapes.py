"""The sizes of a call of the MANN's op, its state, and what it keeps."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from tapehead.ops.mann.parameters import MANNSettings
from tapehead.ops.shapes import SequenceShape, bits

__all__ = ["Shape", "Sizes"]

_LEAST_USED = {"one": 0, "each": 1, "all": 2}


class Sizes(NamedTuple):
    """Choices and those sizes that no tensor tells, as the schema takes them: integers."""

    read_heads: int
    learned_strength: int
    add: int
    least_used: int
    write_read: int
    tanh_key: int
    tanh_add: int
    relu: int
    """of a feed-forward controller, in place of tanh"""
    usage_decay: int
    """the bits of a float64: the core's fields are integers of 8 bytes"""
    groups: int = 1
    """of rows, each with parameters of its own"""

    @staticmethod
    def of(settings: MANNSettings) -> Sizes:
        return Sizes(
            settings.num_read_heads,
            int(settings.key_strength == "learned"),
            int(settings.write == "add"),
            _LEAST_USED[settings.least_used],
            int(settings.order == "write_read"),
            int(settings.key_activation == "tanh"),
            int(settings.add_activation == "tanh"),
            int(settings.controller_activation == "relu"),
            bits(settings.usage_decay),
        )


class Shape(SequenceShape):
    """Every size of a call, by the names of the core's fields."""

    __slots__ = ()
    Sizes: ClassVar = Sizes
    without_gradient: ClassVar = ("usage",)

    @property
    def unused(self) -> int:
        """Slots that are cleared in a step, as `MANNSettings.num_least_used`."""
        return int(self.sizes.read_heads) if self.sizes.least_used else 1

    @property
    def parameters(self) -> int:
        """P, the sum of `MANNSettings.head_sizes`."""
        words = self.word_size * (1 + self.sizes.add)
        return int(self.sizes.read_heads * (words + self.sizes.learned_strength + 1))

    def traced(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays in `Results.traced`, in their order: those that have a gradient."""
        slots = (self.steps, self.rows, self.sizes.read_heads, self.padded_size)
        return {
            "weights": slots,
            "written": slots,
            "parameters": (self.steps, self.rows, self.parameters),
            "memories": (self.steps + 1, self.rows, self.word_size, self.padded_size),
        }

    def noted(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what a trace shows without a gradient: the first arrays in `Results.internals`, in their order."""
        return {
            "unused": (self.steps, self.rows, self.unused),
            "usages": (self.steps, self.rows, self.padded_size),
        }

    def internals(self, checkpoint_every: int, save: bool, trace: bool) -> dict[str, int]:
        """How many numbers each array in `Results.internals` has, by the names of the core's fields, in their order.

        What has a gradient in a trace is not here.
        """
        slots = self.sizes.read_heads * self.padded_size
        widths = {
            "unused": self.unused,
            **({"usages": self.padded_size} if trace else {}),
            "weights": slots * (not trace),
            "parameters": self.parameters * (not trace),
            "similarity": slots,
            "inverse_norms": self.padded_size,
            "slopes": self.sizes.read_heads,
            "gates": 6 * self.hidden_size * self.layers * self.lstm,
            "lower": (self.layers - 1) * self.hidden_size * save,
        }
        return self.kept(widths, checkpoint_every, save, trace)

    def memory_state(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors of a state, but for the controller's."""
        rows, heads = self.rows, self.sizes.read_heads
        return {
            "memory": (rows, self.memory_size, self.word_size),
            "read_weights": (rows, heads, self.memory_size),
            "usage": (rows, self.memory_size),
            "reads": (rows, heads, self.word_size),
        }
