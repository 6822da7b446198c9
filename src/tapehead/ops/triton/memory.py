"""Passes over one row's memory, and their backward, for the Triton kernels of every machine.

A memory lies transposed, (M, Np): number j of all slots, then number j + 1. A pass takes it in tiles of `s.tile` slots,
so that its size is no matter. Where the whole of it is one tile, `s.resident`, a program holds that in registers: the
passes take it as `held`, and those that change it return it. Elsewhere `held` is a zero that nobody looks at.

Pointers are those of the row, or of the row's step; arrays over slots are Np long and hold zeros in the padding. `s` is
the machine's plan (`cuda.py`), with M as `words` and R as `read_heads`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tapehead.ops.triton.content import EPSILON_SQUARED
from tapehead.ops.triton.elementary import accumulate, both, root, rounded_product, sum_of_products, sums

__all__ = [
    "SUMS_AT_ONCE",
    "add_memory",
    "add_sums_over_slots",
    "columns",
    "content_backward",
    "copy_memory",
    "copy_weights",
    "copy_weights_out",
    "hold",
    "put_back",
    "read",
    "read_backward",
    "similarity",
    "store_sums_over_words",
    "store_written",
    "sums_over_slots",
    "sums_over_words",
    "tile_at",
    "tile_of",
    "transpose_in",
    "transpose_out",
]


SUMS_AT_ONCE: tl.constexpr = tl.constexpr(4)
"""Heads whose sums over a tile are one sum."""


@triton.jit
def tile_at(start, padded_size, s: tl.constexpr):
    """Slots and numbers of a tile, where each number lies in a memory, and which there are."""
    n = start + tl.arange(0, s.tile)
    j = tl.arange(0, s.padded_words)
    return n, j, j[:, None] * padded_size + n[None, :], (j < s.words)[:, None] & (n < padded_size)[None, :]


@triton.jit
def tile_of(memory, held, at, there, s: tl.constexpr):
    """A tile: the one that is held, or from the memory."""
    return held if s.resident else tl.load(memory + at, mask=there, other=0.0)


@triton.jit
def hold(memory, padded_size, s: tl.constexpr):
    """What a program holds of a memory: all of it, or nothing."""
    if s.resident:
        _, _, at, there = tile_at(0, padded_size, s)
        held = tl.load(memory + at, mask=there, other=0.0)
    else:
        held = tl.zeros([1], memory.dtype.element_ty)
    return held


@triton.jit
def copy_memory(origin, to, padded_size, s: tl.constexpr):
    """Copy: to (M, Np) = origin (M, Np); returns what is held of it."""
    held = hold(origin, padded_size, s)
    for start in range(0, s.tile if s.resident else padded_size, s.tile):
        _, _, at, there = tile_at(start, padded_size, s)
        tl.store(to + at, tile_of(origin, held, at, there, s), mask=there)
    return held


@triton.jit
def add_memory(origin, memory, held, padded_size, s: tl.constexpr):
    """Add: memory (M, Np) += origin (M, Np)."""
    if s.resident:
        held += hold(origin, padded_size, s)
    else:
        accumulate(origin, memory, s.words * padded_size, s.block)
    return held


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
def transpose_out(origin, held, to, memory_size, padded_size, s: tl.constexpr):
    """Transpose: to (N, M) = origin (M, Np)."""
    for start in range(0, s.tile if s.resident else padded_size, s.tile):
        n, j, at, there = tile_at(start, padded_size, s)
        tile = tile_of(origin, held, at, there, s)
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
def sums_over_words(tile, vectors, first: tl.constexpr, end: tl.constexpr, s: tl.constexpr):
    """sum_j v(j) T(j,n), (slots, heads), with vectors (heads, M): of heads from first on, at most `SUMS_AT_ONCE`."""
    j = tl.arange(0, s.padded_words)
    products = ()
    for h in tl.static_range(first, first + SUMS_AT_ONCE):
        if h < end:
            vector = tl.load(vectors + h * s.words + j, mask=j < s.words, other=0.0)
            products += (rounded_product(tile, vector[:, None]),)  # type: ignore[assignment]
    return sums(products, 0)


@triton.jit
def sums_over_slots(tile, n, vectors, first: tl.constexpr, end: tl.constexpr, padded_size, s: tl.constexpr):
    """sum_n v(n) T(j,n), (words, heads), with vectors (heads, Np), likewise."""
    products = ()
    for h in tl.static_range(first, first + SUMS_AT_ONCE):
        if h < end:
            vector = tl.load(vectors + h * padded_size + n, mask=n < padded_size, other=0.0)
            products += (rounded_product(tile, vector[None, :]),)  # type: ignore[assignment]
    return sums(products, 1)


@triton.jit
def columns(first, end, sums):
    """Numbers (1, heads) of the heads whose sums stand in the columns, and which of them there are."""
    h = first + tl.arange(0, sums.shape[1])[None, :]
    return h, h < end


@triton.jit
def store_sums_over_words(to, sums, n, first, end, padded_size):
    """Store to (heads, Np)."""
    h, there = columns(first, end, sums)
    tl.store(to + h * padded_size + n[:, None], sums, mask=there & (n < padded_size)[:, None])


@triton.jit
def store_sums_over_slots(to, sums, first, end, s: tl.constexpr):
    """Store to (heads, M)."""
    h, there = columns(first, end, sums)
    j = tl.arange(0, s.padded_words)[:, None]
    tl.store(to + h * s.words + j, sums, mask=there & (j < s.words))


@triton.jit
def add_sums_over_slots(to, sums, start, first, end, s: tl.constexpr):
    """Store to (heads, M) with what the tiles before `start` gave, which takes a barrier."""
    if not s.resident:
        h, there = columns(first, end, sums)
        j = tl.arange(0, s.padded_words)[:, None]
        sums += tl.load(to + h * s.words + j, mask=both(there & (j < s.words), start > 0), other=0.0)
        tl.debug_barrier()
    store_sums_over_slots(to, sums, first, end, s)


@triton.jit
def store_written(after, kept, keep, held, tile, at, there, in_place: tl.constexpr, s: tl.constexpr):
    """Store a tile to `after`, and to `kept` where `keep` says so, each of which may be None; returns what is held."""
    if after is not None:
        if in_place:
            tl.debug_barrier()
        tl.store(after + at, tile, mask=there)
    if kept is not None:
        tl.store(kept + at, tile, mask=both(there, keep))
    return tile if s.resident else held


@triton.jit
def put_back(memory, held, tile, at, there, s: tl.constexpr):
    """Put a tile where it was taken, in place; returns what is held from now on."""
    if s.resident:
        held = tile
    else:
        tl.debug_barrier()
        tl.store(memory + at, tile, mask=there)
    return held


@triton.jit
def similarity(
    memory, held, units, to, inverse_norms, first: tl.constexpr, end: tl.constexpr, padded_size, s: tl.constexpr
):
    """Cosine of every slot with the unit keys of heads first to end - 1, eq. 6, into to (heads, Np); 1 / |M(n)|."""
    for start in range(0, s.tile if s.resident else padded_size, s.tile):
        n, _, at, there = tile_at(start, padded_size, s)
        tile = tile_of(memory, held, at, there, s)
        inverse = 1.0 / root(sum_of_products(tile, tile, 0) + EPSILON_SQUARED)
        tl.store(inverse_norms + n, inverse, mask=n < padded_size)
        for head in tl.static_range(first, end, SUMS_AT_ONCE):
            cosine = sums_over_words(tile, units, head, end, s) * inverse[:, None]
            store_sums_over_words(to, cosine, n, head, end, padded_size)


@triton.jit
def read(memory, held, weights, to, again, padded_size, s: tl.constexpr):
    """Read, eq. 2: r = sum_n w(n) M(n) of all read heads into to (R, M) and again (R, M)."""
    heads: tl.constexpr = s.read_heads
    for head in tl.static_range(0, heads, SUMS_AT_ONCE):
        total = read_tile(memory, held, weights, 0, head, padded_size, s)
        if not s.resident:
            for start in range(s.tile, padded_size, s.tile):
                total += read_tile(memory, held, weights, start, head, padded_size, s)
        store_sums_over_slots(to, total, head, heads, s)
        store_sums_over_slots(again, total, head, heads, s)


@triton.jit
def read_tile(memory, held, weights, start, head: tl.constexpr, padded_size, s: tl.constexpr):
    """What the slots of a tile give to the reads (words, heads) of heads from `head` on."""
    n, _, at, there = tile_at(start, padded_size, s)
    tile = tile_of(memory, held, at, there, s)
    return sums_over_slots(tile, n, weights, head, s.read_heads, padded_size, s)


@triton.jit
def read_backward(memory, held, grad_reads, grad_weights, padded_size, s: tl.constexpr):
    """dw(n) = sum_j dr(j) M(n,j) of all read heads; the memory's part waits for `content_backward`."""
    heads: tl.constexpr = s.read_heads
    for start in range(0, s.tile if s.resident else padded_size, s.tile):
        n, _, at, there = tile_at(start, padded_size, s)
        tile = tile_of(memory, held, at, there, s)
        for head in tl.static_range(0, heads, SUMS_AT_ONCE):
            total = sums_over_words(tile, grad_reads, head, heads, s)
            store_sums_over_words(grad_weights, total, n, head, heads, padded_size)


