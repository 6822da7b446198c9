"""What a name means: a model of the package, a folder, or a repository of the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from tapehead.errors import PretrainedError, did_you_mean
from tapehead.pretrained.folder import CONFIG_NAME
from tapehead.pretrained.hub import download

__all__ = ["find", "locate", "names"]

HOME = Path(__file__).parent
"""The folder of the package's own models, a folder each, named TASK-RECIPE."""

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def names() -> list[str]:
    """The models that come with the package.

    >>> from tapehead import pretrained
    >>> "copy-ntm" in pretrained.names()
    True
    """
    return sorted(path.parent.name for path in HOME.glob(f"*/{CONFIG_NAME}"))


def find(name: str) -> Path | None:
    """The folder of a model of the package, or None; "-" and "_" are the same.

    Raises:
        PretrainedError: there is a run's or a model's folder of this name as well.

    >>> from tapehead.pretrained import find
    >>> find("copy_ntm").name, find("gru")
    ('copy-ntm', None)
    """
    found = next((known for known in names() if known.replace("_", "-") == name.replace("_", "-")), None)
    if found is None:
        return None
    if any((Path(name) / file).is_file() for file in (CONFIG_NAME, "config.yaml")):
        raise PretrainedError(
            f"{name}: expected one meaning, got two: a model of the package, and a folder here. "
            f"Write ./{name} for the folder; for the model go elsewhere, or rename the folder."
        )
    return HOME / found


def locate(name_or_folder: str | Path, *, revision: str | None = None, token: str | None = None) -> Path:
    """The folder of a saved model.

    Args:
        name_or_folder: a model of the package, such as "copy-ntm"; a folder; or a repository of the Hugging Face hub,
            "owner/name", which is downloaded into the hub's cache
        revision: branch, tag or commit of the repository; None takes its main branch
        token: of the hub, for what is private; None takes the one that the hub's client has stored

    Raises:
        PretrainedError: it is none of these, or cannot be downloaded.
        ModuleNotFoundError: it looks like a repository, and huggingface_hub is not installed.
        ValueError: a revision of what is not on the hub.
    """
    folder = find(name_or_folder) if isinstance(name_or_folder, str) else None
    if folder is None and Path(name_or_folder).is_dir():
        folder = Path(name_or_folder)
    if folder is not None:
        if revision is not None:
            raise ValueError(
                f"from_pretrained: expected no revision for {name_or_folder}, which is not on the hub, got "
                f"{revision!r}. Leave it out."
            )
        return folder
    if isinstance(name_or_folder, str) and REPOSITORY.fullmatch(name_or_folder):
        return download(name_or_folder, revision, token)
    raise PretrainedError(
        f"{name_or_folder}: expected a folder or the name of a pretrained model, got neither. "
        f"There are: {', '.join(names())}.{did_you_mean(str(name_or_folder), names())}"
    )
