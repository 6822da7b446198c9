"""The C++ core: a library with C functions beside this file, loaded with ctypes when it is first used.

It is built when the package is installed, where there is a C++ compiler; `CMakeLists.txt` says how. One library holds
its kernels for several instruction sets and takes the best one that the processor has. Two environment variables,
read when the library is loaded:

- `TAPEHEAD_ISA`: take no better instruction set than this one: `avx512`, `avx2` or `baseline`.
- `TAPEHEAD_CORE`: load this file in place of the package's library, such as one built with sanitizers.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from functools import cache
from pathlib import Path

from tapehead.errors import BackendError

__all__ = ["isa", "isas_built", "library", "path", "why_not", "wish_refused"]

NAME = "_core.dll" if sys.platform == "win32" else "_core.so"

# Functions of the library: arguments and result.
FUNCTIONS: dict[str, tuple[list[type], type]] = {
    "tapehead_isa": ([], ctypes.c_char_p),
    "tapehead_isas_built": ([], ctypes.c_char_p),
    "tapehead_ntm_fields": ([], ctypes.c_char_p),
    "tapehead_ntm_forward": ([ctypes.c_void_p], ctypes.c_int),  # an array of int64, one a field
    "tapehead_ntm_backward": ([ctypes.c_void_p], ctypes.c_int),
    "tapehead_mann_fields": ([], ctypes.c_char_p),
    "tapehead_mann_forward": ([ctypes.c_void_p], ctypes.c_int),
    "tapehead_mann_backward": ([ctypes.c_void_p], ctypes.c_int),
    "tapehead_rmsprop": ([ctypes.c_void_p], ctypes.c_int),
    "tapehead_clip": ([ctypes.c_void_p], ctypes.c_int),
    # For tests: which, double_precision, count, from, to.
    "tapehead_elementary": (
        [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p],
        ctypes.c_int,
    ),
}

HOW_TO_GET_A_COMPILER = (
    "get one with `apt install g++` (Debian, Ubuntu), `dnf install gcc-c++` (Fedora), `xcode-select --install` (macOS) "
    "or Visual Studio's Build Tools (Windows)"
)
BUILD_A_CHECKOUT = "build it with `make core`, or `pip install --no-deps --editable .`"
INSTALL_AGAIN = "install again with `pip install --force-reinstall --no-deps --no-cache-dir -v .` in a checkout of it"


def library() -> ctypes.CDLL:
    """The loaded library.

    Raises:
        BackendError: there is none; `why_not` says why.
    """
    found, reasons = _load()
    if found is None:
        raise BackendError(" ".join(reasons))
    return found


def why_not() -> tuple[str, ...]:
    """Every reason why the core cannot be used; empty when it can."""
    return _load()[1]


def wish_refused() -> str | None:
    """Why the core cannot be as TAPEHEAD_ISA or TAPEHEAD_CORE asks; None where it is, or where neither is to blame."""
    return next((reason for reason in why_not() if reason.startswith("TAPEHEAD_")), None)


def isa() -> str:
    """The instruction set that the kernels run with, such as `"avx2"`."""
    return library().tapehead_isa().decode()


def isas_built() -> tuple[str, ...]:
    """All that the library has kernels for, best first; `"baseline"` is what every machine of its kind has."""
    return _names(library())


def path() -> Path | None:
    """The library's file; None where the package was installed without one."""
    chosen = os.environ.get("TAPEHEAD_CORE")
    file = Path(chosen) if chosen else Path(__file__).with_name(NAME)
    return file if chosen or file.is_file() else None


@cache
def _load() -> tuple[ctypes.CDLL | None, tuple[str, ...]]:
    """The library, or None and why."""
    if sys.maxsize <= 2**32:
        return None, ("the C++ core: expected a 64-bit Python, got a 32-bit one. Install a 64-bit Python.",)
    file = path()
    if file is None:
        return None, (_not_built(),)
    try:
        loaded = ctypes.CDLL(str(file.absolute()))
        for name, (arguments, result) in FUNCTIONS.items():
            function = getattr(loaded, name)
            function.argtypes, function.restype = arguments, result
    except (OSError, AttributeError) as error:
        if os.environ.get("TAPEHEAD_CORE"):
            mend = "Name another file, or unset TAPEHEAD_CORE."
            return None, (f"TAPEHEAD_CORE: expected tapehead's library, got {str(file)!r} ({error}). {mend}",)
        return None, (f"the C++ core cannot be loaded ({error}). To mend it, {_again()}.",)
    limit = os.environ.get("TAPEHEAD_ISA")
    if limit and limit not in _names(loaded):
        mend = "Set one of these, or unset it."
        return None, (f"TAPEHEAD_ISA: expected one of {_names(loaded)}, got {limit!r}. {mend}",)
    return loaded, ()


def _names(loaded: ctypes.CDLL) -> tuple[str, ...]:
    return tuple(loaded.tapehead_isas_built().decode().split())


def _not_built() -> str:
    what = "tapehead has no C++ core here: when it was installed there was no C++ compiler, or the build failed."
    compiler = _compiler()
    if compiler is None:
        return f"{what} No C++ compiler is found on this machine: {HOW_TO_GET_A_COMPILER}. Then {_again()}."
    return f"{what} There is a C++ compiler on this machine now, {compiler}: {_again()}."


def _again() -> str:
    return BUILD_A_CHECKOUT if _is_checkout() else INSTALL_AGAIN


def _is_checkout() -> bool:
    return Path(__file__).with_name("csrc").is_dir()  # a wheel has no sources


def _compiler() -> str | None:
    """Where a C++ compiler is."""
    own = os.environ.get("CXX", "").split()[:1]  # `ccache g++` is two words
    names = ["cl", "clang-cl", "g++", "clang++"] if sys.platform == "win32" else ["c++", "g++", "clang++"]
    return next(filter(None, map(shutil.which, own + names)), None)
