"""A core and a readout: what maps input sequences to logits."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tapehead.nn.checks import check_size

__all__ = ["SequenceModel"]


class SequenceModel(nn.Module):
    """Any layer of tapehead, and a linear readout of its output.

    Args:
        core: a layer with `output_size`, called as `core(input, state, lengths)`
        target_size: O, width of the logits

    Shape:
        input: as the core takes it, (T, B, D)
        logits: (T, B, O) in the form of the input. Past a row's length they are the readout's bias: mask them

    Raises:
        TypeError: the core is not such a layer.

    >>> import torch, tapehead
    >>> model = SequenceModel(tapehead.NTM(input_size=9, hidden_size=100), target_size=8)
    >>> logits, state = model(torch.randn(12, 4, 9))
    >>> logits.shape
    torch.Size([12, 4, 8])
    """

    def __init__(self, core: nn.Module, target_size: int) -> None:
        super().__init__()
        check_size("SequenceModel", "target_size", target_size)
        output_size = getattr(core, "output_size", None)
        if not isinstance(core, nn.Module) or not isinstance(output_size, int):
            raise TypeError(
                f"SequenceModel: expected core to be a layer with an output_size, got {type(core).__name__}. "
                "tapehead.NTM and tapehead.LSTM are such layers."
            )
        self.core = core
        self.target_size = target_size
        like = next(core.parameters())
        self.readout = nn.Linear(output_size, target_size, device=like.device, dtype=like.dtype)

    def forward(
        self, input: Tensor | PackedSequence, state: Any = None, lengths: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Any]:
        """Logits of every step, and the core's state after each row's last one."""
        output, new_state = self.core(input, state, lengths)
        if isinstance(output, PackedSequence):
            return output._replace(data=self.readout(output.data)), new_state
        return self.readout(output), new_state
