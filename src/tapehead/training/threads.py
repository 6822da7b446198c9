"""How many threads an update is computed with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["at_most_threads"]


@contextmanager
def at_most_threads(count: int) -> Iterator[None]:
    """Have torch, and with it the C++ core, compute with no more threads than this in the block.

    A row is computed on one thread. With more threads than rows the others get crumbs of work, and where another
    program runs on one of the cores every crumb waits for its turn.

    >>> with at_most_threads(1):
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, count))
    try:
        yield
    finally:
        torch.set_num_threads(before)
