"""Errors that a user can mend: the command line prints their message and no traceback."""

from __future__ import annotations

__all__ = [
    "BackendError",
    "DataError",
    "Interrupted",
    "PretrainedError",
    "RunError",
    "TapeheadError",
    "TrainingError",
    "UsageError",
]


class TapeheadError(Exception):
    """Of all of them; the message says what happened and what to do."""

    exit_status = 1
    """Of the command that raised it"""


class BackendError(TapeheadError, RuntimeError):
    """The backend asked for cannot run this; the message holds every reason."""


class UsageError(TapeheadError):
    """What the user asked for cannot be."""

    exit_status = 2


class RunError(TapeheadError):
    """A run's folder is missing, damaged, not what was asked for, or cannot be written."""


class PretrainedError(TapeheadError):
    """A saved model is missing, damaged, of another version, in the way, or out of the hub's reach."""


class DataError(TapeheadError):
    """A data set is missing, truncated, altered, or cannot be downloaded."""


class TrainingError(TapeheadError):
    """Training stopped because the loss is not finite."""


class Interrupted(TapeheadError):
    """The user stopped a run; everything is saved."""

    exit_status = 130
