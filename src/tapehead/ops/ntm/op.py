"""The NTM's whole sequence as a custom op of torch: its schema, shapes and gradient, for every device's kernels alike.

The op sees flat tensors; `fused.py` packs the named tuples around it, `cpu.py` runs it. The products over all steps at
once, which give the gradients of the weights, are torch's. README.md in this folder derives the backward and describes
every array that passes from the forward to the backward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_type_hints

import torch
from torch import Tensor

from tapehead.backends import is_eager

__all__ = ["Arguments", "BackwardArguments", "Gradients", "Results", "Shape", "Sizes", "ntm_backward", "ntm_forward"]

PADDING = 16
"""Slots are laid out in multiples of this: the widest vector of float32."""


class Sizes(NamedTuple):
    """Choices and those sizes that no tensor tells, as the schema takes them: integers."""

    read_heads: int
    write_heads: int
    max_shift: int
    location: int
    write_read: int
    tanh_key: int
    tanh_add: int


class Arguments(NamedTuple):
    """What the forward takes. Without a state of the controller (feed-forward) or upper layers, theirs are None."""

    input: Tensor
    """(T, B, D)"""
    memory: Tensor
    """(B, N, M), and so on: an `NTMState`"""
    read_weights: Tensor
    write_weights: Tensor
    reads: Tensor
    hidden: Tensor | None
    cell: Tensor | None
    weight_input: Tensor
    """(G, D), of the lowest layer, as the next three; G = 4H or (feed-forward) H"""
    bias: Tensor
    """(G,)"""
    weight_reads: Tensor
    """(G, R*M)"""
    weight_hidden: Tensor | None
    """(G, H)"""
    upper_weight: Tensor | None
    """(L - 1, G, 2H), feed-forward (L - 1, G, H): of what is below, and of their own past"""
    upper_bias: Tensor | None
    """(L - 1, G)"""
    heads_weight: Tensor
    """(P, H)"""
    heads_bias: Tensor
    """(P,)"""
    lengths: Tensor | None
    """(B,) int64"""
    sizes: Sequence[int]
    """a `Sizes`"""
    checkpoint_every: int
    """keep M_t for the backward after every so many steps, and make the others again"""
    save: bool
    """keep what the backward needs; without it, arrays of steps have one step"""
    trace: bool
    """return what traces show, of every step; only with `save` and `checkpoint_every` 1"""


class Results(NamedTuple):
    """What the forward returns; a tensor that there is no use for has no elements.

    What the backward needs is in `internals`, one piece of memory: the allocator keeps it from call to call, where it
    would give several back to the system. What a trace shows is in tensors of its own if it is asked for.
    """

    output: Tensor
    """(T, B, H + R*M)"""
    memory: Tensor
    """(B, N, M), and so on: the state after each row's last step"""
    read_weights: Tensor
    write_weights: Tensor
    reads: Tensor
    hidden: Tensor
    cell: Tensor
    memories: Tensor
    """(T + 1, B, M, padded N): M_0, M_1, ...; this and the next three only with `trace`"""
    weights: Tensor
    """(T, B, heads, padded N), w_t"""
    content: Tensor
    """(T, B, heads, padded N), w^c_t"""
    parameters: Tensor
    """(T, B, P): the heads' parameters, each in its range"""
    inputs: Tensor
    """(T, B, R*M + H + D + 1): what the lowest layer's sums are made of: r_{t-1}, h_{t-1} (LSTM only), x_t and 1"""
    upper_inputs: Tensor
    """(L - 1, T, B, 2H), feed-forward (L - 1, T, B, H): what the layers above it saw"""
    internals: Tensor
    """one array of all that the backward reads; see `Shape.internals`"""


DIFFERENTIABLE = 11
"""How many of the results, from the first, can have a gradient: output, state, and what traces show."""


