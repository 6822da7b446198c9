"""What a layer can show of a run: every internal of every step.

Letters: **B** batch, **T** time, **N** memory slots, **M** word size, **R** read heads, **W** write heads,
**S** = 2 max_shift + 1 shift offsets. A trace of an unbatched run has no B.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from tapehead.states import register_with_torch

__all__ = ["HeadTrace", "MANNTrace", "Trace", "WriteTrace"]


class HeadTrace(NamedTuple):
    """What the read heads, or the write heads, emitted and where they pointed, at every step: part of a trace.

    With `addressing="content"`, as in a MANN, a head has no gate, shift or gamma: those fields are None.
    """

    key: Tensor
    """(T, B, heads, M), k_t"""
    key_strength: Tensor
    """(T, B, heads), beta_t >= 0"""
    interpolation_gate: Tensor | None
    """(T, B, heads), g_t in 0..1; 1 = content, 0 = previous weights"""
    shift_weights: Tensor | None
    """(T, B, heads, S), s_t; entry j is offset j - max_shift"""
    gamma: Tensor | None
    """(T, B, heads), gamma_t >= 1"""
    content_weights: Tensor
    """(T, B, heads, N), w^c_t"""
    weights: Tensor
    """(T, B, heads, N), w_t"""


class WriteTrace(NamedTuple):
    """Where the heads of a MANN wrote, and why, at every step: part of a `MANNTrace`."""

    write_gate: Tensor
    """(T, B, R), sigma(alpha) in 0..1; 1 = where it last read, 0 = the least used slot"""
    least_used_weights: Tensor
    """(T, B, R, N), w^lu_{t-1}: 1 at the slots that were the least used, where the head may write"""
    weights: Tensor
    """(T, B, R, N), w^w_t"""


class Trace(NamedTuple):
    """Every internal of an NTM's run, step by step, as `NTM.trace` returns it. Steps past a row's length are zero.

    >>> import torch, tapehead
    >>> output, state, trace = tapehead.NTM(9, 16, memory_size=32).trace(torch.randn(12, 4, 9))
    >>> written_most = trace.write.weights.argmax(-1)  # the slot, of every step, row and write head
    >>> written_most.shape
    torch.Size([12, 4, 1])
    """

    read: HeadTrace
    """of the R read heads"""
    write: HeadTrace
    """of the W write heads"""
    erase: Tensor
    """(T, B, W, M), e_t in 0..1"""
    add: Tensor
    """(T, B, W, M), a_t"""
    reads: Tensor
    """(T, B, R, M), r_t"""
    memory: Tensor
    """(T, B, N, M), M_t after the step's write"""


class MANNTrace(NamedTuple):
    """Every internal of a MANN's run, step by step, as `MANN.trace` returns it. Steps past a row's length are zero.

    >>> import torch, tapehead
    >>> output, state, trace = tapehead.MANN(9, 16, memory_size=32).trace(torch.randn(12, 4, 9))
    >>> trace.write.write_gate.shape, trace.usage.shape
    (torch.Size([12, 4, 4]), torch.Size([12, 4, 32]))
    """

    read: HeadTrace
    """of the R heads, reading"""
    write: WriteTrace
    """of the same heads, writing"""
    add: Tensor
    """(T, B, R, M), a_t: with `write="key"` the keys"""
    usage: Tensor
    """(T, B, N), w^u_t"""
    reads: Tensor
    """(T, B, R, M), r_t"""
    memory: Tensor
    """(T, B, N, M), M_t after the step's write"""


register_with_torch(HeadTrace, WriteTrace, Trace, MANNTrace)
