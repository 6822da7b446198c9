"""The NTM op on CPU tensors: the C++ core, called with the addresses of the tensors (csrc/ntm.h lists them)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils import deterministic

from tapehead import core
from tapehead.ops.ntm.op import Arguments, BackwardArguments, Gradients, Results, Shape, Sizes, register_kernels

__all__: list[str] = []


_RUN = ("double_precision", "threads", "save", "checkpoint_every", "poison")
_SIZES = (*Shape._fields[:-1], *Sizes._fields, *_RUN)
_TAKEN = Arguments._fields[:14]
_MADE = ("output", *(f"last_{name}" for name in Results._fields[1:7]), *Results._fields[7:13])
_SAVED = tuple(name for name in BackwardArguments._fields[:-2] if name != "internals")
_GRADIENTS = tuple(f"grad_{name}" for name in Gradients._fields)


class _Kernel:
    """A function of the core, and where in its array of integers the values go that are passed in a fixed order."""

    def __init__(self, function: str, names: tuple[str, ...]) -> None:
        self._function = getattr(core.library(), function)
        fields = core.library().tapehead_ntm_fields().decode().split()
        self._array = ctypes.c_int64 * len(fields)
        self._places = [fields.index(name) for name in names]

    def __call__(
        self,
        shape: Shape,
        checkpoint_every: int,
        save: bool,
        internals: Tensor,
        tensors: Iterable[Tensor | None],
    ) -> None:
        """Run it. Tensors are contiguous, and of the dtype of `internals`."""
        itemsize = internals.element_size()
        # What fills torch.empty with NaN fills the workspaces too.
        fill: bool = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        poison = fill and torch.are_deterministic_algorithms_enabled()
        *sizes, choices = shape
        values = [*sizes, *choices, itemsize == 8, torch.get_num_threads(), save, checkpoint_every, poison]
        address = internals.data_ptr()
        for count in shape.internals(shape.steps if save else 1).values():
            values.append(address)
            address += count * itemsize
        values += [0 if tensor is None else tensor.data_ptr() for tensor in tensors]
        array = self._array()
        for place, value in zip(self._places, values, strict=True):
            array[place] = value
        if self._function(array):
            raise MemoryError("NTM: there is no memory for the buffers of the fused kernel. Take fewer rows at once.")


@cache
def _kernel(function: str) -> _Kernel:
    internals = ("similarity", "logarithms", "inverse_norms", "slopes", "gates")
    tensors = {"tapehead_ntm_forward": _TAKEN + _MADE, "tapehead_ntm_backward": _SAVED + _GRADIENTS}
    return _Kernel(function, _SIZES + internals + tensors[function])


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _forward(*arguments: Any) -> Results:
    given = Arguments(*arguments)
    shape = Shape.of(given)
    made = shape.results(given.projected, given.checkpoint_every, given.save)
    # A list, so that copies live until the core is done with them.
    taken = [_contiguous(tensor) for tensor in given[:14]]
    kernel = _kernel("tapehead_ntm_forward")
    kernel(shape, given.checkpoint_every, given.save, made.internals, [*taken, *made[:13]])
    return made


def _backward(*arguments: Any) -> Gradients:
    given = BackwardArguments(*arguments)
    shape = Shape.of(given)
    made = shape.gradients(given.output)
    *taken, internals = (_contiguous(tensor) for tensor in given[:-2])
    assert internals is not None
    _kernel("tapehead_ntm_backward")(shape, given.checkpoint_every, True, internals, [*taken, *made])
    return made


register_kernels("cpu", _forward, _backward)