class BackwardArguments(NamedTuple):
    """What the backward takes: the gradients that there are, and what the forward was given and made."""

    grad_output: Tensor | None
    grad_last_memory: Tensor | None
    grad_last_read_weights: Tensor | None
    grad_last_write_weights: Tensor | None
    grad_last_reads: Tensor | None
    grad_last_hidden: Tensor | None
    grad_last_cell: Tensor | None
    grad_memories: Tensor | None
    grad_weights: Tensor | None
    grad_content: Tensor | None
    grad_parameters: Tensor | None
    read_weights: Tensor
    write_weights: Tensor
    cell: Tensor | None
    weight_reads: Tensor
    weight_hidden: Tensor | None
    upper_weight: Tensor | None
    heads_weight: Tensor
    lengths: Tensor | None
    output: Tensor
    memories: Tensor
    weights: Tensor
    content: Tensor
    parameters: Tensor
    upper_inputs: Tensor
    internals: Tensor
    sizes: Sequence[int]
    checkpoint_every: int


class Gradients(NamedTuple):
    """What the backward returns: gradients of the state that the sequence started from, and of all sums."""

    projected: Tensor
    """(T, B, G): of the lowest layer's sums; zero past a row's length, as all of these"""
    memory: Tensor
    read_weights: Tensor
    write_weights: Tensor
    reads: Tensor
    hidden: Tensor
    cell: Tensor
    gates: Tensor
    """(L - 1, T, B, G): of the sums of the layers above"""
    heads: Tensor
    """(T, B, P): of the heads' product"""


