"""The NTM over a whole sequence in one call of a kernel; the same function as `reference.sequence`, and much faster."""

from __future__ import annotations

from torch import Tensor

from tapehead.ops.ntm import cpu, cuda  # noqa: F401  (they register their kernels)
from tapehead.ops.ntm.op import OP, Arguments, Results
from tapehead.ops.ntm.parameters import NTMParameters, NTMSettings
from tapehead.ops.ntm.shapes import Shape, Sizes
from tapehead.ops.packing import run, views
from tapehead.states import LSTMState, NTMState
from tapehead.traces import HeadTrace, Trace

__all__ = ["sequence"]


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
    new_state = NTMState(results.memory, results.read_weights, results.write_weights, results.reads, controller)
    return results.output, new_state, _trace(arguments, results, settings) if trace else None


def _trace(arguments: Arguments, results: Results, settings: NTMSettings) -> Trace:
    """Views of what the kernel keeps at every step."""
    shape = Shape.of(arguments)
    kept = views(results.traced, shape.traced(), shape.traced_numbers())
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
