"""The MANN's whole sequence as one op, in each of its implementations."""

from __future__ import annotations

from torch import Tensor

from tapehead import backends
from tapehead.ops.mann import fused, reference
from tapehead.ops.mann.parameters import MANNParameters, MANNSettings
from tapehead.states import MANNState
from tapehead.traces import MANNTrace

__all__ = ["MANNParameters", "MANNSettings", "sequence"]


def sequence(
    input: Tensor,
    state: MANNState,
    parameters: MANNParameters,
    settings: MANNSettings,
    *,
    lengths: Tensor | None = None,
    trace: bool = False,
    backend: str = "auto",
    checkpoint_every: int | None = None,
) -> tuple[Tensor, MANNState, MANNTrace | None]:
    """Run a MANN over a sequence with the backend asked for.

    Args:
        input: (T, B, D), T >= 1
        state: what the sequence starts from
        parameters: of the controller and the heads
        settings: sizes and choices
        lengths: (B,) integers in 0..T; None means T for every row
        trace: whether to return every internal of every step
        backend: "auto", "reference" or "fused"
        checkpoint_every: with "fused", keep the memory for the backward after every so many steps only, and make the
            others again; None keeps every fourth, above 256 MiB every sqrt(T)-th; traces always keep all

    Returns:
        output (T, B, H + R*M): the controller's output and the reads of each step, zero past a row's length; the
        state after each row's own last step; the trace, or None

    Raises:
        BackendError: the backend asked for cannot run here.
    """
    usage = state.usage.detach()  # no gradient, not even that of a row without steps
    state = MANNState(state.memory, state.read_weights, usage, state.reads, state.controller)
    request = backends.Request(
        "mann", input.device, input.dtype, backends.without_rule(), state.memory.shape[1], settings.word_size
    )
    if backends.choose(backend, request) == "reference":
        return reference.sequence(input, state, parameters, settings, lengths=lengths, trace=trace)
    return fused.sequence(
        input, state, parameters, settings, lengths=lengths, trace=trace, checkpoint_every=checkpoint_every
    )