class Shape(NamedTuple):
    """Every size of a call, by the names of the core's fields."""

    steps: int
    rows: int
    input_size: int
    """in the backward, which has no use for it, that of the output"""
    hidden_size: int
    layers: int
    memory_size: int
    padded_size: int
    word_size: int
    lstm: int
    sizes: Sizes

    @staticmethod
    def of(given: Arguments | BackwardArguments) -> Shape:
        sizes = Sizes(*given.sizes)
        steps, rows, input_size = (given.input if isinstance(given, Arguments) else given.output).shape
        memory_size = given.read_weights.shape[2]
        reads = given.weight_reads.shape[1]
        hidden_size = given.heads_weight.shape[1]
        layers = 1 if given.upper_weight is None else 1 + given.upper_weight.shape[0]
        padded_size = (memory_size + PADDING - 1) // PADDING * PADDING
        lstm = int(given.weight_hidden is not None)
        word_size = reads // sizes.read_heads
        return Shape(steps, rows, input_size, hidden_size, layers, memory_size, padded_size, word_size, lstm, sizes)

    @property
    def gates(self) -> int:
        """G, sums in a layer of the controller."""
        return 4 * self.hidden_size if self.lstm else self.hidden_size

    @property
    def heads(self) -> int:
        """R + W."""
        return self.sizes.read_heads + self.sizes.write_heads

    @property
    def parameters(self) -> int:
        """P, the sum of `NTMSettings.head_sizes`."""
        location = 2 * self.sizes.max_shift + 3 if self.sizes.location else 0
        return self.heads * (self.word_size + 1 + location) + 2 * self.sizes.write_heads * self.word_size

    def traced(self) -> dict[str, int]:
        """Numbers a step and row in what traces show, but for the memories."""
        slots = self.heads * self.padded_size
        return {"weights": slots, "content": slots, "parameters": self.parameters}

    def internals(self, checkpoint_every: int, save: bool, trace: bool) -> dict[str, int]:
        """How many numbers each array in `Results.internals` has, by the names of the core's fields, in their order.

        Every one of them starts at a multiple of 64 bytes.
        """
        slots = self.heads * self.padded_size
        steps = self.steps if save else 1
        widths = {
            **(dict.fromkeys(self.traced(), 0) if trace else self.traced()),
            "similarity": slots,
            "logarithms": slots * self.sizes.location,
            "inverse_norms": (1 + self.sizes.write_read) * self.padded_size,
            "slopes": 4 * self.heads,
            "gates": 6 * self.hidden_size * self.layers * self.lstm,
        }
        numbers = {name: width * steps * self.rows for name, width in widths.items()}
        kept = self.steps // checkpoint_every + 1 if save and not trace else 0
        numbers["memories"] = kept * self.rows * self.word_size * self.padded_size
        return {name: (count + PADDING - 1) // PADDING * PADDING for name, count in numbers.items()}

    def _state(self) -> list[tuple[int, ...]]:
        sizes, rows = self.sizes, self.rows
        controller = (self.layers if self.lstm else 0, rows, self.hidden_size)
        return [
            (rows, self.memory_size, self.word_size),
            (rows, sizes.read_heads, self.memory_size),
            (rows, sizes.write_heads, self.memory_size),
            (rows, sizes.read_heads, self.word_size),
            controller,
            controller,
        ]

    def arguments(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that the ops take, by name; of those that are not None."""
        sizes, hidden, upper = self.sizes, self.hidden_size, self.layers - 1
        names = ("memory", "read_weights", "write_weights", "reads", "hidden", "cell")
        return {
            "input": (self.steps, self.rows, self.input_size),
            **dict(zip(names, self._state(), strict=True)),
            "weight_input": (self.gates, self.input_size),
            "bias": (self.gates,),
            "weight_reads": (self.gates, sizes.read_heads * self.word_size),
            "weight_hidden": (self.gates, hidden),
            "upper_weight": (upper, self.gates, hidden + hidden * self.lstm),
            "upper_bias": (upper, self.gates),
            "heads_weight": (self.parameters, hidden),
            "heads_bias": (self.parameters,),
            "lengths": (self.rows,),
        }

    def results(self, checkpoint_every: int, save: bool, trace: bool) -> list[tuple[int, ...]]:
        """Shapes of what the forward makes, in the order of `Results`."""
        steps, rows, hidden = self.steps, self.rows, self.hidden_size
        reads, past = self.sizes.read_heads * self.word_size, hidden * self.lstm
        shown, saved = steps if trace else 0, steps if save else 0
        return [
            (steps, rows, hidden + reads),
            *self._state(),
            (steps + 1 if trace else 0, rows, self.word_size, self.padded_size),
            (shown, rows, self.heads, self.padded_size),
            (shown, rows, self.heads, self.padded_size),
            (shown, rows, self.parameters),
            (saved, rows, reads + past + self.input_size + 1),
            (self.layers - 1, saved, rows, hidden + past),
            (sum(self.internals(checkpoint_every, save, trace).values()),),
        ]

    def gradients(self) -> list[tuple[int, ...]]:
        """Shapes of what the backward makes, in the order of `Gradients`."""
        sums = (self.steps, self.rows, self.gates)
        return [sums, *self._state(), (self.layers - 1, *sums), (self.steps, self.rows, self.parameters)]


# The schemas, from the classes above.
_TYPES: dict[Any, str] = {
    Tensor: "Tensor",
    Tensor | None: "Tensor?",
    Sequence[int]: "SymInt[]",
    int: "SymInt",
    bool: "bool",
}


def _define(name: str, arguments: Any, results: Any) -> None:
    taken = ", ".join(f"{_TYPES[kind]} {field}" for field, kind in get_type_hints(arguments).items())
    made = ", ".join(["Tensor"] * len(results._fields))
    torch.library.define(f"tapehead::{name}", f"({taken}) -> ({made})", tags=(torch.Tag.pt2_compliant_tag,))


_define("ntm_forward", Arguments, Results)
_define("ntm_backward", BackwardArguments, Gradients)
ntm_forward = torch.ops.tapehead.ntm_forward.default
ntm_backward = torch.ops.tapehead.ntm_backward.default


@torch.library.register_fake("tapehead::ntm_forward")
def _(*arguments: Any) -> Results:
    given = Arguments(*arguments)
    shapes = Shape.of(given).results(given.checkpoint_every, given.save, given.trace)
    return Results._make(map(given.input.new_empty, shapes))


@torch.library.register_fake("tapehead::ntm_backward")
def _(*arguments: Any) -> Gradients:
    given = BackwardArguments(*arguments)
    return Gradients._make(map(given.output.new_empty, Shape.of(given).gradients()))


Way = Literal["forward", "backward"]
_OPS = {"forward": ntm_forward, "backward": ntm_backward}
_KERNELS: dict[tuple[str, Way], Callable[..., Any]] = {}


def register_kernels(device: str, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
    """Make these functions the ops' implementations for a type of device."""
    torch.library.impl("tapehead::ntm_forward", device)(forward)
    torch.library.impl("tapehead::ntm_backward", device)(backward)
    _KERNELS[device, "forward"], _KERNELS[device, "backward"] = forward, backward


def is_plain(tensor: Tensor) -> bool:
    """Whether nothing between here and a kernel wants to see the call: no tracing, transform, mode or subclass."""
    return is_eager() and type(tensor) in (Tensor, torch.nn.Parameter)


def _run(way: Way, arguments: Sequence[Any]) -> Any:
    """Run an op below autograd: through torch's dispatcher or, where that has nothing to do, without its 50 us."""
    like = next(value for value in arguments if value is not None)
    kernel = _KERNELS.get((like.device.type, way))
    if kernel is not None and is_plain(like):
        return kernel(*arguments)
    with torch._C._AutoDispatchBelowAutograd():
        return _OPS[way](*arguments)


class _Sequence(torch.autograd.Function):
    """The gradient of `ntm_forward`, by `ntm_backward` and products over all steps at once."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        given = Arguments(*arguments)
        made = Results(*_run("forward", arguments))
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(made.inputs, made.upper_inputs, made.internals)
        ctx.sizes, ctx.checkpoint_every = given.sizes, given.checkpoint_every
        ctx.save_for_backward(
            given.read_weights,
            given.write_weights,
            given.cell,
            given.weight_reads,
            given.weight_hidden,
            given.upper_weight,
            given.heads_weight,
            given.lengths,
            made.output,
            made.memories,
            made.weights,
            made.content,
            made.parameters,
            made.upper_inputs,
            made.internals,
            made.inputs,
            given.weight_input,
        )
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        *saved, inputs, own_weight = ctx.saved_tensors
        given = BackwardArguments._make([*gradients[:DIFFERENTIABLE], *saved, ctx.sizes, ctx.checkpoint_every])
        made = Gradients(*(ntm_backward(*given) if torch.is_grad_enabled() else _run("backward", given)))
        shape = Shape.of(given)

        # (rows of sums)^T @ (what they were made of), over all steps and rows at once.
        sums = made.projected.view(-1, shape.gates)
        lowest = sums.t() @ inputs.view(-1, inputs.shape[2])
        widths = [shape.sizes.read_heads * shape.word_size, shape.hidden_size * shape.lstm, own_weight.shape[1], 1]
        weight_reads, weight_hidden, weight_input, bias = lowest.split(widths, 1)
        upper_weight = upper_bias = None
        if shape.layers > 1:
            upper_weight = made.gates.flatten(1, 2).mT @ given.upper_inputs.flatten(1, 2)
            upper_bias = made.gates.sum((1, 2))
        hidden = given.output.flatten(0, 1)[:, : shape.hidden_size]
        heads = made.heads.view(-1, shape.parameters)
        return (
            (sums @ own_weight).view(shape.steps, shape.rows, -1) if ctx.needs_input_grad[0] else None,
            *(made.memory, made.read_weights, made.write_weights, made.reads),
            *((made.hidden, made.cell) if shape.lstm else (None, None)),
            weight_input,
            bias.squeeze(1),
            weight_reads,
            weight_hidden if shape.lstm else None,
            upper_weight,
            upper_bias,
            heads.t() @ hidden,
            heads.sum(0),
            *(None, None, None, None, None),
        )


class _Gradient(torch.autograd.Function):
    """The gradient of `ntm_backward`: there is none."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        return _run("backward", arguments)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        raise RuntimeError(
            "NTM: expected a first derivative, got a derivative of the fused backward. Take backend='reference', which "
            "has derivatives of every order."
        )


def _autograd(way: Way, function: Any) -> Callable[..., Any]:
    """What `torch.library.register_autograd` makes, at a quarter of its cost for each call."""

    def apply(*arguments: Any) -> Any:
        if torch.is_grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in arguments):
            return function.apply(*arguments)
        return _run(way, arguments)

    return apply


forward_with_gradient = _autograd("forward", _Sequence)
torch.library.impl("tapehead::ntm_forward", "Autograd")(forward_with_gradient)
torch.library.impl("tapehead::ntm_backward", "Autograd")(_autograd("backward", _Gradient))
