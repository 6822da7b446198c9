"""How the processes of a study, and the commands that users are told, start the program that knows a task."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from dataclasses import dataclass

import pytest

from tapehead.errors import UsageError
from tapehead.program import TAPEHEAD, command_of, program_of
from tapehead.tasks import TASKS, Copy


@dataclass(frozen=True)
class Mine(Copy):
    """A task of a user's."""


@pytest.fixture
def running(monkeypatch):
    """Call it with what Python knows of the program."""

    def run(file, name, argument):
        program = types.ModuleType("__main__")
        program.__spec__ = None if name is None else importlib.machinery.ModuleSpec(name, None)
        if file is not None:
            program.__file__ = str(file)
        monkeypatch.setitem(sys.modules, "__main__", program)
        monkeypatch.setattr(sys, "argv", [str(argument)])

    monkeypatch.setitem(TASKS, "mine", Mine)
    return run


def test_a_file(running, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    running(tmp_path / "mine.py", None, "mine.py")
    assert program_of("mine") == (str(tmp_path / "mine.py"),)
    assert command_of("mine") == "python mine.py"
    assert (program_of("copy"), command_of("copy")) == (TAPEHEAD, "tapehead")


def test_a_module(running):
    running("mine/run.py", "mine.run", "mine/run.py")
    assert (program_of("mine"), command_of("mine")) == (("-m", "mine.run"), "python -m mine.run")
    running("mine/__main__.py", "mine.__main__", "mine/__main__.py")
    assert command_of("mine") == "python -m mine"


def test_a_folder(running, tmp_path):
    running(tmp_path / "mine" / "__main__.py", "__main__", tmp_path / "mine")
    assert program_of("mine") == (str(tmp_path / "mine"),)


def test_a_notebook_has_none(running):
    running(None, None, "")
    with pytest.raises(UsageError, match="there is none"):
        program_of("mine")
    assert command_of("mine") == "tapehead"
