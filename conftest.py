"""Where Triton is not installed, what imports it is not looked into for doctests."""

from importlib.util import find_spec

KERNELS = ["src/tapehead/ops/triton/*.py", "src/tapehead/ops/*/triton/*.py", "tests/ops/triton_*.py"]
collect_ignore_glob = [] if find_spec("triton") else KERNELS
