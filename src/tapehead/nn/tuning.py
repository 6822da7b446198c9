"""Tuning of the kernels for CUDA tensors, for the sizes of a model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tapehead import backends
from tapehead.errors import BackendError
from tapehead.nn.mann_cell import MANNCell
from tapehead.nn.ntm_cell import NTMCell
from tapehead.ops import tuner, tunings_file
from tapehead.ops.tilings import SHORT_LIST, Tiling
from tapehead.ops.tuner import ROUNDS, Clock, Recorder, Tuning, event_clock

__all__ = ["check", "tune"]


def tune(
    model: nn.Module,
    input: Tensor | PackedSequence,
    lengths: Tensor | None = None,
    *,
    tilings: Sequence[Tiling] = SHORT_LIST,
    rounds: int = ROUNDS,
    clock: Clock = event_clock,
) -> list[Tuning]:
    """Find the fastest tilings of the CUDA kernels for a model and an input, and remember them.

    Every tiling of a short list, sizes of tiles and a number of warps, is compiled, compared with the usual one's
    results, and timed: the forward with gradients, the forward without, and the backward. The fastest are written
    into a file in the user's cache. Launches of the same kernels with the same sizes take them from then on, in this
    process and in later ones; processes that run already do not. Sizes are those of the model, with N rounded up to
    a power of two; the rows B of a batch count rounded up to a power of two, and T does not count but that a single
    step is a kernel of its own. Most of the time it takes is the compiler's, some seconds a tiling and kernel.

    Sums are taken in another order with another tiling: results agree with those from before to rounding, and are the
    same from call to call. The model is left as it is.

    Args:
        model: an `NTM`, `MANN`, `SequenceModel` or any module that has one and returns its output, or a tuple that
            begins with it; on a CUDA device
        input: as the model takes it, with as many rows as it will have
        lengths: (B,) steps of each row, as the model takes them, or None
        tilings: to try; the usual one is always tried
        rounds: how often each is timed, in turn with the others
        clock: tells the milliseconds of a launch; by default the device's events do

    Returns:
        a `Tuning` for each kernel that the model launches: the times of all tilings, and why some are left out

    Raises:
        BackendError: the kernels cannot run here; the message holds every reason.
        TypeError: the model has no `NTM` or `MANN`.
        ValueError: the model is not on a CUDA device, or there are no rounds.
        RuntimeError: no gradient of its output reaches its `NTM` or `MANN`.

    >>> import torch, tapehead
    >>> model, input = tapehead.NTM(9, 100), torch.randn(40, 16, 9)
    >>> def on_a_gpu():
    ...     return [kernel.winner for kernel in tapehead.tune(model.cuda(), input.cuda())]
    >>> try:
    ...     tapehead.tune(model, input)
    ... except (tapehead.BackendError, ValueError) as error:  # it is on the CPU
    ...     print(str(error).partition(":")[0])
    tune
    """
    if rounds < 1:
        raise ValueError(f"tune: expected rounds of 1 or more, got {rounds}.")
    check(model)
    own = copy.deepcopy(model)
    for cell in _cells(own):
        cell.backend = "fused"
    with Recorder() as recorder:
        _call(own, input, lengths)
    if any(one.requires_grad for one in own.parameters()) and "backward" not in [way for _, way, _ in recorder.calls]:
        raise RuntimeError(
            f"tune: expected a backward through the NTM or MANN of {type(model).__name__}, saw none. Its output has to "
            "depend on it; where its parameters are not to be trained, call model.requires_grad_(False)."
        )
    tunings: dict[tunings_file.Key, Tuning] = {}
    for launches, way, arguments in recorder.calls:
        key = tuner.key_of_call(launches, way, arguments)
        if key not in tunings:
            tunings[key] = tuner.tune_call(launches, way, arguments, tilings=tilings, clock=clock, rounds=rounds)
    tunings_file.remember({key: one.winner for key, one in tunings.items()})
    return list(tunings.values())


def _cells(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if isinstance(module, NTMCell | MANNCell)]


def check(model: nn.Module) -> None:
    """Raise what `tune` raises, unless there is something to tune, and something to tune it on."""
    cells = _cells(model)
    if not cells:
        raise TypeError(
            f"tune: expected a model with an NTM or a MANN, got {type(model).__name__}. There is nothing to tune in it."
        )
    for cell in cells:
        like = next(cell.parameters())
        device = torch.device("cuda") if like.device.type == "cpu" else like.device
        op = "mann" if isinstance(cell, MANNCell) else "ntm"
        sizes = (cell.memory_size, cell.settings.word_size)
        reasons = backends.why_not("fused", backends.Request(op, device, like.dtype, False, *sizes))
        if reasons:
            raise BackendError(f"tune: the kernels for CUDA tensors cannot run {op}: {' '.join(reasons)}")
        if like.device.type != "cuda":
            raise ValueError(
                f"tune: expected a model on a CUDA device, got one on {like.device}. Move model and input there: "
                "model.cuda(), input.cuda()."
            )


def _call(model: nn.Module, input: Any, lengths: Tensor | None) -> None:
    """A forward and backward, as in training, and a forward without gradients."""

    def output() -> Tensor:
        made = model(input) if lengths is None else model(input, lengths=lengths)
        first = made[0] if isinstance(made, tuple) and not isinstance(made, PackedSequence) else made
        return first.data if isinstance(first, PackedSequence) else first

    leaves = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if leaves:
        with torch.enable_grad():
            made = output()
            generator = torch.Generator(made.device).manual_seed(0)
            cotangent = torch.randn(made.shape, generator=generator, dtype=made.dtype, device=made.device)
            torch.autograd.grad(made, leaves, cotangent, allow_unused=True)
    with torch.no_grad():
        output()
