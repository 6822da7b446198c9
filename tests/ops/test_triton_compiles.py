"""The Triton kernels compile for a GPU, which need not be there: the interpreter takes more than the compiler."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", minversion="3.4")
ROOT = Path(__file__).parents[2]


@pytest.mark.slow_start
def test_the_kernels_compile(tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "tests.ops.triton_compiler", "ntm", "two_layers_feedforward", "8,4096,32,128"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    tiling, *kernels = done.stdout.splitlines()
    assert tiling == "8 warps, memory 4096, weights 32 x 128"
    assert [line.split(":")[0] for line in kernels] == ["compiled forward", "compiled backward"]
    for line in kernels:
        found = re.search(r"a thread runs ([\d,]+) instructions, ([\d,]+) of them loads and stores, and (\d+) ", line)
        instructions, accesses, barriers = (int(number.replace(",", "")) for number in found.groups())
        assert instructions > accesses > barriers > 10
