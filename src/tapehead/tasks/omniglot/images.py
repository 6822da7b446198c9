"""All drawings as one tensor: shrunk to 20 x 20 once, kept in a file, and loaded once for a process."""

from __future__ import annotations

import contextlib
import hashlib
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from tapehead.files import replacing
from tapehead.tasks.omniglot.download import download
from tapehead.tasks.omniglot.extra import package
from tapehead.tasks.omniglot.reading import DRAWINGS, SIDE, key_of, read
from tapehead.tasks.omniglot.source import HALVES, URL, Half, Source, cache_folder, find

__all__ = ["SIZE", "drawings", "load", "shrink"]

SIZE = 20
"""Pixels of an edge of what a model is shown."""

_WHOLE = SIDE * SIDE * 16 // SIZE**2  # sixteenths of an original pixel in one of the small ones: 441


def load(data: str | None = None, cache: str | None = None) -> Tensor:
    """Every drawing of Omniglot: float32 (1623, 20, 20, 20) = (class, drawer, row, column), ink 1, paper 0.

    Classes stand in the order of Omniglot's own character numbers, whatever form the copy has. A process reads them
    once, and hands out the same tensor again: it is not to be written to.

    Args:
        data: folder of a local copy; None takes the download, and makes it first where there is none
        cache: folder of tapehead's downloads, as in `cache_folder`

    Raises:
        DataError: the copy is missing or damaged, or the download cannot be had.
        ModuleNotFoundError: the extra `tapehead[omniglot]` is not installed.
    """
    folder = None if data is None else Path(data).expanduser().absolute()
    return _load(folder, cache_folder(cache))


@lru_cache(maxsize=2)
def _load(folder: Path | None, cache: Path) -> Tensor:
    return drawings(folder, cache)


def drawings(folder: Path | None, cache: Path, halves: tuple[Half, ...] = HALVES, url: str = URL) -> Tensor:
    """As `load`, and each time anew.

    Args:
        folder: of a local copy, or None
        cache: folder of downloads and of shrunk drawings
        halves: what Omniglot consists of
        url: where it is downloaded from
    """
    source = download(cache, halves, url) if folder is None else find(folder, halves)
    kept = cache / f"drawings-{key_of(source, halves)}.int16"
    shape = (sum(half.classes for half in halves), DRAWINGS, SIZE, SIZE)
    shares = _read_kept(kept, shape)
    if shares is None:
        shares = _shrunk(source, halves)
        _keep(kept, shares)
    return shares.float() / _WHOLE


def shrink(ink: Tensor) -> Tensor:
    """Area averages of 105 x 105 drawings, exact: (K, 105, 105) bool -> (K, 20, 20) int16, in 441ths.

    An edge of a small pixel is 21 quarters of an original one, so all that it covers are whole sixteenths of pixels:
    441 of them.

    >>> shrink(torch.ones(1, 105, 105, dtype=torch.bool)).unique()
    tensor([441], dtype=torch.int16)
    """
    # Quarters of each original row (column) that lie in each small one: (20, 105).
    starts = torch.arange(SIDE) * 4
    edges = torch.arange(SIZE).unsqueeze(1) * (SIDE * 4 // SIZE)
    inside = torch.minimum(starts + 4, edges + SIDE * 4 // SIZE) - torch.maximum(starts, edges)
    quarters = inside.clamp(min=0).float()
    return (quarters @ ink.float() @ quarters.T).to(torch.int16)


def _shrunk(source: Source, halves: tuple[Half, ...]) -> Tensor:
    numpy = package("numpy", "Reading Omniglot")
    parts = []
    for half in read(source, halves):
        for classes in numpy.array_split(half, max(1, len(half) // 32)):  # few at a time: they are floats in between
            ink = torch.from_numpy(numpy.ascontiguousarray(classes))
            parts.append(shrink(ink.flatten(0, 1)).view(*ink.shape[:2], SIZE, SIZE))
    return torch.cat(parts)


def _read_kept(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    """What `_keep` wrote, or None where there is nothing or the file is damaged."""
    try:
        content = bytearray(path.read_bytes())
    except OSError:
        return None
    wanted = content[-32:]
    del content[-32:]
    if hashlib.sha256(content).digest() != wanted:
        return None
    shares = torch.frombuffer(content, dtype=torch.int16)
    return shares.view(shape) if shares.numel() == torch.Size(shape).numel() else None


def _keep(path: Path, shares: Tensor) -> None:
    """Write the numbers and their sha256, whole or not at all; where that cannot be, they are made again next time."""
    content = shares.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(content + hashlib.sha256(content).digest())
