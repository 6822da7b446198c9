"""The linear map from the controller's output to everything the heads need. Only parameters; the rest is in the ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from tapehead.nn.checks import check_number, check_numbers
from tapehead.ops.ntm import HeadParameters
from tapehead.ops.ntm.parameters import NTMSettings

__all__ = ["Heads", "NTMBiases"]


class NTMBiases(NamedTuple):
    """What the biases of an NTM's new heads start with, under the names that its constructor has for them."""

    key_strength_bias: float
    read_interpolation_bias: float
    write_interpolation_bias: float
    read_shift_bias: Sequence[float] | None
    write_shift_bias: Sequence[float] | None

    def checked(self, owner: str, max_shift: int) -> NTMBiases:
        """The same as floats and tuples of them.

        Raises:
            TypeError, ValueError: something else than finite numbers, or than one for each offset.
        """
        for name in ("key_strength_bias", "read_interpolation_bias", "write_interpolation_bias"):
            check_number(owner, name, getattr(self, name))
        offsets = f"one for each offset of max_shift={max_shift}, from {-max_shift} to {max_shift}"
        for name in ("read_shift_bias", "write_shift_bias"):
            check_numbers(owner, name, getattr(self, name), 2 * max_shift + 1, offsets)
        numbers = (self.key_strength_bias, self.read_interpolation_bias, self.write_interpolation_bias)
        strength, read, write = map(float, numbers)
        return NTMBiases(strength, read, write, _floats(self.read_shift_bias), _floats(self.write_shift_bias))

    def rows(self, settings: NTMSettings) -> list[float | Sequence[float]]:
        """As `Heads` takes them."""
        reads, writes = settings.num_read_heads, settings.num_write_heads
        still = [0.0] * (2 * settings.max_shift + 1)
        strength = [0.0, self.key_strength_bias]
        if settings.addressing == "content":
            return [*strength, 0.0, 0.0]
        interpolation = [self.read_interpolation_bias] * reads + [self.write_interpolation_bias] * writes
        shift = [*(self.read_shift_bias or still)] * reads + [*(self.write_shift_bias or still)] * writes
        return [*strength, interpolation, shift, 0.0, 0.0, 0.0]


def _floats(values: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(map(float, values))


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
