"""The controllers that drive a memory: one step of an LSTM or of feed-forward layers.

The lowest layer reads the step's input and the reads of the step before. The input's share of its sum does not depend
on the recurrence, so `project` computes it for all steps at once, and a step adds the rest.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tapehead.states import LSTMState

__all__ = [
    "ControllerActivation",
    "ControllerParameters",
    "FeedForwardLayer",
    "LSTMLayer",
    "controller_step",
    "feedforward_step",
    "lstm_step",
    "project",
]

ControllerActivation = Literal["tanh", "relu"]
"""Of the layers of a feed-forward controller. An LSTM has its own."""


class LSTMLayer(NamedTuple):
    """Parameters of one LSTM layer; gates in the order of `torch.nn.LSTM`: input, forget, cell, output."""

    weight_input: Tensor
    """(4H, D) in the lowest layer, (4H, H) above it"""
    weight_hidden: Tensor
    """(4H, H)"""
    bias: Tensor
    """(4H,)"""


class FeedForwardLayer(NamedTuple):
    """Parameters of one feed-forward layer."""

    weight_input: Tensor
    """(H, D) in the lowest layer, (H, H) above it"""
    bias: Tensor
    """(H,)"""


class ControllerParameters(NamedTuple):
    """Parameters of a controller; the kind of its layers tells which one it is."""

    layers: tuple[LSTMLayer | FeedForwardLayer, ...]
    """lowest first"""
    weight_reads: Tensor
    """(4H, R*M) or (H, R*M): what the lowest layer makes of the reads r_{t-1}"""


def project(input: Tensor, parameters: ControllerParameters) -> Tensor:
    """The input's share of the lowest layer's sum, bias included: (T, B, D) -> (T, B, 4H) or (T, B, H)."""
    lowest = parameters.layers[0]
    return functional.linear(input, lowest.weight_input, lowest.bias)


def controller_step(
    projected: Tensor,
    reads: Tensor,
    state: LSTMState | None,
    parameters: ControllerParameters,
    activation: ControllerActivation,
) -> tuple[Tensor, LSTMState | None]:
    """One step of either kind of controller: its output (B, H) and its new state, None of a feed-forward one."""
    if state is None:
        return feedforward_step(projected, reads, parameters, activation), None
    return lstm_step(projected, reads, state, parameters)


def lstm_step(
    projected: Tensor, reads: Tensor, state: LSTMState, parameters: ControllerParameters
) -> tuple[Tensor, LSTMState]:
    """One step of a stack of LSTM layers without peepholes.

    Args:
        projected: (B, 4H), one step of `project`
        reads: (B, R*M), r_{t-1}
        state: hidden and cell, each (L, B, H)
        parameters: of L `LSTMLayer`s

    Returns:
        (B, H), the top layer's hidden state, and the new state
    """
    hiddens: list[Tensor] = []
    cells: list[Tensor] = []
    previous = zip(parameters.layers, state.hidden.unbind(), state.cell.unbind(), strict=True)
    for index, (layer, hidden, cell) in enumerate(previous):
        assert isinstance(layer, LSTMLayer)
        if index == 0:
            below = torch.addmm(projected, reads, parameters.weight_reads.t())
        else:
            below = functional.linear(hiddens[-1], layer.weight_input, layer.bias)
        gates = torch.addmm(below, hidden, layer.weight_hidden.t())
        input_gate, forget_gate, candidate, output_gate = gates.chunk(4, 1)
        cell = torch.sigmoid(forget_gate) * cell + torch.sigmoid(input_gate) * torch.tanh(candidate)
        hiddens.append(torch.sigmoid(output_gate) * torch.tanh(cell))
        cells.append(cell)
    return hiddens[-1], LSTMState(torch.stack(hiddens), torch.stack(cells))


def feedforward_step(
    projected: Tensor, reads: Tensor, parameters: ControllerParameters, activation: ControllerActivation
) -> Tensor:
    """One step of a stack of feed-forward layers.

    Args:
        projected: (B, H), one step of `project`
        reads: (B, R*M), r_{t-1}
        parameters: of `FeedForwardLayer`s
        activation: of every layer

    Returns:
        (B, H), the top layer's activations
    """
    activate = torch.relu if activation == "relu" else torch.tanh
    hidden = activate(torch.addmm(projected, reads, parameters.weight_reads.t()))
    for layer in parameters.layers[1:]:
        hidden = activate(functional.linear(hidden, layer.weight_input, layer.bias))
    return hidden
