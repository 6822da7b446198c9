"""Errors that a user can mend: the command line prints their message and no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BackendError",
    "DataError",
    "Interrupted",
    "PretrainedError",
    "RunError",
    "TapeheadError",
    "TrainingError",
    "UnknownNameError",
    "UsageError",
    "did_you_mean",
]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to follow a sentence about a name that does not exist; empty where no known one is near.

    Names with parts, as options have, are near as well where their last part is, and no other name's.

    >>> did_you_mean("coppy", ["copy", "ngrams"]), did_you_mean("--batch_sise", ["--training.batch_size"])
    (' Did you mean copy?', ' Did you mean --training.batch_size?')
    >>> did_you_mean("sing", ["copy", "ngrams"])
    ''
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, 3, 0.6 if len(name) < 8 else 0.8)
    near = [one for one in near if difflib.SequenceMatcher(None, _last(name), _last(one)).ratio() >= 0.6]
    if not near and len(name) >= 8:
        lasts = [_last(one) for one in known]
        nearest = difflib.get_close_matches(_last(name), lasts, 1, 0.85)
        near = [one for one, last in zip(known, lasts, strict=True) if last in nearest]
        near = near if len(near) == 1 else []
    return f" Did you mean {near[0]}?" if near else ""


def _last(name: str) -> str:
    return name.rpartition(".")[2].removeprefix("--")


class TapeheadError(Exception):
    """The base of tapehead's own errors. The message says what happened and what to do."""

    exit_status = 1
    """exit status of the command that raised it"""


class BackendError(TapeheadError, RuntimeError):
    """The backend asked for cannot run this; the message holds every reason."""


class UsageError(TapeheadError):
    """What the user asked for cannot be."""

    exit_status = 2


class UnknownNameError(UsageError):
    """A name that does not exist.

    Args:
        message: what to say
        name: as the user wrote it
        known: what there is
    """

    def __init__(self, message: str, name: str, known: Iterable[str]) -> None:
        self.message, self.name, self.known = message, name, list(known)
        super().__init__(message, name, self.known)  # which pickle makes it of again

    def __str__(self) -> str:
        return self.message + did_you_mean(self.name, self.known)


class RunError(TapeheadError):
    """A run's folder is missing, damaged, not what was asked for, or cannot be written."""


class PretrainedError(TapeheadError):
    """A saved model is missing, damaged, of another version, in the way, or out of the hub's reach."""


class DataError(TapeheadError):
    """A data set is missing, truncated, altered, or cannot be downloaded, or what a task draws is no batch."""


class TrainingError(TapeheadError):
    """Training stopped because the loss is not finite."""


class Interrupted(TapeheadError):
    """The user stopped a run; the message says whether it is saved, and how to go on."""

    exit_status = 130


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is torch's or Python's of a machine or a GPU without room for a tensor.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."))
    True
    """
    # torch's own class of it is known only once torch is imported; on the CPU it is a RuntimeError like others.
    texts = ("can't allocate memory", "not enough memory", "out of memory", "Storage size calculation overflowed")
    return isinstance(error, MemoryError) or any(text in str(error) for text in texts)
