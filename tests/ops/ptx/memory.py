"""The memory that emulated threads share, and who may touch what: all programs' global memory, each program's own.

Everything is words of 32 bits. Between a store and another thread's access to that word there has to be a barrier of
the program, and no program may touch what another one stores.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import torch

Lanes = np.ndarray
"""One number of each thread"""

GLOBAL_BASE = 0x7000_0000_0000
_NOBODY, _SEVERAL = -1, -2
_GARBAGE = 0x7FC0_DEAD
"""A NaN; no kernel may rely on what shared memory holds at first."""


class Words:
    """Words of one kind of memory, and of each who stored and loaded it last, and when."""

    def __init__(self, name: str, values: Lanes, allocated: Lanes, threads: int, programs: int) -> None:
        self.name, self.values, self.allocated, self.threads = name, values, allocated, threads
        self.epochs = np.arange(programs, dtype=np.int64) << 32
        """of each program: how many barriers it has passed, and which program it is"""
        self._writer = np.full(len(values), _NOBODY, np.int64)
        self._written = np.full(len(values), -1, np.int64)
        self._reader = np.full(len(values), _NOBODY, np.int64)
        self._read = np.full(len(values), -1, np.int64)
        self.hazards: set[str] = set()

    def load(self, words: Lanes, lanes: Lanes, text: str) -> Lanes:
        """Values (lanes,) of words (lanes,), which are loaded by these lanes."""
        self._check_bounds(words, text)
        epochs = self.epochs[lanes // self.threads]
        self._compare("load after a store", self._writer[words], self._written[words], lanes, epochs, text)
        again = (self._read[words] == epochs) & (self._reader[words] != lanes)
        self._reader[words] = np.where(again, _SEVERAL, lanes)
        order = np.sort(words)  # several lanes of this load at one word
        self._reader[order[1:][order[1:] == order[:-1]]] = _SEVERAL
        self._read[words] = epochs
        return self.values[words]

    def store(self, words: Lanes, values: Lanes, lanes: Lanes, text: str) -> None:
        """Stores values (lanes,) at words (lanes,)."""
        self._check_bounds(words, text)
        epochs = self.epochs[lanes // self.threads]
        changed = self.values[words] != values
        self._compare("store after a load", self._reader[words], self._read[words], lanes, epochs, text)
        self._compare(
            "store after a store",
            self._writer[words[changed]],
            self._written[words[changed]],
            lanes[changed],
            epochs[changed],
            text,
        )
        self.values[words] = values
        if (self.values[words] != values).any():
            self.hazards.add(f"{self.name}: several threads store different values at once: {text}")
        self._writer[words], self._written[words] = lanes, epochs

    def _check_bounds(self, words: Lanes, text: str) -> None:
        outside = (words < 0) | (words >= len(self.values))
        if outside.any() or not self.allocated[words].all():
            raise IndexError(f"{self.name} memory: outside every array: {text}")

    def _compare(self, kind: str, who: Lanes, when: Lanes, lanes: Lanes, epochs: Lanes, text: str) -> None:
        """Notes where another thread of the program was there since the barrier, or another program at any time."""
        together = (when == epochs) & (who != lanes)
        other = (when >= 0) & (when >> 32 != epochs >> 32)
        if together.any():
            self.hazards.add(f"{self.name}: {kind}, without a barrier: {text}")
        if other.any():
            self.hazards.add(f"{self.name}: {kind} of another program: {text}")


class Device:
    """Copies of the storages of tensors, at addresses of their own with gaps between."""

    _GAP = 64

    def __init__(self, tensors: Sequence[torch.Tensor], constants: dict[str, bytes]) -> None:
        self._storages = {storage.data_ptr(): storage for storage in (one.untyped_storage() for one in tensors)}
        blocks = {str(at): _bytes_of(storage) for at, storage in self._storages.items()}
        blocks |= {name: np.frombuffer(value, np.uint8) for name, value in constants.items()}
        self._first: dict[str, int] = {}
        end = self._GAP
        for name, block in blocks.items():
            self._first[name] = end
            end += -(-len(block) // 256) * 64 + self._GAP
        self.values, self.allocated = np.full(end, _GARBAGE, np.uint32), np.zeros(end, bool)
        for name, block in blocks.items():
            first, count = self._first[name], -(-len(block) // 4)
            self.values[first : first + count].view(np.uint8)[: len(block)] = block
            self.allocated[first : first + count] = True

    def address(self, tensor: torch.Tensor) -> int:
        """Where the first number of a tensor is."""
        first = self.address_of(str(tensor.untyped_storage().data_ptr()))
        return first + tensor.storage_offset() * tensor.element_size()

    def address_of(self, name: str) -> int:
        return GLOBAL_BASE + 4 * self._first[name]

    def copy_back(self) -> None:
        """What the kernel stored, to the tensors."""
        for at, storage in self._storages.items():
            block, first = _bytes_of(storage), self._first[str(at)]
            block[:] = self.values[first : first + -(-len(block) // 4)].view(np.uint8)[: len(block)]


def _bytes_of(storage: torch.UntypedStorage) -> np.ndarray:
    count = storage.nbytes()
    if not count:
        return np.empty(0, np.uint8)
    return np.frombuffer((ctypes.c_uint8 * count).from_address(storage.data_ptr()), np.uint8)


def shared(programs: int, size: int, threads: int) -> Words:
    """Shared memory of so many programs, of `size` bytes each, one after the other."""
    count = programs * (-(-size // 4))
    return Words("shared", np.full(count, _GARBAGE, np.uint32), np.ones(count, bool), threads, programs)
