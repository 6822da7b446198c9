"""Which implementation of an op runs, and the sentences why another cannot.

`"reference"` is the paper's equations as a plain loop in torch, on any device; it defines what is correct.
`"fused"` runs a whole sequence in one call: C++ on CPU tensors, Triton on CUDA tensors.
`"auto"` takes the first of `fused`, `reference` that can run. An explicit choice never falls back: it raises
`BackendError` with every reason.

Every implementation answers one question, *why can you not run this?*, with a tuple of sentences; empty means it can.
A new one is a row in `_IMPLEMENTATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import torch
from torch.autograd import forward_ad

from tapehead import core
from tapehead.errors import BackendError

__all__ = ["AUTO_ORDER", "Backend", "BackendError", "Request", "choose", "ops", "why_not"]

Backend = Literal["auto", "reference", "fused"]
AUTO_ORDER: tuple[str, ...] = ("fused", "reference")
DTYPES = (torch.float32, torch.float64)


class Request(NamedTuple):
    """What is to be run: all that an implementation may look at to say no."""

    op: str
    device: torch.device
    dtype: torch.dtype
    transformed: bool = False
    """whether torch.func (vmap, grad, ...) or forward-mode differentiation transforms it"""


def is_transformed() -> bool:
    """Whether a transform of torch.func, or forward-mode differentiation, is at work here."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def is_eager() -> bool:
    """Whether tensors made here are plain ones that hold numbers: nothing traces, transforms or replaces them."""
    return not torch.compiler.is_compiling() and torch._C._len_torch_dispatch_stack() == 0 and not is_transformed()


def _reference(request: Request) -> tuple[str, ...]:
    if request.dtype not in DTYPES:
        return (f"it computes in float32 or float64, not {request.dtype}: convert the module and its input.",)
    return ()


def _core_is_missing() -> tuple[str, ...]:
    return core.why_not()


# What torch.compiler.assume_constant_result sets, which would import the compiler here: the answer never changes.
_core_is_missing._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _fused(request: Request) -> tuple[str, ...]:
    if request.device.type != "cpu":
        return (f"this version of tapehead has no fused kernel of {request.op} for {request.device.type} tensors.",)
    transformed = (
        ("it has no rules for the transforms of torch.func, nor for forward-mode differentiation.",)
        if request.transformed
        else ()
    )
    return _core_is_missing() + _reference(request) + transformed


_IMPLEMENTATIONS: dict[str, dict[str, Callable[[Request], tuple[str, ...]]]] = {
    "ntm": {"reference": _reference, "fused": _fused},
    "mann": {"reference": _reference, "fused": _fused},
}


def ops() -> tuple[str, ...]:
    """Names of the ops that have backends.

    >>> ops()
    ('ntm', 'mann')
    """
    return tuple(_IMPLEMENTATIONS)


def why_not(backend: str, request: Request) -> tuple[str, ...]:
    """Every reason why `backend` cannot run `request`; empty when it can.

    Raises:
        ValueError: no such op or backend.

    >>> why_not("reference", Request("ntm", torch.device("cpu"), torch.float32))
    ()
    """
    if request.op not in _IMPLEMENTATIONS:
        raise ValueError(f"backends: expected an op of {ops()}, got {request.op!r}.")
    check_name(backend)
    return _IMPLEMENTATIONS[request.op][backend](request)


def check_name(backend: str, *, auto: bool = False) -> None:
    """Raise ValueError unless `backend` is the name of one (or "auto", where that is allowed)."""
    allowed = get_args(Backend) if auto else AUTO_ORDER
    if backend not in allowed:
        raise ValueError(f"backend: expected one of {tuple(allowed)}, got {backend!r}.")


def choose(backend: str, request: Request) -> str:
    """The name of the implementation that runs `request`: `backend` itself, or what "auto" comes to.

    Raises:
        BackendError: the one asked for, or with "auto" every one, cannot run it.

    >>> choose("auto", Request("ntm", torch.device("meta"), torch.float64))
    'reference'
    """
    check_name(backend, auto=True)
    candidates = AUTO_ORDER if backend == "auto" else (backend,)
    refusals = []
    for candidate in candidates:
        reasons = why_not(candidate, request)
        if not reasons:
            return candidate
        refusals += [f"backend {candidate!r} cannot run {request.op}: {reason}" for reason in reasons]
    hint = "" if backend == "auto" else " backend='auto' takes one that can; `tapehead info` lists them."
    raise BackendError(" ".join(refusals) + hint)
