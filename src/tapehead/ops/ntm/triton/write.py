"""The write of one row and one step, section 3.2 of the NTM paper, with backward; see `ops/triton/memory.py`."""

from __future__ import annotations

import triton
import triton.language as tl

from tapehead.ops.triton.elementary import both, sum_of_products
from tapehead.ops.triton.memory import put_back, store_written, tile_at, tile_of

__all__ = ["write", "write_backward"]


@triton.jit
def write(before, held, after, kept, keep, weights, parameters, in_place: tl.constexpr, padded_size, s: tl.constexpr):
    """Erase with every write head, then add with every one, eq. 3 and 4; returns what is held of the memory after it.

    Stored to `after`, and to `kept` where `keep` says so; each may be None.
    """
    for start in range(0, s.tile if s.resident else padded_size, s.tile):
        n, j, at, there = tile_at(start, padded_size, s)
        tile = tile_of(before, held, at, there, s)
        added = tl.zeros_like(tile)
        for h in range(s.write_heads):
            weight = tl.load(weights + (s.read_heads + h) * padded_size + n, mask=n < padded_size, other=0.0)
            erase = tl.load(parameters + s.erase + h * s.words + j, mask=j < s.words, other=0.0)
            add = tl.load(parameters + s.add + h * s.words + j, mask=j < s.words, other=0.0)
            tile *= 1.0 - erase[:, None] * weight[None, :]
            added += add[:, None] * weight[None, :]
        tile += added
        held = store_written(after, kept, keep, held, tile, at, there, in_place, s)
    return held


@triton.jit
def write_backward(
    before, held, grad_memory, held_gradient, weights, parameters, grad_weights, words, padded_size, s: tl.constexpr
):
    """Turn dM of what was written into that of what was there; set dw, and the words of erase and add.

    dM~/de_h has the product of all the other heads' factors: from the left made anew for each head, from the right on
    the way back, so that nothing is divided by a factor that may be 0.
    """
    for start in range(0, s.tile if s.resident else padded_size, s.tile):
        n, j, at, there = tile_at(start, padded_size, s)
        memory = tile_of(before, held, at, there, s)
        after = tile_of(grad_memory, held_gradient, at, there, s)
        right = after
        for index in range(s.write_heads):
            head = s.write_heads - 1 - index
            left = memory
            for other in range(head):
                left *= kept_of(n, j, weights, parameters, other, padded_size, s)
            weight = tl.load(weights + (s.read_heads + head) * padded_size + n, mask=n < padded_size, other=0.0)
            erase = tl.load(parameters + s.erase + head * s.words + j, mask=j < s.words, other=0.0)
            add = tl.load(parameters + s.add + head * s.words + j, mask=j < s.words, other=0.0)
            to_erase = words + s.erase + head * s.words + j
            to_add = words + s.add + head * s.words + j
            others = left * right
            grad_weight = tl.sum(after * add[:, None] - others * erase[:, None], 0)
            grad_erase = -sum_of_products(others, weight[None, :], 1)
            grad_add = sum_of_products(after, weight[None, :], 1)
            if not s.resident:
                more = both(j < s.words, start > 0)
                grad_erase += tl.load(to_erase, mask=more, other=0.0)
                grad_add += tl.load(to_add, mask=more, other=0.0)
                tl.debug_barrier()
            tl.store(grad_weights + (s.read_heads + head) * padded_size + n, grad_weight, mask=n < padded_size)
            tl.store(to_erase, grad_erase, mask=j < s.words)
            tl.store(to_add, grad_add, mask=j < s.words)
            right *= 1.0 - erase[:, None] * weight[None, :]
        held_gradient = put_back(grad_memory, held_gradient, right, at, there, s)
    return held_gradient


@triton.jit
def kept_of(n, j, weights, parameters, head, padded_size, s: tl.constexpr):
    """What a write head leaves of the numbers of a tile, 1 - w(n) e(j)."""
    weight = tl.load(weights + (s.read_heads + head) * padded_size + n, mask=n < padded_size, other=0.0)
    erase = tl.load(parameters + s.erase + head * s.words + j, mask=j < s.words, other=0.0)
    return 1.0 - erase[:, None] * weight[None, :]
