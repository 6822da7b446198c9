"""One step of the Neural Turing Machine of Graves, Wayne and Danihelka (2014, arXiv 1410.5401)."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn

from tapehead import backends
from tapehead.nn.checks import check_choice, check_dtype, check_number, check_size, check_tensor
from tapehead.nn.controller import Controller, ControllerKind, check_controller
from tapehead.nn.heads import GateBias, Heads, NTMBiases, ShiftBias
from tapehead.nn.initial import Initial, InitialNTM, check_initial
from tapehead.nn.precision import outside_autocast
from tapehead.nn.recurrent import (
    check_controller_state,
    check_state_kind,
    check_tied,
    initial_state,
    reset_parts,
    run_step,
)
from tapehead.ops import ntm
from tapehead.ops.controller import ControllerActivation
from tapehead.ops.heads import Activation, Order
from tapehead.ops.ntm.parameters import Addressing, NTMParameters, NTMSettings
from tapehead.states import NTMState
from tapehead.traces import Trace

__all__ = ["NTMCell"]


class NTMCell(nn.Module):
    """One step of a Neural Turing Machine, used like `torch.nn.LSTMCell`.

    Takes the arguments of `NTM`, where they, the equations and what differs from the paper are described, but for
    `batch_first`.

    Shape:
        input: (B, D) or, unbatched, (D,)
        state: an `NTMState`; None starts a new sequence
        output: (B, H + R*M): the controller's output and the reads of this step; `output_size` wide

    Raises:
        TypeError, ValueError: an argument, input or state of the wrong kind, size, dtype or device.
        BackendError: the backend asked for cannot run.

    >>> cell = NTMCell(input_size=9, hidden_size=100)
    >>> output, state = cell(torch.randn(4, 9))
    >>> output, state = cell(torch.randn(4, 9), state)
    >>> output.shape, state.memory.shape
    (torch.Size([4, 120]), torch.Size([4, 128, 20]))
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
        backend: backends.Backend = "auto",
        checkpoint_every: int | None = None,
        gradient_limit: float | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        sizes |= {"memory_size": memory_size, "word_size": word_size}
        sizes |= {"num_read_heads": num_read_heads, "num_write_heads": num_write_heads}
        for name, size in sizes.items():
            check_size(owner, name, size)
        check_size(owner, "max_shift", max_shift, minimum=0)
        check_size(owner, "checkpoint_every", 1 if checkpoint_every is None else checkpoint_every)
        if gradient_limit is not None:
            check_number(owner, "gradient_limit", gradient_limit)
            if gradient_limit < sys.float_info.min:
                raise ValueError(
                    f"{owner}: expected gradient_limit > 0 and not subnormal, or None for no limit, "
                    f"got {gradient_limit}."
                )
        check_choice(owner, "addressing", addressing, Addressing)
        check_choice(owner, "order", order, Order)
        check_choice(owner, "key_activation", key_activation, Activation)
        check_choice(owner, "add_activation", add_activation, Activation)
        check_controller(owner, controller, controller_activation)
        interpolation, shift = (read_interpolation_bias, write_interpolation_bias), (read_shift_bias, write_shift_bias)
        self.biases = NTMBiases(key_strength_bias, *interpolation, *shift).checked(
            owner, max_shift, num_read_heads, num_write_heads
        )
        check_dtype(owner, dtype)
        backends.check_name(backend, auto=True)
        initial = Initial() if initial is None else initial
        check_initial(owner, initial, controller, addressing)

        self.input_size, self.hidden_size, self.memory_size = input_size, hidden_size, memory_size
        self.backend, self.checkpoint_every = backend, checkpoint_every
        self.settings = NTMSettings(
            num_read_heads,
            num_write_heads,
            word_size,
            max_shift,
            addressing,
            order,
            key_activation,
            add_activation,
            None if gradient_limit is None else float(gradient_limit),
            controller_activation,
        )
        self._check_memory_size(memory_size)
        reads_size = num_read_heads * word_size
        self.output_size = hidden_size + reads_size
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        self.controller = Controller(controller, input_size, reads_size, hidden_size, num_layers, **where)
        self.heads = Heads(hidden_size, self.settings.head_sizes, self.biases.rows(self.settings), **where)
        self.initial = InitialNTM(
            initial,
            memory_size=memory_size,
            word_size=word_size,
            num_read_heads=num_read_heads,
            num_write_heads=num_write_heads,
            controller_shape=(num_layers, hidden_size) if controller == "lstm" else None,
            **where,
        )

    def arguments(self) -> dict[str, Any]:
        """What makes another of these: the constructor's arguments, all but device and dtype.

        >>> cell = NTMCell(9, 100, memory_size=64)
        >>> NTMCell(**cell.arguments()).memory_size
        64
        """
        return {
            "input_size": self.input_size,
            "hidden_size": self.hidden_size,
            "memory_size": self.memory_size,
            **self.settings._asdict(),
            "controller": self.controller.kind,
            "num_layers": len(self.controller.layers),
            **self.biases._asdict(),
            "initial": self.initial.options,
            "backend": self.backend,
            "checkpoint_every": self.checkpoint_every,
        }

    def reset_parameters(self) -> None:
        """Draw new parameters, and anew what the initial state has drawn, as a new cell does."""
        reset_parts(self)

    def extra_repr(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings._asdict().items())
        return f"{self.input_size}, {self.hidden_size}, memory_size={self.memory_size}, {settings}"

    def forward(self, input: Tensor, state: NTMState | None = None) -> tuple[Tensor, NTMState]:
        """One step: the controller's output and the reads, and the new state.

        Args:
            input: what the controller reads
            state: what the last call returned, or what `initial_state` makes; None starts a new sequence

        Shape:
            input: (B, D) or, unbatched, (D,)
            output: (B, H + R*M) or, unbatched, (H + R*M,)

        Raises:
            TypeError, ValueError: an input or state of the wrong kind, size, dtype or device.
            BackendError: the backend asked for cannot run.
        """
        return run_step(self, input, state)

    def initial_state(self, batch_size: int | None = None, memory_size: int | None = None) -> NTMState:
        """The state that starts a sequence.

        Args:
            batch_size: B; None gives an unbatched state
            memory_size: N, when it is to be another one than the model was made with

        Raises:
            ValueError: something learned slot by slot ties the model to its memory size.

        >>> NTMCell(9, 100).initial_state(4, memory_size=2048).memory.shape
        torch.Size([4, 2048, 20])
        """
        state: NTMState = initial_state(self, batch_size, memory_size)
        return state

    def _parameters_of_call(self) -> NTMParameters:
        """The parameters as the op takes them, after the hooks of the modules that have them."""
        return NTMParameters(self.controller(), self.heads())

    def _run(
        self,
        input: Tensor,
        state: NTMState,
        parameters: NTMParameters,
        *,
        lengths: Tensor | None = None,
        trace: bool = False,
    ) -> tuple[Tensor, NTMState, Trace | None]:
        """A checked sequence (T, B, D) from a checked state, through the op; autocast does not reach into it."""
        with outside_autocast(input):
            return ntm.sequence(
                input,
                state,
                parameters,
                self.settings,
                lengths=lengths,
                trace=trace,
                backend=self.backend,
                checkpoint_every=self.checkpoint_every,
            )

    def _start(self, state: NTMState | None, batch_size: int, batched: bool, like: Tensor) -> NTMState:
        """The user's state, checked and batched; without one the initial state, which nobody else may write to."""
        if state is None:
            shared: NTMState = self.initial.shared(batch_size, self.memory_size, like)
            return shared
        owner = f"{type(self).__name__}: state"
        check_state_kind(owner, state, NTMState, self.controller.kind)
        settings = self.settings
        rows = (batch_size,) if batched else ()
        check_tensor(owner, "memory", state.memory, (*rows, "N", settings.word_size), like)
        memory_size = state.memory.shape[-2]
        self._check_memory_size(memory_size)
        check_tensor(owner, "read_weights", state.read_weights, (*rows, settings.num_read_heads, memory_size), like)
        check_tensor(owner, "write_weights", state.write_weights, (*rows, settings.num_write_heads, memory_size), like)
        check_tensor(owner, "reads", state.reads, (*rows, settings.num_read_heads, settings.word_size), like)
        layers = len(self.controller.layers)
        check_controller_state(owner, state.controller, layers, rows, self.hidden_size, like)
        return state if batched else state.add_batch()

    def _check_memory_size(self, memory_size: int) -> None:
        """Raise unless the cell can run with a memory of so many slots."""
        owner, shift_size = type(self).__name__, 2 * self.settings.max_shift + 1
        if self.settings.addressing == "content_and_location" and memory_size < shift_size:
            raise ValueError(
                f"{owner}: expected memory_size >= {shift_size}, the offsets of max_shift={self.settings.max_shift}, "
                f"got {memory_size}."
            )
        check_tied(self, memory_size)
