"""The NTM's forward in one launch: a program for each row of the batch, through all its steps.

What passes from one part of a step to the next goes through a row's scratch in global memory, behind a barrier: a
program's threads see each other's registers in no other way. Layouts and derivation: README.md in this folder.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tapehead.ops.ntm.triton.heads import address, speak
from tapehead.ops.ntm.triton.write import write
from tapehead.ops.triton import controller
from tapehead.ops.triton.memory import (
    copy_weights,
    copy_weights_out,
    hold,
    read,
    similarity,
    transpose_in,
    transpose_out,
)

__all__ = ["forward"]


@triton.jit(
    do_not_specialize=["steps", "rows", "memory_size", "every"],
    # A user's own, which may lie anywhere, and are read once a step at most.
    do_not_specialize_on_alignment=[
        "lengths",
        "memory",
        "read_weights",
        "write_weights",
        "reads",
        "hidden",
        "cell",
        "heads_bias",
    ],
)
def forward(
    # What it is given; arrays of steps and rows are (T, B, ...), weights of products are transposed.
    projected,  # (T, B, G): the input's share of the lowest layer's sums, with their bias
    lengths,  # (B,) or None
    memory,  # (B, N, M)
    read_weights,
    write_weights,
    reads,
    hidden,
    cell,
    layer_weights,  # (R*M + H, G), feed-forward (R*M, G)
    upper_weights,  # (L-1, 2H, G), feed-forward (L-1, H, G)
    upper_bias,
    heads_weight,  # (H, P)
    heads_bias,
    # What it makes: results, then what is kept. With `s.save` off these have one step.
    output,
    last_memory,
    last_read_weights,
    last_write_weights,
    last_reads,
    last_hidden,
    last_cell,
    weights,
    content,
    parameters,
    similarities,
    logarithms,
    inverse_norms,
    slopes,
    gates,
    lower,
    memories,  # (T / every + 1, B, M, Np), only with `s.save`
    # Scratch, of each row.
    inputs,  # what each layer takes
    cells,  # (2, L, H)
    sums,  # (G,)
    raw,  # (P,)
    units,  # (heads, M)
    carried,  # (2, heads, Np): weights of even steps, of odd ones
    current,  # (M, Np), where not every memory is kept; where it is held, for its start
    steps,
    rows,
    memory_size,
    padded_size,
    every,
    block,  # numbers from one group's kept arrays to the next one's, and of those that a trace shows
    shown,
    s: tl.constexpr,
):
    """All steps of row `program_id(0)` among the rows of all groups."""
    place = tl.program_id(0).to(tl.int64)
    group = place // rows
    row = place - group * rows
    slots = s.heads * padded_size
    numbers = s.words * padded_size
    depth: tl.constexpr = s.hidden + s.lstm * s.hidden
    first_depth: tl.constexpr = s.reads + s.lstm * s.hidden
    width: tl.constexpr = first_depth + (s.layers - 1) * depth
    inputs += place * width
    cells += place * (2 * s.layers * s.hidden)
    sums += place * s.gates
    raw += place * s.parameters
    units += place * (s.heads * s.words)
    carried += place * (2 * slots)
    length = steps if lengths is None else tl.minimum(tl.maximum(tl.load(lengths + place), 0), steps).to(tl.int32)
    # The group's own of what is not laid out row by row.
    projected += group * steps * rows * s.gates
    layer_weights += group * (first_depth * s.gates)
    upper_weights = None if upper_weights is None else upper_weights + group * ((s.layers - 1) * depth * s.gates)
    upper_bias = None if upper_bias is None else upper_bias + group * ((s.layers - 1) * s.gates)
    heads_weight += group * (s.hidden * s.parameters)
    heads_bias += group * s.parameters
    output += group * steps * rows * (s.hidden + s.reads)
    reads += group * rows * s.reads
    last_reads += group * rows * s.reads
    if s.lstm:
        hidden += group * rows * (s.layers * s.hidden)
        cell += group * rows * (s.layers * s.hidden)
        last_hidden += group * rows * (s.layers * s.hidden)
        last_cell += group * rows * (s.layers * s.hidden)
    weights += group * shown
    content += group * shown
    parameters += group * shown
    similarities += group * block
    logarithms += group * block
    inverse_norms += group * block
    slopes += group * block
    gates += group * block
    lower += group * block
    memories += group * shown

    # The state that the sequence starts from.
    if s.keep_all:
        start = memories + row * numbers
    else:
        start = current + place * numbers
        if s.save:
            transpose_in(
                memory + place * (memory_size * s.words), memories + row * numbers, memory_size, padded_size, s
            )
    transpose_in(memory + place * (memory_size * s.words), start, memory_size, padded_size, s)
    copy_weights(
        read_weights + place * (s.read_heads * memory_size), carried, 0, s.read_heads, memory_size, padded_size, s
    )
    copy_weights(
        write_weights + place * (s.write_heads * memory_size),
        carried,
        s.read_heads,
        s.write_heads,
        memory_size,
        padded_size,
        s,
    )
    controller.start(reads, hidden, cell, inputs, cells, row, rows, s)
    tl.debug_barrier()
    held = hold(start, padded_size, s)

    for t in range(length):
        step = row + t * rows
        if s.save:
            at = step
            kept_rows = steps * rows
        else:
            at = row
            kept_rows = rows
        if s.keep_all:
            before = memories + step * numbers
            after = memories + (step + rows) * numbers
        elif s.resident:
            before = start
            after = None
        else:
            before = start
            after = start
        output_now = output + step * (s.hidden + s.reads)
        spoken = parameters + at * s.parameters
        slopes_now = slopes + at * (4 * s.heads)
        norms_now = inverse_norms + at * ((1 + s.write_read) * padded_size)
        similar = similarities + at * slots
        previous = carried + (t % 2) * slots
        pointed = carried + ((t + 1) % 2) * slots

        controller.run_layers(
            t,
            at,
            kept_rows,
            projected + step * s.gates,
            layer_weights,
            upper_weights,
            upper_bias,
            inputs,
            cells,
            sums,
            output_now,
            gates,
            lower,
            s,
        )
        controller.speak_to_heads(output_now, heads_weight, heads_bias, raw, s)
        speak(raw, spoken, slopes_now, units, s)
        tl.debug_barrier()

        # Who addresses M_{t-1}: all heads, or the write heads.
        first: tl.constexpr = s.read_heads if s.write_read else 0
        similarity(before, held, units, similar, norms_now + s.write_read * padded_size, first, s.heads, padded_size, s)
        tl.debug_barrier()
        content_now = content + at * slots
        logarithms_now = logarithms + at * slots
        weights_now = weights + at * slots
        for head in range(first, s.heads, s.heads_at_once):
            address(
                head,
                s.heads,
                similar,
                spoken,
                slopes_now,
                previous,
                content_now,
                logarithms_now,
                weights_now,
                pointed,
                memory_size,
                padded_size,
                s,
            )
        tl.debug_barrier()
        if not s.write_read:
            read(before, held, pointed, output_now + s.hidden, inputs, padded_size, s)
        kept = memories + ((t + 1) // every * rows + row) * numbers if s.save and not s.keep_all else None
        keep = (t + 1) % every == 0
        held = write(before, held, after, kept, keep, pointed, spoken, not s.keep_all, padded_size, s)
        if s.write_read:
            tl.debug_barrier()
            similarity(after, held, units, similar, norms_now, 0, s.read_heads, padded_size, s)
            tl.debug_barrier()
            for head in range(0, s.read_heads, s.heads_at_once):
                address(
                    head,
                    s.read_heads,
                    similar,
                    spoken,
                    slopes_now,
                    previous,
                    content_now,
                    logarithms_now,
                    weights_now,
                    pointed,
                    memory_size,
                    padded_size,
                    s,
                )
            tl.debug_barrier()
            read(after, held, pointed, output_now + s.hidden, inputs, padded_size, s)
        tl.debug_barrier()

    # The state after the row's last step.
    end = memories + (row + length * rows) * numbers if s.keep_all else current + place * numbers
    transpose_out(end, held, last_memory + place * (memory_size * s.words), memory_size, padded_size, s)
    pointed_last = carried + (length % 2) * slots
    copy_weights_out(
        pointed_last,
        last_read_weights + place * (s.read_heads * memory_size),
        0,
        s.read_heads,
        memory_size,
        padded_size,
        s,
    )
    copy_weights_out(
        pointed_last,
        last_write_weights + place * (s.write_heads * memory_size),
        s.read_heads,
        s.write_heads,
        memory_size,
        padded_size,
        s,
    )
    controller.finish(length, inputs, cells, last_reads, last_hidden, last_cell, row, rows, s)
