"""What `fused.py` of every machine does around its op: packs the weights, decides how much is kept."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from tapehead.backends import is_tracing
from tapehead.ops.controller import ControllerParameters, FeedForwardLayer, LSTMLayer
from tapehead.ops.custom import SequenceOp, is_plain
from tapehead.ops.shapes import offsets_of

__all__ = ["chosen_every", "run", "views"]

USUAL_CHECKPOINT = 4
"""Steps from one M_t that is kept for the backward to the next: writing three again costs less than keeping them."""

MEMORY_LIMIT = 256 * 2**20
"""Bytes of M_t kept so; above it, unless told otherwise, a call keeps every sqrt(T)-th."""


def run(
    op: SequenceOp,
    input: Tensor,
    state: Any,
    controller: ControllerParameters,
    heads: tuple[Tensor, Tensor],
    sizes: tuple[int, ...],
    *,
    lengths: Tensor | None,
    trace: bool,
    checkpoint_every: int | None,
) -> tuple[Any, Any]:
    """Call a machine's op with what its sequence is given; the op's arguments and results."""
    # No slice, `_make` or `_replace` of a named tuple on the way to the op: the compiler of torch 2.6 traces none.
    tensors = (input, *tuple(state)[:4], *(state.controller or (None, None)), *_weights(controller), *heads)
    save = trace
    if not trace and (torch.is_grad_enabled() or is_tracing()):  # what is traced may run with gradients later
        save = any(tensor is not None and tensor.requires_grad for tensor in chain(tensors[7:], tensors[:7]))
    every = 1 if trace else chosen_every(input, state.memory, checkpoint_every)
    lengths = None if lengths is None else lengths.to(torch.int64)
    arguments = op.arguments(*tensors, lengths, sizes, every, save, trace)
    return arguments, op.results(*(op.run_plain if is_plain(input) else op.forward)(*arguments))


def views(kept: Tensor, shapes: dict[str, tuple[int, ...]], numbers: dict[str, int]) -> dict[str, Tensor]:
    """Arrays with these shapes, of a piece of memory that holds arrays of these `numbers`."""
    starts = offsets_of(numbers)
    return {name: kept.narrow(0, starts[name], math.prod(size)).view(size) for name, size in shapes.items()}


def chosen_every(input: Tensor, memory: Tensor, wish: int | None) -> int:
    """How many steps from one M_t that is kept to the next."""
    steps = input.shape[0]
    if wish is None:
        needed = steps * memory.numel() * memory.element_size() // USUAL_CHECKPOINT
        wish = USUAL_CHECKPOINT if needed <= MEMORY_LIMIT else max(USUAL_CHECKPOINT, math.isqrt(steps))
    return min(wish, steps)


def _weights(parameters: ControllerParameters) -> tuple[Tensor | None, ...]:
    """The controller's parameters as the op takes them; all layers above the lowest in one tensor."""
    lowest, *upper = parameters.layers
    weight_hidden = lowest.weight_hidden if isinstance(lowest, LSTMLayer) else None
    upper_weight = upper_bias = None
    if upper:
        upper_weight = torch.stack([_joined(layer) for layer in upper])
        upper_bias = torch.stack([layer.bias for layer in upper])
    return lowest.weight_input, lowest.bias, parameters.weight_reads, weight_hidden, upper_weight, upper_bias


def _joined(layer: LSTMLayer | FeedForwardLayer) -> Tensor:
    if isinstance(layer, LSTMLayer):
        return torch.cat([layer.weight_input, layer.weight_hidden], 1)
    return layer.weight_input
