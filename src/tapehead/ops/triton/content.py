"""Addressing by content of one row and one step, with backward, for the Triton kernels of every machine.

Of several heads at a time: (heads, slots), `inside` where there is a slot, zeros elsewhere. A head that is not there
is one whose numbers are all zero. Derivation: README.md of the NTM's op.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tapehead.ops.triton.elementary import exp, root, sum_of_products

__all__ = [
    "EPSILON_SQUARED",
    "content_weights",
    "content_weights_backward",
    "highest_of",
    "keys_backward",
    "softmax",
    "some_heads",
    "to_units",
    "unit_keys",
]

EPSILON_SQUARED: tl.constexpr = tl.constexpr(1e-6**2)  # of `NORM_EPSILON` in ops/content.py


@triton.jit
def some_heads(start, end, s: tl.constexpr):
    """Numbers (heads, 1) of the heads that are taken together from `start` on, and which of them come before `end`."""
    h = start + tl.arange(0, s.heads_at_once)[:, None]
    return h, h < end


@triton.jit
def to_units(keys):
    """Scale keys (heads, M) to length 1, u = k / |k|; and 1 / |k|."""
    inverse = 1.0 / root(sum_of_products(keys, keys, 1, True) + EPSILON_SQUARED)
    return keys * inverse, inverse


@triton.jit
def unit_keys(parameters, units, s: tl.constexpr):
    """Units (heads, M) of the keys (heads, M), with which the parameters begin."""
    j = tl.arange(0, s.padded_words)[None, :]
    for start in range(0, s.heads, s.heads_at_once):
        h, there = some_heads(start, s.heads, s)
        there &= j < s.words
        at = h * s.words + j
        unit, _ = to_units(tl.load(parameters + at, mask=there, other=0.0))
        tl.store(units + at, unit, mask=there)


@triton.jit
def keys_backward(parameters, grad_units, words, s: tl.constexpr):
    """From gradients of unit keys to those of keys, the first words: dk = (du - u (u . du)) / |k|."""
    j = tl.arange(0, s.padded_words)[None, :]
    for start in range(0, s.heads, s.heads_at_once):
        h, there = some_heads(start, s.heads, s)
        there &= j < s.words
        at = h * s.words + j
        gradient = tl.load(grad_units + at, mask=there, other=0.0)
        unit, inverse = to_units(tl.load(parameters + at, mask=there, other=0.0))
        gradient = (gradient - unit * sum_of_products(unit, gradient, 1, True)) * inverse
        tl.store(words + at, gradient, mask=there)


@triton.jit
def softmax(x, scale, highest, inside):
    """Weights (heads, slots) e^(scale (x - highest)) over their sum; and the sum (heads, 1).

    The highest is taken off before scaling, so that weights on one slot are exactly 1 and 0.
    """
    power = tl.where(inside, exp((x - highest) * scale), 0.0)
    total = tl.sum(power, 1, keep_dims=True)
    return power / total, total


@triton.jit
def highest_of(x, inside):
    """The highest (heads, 1) of (heads, slots)."""
    return tl.max(tl.where(inside, x, -float("inf")), 1, keep_dims=True)


@triton.jit
def content_weights(cosine, strength, inside):
    """Eq. 5: w^c = softmax(beta K)."""
    weight, _ = softmax(cosine, strength, highest_of(cosine, inside), inside)
    return weight


@triton.jit
def content_weights_backward(weight, gradient, cosine, inverse, strength):
    """Back through eq. 5, and through the cosine as a function of the memory: d beta and z."""
    centred = weight * (gradient - sum_of_products(weight, gradient, 1, True))
    return sum_of_products(centred, cosine, 1, True), centred * strength * inverse
