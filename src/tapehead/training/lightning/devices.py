"""Where a run trains that leaves the device to Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from tapehead import backends
from tapehead.training.options.config import RunConfig

__all__ = ["why_on_cpu"]


def why_on_cpu(config: RunConfig, options: Mapping[str, Any]) -> str | None:
    """Why a run stays on the CPU though another device is there; None where Lightning may choose.

    A plain loop on a GPU is slower than the kernels of the CPU: thousands of small operations, one after the other.

    Args:
        config: of the run
        options: of the Trainer, by its own names
    """
    kind = _other_kind()
    if options.get("accelerator") != "auto" or options.get("devices", 1) not in (1, "1") or kind is None:
        return None
    backend = getattr(config.model, "backend", None)
    if config.model_name not in backends.ops() or backend not in ("auto", "fused"):
        return None

    def is_fused(kind: str) -> bool:
        request = backends.Request(config.model_name, torch.device(kind), torch.float32)
        refused = backends.why_not("fused", request)
        return not refused and (backend == "fused" or not backends.passed_over("fused", request))

    if not is_fused("cpu") or is_fused(kind):
        return None
    return (
        f"Training on the CPU, where the kernels run; on {kind} it would be a plain loop. "
        "--trainer.accelerator gpu takes that device all the same."
    )


def _other_kind() -> str | None:
    """The kind of device that Lightning would take, other than a CPU; None where it would take the CPU."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else None
