"""Every form of a copy, read into the same arrays (class, drawer, row, column), in the order of the numbers."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapehead.errors import DataError
from tapehead.tasks.omniglot.extra import package
from tapehead.tasks.omniglot.source import HALVES, Half, Source, check

if TYPE_CHECKING:
    import numpy

__all__ = ["DRAWINGS", "SIDE", "key_of", "read"]

DRAWINGS, SIDE = 20, 105
"""Drawings of each character, one by each drawer; pixels of an edge."""

_NAME = re.compile(r"(?:^|/)(\d{4})_(\d{2})\.png$")  # the character's number, the drawer's
_AGAIN = "Get the file again."


def key_of(source: Source, halves: tuple[Half, ...] = HALVES) -> str:
    """Check the archives, and say in 16 letters what is in them: another copy has another key.

    Archives have checksums to be held against. A folder of PNG has none of its own: its key is of all its files, each
    of which is checked when it is read.

    Raises:
        DataError: an archive is not what it should be, or a file cannot be read.
    """
    together = hashlib.sha256()
    for path, half in zip(source.paths, halves, strict=True):
        if source.form == "zip":
            check(path, "md5", half.zip_md5)
            together.update(half.zip_md5.encode())
        elif source.form == "npz":
            check(path, "sha256", half.npz_sha256)
            together.update(half.npz_sha256.encode())
        else:
            for name, data in _files(path):
                together.update(name.encode() + hashlib.sha256(data()).digest())
    return together.hexdigest()[:16]


def read(source: Source, halves: tuple[Half, ...] = HALVES) -> Iterator[numpy.ndarray]:
    """The drawings of one half after the other.

    Returns:
        for each half bool (classes, 20, 105, 105), true where there is ink

    Raises:
        DataError: something is missing or damaged.
        ModuleNotFoundError: NumPy or Pillow is not installed.
    """
    for path, half in zip(source.paths, halves, strict=True):
        if source.form == "npz":
            yield _from_npz(path, half)
        elif source.form == "zip":
            yield _from_zip(path, half)
        else:
            yield _from_png(path, half, _files(path))


def _from_npz(path: Path, half: Half) -> numpy.ndarray:
    numpy = package("numpy", "Reading Omniglot")
    try:
        with path.open("rb") as file, numpy.load(file, allow_pickle=False) as archive:
            images = archive["images"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: expected an array images, got a damaged file ({error}). {_AGAIN}") from error
    wanted = (half.classes, DRAWINGS, SIDE, SIDE)
    if images.dtype != bool or images.shape != wanted:
        raise DataError(f"{path}: expected images bool {wanted}, got {images.dtype} {images.shape}. {_AGAIN}")
    return ~images


def _from_zip(path: Path, half: Half) -> numpy.ndarray:
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if not name.startswith("__MACOSX/"))
            return _from_png(path, half, ((name, partial(archive.read, name)) for name in names))
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: expected a zip archive, got a damaged file ({error}). {_AGAIN}") from error


def _files(folder: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Name and content of the drawings below a folder."""
    for path in sorted(folder.glob("*/*/*.png")):
        yield path.relative_to(folder).as_posix(), partial(_content, path)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}. {_AGAIN}") from error


def _from_png(path: Path, half: Half, files: Iterator[tuple[str, Callable[[], bytes]]]) -> numpy.ndarray:
    numpy, image = package("numpy", "Reading Omniglot"), package("PIL.Image", "Reading Omniglot")
    ink = numpy.zeros((half.classes, DRAWINGS, SIDE, SIDE), dtype=bool)
    there = numpy.zeros((half.classes, DRAWINGS), dtype=bool)
    for name, data in files:
        named = _NAME.search(name)
        if not named:
            continue
        place = int(named[1]) - half.first, int(named[2]) - 1
        if not (0 <= place[0] < half.classes and 0 <= place[1] < DRAWINGS):
            last = half.first + half.classes - 1
            raise DataError(
                f"{path / name}: expected a character of {half.first}..{last} and a drawer of 1..{DRAWINGS}, got "
                f"{place[0] + half.first} and {place[1] + 1}. Take it away, or get the copy again."
            )
        if there[place]:
            raise DataError(f"{path / name}: expected each drawing once, got this one again. Get the copy again.")
        ink[place], there[place] = _ink(image, numpy, path / name, data()), True
    if not there.all():
        character, drawer = numpy.argwhere(~there)[0]
        raise DataError(
            f"{path}: expected {there.size} drawings, got {there.sum()}: "
            f"{character + half.first:04}_{drawer + 1:02}.png is missing. Get the copy again."
        )
    return ink


def _ink(image: Any, numpy: Any, path: Path, data: bytes) -> numpy.ndarray:
    """One drawing: bool (105, 105)."""
    try:
        with image.open(io.BytesIO(data), formats=["PNG"]) as drawing:
            drawing.verify()  # the checksums; it has to be opened again after
        with image.open(io.BytesIO(data), formats=["PNG"]) as drawing:
            pixels = numpy.asarray(drawing.convert("L"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: expected a PNG image, got a damaged file ({error}). {_AGAIN}") from error
    if pixels.shape != (SIDE, SIDE):
        raise DataError(f"{path}: expected {SIDE} x {SIDE} pixels, got {pixels.shape[1]} x {pixels.shape[0]}. {_AGAIN}")
    return pixels < 128
