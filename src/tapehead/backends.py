"""Which implementation of an op runs, and the sentences why another cannot.

`"reference"` is the paper's equations as a plain loop in torch, on any device; it defines what is correct.
`"fused"` runs a whole sequence in one call: C++ on CPU tensors, Triton on CUDA tensors.
`"auto"` takes the first of `fused`, `reference` that can run and that it does not pass over. An explicit choice never
falls back: it raises `BackendError` with every reason. Nor does "auto" where TAPEHEAD_ISA or TAPEHEAD_CORE is invalid.

Every implementation answers one question, *why can you not run this?*, with a tuple of sentences; empty means it can.
A new one is a row in `_IMPLEMENTATIONS`. What can run but is not proved on the device yet, `passed_over` tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, NamedTuple

import torch
from torch.autograd import forward_ad

from tapehead import core
from tapehead.errors import BackendError

__all__ = [
    "AUTO_ORDER",
    "Backend",
    "BackendError",
    "Request",
    "choose",
    "ops",
    "passed_over",
    "triton_version",
    "why_not",
]

Backend = Literal["auto", "reference", "fused"]
AUTO_ORDER: tuple[str, ...] = ("fused", "reference")
DTYPES = (torch.float32, torch.float64)
TRITON = (3, 4)
"""the oldest version of Triton that compiles them"""
TRITON_PACKAGES = ("triton", "pytorch-triton")
"""names under which Triton for CUDA is installed, the second with torch's nightly builds"""
ROCM_PACKAGES = ("pytorch-triton-rocm", "triton-rocm")
"""and Triton for AMD's devices, with torch's builds for those"""
CAPABILITY = (8, 0)
"""the least compute capability that Triton compiles for"""
NO_RULE = "it has first derivatives in reverse mode only: no derivatives of those, none in forward mode."
MOST_SLOTS, LONGEST_WORD = 16384, 1024
"""sizes of a memory of which a program of Triton's can hold a vector"""


class Request(NamedTuple):
    """What is to be run: all that an implementation may look at to say no."""

    op: str
    """`ntm` or `mann`"""
    device: torch.device
    """of the tensors"""
    dtype: torch.dtype
    """of the tensors"""
    without_rule: bool = False
    """whether it is transformed in a way that the fused ops have no rule for: `without_rule`"""
    memory_size: int = 0
    """N, slots of the memory; 0 where nobody knows yet"""
    word_size: int = 0
    """M, numbers in a slot; likewise"""


def is_transformed() -> bool:
    """Whether a transform of torch.func, or forward-mode differentiation, is at work here."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0


def without_rule() -> bool:
    """Whether a transform is at work here that the fused ops have no rule for.

    They have one for `torch.func.vmap` and for first derivatives in reverse mode, and none for derivatives in forward
    mode or, as `grad` of `grad`, of a derivative.
    """
    if torch.compiler.is_compiling() or not is_transformed():
        return False
    levels = torch._C._functorch.get_interpreter_stack() or []
    grads = sum(level.key() == torch._C._functorch.TransformType.Grad for level in levels)
    return grads > 1 or forward_ad._current_level >= 0


def is_tracing() -> bool:
    """Whether `torch.jit.trace` records what is called here."""
    return not torch.compiler.is_compiling() and torch._C._is_tracing()


def is_eager() -> bool:
    """Whether tensors made here are plain ones that hold numbers: nothing traces, transforms or replaces them."""
    return (
        not torch.compiler.is_compiling()
        and not is_tracing()
        and torch._C._len_torch_dispatch_stack() == 0
        and not is_transformed()
    )


def _reference(request: Request) -> tuple[str, ...]:
    if request.dtype not in DTYPES:
        return (f"it computes in float32 or float64, not {request.dtype}: convert the module and its input.",)
    return ()


def _constant(function: Callable[..., Any]) -> Callable[..., Any]:
    """What torch.compiler.assume_constant_result does, which would import the compiler here."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@_constant
def _core_is_missing() -> tuple[str, ...]:
    return core.why_not()


@_constant
def _wish_refused() -> str | None:
    return core.wish_refused()


def triton_version() -> str | None:
    """The version of Triton for CUDA, under whichever name it is installed; None where it is not."""
    return next(filter(None, map(_version, TRITON_PACKAGES)), None)


@lru_cache  # every call of a layer asks, and looking takes a third of a millisecond
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@_constant
def _triton_is_missing() -> tuple[str, ...]:
    needed = ".".join(map(str, TRITON))
    install = 'pip install "tapehead[gpu]"'
    found = triton_version()
    if found is None:
        other = next(filter(_version, ROCM_PACKAGES), None)
        if other is not None:
            return (f"it needs Triton for CUDA, and {other} is installed, which is for ROCm.",)
        return (f"Triton is not installed, which compiles the kernels: {install} brings it, on Linux.",)
    if tuple(map(int, re.findall(r"\d+", found)[:2])) < TRITON:
        return (f"it needs Triton {needed} or later, and {found} is installed: {install} brings one.",)
    return ()


@_constant
def _device_is_missing(index: int | None) -> tuple[str, ...]:
    if not torch.cuda.is_available():
        return ("torch sees no CUDA device here.",)
    capability = torch.cuda.get_device_capability(index)
    if capability < CAPABILITY:
        needed, found = (".".join(map(str, pair)) for pair in (CAPABILITY, capability))
        return (f"it needs a device of compute capability {needed} or higher, and this one has {found}.",)
    return ()


def _fused(request: Request) -> tuple[str, ...]:
    kind = request.device.type
    if kind == "cpu":
        missing = _core_is_missing()
    elif kind == "cuda":
        missing = _triton_is_missing() + _device_is_missing(request.device.index) + _too_large(request)
    else:
        return (f"this version of tapehead has no fused kernel of {request.op} for {kind} tensors.",)
    return missing + _reference(request) + ((NO_RULE,) if request.without_rule else ())


def _too_large(request: Request) -> tuple[str, ...]:
    sizes = (
        ("slots", request.memory_size, MOST_SLOTS),
        ("numbers in a slot", request.word_size, LONGEST_WORD),
    )
    return tuple(
        f"on CUDA it takes at most {most:,} {what}, not {size:,}." for what, size, most in sizes if size > most
    )


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


def passed_over(backend: str, request: Request) -> tuple[str, ...]:
    """Why "auto" does not take `backend` for `request` though it can run; empty when it does take it.

    >>> passed_over("fused", Request("ntm", torch.device("cpu"), torch.float32))
    ()
    """
    if backend == "fused" and request.device.type == "cuda":
        return ("its Triton kernels are proved in Triton's interpreter, but have not run on a GPU yet.",)
    return ()


def check_name(backend: str, *, auto: bool = False) -> None:
    """Raise ValueError unless `backend` is the name of one (or "auto", where that is allowed)."""
    allowed = ("auto", *reversed(AUTO_ORDER)) if auto else AUTO_ORDER
    if backend not in allowed:
        raise ValueError(f"backend: expected one of {allowed}, got {backend!r}.")


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
        if reasons and candidate == "fused" and request.device.type == "cpu" and (wish := _wish_refused()):
            raise BackendError(f"backend {backend!r} cannot run {request.op}: {wish}")
        if not reasons and backend == "auto":
            reasons = passed_over(candidate, request)
        if not reasons:
            return candidate
        refusals += [f"backend {candidate!r} cannot run {request.op}: {reason}" for reason in reasons]
    hint = "" if backend == "auto" else " backend='auto' takes one that can; `tapehead info` lists them."
    raise BackendError(" ".join(refusals) + hint)
