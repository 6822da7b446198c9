"""The memory-augmented network of Santoro et al. (2016, arXiv 1605.06065), for one-shot learning: cell and layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tapehead import backends
from tapehead.nn.controller import ControllerKind
from tapehead.nn.initial import Initial
from tapehead.nn.mann_cell import MANNCell
from tapehead.nn.recurrent import run_sequence
from tapehead.ops.mann.parameters import KeyStrength, LeastUsed, Write
from tapehead.ops.ntm.parameters import Activation, Order
from tapehead.states import MANNState, MANNTrace

__all__ = ["MANN"]


class MANN(nn.Module):
    """A memory-augmented network with least-recently-used access over a whole sequence, used like `torch.nn.LSTM`.

    Takes the arguments of `MANNCell`, which it holds as `cell`, and `batch_first`.

    Args:
        batch_first: batched input and output are (B, T, ...) instead of (T, B, ...), in traces as well; states are not
            affected

    Shape:
        input: (T, B, D), with `batch_first` (B, T, D), unbatched (T, D), or a `PackedSequence`
        lengths: (B,) integers in 0..T: past its length a row's output is zero, and its state is that of its last step
        output: (T, B, H + R*M) in the form of the input; `output_size` wide

    Differs from the paper, Raises: see `MANNCell`.

    >>> layer = MANN(input_size=405, hidden_size=200)
    >>> output, state = layer(torch.randn(12, 4, 405), lengths=torch.tensor([12, 7, 3, 1]))
    >>> output.shape, layer.output_size
    (torch.Size([12, 4, 360]), 360)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        memory_size: int = 128,
        word_size: int = 40,
        num_read_heads: int = 4,
        usage_decay: float = 0.95,
        write: Write = "add",
        least_used: LeastUsed = "one",
        order: Order = "write_read",
        key_strength: KeyStrength = "learned",
        key_activation: Activation = "tanh",
        add_activation: Activation = "tanh",
        controller: ControllerKind = "lstm",
        num_layers: int = 1,
        key_strength_bias: float = 15.0,
        write_gate_bias: float = -2.0,
        initial: Initial | None = None,
        batch_first: bool = False,
        backend: backends.Backend = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.cell = MANNCell(
            input_size,
            hidden_size,
            memory_size=memory_size,
            word_size=word_size,
            num_read_heads=num_read_heads,
            usage_decay=usage_decay,
            write=write,
            least_used=least_used,
            order=order,
            key_strength=key_strength,
            key_activation=key_activation,
            add_activation=add_activation,
            controller=controller,
            num_layers=num_layers,
            key_strength_bias=key_strength_bias,
            write_gate_bias=write_gate_bias,
            initial=initial,
            backend=backend,
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
        state: MANNState | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, MANNState]:
        """Run a sequence: the output of every step, and the state after each row's last one."""
        opened, output, new_state, _ = run_sequence(self, input, state, lengths, trace=False)
        return opened.close(output), new_state

    def trace(
        self,
        input: Tensor | PackedSequence,
        state: MANNState | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, MANNState, MANNTrace]:
        """What `forward` gives, and every weighting, key, gate, add, usage, read and memory of every step.

        The trace is padded, never packed.

        >>> output, state, trace = MANN(405, 200).trace(torch.randn(12, 4, 405))
        >>> trace.write.weights.shape, trace.usage.shape
        (torch.Size([12, 4, 4, 128]), torch.Size([12, 4, 128]))
        """
        opened, output, new_state, trace = run_sequence(self, input, state, lengths, trace=True)
        return opened.close(output), new_state, opened.close_padded(trace)

    def initial_state(self, batch_size: int | None = None, memory_size: int | None = None) -> MANNState:
        """The state that starts a sequence; see `MANNCell.initial_state`."""
        return self.cell.initial_state(batch_size, memory_size)
