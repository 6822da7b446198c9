"""The network that drives a memory: an LSTM or feed-forward layers. Only parameters; the steps are in the ops."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from tapehead.nn.checks import check_choice
from tapehead.ops.controller import ControllerActivation, ControllerParameters, FeedForwardLayer, LSTMLayer

__all__ = ["Controller", "ControllerKind", "check_controller"]

ControllerKind = Literal["lstm", "feedforward"]


def check_controller(owner: str, kind: ControllerKind, activation: ControllerActivation) -> None:
    """Raise unless there is such a controller, and it has such an activation."""
    check_choice(owner, "controller", kind, ControllerKind)
    check_choice(owner, "controller_activation", activation, ControllerActivation)
    if kind == "lstm" and activation != "tanh":
        raise ValueError(
            f"{owner}: expected controller_activation 'tanh' of an LSTM controller, which has its own activations, got "
            f"{activation!r}. Choose controller='feedforward' with it."
        )


class _LSTMLayer(nn.Module):
    def __init__(
        self, input_size: int, hidden_size: int, *, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        rows = 4 * hidden_size
        self.weight_input = nn.Parameter(torch.empty(rows, input_size, device=device, dtype=dtype))
        self.weight_hidden = nn.Parameter(torch.empty(rows, hidden_size, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(rows, device=device, dtype=dtype))

    def forward(self) -> LSTMLayer:
        return LSTMLayer(self.weight_input, self.weight_hidden, self.bias)


class _FeedForwardLayer(nn.Module):
    def __init__(
        self, input_size: int, hidden_size: int, *, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        self.weight_input = nn.Parameter(torch.empty(hidden_size, input_size, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(hidden_size, device=device, dtype=dtype))

    def forward(self) -> FeedForwardLayer:
        return FeedForwardLayer(self.weight_input, self.bias)


class Controller(nn.Module):
    """Parameters of a controller of either kind, `num_layers` deep.

    Args:
        kind: "lstm" or "feedforward"
        input_size: D
        reads_size: R*M, the width of all reads together
        hidden_size: H, of every layer
        num_layers: L
    """

    def __init__(
        self,
        kind: ControllerKind,
        input_size: int,
        reads_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.kind = kind
        self.hidden_size = hidden_size

        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        layer = _LSTMLayer if kind == "lstm" else _FeedForwardLayer
        self.layers = nn.ModuleList([layer(size, hidden_size, device=device, dtype=dtype) for size in sizes])
        rows = 4 * hidden_size if kind == "lstm" else hidden_size
        self.weight_reads = nn.Parameter(torch.empty(rows, reads_size, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters.

        LSTM: all uniform in +-1/sqrt(H), as `torch.nn.LSTM` does. Feed-forward: Glorot uniform for tanh, biases 0.
        """
        bound = 1 / math.sqrt(self.hidden_size)
        gain = nn.init.calculate_gain("tanh")
        for parameter in self.parameters():
            if self.kind == "lstm":
                nn.init.uniform_(parameter, -bound, bound)
            elif parameter.dim() == 1:
                nn.init.zeros_(parameter)
            else:
                nn.init.xavier_uniform_(parameter, gain)

    def forward(self) -> ControllerParameters:
        """The parameters as the ops take them."""
        layers = tuple([layer() for layer in self.layers])
        return ControllerParameters(layers, self.weight_reads)
