"""The sizes of a call of the NTM's op, and the shapes of every tensor that it takes, makes and keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, Protocol

from torch import Tensor

from tapehead.ops.ntm.parameters import NTMSettings

__all__ = ["Shape", "Sizes", "offsets_of", "padded"]

PADDING = 16
"""Slots are laid out in multiples of this: the widest vector of float32."""


def padded(count: int) -> int:
    """Rounded up to a multiple of `PADDING`."""
    return (count + PADDING - 1) // PADDING * PADDING


def offsets_of(numbers: dict[str, int]) -> dict[str, int]:
    """Where each of several arrays starts that lie one behind the other, given how many numbers each has."""
    return dict(zip(numbers, (0, *accumulate(numbers.values())), strict=False))


def _bits(value: float) -> int:
    """A normal float64 above 0, or infinity, as the integer of the same bits; torch.compile can trace this one."""
    if value == math.inf:
        return 0x7FF << 52
    mantissa, exponent = math.frexp(value)
    return ((exponent + 1022) << 52) + int((2 * mantissa - 1) * 2**52)


class Sizes(NamedTuple):
    """Choices and those sizes that no tensor tells, as the schema takes them: integers."""

    read_heads: int
    write_heads: int
    max_shift: int
    location: int
    write_read: int
    tanh_key: int
    tanh_add: int
    gradient_limit: int
    """the bits of a float64, infinity where there is no limit: the core's fields are integers of 8 bytes"""

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
            _bits(math.inf if settings.gradient_limit is None else settings.gradient_limit),
        )


class Call(Protocol):
    """What tells every size: `Arguments` and `BackwardArguments` have it."""

    @property
    def input(self) -> Tensor: ...
    @property
    def read_weights(self) -> Tensor: ...
    @property
    def weight_reads(self) -> Tensor: ...
    @property
    def weight_hidden(self) -> Tensor | None: ...
    @property
    def upper_weight(self) -> Tensor | None: ...
    @property
    def heads_weight(self) -> Tensor: ...
    @property
    def sizes(self) -> Sequence[int]: ...


class Shape(NamedTuple):
    """Every size of a call, by the names of the core's fields."""

    steps: int
    rows: int
    input_size: int
    hidden_size: int
    layers: int
    memory_size: int
    padded_size: int
    word_size: int
    lstm: int
    sizes: Sizes

    @staticmethod
    def of(given: Call) -> Shape:
        """Of a call, forward or backward."""
        choices = Sizes(*given.sizes)
        steps, rows, input_size = given.input.shape
        memory_size = given.read_weights.shape[2]
        return Shape(
            steps,
            rows,
            input_size,
            given.heads_weight.shape[1],
            1 if given.upper_weight is None else 1 + given.upper_weight.shape[0],
            memory_size,
            padded(memory_size),
            given.weight_reads.shape[1] // choices.read_heads,
            int(given.weight_hidden is not None),
            choices,
        )

    @property
    def gates(self) -> int:
        """G, sums in a layer of the controller."""
        return 4 * self.hidden_size if self.lstm else self.hidden_size

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

    def traced_numbers(self) -> dict[str, int]:
        """How many numbers each of them has, rounded up so that every one starts at a multiple of 64 bytes."""
        return {name: padded(math.prod(shape)) for name, shape in self.traced().items()}

    def internals(self, checkpoint_every: int, save: bool, trace: bool) -> dict[str, int]:
        """How many numbers each array in `Results.internals` has, by the names of the core's fields, in their order.

        Every one of them starts at a multiple of 64 bytes. What is in a trace is not here.
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
        steps = self.steps if save else 1
        numbers = {name: padded(width * steps * self.rows) for name, width in widths.items()}
        kept = self.steps // checkpoint_every + 1 if save and not trace else 0
        return {**numbers, "memories": kept * self.rows * self.word_size * self.padded_size}

    def state(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors of a state; without elements where a feed-forward controller has none."""
        sizes, rows = self.sizes, self.rows
        controller = (self.layers if self.lstm else 0, rows, self.hidden_size)
        return {
            "memory": (rows, self.memory_size, self.word_size),
            "read_weights": (rows, sizes.read_heads, self.memory_size),
            "write_weights": (rows, sizes.write_heads, self.memory_size),
            "reads": (rows, sizes.read_heads, self.word_size),
            "hidden": controller,
            "cell": controller,
        }

    def weights(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters, of those that a call may have."""
        hidden, upper, reads = self.hidden_size, self.layers - 1, self.sizes.read_heads * self.word_size
        return {
            "weight_input": (self.gates, self.input_size),
            "bias": (self.gates,),
            "weight_reads": (self.gates, reads),
            "weight_hidden": (self.gates, hidden),
            "upper_weight": (upper, self.gates, hidden + hidden * self.lstm),
            "upper_bias": (upper, self.gates),
            "heads_weight": (self.parameters, hidden),
            "heads_bias": (self.parameters,),
        }

    def arguments(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that the forward takes, of those that are not None."""
        return {
            "input": (self.steps, self.rows, self.input_size),
            **self.state(),
            **self.weights(),
            "lengths": (self.rows,),
        }

    def results(self, checkpoint_every: int, save: bool, trace: bool) -> dict[str, tuple[int, ...]]:
        """Shapes of what the forward makes, in the order of `Results`."""
        reads = self.sizes.read_heads * self.word_size
        return {
            "output": (self.steps, self.rows, self.hidden_size + reads),
            **self.state(),
            "traced": (sum(self.traced_numbers().values()) if trace else 0,),
            "internals": (sum(self.internals(checkpoint_every, save, trace).values()),),
        }

    def gradients(self, of_input: bool, of_state: bool) -> dict[str, tuple[int, ...]]:
        """Shapes of what the backward makes, in its order: by the names of what they are the gradients of."""
        wanted = self.arguments()
        del wanted["lengths"]
        if not of_input:
            del wanted["input"]
        absent = [] if of_state else list(self.state())
        if not self.lstm:
            absent += ["hidden", "cell", "weight_hidden"]
        if self.layers == 1:
            absent += ["upper_weight", "upper_bias"]
        return {name: shape for name, shape in wanted.items() if name not in absent}
