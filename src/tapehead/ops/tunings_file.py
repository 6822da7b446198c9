"""What was tuned on this machine: a small file in the user's cache, looked up by every launch of a Triton kernel.

A tuning holds for one GPU, one Triton, one state of the kernels' sources, and the sizes of a call. Whatever is wrong
with the file, a launch goes on as if there were none. `tapehead.tune` writes it.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tapehead import backends
from tapehead.cache import cache_folder
from tapehead.files import locked, replacing
from tapehead.ops.tilings import USUAL, Tiling

__all__ = ["Key", "chosen", "count", "forget", "kernels_hash", "key_of", "path", "remember"]

KERNELS = Path(__file__).parent
NOT_SIZES = ("heads_at_once", "tile", "resident", "product_rows", "product_columns")
"""fields of a machine's plan that follow from the tiling"""


class Key(NamedTuple):
    """What a tuning holds for."""

    device: str
    """name of the GPU"""
    triton: str
    """version, under whichever name it is installed; empty where it is not"""
    kernels: str
    """a hash of the sources; empty where they cannot be read, and nothing is looked up"""
    op: str
    way: str
    dtype: str
    programs: int
    """rows of all groups, rounded up to a power of two"""
    sizes: str
    """all else that is compiled in"""

    @property
    def place(self) -> str:
        """What the file keeps apart: another GPU, Triton or kernel has tunings of its own."""
        return f"{self.device}, Triton {self.triton}, {self.op} {self.kernels}"

    @property
    def call(self) -> str:
        """What is launched there."""
        return f"{self.way} in {self.dtype}, up to {self.programs} rows: {self.sizes}"


def key_of(op: str, way: str, plan: Any, dtype: torch.dtype, device: torch.device, programs: int) -> Key:
    """The key of a launch.

    Args:
        op: name of the machine's
        way: "forward" or "backward"
        plan: what is compiled in, with any tiling
        dtype: of the tensors
        device: that they are on
        programs: rows of all groups
    """
    sizes = ", ".join(f"{name} {value}" for name, value in plan._asdict().items() if name not in NOT_SIZES)
    rounded = 1 << (programs - 1).bit_length()
    own = (_name_of(device), backends.triton_version() or "", kernels_hash(op))
    return Key(*own, op, way, str(dtype).removeprefix("torch."), rounded, sizes)


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@lru_cache(8)
def kernels_hash(op: str) -> str:
    """A hash of the sources of a machine's kernels, and of what compiles them; empty where they cannot be read.

    >>> len(kernels_hash("ntm")), kernels_hash("ntm") == kernels_hash("mann")
    (16, False)
    """
    digest = hashlib.sha256()
    try:
        folders = [sorted(folder.glob("*.py")) for folder in (KERNELS / "triton", KERNELS / op / "triton")]
        if not all(folders):
            return ""
        for file in (*chain(*folders), KERNELS / "triton_launches.py", KERNELS / op / "cuda.py"):
            digest.update(f"{file.name}\n".encode() + file.read_bytes())
    except OSError:
        return ""
    return digest.hexdigest()[:16]


def path() -> Path:
    """The file: tunings.json in the folder TAPEHEAD_CACHE of the environment, or else in the user's cache.

    >>> path().name
    'tunings.json'
    """
    return cache_folder() / "tunings.json"


_found: dict[Key, Tiling] = {}
"""What this process looked up or tuned."""
_file: dict[str, dict[str, Tiling]] | None = None
"""What the file holds, read once."""


def chosen(key: Key) -> Tiling:
    """The tiling that a launch takes: the one tuned for it, or the usual one."""
    tiling = _found.get(key)
    if tiling is None:
        tiling = _found[key] = (_read().get(key.place, {}).get(key.call) or USUAL) if key.kernels else USUAL
    return tiling


def count(device: torch.device, ops: tuple[str, ...]) -> int:
    """How many tunings hold for a device, with this Triton and these kernels."""
    triton = backends.triton_version() or ""
    places = [Key(_name_of(device), triton, kernels_hash(op), op, "", "", 0, "").place for op in ops]
    return sum(len(_read().get(place, {})) for place in places)


def remember(tilings: Mapping[Key, Tiling]) -> None:
    """Take these from now on, and write them into the file, beside what is there, whoever wrote it.

    Where the file cannot be written a warning says so, and they hold for this process alone.
    """
    _found.update(tilings)
    file = path()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with locked(file.with_name(".tunings.lock")):
            everything, _ = _load(file)
            for key, tiling in tilings.items():
                if key.kernels:
                    everything.setdefault(key.place, {})[key.call] = tiling
            _write(file, everything)
    except OSError as error:
        said = error.strerror or error
        warnings.warn(f"{file}: cannot be written: {said}. The tunings are gone with this process.", stacklevel=2)


def forget() -> None:
    """Look the file up anew, as a new process does."""
    global _file
    _file = None
    _found.clear()


def _read() -> dict[str, dict[str, Tiling]]:
    global _file
    if _file is None:
        file = path()
        _file, problem = _load(file)
        if problem:
            what = "It is as if it were not there" if not _file else "That part is as if it were not there"
            warnings.warn(f"{file}: {problem}. {what}; `tapehead tune` writes it anew.", stacklevel=4)
    return _file


def _load(file: Path) -> tuple[dict[str, dict[str, Tiling]], str]:
    """The tunings of a file, and what is wrong with it: those parts are left out."""
    try:
        contents = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return {}, f"cannot be read: {error.strerror or error}"
    except (ValueError, RecursionError):
        return {}, "expected JSON, got something else"
    if not isinstance(contents, dict):
        return {}, f"expected tunings by their places, got {type(contents).__name__}"
    found: dict[str, dict[str, Tiling]] = {}
    wrong = ""
    for place, calls in contents.items():
        for call, fields in calls.items() if isinstance(calls, dict) else [("", None)]:
            tiling = _tiling(fields)
            if tiling is None:
                wrong = f"expected a tiling of {', '.join(Tiling._fields)} in powers of two, got {fields!r}"
            else:
                found.setdefault(place, {})[call] = tiling
    return found, wrong


def _tiling(fields: Any) -> Tiling | None:
    """The tiling that the file describes; None if it describes none."""
    if not isinstance(fields, dict) or fields.keys() != set(Tiling._fields):
        return None
    tiling = Tiling(**fields)
    return tiling if tiling.is_possible() else None


def _write(file: Path, tunings: dict[str, dict[str, Tiling]]) -> None:
    plain = {place: {call: one._asdict() for call, one in calls.items()} for place, calls in tunings.items()}
    with replacing(file) as whole:
        whole.write((json.dumps(plain, indent=1, sort_keys=True) + "\n").encode())
