"""Where the drawings come from: a local copy in one of its three forms, or the original archives, downloaded."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, NamedTuple

from tapehead import cache as users
from tapehead.errors import DataError

__all__ = ["HALVES", "URL", "Form", "Half", "Source", "cache_folder", "check", "find"]

URL = "https://github.com/brendenlake/omniglot/raw/master/python"
"""Where the authors of Omniglot keep its archives."""

Form = Literal["zip", "npz", "png"]
"""The form of a copy of the data: the original archives, arrays of NumPy, or folders of PNG files"""


class Half(NamedTuple):
    """One of the two parts that Omniglot comes in."""

    name: str
    """of its archive, and of the folder in it"""
    first: int
    """the number of its first character"""
    classes: int
    """characters"""
    zip_md5: str
    """of the original archive"""
    npz_sha256: str
    """of the archive for NumPy"""

    @property
    def zip_name(self) -> str:
        return f"{self.name}.zip"


HALVES = (
    Half(
        "images_background",
        1,
        964,
        "68d2efa1b9178cc56df9314c21c6e718",
        "8bf84167413cd00beacdce3fe582f780ab538d8dbef043a6d688f2527bbce199",
    ),
    Half(
        "images_evaluation",
        965,
        659,
        "6b91aef0f799c5bb55b94e3f2daec811",
        "0b84c7ffd94c4841c0040e529c86a82eaaccb986d8eadad5673f7991b7475276",
    ),
)
"""The archives, in the order of their characters' numbers."""


class Source(NamedTuple):
    """A whole copy: one file or folder for each half."""

    form: Form
    paths: tuple[Path, ...]


def cache_folder(cache: str | Path | None = None) -> Path:
    """Where downloads and shrunk drawings are kept.

    Args:
        cache: the folder of tapehead's downloads; None takes the variable TAPEHEAD_CACHE of the environment, and where
            there is none, the user's cache as the system names it

    >>> cache_folder("/tmp/downloads").as_posix()
    '/tmp/downloads/omniglot'
    """
    root = Path(cache).expanduser().absolute() if cache else users.cache_folder()
    return root / "omniglot"


def find(folder: Path, halves: tuple[Half, ...] = HALVES) -> Source:
    """The copy in a folder: the first form of zip, npz, folders of PNG that is whole.

    Raises:
        DataError: there is none, or half of one.
    """
    if not folder.is_dir():
        raise DataError(f"Omniglot: expected a folder with Omniglot, got {folder}: there is none. {_HOW}")
    forms: dict[Form, str] = {"zip": ".zip", "npz": ".npz", "png": ""}
    incomplete = ""
    for form, ending in forms.items():
        paths = tuple(folder / f"{half.name}{ending}" for half in halves)
        there = [path.is_dir() if form == "png" else path.is_file() for path in paths]
        if all(there):
            return Source(form, paths)
        if any(there) and not incomplete:
            missing = ", ".join(path.name for path, found in zip(paths, there, strict=True) if not found)
            incomplete = f"Omniglot: expected {missing} in {folder} beside the other half, got none. {_HOW}"
    raise DataError(incomplete or f"Omniglot: expected a copy of Omniglot in {folder}, got none. {_HOW}")


def check(path: Path, algorithm: Literal["md5", "sha256"], wanted: str, remedy: str = "Get the file again.") -> None:
    """Raise unless a file's checksum is the one wanted.

    Raises:
        DataError: it is another, or the file cannot be read.
    """
    digest = hashlib.new(algorithm, usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}. {remedy}") from error
    if digest.hexdigest() != wanted:
        raise DataError(
            f"{path}: expected {algorithm} {wanted}, got {digest.hexdigest()}. "
            f"The file is truncated, altered, or another one. {remedy}"
        )


_HOW = (
    "Name the folder that holds images_background and images_evaluation, as .zip, .npz or folders of PNG; "
    "without a name they are downloaded."
)
