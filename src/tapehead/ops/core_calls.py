"""Calls of the C++ core on CPU tensors: addresses in the order of the core's fields (csrc/sequence.h lists them)."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import deterministic

from tapehead import core
from tapehead.ops.custom import SequenceOp, core_name
from tapehead.ops.shapes import SequenceShape, offsets_of

__all__ = ["Calls", "Check", "Kernel", "checked"]

_RUN = ("double_precision", "threads", "poison", "strides", "internals", "internals_bytes")


class Check(NamedTuple):
    """What a tensor has to be."""

    name: str
    shape: tuple[int, ...]
    numbers: int
    is_lengths: bool


class _Layout(NamedTuple):
    """What depends on the sizes of a call alone."""

    made: tuple[tuple[int, ...], ...]
    """shapes of the tensors that it makes"""
    checks: tuple[Check, ...]
    """of the tensors that it takes"""
    constant: tuple[int, ...]
    """sizes and choices"""
    traced: tuple[int, ...]
    """where the arrays in `Results.traced` start, in numbers; none without a trace"""
    internals: tuple[int, ...]
    """and those in `Results.internals`"""
    groups: int
    strides: tuple[tuple[str, int], ...]
    """numbers from one group's array to the next one's, in the order in which the addresses are listed"""
    in_order: Callable[[tuple[int, ...]], tuple[int, ...]]
    """puts all values of a call in the order of the core's fields"""


class Kernel:
    """A function of the core."""

    def __init__(self, function: str, owner: str) -> None:
        self._function, self._owner = getattr(core.library(), function), owner

    def __call__(
        self,
        layout: _Layout,
        taken: list[Tensor | None],
        made: Iterable[Tensor],
        traced: Tensor,
        internals: Tensor,
        grad_traced: Tensor | None = None,
    ) -> None:
        """Run on checked tensors."""
        # What fills torch.empty with NaN fills the workspaces too.
        fill: bool = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        poison = fill and torch.are_deterministic_algorithms_enabled()
        start, itemsize = internals.data_ptr(), internals.element_size()
        strides = self._strides(layout, itemsize) if layout.groups > 1 else None
        first = 0 if strides is None else strides.buffer_info()[0]
        values = [*layout.constant, itemsize == 8, torch.get_num_threads(), poison, first, start]
        values += [internals.numel() * itemsize]
        values += [0 if tensor is None else tensor.data_ptr() for tensor in taken]
        values += [tensor.data_ptr() for tensor in made]
        if layout.traced:
            values += [traced.data_ptr() + offset * itemsize for offset in layout.traced]
        values += [start + offset * itemsize for offset in layout.internals]
        if grad_traced is not None:
            values += [grad_traced.data_ptr() + offset * itemsize for offset in layout.traced]
        else:
            values += [0] * len(layout.traced)
        fields = array("q", layout.in_order((*values, 0)))
        if self._function(fields.buffer_info()[0]):
            raise MemoryError(
                f"{self._owner}: there is no memory for the buffers of the fused kernel. Take fewer rows at once."
            )

    @staticmethod
    def _strides(layout: _Layout, itemsize: int) -> array[int]:
        """Bytes from one group's array to the next one's, in the order of the core's fields."""
        sizes = [0] * (len(layout.constant) + len(_RUN))
        strides = [count * (8 if name == "lengths" else itemsize) for name, count in layout.strides]
        return array("q", layout.in_order((*sizes, *strides, 0)))


def checked(op: str, checks: Iterable[Check], tensors: Iterable[Tensor | None], like: Tensor) -> list[Tensor | None]:
    """The tensors of a call, contiguous, all of one dtype and device, with their numbers at their addresses.

    In a list, so that copies live until the kernel is done with them.
    """
    dtype, device = like.dtype, like.device
    found: list[Tensor | None] = []
    for (name, shape, numbers, is_lengths), tensor in zip(checks, tensors, strict=True):
        if tensor is not None:
            kind = torch.int64 if is_lengths else dtype
            if tensor.dtype is not kind or tensor.numel() != numbers or tensor.device != device:
                raise ValueError(
                    f"tapehead::{op}: expected {name} {shape} of {kind} on {device}, got {tuple(tensor.shape)} of "
                    f"{tensor.dtype} on {tensor.device}. Give every tensor of a call one dtype and device."
                )
            zeros = tensor._is_zerotensor()  # without memory
            if numbers and not zeros and tensor.untyped_storage().nbytes() == 0:
                raise ValueError(
                    f"tapehead::{op}: expected {name} with its numbers, got a tensor whose memory was given back. "
                    "Where fully_shard gave it back, shard the whole layer instead of its parts."
                )
            if not tensor.is_contiguous():
                tensor = tensor.contiguous()
            if tensor.is_neg() or zeros:  # then its numbers are not what its memory holds
                tensor = tensor.clone()
        found.append(tensor)
    return found


