"""The bytes that a forward and backward of the NTM's kernels on a GPU have to move at least.

They are counted apart by where they come from:

- From the caches: what is read or written again in every step of every row. The weights of the recurrent products and
  of the heads, once forward and once backward; and every pass over a memory, or over its gradient, that the kernels
  make: where a program holds them in registers, only the memories that are made again. It is little for a row, and
  stays in the caches. The device's memory would be too slow for it.
- Through the device's memory: what is written once and read once. All that the forward keeps for the backward, the
  output, the sums that torch's products make for the kernels and take from them, and the output's gradient, which is
  only read. A cache that has room for all of it spares a part.

Not counted: vectors between the parts of a step, the padding of a memory, the weights' gradients, and what the readout,
the loss and torch's products read besides. All of it is for float32, one layer of an LSTM as the controller, one read
head and one write head, and the layer's own order, in which all heads address the memory before it is written.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from benchmarks.kernels import INPUT_SIZE, Point
from tapehead.ops.ntm.parameters import NTMSettings
from tapehead.ops.ntm.shapes import Shape, Sizes
from tapehead.ops.packing import chosen_every
from tapehead.ops.shapes import padded
from tapehead.ops.tilings import USUAL
from tapehead.ops.triton_launches import tiles

__all__ = ["Traffic", "kept_every", "shape_of", "traffic"]

FORWARD_PASSES = 4
"""Over a memory in a step, in tiles: the similarities and the read of it, then the write, which reads and writes it."""
BACKWARD_PASSES = 3 + 4
"""The same backward: the memory for the read, the write and the content; its gradient in and out for the last two."""
NUMBER = 4


class Traffic(NamedTuple):
    """Bytes of a forward and backward."""

    caches: int
    device: int


def shape_of(point: Point) -> Shape:
    """All sizes of the call."""
    settings = NTMSettings(1, 1, point.word, 1, "content_and_location", "read_write", "linear", "linear")
    sizes = (point.steps, point.rows, INPUT_SIZE, point.hidden, 1, point.slots, padded(point.slots), point.word, 1)
    return Shape(*sizes, Sizes.of(settings))


def kept_every(point: Point) -> int:
    """Steps from one memory that is kept for the backward to the next, as the layer chooses them."""
    input = torch.empty(point.steps, point.rows, INPUT_SIZE, device="meta")
    return chosen_every(input, torch.empty(point.rows, point.slots, point.word, device="meta"), None)


def traffic(point: Point) -> Traffic:
    """What a forward and backward at this size have to move at least."""
    shape, every = shape_of(point), kept_every(point)
    calls = point.steps * point.rows
    weights = shape.gates * (shape.reads + shape.hidden_size) + shape.parameters * shape.hidden_size
    resident = tiles(shape, shape.heads, USUAL).resident
    passes = 0 if resident else (FORWARD_PASSES + BACKWARD_PASSES) * point.steps
    # The memories between two kept ones are written again. Each is stored; where it is held each is read once, as the
    # backward comes to it, elsewhere all but the kept ones are read to make the next.
    if every > 1:
        passes += 2 * point.steps - (0 if resident else math.ceil(point.steps / every))
    caches = calls * 2 * weights + passes * point.rows * point.slots * point.word
    kept = sum(shape.internals(every, True, False).values())
    output = shape.hidden_size + shape.reads
    sums = 2 * shape.gates + shape.parameters  # before the gates, and their gradients; those of the heads' words
    device = 2 * kept + calls * (2 * sums + 3 * output)
    return Traffic(NUMBER * caches, NUMBER * device)
