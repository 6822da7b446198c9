"""No figures from a wrong kernel: its tests come first."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

import torch

__all__ = ["ON_THE_CPU", "environment_for", "require", "tests_of"]

ROOT = Path(__file__).parent.parent
ON_THE_CPU = {"ntm": "tests/ops/test_fused.py", "mann": "tests/ops/test_fused_mann.py"}
"""The tests of each machine's kernels in C++, against the reference."""
TOGETHER_ON_THE_CPU = "tests/ops/test_groups.py"
"""Those of several models in a call."""
ON_THE_GPU = ("tests/ops/test_triton.py", "tests/ops/test_groups_triton.py")
"""Those of the kernels in Triton, of both machines, likewise."""


def tests_of(ops: Collection[str], device: torch.device) -> list[str]:
    """Pytest's arguments for the tests of these machines' kernels on a device, "ntm" or "mann" or both."""
    if device.type != "cuda":
        return [*(ON_THE_CPU[op] for op in ops), TOGETHER_ON_THE_CPU]
    others = [op for op in ON_THE_CPU if op not in ops]
    return [*ON_THE_GPU, *(["-k", " and ".join(f"not {op}" for op in others)] if others else [])]


def require(tests: Collection[str], device: torch.device | None = None) -> None:
    """Run tests, given as pytest's arguments; on a GPU eight at a time where pytest-xdist is, as they mostly compile.

    Raises:
        SystemExit: one failed, or there was none.
    """
    many = device is not None and device.type == "cuda" and find_spec("xdist") is not None
    words = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *(["-n", "8"] if many else []), *tests]
    if subprocess.run([sys.executable, *words], cwd=ROOT, env=environment_for(device)).returncode:
        raise SystemExit("parity failed: no figures from a wrong kernel")


def environment_for(device: torch.device | None) -> dict[str, str]:
    """In which a process has this GPU as its first: the tests know no other."""
    found = dict(os.environ)
    if device is not None and device.type == "cuda" and device.index:
        seen = found.get("CUDA_VISIBLE_DEVICES")
        found["CUDA_VISIBLE_DEVICES"] = seen.split(",")[device.index].strip() if seen else str(device.index)
    return found
