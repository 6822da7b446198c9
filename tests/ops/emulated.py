"""What only the emulator can show of the compiled Triton kernels; `make emulate` runs it.

`test_triton_emulated.py` does so as well.
"""

from dataclasses import replace

import pytest
import torch

from tests.ops.fused_problems import run
from tests.ops.ptx.launch import Emulated
from tests.ops.ptx.parse import Kernel
from tests.ops.test_triton import device  # noqa: F401  (a fixture)
from tests.ops.triton_kinds import some_kinds


def _without_barriers(kernel: Kernel) -> Kernel:
    """The kernel with its first instruction, which loads an argument, in the place of each."""
    idle = kernel.instructions[0]
    return replace(kernel, instructions=[idle if one.opcode[0] == "bar" else one for one in kernel.instructions])


@some_kinds("NTM-plain", "MANN-each")
def test_missing_barriers_are_found(kind, device: str, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    problem = kind.problem(torch.float32, rows=1)
    run(problem, "fused")
    parsed = {text: _without_barriers(kernel) for text, kernel in Emulated.parsed.items()}
    monkeypatch.setattr(Emulated, "parsed", parsed)
    with pytest.raises(RuntimeError) as error:
        run(problem, "fused")
    for kind_of_memory in ("global", "shared"):
        for hazard in ("load after a store", "store after a load"):
            assert f"{kind_of_memory}: {hazard}, without a barrier" in str(error.value)


@some_kinds("NTM-plain", "MANN-each")
def test_the_same_call_gives_the_same_bits(kind, device: str):  # noqa: F811
    problem = kind.problem(torch.float32, rows=1)
    first, second = (run(problem, "fused") for _ in range(2))
    for before, after in zip(first, second, strict=True):
        assert all(torch.equal(before[name], after[name]) for name in before)
