"""Sizes of what a program of the Triton kernels takes at a time, and of how many threads it is.

A program, a thread block, runs one row of the batch through all its steps. It multiplies by weights in tiles of
`product_rows` x `product_columns`, passes over its memory in tiles of `tile` numbers, and has `warps` x 32 threads to
do so. Which is fastest depends on the GPU, the sizes and how many programs there are: `tapehead.tune` finds out.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["SHORT_LIST", "USUAL", "Tiling"]

LEAST, MOST, MOST_WARPS = 16, 1 << 16, 32
"""numbers of a tile, and warps of a program, that a kernel can be compiled with"""


class Tiling(NamedTuple):
    """What is compiled into a kernel beside the sizes of a call; powers of two.

    >>> USUAL.text()
    '8 warps, memory 4096, weights 32 x 128'
    """

    warps: int
    """of 32 threads each, of a program"""
    tile: int
    """numbers of a memory that a program takes at a time, where a slot has no more"""
    product_rows: int
    product_columns: int
    """of a tile of a weight matrix"""

    def is_possible(self) -> bool:
        """Whether a kernel can be compiled with it.

        >>> USUAL.is_possible(), USUAL._replace(tile=1000).is_possible(), USUAL._replace(warps=64).is_possible()
        (True, False, False)
        """
        sizes = (self.tile, self.product_rows, self.product_columns, self.product_rows * self.product_columns)
        powers = all(type(size) is int and size > 0 and size & (size - 1) == 0 for size in (self.warps, *sizes))
        return powers and self.warps <= MOST_WARPS and all(LEAST <= size <= MOST for size in sizes)

    def text(self) -> str:
        """The tiling in words."""
        warps = f"{self.warps} warp" + "s" * (self.warps > 1)
        return f"{warps}, memory {self.tile}, weights {self.product_rows} x {self.product_columns}"


USUAL = Tiling(8, 4096, 32, 128)
"""Where nothing was tuned."""

SHORT_LIST = (
    USUAL,
    Tiling(16, 8192, 32, 256),
    Tiling(16, 2048, 64, 128),
    Tiling(8, 4096, 64, 64),
    Tiling(4, 4096, 32, 64),
    Tiling(2, 2048, 16, 64),
    Tiling(1, 1024, 16, 64),
    Tiling(1, 1024, 16, 32),
    Tiling(8, 8192, 32, 128),
)
"""What `tapehead.tune` tries: many warps for few programs, which leave most of a GPU idle, few for many."""
