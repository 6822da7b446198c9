"""The Triton kernels compile for a GPU, which need not be there: the interpreter takes more than the compiler."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", minversion="3.4")
ROOT = Path(__file__).parents[2]


@pytest.mark.slow_start
@pytest.mark.parametrize(
    ("op", "case"),
    [("ntm", "two_layers_feedforward"), ("mann", "each")],
)
def test_the_kernels_compile(op: str, case: str, tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "tests.ops.triton_compiler", op, case]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["compiled forward", "compiled backward"]
