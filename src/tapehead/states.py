"""What a layer hands from one step, or one call, to the next.

States are data: immutable named tuples of tensors that go in and come out. Nothing recurrent lives on a module, so a
state can be kept, detached, indexed, sent to another device or thrown away by whoever holds it. Nobody may write into
their tensors: they may be rows of one parameter, or what a backward has yet to read. `_replace` makes another state.

Letters: **B** batch, **T** time, **H** hidden size, **N** memory slots, **M** word size, **R** read heads,
**W** write heads, **L** controller layers. An unbatched state has no B.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

__all__ = ["LSTMState", "MANNState", "NTMState", "concatenate_rows", "map_tensors"]

Nested = TypeVar("Nested")
State = TypeVar("State", "LSTMState", "NTMState", "MANNState")
Rows = slice | Sequence[int] | Tensor
"""Rows of a batch: a slice, their numbers, or a tensor of numbers or of a truth value for each row."""


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

    def to(self, target: torch.device | str | torch.dtype) -> LSTMState:
        """The same state on another device, or of another dtype, as `torch.Tensor.to` makes it."""
        return map_tensors(lambda tensor: tensor.to(target), self)

    def rows(self, rows: Rows) -> LSTMState:
        """Some rows of the batch, as a batch of their own: `state.rows([0, 2])`, `state.rows(slice(1, 2))`.

        Args:
            rows: a slice, a sequence or tensor of their numbers, or a tensor (B,) of bool

        Raises:
            TypeError: `rows` is neither a slice nor a sequence nor a tensor.
            ValueError: the state has no batch, or `rows` not one dimension.
            IndexError: there is no such row.
        """
        return _select_rows(self, rows)

    def replace_rows(self, rows: Tensor, other: LSTMState) -> LSTMState:
        """Take rows from another state, and keep the rest: what starts a new episode in the rows whose last one ended.

        Args:
            rows: (B,) of bool, True where `other` is taken
            other: a state with as many rows, or with one, which then serves for all

        Raises:
            TypeError: `rows` is no tensor of bool, or `other` no state of this kind.
            ValueError: the state has no batch, or shapes do not fit.
        """
        return _replace_rows(self, rows, other)

    def add_batch(self) -> LSTMState:
        """(L, H) -> (L, 1, H)."""
        return _add_batch(self)

    def remove_batch(self) -> LSTMState:
        """(L, 1, H) -> (L, H).

        Raises:
            ValueError: the batch is not of 1.
        """
        return _remove_batch(self)


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

    def to(self, target: torch.device | str | torch.dtype) -> NTMState:
        """The same state on another device, or of another dtype, as `torch.Tensor.to` makes it."""
        return map_tensors(lambda tensor: tensor.to(target), self)

    def rows(self, rows: Rows) -> NTMState:
        """Some rows of the batch, as a batch of their own: `state.rows([0, 2])`, `state.rows(slice(1, 2))`.

        Args:
            rows: a slice, a sequence or tensor of their numbers, or a tensor (B,) of bool

        Raises:
            TypeError: `rows` is neither a slice nor a sequence nor a tensor.
            ValueError: the state has no batch, or `rows` not one dimension.
            IndexError: there is no such row.
        """
        return _select_rows(self, rows)

    def replace_rows(self, rows: Tensor, other: NTMState) -> NTMState:
        """Take rows from another state, and keep the rest: what starts a new episode in the rows whose last one ended.

        Args:
            rows: (B,) of bool, True where `other` is taken
            other: a state with as many rows, or with one, which then serves for all

        Raises:
            TypeError: `rows` is no tensor of bool, or `other` no state of this kind.
            ValueError: the state has no batch, or shapes do not fit.
        """
        return _replace_rows(self, rows, other)

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

    def to(self, target: torch.device | str | torch.dtype) -> MANNState:
        """The same state on another device, or of another dtype, as `torch.Tensor.to` makes it."""
        return map_tensors(lambda tensor: tensor.to(target), self)

    def rows(self, rows: Rows) -> MANNState:
        """Some rows of the batch, as a batch of their own: `state.rows([0, 2])`, `state.rows(slice(1, 2))`.

        Args:
            rows: a slice, a sequence or tensor of their numbers, or a tensor (B,) of bool

        Raises:
            TypeError: `rows` is neither a slice nor a sequence nor a tensor.
            ValueError: the state has no batch, or `rows` not one dimension.
            IndexError: there is no such row.
        """
        return _select_rows(self, rows)

    def replace_rows(self, rows: Tensor, other: MANNState) -> MANNState:
        """Take rows from another state, and keep the rest: what starts a new episode in the rows whose last one ended.

        Args:
            rows: (B,) of bool, True where `other` is taken
            other: a state with as many rows, or with one, which then serves for all

        Raises:
            TypeError: `rows` is no tensor of bool, or `other` no state of this kind.
            ValueError: the state has no batch, or shapes do not fit.
        """
        return _replace_rows(self, rows, other)

    def add_batch(self) -> MANNState:
        """Add a batch dimension of 1 to every tensor."""
        return _add_batch(self)

    def remove_batch(self) -> MANNState:
        """Remove the batch dimension of 1 from every tensor.

        Raises:
            ValueError: the batch is not of 1.
        """
        return _remove_batch(self)


def concatenate_rows(states: Iterable[State]) -> State:
    """One batch of the rows of several states of a kind: what takes states out of a replay buffer.

    Raises:
        ValueError: there are none, one has no batch, or their shapes do not fit.
        TypeError: they are not states, or not of one kind.

    >>> import torch, tapehead
    >>> layer = tapehead.NTM(9, 16, memory_size=32, word_size=8)
    >>> _, state = layer(torch.randn(12, 4, 9))
    >>> kept = [state.rows([row]).detach() for row in range(4)]
    >>> concatenate_rows([kept[2], kept[0]]).memory.shape
    torch.Size([2, 32, 8])
    """
    found: list[Any] = [*states]
    if not found:
        raise ValueError("concatenate_rows: expected one state or more, got none.")
    for state in found:
        if type(state) is not type(found[0]) or not isinstance(state, (LSTMState, NTMState, MANNState)):
            raise TypeError(
                "concatenate_rows: expected states of one kind, got "
                + ", ".join(sorted({type(state).__name__ for state in found}))
                + "."
            )
        _rows_of("concatenate_rows", state)

    def concatenate(tensors: Sequence[Tensor], dim: int) -> Tensor:
        shapes = [tuple(tensor.shape) for tensor in tensors]
        if len({shape[:dim] + shape[dim + 1 :] for shape in shapes}) > 1:
            raise ValueError(f"concatenate_rows: expected states of the same sizes, got {', '.join(map(str, shapes))}.")
        return torch.cat(list(tensors), dim)

    made: State = _map_rows(concatenate, *found)
    return made


def _map_rows(function: Callable[[Sequence[Tensor], int], Tensor], *states: Any) -> Any:
    """Apply a function to the same tensor of each state, and the dimension that is its batch."""
    first = states[0]
    if isinstance(first, LSTMState):
        return LSTMState(*(function(tensors, 1) for tensors in zip(*states, strict=True)))
    controllers = [state.controller for state in states]
    if len({controller is None for controller in controllers}) > 1:
        raise ValueError(f"{type(first).__name__}: expected states with LSTM controllers, or states without, got both.")
    tensors = zip(*(state[:4] for state in states), strict=True)
    controller = None if first.controller is None else _map_rows(function, *controllers)
    return type(first)(*(function(each, 0) for each in tensors), controller)


def _rows_of(owner: str, state: Any) -> int:
    """How many rows the batch of a state has; raises where it has no batch."""
    tensor, dim = (state.hidden, 1) if isinstance(state, LSTMState) else (state.memory, 0)
    if tensor.dim() != 3:
        raise ValueError(f"{owner}: expected a state with a batch, got one without. `add_batch` gives it a batch of 1.")
    return int(tensor.shape[dim])


def _select_rows(state: Any, rows: Rows) -> Any:
    _rows_of(f"{type(state).__name__}.rows", state)
    owner = f"{type(state).__name__}.rows"
    if not isinstance(rows, (slice, Tensor)):
        if not isinstance(rows, Iterable) or isinstance(rows, str):
            raise TypeError(
                f"{owner}: expected a slice, a sequence of numbers or a tensor, got {rows!r}. One row is `rows([0])`."
            )
        numbers = list(rows)
        rows = torch.tensor(numbers, dtype=None if numbers else torch.int64, device=state[0].device)
    if isinstance(rows, Tensor) and rows.dim() != 1:
        raise ValueError(f"{owner}: expected rows (K,), one dimension, got {tuple(rows.shape)}.")
    if isinstance(rows, Tensor) and not rows.is_floating_point() and rows.dtype != torch.bool:
        rows = rows.to(torch.int64)  # torch takes numbers of uint8 for truth values, and none of 16 bits
    return _map_rows(lambda tensors, dim: tensors[0][(slice(None),) * dim + (rows,)], state)


def _replace_rows(state: Any, rows: Tensor, other: Any) -> Any:
    owner = f"{type(state).__name__}.replace_rows"
    if not isinstance(rows, Tensor) or rows.dtype != torch.bool:
        got = f"a tensor of {rows.dtype}" if isinstance(rows, Tensor) else type(rows).__name__
        raise TypeError(f"{owner}: expected rows as a tensor of torch.bool, got {got}.")
    if type(other) is not type(state):
        raise TypeError(f"{owner}: expected another {type(state).__name__}, got {type(other).__name__}.")
    count, others = _rows_of(owner, state), _rows_of(owner, other)
    if rows.shape != (count,):
        raise ValueError(f"{owner}: expected rows ({count},), one for each of the state, got {tuple(rows.shape)}.")
    if others not in (1, count):
        raise ValueError(f"{owner}: expected a state of {count} rows, or of one, got one of {others}.")

    def choose(tensors: Sequence[Tensor], dim: int) -> Tensor:
        old, new = tensors
        if old.shape[:dim] + old.shape[dim + 1 :] != new.shape[:dim] + new.shape[dim + 1 :]:
            raise ValueError(f"{owner}: expected rows like {tuple(old.shape)}, got {tuple(new.shape)}.")
        return torch.where(rows.view([-1 if index == dim else 1 for index in range(old.dim())]), new, old)

    return _map_rows(choose, state, other)


def _add_batch(state: Any) -> Any:
    return _map_rows(lambda tensors, dim: tensors[0].unsqueeze(dim), state)


def _remove_batch(state: Any) -> Any:
    tensor, dim = (state.hidden, 1) if isinstance(state, LSTMState) else (state.memory, 0)
    if tensor.shape[dim] != 1:
        raise ValueError(
            f"{type(state).__name__}.remove_batch: expected a batch of 1, got {tensor.shape[dim]} rows. Take the row "
            "that you want, as `state.rows([0])`, first."
        )
    return _map_rows(lambda tensors, dim: tensors[0].squeeze(dim), state)


def register_with_torch(*kinds: type) -> None:
    """Let `torch.load` make named tuples of these classes, and `torch.export.save` write them, without more ado."""
    torch.serialization.add_safe_globals(list(kinds))
    register = getattr(pytree, "_register_namedtuple", None)  # not part of torch's public interface
    if register is not None:
        for kind in kinds:
            register(kind, serialized_type_name=f"tapehead.{kind.__name__}")


register_with_torch(LSTMState, NTMState, MANNState)
