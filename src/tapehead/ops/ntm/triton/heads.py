"""What the controller says to the heads, and where they point, with backward: sections 3.3.1 and 3.3.2 of the paper.

All of one row and one step, of several heads at a time: a sum over the slots is one for all of them. Pointers are those
of the row's step; arrays over slots are Np long and hold zeros in the padding. `s` is a `Plan` (`cuda.py`). Derivation:
README.md in this folder.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tapehead.ops.triton.content import (
    content_weights,
    content_weights_backward,
    highest_of,
    softmax,
    some_heads,
    to_units,
)
from tapehead.ops.triton.elementary import both, exp, sigmoid, softplus, sum_of_products, tanh

__all__ = ["address", "address_backward", "speak", "speak_backward"]


@triton.jit
def speak(raw, parameters, slopes, units, s: tl.constexpr):
    """Raw words (P,) to parameters (P,), each kind in its range; the slopes of strengths and gammas; unit keys.

    What is a number a head is loaded first: no load moves over a store.
    """
    j = tl.arange(0, s.padded_words)[None, :]
    heads = tl.arange(0, s.padded_heads)
    there = heads < s.heads
    strength = tl.load(raw + s.strength + heads, mask=there, other=0.0)
    if s.location:
        gate = tl.load(raw + s.gate + heads, mask=there, other=0.0)
        gamma = tl.load(raw + s.gamma + heads, mask=there, other=0.0)
        offset = tl.arange(0, s.padded_offsets)
        at = s.shift + heads[:, None] * s.offsets + offset[None, :]
        inside = there[:, None] & (offset < s.offsets)[None, :]
        shift = tl.load(raw + at, mask=inside, other=0.0)
    for start in range(0, s.heads, s.heads_at_once):
        h, named = some_heads(start, s.heads, s)
        named &= j < s.words
        writing = named & (h < s.write_heads)
        word = h * s.words + j
        key = tl.load(raw + word, mask=named, other=0.0)
        erase = tl.load(raw + s.erase + word, mask=writing, other=0.0)
        add = tl.load(raw + s.add + word, mask=writing, other=0.0)
        if s.tanh_key:
            key = tanh(key)
        if s.tanh_add:
            add = tanh(add)
        unit, _ = to_units(key)
        tl.store(parameters + word, key, mask=named)
        tl.store(units + word, unit, mask=named)
        tl.store(parameters + s.erase + word, sigmoid(erase), mask=writing)
        tl.store(parameters + s.add + word, add, mask=writing)

    tl.store(parameters + s.strength + heads, softplus(strength), mask=there)
    tl.store(slopes + heads, sigmoid(strength), mask=there)
    if s.location:
        tl.store(parameters + s.gamma + heads, 1.0 + softplus(gamma), mask=there)
        tl.store(slopes + s.heads + heads, sigmoid(gamma), mask=there)
        tl.store(parameters + s.gate + heads, sigmoid(gate), mask=there)
        highest = tl.max(tl.where(inside | (offset == 0)[None, :], shift, -float("inf")), 1)
        power = tl.where(inside, exp(shift - highest[:, None]), 0.0)
        total = tl.sum(power, 1)
        tl.store(parameters + at, power / tl.where(there, total, 1.0)[:, None], mask=inside)


@triton.jit
def shifted_from(n, index, inside, memory_size, s: tl.constexpr):
    """From which slot the shift of this index moves to slot n, eq. 8; slots lie in a circle."""
    return tl.where(inside, (n + memory_size + s.max_shift - index) % memory_size, n)


@triton.jit
def shifted_to(n, index, inside, memory_size, s: tl.constexpr):
    """The same circle the other way round."""
    return tl.where(inside, (n + memory_size - s.max_shift + index) % memory_size, n)


@triton.jit
def address(
    start,
    end,
    similarity,
    parameters,
    slopes,
    previous,
    content,
    logarithms,
    weights,
    again,
    memory_size,
    padded_size,
    s: tl.constexpr,
):
    """Similarities to weights, eq. 5 and 7 to 9, of the heads from `start` on that are taken together, before `end`.

    Parameters and slopes are (P,) and (4 heads,), all other arrays (heads, Np). All is loaded before the first sum over
    the slots: no load moves over the barriers of a sum.
    """
    h, there = some_heads(start, end, s)
    n = tl.arange(0, s.slots)[None, :]
    slots = n < memory_size
    inside = there & slots
    stored = there & (n < padded_size)
    at = h * padded_size + n
    cosine = tl.load(similarity + at, mask=inside, other=0.0)
    strength = tl.load(parameters + s.strength + h, mask=there, other=0.0)
    if s.location:
        before = tl.load(previous + at, mask=inside, other=0.0)
        gate = tl.load(parameters + s.gate + h, mask=there, other=0.0)
        gamma = tl.load(parameters + s.gamma + h, mask=there, other=0.0)
    weight = content_weights(cosine, strength, slots)
    tl.store(content + at, weight, mask=stored)
    if s.location:
        gated = before + (weight - before) * gate
        # The smallest normal number keeps the logarithm of 0 finite.
        shifted = tl.zeros_like(gated) + s.tiny
        for index in range(s.offsets):
            part = tl.load(parameters + s.shift + h * s.offsets + index, mask=there, other=0.0)
            shifted += tl.gather(gated, shifted_from(n, index, inside, memory_size, s), 1) * part
        logarithm = tl.where(slots, tl.log(shifted), 0.0)
        highest = highest_of(logarithm, slots)
        weight, total = softmax(logarithm, gamma, highest, slots)
        tl.store(logarithms + at, logarithm, mask=stored)
        kept = tl.where(n == 0, highest, tl.log(total))
        tl.store(slopes + (2 + n) * s.heads + h, kept, mask=there & (n < 2))
    tl.store(again + at, weight, mask=stored)
    if s.save:
        tl.store(weights + at, weight, mask=stored)


@triton.jit
def address_backward(
    start,
    end,
    similarity,
    parameters,
    slopes,
    previous,  # (heads, Np) of the step before, looked at for t > 0
    first,  # (heads, N) of the start, looked at for t = 0
    content,
    logarithms,
    weights,
    inverse_norms,  # (Np,)
    grad_use,  # (heads, Np): dw by what was read and written with them
    grad_weights,  # (heads, Np): dw but for that; turns into that of the step before
    grad_content,  # (heads, Np), of a trace, or None
    words,  # (P,): strength, gate, shift and gamma of these heads are set to their gradients
    z,  # (heads, Np): set for these heads
    t,
    memory_size,
    padded_size,
    s: tl.constexpr,
):
    """Back through the addressing of the heads of `address`, eq. 9, 8, 7 and 5, to what `content_backward` takes.

    All is loaded before the first sum over the slots, as in `address`.
    """
    h, there = some_heads(start, end, s)
    n = tl.arange(0, s.slots)[None, :]
    inside = there & (n < memory_size)
    stored = there & (n < padded_size)
    at = h * padded_size + n
    by_content = tl.load(content + at, mask=inside, other=0.0)
    gradient = tl.load(grad_weights + at, mask=inside, other=0.0)
    gradient += tl.load(grad_use + at, mask=inside, other=0.0)
    cosine = tl.load(similarity + at, mask=inside, other=0.0)
    inverse = tl.load(inverse_norms + n, mask=n < memory_size, other=0.0)
    strength = tl.load(parameters + s.strength + h, mask=there, other=0.0)
    if grad_content is not None:
        grad_seen = tl.load(grad_content + at, mask=inside, other=0.0)
    if s.location:
        before = tl.load(previous + at, mask=both(inside, t > 0), other=0.0)
        before += tl.load(first + h * memory_size + n, mask=both(inside, t == 0), other=0.0)
        gate = tl.load(parameters + s.gate + h, mask=there, other=0.0)
        gated = before + (by_content - before) * gate

        # Sharpening: w / w~ = exp(gamma (L - highest) - L - log-sum) does not underflow where w does.
        weight = tl.load(weights + at, mask=inside, other=0.0)
        logarithm = tl.load(logarithms + at, mask=inside, other=0.0)
        gamma = tl.load(parameters + s.gamma + h, mask=there, other=0.0)
        highest = tl.load(slopes + 2 * s.heads + h, mask=there, other=0.0)
        log_sum = tl.load(slopes + 3 * s.heads + h, mask=there, other=0.0)
        centred = gradient - sum_of_products(weight, gradient, 1, True)
        grad_gamma = sum_of_products(weight * centred, logarithm, 1, True)
        ratio = exp((logarithm - highest) * gamma - logarithm - log_sum)
        grad_shifted = tl.where(inside, gamma * ratio * centred, 0.0)

        # Shift, and back.
        gradient = tl.zeros_like(gated)
        grad_shift = tl.zeros_like(gated)
        for index in range(s.offsets):
            moved = tl.gather(gated, shifted_from(n, index, inside, memory_size, s), 1)
            grad_shift = tl.where(n == index, sum_of_products(grad_shifted, moved, 1, True), grad_shift)
            part = tl.load(parameters + s.shift + h * s.offsets + index, mask=there, other=0.0)
            gradient += tl.gather(grad_shifted, shifted_to(n, index, inside, memory_size, s), 1) * part
        tl.store(words + s.shift + h * s.offsets + n, grad_shift, mask=there & (n < s.offsets))

        # Interpolation.
        grad_gate = sum_of_products(gradient, by_content - before, 1, True)
        grad_content_weights = gradient * gate
        handed_on = gradient - grad_content_weights
        if s.limited:
            handed_on = tl.where(handed_on > s.limit, s.limit, tl.where(handed_on < -s.limit, -s.limit, handed_on))
    else:
        grad_content_weights = gradient
        handed_on = tl.zeros_like(gradient)
    tl.debug_barrier()
    tl.store(grad_weights + at, handed_on, mask=stored)
    if grad_content is not None:
        grad_content_weights += grad_seen
    grad_strength, scaled = content_weights_backward(by_content, grad_content_weights, cosine, inverse, strength)
    if s.location:
        # One store for the three: Triton takes a barrier to bring such numbers together.
        grad = tl.where(n == 0, grad_strength, tl.where(n == 1, grad_gate, grad_gamma))
        kind = tl.where(n == 0, s.strength, tl.where(n == 1, s.gate, s.gamma))
        tl.store(words + kind + h, grad, mask=there & (n < 3))
    else:
        tl.store(words + s.strength + h, grad_strength, mask=there)
    tl.store(z + at, scaled, mask=stored)


@triton.jit
def speak_backward(parameters, slopes, words, s: tl.constexpr):
    """Words (P,) turn from the gradients of the parameters into those of the raw words."""
    j = tl.arange(0, s.padded_words)[None, :]
    for start in range(0, s.heads, s.heads_at_once):
        head, named = some_heads(start, s.heads, s)
        named &= j < s.words
        writing = named & (head < s.write_heads)
        key = head * s.words + j
        erase, add = s.erase + key, s.add + key
        made = tl.load(parameters + erase, mask=writing, other=0.0)
        grad_erase = tl.load(words + erase, mask=writing, other=0.0) * made * (1.0 - made)
        if s.tanh_key:
            made = tl.load(parameters + key, mask=named, other=0.0)
            grad_key = tl.load(words + key, mask=named, other=0.0) * (1.0 - made * made)
        if s.tanh_add:
            made = tl.load(parameters + add, mask=writing, other=0.0)
            grad_add = tl.load(words + add, mask=writing, other=0.0) * (1.0 - made * made)
        tl.debug_barrier()
        tl.store(words + erase, grad_erase, mask=writing)
        if s.tanh_key:
            tl.store(words + key, grad_key, mask=named)
        if s.tanh_add:
            tl.store(words + add, grad_add, mask=writing)

    h = tl.arange(0, s.padded_heads)
    there = h < s.heads
    grad_strength = tl.load(words + s.strength + h, mask=there, other=0.0)
    grad_strength *= tl.load(slopes + h, mask=there, other=0.0)
    if s.location:
        gate = tl.load(parameters + s.gate + h, mask=there, other=0.0)
        grad_gate = tl.load(words + s.gate + h, mask=there, other=0.0) * gate * (1.0 - gate)
        grad_gamma = tl.load(words + s.gamma + h, mask=there, other=0.0)
        grad_gamma *= tl.load(slopes + s.heads + h, mask=there, other=0.0)
        offset = tl.arange(0, s.padded_offsets)
        at = s.shift + h[:, None] * s.offsets + offset[None, :]
        inside = there[:, None] & (offset < s.offsets)[None, :]
        shift = tl.load(parameters + at, mask=inside, other=0.0)
        grad_shift = tl.load(words + at, mask=inside, other=0.0)
        grad_shift = shift * (grad_shift - sum_of_products(grad_shift, shift, 1, True))
    tl.debug_barrier()
    tl.store(words + s.strength + h, grad_strength, mask=there)
    if s.location:
        tl.store(words + s.gate + h, grad_gate, mask=there)
        tl.store(words + s.gamma + h, grad_gamma, mask=there)
        tl.store(words + at, grad_shift, mask=inside)
