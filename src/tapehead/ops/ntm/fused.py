"""The NTM over a whole sequence in one call of a kernel; the same function as `reference.sequence`, and much faster."""

from __future__ import annotations

import math
from itertools import chain

import torch
from torch import Tensor

from tapehead.ops.controller import FeedForwardLayer, LSTMLayer
from tapehead.ops.ntm import cpu  # noqa: F401  (registers the kernel)
from tapehead.ops.ntm.op import Arguments, Results, is_plain, ntm_forward, run_plain
from tapehead.ops.ntm.parameters import NTMParameters, NTMSettings
from tapehead.ops.ntm.shapes import Shape, Sizes, offsets_of
from tapehead.states import HeadTrace, LSTMState, NTMState, Trace

__all__ = ["sequence"]

USUAL_CHECKPOINT = 4
"""Steps from one M_t that is kept for the backward to the next: writing three again costs less than keeping them."""

MEMORY_LIMIT = 256 * 2**20
"""Bytes of M_t kept so; above it, unless told otherwise, a call keeps every sqrt(T)-th."""


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
    tensors = (input, *state[:4], *(state.controller or (None, None)), *_weights(parameters))
    save = trace
    if not trace and torch.is_grad_enabled():
        save = any(tensor is not None and tensor.requires_grad for tensor in chain(tensors[7:], tensors[:7]))
    every = _checkpoint_every(input, state, checkpoint_every) if save and not trace else 1
    lengths = None if lengths is None else lengths.to(torch.int64)
    arguments = Arguments._make((*tensors, lengths, Sizes.of(settings), every, save, trace))
    results = Results(*(run_plain if is_plain(input) else ntm_forward)(*arguments))
    controller = None if state.controller is None else LSTMState(results.hidden, results.cell)
    new_state = NTMState(results.memory, results.read_weights, results.write_weights, results.reads, controller)
    return results.output, new_state, _trace(arguments, results, settings) if trace else None


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


def _joined(layer: LSTMLayer | FeedForwardLayer) -> Tensor:
    if isinstance(layer, LSTMLayer):
        return torch.cat([layer.weight_input, layer.weight_hidden], 1)
    return layer.weight_input


def _trace(arguments: Arguments, results: Results, settings: NTMSettings) -> Trace:
    """Views of what the kernel keeps at every step."""
    shape = Shape.of(arguments)
    starts, kept = offsets_of(shape.traced_numbers()), {}
    for name, size in shape.traced().items():
        kept[name] = results.traced.narrow(0, starts[name], math.prod(size)).view(size)
    slots, reads = shape.memory_size, settings.num_read_heads
    heads, written, words = settings.num_heads, settings.num_write_heads, settings.word_size
    steps, rows = shape.steps, shape.rows
    parts = kept["parameters"].split(settings.head_sizes, -1)
    key = parts[0].view(steps, rows, heads, words)
    location = (None, None, None)
    if settings.addressing == "content_and_location":
        location = (parts[2], parts[3].view(steps, rows, heads, -1), parts[4])
    fields = (key, parts[1], *location, kept["content"][..., :slots], kept["weights"][..., :slots])
    read = HeadTrace(*(None if field is None else field[:, :, :reads] for field in fields))  # type: ignore[arg-type]
    write = HeadTrace(*(None if field is None else field[:, :, reads:] for field in fields))  # type: ignore[arg-type]
    erase, add = (part.view(steps, rows, written, words) for part in parts[-2:])
    read_vectors = results.output[..., -reads * words :].view(steps, rows, reads, words)
    return Trace(read, write, erase, add, read_vectors, kept["memories"][1:, ..., :slots].mT)
