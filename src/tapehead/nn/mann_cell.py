"""One step of the memory-augmented network of Santoro et al. (2016, arXiv 1605.06065)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tapehead import backends
from tapehead.nn.checks import check_choice, check_dtype, check_number, check_size, check_tensor
from tapehead.nn.controller import Controller, ControllerKind, check_controller
from tapehead.nn.heads import Heads
from tapehead.nn.initial import Initial, InitialMANN, check_initial
from tapehead.nn.precision import outside_autocast
from tapehead.nn.recurrent import (
    check_controller_state,
    check_state_kind,
    check_tied,
    initial_state,
    reset_parts,
    run_step,
)
from tapehead.ops import mann
from tapehead.ops.controller import ControllerActivation
from tapehead.ops.heads import Activation, Order
from tapehead.ops.mann.parameters import KeyStrength, LeastUsed, MANNParameters, MANNSettings, Write
from tapehead.states import MANNState
from tapehead.traces import MANNTrace

__all__ = ["MANNCell"]


class MANNCell(nn.Module):
    """One step of a memory-augmented network with least-recently-used access, used like `torch.nn.LSTMCell`.

    Takes the arguments of `MANN`, where they, the equations and what differs from the paper are described, but for
    `batch_first`.

    Shape:
        input: (B, D) or, unbatched, (D,)
        state: a `MANNState`; None starts a new sequence
        output: (B, H + R*M): the controller's output and the reads of this step; `output_size` wide

    Raises:
        TypeError, ValueError: an argument, input or state of the wrong kind, size, dtype or device.
        BackendError: the backend asked for cannot run.

    >>> cell = MANNCell(input_size=405, hidden_size=200)
    >>> output, state = cell(torch.randn(4, 405))
    >>> output, state = cell(torch.randn(4, 405), state)
    >>> output.shape, state.usage.shape
    (torch.Size([4, 360]), torch.Size([4, 128]))
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
        backend: backends.Backend = "auto",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        sizes = {
            "input_size": input_size,
            "hidden_size": hidden_size,
            "memory_size": memory_size,
            "word_size": word_size,
            "num_read_heads": num_read_heads,
            "num_layers": num_layers,
        }
        for name, size in sizes.items():
            check_size(owner, name, size)
        for name, number in (
            ("usage_decay", usage_decay),
            ("key_strength_bias", key_strength_bias),
            ("write_gate_bias", write_gate_bias),
        ):
            check_number(owner, name, number)
        if not 0 <= usage_decay <= 1:
            raise ValueError(f"{owner}: expected usage_decay in 0..1, got {usage_decay}.")
        check_choice(owner, "write", write, Write)
        check_choice(owner, "least_used", least_used, LeastUsed)
        check_choice(owner, "order", order, Order)
        check_choice(owner, "key_strength", key_strength, KeyStrength)
        check_choice(owner, "key_activation", key_activation, Activation)
        check_choice(owner, "add_activation", add_activation, Activation)
        check_controller(owner, controller, controller_activation)
        check_dtype(owner, dtype)
        backends.check_name(backend, auto=True)
        initial = Initial() if initial is None else initial
        check_initial(owner, initial, controller)

        self.input_size, self.hidden_size, self.memory_size = input_size, hidden_size, memory_size
        self.backend = backend
        self.settings = MANNSettings(
            num_read_heads,
            word_size,
            float(usage_decay),
            write,
            least_used,
            order,
            key_strength,
            key_activation,
            add_activation,
            controller_activation,
        )
        self._check_memory_size(memory_size)
        reads_size = num_read_heads * word_size
        self.output_size = hidden_size + reads_size
        self.controller = Controller(
            controller, input_size, reads_size, hidden_size, num_layers, device=device, dtype=dtype
        )
        biases = [0.0, float(key_strength_bias), float(write_gate_bias), 0.0]
        self.heads = Heads(hidden_size, self.settings.head_sizes, biases, device=device, dtype=dtype)
        self.initial = InitialMANN(
            initial,
            memory_size=memory_size,
            word_size=word_size,
            num_read_heads=num_read_heads,
            controller_shape=(num_layers, hidden_size) if controller == "lstm" else None,
            device=device,
            dtype=dtype,
        )

    def arguments(self) -> dict[str, Any]:
        """What makes another of these: the constructor's arguments, all but device and dtype.

        >>> cell = MANNCell(405, 200, memory_size=64)
        >>> MANNCell(**cell.arguments()).memory_size
        64
        """
        return {
            "input_size": self.input_size,
            "hidden_size": self.hidden_size,
            "memory_size": self.memory_size,
            **self.settings._asdict(),
            "controller": self.controller.kind,
            "num_layers": len(self.controller.layers),
            "key_strength_bias": self.heads.biases[1],
            "write_gate_bias": self.heads.biases[2],
            "initial": self.initial.options,
            "backend": self.backend,
        }

    def reset_parameters(self) -> None:
        """Draw new parameters, and anew what the initial state has drawn, as a new cell does."""
        reset_parts(self)

    def extra_repr(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.settings._asdict().items())
        return f"{self.input_size}, {self.hidden_size}, memory_size={self.memory_size}, {settings}"

    def forward(self, input: Tensor, state: MANNState | None = None) -> tuple[Tensor, MANNState]:
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

    def initial_state(self, batch_size: int | None = None, memory_size: int | None = None) -> MANNState:
        """The state that starts a sequence.

        Args:
            batch_size: B; None gives an unbatched state
            memory_size: N, when it is to be another one than the model was made with

        Raises:
            ValueError: something learned slot by slot ties the model to its memory size.

        >>> MANNCell(405, 200).initial_state(4, memory_size=256).memory.shape
        torch.Size([4, 256, 40])
        """
        state: MANNState = initial_state(self, batch_size, memory_size)
        return state

    def _parameters_of_call(self) -> MANNParameters:
        """The parameters as the op takes them, after the hooks of the modules that have them."""
        return MANNParameters(self.controller(), self.heads())

    def _run(
        self,
        input: Tensor,
        state: MANNState,
        parameters: MANNParameters,
        *,
        lengths: Tensor | None = None,
        trace: bool = False,
    ) -> tuple[Tensor, MANNState, MANNTrace | None]:
        """A checked sequence (T, B, D) from a checked state, through the op; autocast does not reach into it."""
        with outside_autocast(input):
            return mann.sequence(
                input, state, parameters, self.settings, lengths=lengths, trace=trace, backend=self.backend
            )

    def _start(self, state: MANNState | None, batch_size: int, batched: bool, like: Tensor) -> MANNState:
        """The user's state, checked and batched; without one the initial state, which nobody else may write to."""
        if state is None:
            shared: MANNState = self.initial.shared(batch_size, self.memory_size, like)
            return shared
        owner = f"{type(self).__name__}: state"
        check_state_kind(owner, state, MANNState, self.controller.kind)
        settings = self.settings
        rows = (batch_size,) if batched else ()
        check_tensor(owner, "memory", state.memory, (*rows, "N", settings.word_size), like)
        memory_size = state.memory.shape[-2]
        self._check_memory_size(memory_size)
        check_tensor(owner, "read_weights", state.read_weights, (*rows, settings.num_read_heads, memory_size), like)
        check_tensor(owner, "usage", state.usage, (*rows, memory_size), like)
        check_tensor(owner, "reads", state.reads, (*rows, settings.num_read_heads, settings.word_size), like)
        layers = len(self.controller.layers)
        check_controller_state(owner, state.controller, layers, rows, self.hidden_size, like)
        return state if batched else state.add_batch()

    def _check_memory_size(self, memory_size: int) -> None:
        """Raise unless the cell can run with a memory of so many slots."""
        owner, least = type(self).__name__, self.settings.num_least_used
        if memory_size < least:
            raise ValueError(
                f"{owner}: expected memory_size >= {least}, the slots that least_used={self.settings.least_used!r} "
                f"clears in a step, got {memory_size}."
            )
        check_tied(self, memory_size)
