"""Addressing by content of one row and one step, with backward, for the Triton kernels of every machine.

Vectors over slots, `inside` where there is one, zeros elsewhere. Derivation: README.md of the NTM's op.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tapehead.ops.triton.elementary import exp, root

__all__ = [
    "EPSILON_SQUARED",
    "content_weights",
    "content_weights_backward",
    "keys_backward",
    "softmax",
    "unit_key",
    "unit_keys",
]

EPSILON_SQUARED: tl.constexpr = tl.constexpr(1e-6**2)  # of `NORM_EPSILON` in ops/content.py


@triton.jit
def unit_key(key):
    """Scale a key to length 1, u = k / |k|; and 1 / |k|."""
    inverse = 1.0 / root(tl.sum(key * key, 0) + EPSILON_SQUARED)
    return key * inverse, inverse


@triton.jit
def unit_keys(parameters, units, s: tl.constexpr):
    """Units (heads, M) of the keys (heads, M), with which the parameters begin."""
    j = tl.arange(0, s.padded_words)
    for h in range(s.heads):
        unit, _ = unit_key(tl.load(parameters + h * s.words + j, mask=j < s.words, other=0.0))
        tl.store(units + h * s.words + j, unit, mask=j < s.words)


@triton.jit
def keys_backward(parameters, grad_units, words, s: tl.constexpr):
    """From gradients of unit keys to those of keys, the first words: dk = (du - u (u . du)) / |k|."""
    j = tl.arange(0, s.padded_words)
    for h in range(s.heads):
        unit, inverse = unit_key(tl.load(parameters + h * s.words + j, mask=j < s.words, other=0.0))
        gradient = tl.load(grad_units + h * s.words + j, mask=j < s.words, other=0.0)
        gradient = (gradient - unit * tl.sum(unit * gradient, 0)) * inverse
        tl.store(words + h * s.words + j, gradient, mask=j < s.words)


@triton.jit
def softmax(x, scale, highest, inside):
    """Weights e^(scale (x - highest)) over their sum; and the sum.

    The highest is taken off before scaling, so that weights on one slot are exactly 1 and 0.
    """
    power = tl.where(inside, exp((x - highest) * scale), 0.0)
    total = tl.sum(power, 0)
    return power / total, total


@triton.jit
def content_weights(cosine, strength, inside):
    """Eq. 5: w^c = softmax(beta K)."""
    weight, _ = softmax(cosine, strength, tl.max(tl.where(inside, cosine, -float("inf")), 0), inside)
    return weight


@triton.jit
def content_weights_backward(weight, gradient, cosine, inverse, strength):
    """Back through eq. 5, and through the cosine as a function of the memory: d beta, z, and this head's share of q."""
    centred = weight * (gradient - tl.sum(weight * gradient, 0))
    scaled = centred * strength * inverse
    return tl.sum(centred * cosine, 0), scaled, scaled * cosine * inverse
