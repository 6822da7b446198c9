"""The Neural Turing Machine of Graves, Wayne and Danihelka (2014, arXiv 1410.5401), over a whole sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tapehead import backends
from tapehead.nn.checks import check_bool, speaking_for
from tapehead.nn.controller import ControllerKind
from tapehead.nn.heads import GateBias, ShiftBias
from tapehead.nn.initial import Initial
from tapehead.nn.ntm_cell import NTMCell
from tapehead.nn.recurrent import reset_parts, run_sequence
from tapehead.ops.controller import ControllerActivation
from tapehead.ops.heads import Activation, Order
from tapehead.ops.ntm.parameters import Addressing
from tapehead.states import NTMState
from tapehead.traces import Trace

__all__ = ["NTM"]


class NTM(nn.Module):
    r"""A Neural Turing Machine over a whole sequence, used like `torch.nn.LSTM`.

    A controller reads the input and what was read last, and moves heads over a memory of N slots of M numbers:

    - content, eq. 5 and 6: :math:`w^c(i) = \mathrm{softmax}_i(\beta\, K[k, M(i)])`, K the cosine
    - interpolation, eq. 7: :math:`w^g = g\, w^c + (1 - g)\, w_{t-1}`
    - shift, eq. 8: :math:`\tilde w(i) = \sum_j w^g(i - j)\, s(j)`
    - sharpening, eq. 9: :math:`w(i) = \tilde w(i)^\gamma / \sum_j \tilde w(j)^\gamma`
    - read, eq. 2: :math:`r = \sum_i w(i) M(i)`
    - erase and add, eq. 3 and 4: :math:`M(i) \leftarrow M(i) (1 - w(i) e) + w(i) a`

    The step alone is `NTMCell`, which the layer holds as `cell`.

    Args:
        input_size: D, width of the input
        hidden_size: H, width of each controller layer
        memory_size: N, slots of the memory; a state made for another N runs as well
        word_size: M, numbers in a slot
        num_read_heads: R
        num_write_heads: W
        max_shift: farthest a head moves in a step by location, in slots; 0 and up, 2 max_shift + 1 <= N
        addressing: "content_and_location" (figure 2 of the paper) or "content" (eq. 5 alone)
        order: "read_write": all heads address M_{t-1}, reads come from M_{t-1}, then the write makes M_t.
            "write_read": the write heads address M_{t-1} and make M_t, which the read heads address and read
        key_activation: "linear" or "tanh", of the keys
        add_activation: "linear" or "tanh", of the add vectors
        controller: "lstm" or "feedforward"
        controller_activation: "tanh" or "relu", of a feed-forward controller
        num_layers: depth of the controller
        key_strength_bias: what the biases of the key strengths of new heads start with; they begin with its softplus
        read_interpolation_bias, write_interpolation_bias: of the interpolation gates, a number or one for each head;
            heads begin with its sigmoid
        read_shift_bias, write_shift_bias: of a head's shift weights, one for each offset from -max_shift up, or None,
            zeros; or a list of such for each head. Heads begin with its softmax. Write heads with a gate of -9 and
            shifts of (0, 7, 9) walk from slot to slot before they have learned anything. Without effect, as the
            gates, where addressing is "content"
        initial: what starts a sequence, an `Initial`
        batch_first: batched input and output are (B, T, ...) instead of (T, B, ...), in traces as well; states are not
            affected
        backend: "auto", "reference" or "fused"; see `tapehead.backends`
        checkpoint_every: what training keeps of the memory with the fused backend: M_t after every so many steps, the
            others being made again in the backward. None keeps every fourth, above 256 MiB a call every sqrt(T)-th
        gradient_limit: largest element of the gradient that flows from a step back to the head weights of the step
            before; None leaves it exact. A head that is spread evenly over the slots and sharpens (gamma > 1) is
            chaotic: roundings decide which slot it settles on, and the exact gradient grows gamma-fold in a step,
            until it overflows after some hundred of them
        device: of the parameters
        dtype: torch.float32 or torch.float64

    Shape:
        input: (T, B, D), with `batch_first` (B, T, D), unbatched (T, D), or a `PackedSequence`
        state: an `NTMState`; None starts a new sequence
        lengths: (B,) integers in 0..T: past its length a row's output is zero, and its state is that of its last step
        output: (T, B, H + R*M) in the form of the input: the controller's output and the reads of every step;
            `output_size` wide

    Differs from the paper:
        The paper leaves open what starts a sequence: see `Initial`. With "read_write", the default because it trains
        better, reads come from M_{t-1}. Gamma is 1 + softplus, beta softplus. Under autocast the layer computes
        in its parameters' dtype.

    Raises:
        TypeError, ValueError: an argument, input or state of the wrong kind, size, dtype or device.
        BackendError: the backend asked for cannot run.

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
        controller_activation: ControllerActivation = "tanh",
        num_layers: int = 1,
        key_strength_bias: float = 0.0,
        read_interpolation_bias: GateBias = 0.0,
        write_interpolation_bias: GateBias = 0.0,
        read_shift_bias: ShiftBias | None = None,
        write_shift_bias: ShiftBias | None = None,
        initial: Initial | None = None,
        batch_first: bool = False,
        backend: backends.Backend = "auto",
        checkpoint_every: int | None = None,
        gradient_limit: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_bool("NTM", "batch_first", batch_first)
        with speaking_for("NTM", "NTMCell"):
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
                controller_activation=controller_activation,
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
    def hidden_size(self) -> int:
        """H, width of each controller layer."""
        return self.cell.hidden_size

    @property
    def num_layers(self) -> int:
        """L, depth of the controller."""
        return len(self.cell.controller.layers)

    @property
    def output_size(self) -> int:
        """H + R*M, width of the output."""
        return self.cell.output_size

    @property
    def memory_size(self) -> int:
        """N, slots of the memory a sequence starts with unless its state says otherwise."""
        return self.cell.memory_size

    @property
    def word_size(self) -> int:
        """M, numbers in a slot."""
        return self.cell.settings.word_size

    def arguments(self) -> dict[str, Any]:
        """What makes another of these: the constructor's arguments, all but device and dtype."""
        return {**self.cell.arguments(), "batch_first": self.batch_first}

    def reset_parameters(self) -> None:
        """Draw new parameters, and anew what the initial state has drawn, as a new layer does."""
        reset_parts(self)

    def extra_repr(self) -> str:
        return f"batch_first={self.batch_first}"

    def forward(
        self,
        input: Tensor | PackedSequence,
        state: NTMState | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, NTMState]:
        """Run a sequence: the output of every step, and the state after each row's last one.

        Args:
            input: what the controller reads, step by step
            state: what the last call returned, or what `initial_state` makes; None starts a new sequence
            lengths: how many steps each row has; None means all. A `PackedSequence` brings its own

        Shape:
            input: (T, B, D), with `batch_first` (B, T, D), unbatched (T, D), or a `PackedSequence`
            lengths: (B,) integers in 0..T, unbatched ()
            output: (T, B, H + R*M) in the form of the input; zero past a row's length

        Raises:
            TypeError, ValueError: an input, state or lengths of the wrong kind, size, dtype or device.
            BackendError: the backend asked for cannot run.
        """
        opened, output, new_state, _ = run_sequence(self, input, state, lengths, trace=False)
        return opened.close(output), new_state

    def trace(
        self,
        input: Tensor | PackedSequence,
        state: NTMState | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, NTMState, Trace]:
        """What `forward` gives, and every weighting, key, gate, erase, add, read and memory of every step.

        Takes and raises what `forward` does. The trace is padded, never packed, and has the memory of every step.

        Shape:
            output, state: as `forward` gives them
            trace: a `Trace`, (T, B, ...); with `batch_first` (B, T, ...), unbatched (T, ...)

        >>> output, state, trace = NTM(9, 100).trace(torch.randn(12, 4, 9))
        >>> trace.write.weights.shape
        torch.Size([12, 4, 1, 128])
        """
        opened, output, new_state, trace = run_sequence(self, input, state, lengths, trace=True)
        return opened.close(output), new_state, opened.close_padded(trace)

    def initial_state(self, batch_size: int | None = None, memory_size: int | None = None) -> NTMState:
        """The state that starts a sequence; see `NTMCell.initial_state`."""
        return self.cell.initial_state(batch_size, memory_size)
