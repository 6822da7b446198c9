"""Finds missing barriers of a Triton kernel, in Triton's interpreter.

Threads of a program see one another's stores, and may overwrite what others have loaded, behind a barrier only. The
interpreter has one thread, for which the order of the lines is enough; so it is watched what it loads and stores.
"""

import sys
from typing import Any

import numpy as np
import pytest
from triton.runtime.interpreter import InterpreterBuilder


class Watch:
    """Every pair of accesses to one number that need a barrier between them, or are of two programs, and have none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found: set[tuple[str, str, str]] = set()
        self.barriers = 0
        self._begin()
        wrapped = {
            "set_grid_dim": lambda *_: self._begin(),
            "set_grid_idx": lambda *_: self._begin_program(),
            "create_barrier": lambda *_: self._pass_barrier(),
            "create_masked_load": lambda pointers, mask, *_: self._load(pointers, mask),
            "create_masked_store": lambda pointers, _, mask, *__: self._store(pointers, mask),
        }
        for name, seen in wrapped.items():
            monkeypatch.setattr(InterpreterBuilder, name, self._around(getattr(InterpreterBuilder, name), seen))

    @staticmethod
    def _around(original: Any, seen: Any) -> Any:
        def method(builder: Any, *arguments: Any) -> Any:
            seen(*arguments)
            return original(builder, *arguments)

        return method

    def _begin(self) -> None:
        """A launch."""
        self._own: dict[int, str] = {}
        self._others: dict[int, str] = {}
        self._pass_barrier()

    def _begin_program(self) -> None:
        self._others.update(self._own)
        self._own = {}
        self._pass_barrier()

    def _pass_barrier(self) -> None:
        self.barriers += 1
        self._loaded: dict[int, str] = {}
        self._stored: dict[int, str] = {}

    def _load(self, pointers: Any, mask: Any) -> None:
        addresses, here = _addresses(pointers, mask), _line()
        self._compare("load after a store", addresses, here, self._stored)
        self._compare("load of another program's", addresses, here, self._others)
        self._loaded.update(dict.fromkeys(addresses, here))

    def _store(self, pointers: Any, mask: Any) -> None:
        addresses, here = _addresses(pointers, mask), _line()
        self._compare("store after a load", addresses, here, self._loaded)
        self._compare("store after a store", addresses, here, self._stored)
        self._compare("store to another program's", addresses, here, self._others)
        self._stored.update(dict.fromkeys(addresses, here))
        self._own.update(dict.fromkeys(addresses, here))

    def _compare(self, kind: str, addresses: list[int], here: str, before: dict[int, str]) -> None:
        self.found.update((kind, before[address], here) for address in addresses if address in before)


def _addresses(pointers: Any, mask: Any) -> list[int]:
    found: list[int] = np.broadcast_to(pointers.data, mask.data.shape)[mask.data.astype(bool)].ravel().tolist()
    return found


def _line() -> str:
    """Where the kernel is, from the outermost function in."""
    found, frame = [], sys._getframe()
    while frame is not None:
        code = frame.f_code
        if "/triton/" in code.co_filename and "tapehead" in code.co_filename:
            found.append(f"{code.co_name}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    return " > ".join(reversed(found))
