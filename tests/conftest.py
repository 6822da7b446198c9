"""Every test starts from the same seed, and a red property test is red again."""

import os

import pytest
import torch
from hypothesis import settings

from tapehead import backends
from tapehead.ops import tunings_file
from tapehead.tasks.omniglot import task
from tests.tasks.omniglot import synthetic

# Where no GPU can run the Triton kernels, Triton's interpreter does, or with TRITON_INTERPRET=0 the emulator of
# `tests/ops/ptx`. Triton asks when it is imported.
if torch.cuda.is_available():
    os.environ.pop("TRITON_INTERPRET", None)
    # Without it cuBLAS refuses to run under `torch.use_deterministic_algorithms`, with which tests fill fresh memory.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
else:
    os.environ.setdefault("TRITON_INTERPRET", "1")

pytest.register_assert_rewrite("tests.ops.fused_problems")
settings.register_profile("tapehead", deadline=None, derandomize=True, database=None, max_examples=30)
settings.load_profile("tapehead")
torch.set_num_threads(1)  # the tensors are tiny: more threads only get in each other's way


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _untuned(monkeypatch, tmp_path_factory):
    """What the user of this machine tuned is left aside."""
    monkeypatch.setattr(tunings_file, "path", lambda: tmp_path_factory.getbasetemp() / "none" / "tunings.json")
    tunings_file.forget()
    yield
    tunings_file.forget()


@pytest.fixture
def tunings(monkeypatch, tmp_path, _untuned):
    """The path of a file of tunings of the test's own; there is none yet."""
    monkeypatch.setattr(tunings_file, "path", lambda: tmp_path / "cache" / "tunings.json")
    return tunings_file.path()


@pytest.fixture(scope="session")
def _signed():
    return synthetic.signed()


@pytest.fixture
def signed(monkeypatch, _signed):
    """A whole Omniglot in memory in place of the real one, for this process: what every task reads."""
    monkeypatch.setattr(task, "load", lambda data, cache: _signed)
    return _signed


@pytest.fixture
def unrendered(monkeypatch):
    """Pictures that do not move are not rendered, which takes most of their time; `tests/plots` looks at some."""
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **options: file.write(b"\x89PNG"))


@pytest.fixture
def core_calls(monkeypatch):
    """Every call of the C++ core for a sequence, by the function's name."""
    from tapehead.ops import mann, ntm  # behind the choice of the interpreter above

    found = []
    for cpu in (ntm.fused.cpu, mann.fused.cpu):
        kernel = cpu._kernel
        monkeypatch.setattr(cpu, "_kernel", lambda name, kernel=kernel: found.append(name) or kernel(name))
    return found


def pytest_collection_modifyitems(items):
    request = backends.Request("ntm", torch.device("cuda"), torch.float32)
    reasons = backends.why_not("fused", request)
    if reasons:
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason=" ".join(reasons)))
