"""The packages of the extra `tapehead[omniglot]`: imported where they are used, and missed in one sentence."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["package"]


def package(name: str, doing: str) -> Any:
    """A package of the extra, or of what it brings along, imported.

    Args:
        name: of the module, such as "PIL.Image"
        doing: what needs it, the beginning of the error

    Raises:
        ModuleNotFoundError: it is not installed.

    >>> package("numpy", "Reading Omniglot").__name__
    'numpy'
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = (error.name or name).partition(".")[0]
        raise ModuleNotFoundError(
            f"{doing}: expected the package {missing}, got none: it is not installed. "
            'Install it with: pip install "tapehead[omniglot]"',
            name=missing,
        ) from error
