"""The linear map from the controller's output to everything the heads need. Only parameters; the rest is in the ops."""

from __future__ import annotations

import torch
from torch import nn

from tapehead.ops.ntm import HeadParameters

__all__ = ["Heads"]


class Heads(nn.Module):
    """Parameters of all heads of a model.

    Args:
        hidden_size: H
        head_sizes: rows of each kind of head parameter, in their order: `head_sizes` of the model's settings
        biases: of each kind, what its biases start with
    """

    def __init__(
        self,
        hidden_size: int,
        head_sizes: list[int],
        biases: list[float],
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
        for part, bias in zip(self.bias.split(self.head_sizes), self.biases, strict=True):
            nn.init.constant_(part, bias)

    def tensors(self) -> HeadParameters:
        """The parameters as the ops take them."""
        return HeadParameters(self.weight, self.bias)
