"""The MANN over a whole sequence in one call of a kernel: the same function as `reference.sequence`, but faster."""

from __future__ import annotations

import torch
from torch import Tensor

from tapehead.ops.mann import cpu, cuda  # noqa: F401  (they register their kernels)
from tapehead.ops.mann.op import OP, Arguments, Results
from tapehead.ops.mann.parameters import MANNParameters, MANNSettings
from tapehead.ops.mann.shapes import Shape, Sizes
from tapehead.ops.packing import run, views
from tapehead.states import LSTMState, MANNState
from tapehead.traces import HeadTrace, MANNTrace, WriteTrace

__all__ = ["sequence"]


def sequence(
    input: Tensor,
    state: MANNState,
    parameters: MANNParameters,
    settings: MANNSettings,
    *,
    lengths: Tensor | None = None,
    trace: bool = False,
    checkpoint_every: int | None = None,
) -> tuple[Tensor, MANNState, MANNTrace | None]:
    """Run a MANN over a sequence; see `tapehead.ops.mann.sequence`."""
    arguments, results = run(
        OP,
        input,
        state,
        parameters.controller,
        parameters.heads,
        Sizes.of(settings),
        lengths=lengths,
        trace=trace,
        checkpoint_every=checkpoint_every,
    )
    controller = None if state.controller is None else LSTMState(results.hidden, results.cell)
    new_state = MANNState(results.memory, results.read_weights, results.usage, results.reads, controller)
    return results.output, new_state, _trace(arguments, results, settings) if trace else None


def _trace(arguments: Arguments, results: Results, settings: MANNSettings) -> MANNTrace:
    """What the kernel keeps at every step: views, but for the least used slots, which it keeps as numbers."""
    shape = Shape.of(arguments)
    kept = views(results.traced, shape.traced(), shape.traced_numbers())
    noted = views(results.internals, shape.noted(), shape.internals(1, save=True, trace=True))
    slots, heads = shape.memory_size, settings.num_read_heads
    words = (shape.steps, shape.rows, heads, shape.word_size)
    parts = kept["parameters"].split(settings.head_sizes, -1)
    key, weights = parts[0].view(words), kept["weights"][..., :slots]
    strength = parts[1]
    if settings.key_strength == "one":
        active = (noted["unused"][..., :1] >= 0).to(key.dtype)
        strength = active.expand(-1, -1, heads).contiguous()
    read = HeadTrace(key, strength, None, None, None, weights, weights)
    add = parts[3].view(words) if settings.write == "add" else key
    write = WriteTrace(parts[2], _own(noted["unused"], slots, settings), kept["written"][..., :slots])
    read_vectors = results.output[..., -heads * shape.word_size :].view(words)
    return MANNTrace(read, write, add, noted["usages"][..., :slots], read_vectors, kept["memories"][1:, ..., :slots].mT)


def _own(unused: Tensor, slots: int, settings: MANNSettings) -> Tensor:
    """The slots (T, B, C) that were the least used, as weights of each head; no slot past a row's length."""
    numbers = torch.arange(slots, device=unused.device, dtype=unused.dtype)
    chosen = (unused.unsqueeze(-1) == numbers).to(unused.dtype)
    if settings.least_used == "all":
        chosen = chosen.sum(2, keepdim=True)
    return chosen.expand(-1, -1, settings.num_read_heads, -1)
