"""tapehead: Neural Turing Machines and their relatives, as PyTorch layers and a command line."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from tapehead.errors import BackendError, PretrainedError, TapeheadError
from tapehead.nn import (
    LSTM,
    MANN,
    NTM,
    ImageEmbedding,
    Initial,
    MANNCell,
    NTMCell,
    SequenceModel,
    from_pretrained,
    tune,
)
from tapehead.states import LSTMState, MANNState, NTMState
from tapehead.traces import HeadTrace, MANNTrace, Trace, WriteTrace

try:
    __version__ = version("tapehead")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = [
    "LSTM",
    "MANN",
    "NTM",
    "BackendError",
    "HeadTrace",
    "ImageEmbedding",
    "Initial",
    "LSTMState",
    "MANNCell",
    "MANNState",
    "MANNTrace",
    "NTMCell",
    "NTMState",
    "PretrainedError",
    "SequenceModel",
    "TapeheadError",
    "Trace",
    "WriteTrace",
    "__version__",
    "from_pretrained",
    "tune",
]

if not TYPE_CHECKING:  # for which any name would be one of the package's then

    def __getattr__(name: str) -> object:
        """`tapehead.tasks`, which is imported when somebody asks for it."""
        if name == "tasks":
            return import_module("tapehead.tasks")
        raise AttributeError(f"module 'tapehead' has no attribute {name!r}")
