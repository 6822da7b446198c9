"""What the controller says to the heads, and where they point, with backward: sections 3.3.1 and 3.3.2 of the paper.

All of one row and one step. Pointers are those of the row's step; arrays over slots are Np long and hold zeros in the
padding. `s` is a `Plan` (`cuda.py`). Derivation: README.md in this folder.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tapehead.ops.triton.content import content_weights, content_weights_backward, softmax, unit_key
from tapehead.ops.triton.elementary import exp, sigmoid, softplus, tanh

__all__ = ["address", "address_backward", "speak", "speak_backward"]


@triton.jit
def speak(raw, parameters, slopes, units, s: tl.constexpr):
    """Raw words (P,) to parameters (P,), each kind in its range; the slopes of strengths and gammas; unit keys.

    What is a number a head is loaded first: no load moves over a store.
    """
    j = tl.arange(0, s.padded_words)
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
    for h in range(s.heads):
        key = tl.load(raw + h * s.words + j, mask=j < s.words, other=0.0)
        if s.tanh_key:
            key = tanh(key)
        unit, _ = unit_key(key)
        tl.store(parameters + h * s.words + j, key, mask=j < s.words)
        tl.store(units + h * s.words + j, unit, mask=j < s.words)
    for h in range(s.write_heads):
        erase = tl.load(raw + s.erase + h * s.words + j, mask=j < s.words, other=0.0)
        add = tl.load(raw + s.add + h * s.words + j, mask=j < s.words, other=0.0)
        if s.tanh_add:
            add = tanh(add)
        tl.store(parameters + s.erase + h * s.words + j, sigmoid(erase), mask=j < s.words)
        tl.store(parameters + s.add + h * s.words + j, add, mask=j < s.words)

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
def address(
    head,
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
    """Similarities to weights, eq. 5 and 7 to 9, of one head.

    Parameters and slopes are (P,) and (4 heads,), all other arrays (heads, Np). All is loaded before the first sum over
    the slots: no load moves over the barriers of a sum.
    """
    n = tl.arange(0, s.slots)
    inside = n < memory_size
    at = head * padded_size + n
    cosine = tl.load(similarity + at, mask=inside, other=0.0)
    strength = tl.load(parameters + s.strength + head)
    if s.location:
        before = tl.load(previous + at, mask=inside, other=0.0)
        gate = tl.load(parameters + s.gate + head)
        gamma = tl.load(parameters + s.gamma + head)
    weight = content_weights(cosine, strength, inside)
    tl.store(content + at, weight, mask=n < padded_size)
    if s.location:
        gated = before + (weight - before) * gate
        # Slot n gets what was at n - offset, eq. 8. The smallest normal number keeps the logarithm of 0 finite.
        shifted = tl.zeros_like(gated) + s.tiny
        for index in range(s.offsets):
            origin = tl.where(inside, (n + memory_size + s.max_shift - index) % memory_size, n)
            part = tl.load(parameters + s.shift + head * s.offsets + index)
            shifted += tl.gather(gated, origin, 0) * part
        logarithm = tl.where(inside, tl.log(shifted), 0.0)
        highest = tl.max(tl.where(inside, logarithm, -float("inf")), 0)
        weight, total = softmax(logarithm, gamma, highest, inside)
        tl.store(logarithms + at, logarithm, mask=n < padded_size)
        tl.store(slopes + 2 * s.heads + head, highest)
        tl.store(slopes + 3 * s.heads + head, tl.log(total))
    tl.store(again + at, weight, mask=n < padded_size)
    if s.save:
        tl.store(weights + at, weight, mask=n < padded_size)


@triton.jit
def address_backward(
    head,
    similarity,
    parameters,
    slopes,
    previous,  # (heads, Np) of the step before, looked at for t > 0
    first,  # (heads, N) of the start, looked at for t = 0
    content,
    logarithms,
    weights,
    inverse_norms,  # (Np,)
    grad_weights,  # (heads, Np): of this step; turns into that of the step before
    grad_content,  # (heads, Np), of a trace, or None
    words,  # (P,): strength, gate, shift and gamma of this head are set to their gradients
    z,  # (heads, Np): set for this head
    q,  # the sum over heads so far
    t,
    memory_size,
    padded_size,
    s: tl.constexpr,
):
    """Back through one head's addressing, eq. 9, 8, 7 and 5, to what `content_backward` takes. Returns the new q.

    All is loaded before the first sum over the slots, as in `address`.
    """
    n = tl.arange(0, s.slots)
    inside = n < memory_size
    at = head * padded_size + n
    by_content = tl.load(content + at, mask=inside, other=0.0)
    gradient = tl.load(grad_weights + at, mask=inside, other=0.0)
    cosine = tl.load(similarity + at, mask=inside, other=0.0)
    inverse = tl.load(inverse_norms + n, mask=inside, other=0.0)
    strength = tl.load(parameters + s.strength + head)
    if grad_content is not None:
        grad_seen = tl.load(grad_content + at, mask=inside, other=0.0)
    if s.location:
        before = tl.load(previous + at, mask=inside & (t > 0), other=0.0)
        before += tl.load(first + head * memory_size + n, mask=inside & (t == 0), other=0.0)
        gate = tl.load(parameters + s.gate + head)
        gated = before + (by_content - before) * gate

        # Sharpening: w / w~ = exp(gamma (L - highest) - L - log-sum) does not underflow where w does.
        weight = tl.load(weights + at, mask=inside, other=0.0)
        logarithm = tl.load(logarithms + at, mask=inside, other=0.0)
        gamma = tl.load(parameters + s.gamma + head)
        highest = tl.load(slopes + 2 * s.heads + head)
        log_sum = tl.load(slopes + 3 * s.heads + head)
        centred = gradient - tl.sum(weight * gradient, 0)
        tl.store(words + s.gamma + head, tl.sum(weight * centred * logarithm, 0))
        ratio = exp((logarithm - highest) * gamma - logarithm - log_sum)
        grad_shifted = tl.where(inside, gamma * ratio * centred, 0.0)

        # Shift, and the same circle the other way round.
        gradient = tl.zeros_like(gated)
        for index in range(s.offsets):
            origin = tl.where(inside, (n + memory_size + s.max_shift - index) % memory_size, n)
            target = tl.where(inside, (n + memory_size - s.max_shift + index) % memory_size, n)
            part = s.shift + head * s.offsets + index
            tl.store(words + part, tl.sum(grad_shifted * tl.gather(gated, origin, 0), 0))
            gradient += tl.gather(grad_shifted, target, 0) * tl.load(parameters + part)

        # Interpolation.
        tl.store(words + s.gate + head, tl.sum(gradient * (by_content - before), 0))
        grad_content_weights = gradient * gate
        handed_on = gradient - grad_content_weights
        if s.limited:
            handed_on = tl.where(handed_on > s.limit, s.limit, tl.where(handed_on < -s.limit, -s.limit, handed_on))
    else:
        grad_content_weights = gradient
        handed_on = tl.zeros_like(gradient)
    tl.debug_barrier()
    tl.store(grad_weights + at, handed_on, mask=n < padded_size)
    if grad_content is not None:
        grad_content_weights += grad_seen
    grad_strength, scaled, share = content_weights_backward(by_content, grad_content_weights, cosine, inverse, strength)
    tl.store(words + s.strength + head, grad_strength)
    tl.store(z + at, scaled, mask=n < padded_size)
    return q + share


@triton.jit
def speak_backward(parameters, slopes, words, s: tl.constexpr):
    """Words (P,) turn from the gradients of the parameters into those of the raw words."""
    j = tl.arange(0, s.padded_words)
    if s.tanh_key:
        for head in range(s.heads):
            at = head * s.words + j
            made = tl.load(parameters + at, mask=j < s.words, other=0.0)
            gradient = tl.load(words + at, mask=j < s.words, other=0.0) * (1.0 - made * made)
            tl.debug_barrier()
            tl.store(words + at, gradient, mask=j < s.words)
    for head in range(s.write_heads):
        at = s.erase + head * s.words + j
        erase = tl.load(parameters + at, mask=j < s.words, other=0.0)
        grad_erase = tl.load(words + at, mask=j < s.words, other=0.0) * erase * (1.0 - erase)
        to_add = s.add + head * s.words + j
        if s.tanh_add:
            made = tl.load(parameters + to_add, mask=j < s.words, other=0.0)
            grad_add = tl.load(words + to_add, mask=j < s.words, other=0.0) * (1.0 - made * made)
        tl.debug_barrier()
        tl.store(words + at, grad_erase, mask=j < s.words)
        if s.tanh_add:
            tl.store(words + to_add, grad_add, mask=j < s.words)

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
        grad_shift = shift * (grad_shift - tl.sum(grad_shift * shift, 1)[:, None])
    tl.debug_barrier()
    tl.store(words + s.strength + h, grad_strength, mask=there)
    if s.location:
        tl.store(words + s.gate + h, grad_gate, mask=there)
        tl.store(words + s.gamma + h, grad_gamma, mask=there)
        tl.store(words + at, grad_shift, mask=inside)
