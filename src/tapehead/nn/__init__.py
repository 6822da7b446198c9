"""The layers: modules that hold parameters, check what they are given, and call the ops."""

from tapehead.nn.embedding import ImageEmbedding
from tapehead.nn.initial import Initial
from tapehead.nn.lstm import LSTM
from tapehead.nn.mann import MANN
from tapehead.nn.mann_cell import MANNCell
from tapehead.nn.model import SequenceModel, from_pretrained
from tapehead.nn.ntm import NTM
from tapehead.nn.ntm_cell import NTMCell
from tapehead.nn.tuning import tune

__all__ = [
    "LSTM",
    "MANN",
    "NTM",
    "ImageEmbedding",
    "Initial",
    "MANNCell",
    "NTMCell",
    "SequenceModel",
    "from_pretrained",
    "tune",
]
