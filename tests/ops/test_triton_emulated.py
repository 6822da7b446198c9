"""The Triton kernels as they are compiled for a GPU, thread by thread in the emulator of `tests/ops/ptx`.

Here are two of them; `make emulate` runs all.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", minversion="3.4")
ROOT = Path(__file__).parents[2]
TESTS = [
    "test_triton.py::test_float32_is_as_good_as_the_reference",
    "emulated.py::test_missing_barriers_are_found",
    "emulated.py::test_the_same_call_gives_the_same_bits",
]


@pytest.mark.slow_start
@pytest.mark.parametrize(("kind", "tests"), [("NTM-plain", TESTS), ("MANN-each", TESTS)])
def test_the_compiled_kernels_are_the_reference(kind: str, tests: list[str], tmp_path: Path):
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    names = [f"tests/ops/{test}[emulator-{kind}]" for test in tests]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--assert=plain", *names]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "." * len(tests) in done.stdout
