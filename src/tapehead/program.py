"""How the program that is running is started: tapehead itself, or a file of the user's that names a task."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from tapehead.errors import UsageError
from tapehead.tasks import TASKS

__all__ = ["TAPEHEAD", "command_of", "program_of", "typed", "unlike_option"]

TAPEHEAD = ("-m", "tapehead")
"""Python's words that start tapehead itself."""


def program_of(task: str) -> tuple[str, ...]:
    """Python's words that start a program which knows a task: for a user's own, the one that is running.

    Raises:
        UsageError: that one has no file, as in a notebook.

    >>> program_of("copy")
    ('-m', 'tapehead')
    """
    program = sys.modules["__main__"]
    if TASKS[task].__module__.partition(".")[0] == "tapehead":
        return TAPEHEAD
    if program.__spec__ is not None and program.__spec__.name != "__main__":
        return ("-m", program.__spec__.name.removesuffix(".__main__"))
    path = Path(sys.argv[0] if program.__spec__ is not None else getattr(program, "__file__", None) or "")
    if path == Path():
        raise UsageError(f"{task}: its runs are processes of the file that names it, and there is none. Write one.")
    return (str(path.resolve()),)


def command_of(task: str) -> str:
    """What a user types before `train` and the like.

    >>> command_of("copy")
    'tapehead'
    """
    try:
        words = program_of(task)
    except UsageError:
        return "tapehead"
    if words == TAPEHEAD:
        return "tapehead"
    return shlex.join(["python", *(words if words[0] == "-m" else [sys.argv[0]])])


def typed(path: str | Path) -> str:
    """A path as a user types it in a command: quoted where a shell would split it, and never an option.

    >>> typed("runs/mine"), typed("my run"), typed("-run")
    ('runs/mine', "'my run'", './-run')
    """
    return shlex.quote(unlike_option(path))


def unlike_option(path: str | Path) -> str:
    """A path as a word of a command, which is never taken for an option.

    >>> unlike_option("my run"), unlike_option("-run")
    ('my run', './-run')
    """
    return f"./{path}" if str(path).startswith("-") else str(path)
