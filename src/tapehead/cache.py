"""Where tapehead keeps what it can make or download again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["CACHE_VARIABLE", "cache_folder"]

CACHE_VARIABLE = "TAPEHEAD_CACHE"
"""Environment variable that names the folder, where it is not in the user's cache."""


def cache_folder() -> Path:
    """The folder TAPEHEAD_CACHE of the environment, and where there is none, tapehead's in the user's cache.

    It need not exist.
    """
    named = os.environ.get(CACHE_VARIABLE)
    return Path(os.path.abspath(os.path.expanduser(named or _users())))


def _users() -> str:
    """Where the system has a user's programs keep such files."""
    if sys.platform == "win32":
        return os.path.join(os.environ.get("LOCALAPPDATA") or r"~\AppData\Local", "tapehead", "Cache")
    if sys.platform == "darwin":
        return "~/Library/Caches/tapehead"
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "tapehead")
