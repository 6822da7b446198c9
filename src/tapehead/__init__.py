"""tapehead: Neural Turing Machines and their relatives, as PyTorch layers and a command line."""

from importlib.metadata import PackageNotFoundError, version

from tapehead.errors import BackendError
from tapehead.nn import LSTM, NTM, Initial, NTMCell, SequenceModel
from tapehead.states import HeadTrace, LSTMState, NTMState, Trace

try:
    __version__ = version("tapehead")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = [
    "LSTM",
    "NTM",
    "BackendError",
    "HeadTrace",
    "Initial",
    "LSTMState",
    "NTMCell",
    "NTMState",
    "SequenceModel",
    "Trace",
    "__version__",
]
