"""Passes over one row's memory, and their backward, for the Triton kernels of every machine.

A memory lies transposed, (M, Np): number j of all slots, then number j + 1. A pass takes it in tiles of `s.tile` slots,
so that its size is no matter. Pointers are those of the row, or of the row's step; arrays over slots are Np long and
hold zeros in the padding. `s` is the machine's plan (`cuda.py`), with M as `words` and R as `read_heads`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tapehead.ops.triton.content import EPSILON_SQUARED
from tapehead.ops.triton.elementary import root

__all__ = [
    "content_backward",
    "copy_weights",
    "copy_weights_out",
    "read",
    "read_backward",
    "similarity",
    "tile_at",
    "transpose_in",
    "transpose_out",
]


@triton.jit
def tile_at(start, padded_size, s: tl.constexpr):
    """Slots and numbers of a tile, where each number lies in a memory, and which there are."""
    n = start + tl.arange(0, s.tile)
    j = tl.arange(0, s.padded_words)
    return n, j, j[:, None] * padded_size + n[None, :], (j < s.words)[:, None] & (n < padded_size)[None, :]


@triton.jit
def transpose_in(origin, to, memory_size, padded_size, s: tl.constexpr):
    """Transpose: to (M, Np) = origin (N, M), or zeros where there is none."""
    for start in range(0, padded_size, s.tile):
        n, j, at, there = tile_at(start, padded_size, s)
        if origin is None:
            tl.store(to + at, 0.0, mask=there)
        else:
            tile = tl.load(
                origin + n[None, :] * s.words + j[:, None], mask=there & (n < memory_size)[None, :], other=0.0
            )
            tl.store(to + at, tile, mask=there)


@triton.jit
def transpose_out(origin, to, memory_size, padded_size, s: tl.constexpr):
    """Transpose: to (N, M) = origin (M, Np)."""
    for start in range(0, padded_size, s.tile):
        n, j, at, there = tile_at(start, padded_size, s)
        tile = tl.load(origin + at, mask=there, other=0.0)
        tl.store(to + n[None, :] * s.words + j[:, None], tile, mask=there & (n < memory_size)[None, :])


@triton.jit
def copy_weights(origin, to, first: tl.constexpr, count: tl.constexpr, memory_size, padded_size, s: tl.constexpr):
    """Copy to (heads, Np), of heads from first on, = origin (count, N), with zeros in the padding."""
    n = tl.arange(0, s.slots)
    for h in range(count):
        tl.store(
            to + (first + h) * padded_size + n,
            tl.load(origin + h * memory_size + n, mask=n < memory_size, other=0.0),
            mask=n < padded_size,
        )


@triton.jit
def copy_weights_out(origin, to, first: tl.constexpr, count: tl.constexpr, memory_size, padded_size, s: tl.constexpr):
    """Copy: to (count, N) = origin (heads, Np), of heads from first on."""
    n = tl.arange(0, s.slots)
    for h in range(count):
        tl.store(
            to + h * memory_size + n,
            tl.load(origin + (first + h) * padded_size + n, mask=n < memory_size, other=0.0),
            mask=n < memory_size,
        )


@triton.jit
def similarity(memory, units, to, inverse_norms, first: tl.constexpr, end: tl.constexpr, padded_size, s: tl.constexpr):
    """Cosine of every slot with the unit keys of heads first to end - 1, eq. 6, into to (heads, Np); 1 / |M(n)|."""
    for start in range(0, padded_size, s.tile):
        n, j, at, there = tile_at(start, padded_size, s)
        tile = tl.load(memory + at, mask=there, other=0.0)
        inverse = 1.0 / root(tl.sum(tile * tile, 0) + EPSILON_SQUARED)
        tl.store(inverse_norms + n, inverse, mask=n < padded_size)
        for h in range(first, end):
            unit = tl.load(units + h * s.words + j, mask=j < s.words, other=0.0)
            tl.store(to + h * padded_size + n, tl.sum(tile * unit[:, None], 0) * inverse, mask=n < padded_size)


@triton.jit
def read(memory, weights, to, again, padded_size, s: tl.constexpr):
    """Read, eq. 2: r = sum_n w(n) M(n) of all read heads into to (R, M) and again (R, M)."""
    padded: tl.constexpr = s.padded_words
    for h in range(s.read_heads):
        total = tl.zeros([padded], to.dtype.element_ty)
        for start in range(0, padded_size, s.tile):
            n, _, at, there = tile_at(start, padded_size, s)
            weight = tl.load(weights + h * padded_size + n, mask=n < padded_size, other=0.0)
            total += tl.sum(tl.load(memory + at, mask=there, other=0.0) * weight[None, :], 1)
        j = tl.arange(0, s.padded_words)
        tl.store(to + h * s.words + j, total, mask=j < s.words)
        tl.store(again + h * s.words + j, total, mask=j < s.words)


@triton.jit
def read_backward(memory, grad_reads, grad_weights, padded_size, s: tl.constexpr):
    """dw(n) += sum_j dr(j) M(n,j) of all read heads; the memory's part waits for `content_backward`."""
    for start in range(0, padded_size, s.tile):
        n, j, at, there = tile_at(start, padded_size, s)
        tile = tl.load(memory + at, mask=there, other=0.0)
        for h in range(s.read_heads):
            gradient = tl.load(grad_reads + h * s.words + j, mask=j < s.words, other=0.0)
            total = tl.load(grad_weights + h * padded_size + n, mask=n < padded_size, other=0.0) + tl.sum(
                tile * gradient[:, None], 0
            )
            tl.debug_barrier()
            tl.store(grad_weights + h * padded_size + n, total, mask=n < padded_size)


@triton.jit
def content_backward(
    memory,  # that was addressed
    grad_memory,
    z,  # (heads, Np)
    q,  # (Np,)
    units,  # (heads, M)
    grad_units,  # (heads, M): set for these heads
    weights,  # (heads, Np)
    grad_reads,  # (R, M)
    first: tl.constexpr,
    end: tl.constexpr,
    reading: tl.constexpr,  # whether the read heads read this memory
    padded_size,
    s: tl.constexpr,
):
    """dM(n,j) += sum_heads z(n) u(j) - q(n) M(n,j) + sum_reads w(n) dr(j), and du(j) = sum_n z(n) M(n,j)."""
    for start in range(0, padded_size, s.tile):
        n, j, at, there = tile_at(start, padded_size, s)
        tile = tl.load(memory + at, mask=there, other=0.0)
        gradient = tl.load(grad_memory + at, mask=there, other=0.0)
        gradient -= tile * tl.load(q + n, mask=n < padded_size, other=0.0)[None, :]
        for h in range(first, end):
            zh = tl.load(z + h * padded_size + n, mask=n < padded_size, other=0.0)
            unit = tl.load(units + h * s.words + j, mask=j < s.words, other=0.0)
            gradient += unit[:, None] * zh[None, :]
            to = grad_units + h * s.words + j
            total = tl.load(to, mask=(j < s.words) & (start > 0), other=0.0) + tl.sum(tile * zh[None, :], 1)
            tl.debug_barrier()
            tl.store(to, total, mask=j < s.words)
        if reading:
            for h in range(s.read_heads):
                weight = tl.load(weights + h * padded_size + n, mask=n < padded_size, other=0.0)
                grad_read = tl.load(grad_reads + h * s.words + j, mask=j < s.words, other=0.0)
                gradient += grad_read[:, None] * weight[None, :]
        tl.debug_barrier()
        tl.store(grad_memory + at, gradient, mask=there)
