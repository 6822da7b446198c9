"""The linear map from the controller's output to everything the heads need. Only parameters; the rest is in the ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from tapehead.nn.checks import check_number, check_numbers
from tapehead.ops.ntm import HeadParameters
from tapehead.ops.ntm.parameters import NTMSettings

__all__ = ["GateBias", "Heads", "NTMBiases", "ShiftBias"]

GateBias = float | Sequence[float]
"""What the biases of some heads' gates start with: a number for all of them, or one for each."""
ShiftBias = Sequence[float] | Sequence[Sequence[float]]
"""What those of their shift weights start with: a number for each offset, for all of them, or such a list for each."""


class NTMBiases(NamedTuple):
    """What the biases of an NTM's new heads start with, under the names that its constructor has for them."""

    key_strength_bias: float
    read_interpolation_bias: GateBias
    write_interpolation_bias: GateBias
    read_shift_bias: ShiftBias | None
    write_shift_bias: ShiftBias | None

    def checked(self, owner: str, max_shift: int, num_read_heads: int, num_write_heads: int) -> NTMBiases:
        """The same as floats and tuples of them.

        Raises:
            TypeError, ValueError: something else than finite numbers, than one for each offset, or for each head.
        """
        check_number(owner, "key_strength_bias", self.key_strength_bias)
        return NTMBiases(
            float(self.key_strength_bias),
            _checked_gate(owner, "read_interpolation_bias", self.read_interpolation_bias, num_read_heads),
            _checked_gate(owner, "write_interpolation_bias", self.write_interpolation_bias, num_write_heads),
            _checked_shift(owner, "read_shift_bias", self.read_shift_bias, num_read_heads, max_shift),
            _checked_shift(owner, "write_shift_bias", self.write_shift_bias, num_write_heads, max_shift),
        )

    def rows(self, settings: NTMSettings) -> list[float | Sequence[float]]:
        """As `Heads` takes them."""
        reads, writes = settings.num_read_heads, settings.num_write_heads
        strength = [0.0, self.key_strength_bias]
        if settings.addressing == "content":
            return [*strength, 0.0, 0.0]
        gates = [*_gates(self.read_interpolation_bias, reads), *_gates(self.write_interpolation_bias, writes)]
        offsets = 2 * settings.max_shift + 1
        shifts = [*_shifts(self.read_shift_bias, reads, offsets), *_shifts(self.write_shift_bias, writes, offsets)]
        return [*strength, gates, shifts, 0.0, 0.0, 0.0]


def _checked_gate(owner: str, name: str, bias: GateBias, heads: int) -> GateBias:
    if isinstance(bias, (list, tuple)):
        check_numbers(owner, name, bias, heads, _each(name, heads))
        return tuple(map(float, bias))
    check_number(owner, name, bias)
    return float(bias)  # type: ignore[arg-type]


def _checked_shift(owner: str, name: str, bias: ShiftBias | None, heads: int, max_shift: int) -> ShiftBias | None:
    offsets = f"one for each offset of max_shift={max_shift}, from {-max_shift} to {max_shift}"
    if bias is None:
        return None
    if not (isinstance(bias, (list, tuple)) and any(isinstance(each, (list, tuple)) for each in bias)):
        check_numbers(owner, name, bias, 2 * max_shift + 1, offsets)
        return tuple(map(float, bias))  # type: ignore[arg-type]
    if len(bias) != heads:
        raise ValueError(
            f"{owner}: expected {name} to be a list of floats, or {heads} such lists, {_each(name, heads)}, "
            f"got {len(bias)}: {list(bias)}."
        )
    for head, each in enumerate(bias):
        if each is None:
            raise TypeError(f"{owner}: expected {name}[{head}] to be a list of floats, {offsets}, got None.")
        check_numbers(owner, f"{name}[{head}]", each, 2 * max_shift + 1, offsets)
    return tuple(tuple(map(float, each)) for each in bias)


def _each(name: str, heads: int) -> str:
    return f"one for each of num_{name.partition('_')[0]}_heads={heads}"


def _gates(bias: GateBias, heads: int) -> list[float]:
    """A number for each head."""
    return list(bias) if isinstance(bias, Sequence) else [bias] * heads


def _shifts(bias: ShiftBias | None, heads: int, offsets: int) -> list[float]:
    """The offsets of each head, one head after the other."""
    if bias is None:
        return [0.0] * offsets * heads
    if isinstance(bias[0], Sequence):
        return [number for each in bias for number in each]  # type: ignore[union-attr]
    return [*bias] * heads


class Heads(nn.Module):
    """Parameters of all heads of a model.

    Args:
        hidden_size: H
        head_sizes: rows of each kind of head parameter, in their order: `head_sizes` of the model's settings
        biases: of each kind, what its biases start with: one number, or one for each row
    """

    def __init__(
        self,
        hidden_size: int,
        head_sizes: list[int],
        biases: Sequence[float | Sequence[float]],
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.head_sizes, self.biases = head_sizes, biases
        rows = sum(head_sizes)
        self.weight = nn.Parameter(torch.empty(rows, hidden_size, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(rows, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters: Glorot uniform weights; biases as told."""
        nn.init.xavier_uniform_(self.weight)
        with torch.no_grad():
            for part, bias in zip(self.bias.split(self.head_sizes), self.biases, strict=True):
                part.copy_(torch.tensor(bias, dtype=part.dtype, device=part.device))

    def forward(self) -> HeadParameters:
        """The parameters as the ops take them."""
        return HeadParameters(self.weight, self.bias)
