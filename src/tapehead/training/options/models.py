"""The models that can be trained, as small dataclasses: each makes its layer for an input's width."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from tapehead.backends import Backend
from tapehead.nn import LSTM, MANN, NTM, Initial
from tapehead.nn.checks import check_choice, check_size
from tapehead.nn.controller import ControllerKind
from tapehead.nn.embedding import ImageEmbedding
from tapehead.nn.initial import ControllerStateKind
from tapehead.ops.controller import ControllerActivation
from tapehead.ops.heads import Activation, Order
from tapehead.ops.mann.parameters import KeyStrength, LeastUsed, Write
from tapehead.ops.ntm.parameters import Addressing
from tapehead.tasks import Task

__all__ = [
    "MODELS",
    "EmbeddingConfig",
    "LSTMConfig",
    "MANNConfig",
    "ModelConfig",
    "NTMConfig",
    "default_model",
]


EmbeddingKind = Literal["none", "convolution"]
"""What looks at pictures."""


@dataclass(frozen=True)
class NTMConfig:
    """A Neural Turing Machine.

    Attributes:
        hidden_size: width of each controller layer
        memory_size: slots of the memory
        word_size: numbers in a slot
        num_read_heads: read heads
        num_write_heads: write heads
        max_shift: farthest a head moves in a step by location, in slots
        addressing: by content and location, or by content alone
        order: of reading and writing inside a step
        key_activation: of the keys
        add_activation: of the add vectors
        controller: the network that drives the memory
        controller_activation: of a feed-forward one
        num_layers: depth of the controller
        key_strength_bias: of new heads; their key strengths begin with its softplus
        read_interpolation_bias: of new read heads, or of each; interpolation gates begin with its sigmoid
        write_interpolation_bias: the same of the write heads
        read_shift_bias: of new read heads, or of each, a number for each offset from -max_shift to max_shift; shift
            weights begin with its softmax
        write_shift_bias: the same of the write heads
        initial: what starts a sequence
        backend: which implementation runs it
        checkpoint_every: steps between two memories that the fused backend keeps for the gradient; null lets it choose
        gradient_limit: of the elements of a gradient that flows from a step to the head weights of the one before; null
            leaves it exact, and then it may overflow
    """

    hidden_size: int = 100
    memory_size: int = 128
    word_size: int = 20
    num_read_heads: int = 1
    num_write_heads: int = 1
    max_shift: int = 1
    addressing: Addressing = "content_and_location"
    order: Order = "read_write"
    key_activation: Activation = "linear"
    add_activation: Activation = "linear"
    controller: ControllerKind = "lstm"
    controller_activation: ControllerActivation = "tanh"
    num_layers: int = 1
    key_strength_bias: float = 0.0
    read_interpolation_bias: float | list[float] = 0.0
    write_interpolation_bias: float | list[float] = 0.0
    read_shift_bias: list[float] | list[list[float]] | None = None
    write_shift_bias: list[float] | list[list[float]] | None = None
    initial: Initial = field(default_factory=Initial)
    backend: Backend = "auto"
    checkpoint_every: int | None = None
    gradient_limit: float | None = 1e4

    def build(self, input_size: int) -> nn.Module:
        """The layer."""
        return NTM(
            input_size,
            self.hidden_size,
            memory_size=self.memory_size,
            word_size=self.word_size,
            num_read_heads=self.num_read_heads,
            num_write_heads=self.num_write_heads,
            max_shift=self.max_shift,
            addressing=self.addressing,
            order=self.order,
            key_activation=self.key_activation,
            add_activation=self.add_activation,
            controller=self.controller,
            controller_activation=self.controller_activation,
            num_layers=self.num_layers,
            key_strength_bias=self.key_strength_bias,
            read_interpolation_bias=self.read_interpolation_bias,
            write_interpolation_bias=self.write_interpolation_bias,
            read_shift_bias=self.read_shift_bias,
            write_shift_bias=self.write_shift_bias,
            initial=self.initial,
            backend=self.backend,
            checkpoint_every=self.checkpoint_every,
            gradient_limit=self.gradient_limit,
        )


@dataclass(frozen=True)
class MANNConfig:
    """A memory-augmented network with least-recently-used access.

    Attributes:
        hidden_size: width of each controller layer
        memory_size: slots of the memory
        word_size: numbers in a slot
        num_read_heads: heads; each reads and writes
        usage_decay: of what counts as use of a slot, in a step
        write: a vector of its own, or the key
        least_used: the one slot that was used least, one for each head, or all of these for each head
        order: of reading and writing inside a step
        key_strength: learned, or always 1
        key_activation: of the keys
        add_activation: of the vectors that are written
        controller: the network that drives the memory
        controller_activation: of a feed-forward one
        num_layers: depth of the controller
        key_strength_bias: what the biases of the key strengths start with; heads begin with its softplus. Without
            effect where it is always 1
        write_gate_bias: what the biases of the write gates start with; heads begin with its sigmoid
        initial: what starts a sequence
        backend: which implementation runs it
    """

    hidden_size: int = 200
    memory_size: int = 128
    word_size: int = 40
    num_read_heads: int = 4
    usage_decay: float = 0.95
    write: Write = "add"
    least_used: LeastUsed = "one"
    order: Order = "write_read"
    key_strength: KeyStrength = "learned"
    key_activation: Activation = "tanh"
    add_activation: Activation = "tanh"
    controller: ControllerKind = "lstm"
    controller_activation: ControllerActivation = "tanh"
    num_layers: int = 1
    key_strength_bias: float = 15.0
    write_gate_bias: float = -2.0
    initial: Initial = field(default_factory=Initial)
    backend: Backend = "auto"

    def build(self, input_size: int) -> nn.Module:
        """The layer."""
        return MANN(
            input_size,
            self.hidden_size,
            memory_size=self.memory_size,
            word_size=self.word_size,
            num_read_heads=self.num_read_heads,
            usage_decay=self.usage_decay,
            write=self.write,
            least_used=self.least_used,
            order=self.order,
            key_strength=self.key_strength,
            key_activation=self.key_activation,
            add_activation=self.add_activation,
            controller=self.controller,
            controller_activation=self.controller_activation,
            num_layers=self.num_layers,
            key_strength_bias=self.key_strength_bias,
            write_gate_bias=self.write_gate_bias,
            initial=self.initial,
            backend=self.backend,
        )


@dataclass(frozen=True)
class LSTMConfig:
    """A stack of LSTM layers, the baseline without external memory.

    Attributes:
        hidden_size: width of each layer
        num_layers: depth
        initial: what starts a sequence
    """

    hidden_size: int = 256
    num_layers: int = 3
    initial: ControllerStateKind = "zero"

    def build(self, input_size: int) -> nn.Module:
        """The layer."""
        return LSTM(input_size, self.hidden_size, self.num_layers, initial=self.initial)


@dataclass(frozen=True)
class EmbeddingConfig:
    """What looks at the pictures of a task before the model does.

    Attributes:
        kind: nothing, so that the model sees the pixels, or a small convolutional network
        channels: of every convolution
        features: numbers that stand for a picture
    """

    kind: EmbeddingKind = "none"
    channels: int = 16
    features: int = 64

    def __post_init__(self) -> None:
        check_choice("EmbeddingConfig", "kind", self.kind, EmbeddingKind)
        check_size("EmbeddingConfig", "channels", self.channels)
        check_size("EmbeddingConfig", "features", self.features)

    def check(self, task: Task) -> None:
        """Raise unless there is something to look at."""
        if self.kind != "none" and task.image_size is None:
            raise ValueError(
                f"EmbeddingConfig: expected kind 'none' for {type(task).__name__}, which shows no pictures, got "
                f"{self.kind!r}. Leave --embedding.kind out."
            )

    def build(self, task: Task) -> ImageEmbedding | None:
        """The embedding, None where the kind is "none".

        Raises:
            ValueError: the task shows no pictures.
        """
        self.check(task)
        if self.kind == "none":
            return None
        assert task.image_size is not None
        return ImageEmbedding(task.input_size, task.image_size, channels=self.channels, features=self.features)


ModelConfig = NTMConfig | MANNConfig | LSTMConfig
"""The options of any model"""

MODELS: dict[str, type[ModelConfig]] = {"ntm": NTMConfig, "mann": MANNConfig, "lstm": LSTMConfig}
"""Every model by the name it has on the command line."""


def default_model(task: str) -> str:
    """The model to train on a task where nobody names one.

    >>> default_model("copy"), default_model("omniglot")
    ('ntm', 'mann')
    """
    return "mann" if task == "omniglot" else "ntm"
