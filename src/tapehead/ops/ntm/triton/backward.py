"""The NTM's backward in one launch, but for the products over all steps: a program for each row, from its last step on.

It writes down the gradients of all sums, of which `cuda.py` makes those of the weights and of the input. Layouts and
derivation: README.md in this folder.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tapehead.ops.ntm.triton.heads import address_backward, speak_backward
from tapehead.ops.ntm.triton.write import write, write_backward
from tapehead.ops.triton import controller
from tapehead.ops.triton.content import keys_backward, unit_keys
from tapehead.ops.triton.elementary import accumulate, copy, product
from tapehead.ops.triton.memory import (
    add_memory,
    content_backward,
    copy_memory,
    copy_weights,
    copy_weights_out,
    hold,
    read_backward,
    transpose_in,
    transpose_out,
)

__all__ = ["backward"]


@triton.jit(
    do_not_specialize=["steps", "rows", "memory_size", "every"],
    # A user's own, which may lie anywhere, and are read once a step at most.
    do_not_specialize_on_alignment=[
        "grad_output",
        "grad_last_memory",
        "grad_last_read_weights",
        "grad_last_write_weights",
        "grad_last_reads",
        "grad_last_hidden",
        "grad_last_cell",
        "lengths",
        "cell",
    ],
)
def backward(
    # Gradients of results, each None where there is none.
    grad_output,
    grad_last_memory,
    grad_last_read_weights,
    grad_last_write_weights,
    grad_last_reads,
    grad_last_hidden,
    grad_last_cell,
    grad_weights_seen,  # of a trace, in the layout of what is kept, as the next three
    grad_content,
    grad_parameters,
    grad_memories,
    # What the forward was given and made.
    lengths,
    first_weights,  # (B, heads, N): what the sequence started from
    cell,
    layer_weights,  # (G, R*M + H), feed-forward (G, R*M)
    upper_weights,  # (L-1, G, 2H), feed-forward (L-1, G, H)
    heads_weight,  # (P, H)
    output,
    weights,
    content,
    parameters,
    similarities,
    logarithms,
    inverse_norms,
    slopes,
    gates,
    lower,
    memories,
    # What it makes: gradients of sums, and those of the state, None where nobody wants them.
    grad_sums,  # (L, T, B, G)
    grad_words,  # (T, B, P)
    grad_memory_out,
    grad_read_weights_out,
    grad_write_weights_out,
    grad_reads_out,
    grad_hidden_out,
    grad_cell_out,
    # Scratch, of each row.
    grad_memory,  # (M, Np)
    grad_weights,  # (heads, Np)
    grad_reads,  # (R*M,)
    grad_hidden,  # (L, H)
    grad_cell,  # (L, H)
    into,  # what a layer's product gives
    units,  # (heads, M)
    grad_units,  # (heads, M)
    z,  # (heads, Np)
    grad_use,  # (heads, Np): dw by what was read and written with the weights
    segment,  # (every + 1, M, Np): memories made again; None where every one is kept
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
    far = numbers.to(tl.int64)  # from one memory of a segment to the next: together they may pass 2^31
    below: tl.constexpr = s.reads if s.layers == 1 or s.reads > s.hidden else s.hidden
    grad_memory += place * numbers
    grad_weights += place * slots
    grad_reads += place * s.reads
    grad_hidden += place * (s.layers * s.hidden)
    grad_cell += place * (s.layers * s.hidden)
    into += place * (below + s.lstm * s.hidden)
    units += place * (s.heads * s.words)
    grad_units += place * (s.heads * s.words)
    z += place * slots
    grad_use += place * slots
    first = first_weights + place * (s.heads * memory_size)
    length = steps if lengths is None else tl.minimum(tl.maximum(tl.load(lengths + place), 0), steps).to(tl.int32)
    if not s.keep_all:
        segment += place * ((every + 1) * far)
    # The group's own of what is not laid out row by row.
    grad_output = None if grad_output is None else grad_output + group * steps * rows * (s.hidden + s.reads)
    grad_last_reads = None if grad_last_reads is None else grad_last_reads + group * rows * s.reads
    grad_last_hidden = None if grad_last_hidden is None else grad_last_hidden + group * rows * (s.layers * s.hidden)
    grad_last_cell = None if grad_last_cell is None else grad_last_cell + group * rows * (s.layers * s.hidden)
    grad_weights_seen = None if grad_weights_seen is None else grad_weights_seen + group * shown
    grad_content = None if grad_content is None else grad_content + group * shown
    grad_parameters = None if grad_parameters is None else grad_parameters + group * shown
    grad_memories = None if grad_memories is None else grad_memories + group * shown
    layer_weights += group * (s.gates * (s.reads + s.lstm * s.hidden))
    if upper_weights is not None:
        upper_weights += group * ((s.layers - 1) * s.gates * s.hidden * (1 + s.lstm))
    heads_weight += group * (s.parameters * s.hidden)
    output += group * steps * rows * (s.hidden + s.reads)
    grad_sums += group * steps * rows * (s.layers * s.gates)
    grad_words += group * steps * rows * s.parameters
    grad_reads_out = None if grad_reads_out is None else grad_reads_out + group * rows * s.reads
    cell = None if cell is None else cell + group * rows * (s.layers * s.hidden)
    grad_hidden_out = None if grad_hidden_out is None else grad_hidden_out + group * rows * (s.layers * s.hidden)
    grad_cell_out = None if grad_cell_out is None else grad_cell_out + group * rows * (s.layers * s.hidden)
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

    # Gradients of the final state.
    if grad_last_memory is None:
        transpose_in(None, grad_memory, memory_size, padded_size, s)
    else:
        transpose_in(grad_last_memory + place * (memory_size * s.words), grad_memory, memory_size, padded_size, s)
    if grad_last_read_weights is None:
        copy(None, grad_weights, s.read_heads * padded_size, s.block)
    else:
        origin = grad_last_read_weights + place * (s.read_heads * memory_size)
        copy_weights(origin, grad_weights, 0, s.read_heads, memory_size, padded_size, s)
    if grad_last_write_weights is None:
        copy(None, grad_weights + s.read_heads * padded_size, s.write_heads * padded_size, s.block)
    else:
        origin = grad_last_write_weights + place * (s.write_heads * memory_size)
        copy_weights(origin, grad_weights, s.read_heads, s.write_heads, memory_size, padded_size, s)
    controller.start_backward(
        grad_last_reads, grad_last_hidden, grad_last_cell, grad_reads, grad_hidden, grad_cell, row, rows, s
    )
    tl.debug_barrier()
    held_gradient = hold(grad_memory, padded_size, s)

    for index in range(length):
        t = length - 1 - index
        step = row + t * rows
        spoken = parameters + step * s.parameters
        slopes_now = slopes + step * (4 * s.heads)
        norms_now = inverse_norms + step * ((1 + s.write_read) * padded_size)
        similar = similarities + step * slots
        content_now = content + step * slots
        logarithms_now = logarithms + step * slots
        weights_now = weights + step * slots
        previous = weights_now - rows * slots
        words = grad_words + step * s.parameters
        output_now = output + step * (s.hidden + s.reads)
        top = grad_hidden + (s.layers - 1) * s.hidden

        if s.keep_all:
            before = memories + step * numbers
            after = memories + (step + rows) * numbers
        else:
            # On the way into a segment its memories are written again, from the kept one on.
            past = t % every
            if (t == length - 1) | (past == every - 1):
                kept = memories + ((t // every) * rows + row) * numbers
                remade = copy_memory(kept, segment, padded_size, s)
                tl.debug_barrier()
                for again in range(past + s.write_read):
                    that = step - (past - again) * rows
                    made = segment + again * far
                    remade = write(
                        made,
                        remade,
                        made + numbers,
                        None,
                        False,
                        weights + that * slots,
                        parameters + that * s.parameters,
                        False,
                        padded_size,
                        s,
                    )
                    if not s.resident:
                        tl.debug_barrier()
                if s.resident:
                    tl.debug_barrier()
            before = segment + past * far
            after = before + numbers
        held_before = hold(before, padded_size, s)
        held_seen = hold(after, padded_size, s) if s.write_read else held_before

        # What comes from outside.
        if grad_output is not None:
            grad_output_now = grad_output + step * (s.hidden + s.reads)
            accumulate(grad_output_now, top, s.hidden, s.block)
            accumulate(grad_output_now + s.hidden, grad_reads, s.reads, s.block)
        if grad_weights_seen is not None:
            accumulate(grad_weights_seen + step * slots, grad_weights, slots, s.block)
        if grad_memories is not None:
            seen_gradient = grad_memories + (step + rows) * numbers
            held_gradient = add_memory(seen_gradient, grad_memory, held_gradient, padded_size, s)
        unit_keys(spoken, units, s)
        tl.debug_barrier()

        # The read, and then the write or, where they come after it, the read heads' addressing.
        seen = after if s.write_read else before
        read_backward(seen, held_seen, grad_reads, grad_use, padded_size, s)
        if not s.write_read:
            held_gradient = write_backward(
                before, held_before, grad_memory, held_gradient, weights_now, spoken, grad_use, words, padded_size, s
            )
        tl.debug_barrier()
        content_seen = None if grad_content is None else grad_content + step * slots
        end: tl.constexpr = s.read_heads if s.write_read else s.heads
        for head in range(0, end, s.heads_at_once):
            address_backward(
                head,
                end,
                similar,
                spoken,
                slopes_now,
                previous,
                first,
                content_now,
                logarithms_now,
                weights_now,
                norms_now,
                grad_use,
                grad_weights,
                content_seen,
                words,
                z,
                t,
                memory_size,
                padded_size,
                s,
            )
        tl.debug_barrier()
        held_gradient = content_backward(
            seen,
            held_seen,
            grad_memory,
            held_gradient,
            z,
            similar,
            norms_now,
            units,
            grad_units,
            weights_now,
            grad_reads,
            0,
            end,
            True,
            padded_size,
            s,
        )
        tl.debug_barrier()
        if s.write_read:
            held_gradient = write_backward(
                before, held_before, grad_memory, held_gradient, weights_now, spoken, grad_use, words, padded_size, s
            )
            tl.debug_barrier()
            for head in range(s.read_heads, s.heads, s.heads_at_once):
                address_backward(
                    head,
                    s.heads,
                    similar,
                    spoken,
                    slopes_now,
                    previous,
                    first,
                    content_now,
                    logarithms_now,
                    weights_now,
                    norms_now + padded_size,
                    grad_use,
                    grad_weights,
                    content_seen,
                    words,
                    z,
                    t,
                    memory_size,
                    padded_size,
                    s,
                )
            tl.debug_barrier()
            held_gradient = content_backward(
                before,
                held_before,
                grad_memory,
                held_gradient,
                z,
                similar,
                norms_now + padded_size,
                units,
                grad_units,
                weights_now,
                grad_reads,
                s.read_heads,
                s.heads,
                False,
                padded_size,
                s,
            )
            tl.debug_barrier()

        # The words, and the controller that spoke them.
        keys_backward(spoken, grad_units, words, s)
        tl.debug_barrier()
        if grad_parameters is not None:
            accumulate(grad_parameters + step * s.parameters, words, s.parameters, s.block)
            tl.debug_barrier()
        speak_backward(spoken, slopes_now, words, s)
        tl.debug_barrier()
        product(words, heads_weight, top, top, True, s.parameters, s.hidden, s.product_rows, s.product_columns)
        tl.debug_barrier()
        controller.layers_backward(
            t,
            step,
            rows,
            steps * rows,
            layer_weights,
            upper_weights,
            cell + row * s.hidden if s.lstm else None,
            output_now,
            gates,
            lower,
            grad_hidden,
            grad_cell,
            grad_reads,
            grad_sums,
            into,
            s,
        )

    # Gradients of the state that the sequence started from.
    if grad_memory_out is not None:
        transpose_out(
            grad_memory, held_gradient, grad_memory_out + place * (memory_size * s.words), memory_size, padded_size, s
        )
        to_read = grad_read_weights_out + place * (s.read_heads * memory_size)
        to_write = grad_write_weights_out + place * (s.write_heads * memory_size)
        copy_weights_out(grad_weights, to_read, 0, s.read_heads, memory_size, padded_size, s)
        copy_weights_out(grad_weights, to_write, s.read_heads, s.write_heads, memory_size, padded_size, s)
        controller.finish_backward(
            grad_reads, grad_hidden, grad_cell, grad_reads_out, grad_hidden_out, grad_cell_out, row, rows, s
        )
