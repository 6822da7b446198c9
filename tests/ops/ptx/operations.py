"""What PTX's instructions compute, each thread for itself: all but memory, barriers and exchanges in a warp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

TYPES: dict[str, type] = {
    **{f"{letter}{bits}": getattr(np, f"{kind}{bits}") for letter, kind in (("s", "int"), ("u", "uint"), ("b", "uint"))
       for bits in (8, 16, 32, 64)},
    "f32": np.float32,
    "f64": np.float64,
    "pred": np.bool_,
}  # fmt: skip
_WIDER = {"s32": "s64", "u32": "u64", "s16": "s32", "u16": "u32"}
_COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
}
_ROUND = {"rmi": np.floor, "rpi": np.ceil, "rzi": np.trunc, "rni": np.rint}


class Operation(NamedTuple):
    """What an instruction computes."""

    sources: tuple[str, ...]
    """types"""
    result: str
    """its type"""
    compute: Callable[..., Any]


def operation(opcode: tuple[str, ...]) -> Operation | None:
    """That of an instruction, or None where it is more than a computation; NotImplementedError where it is unknown."""
    name, kind = opcode[0], opcode[-1]
    make = _MAKERS.get(name)
    if make is None:
        return None
    if kind not in TYPES:
        raise NotImplementedError(".".join(opcode))
    found = make(opcode, kind)
    return _flushed(found) if "ftz" in opcode else found


def _flushed(found: Operation) -> Operation:
    """With zeros for the numbers below the smallest normal one."""

    def flush(value: Any) -> Any:
        if value.dtype != np.float32:
            return value
        return np.where(np.abs(value) < np.finfo(np.float32).tiny, np.copysign(np.float32(0), value), value)

    return found._replace(compute=lambda *values: flush(found.compute(*map(flush, values))))


def _same(count: int, compute: Callable[..., Any]) -> Callable[[tuple[str, ...], str], Operation]:
    """Of so many operands of the result's type."""
    return lambda opcode, kind: Operation((kind,) * count, kind, compute)


def _multiply(opcode: tuple[str, ...], kind: str, added: bool = False) -> Operation:
    half = opcode[1]
    if half == "wide":
        wide = _WIDER[kind]
        to = TYPES[wide]
        sources = (kind, kind) + (wide,) * added
        return Operation(sources, wide, lambda a, b, c=0: a.astype(to) * b.astype(to) + to(c))
    if half == "hi":
        if kind not in _WIDER or added:
            raise NotImplementedError(".".join(opcode))
        wide, bits = TYPES[_WIDER[kind]], int(kind[1:])
        return Operation((kind, kind), kind, lambda a, b: (a.astype(wide) * b.astype(wide)) >> bits)
    return Operation((kind,) * (2 + added), kind, (lambda a, b, c: a * b + c) if added else np.multiply)


def _fused(opcode: tuple[str, ...], kind: str) -> Operation:
    if kind == "f64":  # rounded twice, where a GPU rounds once
        return Operation((kind,) * 3, kind, lambda a, b, c: a * b + c)

    def compute(a: Any, b: Any, c: Any) -> Any:
        return (a.astype(np.float64) * b + c).astype(np.float32)

    return Operation((kind,) * 3, kind, compute)


def _divide(opcode: tuple[str, ...], kind: str) -> Operation:
    if "full" in opcode or "approx" in opcode:
        return _approximate(np.divide, 2)(opcode, kind)
    if kind[0] == "f":
        return Operation((kind, kind), kind, np.divide)
    return Operation((kind, kind), kind, _quotient)


