"""The NTM op on CUDA tensors: Triton's kernels for what goes step by step, torch's products for the rest.

With TRITON_INTERPRET=1 in the environment before Triton is imported, `forward` and `backward` take CPU tensors too.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from tapehead.ops.calls import Check, checked
from tapehead.ops.custom import core_name
from tapehead.ops.ntm.op import OP, Arguments, BackwardArguments, Results
from tapehead.ops.ntm.shapes import Shape
from tapehead.ops.packing import views
from tapehead.ops.shapes import double_of, padded

__all__ = ["backward", "forward"]

Given = TypeVar("Given", Arguments, BackwardArguments)

TILE = 4096
"""Numbers of a memory that a program takes at a time, where a slot has no more."""
PRODUCT_ROWS, PRODUCT_COLUMNS = 32, 128
"""Of a tile of a weight matrix."""
WARPS = 8
"""Of a program."""


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
    padded_offsets: int
    tile: int
    """slots of a tile of the memory"""
    block: int
    """numbers of a vector of the controller's that are taken at a time"""
    product_rows: int
    product_columns: int


def _power(count: int, least: int = 16) -> int:
    """The power of two that has room for `count`."""
    return max(least, 1 << (count - 1).bit_length())


@lru_cache(256)
def _plan(shape: Shape, dtype: torch.dtype, save: bool, keep_all: bool) -> Plan:
    sizes, heads, words = shape.sizes, shape.heads, shape.word_size
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
        limited=limit != math.inf,
        limit=0.0 if limit == math.inf else limit,
        tiny=torch.finfo(dtype).tiny,
        save=save,
        keep_all=keep_all,
        slots=_power(shape.padded_size),
        padded_words=_power(words),
        padded_heads=_power(heads, 1),
        padded_offsets=_power(offsets, 1),
        tile=min(_power(shape.padded_size), max(16, TILE // _power(words))),
        block=min(1024, _power(max(shape.hidden_size, shape.reads))),
        product_rows=PRODUCT_ROWS,
        product_columns=PRODUCT_COLUMNS,
    )


def forward(*arguments: object) -> Results:
    """What the op's forward returns."""
    from tapehead.ops.ntm.triton import forward as kernel

    given = Arguments._make(arguments)
    shape, every, save, trace = Shape.of(given), given.checkpoint_every, given.save, given.trace
    expected = shape.arguments()
    names = Arguments._fields[: Arguments._fields.index("lengths") + 1]
    given = _checked(given, {name: expected[name] for name in names}, given.input)
    keep_all = save and every == 1
    plan = _plan(shape, given.input.dtype, save, keep_all)
    steps, rows, slots = shape.steps, shape.rows, shape.heads * shape.padded_size

    # Past a row's length the kernel writes nothing, and what it leaves there has to be zero.
    new = given.input.new_empty if given.lengths is None else given.input.new_zeros
    made = Results._make(map(new, shape.results(every, save, trace).values()))
    kept = _kept(shape, made.traced, made.internals, every, save, trace)
    scratch = _pieces(
        given.input,
        inputs=(rows, shape.reads + shape.lstm * shape.hidden_size + (shape.layers - 1) * _depth(shape)),
        cells=(rows, 2, shape.layers, shape.hidden_size),
        sums=(rows, shape.gates),
        raw=(rows, shape.parameters),
        units=(rows, shape.heads * shape.word_size),
        carried=(rows, 2, slots),
        current=(0 if keep_all else rows, shape.word_size, shape.padded_size),
    )
    joined = _joined(given.weight_reads, given.weight_hidden)
    with _device_of(given.input):
        kernel.forward[(rows,)](
            torch.addmm(given.bias, given.input.flatten(0, 1), given.weight_input.t()),
            given.lengths,
            *given[1:7],
            joined.t().contiguous(),
            None if given.upper_weight is None else given.upper_weight.mT.contiguous(),
            given.upper_bias,
            given.heads_weight.t().contiguous(),
            given.heads_bias,
            *made[:7],
            *kept,
            *scratch,
            steps,
            rows,
            shape.memory_size,
            shape.padded_size,
            every,
            plan,
            num_warps=WARPS,
            num_stages=1,
        )
    return made


def backward(*arguments: object) -> list[Tensor]:
    """What the op's backward returns."""
    from tapehead.ops.ntm.triton import backward as kernel

    given = BackwardArguments._make(arguments)
    shape, every, trace = Shape.of(given), given.checkpoint_every, given.traced.numel() > 0
    results = shape.results(every, True, trace)
    expected = {**results, **shape.arguments()}
    expected.update({f"grad_{core_name(name)}": results[name] for name in OP.differentiable})
    names = (*(f"grad_{core_name(name)}" for name in OP.differentiable), *OP.saved)
    given = _checked(given, {name: expected[name] for name in names}, given.output)
    plan = _plan(shape, given.output.dtype, True, every == 1)
    steps, rows, numbers = shape.steps, shape.rows, shape.word_size * shape.padded_size

    shapes = shape.gradients(given.of_input, given.of_state)
    state = {name: given.output.new_empty(shapes[name]) for name in shape.state() if name in shapes}
    new = given.output.new_empty if given.lengths is None else given.output.new_zeros
    grad_sums = new(shape.layers, steps * rows, shape.gates)
    grad_words = new(steps * rows, shape.parameters)
    kept = _kept(shape, given.traced, given.internals, every, True, trace)
    seen: dict[str, Tensor] = {}
    if given.grad_traced is not None:
        seen = views(given.grad_traced, shape.traced(), shape.traced_numbers())
    scratch = _pieces(
        given.output,
        grad_memory=(rows, numbers),
        grad_weights=(rows, shape.heads, shape.padded_size),
        grad_reads=(rows, shape.reads),
        grad_hidden=(rows, shape.layers, shape.hidden_size),
        grad_cell=(rows, shape.layers, shape.hidden_size),
        into=(rows, max(shape.reads + shape.lstm * shape.hidden_size, (shape.layers > 1) * _depth(shape))),
        units=(rows, shape.heads * shape.word_size),
        grad_units=(rows, shape.heads * shape.word_size),
        z=(rows, shape.heads, shape.padded_size),
        q=(rows, shape.padded_size),
        segment=(0 if plan.keep_all else rows, every + 1, numbers),
    )
    with _device_of(given.output):
        kernel.backward[(rows,)](
            *given[:7],
            *(seen.get(name) for name in ("weights", "content", "parameters", "memories")),
            given.lengths,
            torch.cat([given.read_weights, given.write_weights], 1),
            given.cell,
            _joined(given.weight_reads, given.weight_hidden),
            given.upper_weight,
            given.heads_weight,
            given.output,
            *kept,
            grad_sums,
            grad_words,
            *(state.get(name) for name in shape.state()),
            *scratch,
            steps,
            rows,
            shape.memory_size,
            shape.padded_size,
            every,
            plan,
            num_warps=WARPS,
            num_stages=1,
        )
    lower = kept[-2]
    gradients = {**state, **_of_weights(given, shape, grad_sums, grad_words, lower)}
    return [gradients[name].view(size) for name, size in shapes.items()]


def _of_weights(
    given: BackwardArguments, shape: Shape, grad_sums: Tensor, grad_words: Tensor, lower: Tensor
) -> dict[str, Tensor]:
    """Gradients of the weights and of the input, from those of the sums: products over all steps and rows.

    Args:
        given: of the backward
        shape: of the call
        grad_sums: (L, T*B, G), zeros past a row's length
        grad_words: (T*B, P), likewise
        lower: L - 1 times (T*B, H), what the layers below the top one gave
    """
    hidden, steps = shape.hidden_size, shape.steps * shape.rows
    output = given.output.view(steps, -1)
    layers = [*lower[: (shape.layers - 1) * steps * hidden].view(-1, steps, hidden), output[:, :hidden]]
    grads = {
        "weight_input": grad_sums[0].t() @ given.input.view(steps, -1),
        "bias": grad_sums[0].sum(0),
        "weight_reads": grad_sums[0].t() @ _before(output[:, hidden:], given.reads.flatten(1)),
        "heads_weight": grad_words.t() @ layers[-1],
        "heads_bias": grad_words.sum(0),
    }
    if given.of_input:
        grads["input"] = grad_sums[0] @ given.weight_input
    if given.hidden is not None:
        grads["weight_hidden"] = grad_sums[0].t() @ _before(layers[0], given.hidden[0])
    if shape.layers > 1:
        upper = []
        for layer in range(1, shape.layers):
            taken = [layers[layer - 1]]
            taken += [] if given.hidden is None else [_before(layers[layer], given.hidden[layer])]
            upper.append(grad_sums[layer].t() @ torch.cat(taken, 1))
        grads["upper_weight"], grads["upper_bias"] = torch.stack(upper), grad_sums[1:].sum(1)
    return grads


def _before(values: Tensor, first: Tensor) -> Tensor:
    """Values (T*B, width) of all steps to those of the steps before, of which the first is `first` (B, width)."""
    return torch.cat([first, values[: values.shape[0] - first.shape[0]]])


def _joined(weight_reads: Tensor, weight_hidden: Tensor | None) -> Tensor:
    """(G, R*M + H), feed-forward (G, R*M): what the lowest layer multiplies in every step."""
    return weight_reads if weight_hidden is None else torch.cat([weight_reads, weight_hidden], 1)


def _depth(shape: Shape) -> int:
    """How much a layer above the lowest takes: what is below it, and its own past."""
    return shape.hidden_size * (1 + shape.lstm)


def _checked(given: Given, expected: dict[str, tuple[int, ...]], like: Tensor) -> Given:
    """The arguments of a call, with these tensors contiguous."""
    checks = [Check(name, size, math.prod(size), name == "lengths") for name, size in expected.items()]
    tensors = checked(OP.name, checks, [getattr(given, name) for name in expected], like)
    found: Given = given._replace(**dict(zip(expected, tensors, strict=True)))  # type: ignore[arg-type]
    return found


def _kept(shape: Shape, traced: Tensor, internals: Tensor, every: int, save: bool, trace: bool) -> list[Tensor]:
    """Arrays that pass from the forward to the backward, in the order of the kernels' arguments, flat."""
    numbers = shape.internals(every, save, trace)
    found = views(internals, {name: (count,) for name, count in numbers.items()}, numbers)
    if trace:
        numbers = shape.traced_numbers()
        found.update(views(traced, {name: (count,) for name, count in numbers.items()}, numbers))
    order = ("weights", "content", "parameters", "similarity", "logarithms", "inverse_norms", "slopes")
    return [found[name] for name in (*order, "gates", "lower", "memories")]


def _pieces(like: Tensor, **shapes: tuple[int, ...]) -> list[Tensor]:
    """Fresh memory for scratch, in one piece."""
    numbers = {name: padded(math.prod(size)) for name, size in shapes.items()}
    whole = like.new_empty(sum(numbers.values()))
    return list(views(whole, shapes, numbers).values())


def _device_of(tensor: Tensor) -> AbstractContextManager[object]:
    """Triton launches on the current device."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


OP.register_kernels("cuda", forward, backward)
