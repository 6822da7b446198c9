"""exp, tanh and what is made of them, and products with a matrix, for the Triton kernels of every machine.

Triton's own exp of a float32 rounds its argument's product with log2 e, and it has no tanh. NaN stays NaN everywhere.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = [
    "accumulate",
    "both",
    "copy",
    "exp",
    "product",
    "root",
    "rounded_product",
    "sigmoid",
    "softplus",
    "sum_of_products",
    "sums",
    "tanh",
]

TILES_AT_ONCE: tl.constexpr = tl.constexpr(4)
"""Tiles of a matrix that are on their way at a time."""


@triton.jit
def both(mask, condition):
    """`mask` where a scalar `condition` holds; without the comparison, Triton 3.9's interpreter makes no mask of it."""
    return (mask & condition) != 0


@triton.jit
def exp(x):
    """e^x to some units of the last place: x = n ln 2 + r, and e^x = 2^n e^r."""
    if x.dtype == tl.float32:
        x = tl.where(x < -104.0, -104.0, tl.where(x > 89.0, 89.0, x))
        n = tl.floor(x * 1.44269504 + 0.5)
        power = tl.exp2(n) * tl.exp((x - n * 0.693359375) + n * 2.12194440e-4)
    else:
        power = tl.exp(x)
    return power


@triton.jit
def root(x):
    """The square root of x >= 0, rounded as IEEE 754 has it."""
    return tl.sqrt_rn(x) if x.dtype == tl.float32 else tl.sqrt(x)


@triton.jit
def sigmoid(x):
    """1 / (1 + e^-x), without an exponential that overflows."""
    u = exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, u) / (1.0 + u)


@triton.jit
def softplus(x):
    """log(1 + e^x) = max(x, 0) + log(1 + u) for u = e^-|x|, and by Kahan log(1 + u) = log(w) u / (w - 1), w = 1 + u."""
    u = exp(-tl.abs(x))
    w = 1.0 + u
    difference = w - 1.0
    kahan = tl.log(w) * u / tl.where(difference > 0, difference, 1.0)
    return tl.where(x < 0, 0.0, x) + tl.where(difference > 0, kahan, u)


@triton.jit
def tanh(x):
    """(1 - e^-2|x|) / (1 + e^-2|x|) with the sign of x; near 0, where that cancels, polynomials (Cephes)."""
    magnitude = tl.abs(x)
    u = exp(-2.0 * magnitude)
    far = (1.0 - u) / (1.0 + u)
    z = x * x
    if x.dtype == tl.float32:
        tail = -5.70498872745e-3 * z + 2.06390887954e-2
        tail = tail * z - 5.37397155531e-2
        tail = tail * z + 1.33314422036e-1
        tail = tail * z - 3.33332819422e-1
    else:
        top = (-9.64399179425052238628e-1 * z - 9.92877231001918586564e1) * z - 1.61468768441708447952e3
        bottom = ((z + 1.12811678491632931402e2) * z + 2.23548839060100448583e3) * z + 4.84406305325125486048e3
        tail = top / bottom
    near = magnitude + magnitude * z * tail
    result = tl.where(magnitude < 0.625, near, far)
    return tl.where(x < 0, -result, result)


@triton.jit
def rounded_product(a, b):
    """Multiply a and b, broadcast; rounded before anything is added to it.

    Of a product that the compiler joins with a thread's first addition, two threads that hold the same sum would have
    different bits of it: each has its own product unrounded.
    """
    a, b = tl.broadcast(a, b)
    return tl.fma(a, b, tl.zeros_like(a))


@triton.jit
def sum_of_products(a, b, axis: tl.constexpr, keep_dims: tl.constexpr = False):
    """The sum of a * b, broadcast, along an axis; the same bits for every thread that holds it."""
    return tl.sum(rounded_product(a, b), axis, keep_dims=keep_dims)


@triton.jit
def sums(tensors, axis: tl.constexpr):
    """The sums of up to 8 matrices along an axis, each in a column; the columns, a power of two, end in anything.

    It is one sum of a tensor, with the barriers of one, which are what a sum costs.
    """
    whole = joined(joined(joined(tensors, 4), 2), 1)[0]
    total = tl.sum(whole, axis)
    return tl.reshape(total, [total.shape[0], total.numel // total.shape[0]])


@triton.jit
def joined(tensors, half: tl.constexpr):
    """Tensors 0 and `half`, 1 and `half` + 1, and so on, along a new last axis, where there are more than `half`."""
    if len(tensors) <= half:
        pairs = tensors
    else:
        pairs = ()
        for index in tl.static_range(half):
            if index + half < len(tensors):
                pairs += (tl.join(tensors[index], tensors[index + half]),)
            else:
                pairs += (tl.join(tensors[index], tensors[index]),)
    return pairs


@triton.jit
def product(
    x,
    matrix,
    base,
    to,
    in_place: tl.constexpr,  # whether `to` is `base`
    depth: tl.constexpr,
    width: tl.constexpr,
    tile_rows: tl.constexpr,
    tile_columns: tl.constexpr,
):
    """Multiply by a matrix: to (width,) = base (width,) + x (depth,) @ matrix (depth, width).

    Without a base it counts as 0. What other threads stored to x and base must be behind a barrier, and a barrier must
    stand between this and what reads `to`. Base and several tiles are on their way before the first is needed, since
    what a product costs is mostly waiting for them.
    """
    for first in range(0, width, tile_columns):
        j = first + tl.arange(0, tile_columns)
        first_total = tl.zeros([tile_columns], to.dtype.element_ty)
        if base is not None:
            first_total = tl.load(base + j, mask=j < width, other=0.0)
        totals = tl.zeros([tile_rows, tile_columns], to.dtype.element_ty)
        for start in tl.range(0, depth, tile_rows, loop_unroll_factor=TILES_AT_ONCE):
            k = start + tl.arange(0, tile_rows)
            factor = tl.load(x + k, mask=k < depth, other=0.0)
            inside = (k < depth)[:, None] & (j < width)[None, :]
            totals += factor[:, None] * tl.load(matrix + k[:, None] * width + j[None, :], mask=inside, other=0.0)
        total = tl.sum(totals, 0) + first_total
        if in_place:
            tl.debug_barrier()
        tl.store(to + j, total, mask=j < width)


@triton.jit
def copy(origin, to, count, block: tl.constexpr):
    """Copy: to (count,) = origin (count,), or zeros where there is none."""
    for start in range(0, count, block):
        i = start + tl.arange(0, block)
        if origin is None:
            tl.store(to + i, 0.0, mask=i < count)
        else:
            tl.store(to + i, tl.load(origin + i, mask=i < count, other=0.0), mask=i < count)


@triton.jit
def accumulate(origin, to, count, block: tl.constexpr):
    """Add: to (count,) += origin (count,)."""
    for start in range(0, count, block):
        i = start + tl.arange(0, block)
        total = tl.load(to + i, mask=i < count, other=0.0) + tl.load(origin + i, mask=i < count, other=0.0)
        tl.debug_barrier()
        tl.store(to + i, total, mask=i < count)