def _quotient(a: Any, b: Any) -> Any:
    """Towards zero."""
    return ((a - np.fmod(a, b)) // b).astype(a.dtype)


def _shift(compute: Callable[..., Any], left: bool) -> Callable[[tuple[str, ...], str], Operation]:
    def make(opcode: tuple[str, ...], kind: str) -> Operation:
        bits = int(kind[1:])

        def shifted(value: Any, by: Any) -> Any:
            near = np.minimum(by, bits - 1).astype(value.dtype)
            gone = 0 if left or kind[0] != "s" else np.right_shift(value, value.dtype.type(bits - 1))
            return np.where(by >= bits, gone, compute(value, near)).astype(value.dtype)

        return Operation((kind, "u32"), kind, shifted)

    return make


def _bit_field(opcode: tuple[str, ...], kind: str) -> Operation:
    bits = int(kind[1:])

    def compute(value: Any, start: Any, length: Any) -> Any:
        start, length = int(np.ravel(start)[0]), int(np.ravel(length)[0])  # always written into the code
        if length == 0 or start + length > bits:
            raise NotImplementedError(f"bits {start} to {start + length}")
        up = value.dtype.type(bits - start - length)
        return np.right_shift(np.left_shift(value, up), value.dtype.type(bits - length))

    return Operation((kind, "u32", "u32"), kind, compute)


def _permute(opcode: tuple[str, ...], kind: str) -> Operation:
    """Four of the eight bytes of two numbers, or the signs of these bytes."""

    def compute(low: Any, high: Any, which: Any) -> Any:
        both = low.astype(np.uint64) | high.astype(np.uint64) << np.uint64(32)
        result = np.zeros_like(low)
        for index in range(4):
            chosen = which >> np.uint32(4 * index)
            byte = (both >> (np.uint64(8) * (chosen & np.uint32(7)))).astype(np.uint32) & np.uint32(0xFF)
            sign = np.where(byte & np.uint32(0x80), np.uint32(0xFF), np.uint32(0))
            result |= np.where(chosen & np.uint32(8), sign, byte) << np.uint32(8 * index)
        return result

    if len(opcode) > 2:
        raise NotImplementedError(".".join(opcode))
    return Operation((kind,) * 3, kind, compute)


def _compare(opcode: tuple[str, ...], kind: str) -> Operation:
    how = opcode[1]
    if len(opcode) > 3 and opcode[2] != "ftz":
        raise NotImplementedError(".".join(opcode))
    if how in ("nan", "num"):
        wanted = how == "nan"
        return Operation((kind, kind), "pred", lambda a, b: (np.isnan(a) | np.isnan(b)) == wanted)
    if how in _COMPARE and (how != "ne" or kind[0] != "f"):
        return Operation((kind, kind), "pred", _COMPARE[how])
    if how == "ne":  # of floats, false where one is NaN
        return Operation((kind, kind), "pred", lambda a, b: (a < b) | (a > b))
    compare = _COMPARE[how[:-1]]  # with a "u": true where one is NaN
    return Operation((kind, kind), "pred", lambda a, b: compare(a, b) | np.isnan(a) | np.isnan(b))


def _convert(opcode: tuple[str, ...], kind: str) -> Operation:
    to, how = opcode[-2], next((part for part in opcode if part in _ROUND), None)
    target = TYPES[to]

    def compute(value: Any) -> Any:
        if how:
            value = _ROUND[how](value)
        if kind[0] == "f" and to[0] != "f":
            limits = np.iinfo(target)
            value = np.clip(np.nan_to_num(value.astype(np.float64), nan=0.0), float(limits.min), float(limits.max))
        return value.astype(target)

    return Operation((kind,), to, compute)


def _approximate(compute: Callable[..., Any], count: int) -> Callable[[tuple[str, ...], str], Operation]:
    """Of so many operands; of float32 with an error of up to two units of the last place.

    Exponentials of whole numbers are exact. The error hangs on the result alone, so that equal threads stay equal.
    """

    def inexact(*values: Any) -> Any:
        result = compute(*values)
        bits = result.view(np.int32)
        error = ((bits.view(np.uint32) * np.uint32(2654435761)) >> np.uint32(16)).astype(np.int32) % 5 - 2
        inside = (np.abs(result) > 2 * np.finfo(np.float32).tiny) & (np.abs(result) < np.finfo(np.float32).max / 2)
        if count == 1:
            inside &= values[0] != np.rint(values[0])
        return np.where(inside, bits + error, bits).view(np.float32)

    return lambda opcode, kind: Operation((kind,) * count, kind, inexact if kind == "f32" else compute)


def _smaller_or_larger(compute: Callable[..., Any], strict: Callable[..., Any]) -> Callable[..., Operation]:
    """Of floats, the number where the other one is NaN, unless the instruction says otherwise."""
    return lambda opcode, kind: Operation((kind, kind), kind, strict if "NaN" in opcode else compute)


_MAKERS: dict[str, Callable[[tuple[str, ...], str], Operation]] = {
    "mov": _same(1, lambda a: a),
    "add": _same(2, np.add),
    "sub": _same(2, np.subtract),
    "and": _same(2, np.bitwise_and),
    "or": _same(2, np.bitwise_or),
    "xor": _same(2, np.bitwise_xor),
    "not": _same(1, np.invert),
    "neg": _same(1, np.negative),
    "abs": _same(1, np.abs),
    "min": _smaller_or_larger(np.fmin, np.minimum),
    "max": _smaller_or_larger(np.fmax, np.maximum),
    "sqrt": _same(1, np.sqrt),
    "rsqrt": _approximate(lambda a: 1 / np.sqrt(a), 1),
    "rcp": _approximate(np.reciprocal, 1),
    "ex2": _approximate(np.exp2, 1),
    "lg2": _approximate(np.log2, 1),
    "copysign": _same(2, lambda a, b: np.copysign(b, a)),
    "fma": _fused,
    "mul": lambda opcode, kind: _same(2, np.multiply)(opcode, kind) if kind[0] == "f" else _multiply(opcode, kind),
    "mad": lambda opcode, kind: _multiply(opcode, kind, added=True),
    "div": _divide,
    "rem": _same(2, np.fmod),
    "shl": _shift(np.left_shift, left=True),
    "shr": _shift(np.right_shift, left=False),
    "bfe": _bit_field,
    "prmt": _permute,
    "selp": lambda opcode, kind: Operation((kind, kind, "pred"), kind, lambda a, b, p: np.where(p, a, b)),
    "setp": _compare,
    "cvt": _convert,
}
