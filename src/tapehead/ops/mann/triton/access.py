"""What a MANN's heads do with one row's memory in one step, with backward: section 3.2 of the paper.

Pointers are those of the row's step; arrays over slots are Np long and hold zeros in the padding. `s` is a `Plan`
(`cuda.py`). Derivation: README.md in this folder and in the NTM's.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tapehead.ops.triton.content import content_weights, unit_key
from tapehead.ops.triton.elementary import sigmoid, softplus, tanh
from tapehead.ops.triton.memory import tile_at

__all__ = [
    "add_up_usage",
    "find_unused",
    "point",
    "speak",
    "speak_backward",
    "write",
    "write_backward",
    "write_weights",
    "write_weights_backward",
]

USAGE_TOLERANCE: tl.constexpr = tl.constexpr(1e-6)  # of ops/usage.py


@triton.jit
def speak(raw, parameters, slopes, units, s: tl.constexpr):
    """Raw words (P,) to parameters (P,), each kind in its range; the slopes of strengths; unit keys."""
    j = tl.arange(0, s.padded_words)
    h = tl.arange(0, s.padded_heads)
    gate = tl.load(raw + s.gate + h, mask=h < s.heads, other=0.0)
    if s.learned_strength:
        strength = tl.load(raw + s.strength + h, mask=h < s.heads, other=0.0)
    for head in range(s.heads):
        at = head * s.words + j
        if s.own_add:
            add = tl.load(raw + s.add + at, mask=j < s.words, other=0.0)
        key = tl.load(raw + at, mask=j < s.words, other=0.0)
        if s.tanh_key:
            key = tanh(key)
        unit, _ = unit_key(key)
        tl.store(parameters + at, key, mask=j < s.words)
        tl.store(units + at, unit, mask=j < s.words)
        if s.own_add:
            if s.tanh_add:
                add = tanh(add)
            tl.store(parameters + s.add + at, add, mask=j < s.words)
    if s.learned_strength:
        tl.store(parameters + s.strength + h, softplus(strength), mask=h < s.heads)
        tl.store(slopes + h, sigmoid(strength), mask=h < s.heads)
    tl.store(parameters + s.gate + h, sigmoid(gate), mask=h < s.heads)


@triton.jit
def speak_backward(parameters, slopes, words, s: tl.constexpr):
    """Words (P,) turn from the gradients of the parameters into those of the raw words."""
    j = tl.arange(0, s.padded_words)
    for head in range(s.heads):
        at = head * s.words + j
        if s.tanh_key:
            key = tl.load(parameters + at, mask=j < s.words, other=0.0)
            grad_key = tl.load(words + at, mask=j < s.words, other=0.0) * (1.0 - key * key)
        if s.own_add and s.tanh_add:
            add = tl.load(parameters + s.add + at, mask=j < s.words, other=0.0)
            grad_add = tl.load(words + s.add + at, mask=j < s.words, other=0.0) * (1.0 - add * add)
        tl.debug_barrier()
        if s.tanh_key:
            tl.store(words + at, grad_key, mask=j < s.words)
        if s.own_add and s.tanh_add:
            tl.store(words + s.add + at, grad_add, mask=j < s.words)
    h = tl.arange(0, s.padded_heads)
    gate = tl.load(parameters + s.gate + h, mask=h < s.heads, other=0.0)
    grad_gate = tl.load(words + s.gate + h, mask=h < s.heads, other=0.0) * gate * (1.0 - gate)
    if s.learned_strength:
        grad_strength = tl.load(words + s.strength + h, mask=h < s.heads, other=0.0)
        grad_strength *= tl.load(slopes + h, mask=h < s.heads, other=0.0)
    tl.debug_barrier()
    tl.store(words + s.gate + h, grad_gate, mask=h < s.heads)
    if s.learned_strength:
        tl.store(words + s.strength + h, grad_strength, mask=h < s.heads)


@triton.jit
def key_strength(parameters, head, s: tl.constexpr):
    """Of a head; 1 where it is not learned."""
    return tl.load(parameters + s.strength + head) if s.learned_strength else 1.0


@triton.jit
def find_unused(usage, unused, memory_size, s: tl.constexpr):
    """Numbers (C,) of the slots of least usage (Np,), eq. 21: each the lowest that is used as little, to a tolerance.

    A usage that is NaN makes it the first slot, as in the reference.
    """
    n = tl.arange(0, s.slots)
    left = tl.load(usage + n, mask=n < memory_size, other=float("inf"))
    for index in range(s.unused):
        wrong = tl.max(tl.where(left != left, 1, 0), 0)
        border = tl.min(left, 0) + USAGE_TOLERANCE
        slot = tl.min(tl.where(left <= border, n, s.slots), 0)
        slot = tl.where((wrong > 0) | (slot == s.slots), 0, slot)
        tl.store(unused + index, slot.to(left.dtype))
        left = tl.where(n == slot, float("inf"), left)


@triton.jit
def write_weights(gates, previous, first, unused, to, seen, t, memory_size, padded_size, s: tl.constexpr):
    """Where the heads write, eq. 22, into to (R, Np), and to `seen` where a trace shows it.

    Args:
        gates: (R,)
        previous: (R, Np), the read weights of the step before, looked at for t > 0
        first: (R, N), those of the start, looked at for t = 0
        unused: (C,)
        to: set to g w^r_{t-1} + (1 - g) w^lu
        seen: likewise, or None
        t: step
        memory_size: N
        padded_size: Np
        s: the plan
    """
    n = tl.arange(0, s.slots)
    for head in range(s.heads):
        gate = tl.load(gates + head)
        weight = gate * previous_weights(previous, first, head, t, memory_size, padded_size, s)
        for index in range(s.own):
            slot = tl.load(unused + (head if s.each else index)).to(tl.int32)
            weight += tl.where(n == slot, 1.0 - gate, 0.0)
        tl.store(to + head * padded_size + n, weight, mask=n < padded_size)
        if seen is not None:
            tl.store(seen + head * padded_size + n, weight, mask=n < padded_size)


@triton.jit
def previous_weights(previous, first, head, t, memory_size, padded_size, s: tl.constexpr):
    """A head's read weights of the step before, zeros in the padding."""
    n = tl.arange(0, s.slots)
    weight = tl.load(previous + head * padded_size + n, mask=(n < memory_size) & (t > 0), other=0.0)
    return weight + tl.load(first + head * memory_size + n, mask=(n < memory_size) & (t == 0), other=0.0)


