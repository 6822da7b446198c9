"""Models on the Hugging Face hub, for who has `huggingface_hub` installed: what is downloaded, and what is uploaded."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

from tapehead.errors import PretrainedError
from tapehead.pretrained.folder import CONFIG_NAME, WEIGHTS_NAME, read_config

__all__ = ["download", "push_to_hub"]

CARD_NAME = "README.md"


def download(repo_id: str, revision: str | None, token: str | None) -> Path:
    """Bring a repository's model into the hub's cache: its folder there.

    Raises:
        PretrainedError: it cannot be had.
        ModuleNotFoundError: huggingface_hub is not installed.
    """
    hub = _huggingface_hub(
        f"{repo_id}: neither a folder here nor a pretrained model of the package. To look on the hub"
    )
    try:
        folder = hub.snapshot_download(
            repo_id, revision=revision, token=token, allow_patterns=[CONFIG_NAME, WEIGHTS_NAME], library_name="tapehead"
        )
    except Exception as error:  # the client's own errors, those of its HTTP library, and OSError
        raise PretrainedError(
            f"{repo_id}: expected a folder, a pretrained model of the package or a repository on the hub, got none of "
            f"them: {_said(error)}. Check the name and, where the repository is private, the token."
        ) from error
    return Path(folder)


def push_to_hub(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Upload a saved model's folder, as `tapehead export` writes it, to the Hugging Face hub.

    The repository is made if there is none. A README.md, its model card, is written unless the folder or the repository
    has one. What else is in the folder stays here.

    Args:
        folder: of the model
        repo_id: "owner/name", or "name" for one of your own
        private: whether a repository that is made is hidden from others; None takes your account's default
        token: of the hub; None takes the one that the hub's client has stored
        commit_message: None names the task

    Returns:
        the repository's address

    Raises:
        PretrainedError: the folder is not a model's, or the hub refuses.
        ModuleNotFoundError: huggingface_hub is not installed.
    """
    folder = Path(folder)
    config = read_config(folder)
    if not (folder / WEIGHTS_NAME).is_file():
        raise PretrainedError(f"{folder}: expected a {WEIGHTS_NAME} to upload, got none. Export the run again.")
    hub = _huggingface_hub("push_to_hub")
    api = hub.HfApi(token=token, library_name="tapehead")
    message = commit_message or f"Upload {_title(config)}"
    try:
        repository = api.create_repo(repo_id, private=private, exist_ok=True)
        with contextlib.ExitStack() as stack:
            names = [CONFIG_NAME, WEIGHTS_NAME, CARD_NAME]
            files: dict[str, Any] = {name: folder / name for name in names if (folder / name).is_file()}
            if CARD_NAME not in files and not api.file_exists(repository.repo_id, CARD_NAME):
                card = Path(stack.enter_context(tempfile.TemporaryDirectory())) / CARD_NAME
                card.write_text(_card(config, repository.repo_id), encoding="utf-8")
                files[CARD_NAME] = card
            operations = [hub.CommitOperationAdd(name, str(path)) for name, path in files.items()]
            api.create_commit(repository.repo_id, operations, commit_message=message)
    except Exception as error:  # the client's own errors, those of its HTTP library, and OSError
        raise PretrainedError(
            f"{repo_id}: cannot be uploaded to the hub: {_said(error)}. Check the name, and that you may write "
            "there: `hf auth login`, or token=."
        ) from error
    return str(repository)


def _card(config: dict[str, Any], repo_id: str) -> str:
    """The model card: what the hub shows of a repository."""
    about = json.dumps({name: config[name] for name in ("model", "task", "provenance")}, indent=2)
    model = config["model"]
    input_size = (model.get("embedding") or model["arguments"]).get("input_size")
    target_size = model["target_size"]
    return f"""---
library_name: tapehead
tags:
- neural-turing-machine
---

# {_title(config)}

```python
import tapehead

model = tapehead.from_pretrained("{repo_id}")
logits, state = model(input)  # (T, B, {input_size}) -> (T, B, {target_size})
```

```json
{about}
```
"""


def _title(config: dict[str, Any]) -> str:
    core, task = config["model"]["core"], config["task"]
    return f"{core} on {task['name']}" if task else core


def _said(error: Exception) -> str:
    """The first two lines of what the hub's client says; further ones are advice on its own functions."""
    lines = [line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *lines[:2]])


def _huggingface_hub(doing: str) -> Any:
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{doing}: expected the package huggingface_hub, got none: it is not installed. "
            'Install it with: pip install "tapehead[hub]"',
            name=error.name,
        ) from error
    return huggingface_hub
