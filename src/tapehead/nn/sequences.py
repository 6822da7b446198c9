"""The forms in which a layer takes a sequence, and gives it back: with or without batch, either order, packed, ragged.

Every layer works on (T, B, D) with optional lengths (B,). `open_sequence` brings what a user hands over into that
form, checked; the `Opened` it returns brings results back into the user's form.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch._subclasses import FakeTensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from tapehead.nn.checks import check_tensor
from tapehead.nn.precision import own_dtype, under_autocast
from tapehead.states import map_tensors

__all__ = ["Opened", "open_sequence"]

Nested = TypeVar("Nested")


class Opened(NamedTuple):
    """A sequence in the form layers compute with, and what its own form was."""

    input: Tensor
    """(T, B, D)"""
    lengths: Tensor | None
    """(B,) integers in 0..T, on the input's device"""
    batched: bool
    batch_first: bool
    packed: PackedSequence | None

    def close(self, output: Tensor) -> Tensor | PackedSequence:
        """Bring (T, B, ...) into the form of the user's input."""
        if self.packed is not None:
            assert self.lengths is not None
            lengths = self.lengths.cpu()
            order = self.packed.sorted_indices
            if order is not None:
                output, lengths = output.index_select(1, order), lengths[order.cpu()]
            data = pack_padded_sequence(output, lengths).data
            return PackedSequence(data, self.packed.batch_sizes, order, self.packed.unsorted_indices)
        return self.close_padded(output)

    def close_padded(self, nested: Nested) -> Nested:
        """The same for every tensor of nested tuples, padded where the input was packed."""
        if not self.batched:
            return map_tensors(lambda tensor: tensor.squeeze(1), nested)
        if self.batch_first and self.packed is None:
            return map_tensors(lambda tensor: tensor.transpose(0, 1), nested)
        return nested


def open_sequence(
    owner: str,
    input: Tensor | PackedSequence,
    lengths: Tensor | None,
    *,
    input_size: int,
    batch_first: bool,
    like: Tensor,
) -> Opened:
    """Check a sequence and bring it into the form (T, B, D).

    Args:
        owner: the layer's name, for messages
        input: (T, B, D), (B, T, D) with `batch_first`, (T, D) unbatched, or a PackedSequence
        lengths: (B,), () for an unbatched input, or None; with a PackedSequence always None
        input_size: D
        batch_first: whether a batched input comes as (B, T, D)
        like: a parameter of the layer

    Raises:
        TypeError: something is not a tensor of the right kind.
        ValueError: a shape, dtype, device or length does not fit.
    """
    if not isinstance(input, (Tensor, PackedSequence)):
        raise TypeError(f"{owner}: expected input to be a Tensor or a PackedSequence, got {type(input).__name__}.")
    if under_autocast(like):  # what comes from other layers is in autocast's dtype, but recurrences are not
        if isinstance(input, PackedSequence):
            input = input._replace(data=own_dtype(input.data, like))
        input = own_dtype(input, like)
    if isinstance(input, PackedSequence):
        if lengths is not None:
            raise ValueError(
                f"{owner}: expected no lengths with a PackedSequence, which brings its own, got "
                f"{type(lengths).__name__}. Leave lengths out."
            )
        check_tensor(owner, "the data of the PackedSequence", input.data, ("steps", input_size), like)
        padded, packed_lengths = pad_packed_sequence(input)
        return Opened(padded, packed_lengths.to(padded.device), True, batch_first, input)
    batched = input.dim() != 2
    shape = (("B", "T") if batch_first else ("T", "B")) if batched else ("T",)
    check_tensor(owner, "input", input, (*shape, input_size), like)
    if not batched:
        input = input.unsqueeze(1)
        lengths = lengths.unsqueeze(0) if isinstance(lengths, Tensor) and lengths.dim() == 0 else lengths
    elif batch_first:
        input = input.transpose(0, 1)
    steps, batch_size = input.shape[:2]
    if steps == 0 or batch_size == 0:
        raise ValueError(f"{owner}: expected at least one step and one row, got T={steps}, B={batch_size}.")
    if lengths is not None:
        lengths = _check_lengths(owner, lengths, batch_size, steps, input.device)
        # What pads a row may be anything, NaN as well: it must reach neither the output nor, as 0 * NaN, a gradient.
        past_end = torch.arange(steps, device=input.device).unsqueeze(1) >= lengths
        input = input.masked_fill(past_end.unsqueeze(-1), 0)
    return Opened(input, lengths, batched, batch_first, None)


def _check_lengths(owner: str, lengths: Tensor, batch_size: int, steps: int, device: torch.device) -> Tensor:
    if not isinstance(lengths, Tensor):
        raise TypeError(f"{owner}: expected lengths to be a Tensor ({batch_size},), got {type(lengths).__name__}.")
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise TypeError(f"{owner}: expected lengths of an integer dtype, got {lengths.dtype}.")
    if tuple(lengths.shape) != (batch_size,):
        raise ValueError(f"{owner}: expected lengths ({batch_size},), one a row, got {tuple(lengths.shape)}.")
    lengths = lengths.to(torch.int64)
    if _can_be_read(lengths):
        low, high = (int(bound) for bound in _whole(lengths).aminmax())
        if low < 0 or high > steps:
            raise ValueError(f"{owner}: expected lengths in 0..{steps}, the steps of the input, got {low}..{high}.")
    return lengths.to(device)


def _can_be_read(lengths: Tensor) -> bool:
    """Whether there are values to look at: not for a compiler, nor while a CUDA graph records, which cannot wait."""
    if torch.compiler.is_compiling():
        return False
    if lengths.is_meta or isinstance(_whole(lengths), FakeTensor):
        return False
    return not (lengths.is_cuda and torch.cuda.is_current_stream_capturing())


def _whole(tensor: Tensor) -> Tensor:
    """All values of a tensor, whatever transforms of torch.func wrap it."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor
