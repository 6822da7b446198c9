"""The NTM op on CPU tensors: the C++ core, called with the addresses of the tensors (csrc/ntm.h lists them)."""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Iterable
from functools import cache, lru_cache
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import deterministic

from tapehead import core
from tapehead.ops.ntm.op import (
    DIFFERENTIABLE,
    Arguments,
    BackwardArguments,
    Gradients,
    Results,
    Shape,
    Sizes,
    register_kernels,
)

__all__: list[str] = []


_SIZES = (*Shape._fields[:-1], *Sizes._fields)
_RUN = ("save", "checkpoint_every", "double_precision", "threads", "poison", "internals", "internals_bytes")
_TRACED = ("weights", "content", "parameters", "memories")
_INTERNALS = ("similarity", "logarithms", "inverse_norms", "slopes", "gates")
_TAKEN = Arguments._fields[:16]
_PASSED = tuple(name for name in _TAKEN if name not in ("weight_input", "bias"))
_STATE = tuple(f"last_{name}" for name in Results._fields[1:7])
_SAVED = tuple(name for name in BackwardArguments._fields[:-2] if name not in (*_TRACED, "internals"))
_KEPT = (*Results._fields[7:11], "internals")
_GRADIENTS = tuple(f"grad_{name}" for name in Gradients._fields)


class _Layout(NamedTuple):
    """What depends on the sizes of a call alone."""

    fields: tuple[int, ...]
    """sizes, `save` and `checkpoint_every`"""
    offsets: tuple[int, ...]
    """of the arrays in `Results.internals`, in numbers"""
    results: list[tuple[int, ...]]
    gradients: list[tuple[int, ...]]
    taken: list[tuple[int, ...]]
    """shapes of the tensors in `Arguments`"""
    saved: list[tuple[int, ...]]
    """shapes of the tensors in `BackwardArguments`, without those of a trace"""


@lru_cache(4096)
def _layout(shape: Shape, checkpoint_every: int, save: bool, trace: bool) -> _Layout:
    *sizes, choices = shape
    lengths = shape.internals(checkpoint_every, save, trace).values()
    offsets = (0, *itertools.accumulate(lengths))[:-1]
    results = shape.results(checkpoint_every, save, trace)
    given = {**shape.arguments(), **dict(zip(Results._fields, results, strict=True))}
    gradients = dict(zip(BackwardArguments._fields[:DIFFERENTIABLE], results, strict=False))
    # The state that the backward is given is the one that the sequence started from.
    saved = [gradients.get(name) or shape.arguments().get(name) or given[name] for name in _SAVED]
    taken = [given[name] for name in _TAKEN]
    fields = (*sizes, *choices, int(save), checkpoint_every)
    return _Layout(fields, offsets, results, shape.gradients(), taken, saved)


class _Kernel:
    """A function of the core.

    Args:
        function: its name
        tensors: names of the core's fields for the tensors it is called with
    """

    def __init__(self, function: str, tensors: tuple[str, ...]) -> None:
        self._function = getattr(core.library(), function)
        fields = core.library().tapehead_ntm_fields().decode().split()
        self._array = ctypes.c_int64 * len(fields)
        names = (*_SIZES, *_RUN, *tensors, *_TRACED[:3], *_INTERNALS, _TRACED[3])
        assert set(names) <= set(fields)
        # Puts the values of `names`, and a 0 behind them for the fields that are not among them, in the core's order.
        self._in_order = itemgetter(*(names.index(field) if field in names else len(names) for field in fields))

    def __call__(
        self, layout: _Layout, tensors: list[Tensor | None], traced: tuple[Tensor, ...], internals: Tensor
    ) -> None:
        """Run it on contiguous tensors; `traced` in the order of `_TRACED`, without elements if there is no trace."""
        # What fills torch.empty with NaN fills the workspaces too.
        fill: bool = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        poison = fill and torch.are_deterministic_algorithms_enabled()
        start, itemsize = internals.data_ptr(), internals.element_size()
        places = [start + offset * itemsize for offset in layout.offsets]
        if traced[0].numel():
            *places[:3], places[-1] = (tensor.data_ptr() for tensor in traced)
        pointers = [0 if tensor is None else tensor.data_ptr() for tensor in tensors]
        run = (itemsize == 8, torch.get_num_threads(), poison, start, internals.numel() * itemsize)
        if self._function(self._array(*self._in_order((*layout.fields, *run, *pointers, *places, 0)))):
            raise MemoryError("NTM: there is no memory for the buffers of the fused kernel. Take fewer rows at once.")


