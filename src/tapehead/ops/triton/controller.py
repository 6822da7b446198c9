"""One row's step through the layers of a controller, and back, for the Triton kernels of every machine.

`s` is the machine's plan (`cuda.py`), with the sizes H, L and G as `hidden`, `layers`, `gates`, and R*M as `reads`.
Pointers are those of the row, or of the row's step. `inputs` holds for each layer what is below it and its own past.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tapehead.ops.triton.elementary import both, copy, product, sigmoid, tanh

__all__ = ["finish", "finish_backward", "layers_backward", "run_layers", "speak_to_heads", "start", "start_backward"]


@triton.jit
def run_layer(
    t,
    at,  # which of the kept rows this step is, t*B + b
    kept_rows,  # of one layer: T*B, or B where one step is kept
    projected,  # (G,): the input's share of the lowest layer's sums
    weights,  # (R*M + H, G), feed-forward (R*M, G)
    upper_weights,  # (L-1, 2H, G), feed-forward (L-1, H, G)
    upper_bias,  # (L-1, G)
    inputs,  # (R*M + H + (L-1) 2H,), feed-forward (R*M + (L-1) H,)
    cells,  # (2, L, H): of even steps, of odd ones
    sums,  # (G,)
    output,  # (H + R*M,)
    gates,  # (L, kept_rows, 6H): i, f, candidate, o, c, tanh c
    lower,  # (L-1, kept_rows, H)
    layer: tl.constexpr,
    s: tl.constexpr,
):
    """One layer, from what is below it. Leaves its output where the next takes it, behind a barrier."""
    below: tl.constexpr = s.reads if layer == 0 else s.hidden
    depth: tl.constexpr = below + s.lstm * s.hidden
    first: tl.constexpr = 0 if layer == 0 else s.reads + s.lstm * s.hidden + (layer - 1) * depth
    base = projected if layer == 0 else upper_bias + (layer - 1) * s.gates
    matrix = weights if layer == 0 else upper_weights + (layer - 1) * depth * s.gates
    product(inputs + first, matrix, base, sums, False, depth, s.gates, s.product_rows, s.product_columns)
    tl.debug_barrier()
    for start in range(0, s.hidden, s.block):
        i = start + tl.arange(0, s.block)
        inside = i < s.hidden
        if s.lstm:
            i_sum = tl.load(sums + i, mask=inside, other=0.0)
            f_sum = tl.load(sums + s.hidden + i, mask=inside, other=0.0)
            candidate_sum = tl.load(sums + 2 * s.hidden + i, mask=inside, other=0.0)
            o_sum = tl.load(sums + 3 * s.hidden + i, mask=inside, other=0.0)
            before = tl.load(cells + ((t % 2) * s.layers + layer) * s.hidden + i, mask=inside, other=0.0)
            i_gate, f_gate, o_gate = sigmoid(i_sum), sigmoid(f_sum), sigmoid(o_sum)
            candidate = tanh(candidate_sum)
            cell = f_gate * before + i_gate * candidate
            squashed = tanh(cell)
            hidden = o_gate * squashed
            tl.store(cells + (((t + 1) % 2) * s.layers + layer) * s.hidden + i, cell, mask=inside)
            tl.store(inputs + first + below + i, hidden, mask=inside)
            if s.save:
                kept = gates + (layer * kept_rows + at) * (6 * s.hidden) + i
                tl.store(kept, i_gate, mask=inside)
                tl.store(kept + s.hidden, f_gate, mask=inside)
                tl.store(kept + 2 * s.hidden, candidate, mask=inside)
                tl.store(kept + 3 * s.hidden, o_gate, mask=inside)
                tl.store(kept + 4 * s.hidden, cell, mask=inside)
                tl.store(kept + 5 * s.hidden, squashed, mask=inside)
        else:
            hidden = tl.load(sums + i, mask=inside, other=0.0)
            hidden = tl.where(hidden < 0.0, 0.0, hidden) if s.relu else tanh(hidden)
        if layer == s.layers - 1:
            tl.store(output + i, hidden, mask=inside)
        else:
            tl.store(inputs + first + depth + i, hidden, mask=inside)
            if s.save:
                tl.store(lower + (layer * kept_rows + at) * s.hidden + i, hidden, mask=inside)
    tl.debug_barrier()


@triton.jit
def run_layers(
    t,
    at,
    kept_rows,
    projected,
    weights,
    upper_weights,
    upper_bias,
    inputs,
    cells,
    sums,
    output,
    gates,
    lower,
    s: tl.constexpr,
):
    """All layers, lowest first: `run_layer`."""
    layers: tl.constexpr = s.layers
    for layer in tl.static_range(layers):
        run_layer(
            t,
            at,
            kept_rows,
            projected,
            weights,
            upper_weights,
            upper_bias,
            inputs,
            cells,
            sums,
            output,
            gates,
            lower,
            layer,
            s,
        )


@triton.jit
def layer_backward(
    t,
    at,
    rows,  # B
    kept_rows,  # T*B
    weights,  # (G, R*M + H), feed-forward (G, R*M)
    upper_weights,  # (L-1, G, 2H), feed-forward (L-1, G, H)
    first_cell,  # (L, B, H), of this row: what the sequence started from
    output,
    gates,
    lower,
    grad_hidden,  # (L, H): of this step; turns into that of the step before
    grad_cell,  # (L, H), likewise
    grad_reads,  # (R*M,): set to that of the step before
    grad_sums,  # (L, T*B, G): set for this step
    into,  # (R*M + H,) or (2H,), the longer: room
    layer: tl.constexpr,
    s: tl.constexpr,
):
    """One layer: from the gradients of its output and cell to those of its sums, and of what it saw."""
    below: tl.constexpr = s.reads if layer == 0 else s.hidden
    depth: tl.constexpr = below + s.lstm * s.hidden
    to = grad_sums + (layer * kept_rows + at) * s.gates
    own = grad_hidden + layer * s.hidden
    for start in range(0, s.hidden, s.block):
        i = start + tl.arange(0, s.block)
        inside = i < s.hidden
        gradient = tl.load(own + i, mask=inside, other=0.0)
        if s.lstm:
            kept = gates + (layer * kept_rows + at) * (6 * s.hidden) + i
            i_gate = tl.load(kept, mask=inside, other=0.0)
            f_gate = tl.load(kept + s.hidden, mask=inside, other=0.0)
            candidate = tl.load(kept + 2 * s.hidden, mask=inside, other=0.0)
            o_gate = tl.load(kept + 3 * s.hidden, mask=inside, other=0.0)
            squashed = tl.load(kept + 5 * s.hidden, mask=inside, other=0.0)
            # Of the step before, or of the state at the start.
            before = tl.load(kept - rows * 6 * s.hidden + 4 * s.hidden, mask=both(inside, t > 0), other=0.0)
            before += tl.load(first_cell + layer * rows * s.hidden + i, mask=both(inside, t == 0), other=0.0)
            after = tl.load(grad_cell + layer * s.hidden + i, mask=inside, other=0.0)
            grad_next = gradient * o_gate * (1.0 - squashed * squashed) + after
            tl.store(to + i, grad_next * candidate * i_gate * (1.0 - i_gate), mask=inside)
            tl.store(to + s.hidden + i, grad_next * before * f_gate * (1.0 - f_gate), mask=inside)
            tl.store(to + 2 * s.hidden + i, grad_next * i_gate * (1.0 - candidate * candidate), mask=inside)
            tl.store(to + 3 * s.hidden + i, gradient * squashed * o_gate * (1.0 - o_gate), mask=inside)
            tl.debug_barrier()
            tl.store(grad_cell + layer * s.hidden + i, grad_next * f_gate, mask=inside)
        else:
            if layer == s.layers - 1:
                made = tl.load(output + i, mask=inside, other=0.0)
            else:
                made = tl.load(lower + (layer * kept_rows + at) * s.hidden + i, mask=inside, other=0.0)
            through = tl.where(made > 0.0, gradient, 0.0) if s.relu else gradient * (1.0 - made * made)
            tl.store(to + i, through, mask=inside)
    tl.debug_barrier()
    matrix = weights if layer == 0 else upper_weights + (layer - 1) * depth * s.gates
    product(to, matrix, None, into, False, s.gates, depth, s.product_rows, s.product_columns)
    tl.debug_barrier()
    for start in range(0, s.hidden, s.block):
        i = start + tl.arange(0, s.block)
        inside = i < s.hidden
        if s.lstm:
            tl.store(own + i, tl.load(into + below + i, mask=inside, other=0.0), mask=inside)
        else:
            tl.store(own + i, 0.0, mask=inside)
        if layer > 0:
            total = tl.load(own - s.hidden + i, mask=inside, other=0.0)
            total += tl.load(into + i, mask=inside, other=0.0)
            tl.debug_barrier()
            tl.store(own - s.hidden + i, total, mask=inside)
    if layer == 0:
        for start in range(0, s.reads, s.block):
            i = start + tl.arange(0, s.block)
            tl.store(grad_reads + i, tl.load(into + i, mask=i < s.reads, other=0.0), mask=i < s.reads)
    tl.debug_barrier()


@triton.jit
def layers_backward(
    t,
    at,
    rows,
    kept_rows,
    weights,
    upper_weights,
    first_cell,
    output,
    gates,
    lower,
    grad_hidden,
    grad_cell,
    grad_reads,
    grad_sums,
    into,
    s: tl.constexpr,
):
    """All layers, top first: `layer_backward`."""
    layers: tl.constexpr = s.layers
    for index in tl.static_range(layers):
        layer_backward(
            t,
            at,
            rows,
            kept_rows,
            weights,
            upper_weights,
            first_cell,
            output,
            gates,
            lower,
            grad_hidden,
            grad_cell,
            grad_reads,
            grad_sums,
            into,
            s.layers - 1 - index,
            s,
        )


@triton.jit
def speak_to_heads(output, weight, bias, raw, s: tl.constexpr):
    """What the top layer says to the heads, (P,), from its output; `weight` is (H, P). Behind a barrier."""
    product(output, weight, bias, raw, False, s.hidden, s.parameters, s.product_rows, s.product_columns)
    tl.debug_barrier()


# The part of a state that every machine has, of row `row` of `rows`: reads (B, R*M), hidden and cell (L, B, H).


@triton.jit
def start(reads, hidden, cell, inputs, cells, row, rows, s: tl.constexpr):
    """Take the state that the sequence starts from, into what the layers take."""
    layers: tl.constexpr = s.layers
    copy(reads + row * s.reads, inputs, s.reads, s.block)
    if s.lstm:
        for layer in tl.static_range(layers):
            at = (layer * rows + row) * s.hidden
            copy(hidden + at, inputs + s.reads + layer * 2 * s.hidden, s.hidden, s.block)
            copy(cell + at, cells + layer * s.hidden, s.hidden, s.block)


@triton.jit
def finish(length, inputs, cells, last_reads, last_hidden, last_cell, row, rows, s: tl.constexpr):
    """Give out the state after `length` steps."""
    layers: tl.constexpr = s.layers
    copy(inputs, last_reads + row * s.reads, s.reads, s.block)
    if s.lstm:
        for layer in tl.static_range(layers):
            at = (layer * rows + row) * s.hidden
            copy(inputs + s.reads + layer * 2 * s.hidden, last_hidden + at, s.hidden, s.block)
            copy(cells + ((length % 2) * s.layers + layer) * s.hidden, last_cell + at, s.hidden, s.block)


@triton.jit
def start_backward(
    grad_last_reads, grad_last_hidden, grad_last_cell, grad_reads, grad_hidden, grad_cell, row, rows, s: tl.constexpr
):
    """Take the gradients of the final state, each None where there is none."""
    layers: tl.constexpr = s.layers
    copy(None if grad_last_reads is None else grad_last_reads + row * s.reads, grad_reads, s.reads, s.block)
    for layer in tl.static_range(layers):
        at = (layer * rows + row) * s.hidden
        to = layer * s.hidden
        copy(None if grad_last_hidden is None else grad_last_hidden + at, grad_hidden + to, s.hidden, s.block)
        copy(None if grad_last_cell is None else grad_last_cell + at, grad_cell + to, s.hidden, s.block)


@triton.jit
def finish_backward(
    grad_reads, grad_hidden, grad_cell, grad_reads_out, grad_hidden_out, grad_cell_out, row, rows, s: tl.constexpr
):
    """Give out the gradients of the state that the sequence started from."""
    layers: tl.constexpr = s.layers
    copy(grad_reads, grad_reads_out + row * s.reads, s.reads, s.block)
    if s.lstm:
        for layer in tl.static_range(layers):
            at = (layer * rows + row) * s.hidden
            copy(grad_hidden + layer * s.hidden, grad_hidden_out + at, s.hidden, s.block)
            copy(grad_cell + layer * s.hidden, grad_cell_out + at, s.hidden, s.block)
