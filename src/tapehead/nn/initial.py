"""What starts a sequence: the memory, the heads' weights, the reads and the controller's state at time 0."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tapehead.backends import is_eager, is_transformed
from tapehead.nn.checks import check_choice, check_number
from tapehead.nn.precision import outside_autocast
from tapehead.states import LSTMState, MANNState, NTMState

__all__ = ["Initial", "InitialController", "InitialMANN", "InitialNTM", "check_initial"]

MemoryKind = Literal["constant", "random", "learned"]
WeightsKind = Literal["first_slot", "uniform", "random", "learned"]
ReadsKind = Literal["constant", "random", "learned"]
ControllerStateKind = Literal["zero", "learned"]


@dataclass(frozen=True)
class Initial:
    """How a sequence starts. Only what is learned slot by slot ties a model to its memory size.

    "random" is drawn once, when the model is made, saved with it and not trained: the same model always gives the
    same answer. A memory larger than the one it was made with gets further slots from a fixed seed.

    Attributes:
        memory: "constant" (every element `constant`), "random" (N(0, std)) or "learned" (starts as random)
        weights: where every head points: "first_slot", "uniform", "random" (softmax of N(0, 1)) or "learned"
            (starts as random)
        reads: like `memory`
        controller: hidden and cell state of an LSTM controller: "zero" or "learned" (starts at zero)
        constant: value of constant memory and reads; 1e-6 is what Collier & Beel 2018 found best
        std: standard deviation of random and learned memory and reads

    Raises:
        TypeError, ValueError: an unknown kind, something else than finite numbers, or a negative `std`.

    >>> Initial(memory="learned", std=0.1).weights
    'first_slot'
    """

    memory: MemoryKind = "constant"
    weights: WeightsKind = "first_slot"
    reads: ReadsKind = "constant"
    controller: ControllerStateKind = "zero"
    constant: float = 1e-6
    std: float = 0.05

    def __post_init__(self) -> None:
        check_choice("Initial", "memory", self.memory, MemoryKind)
        check_choice("Initial", "weights", self.weights, WeightsKind)
        check_choice("Initial", "reads", self.reads, ReadsKind)
        check_choice("Initial", "controller", self.controller, ControllerStateKind)
        for name in ("constant", "std"):
            check_number("Initial", name, getattr(self, name))
        if self.std < 0:
            raise ValueError(f"Initial: expected std >= 0, got {self.std}.")


def check_initial(owner: str, initial: Any, controller: str, addressing: str | None = None) -> None:
    """Raise unless this is an `Initial` of which all that is learned has an effect.

    Args:
        owner: the layer's name, for messages
        initial: to check
        controller: kind of the controller
        addressing: of an NTM; None for a layer whose heads always look at the weights before
    """
    if not isinstance(initial, Initial):
        raise TypeError(f"{owner}: expected initial to be a tapehead.Initial, got {type(initial).__name__}.")
    if controller == "feedforward" and initial.controller == "learned":
        raise ValueError(
            f"{owner}: expected initial.controller='zero' with a feed-forward controller, got 'learned'. "
            "A feed-forward controller has no state to learn."
        )
    if addressing == "content" and initial.weights == "learned":
        raise ValueError(
            f"{owner}: expected initial.weights other than 'learned' with addressing='content', got 'learned'. "
            "Addressing by content alone does not look at the weights before."
        )


class _Start(nn.Module):
    """One tensor that starts every row of a batch: a constant, a fixed draw or a parameter.

    Args:
        kind: "constant", "random" or "learned"
        shape: without the batch
        slot_dim: the dimension that counts slots, or None
    """

    value: Tensor | None

    def __init__(
        self,
        kind: str,
        shape: tuple[int, ...],
        *,
        slot_dim: int | None,
        constant: float,
        std: float,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.kind, self.shape, self.slot_dim, self.constant, self.std = kind, shape, slot_dim, constant, std
        value = None if kind == "constant" else torch.empty(shape, device=device, dtype=dtype)
        if kind == "learned":
            self.value = nn.Parameter(value)  # type: ignore[arg-type]
        else:
            self.register_buffer("value", value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.value is not None:
            nn.init.normal_(self.value, std=self.std)

    def forward(self, batch_size: int, memory_size: int, like: Tensor) -> Tensor:
        """The tensor for every row of a batch, and for a memory of this many slots."""
        if self.value is None:
            sizes = [memory_size if dim == self.slot_dim else size for dim, size in enumerate(self.shape)]
            return like.new_full([batch_size, *sizes], self.constant)
        fits = self.slot_dim is None or memory_size == self.shape[self.slot_dim]
        value = self.value if fits else self._resized(memory_size, self.slot_dim)  # type: ignore[arg-type]
        return value.unsqueeze(0).expand(batch_size, -1, -1)

    def _resized(self, memory_size: int, slot_dim: int) -> Tensor:
        assert self.value is not None
        missing = memory_size - self.shape[slot_dim]
        if missing < 0:
            return self.value.narrow(slot_dim, 0, memory_size)
        shape = list(self.shape)
        shape[slot_dim] = missing
        return torch.cat([self.value, (_drawn(shape) * self.std).to(self.value)], slot_dim)


def _drawn(shape: list[int]) -> Tensor:
    """Numbers of N(0, 1), always the same: those of float32 on the CPU, whatever torch's defaults are."""
    # A transform of torch.func would take it for a draw of the user's.
    with torch._C._DisableFuncTorch() if is_transformed() else nullcontext():
        generator = torch.Generator("cpu").manual_seed(0)
        return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")


