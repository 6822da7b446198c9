"""The bytes that a forward and backward of a machine's kernels on a GPU have to move at least.

They are counted apart by where they come from:

- From the caches: what is read or written again in every step of every row. The weights of the recurrent products and
  of the heads, once forward and once backward; and every pass over a memory, or over its gradient, that the kernels
  make: where a program holds them in registers, only the memories that are made again. It is little for a row, and
  stays in the caches. The device's memory would be too slow for it.
- Through the device's memory: what is written once and read once. All that the forward keeps for the backward, the
  output, the sums that torch's products make for the kernels and take from them, and the output's gradient, which is
  only read. A cache that has room for all of it spares a part.

Not counted: vectors between the parts of a step, the padding of a memory, the weights' gradients, and what the readout,
the loss and torch's products read besides. All of it is for float32. What is from the caches depends on the tiling; it
is counted for the usual one, whatever a tuning has found.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tapehead.ops.ntm.shapes import Shape as NTMShape
from tapehead.ops.shapes import SequenceShape
from tapehead.ops.tilings import USUAL, Tiling
from tapehead.ops.triton_launches import depth, tiles

__all__ = ["SUMS_AT_ONCE", "Traffic", "traffic"]

SUMS_AT_ONCE = 4
"""Heads that read in one pass over a memory in tiles, as in ops/triton/memory.py."""
NUMBER = 4


class Traffic(NamedTuple):
    """Bytes of a forward and backward."""

    caches: int
    device: int


def traffic(shape: SequenceShape, every: int, tiling: Tiling = USUAL) -> Traffic:
    """What a forward and backward of a call of this shape have to move at least.

    Args:
        shape: of the call
        every: steps from one memory that is kept for the backward to the next
        tiling: which decides what a program holds
    """
    calls, layers = shape.steps * shape.rows, shape.layers
    below = shape.reads + shape.lstm * shape.hidden_size
    weights = shape.gates * (below + (layers - 1) * depth(shape)) + shape.parameters * shape.hidden_size
    passes = _passes(shape, every, tiles(shape, 1, tiling).resident)
    caches = 2 * calls * weights + passes * shape.rows * shape.memory_size * shape.word_size
    kept = sum(shape.internals(every, True, False).values())
    output = shape.hidden_size + shape.reads
    # Those of the lowest layer before the gates, the gradients of all layers', and of the heads' words.
    sums = shape.gates + layers * shape.gates + shape.parameters
    device = 2 * kept + calls * (2 * sums + 3 * output)
    return Traffic(NUMBER * caches, NUMBER * device)


def _passes(shape: SequenceShape, every: int, held: bool) -> int:
    """Over a memory or its gradient, read or written, in all steps of a row, beside those of what is kept."""
    ntm = isinstance(shape, NTMShape)
    written_first = bool(shape.sizes.write_read)
    addressed = 1 + (ntm and written_first)  # memories: by the write heads M_{t-1}, by the read heads M_t
    passes = 0
    if not held:
        # The similarities and the reads, then the write, which reads and writes it.
        forward = addressed + math.ceil(shape.sizes.read_heads / SUMS_AT_ONCE) + 2
        # The memory for the read; the gradient in and out for the write, the NTM's with the memory; all three for the
        # content.
        backward = 1 + (3 if ntm else 2) + 3 * addressed
        passes = shape.steps * (forward + backward)
    if every > 1:
        # From each kept memory on, a copy of it first, the next are written again, until the backward has all that it
        # looks at. Each is stored; where it is held each is read as the backward comes to it, elsewhere to make the
        # next.
        segments = math.ceil(shape.steps / every)
        written = shape.steps - segments * (not written_first)
        passes += segments + written + (addressed * shape.steps if held else written)
    return passes
