"""The Neural Turing Machine of Graves, Wayne and Danihelka (2014, arXiv 1410.5401): a cell, and a layer over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tapehead import backends
from tapehead.nn.controller import ControllerKind
from tapehead.nn.initial import Initial
from tapehead.nn.ntm_cell import NTMCell
from tapehead.nn.recurrent import run_sequence
from tapehead.ops.ntm.parameters import Activation, Addressing, Order
from tapehead.states import NTMState, Trace

__all__ = ["NTM"]


class NTM(nn.Module):
    """A Neural Turing Machine over a whole sequence, used like `torch.nn.LSTM`.

    Takes the arguments of `NTMCell`, which it holds as `cell`, and `batch_first`.

    Args:
        batch_first: batched input and output are (B, T, ...) instead of (T, B, ...), in traces as well; states are not
            affected

    Shape:
        input: (T, B, D), with `batch_first` (B, T, D), unbatched (T, D), or a `PackedSequence`
        lengths: (B,) integers in 0..T: past its length a row's output is zero, and its state is that of its last step
        output: (T, B, H + R*M) in the form of the input; `output_size` wide

    Differs from the paper, Raises: see `NTMCell`.

    >>> layer = NTM(input_size=9, hidden_size=100, memory_size=64)
    >>> output, state = layer(torch.randn(12, 4, 9), lengths=torch.tensor([12, 7, 3, 1]))
    >>> output.shape, layer.output_size
    (torch.Size([12, 4, 120]), 120)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        memory_size: int = 128,
        word_size: int = 20,
        num_read_heads: int = 1,
        num_write_heads: int = 1,
        max_shift: int = 1,
        addressing: Addressing = "content_and_location",
        order: Order = "read_write",
        key_activation: Activation = "linear",
        add_activation: Activation = "linear",
        controller: ControllerKind = "lstm",
        num_layers: int = 1,
        key_strength_bias: float = 0.0,
        read_interpolation_bias: float = 0.0,
        write_interpolation_bias: float = 0.0,
        read_shift_bias: Sequence[float] | None = None,
        write_shift_bias: Sequence[float] | None = None,
        initial: Initial | None = None,
        batch_first: bool = False,
        backend: backends.Backend = "auto",
        checkpoint_every: int | None = None,
        gradient_limit: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.cell = NTMCell(
            input_size,
            hidden_size,
            memory_size=memory_size,
            word_size=word_size,
            num_read_heads=num_read_heads,
            num_write_heads=num_write_heads,
            max_shift=max_shift,
            addressing=addressing,
            order=order,
            key_activation=key_activation,
            add_activation=add_activation,
            controller=controller,
            num_layers=num_layers,
            key_strength_bias=key_strength_bias,
            read_interpolation_bias=read_interpolation_bias,
            write_interpolation_bias=write_interpolation_bias,
            read_shift_bias=read_shift_bias,
            write_shift_bias=write_shift_bias,
            initial=initial,
            backend=backend,
            checkpoint_every=checkpoint_every,
            gradient_limit=gradient_limit,
            device=device,
            dtype=dtype,
        )
        self.batch_first = batch_first

    @property
    def input_size(self) -> int:
        """D, width of the input."""
        return self.cell.input_size

    @property
    def output_size(self) -> int:
        """H + R*M, width of the output."""
        return self.cell.output_size

    @property
    def memory_size(self) -> int:
        """N, slots of the memory a sequence starts with unless its state says otherwise."""
        return self.cell.memory_size

    def arguments(self) -> dict[str, Any]:
        """What makes another of these: the constructor's arguments, all but device and dtype."""
        return {**self.cell.arguments(), "batch_first": self.batch_first}

    def extra_repr(self) -> str:
        return f"batch_first={self.batch_first}"

    def forward(
        self,
        input: Tensor | PackedSequence,
        state: NTMState | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, NTMState]:
        """Run a sequence: the output of every step, and the state after each row's last one."""
        opened, output, new_state, _ = run_sequence(self, input, state, lengths, trace=False)
        return opened.close(output), new_state

    def trace(
        self,
        input: Tensor | PackedSequence,
        state: NTMState | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, NTMState, Trace]:
        """What `forward` gives, and every weighting, key, gate, erase, add, read and memory of every step.

        The trace is padded, never packed.

        >>> output, state, trace = NTM(9, 100).trace(torch.randn(12, 4, 9))
        >>> trace.write.weights.shape
        torch.Size([12, 4, 1, 128])
        """
        opened, output, new_state, trace = run_sequence(self, input, state, lengths, trace=True)
        return opened.close(output), new_state, opened.close_padded(trace)

    def initial_state(self, batch_size: int | None = None, memory_size: int | None = None) -> NTMState:
        """The state that starts a sequence; see `NTMCell.initial_state`."""
        return self.cell.initial_state(batch_size, memory_size)
