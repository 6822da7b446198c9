"""The NTM op on CPU tensors: the C++ core, called with the addresses of the tensors (csrc/ntm.h lists them)."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable
from functools import cache, lru_cache
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils import deterministic

from tapehead import core
from tapehead.ops.ntm.op import Arguments, BackwardArguments, Results, register_kernels
from tapehead.ops.ntm.shapes import Shape, Sizes, offsets_of

__all__: list[str] = []

_CONSTANT = (*Shape._fields[:-1], *Sizes._fields, "save", "checkpoint_every")
_RUN = ("double_precision", "threads", "poison", "internals", "internals_bytes")
_TAKEN = Arguments._fields[:16]
_SAVED = BackwardArguments._fields[:23]
_GRAD_TRACED = _SAVED.index("grad_traced")
_LAST = tuple(f"last_{name}" for name in Results._fields[1:7])


class _Check(NamedTuple):
    """What a tensor has to be."""

    name: str
    shape: tuple[int, ...]
    numbers: int
    is_lengths: bool


class _Layout(NamedTuple):
    """What depends on the sizes of a call alone."""

    made: tuple[tuple[int, ...], ...]
    """shapes of the tensors that it makes"""
    checks: tuple[_Check, ...]
    """of the tensors that it takes"""
    constant: tuple[int, ...]
    """values of `_CONSTANT`"""
    traced: tuple[int, ...]
    """where the arrays in `Results.traced` start, in numbers; none without a trace"""
    internals: tuple[int, ...]
    """and those in `Results.internals`"""
    in_order: Callable[[tuple[int, ...]], tuple[int, ...]]
    """puts all values of a call in the order of the core's fields"""

    @staticmethod
    def of(
        shape: Shape,
        checkpoint_every: int,
        save: bool,
        taken: dict[str, tuple[int, ...]],
        made: dict[str, tuple[int, ...]],
        traced: dict[str, int],
        behind: tuple[str, ...] = (),
    ) -> _Layout:
        """With the core's names for tensors taken and made, and for what lies `behind` everything else."""
        kept = offsets_of(shape.internals(checkpoint_every, save, bool(traced)))
        internals = {name: start for name, start in kept.items() if name not in traced}
        names = (*_CONSTANT, *_RUN, *taken, *made, *traced, *internals, *behind)
        fields = core.library().tapehead_ntm_fields().decode().split()
        assert set(names) - set(fields) <= {"traced", "grad_traced"}
        return _Layout(
            made=tuple(made.values()),
            checks=tuple(_Check(name, size, math.prod(size), name == "lengths") for name, size in taken.items()),
            constant=(*shape[:-1], *shape.sizes, int(save), checkpoint_every),
            traced=tuple(traced.values()),
            internals=tuple(internals.values()),
            # A 0 stands behind the values, for the fields that have none.
            in_order=itemgetter(*(names.index(field) if field in names else len(names) for field in fields)),
        )


@lru_cache(4096)
def _forward_layout(shape: Shape, checkpoint_every: int, save: bool, trace: bool) -> _Layout:
    arguments, results = shape.arguments(), shape.results(checkpoint_every, save, trace)
    names = ("output", *_LAST, "traced", "internals")
    made = dict(zip(names, results.values(), strict=True))
    traced = offsets_of(shape.traced_numbers()) if trace else {}
    return _Layout.of(shape, checkpoint_every, save, {name: arguments[name] for name in _TAKEN}, made, traced)


@lru_cache(4096)
def _backward_layout(shape: Shape, checkpoint_every: int, trace: bool, of_input: bool, of_state: bool) -> _Layout:
    results = shape.results(checkpoint_every, True, trace)
    gradients = dict(zip(_SAVED[:8], results.values(), strict=False))
    given = {**results, **shape.arguments(), **gradients}
    made = {f"grad_{name}": size for name, size in shape.gradients(of_input, of_state).items()}
    traced = offsets_of(shape.traced_numbers()) if trace else {}
    behind = tuple(f"grad_{name}" for name in traced)
    taken = {name: given[name] for name in _SAVED}
    return _Layout.of(shape, checkpoint_every, True, taken, made, traced, behind)


class _Kernel:
    """A function of the core."""

    def __init__(self, function: str) -> None:
        self._function = getattr(core.library(), function)

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
        values = [*layout.constant, itemsize == 8, torch.get_num_threads(), poison, start, internals.numel() * itemsize]
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
            raise MemoryError("NTM: there is no memory for the buffers of the fused kernel. Take fewer rows at once.")


@cache
def _kernel(function: str) -> _Kernel:
    return _Kernel(function)


def _checked(checks: Iterable[_Check], tensors: Iterable[Tensor | None], dtype: torch.dtype) -> list[Tensor | None]:
    """The tensors, contiguous; in a list, so that copies live until the core is done with them."""
    checked: list[Tensor | None] = []
    for (name, shape, numbers, is_lengths), tensor in zip(checks, tensors, strict=True):
        if tensor is not None:
            kind = torch.int64 if is_lengths else dtype
            if tensor.dtype is not kind or tensor.numel() != numbers or not tensor.is_cpu:
                raise ValueError(
                    f"tapehead::ntm: expected {name} {shape} of {kind} on cpu, got {tuple(tensor.shape)} of "
                    f"{tensor.dtype} on {tensor.device}. Give every tensor of a call one dtype and device."
                )
            if not tensor.is_contiguous():
                tensor = tensor.contiguous()
        checked.append(tensor)
    return checked


def _forward(*arguments: object) -> Results:
    given = Arguments._make(arguments)
    layout = _forward_layout(Shape.of(given), given.checkpoint_every, given.save, given.trace)
    made = Results._make(map(given.input.new_empty, layout.made))
    taken = _checked(layout.checks, given[:16], given.input.dtype)
    _kernel("tapehead_ntm_forward")(layout, taken, made, made.traced, made.internals)
    return made


def _backward(*arguments: object) -> list[Tensor]:
    given = BackwardArguments._make(arguments)
    trace = given.traced.numel() > 0
    layout = _backward_layout(Shape.of(given), given.checkpoint_every, trace, given.of_input, given.of_state)
    made = list(map(given.output.new_empty, layout.made))
    taken = _checked(layout.checks, given[:23], given.output.dtype)
    _kernel("tapehead_ntm_backward")(layout, taken, made, given.traced, given.internals, taken[_GRAD_TRACED])
    return made


register_kernels("cpu", _forward, _backward)
