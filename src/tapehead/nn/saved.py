"""Layers as plain data, and back: what `SequenceModel.save_pretrained` writes and `from_pretrained` reads."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tapehead.backends import DTYPES
from tapehead.errors import PretrainedError
from tapehead.nn.embedding import ImageEmbedding
from tapehead.nn.initial import Initial
from tapehead.nn.lstm import LSTM
from tapehead.nn.mann import MANN
from tapehead.nn.ntm import NTM

__all__ = [
    "CORES",
    "build_core",
    "build_embedding",
    "check_same",
    "describe_core",
    "describe_embedding",
    "dtype_of",
    "fill",
]

CORES: dict[str, type[nn.Module]] = {core.__name__: core for core in (LSTM, MANN, NTM)}
"""The layers that can be saved, by the name they have in config.json. A file names one of these or is refused."""


def describe_core(core: nn.Module) -> dict[str, Any]:
    """The name and the constructor's arguments of a core, as JSON takes them.

    Raises:
        TypeError: it is no layer of tapehead, so it could not be made again.

    >>> describe_core(LSTM(3, 4))["arguments"]["hidden_size"]
    4
    """
    if type(core) not in CORES.values():
        raise TypeError(
            f"save_pretrained: expected a core of {', '.join(CORES)}, got {type(core).__name__}. "
            "Save the state_dict of other layers with torch.save."
        )
    arguments = core.arguments()  # type: ignore[operator]
    plain = {
        name: dataclasses.asdict(value) if name == "initial" and isinstance(value, Initial) else value
        for name, value in arguments.items()
    }
    return {"core": type(core).__name__, "arguments": plain}


def build_core(path: Path, description: Mapping[str, Any], dtype: torch.dtype) -> nn.Module:
    """A core without values, on torch's "meta" device, from what `describe_core` gave.

    Args:
        path: of the file that it comes from, for messages
        description: {"core": ..., "arguments": {...}}
        dtype: of the parameters

    Raises:
        PretrainedError: an unknown core, an unknown argument, or a value that does not fit.
    """
    name, arguments = description["core"], dict(description["arguments"])
    if name not in CORES:
        raise PretrainedError(f"{path}: expected model.core to be one of {', '.join(CORES)}, got {name!r}. {NEWER}")
    known = inspect.signature(CORES[name]).parameters.keys() - {"device", "dtype"}
    _check_names(path, "model.arguments", arguments, known)
    if isinstance(arguments.get("initial"), dict):
        _check_names(path, "initial", arguments["initial"], {field.name for field in dataclasses.fields(Initial)})
    try:
        if isinstance(arguments.get("initial"), dict):
            arguments["initial"] = Initial(**arguments["initial"])
        return CORES[name](**arguments, device="meta", dtype=dtype)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:  # torch raises the latter two of sizes
        raise PretrainedError(
            f"{path}: expected model.arguments that make a layer, got others: {error} Export the run again."
        ) from error


def describe_embedding(embedding: ImageEmbedding) -> dict[str, int]:
    """The constructor's arguments of an embedding, as JSON takes them.

    Raises:
        TypeError: it is not tapehead's own, so it could not be made again.
    """
    if type(embedding) is not ImageEmbedding:
        raise TypeError(
            f"save_pretrained: expected an embedding of type ImageEmbedding, got {type(embedding).__name__}. "
            "Save the state_dict of other layers with torch.save."
        )
    return embedding.arguments()


def build_embedding(path: Path, description: Mapping[str, Any], dtype: torch.dtype) -> ImageEmbedding | None:
    """The embedding of a model, as `build_core` makes its core; None where it has none.

    Args:
        path: of the file that it comes from, for messages
        description: {"embedding": {...}, ...}, its arguments
        dtype: of the parameters

    Raises:
        PretrainedError: an unknown argument, or a value that does not fit.
    """
    arguments = description.get("embedding")
    if arguments is None:
        return None
    known = inspect.signature(ImageEmbedding).parameters.keys() - {"device", "dtype"}
    _check_names(path, "model.embedding", arguments, known)
    try:
        return ImageEmbedding(**arguments, device="meta", dtype=dtype)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise PretrainedError(
            f"{path}: expected model.embedding that makes a layer, got another: {error} Export the run again."
        ) from error


def _check_names(path: Path, what: str, given: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(given.keys() - known)
    if unknown:
        raise PretrainedError(
            f"{path}: expected {what} of {', '.join(sorted(known))}, got {', '.join(unknown)}. {NEWER}"
        )


def dtype_of(path: Path, tensors: Mapping[str, Tensor]) -> torch.dtype:
    """The one dtype of all tensors.

    Raises:
        PretrainedError: there are several, none, or one that a model cannot have.
    """
    dtypes = {tensor.dtype for tensor in tensors.values()}
    if len(dtypes) != 1 or not dtypes <= set(DTYPES):
        raise PretrainedError(
            f"{path}: expected tensors of torch.float32 or all of torch.float64, got "
            f"{', '.join(sorted(map(str, dtypes))) or 'no tensors'}. Save the model again in one of them."
        )
    return dtypes.pop()


def check_same(tensors: Mapping[str, Tensor], again: Mapping[str, Tensor]) -> None:
    """Raise unless a model's tensors are those of the model that is made again, but for their values, and none is tied.

    Raises:
        ValueError: a name, shape or dtype is another, or two tensors are one.
    """
    places: dict[Any, str] = {}
    for name, tensor in tensors.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride())
        other = places.setdefault(place, name) if tensor.numel() and not tensor.is_meta else name
        if other != name:
            raise ValueError(
                f"save_pretrained: expected tensors of their own, got {other} and {name}, which are one. The "
                "model that is made again has two: give it a copy, or save the state_dict with torch.save."
            )
    have, wanted = ({name: _kind(tensor) for name, tensor in one.items()} for one in (tensors, again))
    for name in [*wanted, *have]:
        if wanted.get(name) != have.get(name):
            raise ValueError(
                f"save_pretrained: expected {name} {wanted.get(name, 'not to be there')}, as the model that is made "
                f"again has it, got {have.get(name, 'no such tensor')}. Make parametrizations and pruning permanent, "
                "give all tensors one dtype, or save the state_dict with torch.save."
            )


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} of {tensor.dtype}"


def fill(path: Path, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a model on the "meta" device its values, on the CPU.

    Raises:
        PretrainedError: names or shapes are not those of the model.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in [*wanted, *found]:
        if wanted.get(name) != found.get(name):
            raise PretrainedError(
                f"{path}: expected {name} {wanted.get(name, 'not to be there')}, as config.json describes the model, "
                f"got {found.get(name, 'no such tensor')}. The two files belong to different models: export again."
            )
    # Copies, because what was read may lie in a `bytes`. `to_empty` of "meta" tensors would import sympy.
    model.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, assign=True)


NEWER = "The file may come from a newer tapehead: install that one."
