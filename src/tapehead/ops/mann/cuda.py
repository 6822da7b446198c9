"""The MANN op on CUDA tensors: Triton's kernels, as `ops/triton_launches.py` launches them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tapehead.ops import triton_launches
from tapehead.ops.mann.op import OP, BackwardArguments
from tapehead.ops.mann.shapes import Shape
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
    heads: int
    """R, too"""
    parameters: int
    """P, and where each kind of parameter after the keys starts in a row of them"""
    strength: int
    gate: int
    add: int
    """0, where the keys are, without `own_add`"""
    lstm: int
    write_read: int
    tanh_key: bool
    tanh_add: bool
    relu: bool
    learned_strength: bool
    own_add: bool
    """whether what is written is a vector of its own, not the key"""
    unused: int
    """C, slots that are cleared in a step"""
    each: bool
    """whether each head has one of its own"""
    own: int
    """how many of them a head may write"""
    decay: float
    save: bool
    keep_all: bool
    """whether every M_t is kept"""
    trace: bool
    slots: int
    """at least Np"""
    padded_words: int
    padded_heads: int
    heads_at_once: int
    """heads whose slots, or words, are taken together"""
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
    sizes, words, heads = shape.sizes, shape.word_size, shape.sizes.read_heads
    taken = triton_launches.tiles(shape, heads, tiling)
    gate = heads * (words + sizes.learned_strength)
    return Plan(
        hidden=shape.hidden_size,
        layers=shape.layers,
        gates=shape.gates,
        words=words,
        reads=shape.reads,
        read_heads=heads,
        heads=heads,
        parameters=shape.parameters,
        strength=heads * words,
        gate=gate,
        add=gate + heads if sizes.add else 0,
        lstm=shape.lstm,
        write_read=sizes.write_read,
        tanh_key=bool(sizes.tanh_key),
        tanh_add=bool(sizes.tanh_add),
        relu=bool(sizes.relu),
        learned_strength=bool(sizes.learned_strength),
        own_add=bool(sizes.add),
        unused=shape.unused,
        each=sizes.least_used == 1,
        own=heads if sizes.least_used == 2 else 1,
        decay=double_of(sizes.usage_decay),
        save=save,
        keep_all=keep_all,
        trace=trace,
        slots=taken.slots,
        padded_words=taken.words,
        padded_heads=triton_launches.power(heads, 1),
        heads_at_once=taken.heads,
        tile=taken.slots_of_memory,
        resident=taken.resident,
        block=taken.numbers,
        product_rows=taken.product_rows,
        product_columns=taken.product_columns,
    )


def _kernels(way: str) -> Any:
    """The kernel; Triton is imported with the first."""
    from tapehead.ops.mann.triton import backward, forward

    return forward.forward if way == "forward" else backward.backward


def _first_weights(given: BackwardArguments) -> Tensor:
    return given.read_weights


def _scratch(way: str, shape: Shape, every: int) -> list[tuple[int, ...]]:
    """Shapes of the kernels' scratch, in the order of their arguments."""
    rows, hidden, layers = shape.rows, shape.hidden_size, shape.layers
    words, slots = (rows, shape.reads), (rows, shape.sizes.read_heads, shape.padded_size)
    memory, first = (shape.word_size, shape.padded_size), shape.reads + shape.lstm * hidden
    used = (rows, shape.padded_size)
    if way == "forward":
        inputs = (rows, first + (layers - 1) * triton_launches.depth(shape))
        cells, sums, raw = (rows, 2, layers, hidden), (rows, shape.gates), (rows, shape.parameters)
        current = (0 if every == 1 else rows, *memory)
        return [inputs, cells, sums, raw, words, (2, *slots), used, slots, current]
    into = (rows, max(first, (layers > 1) * triton_launches.depth(shape)))
    state = [(rows, *memory), slots, words, (rows, layers, hidden), (rows, layers, hidden)]
    segment = (0 if every == 1 else rows, every + 1, *memory)
    return [*state, into, words, words, words, slots, slots, slots, slots, segment]


LAUNCHES = triton_launches.Launches(
    OP,
    _kernels,
    _plan,
    kept=(
        "unused",
        "usages",
        "weights",
        "written",
        "parameters",
        "similarity",
        "inverse_norms",
        "slopes",
        "gates",
        "lower",
        "memories",
    ),
    seen=("weights", "written", "parameters", "memories"),
    first_weights=_first_weights,
    scratch=_scratch,
)
OP.register_kernels("cuda", LAUNCHES.forward, LAUNCHES.backward)
