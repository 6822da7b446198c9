"""tapehead: Neural Turing Machines and their relatives, as PyTorch layers and a command line."""

from importlib.metadata import PackageNotFoundError, version

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
from tapehead.states import HeadTrace, LSTMState, MANNState, MANNTrace, NTMState, Trace, WriteTrace

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
