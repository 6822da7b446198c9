"""A machine's whole sequence as a custom op of torch: schema, fake and gradient, for every device's kernels alike.

A machine, the NTM or the MANN, says in three named tuples what its forward takes and makes, and what its backward
takes. `SequenceOp` makes two ops of them, `tapehead::NAME_forward` and `tapehead::NAME_backward`. The ops see flat
tensors; the machine's `fused.py` packs the named tuples of the layers around them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Literal, get_type_hints

import torch
from torch import Tensor
from torch._functorch.autograd_function import enable_single_level_autograd_function
from torch.autograd.function import _SingleLevelFunction

from tapehead.backends import is_eager, is_transformed

__all__ = ["SequenceOp", "core_name", "is_plain"]

Way = Literal["forward", "backward"]

_TYPES: dict[Any, str] = {
    Tensor: "Tensor",
    Tensor | None: "Tensor?",
    Sequence[int]: "SymInt[]",
    int: "SymInt",
    bool: "bool",
}

PLAIN_RESULTS = ("output", "traced", "internals")
"""What a forward makes besides the state."""


def core_name(result: str) -> str:
    """What the core calls a result; a backward takes its gradient as `grad_` and this."""
    return result if result in PLAIN_RESULTS else f"last_{result}"


def is_plain(tensor: Tensor) -> bool:
    """Whether nothing between here and a kernel wants to see the call: no tracing, transform, mode or subclass."""
    return is_eager() and type(tensor) in (Tensor, torch.nn.Parameter)


_PLAIN = {Tensor, torch.nn.Parameter, type(None)}


def _is_looped(gradient: Tensor | None) -> bool:
    """Whether it is one of the batches of gradients that `is_grads_batched` gives to autograd."""
    return gradient is not None and torch._C._functorch.is_legacy_batchedtensor(gradient)


def _needs_gradient(arguments: Sequence[Any]) -> bool:
    return torch.is_grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in arguments)


class SequenceOp:
    """The forward and backward of a machine, registered with torch.

    Args:
        name: of the ops: "ntm" makes `tapehead::ntm_forward`
        owner: whose name errors carry
        shape: the machine's `SequenceShape`
        arguments: what the forward takes: the input, the six tensors of the state, the eight of the parameters,
            `lengths`, and then `sizes`, `checkpoint_every`, `save` and `trace`
        results: what it makes: the output, the state, `traced` and `internals`
        backward_arguments: what the backward takes: the gradients of results, tensors that the forward was given or
            made, by their names, and then `sizes`, `checkpoint_every`, `of_input` and `of_state`
    """

    def __init__(
        self, name: str, owner: str, shape: Any, arguments: Any, results: Any, backward_arguments: Any
    ) -> None:
        self.name, self.owner, self.shape = name, owner, shape
        self.arguments, self.results, self.backward_arguments = arguments, results, backward_arguments
        self.without_gradient = shape.without_gradient
        self._kernels: dict[tuple[str, Way], Callable[..., Any]] = {}

        self._define("forward", arguments, "(" + ", ".join(["Tensor"] * len(results._fields)) + ")")
        self._define("backward", backward_arguments, "Tensor[]")  # as `SequenceShape.gradients` lists them
        self.forward = getattr(torch.ops.tapehead, f"{name}_forward").default
        self.backward = getattr(torch.ops.tapehead, f"{name}_backward").default
        torch.library.register_fake(f"tapehead::{name}_forward", self._fake_forward)
        torch.library.register_fake(f"tapehead::{name}_backward", self._fake_backward)

        given, made = arguments._fields, results._fields
        self.differentiable = [field for field in made if field not in ("internals", *self.without_gradient)]
        self._gradients = itemgetter(*(made.index(field) for field in self.differentiable))
        self.saved = backward_arguments._fields[len(self.differentiable) : -4]
        every = (*given, *made)  # the state that was given comes before the one that was made
        self._saved = itemgetter(*(every.index(field) for field in self.saved))

        # What `torch.library.register_autograd` does, at a quarter of its cost for each call.
        self.Sequence, self.Gradient = _sequence_of(self), _gradient_of(self)
        torch.library.impl(f"tapehead::{name}_forward", "Autograd")(self.run_plain)
        torch.library.impl(f"tapehead::{name}_backward", "Autograd")(self._run_backward)
        torch.library.impl(f"tapehead::{name}_backward", "Batched")(self._looped_backward)
        torch.library.register_vmap(f"tapehead::{name}_forward", self._mapped_forward)
        torch.library.register_vmap(f"tapehead::{name}_backward", self._mapped_backward)

    def _define(self, way: Way, arguments: Any, results: str) -> None:
        taken = ", ".join(f"{_TYPES[kind]} {field}" for field, kind in get_type_hints(arguments).items())
        name = f"tapehead::{self.name}_{way}"
        torch.library.define(name, f"({taken}) -> {results}", tags=(torch.Tag.pt2_compliant_tag,))

    def _fake_forward(self, *arguments: Any) -> Any:
        given = self.arguments(*arguments)
        shapes = self.shape.of(given).results(given.checkpoint_every, given.save, given.trace)
        return self.results._make(map(given.input.new_empty, shapes.values()))

    def _fake_backward(self, *arguments: Any) -> list[Tensor]:
        given = self.backward_arguments(*arguments)
        shapes = self.shape.of(given).gradients(given.of_input, given.of_state)
        return [given.output.new_empty(shape) for shape in shapes.values()]

    def register_kernels(self, device: str, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Make these functions the ops' implementations for a type of device."""
        torch.library.impl(f"tapehead::{self.name}_forward", device)(forward)
        torch.library.impl(f"tapehead::{self.name}_backward", device)(backward)
        self._kernels[device, "forward"], self._kernels[device, "backward"] = forward, backward

    def run(self, way: Way, arguments: Any) -> Any:
        """Run an op below autograd: past torch's dispatcher where that has nothing to do."""
        like = arguments[0] if way == "forward" else arguments.output
        kernel = self._kernels.get((like.device.type, way))
        # The last four are no tensors. A subclass, also of a state or a weight, has no numbers at its address.
        if kernel is not None and is_plain(like) and _PLAIN.issuperset(map(type, arguments[:-4])):
            return kernel(*arguments)
        with torch._C._AutoDispatchBelowAutograd():
            return (self.forward if way == "forward" else self.backward)(*arguments)

    def run_in_function(self, way: Way, arguments: Any) -> Any:
        """`run`, out of a function of autograd: nothing is recorded in one, but levels of torch.func below it are."""
        if not is_transformed():
            return self.run(way, arguments)
        with torch.enable_grad():
            return self.run(way, arguments)

    def run_plain(self, *arguments: Any) -> Any:
        """The forward, with its gradient, of tensors that are plain (`is_plain`); others call `forward`."""
        return _apply(self.Sequence, arguments) if _needs_gradient(arguments) else self.run("forward", arguments)

    def _run_backward(self, *arguments: Any) -> list[Tensor]:
        if _needs_gradient(arguments):
            return list(_apply(self.Gradient, arguments))
        made: list[Tensor] = self.run("backward", self.backward_arguments._make(arguments))
        return made

    def _looped_backward(self, *arguments: Any) -> list[Tensor]:
        """The backward of several gradients at once (`is_grads_batched`), one after the other."""
        level = torch._C._vmapmode_increment_nesting() - 1  # nothing else tells it
        torch._C._vmapmode_decrement_nesting()
        looped = [isinstance(value, Tensor) and _is_looped(value) for value in arguments]
        given = [
            torch._remove_batch_dim(value, level, 0, 0) if many else value
            for many, value in zip(looped, arguments, strict=True)
        ]
        count = len(given[looped.index(True)])
        made = [
            self.backward(*(value[index] if many else value for many, value in zip(looped, given, strict=True)))
            for index in range(count)
        ]
        return [torch._add_batch_dim(torch.stack(each), 0, level) for each in zip(*made, strict=True)]

    def _mapped_forward(self, info: Any, dims: tuple[int | None, ...], *arguments: Any) -> tuple[Any, Any]:
        given = self._folded(self.arguments, info.batch_size, dims, arguments)
        # Tensors do not tell inside the map whether somebody outside wants their gradients.
        given = given._replace(save=given.save or _needs_gradient(given))
        return _unfolded(self.forward(*given), info.batch_size)

    def _mapped_backward(self, info: Any, dims: tuple[int | None, ...], *arguments: Any) -> tuple[Any, Any]:
        given = self._folded(self.backward_arguments, info.batch_size, dims, arguments)
        return _unfolded(self.backward(*given), info.batch_size)

    def _folded(self, kind: Any, count: int, dims: tuple[int | None, ...], arguments: tuple[Any, ...]) -> Any:
        """The arguments of a call of `count` times as many groups, from those of one and what is mapped."""
        given = kind._make(
            _fold(value, dim, count) if isinstance(value, Tensor) else value
            for value, dim in zip(arguments, dims, strict=True)
        )
        sizes = self.shape.Sizes(*given.sizes)
        return given._replace(sizes=[*sizes._replace(groups=sizes.groups * count)])

    @lru_cache(64)  # noqa: B019  (the ops live as long as the process)
    def present(self, of_input: bool, of_state: bool, lstm: bool, upper: bool) -> tuple[bool, ...]:
        """Which of the tensors in `arguments`, but for `lengths`, the backward makes a gradient of."""
        names = self.arguments._fields
        tensors = names[: names.index("lengths")]
        absent = self.shape.absent(tensors[1:7], of_input, of_state, lstm=lstm, upper=upper)
        return tuple(name not in absent for name in tensors)

    def save(self, given: Any, made: Any) -> tuple[Tensor | None, ...]:
        """What the backward needs of what the forward was given and made."""
        saved: tuple[Tensor | None, ...] = self._saved((*given, *made))
        return saved

    def gradients(self, gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        """Those that the backward takes, of all results."""
        taken: tuple[Tensor | None, ...] = self._gradients(gradients)
        return taken


def _apply(function: type[torch.autograd.Function], arguments: Sequence[Any]) -> Any:
    """Call a function of autograd, also where it is the gradient of an op at one level of torch.func."""
    if not is_transformed():
        return function.apply(*arguments)
    # As torch does for a level's own part of a function: below that it is the op that is transformed.
    with enable_single_level_autograd_function():
        return _at_one_level(function).apply(*arguments)


@lru_cache
def _at_one_level(function: Any) -> Any:
    """The same function as torch wants one of a level: with what it keeps apart, which costs more to call."""
    parts = {"forward": function.compute, "setup_context": function.keep, "backward": function.backward}
    return type(function.__name__, (_SingleLevelFunction,), {name: staticmethod(part) for name, part in parts.items()})


def _fold(tensor: Tensor, dim: int | None, count: int) -> Tensor:
    """All groups' tensors behind each other, of those that are mapped along `dim`, or alike."""
    stacked = tensor.expand(count, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
    return stacked.reshape(count * stacked.shape[1], *stacked.shape[2:])


def _unfolded(made: Any, count: int) -> tuple[Any, Any]:
    """What a call of all groups made, with a dimension of groups in front, and which dimension that is."""
    found = [tensor.reshape(count, tensor.shape[0] // count, *tensor.shape[1:]) for tensor in made]
    return type(made)(found), type(made)([0] * len(made))


def _sequence_of(op: SequenceOp) -> type[torch.autograd.Function]:
    """The gradient of an op's forward, by its backward."""

    class Sequence(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            made = Sequence.compute(*arguments)
            Sequence.keep(ctx, arguments, made)
            return made

        @staticmethod
        def compute(*arguments: Any) -> Any:
            return op.results._make(op.run_in_function("forward", op.arguments._make(arguments)))

        @staticmethod
        def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            given = op.arguments._make(inputs)
            ctx.set_materialize_grads(False)
            ctx.mark_non_differentiable(output.internals, *(getattr(output, name) for name in op.without_gradient))
            ctx.sizes, ctx.checkpoint_every = given.sizes, given.checkpoint_every
            ctx.save_for_backward(*op.save(given, output))

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor | None) -> Any:
            needed = ctx.needs_input_grad
            options = (ctx.sizes, ctx.checkpoint_every, needed[0], any(needed[1:7]))
            given = op.backward_arguments._make((*op.gradients(gradients), *ctx.saved_tensors, *options))
            seen = torch.is_grad_enabled() or any(map(_is_looped, gradients))
            made = iter(op.backward(*given) if seen else op.run("backward", given))
            lstm, upper = given.weight_hidden is not None, given.upper_weight is not None
            present = op.present(given.of_input, given.of_state, lstm, upper)
            return *(next(made) if there else None for there in present), None, None, None, None, None

    return Sequence


def _gradient_of(op: SequenceOp) -> type[torch.autograd.Function]:
    """The gradient of an op's backward: there is none."""

    class Gradient(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
            return Gradient.compute(*arguments)

        @staticmethod
        def compute(*arguments: Any) -> tuple[Tensor, ...]:
            return tuple(op.run_in_function("backward", op.backward_arguments._make(arguments)))

        @staticmethod
        def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            """Nothing: nobody goes on from here."""

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
            raise RuntimeError(
                f"{op.owner}: expected a first derivative, got a derivative of the fused backward. Take "
                "backend='reference', which has derivatives of every order."
            )

    return Gradient
