"""The C++ core: found, loaded, limited to an instruction set, and missed with sentences that help."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import tapehead
from tapehead import BackendError, core

FOLDER = Path(core.__file__).parent
needs_core = pytest.mark.skipif(not (FOLDER / core.NAME).is_file(), reason="built without a C++ compiler")

# The package's loader without `import tapehead`, which takes torch: it needs the standard library alone.
ALONE = (
    f"import sys, types; package = types.ModuleType('tapehead'); package.__path__ = [{str(FOLDER)!r}]; "
    "sys.modules['tapehead'] = package; from tapehead import core; "
)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch):
    """Nothing loaded, and no wishes from the environment."""
    monkeypatch.delenv("TAPEHEAD_CORE", raising=False)
    monkeypatch.delenv("TAPEHEAD_ISA", raising=False)
    core._load.cache_clear()
    yield monkeypatch
    core._load.cache_clear()


def alone(expression: str, isa: str = "") -> str:
    """What a new process prints of an expression, limited to an instruction set."""
    script = f"{ALONE}print({expression})"
    environment = {**os.environ, "TAPEHEAD_ISA": isa}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_core
def test_it_loads(fresh):
    assert core.why_not() == ()
    assert isinstance(core.library(), ctypes.CDLL)
    assert core.library() is core.library()
    assert core.isa() in core.isas_built()
    assert core.isas_built()[-1] == "baseline"
    assert len(set(core.isas_built())) == len(core.isas_built())


@needs_core
@pytest.mark.parametrize("machine", ["ntm", "mann"])
def test_fields_have_names_of_their_own(machine: str):
    names = getattr(core.library(), f"tapehead_{machine}_fields")().decode().split()
    assert len(names) > 50
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)


@needs_core
@pytest.mark.parametrize("isa", ["avx512", "avx2", "baseline"])
def test_the_environment_limits_the_instruction_set(isa: str):
    built = core.isas_built()
    if isa not in built:
        pytest.skip(f"{isa} is not built for this machine")
    best = alone("core.isa()")
    assert alone("core.isa()", isa) == max(best, isa, key=built.index)


@needs_core
def test_an_unknown_instruction_set_is_refused(fresh):
    fresh.setenv("TAPEHEAD_ISA", "sse9")
    (reason,) = core.why_not()
    assert reason.startswith("TAPEHEAD_ISA: expected one of (")
    assert "'baseline'" in reason
    assert "got 'sse9'. Set one of these, or unset it." in reason
    with pytest.raises(BackendError, match="TAPEHEAD_ISA"):
        core.library()


@needs_core
def test_another_library_can_be_named(fresh, tmp_path):
    other = tmp_path / "other.so"
    shutil.copy(FOLDER / core.NAME, other)
    fresh.setenv("TAPEHEAD_CORE", str(other))
    assert core.path() == other
    assert core.why_not() == ()
    assert core.library()._name == str(other)


@pytest.mark.parametrize("content", [None, b"", b"this is no library\n" * 100], ids=["missing", "empty", "garbage"])
def test_a_named_library_that_is_none(content, fresh, tmp_path):
    other = tmp_path / "other.so"
    if content is not None:
        other.write_bytes(content)
    fresh.setenv("TAPEHEAD_CORE", str(other))
    (reason,) = core.why_not()
    with pytest.raises(OSError, match=r"other\.so") as loader:
        ctypes.CDLL(str(other))
    assert reason == (
        f"TAPEHEAD_CORE: expected tapehead's library, got {str(other)!r} ({loader.value}). "
        "Name another file, or unset TAPEHEAD_CORE."
    )
    with pytest.raises(BackendError, match="TAPEHEAD_CORE"):
        core.isa()


@needs_core
def test_a_library_of_another_version(fresh):
    fresh.setitem(core.FUNCTIONS, "tapehead_of_tomorrow", ([], ctypes.c_int))
    (reason,) = core.why_not()
    assert "cannot be loaded" in reason
    assert "tapehead_of_tomorrow" in reason
    assert "To mend it, " in reason


COMPILERS = ["c++", "g++", "clang++", "cl", "my-c++"]


@pytest.mark.parametrize("checkout", [True, False])
@pytest.mark.parametrize("present", [None, *COMPILERS])
def test_a_missing_library_says_what_to_do(present, checkout, fresh):
    fresh.setattr(core, "path", lambda: None)
    fresh.setattr(core, "_is_checkout", lambda: checkout)
    fresh.setattr(shutil, "which", lambda name: f"/somewhere/{name}" if name == present else None)
    fresh.setenv("CXX", "my-c++ -m64")
    if present == "cl":
        fresh.setattr(sys, "platform", "win32")
    (reason,) = core.why_not()
    assert reason.startswith("tapehead has no C++ core here: ")
    if present is None:
        assert "No C++ compiler is found on this machine" in reason
        for way in ("apt install g++", "dnf install gcc-c++", "xcode-select --install", "Build Tools"):
            assert way in reason
    else:
        assert f"There is a C++ compiler on this machine now, /somewhere/{present}: " in reason
    again = "`make core`" if checkout else "`pip install --force-reinstall --no-deps --no-cache-dir -v .` in a checkout"
    assert again in reason
    with pytest.raises(BackendError, match="no C\\+\\+ core"):
        core.library()


def test_where_the_library_is_looked_for(fresh, tmp_path):
    fresh.setattr(core, "__file__", str(tmp_path / "core.py"))
    assert core.path() is None
    (tmp_path / core.NAME).touch()
    assert core.path() == tmp_path / core.NAME


def test_a_32_bit_python_is_refused(fresh):
    fresh.setattr(sys, "maxsize", 2**31 - 1)
    assert core.why_not() == ("the C++ core: expected a 64-bit Python, got a 32-bit one. Install a 64-bit Python.",)


@needs_core
@pytest.mark.parametrize("variable", ["TAPEHEAD_ISA", "TAPEHEAD_CORE"])
def test_a_wish_that_is_refused_is_not_passed_over(fresh, variable):
    fresh.setenv(variable, "sse9")
    assert core.wish_refused().startswith(f"{variable}: expected")
    for backend in ("auto", "fused"):
        with pytest.raises(BackendError, match=f"{variable}: expected .*sse9"):
            tapehead.NTM(3, 4, backend=backend)(torch.zeros(2, 1, 3))
    tapehead.NTM(3, 4, backend="reference")(torch.zeros(2, 1, 3))
