"""The MANN as its paper writes it (arXiv 1605.06065, section 3.2), step by step. It defines what is correct."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tapehead.ops.content import content_weights
from tapehead.ops.controller import controller_step, project
from tapehead.ops.heads import HeadParameters, activate
from tapehead.ops.mann.parameters import MANNParameters, MANNSettings
from tapehead.ops.ragged import run_steps
from tapehead.ops.usage import clear, least_used, update_usage, write_weights
from tapehead.states import MANNState
from tapehead.traces import HeadTrace, MANNTrace, WriteTrace

__all__ = ["sequence"]


class Heads(NamedTuple):
    """What the controller tells the heads in one step."""

    key: Tensor  # (B, R, M)
    key_strength: Tensor  # (B, R)
    write_gate: Tensor  # (B, R)
    add: Tensor  # (B, R, M)


def sequence(
    input: Tensor,
    state: MANNState,
    parameters: MANNParameters,
    settings: MANNSettings,
    *,
    lengths: Tensor | None = None,
    trace: bool = False,
) -> tuple[Tensor, MANNState, MANNTrace | None]:
    """Run a MANN over a sequence; see `tapehead.ops.mann.sequence`."""
    step = partial(_step, parameters=parameters, settings=settings, trace=trace)
    return run_steps(step, project(input, parameters.controller), state, lengths)


def _step(
    projected: Tensor, state: MANNState, *, parameters: MANNParameters, settings: MANNSettings, trace: bool
) -> tuple[Tensor, MANNState, MANNTrace | None]:
    """One step: the controller speaks, the least used slot is cleared and written, the memory is read."""
    hidden, controller_state = controller_step(
        projected, state.reads.flatten(1), state.controller, parameters.controller, settings.controller_activation
    )
    heads = _speak(hidden, parameters.heads, settings)

    unused = least_used(state.usage, settings.num_least_used)  # eq. 21
    own = unused.sum(1, keepdim=True) if settings.least_used == "all" else unused
    own = own.expand(-1, settings.num_read_heads, -1)
    written_weights = write_weights(heads.write_gate, state.read_weights, own)  # eq. 22
    # Cleared, then written, eq. 23: M(i) = M~(i) + sum over the heads of w^w(i) a.
    memory = torch.baddbmm(clear(state.memory, unused), written_weights.transpose(1, 2), heads.add)
    seen = memory if settings.order == "write_read" else state.memory
    read_weights = content_weights(heads.key, heads.key_strength, seen)  # eq. 17 and 18
    reads = read_weights @ seen  # eq. 19
    usage = update_usage(state.usage, read_weights, written_weights, settings.usage_decay)  # eq. 20

    output = torch.cat([hidden, reads.flatten(1)], 1)
    new_state = MANNState(memory, read_weights, usage, reads, controller_state)
    if not trace:
        return output, new_state, None
    read_trace = HeadTrace(heads.key, heads.key_strength, None, None, None, read_weights, read_weights)
    write_trace = WriteTrace(heads.write_gate, own, written_weights)
    return output, new_state, MANNTrace(read_trace, write_trace, heads.add, usage, reads, memory)


def _speak(hidden: Tensor, parameters: HeadParameters, settings: MANNSettings) -> Heads:
    """Turn the controller's output (B, H) into the heads' parameters, each in its range."""
    shape = (hidden.shape[0], settings.num_read_heads, settings.word_size)
    parts = functional.linear(hidden, parameters.weight, parameters.bias).split(settings.head_sizes, 1)
    key = activate(parts[0].view(shape), settings.key_activation)
    strength = functional.softplus(parts[1]) if settings.key_strength == "learned" else torch.ones_like(parts[2])
    add = activate(parts[3].view(shape), settings.add_activation) if settings.write == "add" else key
    return Heads(key, strength, torch.sigmoid(parts[2]), add)
