"""The programs of `examples/` and the options that make each of them small."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from unittest import mock

FOLDER = Path(__file__).parents[1] / "examples"
PATHS = sorted(FOLDER.glob("*.py"))
TINY = {
    "both_directions": ["--steps", "2", "--longest", "5"],
    "reinforcement": ["--steps", "2", "--rows", "4", "--length", "2"],
    "text": ["--steps", "2", "--rows", "2", "--window", "5", "--characters", "7", "--file", str(FOLDER / "text.py")],
}
"""One that is missing here fails in tests/test_examples.py."""


def run(path: Path, words: list[str]) -> None:
    """Run a program as its command would, in tiny form and in this process."""
    with mock.patch.object(sys, "argv", [str(path), *words, *TINY[path.stem]]):
        runpy.run_path(str(path), run_name="__main__")


def options(path: Path) -> set[str]:
    """The options that a program takes."""
    return set(re.findall(r'add_argument\("(--[\w-]+)"', path.read_text("utf-8")))
