"""The folder of a saved model: what is in it, written whole or not at all, and read back with clear errors.

::

    FOLDER/
      config.json         what the model is built from, its task, and where it comes from
      model.safetensors   its tensors, in the dtype they were trained in
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from tapehead.errors import PretrainedError
from tapehead.files import new_folder, replacing

__all__ = ["CONFIG_NAME", "FORMAT_VERSION", "WEIGHTS_NAME", "read_config", "read_tensors", "write_folder"]

CONFIG_NAME, WEIGHTS_NAME = "config.json", "model.safetensors"

FORMAT_VERSION = 1
"""Version of config.json. It rises when an older tapehead would misread what a newer one writes."""


def write_folder(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a model's folder, whole or not at all.

    Args:
        folder: must not exist; folders above it are made
        config: what config.json holds besides the versions
        tensors: by their names in the model

    Raises:
        PretrainedError: the folder exists, or cannot be written.
        TypeError: the configuration holds what JSON cannot.
        ModuleNotFoundError: safetensors is not installed.
    """
    from tapehead import __version__

    library = _safetensors("Saving a model", "numpy")
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    weights = library.save(plain, metadata={"format": "pt"})
    versions = {"format_version": FORMAT_VERSION, "tapehead_version": __version__}
    text = json.dumps({**versions, **config}, indent=2) + "\n"
    if folder.exists():
        raise PretrainedError(
            f"{folder}: expected a new folder, got one that exists. Nothing is overwritten: name another."
        )
    try:
        with new_folder(folder) as beside:
            for name, data in ((CONFIG_NAME, text.encode()), (WEIGHTS_NAME, weights)):
                with replacing(beside / name) as file:
                    file.write(data)
    except OSError as error:
        raise PretrainedError(f"{folder}: cannot be written: {error.strerror}. Name another folder.") from error


def read_config(folder: str | Path) -> dict[str, Any]:
    """A folder's config.json, checked as far as it can be without building the model.

    Returns:
        {"format_version": 1, "tapehead_version": "0.1.0", "model": {"core": "NTM", "arguments": {...},
        "target_size": 8}, "task": {"name": "copy", "options": {...}} or None, "provenance": {...} or None}

    Raises:
        PretrainedError: it is missing, damaged or of another version.

    >>> from tapehead import pretrained
    >>> config = pretrained.read_config(pretrained.locate("copy-ntm"))
    >>> config["task"]["name"], config["model"]["arguments"]["memory_size"]
    ('copy', 128)
    """
    path = Path(folder) / CONFIG_NAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        run = (Path(folder) / "config.yaml").is_file()
        hint = f"A run's folder is not one yet: `tapehead export {folder} DIR` makes one." if run else _HOW_TO_MAKE
        raise PretrainedError(f"{folder}: expected a model's folder, got one without a {CONFIG_NAME}. {hint}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise PretrainedError(f"{path}: expected JSON, got a damaged file ({error}). {_HOW_TO_MEND}") from error
    if not isinstance(data, dict) or "format_version" not in data:
        raise PretrainedError(f"{path}: expected a format_version, got none. Not a model of tapehead. {_HOW_TO_MAKE}")
    if type(data["format_version"]) is not int or data["format_version"] != FORMAT_VERSION:
        raise PretrainedError(
            f"{path}: expected format_version {FORMAT_VERSION}, got {data['format_version']!r}. It was written by "
            f"tapehead {data.get('tapehead_version')}: install that version or a later one."
        )
    _check_parts(path, data)
    return {"task": None, "provenance": None, **data}


def _check_parts(path: Path, data: dict[str, Any]) -> None:
    """Raise unless the parts that are read are of the kinds they should be."""
    kinds: dict[str, dict[str, type]] = {
        "model": {"core": str, "arguments": dict, "target_size": int},
        "task": {"name": str, "options": dict},
        "provenance": {},
    }
    for name, fields in kinds.items():
        part = data.get(name)
        if part is None and name != "model":
            continue
        if not isinstance(part, dict):
            raise PretrainedError(f"{path}: expected {name} to be an object, got {part!r}. {_HOW_TO_MEND}")
        for field, kind in fields.items():
            value = part.get(field)
            if type(value) is not kind or (isinstance(value, int) and value < 1):
                raise PretrainedError(
                    f"{path}: expected {name}.{field} to be {_JSON_NAMES[kind]}, got {value!r}. {_HOW_TO_MEND}"
                )
    embedding = data["model"].get("embedding")
    if embedding is not None and not isinstance(embedding, dict):
        raise PretrainedError(f"{path}: expected model.embedding to be an object, got {embedding!r}. {_HOW_TO_MEND}")


def read_tensors(folder: str | Path) -> dict[str, Tensor]:
    """A folder's model.safetensors, by the names that the tensors have in the model.

    Raises:
        PretrainedError: it is missing, or damaged.
        ModuleNotFoundError: safetensors is not installed.
    """
    library = _safetensors("Loading a model")
    path = Path(folder) / WEIGHTS_NAME
    try:
        tensors: dict[str, Tensor] = library.load(path.read_bytes())
    except FileNotFoundError:
        raise PretrainedError(f"{path}: expected the model's weights, got no such file. {_HOW_TO_MEND}") from None
    except Exception as error:  # safetensors raises its own, and what torch raises of a header that makes no sense
        raise PretrainedError(
            f"{path}: expected a safetensors file, got a damaged or truncated one ({error}). {_HOW_TO_MEND}"
        ) from error
    return tensors


def _safetensors(doing: str, *also: str) -> Any:
    """The library, which needs numpy to save and not to load."""
    try:
        for name in ("safetensors.torch", *also):
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = (error.name or "safetensors").partition(".")[0]
        raise ModuleNotFoundError(
            f"{doing}: expected the package {package}, got none: it is not installed. "
            'Install it with: pip install "tapehead[pretrained]"',
            name=package,
        ) from error
    return sys.modules["safetensors.torch"]


_JSON_NAMES = {str: "a string", int: "an integer >= 1", dict: "an object"}
_HOW_TO_MAKE = "`tapehead export RUN DIR` and `SequenceModel.save_pretrained` write such folders."
_HOW_TO_MEND = "Get the folder again from where it comes from, or export the run again."