class _StartWeights(nn.Module):
    """Where each head points at the start: (heads, N), each row a distribution."""

    def __init__(
        self,
        kind: WeightsKind,
        num_heads: int,
        memory_size: int,
        *,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.kind, self.num_heads = kind, num_heads
        drawn = kind if kind in ("random", "learned") else "constant"
        self.logits = _Start(
            drawn, (num_heads, memory_size), slot_dim=1, constant=0.0, std=1.0, device=device, dtype=dtype
        )

    def forward(self, batch_size: int, memory_size: int, like: Tensor) -> Tensor:
        """(B, heads, N), each a distribution."""
        if self.kind == "first_slot":
            # Nothing in place: what folds the constants of a traced graph would leave the change out.
            heads = (batch_size, self.num_heads)
            return torch.cat([like.new_ones(*heads, 1), like.new_zeros(*heads, memory_size - 1)], -1)
        return torch.softmax(self.logits(batch_size, memory_size, like), -1)


class InitialController(nn.Module):
    """Hidden and cell state, each (L, H), that start an LSTM: zero or learned."""

    hidden: Tensor | None
    cell: Tensor | None

    def __init__(
        self,
        kind: ControllerStateKind,
        num_layers: int,
        hidden_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.shape = (num_layers, hidden_size)
        for name in ("hidden", "cell"):
            value = nn.Parameter(torch.empty(self.shape, device=device, dtype=dtype)) if kind == "learned" else None
            self.register_parameter(name, value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start at zero."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, batch_size: int, like: Tensor) -> LSTMState:
        """(L, B, H) each."""
        with outside_autocast(like):
            return LSTMState(self._rows(self.hidden, batch_size, like), self._rows(self.cell, batch_size, like))

    def _rows(self, value: Tensor | None, batch_size: int, like: Tensor) -> Tensor:
        num_layers, hidden_size = self.shape
        if value is None:
            return like.new_zeros(num_layers, batch_size, hidden_size)
        return value.unsqueeze(1).expand(-1, batch_size, -1)


_SHARED: dict[tuple[Any, ...], Any] = {}
_SHARED_LIMIT = 4


class _InitialState(nn.Module):
    """What the states of all models with a memory have: memory, reads, where heads point, an LSTM controller's state.

    Args:
        initial: how each of them starts
        memory_size: N
        word_size: M
        num_read_heads: R
        num_write_heads: W; 0 for a model whose write heads remember nothing
        controller_shape: (L, H) of an LSTM controller, or None
    """

    def __init__(
        self,
        initial: Initial,
        *,
        memory_size: int,
        word_size: int,
        num_read_heads: int,
        num_write_heads: int = 0,
        controller_shape: tuple[int, int] | None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.options = initial
        self.memory_size = memory_size
        self.shapes = (word_size, num_read_heads, num_write_heads, controller_shape)

        def start(kind: str, shape: tuple[int, int], slot_dim: int | None) -> _Start:
            return _Start(
                kind,
                shape,
                slot_dim=slot_dim,
                constant=initial.constant,
                std=initial.std,
                device=device,
                dtype=dtype,
            )

        def weights(num_heads: int) -> _StartWeights:
            return _StartWeights(initial.weights, num_heads, memory_size, device=device, dtype=dtype)

        self.memory = start(initial.memory, (memory_size, word_size), 0)
        self.reads = start(initial.reads, (num_read_heads, word_size), None)
        self.read_weights = weights(num_read_heads)
        if num_write_heads:
            self.write_weights = weights(num_write_heads)
        self.controller = None
        if controller_shape is not None:
            self.controller = InitialController(initial.controller, *controller_shape, device=device, dtype=dtype)

    def shared(self, batch_size: int, memory_size: int, like: Tensor) -> Any:
        """What calling it gives, for who changes none of it: a state without parameters is made once and kept."""
        options = self.options
        if (
            like.device.type != "cpu"  # there it would belong to a stream, or to the pool of a graph that was captured
            or options.memory != "constant"
            or options.weights not in ("first_slot", "uniform")
            or options.reads != "constant"
            or options.controller != "zero"
            or type(like) not in (Tensor, nn.Parameter)  # of a subclass come others of it
            or not is_eager()
        ):
            return self(batch_size, memory_size, like)
        kind = (type(self), like.dtype, torch.is_inference_mode_enabled())
        key = (batch_size, memory_size, *kind, options, self.shapes)
        state = _SHARED.get(key)
        if state is None:
            state = self(batch_size, memory_size, like)
            if len(_SHARED) >= _SHARED_LIMIT:
                _SHARED.clear()
            _SHARED[key] = state
        return state

    def tied_to_memory_size(self) -> str | None:
        """The option that fixes the number of slots, or None."""
        tied = [name for name in ("memory", "weights") if getattr(self.options, name) == "learned"]
        return " and ".join(f"initial.{name}='learned'" for name in tied) or None

    def _controller(self, batch_size: int, like: Tensor) -> LSTMState | None:
        return None if self.controller is None else self.controller(batch_size, like)


class InitialNTM(_InitialState):
    """Makes the `NTMState` that starts a sequence, as an `Initial` says."""

    def forward(self, batch_size: int, memory_size: int, like: Tensor) -> NTMState:
        """The state for a batch and a memory of these sizes, with the dtype and device of `like`."""
        sizes = (batch_size, memory_size, like)
        with outside_autocast(like):
            return NTMState(
                self.memory(*sizes),
                self.read_weights(*sizes),
                self.write_weights(*sizes),
                self.reads(*sizes),
                self._controller(batch_size, like),
            )


class InitialMANN(_InitialState):
    """Makes the `MANNState` that starts a sequence, as an `Initial` says; no slot is used yet."""

    def forward(self, batch_size: int, memory_size: int, like: Tensor) -> MANNState:
        """The state for a batch and a memory of these sizes, with the dtype and device of `like`."""
        sizes = (batch_size, memory_size, like)
        with outside_autocast(like):
            return MANNState(
                self.memory(*sizes),
                self.read_weights(*sizes),
                like.new_zeros(batch_size, memory_size),
                self.reads(*sizes),
                self._controller(batch_size, like),
            )
