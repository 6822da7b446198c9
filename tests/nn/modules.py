"""The one list of tapehead's public modules. A new model is a row here, and every generic test runs on it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tapehead import LSTM, MANN, NTM, ImageEmbedding, Initial, MANNCell, NTMCell, SequenceModel

D, H = 3, 4
NTM_OPTIONS: dict[str, Any] = {"memory_size": 5, "word_size": 2}
MANN_OPTIONS: dict[str, Any] = {**NTM_OPTIONS, "num_read_heads": 2}
LEARNED = Initial(memory="learned", weights="learned", reads="learned", controller="learned")
RANDOM = Initial(memory="random", weights="random", reads="random")


class Public(NamedTuple):
    """A module to make, and what torch itself cannot do with it."""

    name: str
    type: type[nn.Module]
    make: Callable[..., nn.Module]  # make(device=..., dtype=...)
    is_cell: bool = False
    fullgraph: bool = True
    vmap: bool = True
    input_size: int = D

    def input(self, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Tensor:
        return torch.randn((2, self.input_size) if self.is_cell else (3, 2, self.input_size), dtype=dtype).to(device)


def _model(core: type[nn.Module], **options: Any) -> Callable[..., nn.Module]:
    return lambda **place: SequenceModel(core(D, H, **options, **place), 2)


def _behind_an_embedding(core: type[nn.Module], **options: Any) -> Callable[..., nn.Module]:
    def make(**place: Any) -> nn.Module:
        embedding = ImageEmbedding(18, 4, channels=2, features=D - 2, **place)
        return SequenceModel(core(D, H, **options, **place), 2, embedding)

    return make


def _of(module: type[nn.Module], **options: Any) -> Callable[..., nn.Module]:
    return lambda **place: module(D, H, **options, **place)


# torch compiles nn.LSTM only with graph breaks, has no batching rule for it, and in bfloat16 not on every processor.
NO_LSTM = {"fullgraph": False, "vmap": False}

PUBLIC = [
    Public("LSTM", LSTM, _of(LSTM), **NO_LSTM),
    Public("LSTM-learned", LSTM, _of(LSTM, num_layers=2, initial="learned"), **NO_LSTM),
    Public("MANN", MANN, _of(MANN, **MANN_OPTIONS)),
    Public("MANN-learned", MANN, _of(MANN, **MANN_OPTIONS, initial=LEARNED, least_used="each", num_layers=2)),
    Public("MANN-random", MANN, _of(MANN, **MANN_OPTIONS, initial=RANDOM, controller="feedforward", write="key")),
    Public("MANNCell", MANNCell, _of(MANNCell, **MANN_OPTIONS, least_used="all"), is_cell=True),
    Public("NTM", NTM, _of(NTM, **NTM_OPTIONS)),
    Public("NTM-learned", NTM, _of(NTM, **NTM_OPTIONS, initial=LEARNED, order="write_read", num_layers=2)),
    Public("NTM-random", NTM, _of(NTM, **NTM_OPTIONS, initial=RANDOM, controller="feedforward")),
    Public("NTMCell", NTMCell, _of(NTMCell, **NTM_OPTIONS), is_cell=True),
    Public("NTMCell-content", NTMCell, _of(NTMCell, **NTM_OPTIONS, addressing="content"), is_cell=True),
    Public("SequenceModel-MANN", SequenceModel, _model(MANN, **MANN_OPTIONS)),
    Public("SequenceModel-NTM", SequenceModel, _model(NTM, **NTM_OPTIONS)),
    Public("SequenceModel-embedding", SequenceModel, _behind_an_embedding(MANN, **MANN_OPTIONS), input_size=18),
    Public("SequenceModel-LSTM", SequenceModel, _model(LSTM), **NO_LSTM),
]


def without_running_means(module: nn.Module) -> None:
    """In training an embedding normalises over the batch and keeps means of it, as its own tests show."""
    if getattr(module, "embedding", None) is not None:
        module.embedding.eval()
