"""The MANN op on CPU tensors: the C++ core (csrc/sequence.h and mann.h list what it is given)."""

from __future__ import annotations

from functools import cache

from torch import Tensor

from tapehead.ops.core_calls import Calls, Kernel
from tapehead.ops.mann.op import OP, Results

__all__: list[str] = []

_CALLS = Calls(OP)


@cache
def _kernel(function: str) -> Kernel:
    return Kernel(function, OP.owner)


def _forward(*arguments: object) -> Results:
    made: Results = _CALLS.forward(_kernel, arguments)
    return made


def _backward(*arguments: object) -> list[Tensor]:
    return _CALLS.backward(_kernel, arguments)


OP.register_kernels("cpu", _forward, _backward)
