"""The floating-point operations that a forward and backward of a machine's kernels have to do.

The equations are those of `ops/ntm/README.md` and `ops/mann/README.md`, forward and backward, as they stand there. An
addition, a subtraction, a multiplication, a division, a root, exp, log and tanh are one each, though the latter take
ten or more instructions; a multiply-add is two, a sum of n products n multiply-adds, and a sigmoid three. What only
compares or moves is none.

Not counted: what is made again in the backward, the memories among it; what is done once for a head or for a number of
its parameters, as their activations and the unit keys; the readout and the loss. The input takes no gradient, and a
write gate or a key strength has one.
"""

from __future__ import annotations

from tapehead.ops.mann.shapes import Shape as MANNShape
from tapehead.ops.ntm.shapes import Shape as NTMShape
from tapehead.ops.shapes import SequenceShape

__all__ = ["operations", "products"]

NORM = 3
"""For a slot beside the squares of its numbers: epsilon, root, division."""
SOFTMAX = 5
"""For a number: less the highest, times the strength, exp, into the sum, over it."""
POINTED = 4
"""Back through a cosine, for a slot and a head: z, and into q two products and a sum."""
LSTM = (3 * 3 + 2) + 4, 5 + 4 * 4 + 1
"""For a unit, forward: three sigmoids and two tanh, c and h; backward: dc', four sums, dc of the step before."""
FEEDFORWARD = 1, 3
"""For a unit: tanh, and its slope times a gradient."""


def operations(shape: NTMShape | MANNShape) -> int:
    """Of a forward and backward of a call of this shape."""
    gates = shape.hidden_size * shape.layers * sum(LSTM if shape.lstm else FEEDFORWARD)
    own = _ntm(shape) if isinstance(shape, NTMShape) else _mann(shape)
    return products(shape) + shape.steps * shape.rows * (gates + own)


def products(shape: SequenceShape) -> int:
    """Those of the controller's and the heads' products, and of the gradients of their weights, alone."""
    hidden, upper = shape.hidden_size, shape.layers - 1
    below, depth = shape.reads + shape.lstm * hidden, hidden * (1 + shape.lstm)
    # Once in the forward, once in the backward; the input's share in the forward alone; the gradients, with biases.
    recurrent = shape.gates * (below + upper * depth) + shape.parameters * hidden
    weights = shape.gates * (shape.input_size + below + 1 + upper * (depth + 1)) + shape.parameters * (hidden + 1)
    return 2 * (shape.gates * shape.input_size + 2 * recurrent + weights) * shape.steps * shape.rows


def _ntm(shape: NTMShape) -> int:
    """Of a step of a row, with the memory and its slots."""
    sizes, heads = shape.sizes, shape.heads
    reads, writes, offsets = sizes.read_heads, sizes.write_heads, 2 * sizes.max_shift + 1
    addressed = 1 + sizes.write_read  # memories
    # For each number of a memory. The squares, the cosines, the reads; 1 - w e, its product with M, and w a.
    forward = 2 * addressed + 2 * heads + 2 * reads + 5 * writes
    # dw of the reads; dM and du of the cosines, q M, and dM of the reads.
    backward = 2 * reads + 4 * heads + 2 * addressed + 2 * reads
    # One head: w dM' and its sum, de, dw, dM. Several, each: 1 - w e, left and right, their product, dw, de, da.
    backward += 10 if writes == 1 else 13 * writes - 1
    # For each slot and head. The cosine by its norm, softmax; gate, shift, log, sharpening.
    slot = 1 + SOFTMAX + sizes.location * (3 + 2 * offsets + 1 + SOFTMAX)
    # Back through the softmax: the mean, w (dw - m), d beta, times beta. The same through sharpening, which has w / w~
    # besides; then ds and dw^g; and w^c - w, dg, dw^c, dw.
    slot += 2 + 2 + 2 + 1 + POINTED + sizes.location * (2 + 2 + 2 + 2 + 5 + 4 * offsets + 5)
    return shape.memory_size * ((forward + backward) * shape.word_size + slot * heads + NORM * addressed)


def _mann(shape: MANNShape) -> int:
    """Of a step of a row, with the memory and its slots."""
    heads, learned = shape.sizes.read_heads, shape.sizes.learned_strength
    # For each number of a memory. The squares, the cosines, the reads, w a.
    forward = 2 + 2 * heads + 2 * heads + 2 * heads
    # dw of the reads; dM and du of the cosines, q M, dM of the reads; dw and da of the write.
    backward = 2 * heads + 4 * heads + 2 + 2 * heads + 4 * heads
    # For each slot and head. The cosine by its norm, softmax; where it writes; both weights into the usage.
    slot = 1 + SOFTMAX - 1 + learned + 1 + 2
    # Back through the softmax: the mean, w (dw - m), d beta and times beta; then dg, dw of the step before.
    slot += 2 + 2 + 3 * learned + POINTED + 3
    # The usage decays.
    return shape.memory_size * ((forward + backward) * shape.word_size + slot * heads + NORM + 1)
