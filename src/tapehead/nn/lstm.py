"""The LSTM to compare with: `torch.nn.LSTM` under the contract of the other layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from tapehead.nn.checks import check_bool, check_choice, check_dtype, check_size, check_tensor
from tapehead.nn.initial import ControllerStateKind, InitialController
from tapehead.nn.precision import outside_autocast
from tapehead.nn.recurrent import reset_parts
from tapehead.nn.sequences import open_sequence
from tapehead.states import LSTMState

__all__ = ["LSTM"]


class LSTM(nn.Module):
    r"""A stack of LSTM layers (Hochreiter and Schmidhuber 1997), the baseline without external memory.

    The NTM paper compares with it. The equations are those of `torch.nn.LSTM`, which the layer holds as `lstm`: the
    LSTM with forget gates (Gers, Schmidhuber and Cummins 2000), without peepholes. In each layer, with x its input and
    b the sum of torch's two biases:

    - gates: :math:`i, f, o = \sigma(W_{i,f,o}\, x_t + U_{i,f,o}\, h_{t-1} + b_{i,f,o})`
    - candidate: :math:`g = \tanh(W_g\, x_t + U_g\, h_{t-1} + b_g)`
    - cell: :math:`c_t = f\, c_{t-1} + i\, g`
    - output: :math:`h_t = o \tanh(c_t)`, the input of the layer above

    Args:
        input_size: D, width of the input
        hidden_size: H, width of each layer
        num_layers: L
        initial: what starts a sequence, "zero" or "learned" (starts at zero)
        batch_first: batched input and output are (B, T, ...) instead of (T, B, ...)
        device: of the parameters
        dtype: torch.float32 or torch.float64

    Shape:
        input: (T, B, D), with `batch_first` (B, T, D), unbatched (T, D), or a `PackedSequence`
        lengths: (B,) integers in 0..T: past its length a row's output is zero, and its state is that of its last step
        output: (T, B, H) in the form of the input; `output_size` wide

    Raises:
        TypeError, ValueError: an argument, input or state of the wrong kind, size, dtype or device.

    >>> layer = LSTM(input_size=9, hidden_size=256, num_layers=3)
    >>> output, state = layer(torch.randn(12, 4, 9))
    >>> output.shape, state.hidden.shape
    (torch.Size([12, 4, 256]), torch.Size([3, 4, 256]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        initial: ControllerStateKind = "zero",
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for name, size in {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}.items():
            check_size("LSTM", name, size)
        check_choice("LSTM", "initial", initial, ControllerStateKind)
        check_bool("LSTM", "batch_first", batch_first)
        check_dtype("LSTM", dtype)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.batch_first = batch_first
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers, device=device, dtype=dtype)
        self.initial = InitialController(initial, num_layers, hidden_size, device=device, dtype=dtype)

    @property
    def output_size(self) -> int:
        """H, width of the output."""
        return self.hidden_size

    def arguments(self) -> dict[str, Any]:
        """What makes another of these: the constructor's arguments, all but device and dtype."""
        return {
            "input_size": self.input_size,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "initial": "zero" if self.initial.hidden is None else "learned",
            "batch_first": self.batch_first,
        }

    def reset_parameters(self) -> None:
        """Draw new parameters, and anew what the initial state has drawn, as a new layer does."""
        reset_parts(self)

    def extra_repr(self) -> str:
        return f"batch_first={self.batch_first}"

    def initial_state(self, batch_size: int | None = None) -> LSTMState:
        """The state that starts a sequence.

        Args:
            batch_size: B; None gives an unbatched state
        """
        check_size("LSTM.initial_state", "batch_size", 1 if batch_size is None else batch_size)
        state: LSTMState = self.initial(1 if batch_size is None else batch_size, self._like())
        return state.remove_batch() if batch_size is None else state

    def forward(
        self,
        input: Tensor | PackedSequence,
        state: LSTMState | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, LSTMState]:
        """Run a sequence: the output of every step, and the state after each row's last one.

        Args:
            input: of the lowest layer, step by step
            state: what the last call returned, or what `initial_state` makes, or a pair (hidden, cell); None starts a
                new sequence
            lengths: how many steps each row has; None means all. A `PackedSequence` brings its own

        Shape:
            input: (T, B, D), with `batch_first` (B, T, D), unbatched (T, D), or a `PackedSequence`
            lengths: (B,) integers in 0..T, unbatched ()
            output: (T, B, H) in the form of the input; zero past a row's length

        Raises:
            TypeError, ValueError: an input, state or lengths of the wrong kind, size, dtype or device.
        """
        like = self._like()
        opened = open_sequence(
            "LSTM", input, lengths, input_size=self.input_size, batch_first=self.batch_first, like=like
        )
        start = self._start(state, opened.input.shape[1], opened.batched)
        with outside_autocast(opened.input):
            if opened.lengths is None:
                output, new_state = self.lstm(opened.input, tuple(part.contiguous() for part in start))
                result = LSTMState(*new_state)
            else:
                output, result = self._run_ragged(opened.input, start, opened.lengths)
        return opened.close(output), result if opened.batched else result.remove_batch()

    def _run_ragged(self, input: Tensor, start: LSTMState, lengths: Tensor) -> tuple[Tensor, LSTMState]:
        # torch packs no empty rows: run them for one step, and leave that step out.
        packed = pack_padded_sequence(input, lengths.clamp(min=1).cpu(), enforce_sorted=False)
        empty = (lengths == 0).view(1, -1, 1)
        # What they bring may be NaN, which would reach gradients as 0 * NaN.
        packed_output, new_state = self.lstm(packed, tuple(part.masked_fill(empty, 0).contiguous() for part in start))
        output, _ = pad_packed_sequence(packed_output, total_length=input.shape[0])
        output = output.masked_fill(empty, 0)
        return output, LSTMState(*(torch.where(empty, old, new) for old, new in zip(start, new_state, strict=True)))

    def _like(self) -> Tensor:
        """A parameter that tells dtype and device: a bias, which no parametrization makes a product under autocast."""
        like: Tensor = self.lstm.bias_ih_l0  # type: ignore[assignment]
        return like

    def _start(self, state: LSTMState | None, batch_size: int, batched: bool) -> LSTMState:
        if state is None:
            start: LSTMState = self.initial(batch_size, self._like())
            return start
        if not isinstance(state, (LSTMState, tuple)) or len(state) != 2:
            raise TypeError(f"LSTM: expected state to be an LSTMState, got {type(state).__name__}.")
        state = LSTMState(*state)
        shape = (self.num_layers, *((batch_size,) if batched else ()), self.hidden_size)
        like = self._like()
        check_tensor("LSTM: state", "hidden", state.hidden, shape, like)
        check_tensor("LSTM: state", "cell", state.cell, shape, like)
        return state if batched else state.add_batch()
