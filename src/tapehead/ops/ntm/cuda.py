"""The NTM op on CUDA tensors: Triton's kernels, as `ops/triton_launches.py` launches them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tapehead.ops import triton_launches
from tapehead.ops.ntm.op import OP, BackwardArguments
from tapehead.ops.ntm.shapes import Shape
from tapehead.ops.shapes import double_of
from tapehead.ops.tilings import Tiling

__all__ = ["LAUNCHES"]


class Plan(NamedTuple):
    """All that is compiled into a kernel: sizes but for T, B and N, choices, and sizes of tiles, powers of two."""

    hidden: int
    layers: int
    gates: int
    """G"""
    words: int
    reads: int
    """R*M"""
    read_heads: int
    write_heads: int
    heads: int
    max_shift: int
    offsets: int
    """S"""
    parameters: int
    """P, and where each kind of parameter after the keys starts in a row of them"""
    strength: int
    gate: int
    shift: int
    gamma: int
    erase: int
    add: int
    lstm: int
    location: bool
    write_read: int
    tanh_key: bool
    tanh_add: bool
    relu: bool
    limited: bool
    """whether there is a `gradient_limit`, and which"""
    limit: float
    tiny: float
    """the smallest normal number of the dtype"""
    save: bool
    keep_all: bool
    """whether every M_t is kept"""
    slots: int
    """at least Np"""
    padded_words: int
    padded_heads: int
    heads_at_once: int
    """heads whose slots, or words, are taken together"""
    padded_offsets: int
    tile: int
    """slots of a tile of the memory"""
    resident: bool
    """whether the whole memory is one tile, which a program holds"""
    block: int
    """numbers of a vector of the controller's that are taken at a time"""
    product_rows: int
    product_columns: int


@lru_cache(256)
def _plan(shape: Shape, dtype: torch.dtype, save: bool, keep_all: bool, trace: bool, tiling: Tiling) -> Plan:
    sizes, heads, words = shape.sizes, shape.heads, shape.word_size
    together = max(sizes.read_heads, sizes.write_heads) if sizes.write_read else heads
    taken = triton_launches.tiles(shape, together, tiling)
    offsets, location = 2 * sizes.max_shift + 1, bool(sizes.location)
    kinds = (heads * words, heads, *((heads, heads * offsets, heads) if location else (0, 0, 0)))
    starts = [sum(kinds[:count]) for count in range(1, 6)]
    limit = double_of(sizes.gradient_limit)
    return Plan(
        hidden=shape.hidden_size,
        layers=shape.layers,
        gates=shape.gates,
        words=words,
        reads=shape.reads,
        read_heads=sizes.read_heads,
        write_heads=sizes.write_heads,
        heads=heads,
        max_shift=sizes.max_shift,
        offsets=offsets,
        parameters=shape.parameters,
        strength=starts[0],
        gate=starts[1],
        shift=starts[2],
        gamma=starts[3],
        erase=starts[4],
        add=starts[4] + sizes.write_heads * words,
        lstm=shape.lstm,
        location=location,
        write_read=sizes.write_read,
        tanh_key=bool(sizes.tanh_key),
        tanh_add=bool(sizes.tanh_add),
        relu=bool(sizes.relu),
        limited=limit != math.inf,
        limit=0.0 if limit == math.inf else limit,
        tiny=torch.finfo(dtype).tiny,
        save=save,
        keep_all=keep_all,
        slots=taken.slots,
        padded_words=taken.words,
        padded_heads=triton_launches.power(heads, 1),
        heads_at_once=taken.heads,
        padded_offsets=triton_launches.power(offsets, 1),
        tile=taken.slots_of_memory,
        resident=taken.resident,
        block=taken.numbers,
        product_rows=taken.product_rows,
        product_columns=taken.product_columns,
    )


def _kernels(way: str) -> Any:
    """The kernel; Triton is imported with the first."""
    from tapehead.ops.ntm.triton import backward, forward

    return forward.forward if way == "forward" else backward.backward


def _first_weights(given: BackwardArguments) -> Tensor:
    return torch.cat([given.read_weights, given.write_weights], 1)


def _scratch(way: str, shape: Shape, every: int) -> list[tuple[int, ...]]:
    """Shapes of the kernels' scratch, in the order of their arguments."""
    rows, hidden, layers = shape.rows, shape.hidden_size, shape.layers
    units, slots = (rows, shape.heads * shape.word_size), (rows, shape.heads, shape.padded_size)
    memory, first = (shape.word_size, shape.padded_size), shape.reads + shape.lstm * hidden
    if way == "forward":
        inputs = first + (layers - 1) * triton_launches.depth(shape)
        current = (0 if every == 1 else rows, *memory)
        carried = (2, *slots)
        return [
            (rows, inputs),
            (rows, 2, layers, hidden),
            (rows, shape.gates),
            (rows, shape.parameters),
            units,
            carried,
            current,
        ]
    into = max(first, (layers > 1) * triton_launches.depth(shape))
    segment = (0 if every == 1 else rows, every + 1, *memory)
    return [
        (rows, *memory),
        slots,
        (rows, shape.reads),
        (rows, layers, hidden),
        (rows, layers, hidden),
        (rows, into),
        units,
        units,
        slots,
        slots,
        segment,
    ]


LAUNCHES = triton_launches.Launches(
    OP,
    _kernels,
    _plan,
    kept=(
        "weights",
        "content",
        "parameters",
        "similarity",
        "logarithms",
        "inverse_norms",
        "slopes",
        "gates",
        "lower",
        "memories",
    ),
    seen=("weights", "content", "parameters", "memories"),
    first_weights=_first_weights,
    scratch=_scratch,
)
OP.register_kernels("cuda", LAUNCHES.forward, LAUNCHES.backward)
