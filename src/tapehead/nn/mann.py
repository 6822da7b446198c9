"""The memory-augmented network of Santoro et al. (2016, arXiv 1605.06065), for one-shot learning, over a sequence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tapehead import backends
from tapehead.nn.checks import check_bool, speaking_for
from tapehead.nn.controller import ControllerKind
from tapehead.nn.initial import Initial
from tapehead.nn.mann_cell import MANNCell
from tapehead.nn.recurrent import reset_parts, run_sequence
from tapehead.ops.controller import ControllerActivation
from tapehead.ops.heads import Activation, Order
from tapehead.ops.mann.parameters import KeyStrength, LeastUsed, Write
from tapehead.states import MANNState
from tapehead.traces import MANNTrace

__all__ = ["MANN"]


class MANN(nn.Module):
    r"""A memory-augmented network with least-recently-used access over a whole sequence, used like `torch.nn.LSTM`.

    A controller reads the input and what was read last. Each of R heads writes where it has just read or into the slot
    that was used least, and reads by content:

    - least used, eq. 21: :math:`w^{lu}(i) = 1` at the slot of the least :math:`w^u_{t-1}`, which is set to zero
    - write weights, eq. 22: :math:`w^w = \sigma(\alpha)\, w^r_{t-1} + (1 - \sigma(\alpha))\, w^{lu}_{t-1}`
    - write, eq. 23: :math:`M(i) \leftarrow M(i) + w^w(i)\, a`
    - read weights, eq. 17 and 18: :math:`w^r(i) = \mathrm{softmax}_i(\beta\, K[k, M(i)])`, K the cosine
    - read, eq. 19: :math:`r = \sum_i w^r(i) M(i)`
    - usage, eq. 20: :math:`w^u = \gamma\, w^u_{t-1} + w^r + w^w`, summed over the heads

    The step alone is `MANNCell`, which the layer holds as `cell`.

    Args:
        input_size: D, width of the input
        hidden_size: H, width of each controller layer
        memory_size: N, slots of the memory; a state made for another N runs as well
        word_size: M, numbers in a slot
        num_read_heads: R; each of them writes as well
        usage_decay: gamma of eq. 20, in 0..1
        write: "add": what is written is a vector a of its own, as in an NTM. "key": it is the key k that reads,
            as in eq. 23
        least_used: which slots are cleared, and are written where a head does not write to what it read. "one": the
            least used, all heads the same. "each": the R least used, each head its own. "all": the R least used, every
            head all of them, which is eq. 21 to the letter
        order: "write_read": the write makes M_t, which is addressed and read. "read_write": M_{t-1} is addressed and
            read, then the write makes M_t
        key_strength: "learned": beta, as in an NTM. "one": beta is 1, as in the paper
        key_activation: "linear" or "tanh", of the keys
        add_activation: "linear" or "tanh", of the add vectors
        controller: "lstm" or "feedforward"
        controller_activation: "tanh" or "relu", of a feed-forward controller
        num_layers: depth of the controller
        key_strength_bias: what the biases of the key strengths of new heads start with; they begin with its softplus.
            Without effect with `key_strength="one"`
        write_gate_bias: what the biases of the write gates of new heads start with; they begin with its sigmoid
        initial: what starts a sequence, an `Initial`; its `weights` are where the heads have read
        batch_first: batched input and output are (B, T, ...) instead of (T, B, ...), in traces as well; states are not
            affected
        backend: "auto", "reference" or "fused"; see `tapehead.backends`
        device: of the parameters
        dtype: torch.float32 or torch.float64

    Shape:
        input: (T, B, D), with `batch_first` (B, T, D), unbatched (T, D), or a `PackedSequence`
        state: a `MANNState`; None starts a new sequence
        lengths: (B,) integers in 0..T: past its length a row's output is zero, and its state is that of its last step
        output: (T, B, H + R*M) in the form of the input: the controller's output and the reads of every step;
            `output_size` wide

    Differs from the paper:
        By default what is written is not the key, keys are told how strong they are, and one slot is cleared instead
        of R. Of slots that are used equally little, at first all of them, the lowest is taken. The choice of the least
        used has no gradient, and neither has the usage. New heads read with a key strength of 15, where a softmax over
        128 slots can tell one from another, and write mostly where least was used: docs/training-tasks.md. Under
        autocast the layer computes in its parameters' dtype.

    Raises:
        TypeError, ValueError: an argument, input or state of the wrong kind, size, dtype or device.
        BackendError: the backend asked for cannot run.

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
        controller_activation: ControllerActivation = "tanh",
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
        check_bool("MANN", "batch_first", batch_first)
        with speaking_for("MANN", "MANNCell"):
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
                controller_activation=controller_activation,
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
        state: MANNState | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, MANNState]:
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
        state: MANNState | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, MANNState, MANNTrace]:
        """What `forward` gives, and every weighting, key, gate, add, usage, read and memory of every step.

        Takes and raises what `forward` does. The trace is padded, never packed, and has the memory of every step.

        Shape:
            output, state: as `forward` gives them
            trace: a `MANNTrace`, (T, B, ...); with `batch_first` (B, T, ...), unbatched (T, ...)

        >>> output, state, trace = MANN(405, 200).trace(torch.randn(12, 4, 405))
        >>> trace.write.weights.shape, trace.usage.shape
        (torch.Size([12, 4, 4, 128]), torch.Size([12, 4, 128]))
        """
        opened, output, new_state, trace = run_sequence(self, input, state, lengths, trace=True)
        return opened.close(output), new_state, opened.close_padded(trace)

    def initial_state(self, batch_size: int | None = None, memory_size: int | None = None) -> MANNState:
        """The state that starts a sequence; see `MANNCell.initial_state`."""
        return self.cell.initial_state(batch_size, memory_size)
