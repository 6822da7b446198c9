"""Where Triton is not installed, what imports it is not looked into for doctests."""

import gc
from importlib.util import find_spec

KERNELS = ["src/tapehead/ops/triton/*.py", "src/tapehead/ops/*/triton/*.py", "tests/ops/triton_*.py"]
collect_ignore_glob = [] if find_spec("triton") else KERNELS

# All that is imported and collected stays: to look through it for garbage is a third of the time to the first test.
gc.disable()


def pytest_collection_finish() -> None:
    """From here on garbage is collected, of what is made from here on."""
    gc.freeze()
    gc.enable()