@cache
def _keep_freed_memory() -> None:
    """Have glibc keep memory that is freed from call to call, instead of giving it back and clearing it anew.

    It keeps as much as twice the largest piece that was ever freed, of up to 32 MiB. So one is freed, never touched.
    """
    torch.empty(2**25 - 2**14, dtype=torch.uint8)


@cache
def _kernel(function: str) -> _Kernel:
    _keep_freed_memory()
    made = ("output", *_STATE, "inputs", "upper_inputs")
    return _Kernel(
        function, (*_PASSED, "projected", *made) if function == "tapehead_ntm_forward" else (*_SAVED, *_GRADIENTS)
    )


def _checked(
    names: tuple[str, ...], tensors: Iterable[Tensor | None], shapes: list[tuple[int, ...]], dtype: torch.dtype
) -> list[Tensor | None]:
    """The tensors, contiguous; in a list, so that copies live until the core is done with them."""
    checked: list[Tensor | None] = []
    for name, tensor, shape in zip(names, tensors, shapes, strict=True):
        if tensor is not None:
            kind = torch.int64 if name == "lengths" else dtype
            # Counts are compared rather than shapes, which take five times as long.
            if tensor.dtype is not kind or tensor.numel() != math.prod(shape) or not tensor.is_cpu:
                raise ValueError(
                    f"tapehead::ntm: expected {name} {shape} of {kind} on cpu, got {tuple(tensor.shape)} of "
                    f"{tensor.dtype} on {tensor.device}. Give every tensor of a call one dtype and device."
                )
            if not tensor.is_contiguous():
                tensor = tensor.contiguous()
        checked.append(tensor)
    return checked


def _forward(*arguments: Any) -> Results:
    given = Arguments(*arguments)
    layout = _layout(Shape.of(given), given.checkpoint_every, given.save, given.trace)
    made = Results._make(map(given.input.new_empty, layout.results))
    traced = (made.weights, made.content, made.parameters, made.memories)
    taken = _checked(_TAKEN, arguments[:16], layout.taken, given.input.dtype)
    # What all steps' inputs share in the lowest layer's sums: (T*B, G).
    projected = torch.addmm(given.bias, given.input.flatten(0, 1), given.weight_input.t())
    del taken[7:9]
    tensors = [*taken, projected, *made[:7], made.inputs, made.upper_inputs]
    _kernel("tapehead_ntm_forward")(layout, tensors, traced, made.internals)
    return made


_saved = attrgetter(*_SAVED)


def _backward(*arguments: Any) -> Gradients:
    given = BackwardArguments(*arguments)
    layout = _layout(Shape.of(given), given.checkpoint_every, True, given.weights.numel() > 0)
    saved = _checked(_SAVED, _saved(given), layout.saved, given.output.dtype)
    kept = [given.memories, given.weights, given.content, given.parameters, given.internals]
    shapes = [*layout.results[7:11], layout.results[13]]
    memories, weights, content, parameters, internals = _checked(_KEPT, kept, shapes, given.output.dtype)
    made = Gradients._make(map(given.output.new_empty, layout.gradients))
    traced = (weights, content, parameters, memories)
    _kernel("tapehead_ntm_backward")(layout, [*saved, *made], traced, internals)  # type: ignore[arg-type]
    return made


register_kernels("cpu", _forward, _backward)
