"""A core and a readout, with or without an embedding before them: what maps input sequences to logits."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tapehead import pretrained
from tapehead.errors import PretrainedError
from tapehead.nn.checks import check_dtype, check_size
from tapehead.nn.embedding import ImageEmbedding
from tapehead.nn.mann_cell import MANNCell
from tapehead.nn.ntm_cell import NTMCell
from tapehead.nn.recurrent import reset_parts
from tapehead.nn.saved import (
    build_core,
    build_embedding,
    check_same,
    describe_core,
    describe_embedding,
    dtype_of,
    fill,
)
from tapehead.nn.sequences import open_sequence

__all__ = ["SequenceModel", "from_pretrained"]


class SequenceModel(nn.Module):
    """Any layer of tapehead, and a linear readout of its output.

    Args:
        core: a layer with `output_size`, called as `core(input, state, lengths)`
        target_size: O, width of the logits
        embedding: what each step's input goes through before the core sees it; None is nothing. The core then needs an
            `input_size`

    Shape:
        input: as the core takes it, (T, B, D); with an embedding, as that takes it
        logits: (T, B, O) in the form of the input. Past a row's length they are the readout's bias: mask them

    Raises:
        TypeError: the core is not such a layer or has no parameters, or the embedding is no `ImageEmbedding`.
        ValueError: the embedding's output is not what the core takes: its width, dtype or device.

    >>> import torch, tapehead
    >>> model = SequenceModel(tapehead.NTM(input_size=9, hidden_size=100), target_size=8)
    >>> logits, state = model(torch.randn(12, 4, 9))
    >>> logits.shape
    torch.Size([12, 4, 8])
    """

    def __init__(self, core: nn.Module, target_size: int, embedding: ImageEmbedding | None = None) -> None:
        super().__init__()
        check_size("SequenceModel", "target_size", target_size)
        output_size = getattr(core, "output_size", None)
        if not isinstance(core, nn.Module) or not isinstance(output_size, int):
            raise TypeError(
                f"SequenceModel: expected core to be a layer with an output_size, got {type(core).__name__}. "
                "tapehead.NTM and tapehead.LSTM are such layers."
            )
        like = next(core.parameters(), None)
        if like is None:
            raise TypeError(
                f"SequenceModel: expected core to have parameters, got {type(core).__name__} with none. The readout "
                "takes their dtype and device."
            )
        if embedding is not None:
            _check_embedding(embedding, core, like)
        self.embedding = embedding
        self.core = core
        self.target_size = target_size
        self.readout = nn.Linear(output_size, target_size, device=like.device, dtype=like.dtype)

    def forward(
        self, input: Tensor | PackedSequence, state: Any = None, lengths: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Any]:
        """Logits of every step, and the core's state after each row's last one."""
        if isinstance(self.core, (NTMCell, MANNCell)):  # which can be kept in a model, and saved
            cell = type(self.core).__name__
            raise TypeError(
                f"SequenceModel: expected a core that runs a sequence, got {cell}, which runs a step. Make the model "
                f"of a tapehead.{cell.removesuffix('Cell')}, or call its core."
            )
        output, new_state = self.core(self.embed(input, lengths), state, lengths)
        if isinstance(output, PackedSequence):
            return output._replace(data=self.readout(output.data)), new_state
        return self.readout(output), new_state

    @property
    def input_size(self) -> int:
        """D, width of the input."""
        size: int = (self.core if self.embedding is None else self.embedding).input_size  # type: ignore[assignment]
        return size

    def embed(self, input: Tensor | PackedSequence, lengths: Tensor | None = None) -> Tensor | PackedSequence:
        """What the core sees of an input: the input itself where there is no embedding."""
        if self.embedding is None:
            return input
        opened = open_sequence(
            type(self).__name__,
            input,
            lengths,
            input_size=self.embedding.input_size,
            batch_first=getattr(self.core, "batch_first", False),
            like=self.embedding.normalisation.weight,
        )
        if opened.packed is not None:
            return opened.packed._replace(data=self.embedding(opened.packed.data))
        inside = None
        if opened.lengths is not None:
            inside = torch.arange(len(opened.input), device=opened.lengths.device).unsqueeze(1) < opened.lengths
        return opened.close_padded(self.embedding(opened.input, inside))

    def arguments(self) -> dict[str, Any]:
        """What makes another of these: the constructor's arguments."""
        return {"core": self.core, "target_size": self.target_size, "embedding": self.embedding}

    def reset_parameters(self) -> None:
        """Draw new parameters in the core, the readout and the embedding, as a new model does."""
        reset_parts(self)

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path, *, revision: str | None = None, token: str | None = None
    ) -> SequenceModel:
        """A saved model; see `tapehead.from_pretrained`."""
        folder = pretrained.locate(name_or_folder, revision=revision, token=token)
        config_path, weights_path = folder / pretrained.CONFIG_NAME, folder / pretrained.WEIGHTS_NAME
        config, tensors = pretrained.read_config(folder), pretrained.read_tensors(folder)
        described, dtype = config["model"], dtype_of(weights_path, tensors)
        try:
            model = _described(config_path, described, dtype, cls)
        except ValueError as error:
            raise PretrainedError(f"{config_path}: {error} Export the run again.") from error
        fill(weights_path, model, tensors)
        return model.eval()

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        task: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the model into a new folder, from which `tapehead.from_pretrained` makes it again, to the bit.

        Args:
            folder: must not exist
            task: what it was trained on, {"name": "copy", "options": {"bits": 8}}; for `tapehead evaluate` and `plot`
            provenance: where it comes from, anything that JSON can hold

        Raises:
            PretrainedError: the folder exists, or cannot be written.
            TypeError: the core or the embedding is not a layer of tapehead.
            ValueError: the model could not be made again: it is in float16, say, parametrized, or has tied weights.
            ModuleNotFoundError: safetensors is not installed.

        >>> import tempfile, torch, tapehead
        >>> model = SequenceModel(tapehead.LSTM(3, 4), target_size=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save_pretrained(f"{folder}/mine")
        ...     again = tapehead.from_pretrained(f"{folder}/mine")
        >>> torch.equal(again.readout.weight, model.readout.weight)
        True
        """
        embedding = {} if self.embedding is None else {"embedding": describe_embedding(self.embedding)}
        described = {**describe_core(self.core), **embedding, "target_size": self.target_size}
        config = {
            "model": described,
            "task": None if task is None else dict(task),
            "provenance": None if provenance is None else dict(provenance),
        }
        tensors = self.state_dict()
        dtype = tensors.get("readout.weight", next(iter(tensors.values()))).dtype
        check_dtype("save_pretrained", dtype)
        check_same(tensors, _described(Path(folder), described, dtype).state_dict())
        pretrained.write_folder(Path(folder), config, tensors)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str | None = None,
        task: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> str:
        """Save the model and upload it to the Hugging Face hub, from which `tapehead.from_pretrained` gets it again.

        A folder that is saved already is uploaded with `tapehead.pretrained.push_to_hub`.

        Args:
            repo_id: "owner/name", or "name" for one of your own; made if there is none
            private: whether a repository that is made is hidden from others; None takes your account's default
            token: of the hub; None takes the one that the hub's client has stored
            commit_message: None names the core and the task
            task: as for `save_pretrained`
            provenance: as for `save_pretrained`

        Returns:
            the repository's address

        Raises:
            PretrainedError: the hub refuses.
            TypeError: the core is not a layer of tapehead.
            ModuleNotFoundError: safetensors or huggingface_hub is not installed.
        """
        with tempfile.TemporaryDirectory() as home:
            folder = Path(home) / "model"
            self.save_pretrained(folder, task=task, provenance=provenance)
            return pretrained.push_to_hub(folder, repo_id, private=private, token=token, commit_message=commit_message)


def _described(
    path: Path, description: Mapping[str, Any], dtype: torch.dtype, kind: type[SequenceModel] = SequenceModel
) -> SequenceModel:
    """The model that a description makes, without values."""
    core, embedding = build_core(path, description, dtype), build_embedding(path, description, dtype)
    return kind(core, description["target_size"], embedding)


def _check_embedding(embedding: ImageEmbedding, core: nn.Module, like: Tensor) -> None:
    """Raise unless what an embedding gives is what a core takes."""
    if not isinstance(embedding, ImageEmbedding):
        raise TypeError(
            f"SequenceModel: expected embedding to be an ImageEmbedding or None, got {type(embedding).__name__}. "
            "Put other modules before the model."
        )
    width = getattr(core, "input_size", None)
    if width is None:
        raise TypeError(
            f"SequenceModel: expected a core with an input_size behind an embedding, got {type(core).__name__}."
        )
    if width != embedding.output_size:
        raise ValueError(
            f"SequenceModel: expected a core of input_size={embedding.output_size}, as wide as the embedding's output, "
            f"got {width}."
        )
    weight = next(embedding.parameters())
    if (weight.dtype, weight.device) != (like.dtype, like.device):
        raise ValueError(
            f"SequenceModel: expected an embedding of {like.dtype} on {like.device}, as the core is, got "
            f"{weight.dtype} on {weight.device}. Convert one of them with .to()."
        )


def from_pretrained(
    name_or_folder: str | Path, *, revision: str | None = None, token: str | None = None
) -> SequenceModel:
    """A trained model, in evaluation mode, on the CPU, with the weights to the bit.

    Args:
        name_or_folder: a model of the package, `tapehead.pretrained.names()`; a folder that `tapehead export` or
            `SequenceModel.save_pretrained` wrote; or a repository of the Hugging Face hub, "owner/name"
        revision: branch, tag or commit of the repository; None takes its main branch
        token: of the hub, for what is private; None takes the one that the hub's client has stored

    Raises:
        PretrainedError: there is no such model, or it is damaged or of another version; nothing in it is executed.
        ModuleNotFoundError: safetensors, or for the hub huggingface_hub, is not installed.
        ValueError: a revision of what is not on the hub.

    >>> import torch, tapehead
    >>> model = tapehead.from_pretrained("copy-ntm")
    >>> vectors = torch.randint(0, 2, (5, 1, 8)).float()  # (T, B, bits)
    >>> input = torch.zeros(11, 1, 9)  # five vectors, the delimiter, and five steps for the answer
    >>> input[:5, :, :8], input[5, :, 8] = vectors, 1
    >>> logits, state = model(input)
    >>> torch.equal((logits[6:] > 0).float(), vectors)
    True
    """
    return SequenceModel.from_pretrained(name_or_folder, revision=revision, token=token)
