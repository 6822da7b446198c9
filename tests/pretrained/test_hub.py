"""Uploads and downloads through huggingface_hub itself, over HTTP, to a hub of this process.

In another process, because the client reads the hub's address when it is imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tapehead import pretrained
from tests.pretrained.hub_server import TOKEN, Hub, running

SCRIPT = f"""
import json, sys
import tapehead, torch
from tapehead import PretrainedError, pretrained

assert not {{"huggingface_hub", "safetensors"}} & sys.modules.keys()
said = {{}}

def trying(name, call):
    try:
        said[name] = repr(call())
    except PretrainedError as error:
        said[name] = str(error)

model = tapehead.from_pretrained("copy-ntm")
assert "huggingface_hub" not in sys.modules

def same(name, **options):
    found = tapehead.from_pretrained(name, **options).state_dict()
    return all(torch.equal(found[key], value) for key, value in model.state_dict().items())

described = {{"task": {{"name": "copy", "options": {{}}}}, "provenance": {{"seed": 3}}}}
trying("push", lambda: model.push_to_hub("me/model", token="{TOKEN}", **described))
trying("again", lambda: pretrained.push_to_hub(
    pretrained.locate("copy-ntm"), "me/model", token="{TOKEN}", commit_message="Once more"))
trying("download", lambda: same("me/model"))
trying("revision", lambda: same("me/model", revision="main"))
trying("push_private", lambda: model.push_to_hub("me/hidden", private=True, token="{TOKEN}"))
trying("private_without_token", lambda: same("me/hidden"))
trying("private", lambda: same("me/hidden", token="{TOKEN}"))
trying("no_such_revision", lambda: same("me/model", revision="nope"))
trying("no_such_model", lambda: same("me/none"))
trying("of_something_else", lambda: same("me/bert"))
trying("wrong_token", lambda: model.push_to_hub("me/model", token="wrong"))
trying("bad_name", lambda: model.push_to_hub("not a name", token="{TOKEN}"))
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[dict[str, str], Hub]:
    """What each call said, and the hub after them."""
    home = tmp_path_factory.mktemp("hub")
    with running() as hub:
        hub.repositories["me/bert"] = [{"config.json": b'{"model_type": "bert"}'}]
        environment: dict[str, Any] = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        environment |= {"HF_ENDPOINT": hub.address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        process = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=60
        )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout), hub


@pytest.mark.slow_start
def test_a_model_goes_up_and_comes_down_to_the_bit(done):
    said, hub = done
    assert said["push"] == said["again"] == repr(f"{hub.address}/me/model")
    assert said["download"] == said["revision"] == "True"
    assert hub.messages == ["Upload NTM on copy", "Once more", "Upload NTM"]
    folder = pretrained.locate("copy-ntm")
    first, last = hub.repositories["me/model"][1:]
    assert last.keys() == first.keys() == {".gitattributes", "config.json", "model.safetensors", "README.md"}
    assert json.loads(first["config.json"])["provenance"] == {"seed": 3}
    assert {name: last[name] for name in ("config.json", "model.safetensors")} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }


@pytest.mark.slow_start
def test_a_model_card_is_written_once(done):
    _, hub = done
    _, first, last = hub.repositories["me/model"]
    assert b'tapehead.from_pretrained("me/model")' in first["README.md"]
    assert first["README.md"].startswith(b"---\nlibrary_name: tapehead\n")
    assert last["README.md"] == first["README.md"]


@pytest.mark.slow_start
def test_what_is_uploaded_as_private_comes_down_to_who_has_the_token(done):
    said, hub = done
    assert hub.private == {"me/hidden"}
    assert (
        "me/hidden: expected a folder, a pretrained model of the package or a repository"
        in said["private_without_token"]
    )
    assert said["private"] == "True"


@pytest.mark.slow_start
def test_what_the_hub_refuses_gets_a_sentence(done):
    said, _ = done
    for name, words in {
        "no_such_revision": "me/model: expected a folder, a pretrained model of the package or a repository",
        "no_such_model": "me/none: expected a folder, a pretrained model of the package or a repository",
        "of_something_else": "expected a format_version, got none. Not a model of tapehead",
        "wrong_token": "me/model: cannot be uploaded to the hub",
        "bad_name": "not a name: cannot be uploaded to the hub",
    }.items():
        assert words in said[name], name
        assert "wrong'" not in said[name]
