"""Launches of Triton kernels on CUDA tensors, for every machine: what `core_calls.py` is for the C++ core.

Triton's kernels do what goes step by step, torch's products the rest: the input's share of the controller's sums before
the forward, the gradients of the weights and of the input after the backward. Nothing here waits for the device.

With TRITON_INTERPRET=1 in the environment before Triton is imported, `Launches` takes CPU tensors too; tests do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tapehead.ops import tunings_file
from tapehead.ops.core_calls import Check, checked
from tapehead.ops.custom import SequenceOp, core_name
from tapehead.ops.packing import views
from tapehead.ops.shapes import SequenceShape, offsets_of, padded
from tapehead.ops.tilings import USUAL, Tiling

__all__ = ["Launch", "Launches", "Tiles", "as_they_are", "depth", "power", "tiles"]

SLOTS_OF_A_WARP = 128
"""What a warp's threads load at once, 16 bytes each of float32."""
NUMBERS_OF_A_THREAD = 4
"""Most that a thread may hold of one array over heads and slots, where one head has no more."""


class Tiles(NamedTuple):
    """Sizes of what a program takes at a time, powers of two."""

    slots: int
    """at least Np"""
    words: int
    """at least M"""
    slots_of_memory: int
    resident: bool
    """whether the whole memory is one tile, which a program holds"""
    heads: int
    """whose slots, or words, are taken together"""
    numbers: int
    """of a vector of the controller's"""
    product_rows: int
    product_columns: int
    """of a tile of a weight matrix"""


