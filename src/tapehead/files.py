"""Files that several processes write: whole or not at all, and one after the other."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["lock_folder", "locked", "new_folder", "replacing"]


def _beside(path: Path) -> Path:
    """Where this thread makes what is to take the place of `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")


@contextlib.contextmanager
def replacing(path: Path, *, waiting: bool = True) -> Iterator[IO[bytes]]:
    """Open a file beside `path` that takes its place when all of it is written.

    Args:
        path: of the file; its folder must exist
        waiting: until all of it is on the disk: it is whole even where the machine stops right after
    """
    beside = _beside(path)
    try:
        with beside.open("wb") as file:
            yield file
            if waiting:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Make a folder beside `path` that becomes it, with what `replacing` has put into it, when all of it is there.

    Folders above it are made. Raises OSError where there is one already that is not empty.
    """
    beside = _beside(path)
    try:
        beside.mkdir(parents=True)
        yield beside
        beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that `path` stands for, which one at a time can; where there is no flock, nobody waits."""
    try:
        import fcntl
    except ModuleNotFoundError:
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def lock_folder(path: Path) -> int | None:
    """Lock a folder, for as long as the file descriptor that is returned is open, here or in a child that inherits it.

    Returns:
        None where folders cannot be locked

    Raises:
        BlockingIOError: somebody has locked it.
    """
    try:
        import fcntl
    except ModuleNotFoundError:
        return None
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:
        pass  # a file system without locks
    return handle