@triton.jit
def write_weights_backward(
    gates, previous, first, unused, grad_written, grad_weights, grad_gates, t, memory_size, padded_size, s: tl.constexpr
):
    """From dw^w (R, Np) to the gates (R,), and to grad_weights (R, Np), of the read weights of the step before."""
    n = tl.arange(0, s.slots)
    for head in range(s.heads):
        gate = tl.load(gates + head)
        gradient = tl.load(grad_written + head * padded_size + n, mask=n < memory_size, other=0.0)
        difference = previous_weights(previous, first, head, t, memory_size, padded_size, s)
        for index in range(s.own):
            slot = tl.load(unused + (head if s.each else index)).to(tl.int32)
            difference -= tl.where(n == slot, 1.0, 0.0)
        tl.store(grad_gates + head, tl.sum(gradient * difference, 0))
        tl.store(grad_weights + head * padded_size + n, gradient * gate, mask=n < padded_size)


@triton.jit
def write(before, after, kept, keep, unused, written, adds, in_place: tl.constexpr, padded_size, s: tl.constexpr):
    """Clear the least used slots, then add with every head, eq. 23; to `kept` as well where `keep` says so."""
    for start in range(0, padded_size, s.tile):
        n, j, at, there = tile_at(start, padded_size, s)
        tile = tl.load(before + at, mask=there, other=0.0)
        for index in range(s.unused):
            slot = tl.load(unused + index).to(tl.int32)
            tile = tl.where((n == slot)[None, :], 0.0, tile)
        added = tl.zeros_like(tile)
        for h in range(s.heads):
            weight = tl.load(written + h * padded_size + n, mask=n < padded_size, other=0.0)
            add = tl.load(adds + h * s.words + j, mask=j < s.words, other=0.0)
            added += add[:, None] * weight[None, :]
        tile += added
        if in_place:
            tl.debug_barrier()
        tl.store(after + at, tile, mask=there)
        if kept is not None:
            tl.store(kept + at, tile, mask=there & keep)


@triton.jit
def write_backward(
    grad_memory,
    unused,
    written,
    adds,
    grad_written_seen,  # (R, Np), of a trace, or None
    grad_written,  # (R, Np): set
    grad_adds,  # (R, M): set
    padded_size,
    s: tl.constexpr,
):
    """From dM_t to dw^w and da; turns dM_t into dM_{t-1}, with zeros at the slots that were cleared."""
    for start in range(0, padded_size, s.tile):
        n, j, at, there = tile_at(start, padded_size, s)
        gradient = tl.load(grad_memory + at, mask=there, other=0.0)
        for h in range(s.heads):
            add = tl.load(adds + h * s.words + j, mask=j < s.words, other=0.0)
            grad_weight = tl.sum(gradient * add[:, None], 0)
            if grad_written_seen is not None:
                grad_weight += tl.load(grad_written_seen + h * padded_size + n, mask=n < padded_size, other=0.0)
            tl.store(grad_written + h * padded_size + n, grad_weight, mask=n < padded_size)
            weight = tl.load(written + h * padded_size + n, mask=n < padded_size, other=0.0)
            to = grad_adds + h * s.words + j
            total = tl.load(to, mask=(j < s.words) & (start > 0), other=0.0)
            total += tl.sum(gradient * weight[None, :], 1)
            tl.debug_barrier()
            tl.store(to, total, mask=j < s.words)
        for index in range(s.unused):
            slot = tl.load(unused + index).to(tl.int32)
            gradient = tl.where((n == slot)[None, :], 0.0, gradient)
        tl.debug_barrier()
        tl.store(grad_memory + at, gradient, mask=there)


@triton.jit
def point(similarity, parameters, weights, again, memory_size, padded_size, s: tl.constexpr):
    """Similarities to read weights (R, Np), eq. 17 and 18."""
    n = tl.arange(0, s.slots)
    for head in range(s.heads):
        at = head * padded_size + n
        cosine = tl.load(similarity + at, mask=n < memory_size, other=0.0)
        weight = content_weights(cosine, key_strength(parameters, head, s), n < memory_size)
        tl.store(again + at, weight, mask=n < padded_size)
        if s.save:
            tl.store(weights + at, weight, mask=n < padded_size)


@triton.jit
def add_up_usage(usage, weights, written, seen, padded_size, s: tl.constexpr):
    """Turn usage (Np,) into that after the step, eq. 20; to `seen` as well, where a trace shows it."""
    n = tl.arange(0, s.slots)
    total = tl.load(usage + n, mask=n < padded_size, other=0.0) * s.decay
    for h in range(s.heads):
        total += tl.load(weights + h * padded_size + n, mask=n < padded_size, other=0.0)
        total += tl.load(written + h * padded_size + n, mask=n < padded_size, other=0.0)
    tl.debug_barrier()
    tl.store(usage + n, total, mask=n < padded_size)
    if seen is not None:
        tl.store(seen + n, total, mask=n < padded_size)
