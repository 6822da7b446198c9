"""What several processes that train one model have to agree on besides its parameters."""

from __future__ import annotations

import lightning.pytorch as lightning
import torch
from torch import Tensor

__all__ = ["SameBuffers"]


class SameBuffers(lightning.Callback):
    """Gives a model the mean of its buffers over all processes before each validation.

    An embedding's running means come from the pictures of the process alone. Every process validates, and decides by
    what it finds how it goes on; so all must find the same.
    """

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.world_size > 1:
            for buffer in pl_module.buffers():
                if buffer.is_floating_point():
                    mean = trainer.strategy.reduce(buffer.clone(), reduce_op="mean")
                    assert isinstance(mean, Tensor)
                    with torch.no_grad():
                        buffer.copy_(mean)
