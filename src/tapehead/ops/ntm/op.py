"""The NTM's whole sequence as a custom op of torch: its schema and gradient, for every device's kernels alike.

The op sees flat tensors; `fused.py` packs the named tuples around it, `cpu.py` runs it, `shapes.py` tells every shape.
README.md in this folder derives the backward and describes every array that passes from the forward to the backward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_type_hints

import torch
from torch import Tensor

from tapehead.backends import is_eager
from tapehead.ops.ntm.shapes import Shape

__all__ = ["Arguments", "BackwardArguments", "Results", "ntm_backward", "ntm_forward", "run_plain"]


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
    """What the forward returns; a tensor that there is no use for has no elements."""

    output: Tensor
    """(T, B, H + R*M)"""
    memory: Tensor
    """(B, N, M), and so on: the state after each row's last step"""
    read_weights: Tensor
    write_weights: Tensor
    reads: Tensor
    hidden: Tensor
    cell: Tensor
    traced: Tensor
    """one piece of all that a trace shows and `output` does not; see `Shape.traced`"""
    internals: Tensor
    """one piece of all else that the backward reads; see `Shape.internals`"""


class BackwardArguments(NamedTuple):
    """What the backward takes: the gradients that there are, and what the forward was given and made."""

    grad_output: Tensor | None
    grad_last_memory: Tensor | None
    grad_last_read_weights: Tensor | None
    grad_last_write_weights: Tensor | None
    grad_last_reads: Tensor | None
    grad_last_hidden: Tensor | None
    grad_last_cell: Tensor | None
    grad_traced: Tensor | None
    input: Tensor
    read_weights: Tensor
    write_weights: Tensor
    reads: Tensor
    hidden: Tensor | None
    cell: Tensor | None
    weight_input: Tensor
    weight_reads: Tensor
    weight_hidden: Tensor | None
    upper_weight: Tensor | None
    heads_weight: Tensor
    lengths: Tensor | None
    output: Tensor
    traced: Tensor
    internals: Tensor
    sizes: Sequence[int]
    checkpoint_every: int
    of_input: bool
    """whether the gradient of the input is wanted"""
    of_state: bool
    """whether those of the state that the sequence started from are"""


# The schemas, from the classes above.
_TYPES: dict[Any, str] = {
    Tensor: "Tensor",
    Tensor | None: "Tensor?",
    Sequence[int]: "SymInt[]",
    int: "SymInt",
    bool: "bool",
}


def _define(name: str, arguments: Any, results: str) -> None:
    taken = ", ".join(f"{_TYPES[kind]} {field}" for field, kind in get_type_hints(arguments).items())
    torch.library.define(f"tapehead::{name}", f"({taken}) -> {results}", tags=(torch.Tag.pt2_compliant_tag,))


_define("ntm_forward", Arguments, "(" + ", ".join(["Tensor"] * len(Results._fields)) + ")")
_define("ntm_backward", BackwardArguments, "Tensor[]")  # as `Shape.gradients` lists them
ntm_forward = torch.ops.tapehead.ntm_forward.default
ntm_backward = torch.ops.tapehead.ntm_backward.default


@torch.library.register_fake("tapehead::ntm_forward")
def _(*arguments: Any) -> Results:
    given = Arguments(*arguments)
    shapes = Shape.of(given).results(given.checkpoint_every, given.save, given.trace)
    return Results._make(map(given.input.new_empty, shapes.values()))


@torch.library.register_fake("tapehead::ntm_backward")
def _(*arguments: Any) -> list[Tensor]:
    given = BackwardArguments(*arguments)
    return [
        given.output.new_empty(shape) for shape in Shape.of(given).gradients(given.of_input, given.of_state).values()
    ]


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


def _run(way: Way, arguments: Any) -> Any:
    """Run an op below autograd: past torch's dispatcher where that has nothing to do."""
    like = arguments[0] if way == "forward" else arguments.output
    kernel = _KERNELS.get((like.device.type, way))
    if kernel is not None and is_plain(like):
        return kernel(*arguments)
    with torch._C._AutoDispatchBelowAutograd():
        return _OPS[way](*arguments)


class _Sequence(torch.autograd.Function):
    """The gradient of `ntm_forward`, by `ntm_backward`."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        given = Arguments._make(arguments)
        made = Results._make(_run("forward", given))
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(made.internals)
        ctx.sizes, ctx.checkpoint_every = given.sizes, given.checkpoint_every
        ctx.save_for_backward(
            given.input,
            given.read_weights,
            given.write_weights,
            given.reads,
            given.hidden,
            given.cell,
            given.weight_input,
            given.weight_reads,
            given.weight_hidden,
            given.upper_weight,
            given.heads_weight,
            given.lengths,
            made.output,
            made.traced,
            made.internals,
        )
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        needed = ctx.needs_input_grad
        options = (ctx.sizes, ctx.checkpoint_every, needed[0], any(needed[1:7]))
        given = BackwardArguments._make((*gradients[:-1], *ctx.saved_tensors, *options))
        made = iter(ntm_backward(*given) if torch.is_grad_enabled() else _run("backward", given))
        present = _present(given)
        return *(next(made) if there else None for there in present), None, None, None, None, None


def _present(given: BackwardArguments) -> tuple[bool, ...]:
    """Which of the tensors in `Arguments`, but for `lengths`, the backward makes a gradient of."""
    lstm, upper, state = given.weight_hidden is not None, given.upper_weight is not None, given.of_state
    controller = state and lstm
    return (
        *(given.of_input, state, state, state, state, controller, controller),
        *(True, True, True, lstm, upper, upper, True, True),
    )


class _Gradient(torch.autograd.Function):
    """The gradient of `ntm_backward`: there is none."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        return tuple(_run("backward", BackwardArguments._make(arguments)))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        raise RuntimeError(
            "NTM: expected a first derivative, got a derivative of the fused backward. Take backend='reference', which "
            "has derivatives of every order."
        )


def _needs_gradient(arguments: Sequence[Any]) -> bool:
    return torch.is_grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in arguments)


def run_plain(*arguments: Any) -> Any:
    """The forward, with its gradient, of tensors that are plain (`is_plain`); others call `ntm_forward`."""
    return _Sequence.apply(*arguments) if _needs_gradient(arguments) else _run("forward", arguments)


def _backward(*arguments: Any) -> list[Tensor]:
    if _needs_gradient(arguments):
        return list(_Gradient.apply(*arguments))
    made: list[Tensor] = _run("backward", BackwardArguments._make(arguments))
    return made


# What `torch.library.register_autograd` does, at a quarter of its cost for each call.
torch.library.impl("tapehead::ntm_forward", "Autograd")(run_plain)
torch.library.impl("tapehead::ntm_backward", "Autograd")(_backward)
