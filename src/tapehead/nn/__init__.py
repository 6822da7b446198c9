"""The layers: modules that hold parameters, check what they are given, and call the ops."""

from tapehead.nn.initial import Initial
from tapehead.nn.lstm import LSTM
from tapehead.nn.model import SequenceModel, from_pretrained
from tapehead.nn.ntm import NTM, NTMCell

__all__ = ["LSTM", "NTM", "Initial", "NTMCell", "SequenceModel", "from_pretrained"]