class Calls:
    """The forward and backward of a machine's op, on CPU tensors."""

    def __init__(self, op: SequenceOp) -> None:
        self.op = op
        self._taken = op.arguments._fields[: op.arguments._fields.index("lengths") + 1]
        self._gradients = tuple(f"grad_{core_name(name)}" for name in op.differentiable)
        self._saved = (*self._gradients, *op.saved)
        self._grad_traced = self._saved.index("grad_traced")

    def forward(self, kernel_of: Callable[[str], Kernel], arguments: tuple[Any, ...]) -> Any:
        """What the op's forward returns; `kernel_of` is asked for the core's function when all is checked."""
        given = self.op.arguments._make(arguments)
        layout = self._forward_layout(self.op.shape.of(given), given.checkpoint_every, given.save, given.trace)
        made = self.op.results._make(map(given.input.new_empty, layout.made))
        taken = checked(self.op.name, layout.checks, given[: len(self._taken)], given.input)
        kernel = kernel_of(f"tapehead_{self.op.name}_forward")
        kernel(layout, taken, made, made.traced, made.internals)
        return made

    def backward(self, kernel_of: Callable[[str], Kernel], arguments: tuple[Any, ...]) -> list[Tensor]:
        """What the op's backward returns."""
        given = self.op.backward_arguments._make(arguments)
        trace, shape = given.traced.numel() > 0, self.op.shape.of(given)
        layout = self._backward_layout(shape, given.checkpoint_every, trace, given.of_input, given.of_state)
        made = list(map(given.output.new_empty, layout.made))
        taken = checked(self.op.name, layout.checks, given[: len(self._saved)], given.output)
        kernel = kernel_of(f"tapehead_{self.op.name}_backward")
        kernel(layout, taken, made, given.traced, given.internals, taken[self._grad_traced])
        return made

    @lru_cache(4096)  # noqa: B019  (the calls live as long as the process)
    def _forward_layout(self, shape: SequenceShape, checkpoint_every: int, save: bool, trace: bool) -> _Layout:
        arguments, results = shape.arguments(), shape.results(checkpoint_every, save, trace)
        made = {core_name(name): size for name, size in results.items()}
        taken = {name: arguments[name] for name in self._taken}
        return self._layout(shape, checkpoint_every, save, taken, made, trace)

    @lru_cache(4096)  # noqa: B019
    def _backward_layout(
        self, shape: SequenceShape, checkpoint_every: int, trace: bool, of_input: bool, of_state: bool
    ) -> _Layout:
        results = shape.results(checkpoint_every, True, trace)
        given = {**results, **shape.arguments()}
        given.update({f"grad_{core_name(name)}": results[name] for name in self.op.differentiable})
        made = {f"grad_{name}": size for name, size in shape.gradients(of_input, of_state).items()}
        taken = {name: given[name] for name in self._saved}
        return self._layout(shape, checkpoint_every, True, taken, made, trace, gradients=True)

    def _layout(
        self,
        shape: SequenceShape,
        checkpoint_every: int,
        save: bool,
        taken: dict[str, tuple[int, ...]],
        made: dict[str, tuple[int, ...]],
        trace: bool,
        gradients: bool = False,
    ) -> _Layout:
        """With the core's names for tensors taken and made; gradients of what is traced lie behind all else."""
        shown = shape.traced_numbers() if trace else {}
        numbers = shape.internals(checkpoint_every, save, trace)
        traced, kept = offsets_of(shown), offsets_of(numbers)
        internals = {name: start for name, start in kept.items() if name not in traced}
        behind = tuple(f"grad_{name}" for name in traced) if gradients else ()
        constant = (*shape._fields[:-1], *shape.sizes._fields, "save", "checkpoint_every")
        names = (*constant, *_RUN, *taken, *made, *traced, *internals, *behind)
        fields = getattr(core.library(), f"tapehead_{self.op.name}_fields")().decode().split()
        assert set(names) - set(fields) <= {"traced", "grad_traced"}
        parts = {name: math.prod(size) // shape.groups for name, size in {**taken, **made}.items()}
        parts |= dict.fromkeys((*traced, *behind), sum(shown.values())) | dict.fromkeys(
            internals, sum(numbers.values())
        )
        return _Layout(
            made=tuple(made.values()),
            checks=tuple(Check(name, size, math.prod(size), name == "lengths") for name, size in taken.items()),
            constant=(*shape[:-1], *shape.sizes, int(save), checkpoint_every),
            traced=tuple(traced.values()),
            internals=tuple(internals.values()),
            groups=shape.groups,
            strides=tuple((name, parts[name]) for name in names[len(constant) + len(_RUN) :]),
            # A 0 stands behind the values, for the fields that have none.
            in_order=itemgetter(*(names.index(field) if field in names else len(names) for field in fields)),
        )
