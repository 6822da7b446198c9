"""The NTM as the paper writes it (arXiv 1410.5401, section 3), one step after the other. It defines what is correct."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tapehead.ops.content import content_weights
from tapehead.ops.controller import controller_step, project
from tapehead.ops.heads import HeadParameters, activate
from tapehead.ops.location import interpolate, sharpen, shift
from tapehead.ops.ntm.parameters import NTMParameters, NTMSettings
from tapehead.ops.ragged import run_steps
from tapehead.states import NTMState
from tapehead.traces import HeadTrace, Trace

__all__ = ["sequence"]


class Heads(NamedTuple):
    """What the controller tells some heads in one step: where to point."""

    key: Tensor  # (B, heads, M)
    key_strength: Tensor  # (B, heads)
    interpolation_gate: Tensor | None  # (B, heads)
    shift_weights: Tensor | None  # (B, heads, S)
    gamma: Tensor | None  # (B, heads)

    def split(self, counts: list[int]) -> tuple[Heads, Heads]:
        """The read heads and the write heads."""
        fields = [(None, None) if field is None else field.split(counts, 1) for field in self]
        return Heads(*(field[0] for field in fields)), Heads(*(field[1] for field in fields))  # type: ignore[arg-type]


def sequence(
    input: Tensor,
    state: NTMState,
    parameters: NTMParameters,
    settings: NTMSettings,
    *,
    lengths: Tensor | None = None,
    trace: bool = False,
) -> tuple[Tensor, NTMState, Trace | None]:
    """Run an NTM over a sequence; see `tapehead.ops.ntm.sequence`."""
    step = partial(_step, parameters=parameters, settings=settings, trace=trace)
    return run_steps(step, project(input, parameters.controller), state, lengths)


def _step(
    projected: Tensor, state: NTMState, *, parameters: NTMParameters, settings: NTMSettings, trace: bool
) -> tuple[Tensor, NTMState, Trace | None]:
    """One step: the controller speaks, the heads move, the memory is read and written."""
    hidden, controller_state = controller_step(
        projected, state.reads.flatten(1), state.controller, parameters.controller, settings.controller_activation
    )

    heads, erase, add = _speak(hidden, parameters.heads, settings)
    counts = [settings.num_read_heads, settings.num_write_heads]
    if settings.gradient_limit is not None:
        read_weights, write_weights = (_Limited.apply(weights, settings.gradient_limit) for weights in state[1:3])
        state = NTMState(state.memory, read_weights, write_weights, state.reads, state.controller)
    if settings.order == "read_write":
        # All heads address M_{t-1}; the reads come from M_{t-1}; then the write makes M_t.
        previous_weights = torch.cat([state.read_weights, state.write_weights], 1)
        by_content, weights = _address(state.memory, heads, previous_weights)
        read_content, write_content = by_content.split(counts, 1)
        read_weights, write_weights = weights.split(counts, 1)
        reads = read_weights @ state.memory
        memory = _write(state.memory, write_weights, erase, add)
    else:
        # The paper's order: the write heads address M_{t-1} and make M_t; the read heads address and read M_t.
        read_heads, write_heads = heads.split(counts)
        write_content, write_weights = _address(state.memory, write_heads, state.write_weights)
        memory = _write(state.memory, write_weights, erase, add)
        read_content, read_weights = _address(memory, read_heads, state.read_weights)
        reads = read_weights @ memory  # eq. 2: r = sum_i w(i) M(i)

    output = torch.cat([hidden, reads.flatten(1)], 1)
    new_state = NTMState(memory, read_weights, write_weights, reads, controller_state)
    if not trace:
        return output, new_state, None
    read_heads, write_heads = heads.split(counts)
    read_trace = HeadTrace(*read_heads, read_content, read_weights)
    write_trace = HeadTrace(*write_heads, write_content, write_weights)
    return output, new_state, Trace(read_trace, write_trace, erase, add, reads, memory)


class _Limited(torch.autograd.Function):
    """A tensor as it is, whose gradient has no element beyond a limit."""

    generate_vmap_rule = True

    @staticmethod
    def forward(tensor: Tensor, limit: float) -> Tensor:
        return tensor.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.limit = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.clamp(-ctx.limit, ctx.limit), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return tangent.clone()


def _speak(hidden: Tensor, parameters: HeadParameters, settings: NTMSettings) -> tuple[Heads, Tensor, Tensor]:
    """Turn the controller's output (B, H) into the heads' parameters, each in its range (section 3.3)."""
    batch_size, num_heads = hidden.shape[0], settings.num_heads
    parts = functional.linear(hidden, parameters.weight, parameters.bias).split(settings.head_sizes, 1)
    key = activate(parts[0].view(batch_size, num_heads, -1), settings.key_activation)
    key_strength = functional.softplus(parts[1])
    heads = Heads(key, key_strength, None, None, None)
    if settings.addressing == "content_and_location":
        shift_weights = torch.softmax(parts[3].view(batch_size, num_heads, -1), -1)
        heads = Heads(key, key_strength, torch.sigmoid(parts[2]), shift_weights, 1 + functional.softplus(parts[4]))
    shape = (batch_size, settings.num_write_heads, settings.word_size)
    return heads, torch.sigmoid(parts[-2].view(shape)), activate(parts[-1].view(shape), settings.add_activation)


def _address(memory: Tensor, heads: Heads, previous_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weights by content, and where the heads point in the end (figure 2 of the paper)."""
    by_content = content_weights(heads.key, heads.key_strength, memory)
    if heads.interpolation_gate is None or heads.shift_weights is None or heads.gamma is None:
        return by_content, by_content
    gated = interpolate(by_content, previous_weights, heads.interpolation_gate)
    return by_content, sharpen(shift(gated, heads.shift_weights), heads.gamma)


def _write(memory: Tensor, weights: Tensor, erase: Tensor, add: Tensor) -> Tensor:
    """Erase with every write head, then add with every one: eq. 3 and 4, in no order among the heads."""
    for head in range(weights.shape[1]):
        # (B, N, M): M~(i) = M(i) (1 - w(i) e)
        memory = memory * (1 - weights[:, head].unsqueeze(-1) * erase[:, head].unsqueeze(-2))
    return torch.baddbmm(memory, weights.transpose(1, 2), add)  # M(i) = M~(i) + w(i) a
