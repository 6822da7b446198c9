"""The NTM over a whole sequence in one call of a kernel; the same function as `reference.sequence`, and much faster."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tapehead.ops.controller import LSTMLayer
from tapehead.ops.ntm import cpu  # noqa: F401  (registers the kernel)
from tapehead.ops.ntm.op import Results, Sizes, forward_with_gradient, is_plain, ntm_forward
from tapehead.ops.ntm.parameters import NTMParameters, NTMSettings
from tapehead.states import HeadTrace, LSTMState, NTMState, Trace

__all__ = ["sequence"]

USUAL_CHECKPOINT = 4
"""Steps from one M_t that is kept for the backward to the next: writing three again costs less than keeping them."""

MEMORY_LIMIT = 256 * 2**20
"""Bytes of M_t kept so; above it, unless told otherwise, a call keeps every sqrt(T)-th."""

CHUNK_LIMIT = 64 * 2**20
"""Bytes of the projected input; above it, a sequence that keeps nothing runs in parts."""


def sequence(
    input: Tensor,
    state: NTMState,
    parameters: NTMParameters,
    settings: NTMSettings,
    *,
    lengths: Tensor | None = None,
    trace: bool = False,
    checkpoint_every: int | None = None,
) -> tuple[Tensor, NTMState, Trace | None]:
    """Run an NTM over a sequence; see `tapehead.ops.ntm.sequence`."""
    call = _Call(parameters, settings, _weights(parameters))
    lengths = None if lengths is None else lengths.to(torch.int64)
    if not trace and not (torch.is_grad_enabled() and _any_requires_grad(input, state, parameters)):
        return *_run_in_parts(call, input, state, lengths), None
    keep = 1 if trace else _checkpoint_every(input, state, checkpoint_every)
    results = call.run(input, state, lengths, checkpoint_every=keep, save=True, trace=trace)
    return results.output, _state(results, state), _trace(results, state, settings) if trace else None


class _Call(NamedTuple):
    """What stays the same over all parts of a sequence."""

    parameters: NTMParameters
    settings: NTMSettings
    weights: tuple[Tensor | None, ...]

    def run(
        self,
        input: Tensor,
        state: NTMState,
        lengths: Tensor | None,
        *,
        checkpoint_every: int,
        save: bool,
        trace: bool,
    ) -> Results:
        """Call the op."""
        settings = self.settings
        sizes = Sizes(
            settings.num_read_heads,
            settings.num_write_heads,
            settings.max_shift,
            int(settings.addressing == "content_and_location"),
            int(settings.order == "write_read"),
            int(settings.key_activation == "tanh"),
            int(settings.add_activation == "tanh"),
        )
        controller = (None, None) if state.controller is None else state.controller
        op = forward_with_gradient if is_plain(input) else ntm_forward
        return Results(
            *op(input, *state[:4], *controller, *self.weights, lengths, sizes, checkpoint_every, save, trace)
        )


def _any_requires_grad(*nested: Any) -> bool:
    """Whether any tensor of nested tuples does."""
    return any(
        part.requires_grad if isinstance(part, Tensor) else part is not None and _any_requires_grad(*part)
        for part in nested
    )


def _run_in_parts(call: _Call, input: Tensor, state: NTMState, lengths: Tensor | None) -> tuple[Tensor, NTMState]:
    """Without anything saved, in parts so short that the projected input takes little memory."""
    gates = call.parameters.controller.weight_reads.shape[0]
    steps = max(1, CHUNK_LIMIT // (input.shape[1] * gates * input.element_size()))
    if torch.compiler.is_compiling():  # which would make a graph for every number of parts
        steps = input.shape[0]
    outputs = []
    for start in range(0, input.shape[0], steps):
        part = input[start : start + steps]
        left = None if lengths is None else (lengths - start).clamp(0, part.shape[0])
        results = call.run(part, state, left, checkpoint_every=1, save=False, trace=False)
        state = _state(results, state)
        outputs.append(results.output)
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs), state


def _checkpoint_every(input: Tensor, state: NTMState, wish: int | None) -> int:
    """How many steps from one M_t that is kept to the next."""
    steps = input.shape[0]
    if wish is None:
        needed = steps * state.memory.numel() * state.memory.element_size() // USUAL_CHECKPOINT
        wish = USUAL_CHECKPOINT if needed <= MEMORY_LIMIT else max(USUAL_CHECKPOINT, math.isqrt(steps))
    return min(wish, steps)


def _weights(parameters: NTMParameters) -> tuple[Tensor | None, ...]:
    """The parameters as the op takes them; all layers above the lowest in one tensor."""
    lowest, *upper = parameters.controller.layers
    weight_hidden = lowest.weight_hidden if isinstance(lowest, LSTMLayer) else None
    upper_weight = upper_bias = None
    if upper:
        upper_weight = torch.stack([_joined(layer) for layer in upper])
        upper_bias = torch.stack([layer.bias for layer in upper])
    own = (lowest.weight_input, lowest.bias, parameters.controller.weight_reads, weight_hidden)
    return *own, upper_weight, upper_bias, *parameters.heads


def _joined(layer: Any) -> Tensor:
    if isinstance(layer, LSTMLayer):
        return torch.cat([layer.weight_input, layer.weight_hidden], 1)
    weight: Tensor = layer.weight_input
    return weight


def _state(results: Results, before: NTMState) -> NTMState:
    controller = None if before.controller is None else LSTMState(results.hidden, results.cell)
    return NTMState(results.memory, results.read_weights, results.write_weights, results.reads, controller)


def _trace(results: Results, state: NTMState, settings: NTMSettings) -> Trace:
    """Views of what the kernel keeps at every step."""
    slots, reads = state.memory.shape[1], settings.num_read_heads
    heads, written, words = settings.num_heads, settings.num_write_heads, settings.word_size
    steps, rows = results.output.shape[:2]
    parts = results.parameters.split(settings.head_sizes, -1)
    key = parts[0].view(steps, rows, heads, words)
    location = (None, None, None)
    if settings.addressing == "content_and_location":
        location = (parts[2], parts[3].view(steps, rows, heads, -1), parts[4])
    fields = (key, parts[1], *location, results.content[..., :slots], results.weights[..., :slots])
    read = HeadTrace(*(None if field is None else field[:, :, :reads] for field in fields))  # type: ignore[arg-type]
    write = HeadTrace(*(None if field is None else field[:, :, reads:] for field in fields))  # type: ignore[arg-type]
    erase, add = (part.view(steps, rows, written, words) for part in parts[-2:])
    read_vectors = results.output[..., -reads * words :].view(steps, rows, reads, words)
    return Trace(read, write, erase, add, read_vectors, results.memories[1:, ..., :slots].mT)