def tiles(shape: SequenceShape, heads: int, tiling: Tiling) -> Tiles:
    """The tiles of a call in which so many heads address the memory at once."""
    slots, words = power(shape.padded_size), power(shape.word_size)
    numbers = min(1024, power(max(shape.hidden_size, shape.reads)))
    memory = min(slots, max(16, tiling.tile // words))
    # With a row of slots for each warp, Triton gives each a row of its own, and no sum over the slots needs a barrier.
    rows = max(power(heads, 1), tiling.warps if slots <= SLOTS_OF_A_WARP else 1)
    rows = max(1, min(rows, NUMBERS_OF_A_THREAD * 32 * tiling.warps // max(slots, words)))
    resident = slots * words <= tiling.tile
    return Tiles(slots, words, memory, resident, rows, numbers, tiling.product_rows, tiling.product_columns)


def power(count: int, least: int = 16) -> int:
    """The power of two that has room for `count`."""
    return max(least, 1 << (count - 1).bit_length())


def depth(shape: SequenceShape) -> int:
    """How much a layer above the lowest takes: what is below it, and its own past."""
    return shape.hidden_size * (1 + shape.lstm)


class Choices(NamedTuple):
    """What decides which kernel is launched, but for its tiling."""

    way: str
    shape: Any
    dtype: torch.dtype
    save: bool
    keep_all: bool
    trace: bool


class Launch(NamedTuple):
    """A call of an op but for its kernel's launch."""

    key: tunings_file.Key
    run: Callable[[Tiling], None]
    """launches the kernel; again and again, if need be, with the same arguments and results"""
    finish: Callable[[], Any]
    """what the op returns, after that"""
    made: Sequence[Tensor]
    """all that the kernel makes, but for its scratch; of what is kept for the backward, the first group's"""


class Launches:
    """The forward and backward of a machine's op, by Triton's kernels.

    Args:
        op: of the machine
        kernels: the kernel of a way, "forward" or "backward"
        plan: what is compiled into a kernel, of a shape, a dtype, whether every step is kept for the backward, whether
            every memory is, whether there is a trace, and a tiling
        kept: names of the arrays that pass from the forward to the backward, in the order of the kernels' arguments
        seen: those whose gradient a trace may have
        first_weights: (B, heads, N) that the sequence starts from, of the backward's arguments
        scratch: shapes of the kernels' scratch, of a way, a shape, and how many steps lie between two kept memories, 0
            where the forward keeps none
    """

    def __init__(
        self,
        op: SequenceOp,
        kernels: Callable[[str], Any],
        plan: Callable[[Any, torch.dtype, bool, bool, bool, Tiling], Any],
        kept: tuple[str, ...],
        seen: tuple[str, ...],
        first_weights: Callable[[Any], Tensor],
        scratch: Callable[[str, Any, int], list[tuple[int, ...]]],
    ) -> None:
        self.op, self.kernels, self.plan, self.kept, self.seen = op, kernels, plan, kept, seen
        self.first_weights, self.scratch = first_weights, scratch
        self._taken = op.arguments._fields[: op.arguments._fields.index("lengths") + 1]
        self._gradients = tuple(f"grad_{core_name(name)}" for name in op.differentiable)

    def forward(self, *arguments: object) -> Any:
        """What the op's forward returns."""
        with as_they_are(arguments[0]):
            return self._launch(self.prepare("forward", arguments))

    def backward(self, *arguments: object) -> list[Tensor]:
        """What the op's backward returns."""
        given = self.op.backward_arguments._make(arguments)
        with as_they_are(given.output):
            gradients: list[Tensor] = self._launch(self.prepare("backward", arguments))
        return gradients

    @staticmethod
    def _launch(launch: Launch) -> Any:
        launch.run(tunings_file.chosen(launch.key))
        return launch.finish()

    def prepare(self, way: str, arguments: Sequence[object]) -> Launch:
        """A call of an op, up to its kernel's launch; within `as_they_are`, as the rest of it is.

        Args:
            way: "forward" or "backward"
            arguments: of that op
        """
        if way == "forward":
            return self._prepare_forward(self.op.arguments._make(arguments))
        return self._prepare_backward(self.op.backward_arguments._make(arguments))

    def _prepare_forward(self, given: Any) -> Launch:
        shape, every, save, trace = self.op.shape.of(given), given.checkpoint_every, given.save, given.trace
        given = self._checked(given, shape.arguments(), self._taken, given.input)
        # Past a row's length the kernel writes nothing, and what is shown of that, or multiplied, has to be zero.
        zeros = {"output", "traced", "internals"} if trace or shape.layers > 1 else {"output", "traced"}
        zeros = set() if given.lengths is None else zeros
        new, new_zeros = given.input.new_empty, given.input.new_zeros
        results = shape.results(every, save, trace)
        made = self.op.results(**{name: (new_zeros if name in zeros else new)(results[name]) for name in results})
        arrays = self._arrays(shape, made, every, save, trace)
        tensors = (
            _projected(given, shape),
            given.lengths,
            *given[1:7],
            _joined_transposed(given.weight_reads, given.weight_hidden, shape.groups),
            None if given.upper_weight is None else given.upper_weight.mT.contiguous(),
            given.upper_bias,
            _transposed(given.heads_weight, shape.groups),
            given.heads_bias,
            *made[:7],
            *arrays,
            *_pieces(given.input, self.scratch("forward", shape.all_rows(), every if save else 0)),
        )
        choices = Choices("forward", shape, given.input.dtype, save, save and every == 1, trace)
        return self._prepared(choices, every, tensors, [*made[:7], *arrays], lambda: made)

    def _prepare_backward(self, given: Any) -> Launch:
        shape, every, trace = self.op.shape.of(given), given.checkpoint_every, given.traced.numel() > 0
        results = shape.results(every, True, trace)
        expected = {**results, **shape.arguments()}
        expected.update({f"grad_{core_name(name)}": results[name] for name in self.op.differentiable})
        given = self._checked(given, expected, (*self._gradients, *self.op.saved), given.output)

        shapes = shape.gradients(given.of_input, given.of_state)
        state = {name: given.output.new_empty(shapes[name]) for name in shape.state() if name in shapes}
        new = given.output.new_empty if given.lengths is None else given.output.new_zeros
        grad_sums = new(shape.groups, shape.layers, shape.steps * shape.rows, shape.gates)
        grad_words = new(shape.groups, shape.steps * shape.rows, shape.parameters)
        seen: dict[str, Tensor] = {}
        if trace and given.grad_traced is not None:
            seen = self._first(given.grad_traced, shape.traced_numbers())
        tensors = (
            *(None if grad is None or not grad.numel() else grad for grad in given[: len(self._gradients) - 1]),
            *(seen.get(name) for name in self.seen),
            given.lengths,
            self.first_weights(given),
            given.cell,
            _joined(given.weight_reads, given.weight_hidden),
            given.upper_weight,
            given.heads_weight,
            given.output,
            *self._arrays(shape, given, every, True, trace),
            grad_sums,
            grad_words,
            *(state.get(name) for name in shape.state() if name not in shape.without_gradient),
            *_pieces(given.output, self.scratch("backward", shape.all_rows(), every)),
        )

        def finish() -> list[Tensor]:
            lower = _lower(given.internals, shape, shape.internals(every, True, trace))
            gradients = {**state, **_of_weights(given, shape, grad_sums, grad_words, lower)}
            return [gradients[name].view(size) for name, size in shapes.items()]

        choices = Choices("backward", shape, given.output.dtype, True, every == 1, trace)
        return self._prepared(choices, every, tensors, [*state.values(), grad_sums, grad_words], finish)

    def _prepared(
        self,
        choices: Choices,
        every: int,
        tensors: tuple[Tensor | None, ...],
        made: Sequence[Tensor],
        finish: Callable[[], Any],
    ) -> Launch:
        shape = choices.shape
        # From one group's arrays to the next one's: of those in `internals`, and of those in `traced` where that is.
        block = sum(shape.internals(every, choices.save, choices.trace).values())
        shown = sum(shape.traced_numbers().values()) if choices.trace else block
        sizes = (shape.steps, shape.rows, shape.memory_size, shape.padded_size, every, block, shown)
        kernel = self.kernels(choices.way)[(shape.groups * shape.rows,)]

        def run(tiling: Tiling) -> None:
            plan = self.plan(*choices[1:], tiling)
            kernel(*tensors, *sizes, plan, num_warps=tiling.warps, num_stages=1)

        return Launch(_key(self, choices, made[0].device), run, finish, made)

    def _checked(self, given: Any, shapes: dict[str, tuple[int, ...]], names: tuple[str, ...], like: Tensor) -> Any:
        """The arguments of a call, with the tensors of these names contiguous."""
        checks = [Check(name, shapes[name], math.prod(shapes[name]), name == "lengths") for name in names]
        tensors = checked(self.op.name, checks, [getattr(given, name) for name in names], like)
        return given._replace(**dict(zip(names, tensors, strict=True)))

    def _arrays(self, shape: Any, holder: Any, every: int, save: bool, trace: bool) -> list[Tensor]:
        """The first group's arrays that pass from the forward to the backward; empty where a call has none."""
        found = self._first(holder.internals, shape.internals(every, save, trace))
        if trace:
            found.update(self._first(holder.traced, shape.traced_numbers()))
        return [found[name] if name in found else holder.internals[:0] for name in self.kept]

    @staticmethod
    def _first(kept: Tensor, numbers: dict[str, int]) -> dict[str, Tensor]:
        """The first group's arrays, flat, in what all groups keep."""
        return views(kept, {name: (count,) for name, count in numbers.items()}, numbers)


@lru_cache(1024)
def _key(launches: Launches, choices: Choices, device: torch.device) -> tunings_file.Key:
    """What was tuned for a launch is looked up by."""
    plan, shape = launches.plan(*choices[1:], USUAL), choices.shape
    return tunings_file.key_of(launches.op.name, choices.way, plan, choices.dtype, device, shape.groups * shape.rows)


def _projected(given: Any, shape: SequenceShape) -> Tensor:
    """The input's share of the lowest layer's sums, bias included: (groups, T*B, G), of one group (T*B, G)."""
    groups = shape.groups
    if groups == 1:  # which a GPU does in one launch
        return torch.addmm(given.bias, given.input.view(-1, shape.input_size), given.weight_input.mT)
    input = given.input.view(groups, -1, shape.input_size)
    return torch.baddbmm(given.bias.view(groups, 1, -1), input, _of_groups(given.weight_input, groups).mT)


def _of_groups(weight: Tensor, groups: int) -> Tensor:
    """(groups, a, b) of a weight (groups*a, b)."""
    return weight.view(groups, -1, weight.shape[1])


def _transposed(weight: Tensor, groups: int) -> Tensor:
    """(groups, b, a) of a weight (groups*a, b)."""
    return _of_groups(weight, groups).mT.contiguous()


def _lower(internals: Tensor, shape: SequenceShape, numbers: dict[str, int]) -> Tensor:
    """What the layers below the top one gave, (groups, L-1, T*B, H), in all that is kept."""
    sizes = (shape.layers - 1, shape.steps * shape.rows, shape.hidden_size)
    own = internals.view(shape.groups, -1).narrow(1, offsets_of(numbers)["lower"], math.prod(sizes))
    return own.view(shape.groups, *sizes)


def _of_weights(
    given: Any, shape: SequenceShape, grad_sums: Tensor, grad_words: Tensor, lower: Tensor
) -> dict[str, Tensor]:
    """Gradients of the weights and of the input, from those of the sums: products over all steps and rows.

    Args:
        given: of the backward
        shape: of the call
        grad_sums: (groups, L, T*B, G), zeros past a row's length
        grad_words: (groups, T*B, P), likewise
        lower: (groups, L - 1, T*B, H), what the layers below the top one gave
    """
    groups, steps, rows, hidden = shape.groups, shape.steps, shape.rows, shape.hidden_size
    input = given.input.view(groups, steps, rows, -1)
    if given.lengths is not None:  # what pads a row may be anything, NaN too
        past_end = torch.arange(steps, device=input.device).unsqueeze(1) >= given.lengths.view(groups, 1, rows)
        input = input.masked_fill(past_end.unsqueeze(-1), 0)
    output = given.output.view(groups, steps * rows, -1)
    layers = [*lower.unbind(1), output[..., :hidden]]
    sums = grad_sums.unbind(1)
    grads = {
        "weight_input": sums[0].mT @ input.flatten(1, 2),
        "bias": sums[0].sum(1),
        "weight_reads": sums[0].mT @ _before(output[..., hidden:], given.reads.view(groups, rows, -1)),
        "heads_weight": grad_words.mT @ layers[-1],
        "heads_bias": grad_words.sum(1),
    }
    if given.of_input:
        grads["input"] = sums[0] @ _of_groups(given.weight_input, groups)
    first = [] if given.hidden is None else given.hidden.view(groups, shape.layers, rows, hidden).unbind(1)
    if given.hidden is not None:
        grads["weight_hidden"] = sums[0].mT @ _before(layers[0], first[0])
    if shape.layers > 1:
        upper = []
        for layer in range(1, shape.layers):
            taken = [layers[layer - 1]]
            taken += [] if given.hidden is None else [_before(layers[layer], first[layer])]
            upper.append(sums[layer].mT @ torch.cat(taken, -1))
        grads["upper_weight"], grads["upper_bias"] = torch.stack(upper, 1), grad_sums[:, 1:].sum(2)
    return grads


def _before(values: Tensor, first: Tensor) -> Tensor:
    """Values (groups, T*B, width) of all steps to those of the steps before, the first `first` (groups, B, width)."""
    return torch.cat([first, values[:, : values.shape[1] - first.shape[1]]], 1)


def _joined(weight_reads: Tensor, weight_hidden: Tensor | None) -> Tensor:
    """(G, R*M + H), feed-forward (G, R*M): what the lowest layer multiplies in every step."""
    return weight_reads if weight_hidden is None else torch.cat([weight_reads, weight_hidden], 1)


def _joined_transposed(weight_reads: Tensor, weight_hidden: Tensor | None, groups: int) -> Tensor:
    """(groups, R*M + H, G), feed-forward (groups, R*M, G): `_transposed` of `_joined`, in one launch."""
    if weight_hidden is None:
        return _transposed(weight_reads, groups)
    return torch.cat([_of_groups(weight_reads, groups).mT, _of_groups(weight_hidden, groups).mT], 1)


def _pieces(like: Tensor, shapes: list[tuple[int, ...]]) -> list[Tensor]:
    """Fresh memory for scratch, in one piece."""
    named = {str(index): size for index, size in enumerate(shapes)}
    numbers = {name: padded(math.prod(size)) for name, size in named.items()}
    return list(views(like.new_empty(sum(numbers.values())), named, numbers).values())


@contextmanager
def as_they_are(tensor: Any) -> Iterator[None]:
    """Products in the tensors' own dtype, whatever autocast says, and launches on their device."""
    with torch.autocast(tensor.device.type, enabled=False):
        if tensor.is_cuda:
            with torch.cuda.device(tensor.device):
                yield
        else:
            yield
