"""What Lightning takes for data loaders: only how many blocks of updates to make, and which sizes to validate at."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Blocks", "Sizes"]


class Blocks:
    """What Lightning takes for a data loader: the blocks of an epoch, by number.

    >>> list(Blocks(3))
    [0, 1, 2]
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))


class Sizes(list):
    """The sizes to validate at; a list of its own class, because Lightning takes a plain list for several loaders."""
