"""The sizes of a call of a machine's op, and the shapes of every tensor that it takes, makes and keeps."""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

from torch import Tensor

__all__ = ["SequenceShape", "bits", "double_of", "offsets_of", "padded"]

PADDING = 16
"""Slots are laid out in multiples of this: the widest vector of float32."""
SMALLEST_NORMAL = sys.float_info.min


def padded(count: int) -> int:
    """Rounded up to a multiple of `PADDING`."""
    return (count + PADDING - 1) // PADDING * PADDING


def offsets_of(numbers: dict[str, int]) -> dict[str, int]:
    """Where each of several arrays starts that lie one behind the other, given how many numbers each has."""
    return dict(zip(numbers, (0, *accumulate(numbers.values())), strict=False))


def bits(value: float) -> int:
    """A float64 of 0 or more, as the integer of its bits, by what torch.compile can trace; a subnormal one is 0.

    >>> import struct
    >>> all(bits(x) == struct.unpack("q", struct.pack("d", x))[0] for x in (0.0, 0.95, 1.0, 1e4, math.inf))
    True
    >>> bits(1e-310)
    0
    """
    if value < SMALLEST_NORMAL:
        return 0
    if value == math.inf:
        return 0x7FF << 52
    mantissa, exponent = math.frexp(value)
    return ((exponent + 1022) << 52) + int((2 * mantissa - 1) * 2**52)


def double_of(value: int) -> float:
    """The float64 that has these bits.

    >>> double_of(bits(0.95))
    0.95
    """
    number: float = struct.unpack("d", struct.pack("q", value))[0]
    return number


class Call(Protocol):
    """What tells every size: the arguments of a forward and of a backward have it."""

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


class _Fields(NamedTuple):
    """Every size of a call, by the names of the core's fields: those of one group."""

    steps: int
    rows: int
    input_size: int
    hidden_size: int
    layers: int
    memory_size: int
    padded_size: int
    word_size: int
    lstm: int
    sizes: Any
    """the machine's own, and its choices: a named tuple that has `read_heads` and `groups`"""


Shape = TypeVar("Shape", bound="SequenceShape")


class SequenceShape(_Fields):
    """Every size of a call; a machine's own subclass tells its state, and what it keeps.

    A call has `groups` of rows, each with parameters of its own. Every tensor of a call is the groups' own ones behind
    each other, along the first dimension.
    """

    __slots__ = ()
    Sizes: ClassVar[Any]
    without_gradient: ClassVar[tuple[str, ...]] = ()
    """tensors of the state that have none"""

    @classmethod
    def of(cls: type[Shape], given: Call) -> Shape:
        """The shape of a call, forward or backward."""
        choices = cls.Sizes(*given.sizes)
        steps, rows, input_size = given.input.shape
        groups = choices.groups
        memory_size = given.read_weights.shape[2]
        return cls(
            steps // groups,
            rows,
            input_size,
            given.heads_weight.shape[1],
            1 if given.upper_weight is None else 1 + given.upper_weight.shape[0] // groups,
            memory_size,
            padded(memory_size),
            given.weight_reads.shape[1] // choices.read_heads,
            int(given.weight_hidden is not None),
            choices,
        )

    @property
    def parameters(self) -> int:
        """P, the sum of the settings' `head_sizes`."""
        raise NotImplementedError

    def traced(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays in `Results.traced`, in their order."""
        raise NotImplementedError

    def internals(self, checkpoint_every: int, save: bool, trace: bool) -> dict[str, int]:
        """How many numbers each array in `Results.internals` has, by the names of the core's fields, in their order.

        Every one of them starts at a multiple of 64 bytes.
        """
        raise NotImplementedError

    def memory_state(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors of a state, but for the controller's."""
        raise NotImplementedError

    @property
    def groups(self) -> int:
        """How many there are."""
        return int(self.sizes.groups)

    def all_rows(self: Shape) -> Shape:
        """The same with the rows of all groups as one's."""
        return self._replace(rows=self.groups * self.rows)

    def of_all(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors of a call, of those of one group."""
        return {name: (self.groups * first, *rest) for name, (first, *rest) in shapes.items()}

    @property
    def gates(self) -> int:
        """G, sums in a layer of the controller."""
        return 4 * self.hidden_size if self.lstm else self.hidden_size

    @property
    def reads(self) -> int:
        """R*M."""
        return int(self.sizes.read_heads) * self.word_size

    def traced_numbers(self) -> dict[str, int]:
        """How many numbers each array in `Results.traced` has, rounded up to whole blocks of 64 bytes."""
        return {name: padded(math.prod(shape)) for name, shape in self.traced().items()}

    def kept(self, widths: dict[str, int], checkpoint_every: int, save: bool, trace: bool) -> dict[str, int]:
        """Numbers of arrays that have `widths` a row and step, and of the memories that are kept."""
        steps = self.steps if save else 1
        numbers = {name: padded(width * steps * self.rows) for name, width in widths.items()}
        kept = self.steps // checkpoint_every + 1 if save and not trace else 0
        return {**numbers, "memories": kept * self.rows * self.word_size * self.padded_size}

    def state(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors of a group's state; without elements where a feed-forward controller has none."""
        controller = (self.layers if self.lstm else 0, self.rows, self.hidden_size)
        return {**self.memory_state(), "hidden": controller, "cell": controller}

    def weights(self) -> dict[str, tuple[int, ...]]:
        """Shapes of a group's parameters, of those that a call may have."""
        hidden, upper = self.hidden_size, self.layers - 1
        return {
            "weight_input": (self.gates, self.input_size),
            "bias": (self.gates,),
            "weight_reads": (self.gates, self.reads),
            "weight_hidden": (self.gates, hidden),
            "upper_weight": (upper, self.gates, hidden + hidden * self.lstm),
            "upper_bias": (upper, self.gates),
            "heads_weight": (self.parameters, hidden),
            "heads_bias": (self.parameters,),
        }

    def arguments(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that the forward takes, of those that are not None."""
        own = {
            "input": (self.steps, self.rows, self.input_size),
            **self.state(),
            **self.weights(),
            "lengths": (self.rows,),
        }
        return self.of_all(own)

    def results(self, checkpoint_every: int, save: bool, trace: bool) -> dict[str, tuple[int, ...]]:
        """Shapes of what the forward makes, in the order of `Results`."""
        own = {
            "output": (self.steps, self.rows, self.hidden_size + self.reads),
            **self.state(),
            "traced": (sum(self.traced_numbers().values()) if trace else 0,),
            "internals": (sum(self.internals(checkpoint_every, save, trace).values()),),
        }
        return self.of_all(own)

    def gradients(self, of_input: bool, of_state: bool) -> dict[str, tuple[int, ...]]:
        """Shapes of what the backward makes, in its order: by the names of what they are the gradients of."""
        absent = self.absent(tuple(self.state()), of_input, of_state, lstm=bool(self.lstm), upper=self.layers > 1)
        return {name: shape for name, shape in self.arguments().items() if name not in absent}

    @classmethod
    def absent(
        cls, state: tuple[str, ...], of_input: bool, of_state: bool, *, lstm: bool, upper: bool
    ) -> frozenset[str]:
        """Which tensors that the forward takes the backward makes no gradient of; `state` has the state's names."""
        return frozenset(
            (
                "lengths",
                *cls.without_gradient,
                *(() if of_input else ("input",)),
                *(() if of_state else state),
                *(() if lstm else ("hidden", "cell", "weight_hidden")),
                *(() if upper else ("upper_weight", "upper_bias")),
            )
        )
