"""What a MANN's heads do with one row's memory in one step, with backward: section 3.2 of the paper.

Of several heads at a time, as in the NTM's `heads.py`. Pointers are those of the row's step; arrays over slots are Np
long and hold zeros in the padding. `s` is a `Plan` (`cuda.py`). Derivation: README.md in this folder and in the NTM's.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tapehead.ops.triton.content import content_weights, content_weights_backward, some_heads, to_units
from tapehead.ops.triton.elementary import both, sigmoid, softplus, sum_of_products, tanh
from tapehead.ops.triton.memory import (
    SUMS_AT_ONCE,
    add_sums_over_slots,
    columns,
    put_back,
    store_sums_over_words,
    store_written,
    sums_over_slots,
    sums_over_words,
    tile_at,
    tile_of,
)

__all__ = [
    "add_up_usage",
    "find_unused",
    "point",
    "point_backward",
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
    j = tl.arange(0, s.padded_words)[None, :]
    h = tl.arange(0, s.padded_heads)
    gate = tl.load(raw + s.gate + h, mask=h < s.heads, other=0.0)
    if s.learned_strength:
        strength = tl.load(raw + s.strength + h, mask=h < s.heads, other=0.0)
    for start in range(0, s.heads, s.heads_at_once):
        head, there = some_heads(start, s.heads, s)
        there &= j < s.words
        at = head * s.words + j
        if s.own_add:
            add = tl.load(raw + s.add + at, mask=there, other=0.0)
        key = tl.load(raw + at, mask=there, other=0.0)
        if s.tanh_key:
            key = tanh(key)
        unit, _ = to_units(key)
        tl.store(parameters + at, key, mask=there)
        tl.store(units + at, unit, mask=there)
        if s.own_add:
            if s.tanh_add:
                add = tanh(add)
            tl.store(parameters + s.add + at, add, mask=there)
    if s.learned_strength:
        tl.store(parameters + s.strength + h, softplus(strength), mask=h < s.heads)
        tl.store(slopes + h, sigmoid(strength), mask=h < s.heads)
    tl.store(parameters + s.gate + h, sigmoid(gate), mask=h < s.heads)


@triton.jit
def speak_backward(parameters, slopes, words, s: tl.constexpr):
    """Words (P,) turn from the gradients of the parameters into those of the raw words."""
    j = tl.arange(0, s.padded_words)[None, :]
    for start in range(0, s.heads, s.heads_at_once):
        head, there = some_heads(start, s.heads, s)
        there &= j < s.words
        at = head * s.words + j
        if s.tanh_key:
            key = tl.load(parameters + at, mask=there, other=0.0)
            grad_key = tl.load(words + at, mask=there, other=0.0) * (1.0 - key * key)
        if s.own_add and s.tanh_add:
            add = tl.load(parameters + s.add + at, mask=there, other=0.0)
            grad_add = tl.load(words + s.add + at, mask=there, other=0.0) * (1.0 - add * add)
        tl.debug_barrier()
        if s.tanh_key:
            tl.store(words + at, grad_key, mask=there)
        if s.own_add and s.tanh_add:
            tl.store(words + s.add + at, grad_add, mask=there)
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
def key_strengths(parameters, h, there, s: tl.constexpr):
    """The key strengths of the heads, (heads, 1); 1 where they are not learned."""
    return tl.load(parameters + s.strength + h, mask=there, other=0.0) if s.learned_strength else 1.0


@triton.jit
def find_unused(usage, unused, memory_size, s: tl.constexpr):
    """Numbers (C,) of the slots of least usage (Np,), eq. 21: each the lowest that is used as little, to a tolerance.

    A usage that is NaN makes it the first slot, as in the reference. Every row of (heads, slots) finds the same.
    """
    h = tl.arange(0, s.heads_at_once)[:, None]
    n = tl.arange(0, s.slots)[None, :]
    left = tl.load(usage + n + h * 0, mask=(n < memory_size) & (h >= 0), other=float("inf"))
    found = tl.zeros_like(left)
    for index in range(s.unused):
        wrong = tl.max(tl.where(left != left, 1, 0), 1, keep_dims=True)
        border = tl.min(left, 1, keep_dims=True) + USAGE_TOLERANCE
        slot = tl.min(tl.where(left <= border, n, s.slots), 1, keep_dims=True)
        slot = tl.where((wrong > 0) | (slot == s.slots), 0, slot)
        found = tl.where(n == index, slot.to(left.dtype), found)
        left = tl.where(n == slot, float("inf"), left)
    tl.store(unused + n + h * 0, found, mask=(n < s.unused) & (h == 0))


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
    n = tl.arange(0, s.slots)[None, :]
    for start in range(0, s.heads, s.heads_at_once):
        h, there = some_heads(start, s.heads, s)
        gate = tl.load(gates + h, mask=there, other=0.0)
        weight = gate * previous_weights(previous, first, h, there, t, memory_size, padded_size, s)
        for index in range(s.own):
            slot = own_slots(unused, index, h, there, s)
            weight += tl.where(n == slot, 1.0 - gate, 0.0)
        at, stored = h * padded_size + n, there & (n < padded_size)
        tl.store(to + at, weight, mask=stored)
        if seen is not None:
            tl.store(seen + at, weight, mask=stored)


@triton.jit
def own_slots(unused, index, h, there, s: tl.constexpr):
    """Number (heads, 1) of the slot of this index that each head may write."""
    return tl.load(unused + (h if s.each else index + 0 * h), mask=there, other=0.0).to(tl.int32)


@triton.jit
def previous_weights(previous, first, h, there, t, memory_size, padded_size, s: tl.constexpr):
    """Read weights (heads, slots) of the step before, zeros in the padding."""
    n = tl.arange(0, s.slots)[None, :]
    inside = there & (n < memory_size)
    weight = tl.load(previous + h * padded_size + n, mask=both(inside, t > 0), other=0.0)
    return weight + tl.load(first + h * memory_size + n, mask=both(inside, t == 0), other=0.0)


@triton.jit
def write_weights_backward(
    gates, previous, first, unused, grad_written, grad_weights, grad_gates, t, memory_size, padded_size, s: tl.constexpr
):
    """From dw^w (R, Np) to the gates (R,), and to grad_weights (R, Np), of the read weights of the step before."""
    n = tl.arange(0, s.slots)[None, :]
    for start in range(0, s.heads, s.heads_at_once):
        h, there = some_heads(start, s.heads, s)
        at = h * padded_size + n
        gate = tl.load(gates + h, mask=there, other=0.0)
        gradient = tl.load(grad_written + at, mask=there & (n < memory_size), other=0.0)
        difference = previous_weights(previous, first, h, there, t, memory_size, padded_size, s)
        for index in range(s.own):
            slot = own_slots(unused, index, h, there, s)
            difference -= tl.where(n == slot, 1.0, 0.0)
        tl.store(grad_gates + h, sum_of_products(gradient, difference, 1, True), mask=there)
        tl.store(grad_weights + at, gradient * gate, mask=there & (n < padded_size))


@triton.jit
def write(before, held, after, kept, keep, unused, written, adds, in_place: tl.constexpr, padded_size, s: tl.constexpr):
    """Clear the least used slots, then add with every head, eq. 23; returns what is held of the memory after it.

    Stored to `after`, and to `kept` where `keep` says so; each may be None.
    """
    for start in range(0, s.tile if s.resident else padded_size, s.tile):
        n, j, at, there = tile_at(start, padded_size, s)
        tile = tile_of(before, held, at, there, s)
        for index in range(s.unused):
            slot = tl.load(unused + index).to(tl.int32)
            tile = tl.where((n == slot)[None, :], 0.0, tile)
        for h in range(s.heads):
            weight = tl.load(written + h * padded_size + n, mask=n < padded_size, other=0.0)
            add = tl.load(adds + h * s.words + j, mask=j < s.words, other=0.0)
            tile += add[:, None] * weight[None, :]
        held = store_written(after, kept, keep, held, tile, at, there, in_place, s)
    return held


@triton.jit
def write_backward(
    grad_memory,
    held,
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
    heads: tl.constexpr = s.heads
    for start in range(0, s.tile if s.resident else padded_size, s.tile):
        n, _, at, there = tile_at(start, padded_size, s)
        gradient = tile_of(grad_memory, held, at, there, s)
        for head in tl.static_range(0, heads, SUMS_AT_ONCE):
            grad_weight = sums_over_words(gradient, adds, head, heads, s)
            if grad_written_seen is not None:
                h, seen = columns(head, heads, grad_weight)
                seen &= (n < padded_size)[:, None]
                grad_weight += tl.load(grad_written_seen + h * padded_size + n[:, None], mask=seen, other=0.0)
            store_sums_over_words(grad_written, grad_weight, n, head, heads, padded_size)
            grad_add = sums_over_slots(gradient, n, written, head, heads, padded_size, s)
            add_sums_over_slots(grad_adds, grad_add, start, head, heads, s)
        for index in range(s.unused):
            slot = tl.load(unused + index).to(tl.int32)
            gradient = tl.where((n == slot)[None, :], 0.0, gradient)
        held = put_back(grad_memory, held, gradient, at, there, s)
    return held


@triton.jit
def point(similarity, parameters, weights, again, memory_size, padded_size, s: tl.constexpr):
    """Similarities to read weights (R, Np), eq. 17 and 18."""
    n = tl.arange(0, s.slots)[None, :]
    for start in range(0, s.heads, s.heads_at_once):
        h, there = some_heads(start, s.heads, s)
        at, stored = h * padded_size + n, there & (n < padded_size)
        cosine = tl.load(similarity + at, mask=there & (n < memory_size), other=0.0)
        weight = content_weights(cosine, key_strengths(parameters, h, there, s), n < memory_size)
        tl.store(again + at, weight, mask=stored)
        if s.save:
            tl.store(weights + at, weight, mask=stored)


@triton.jit
def point_backward(
    similarity,
    parameters,
    weights,
    inverse_norms,
    grad_use,  # (R, Np): dw^r by what was read
    grad_weights,  # (R, Np): dw^r but for that
    words,
    z,
    memory_size,
    padded_size,
    s: tl.constexpr,
):
    """From dw^r (R, Np), eq. 17 and 18, to the strengths, and to z (R, Np) of `content_backward`."""
    n = tl.arange(0, s.slots)[None, :]
    inverse = tl.load(inverse_norms + n, mask=n < memory_size, other=0.0)
    for start in range(0, s.heads, s.heads_at_once):
        h, there = some_heads(start, s.heads, s)
        at, inside = h * padded_size + n, there & (n < memory_size)
        weight = tl.load(weights + at, mask=inside, other=0.0)
        gradient = tl.load(grad_weights + at, mask=inside, other=0.0)
        gradient += tl.load(grad_use + at, mask=inside, other=0.0)
        cosine = tl.load(similarity + at, mask=inside, other=0.0)
        strength = key_strengths(parameters, h, there, s)
        grad_strength, scaled = content_weights_backward(weight, gradient, cosine, inverse, strength)
        if s.learned_strength:
            tl.store(words + s.strength + h, grad_strength, mask=there)
        tl.store(z + at, scaled, mask=there & (n < padded_size))


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
