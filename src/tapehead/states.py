"""What a layer hands from one step, or one call, to the next; and what it can show of a run.

States are data: immutable named tuples of tensors that go in and come out. Nothing recurrent lives on a module, so a
state can be kept, detached, indexed, sent to another device or thrown away by whoever holds it. Nobody may write into
their tensors: they may be rows of one parameter, or what a backward has yet to read. `_replace` makes another state.

Letters: **B** batch, **T** time, **H** hidden size, **N** memory slots, **M** word size, **R** read heads,
**W** write heads, **S** = 2 max_shift + 1 shift offsets, **L** controller layers. An unbatched state has no B.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

__all__ = ["HeadTrace", "LSTMState", "MANNState", "MANNTrace", "NTMState", "Trace", "WriteTrace", "map_tensors"]

Nested = TypeVar("Nested")


def map_tensors(function: Callable[[Tensor], Tensor], nested: Nested) -> Nested:
    """Apply a function to every tensor of nested tuples, keeping their types; None stays None.

    Raises:
        TypeError: something else than tensors, None, and tuples and lists of them.

    >>> import torch
    >>> map_tensors(lambda tensor: tensor * 2, LSTMState(torch.ones(1), torch.zeros(1)))
    LSTMState(hidden=tensor([2.]), cell=tensor([0.]))
    """
    if nested is None:
        return nested
    if isinstance(nested, Tensor):
        return function(nested)  # type: ignore[return-value]
    if not isinstance(nested, (tuple, list)):
        raise TypeError(
            f"map_tensors: expected tensors, None, and tuples and lists of them, got {type(nested).__name__}."
        )
    values: list[Any] = [map_tensors(function, value) for value in nested]
    if hasattr(nested, "_fields"):
        return type(nested)(*values)
    return type(nested)(values)


class LSTMState(NamedTuple):
    """State of an LSTM, in the layout of `torch.nn.LSTM`.

    `LSTM` returns one and takes one, `LSTM.initial_state` makes one, and one is the `controller` of other states.

    >>> import torch, tapehead
    >>> layer = tapehead.LSTM(9, 16)
    >>> output, state = layer(torch.randn(12, 4, 9))
    >>> output, state = layer(torch.randn(5, 4, 9), state.detach())  # the sequence goes on
    >>> state.hidden.shape
    torch.Size([1, 4, 16])
    """

    hidden: Tensor
    """(L, B, H)"""
    cell: Tensor
    """(L, B, H)"""

    def detach(self) -> LSTMState:
        """The same numbers, cut from the graph: what truncated back-propagation hands on."""
        return map_tensors(Tensor.detach, self)

    def add_batch(self) -> LSTMState:
        """(L, H) -> (L, 1, H)."""
        return LSTMState(self.hidden.unsqueeze(1), self.cell.unsqueeze(1))

    def remove_batch(self) -> LSTMState:
        """(L, 1, H) -> (L, H).

        Raises:
            ValueError: the batch is not of 1.
        """
        _check_one_row(self, self.hidden, 1)
        return LSTMState(self.hidden.squeeze(1), self.cell.squeeze(1))


class NTMState(NamedTuple):
    """State of a Neural Turing Machine.

    `NTM` and `NTMCell` return one and take one, their `initial_state` makes one.

    >>> import torch, tapehead
    >>> layer = tapehead.NTM(9, 16, memory_size=32, word_size=8)
    >>> output, state = layer(torch.randn(12, 4, 9))
    >>> output, state = layer(torch.randn(5, 4, 9), state.detach())  # the sequence goes on
    >>> wiped = state._replace(memory=torch.full_like(state.memory, 1e-6))
    >>> wiped.memory.shape, wiped.controller.hidden.shape
    (torch.Size([4, 32, 8]), torch.Size([1, 4, 16]))
    """

    memory: Tensor
    """(B, N, M), M_t"""
    read_weights: Tensor
    """(B, R, N), each head a distribution over the slots, w_t"""
    write_weights: Tensor
    """(B, W, N), likewise"""
    reads: Tensor
    """(B, R, M), r_t: what the read heads read last, part of the controller's next input"""
    controller: LSTMState | None
    """State of an LSTM controller; None with a feed-forward controller, which has none"""

    def detach(self) -> NTMState:
        """The same numbers, cut from the graph: what truncated back-propagation hands on."""
        return map_tensors(Tensor.detach, self)

    def add_batch(self) -> NTMState:
        """Add a batch dimension of 1 to every tensor."""
        return _add_batch(self)

    def remove_batch(self) -> NTMState:
        """Remove the batch dimension of 1 from every tensor.

        Raises:
            ValueError: the batch is not of 1.
        """
        return _remove_batch(self)


class MANNState(NamedTuple):
    """State of a memory-augmented network with least-recently-used access.

    `MANN` and `MANNCell` return one and take one, their `initial_state` makes one.

    >>> import torch, tapehead
    >>> layer = tapehead.MANN(9, 16, memory_size=32)
    >>> output, state = layer(torch.randn(12, 4, 9))
    >>> output, state = layer(torch.randn(5, 4, 9), state.detach())  # the sequence goes on
    >>> state.usage.shape
    torch.Size([4, 32])
    """

    memory: Tensor
    """(B, N, M), M_t"""
    read_weights: Tensor
    """(B, R, N), each head a distribution over the slots, w^r_t"""
    usage: Tensor
    """(B, N), w^u_t: what was read from and written to each slot, fading. It has no gradient"""
    reads: Tensor
    """(B, R, M), r_t: what the heads read last, part of the controller's next input"""
    controller: LSTMState | None
    """State of an LSTM controller; None with a feed-forward controller, which has none"""

    def detach(self) -> MANNState:
        """The same numbers, cut from the graph: what truncated back-propagation hands on."""
        return map_tensors(Tensor.detach, self)

    def add_batch(self) -> MANNState:
        """Add a batch dimension of 1 to every tensor."""
        return _add_batch(self)

    def remove_batch(self) -> MANNState:
        """Remove the batch dimension of 1 from every tensor.

        Raises:
            ValueError: the batch is not of 1.
        """
        return _remove_batch(self)


def _add_batch(state: Any) -> Any:
    controller = None if state.controller is None else state.controller.add_batch()
    rest = map_tensors(lambda tensor: tensor.unsqueeze(0), state._replace(controller=None))
    return rest._replace(controller=controller)


def _check_one_row(state: Any, tensor: Tensor, dim: int) -> None:
    if tensor.shape[dim] != 1:
        raise ValueError(
            f"{type(state).__name__}.remove_batch: expected a batch of 1, got {tensor.shape[dim]} rows. Take the row "
            "that you want of every tensor, as [:1] of the batch dimension, first."
        )


def _remove_batch(state: Any) -> Any:
    _check_one_row(state, state.memory, 0)
    controller = None if state.controller is None else state.controller.remove_batch()
    rest = map_tensors(lambda tensor: tensor.squeeze(0), state._replace(controller=None))
    return rest._replace(controller=controller)


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