@triton.jit
def content_backward(
    memory,  # that was addressed
    held,
    grad_memory,
    held_gradient,
    z,  # (heads, Np)
    similarity,  # (heads, Np)
    inverse_norms,  # (Np,)
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
    """dM(n,j) += sum_heads z(n) u(j) - q(n) M(n,j) + sum_reads w(n) dr(j), and du(j) = sum_n z(n) M(n,j).

    q(n) = sum_heads z(n) K(n) / |M(n)|.
    """
    for start in range(0, s.tile if s.resident else padded_size, s.tile):
        n, j, at, there = tile_at(start, padded_size, s)
        tile = tile_of(memory, held, at, there, s)
        gradient = tile_of(grad_memory, held_gradient, at, there, s)
        inverse = tl.load(inverse_norms + n, mask=n < padded_size, other=0.0)
        q = tl.zeros_like(inverse)
        for h in range(first, end):
            zh = tl.load(z + h * padded_size + n, mask=n < padded_size, other=0.0)
            cosine = tl.load(similarity + h * padded_size + n, mask=n < padded_size, other=0.0)
            unit = tl.load(units + h * s.words + j, mask=j < s.words, other=0.0)
            q += zh * cosine * inverse
            gradient += unit[:, None] * zh[None, :]
        gradient -= tile * q[None, :]
        if reading:
            for h in range(s.read_heads):
                weight = tl.load(weights + h * padded_size + n, mask=n < padded_size, other=0.0)
                grad_read = tl.load(grad_reads + h * s.words + j, mask=j < s.words, other=0.0)
                gradient += grad_read[:, None] * weight[None, :]
        for head in tl.static_range(first, end, SUMS_AT_ONCE):
            total = sums_over_slots(tile, n, z, head, end, padded_size, s)
            add_sums_over_slots(grad_units, total, start, head, end, s)
        held_gradient = put_back(grad_memory, held_gradient, gradient, at, there, s)
    return held_gradient
