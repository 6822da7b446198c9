"""Folders that are damaged, strange, or in the way: each gets a sentence that names the file."""

from __future__ import annotations

import errno
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tapehead import LSTM, NTM, Initial, PretrainedError, SequenceModel, from_pretrained


@pytest.fixture
def folder(tmp_path) -> Path:
    SequenceModel(NTM(3, 4, memory_size=5, word_size=2, initial=Initial(memory="random")), 2).save_pretrained(
        tmp_path / "model", task={"name": "copy", "options": {"bits": 2}}
    )
    return tmp_path / "model"


def refused(folder: Path, file: str) -> str:
    with pytest.raises(PretrainedError) as caught:
        from_pretrained(folder)
    assert str(folder / file) in str(caught.value)
    assert str(caught.value).endswith(".")
    return str(caught.value)


def change(folder: Path, *keys: str, to: object) -> None:
    path = folder / "config.json"
    part = data = json.loads(path.read_text())
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = to
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (["format_version"], 2, "expected format_version 1, got 2. It was written by tapehead"),
        (["format_version"], True, "expected format_version 1, got True"),
        (["format_version"], "1", "expected format_version 1, got '1'"),
        (["model"], None, "expected model to be an object, got None"),
        (["model", "core"], "GRU", "expected model.core to be one of LSTM, MANN, NTM, got 'GRU'"),
        (["model", "core"], "os.system", "expected model.core to be one of LSTM, MANN, NTM, got 'os.system'"),
        (["model", "core"], 3, "expected model.core to be a string, got 3"),
        (["model", "target_size"], "2", "expected model.target_size to be an integer >= 1, got '2'"),
        (["model", "target_size"], 0, "expected model.target_size to be an integer >= 1, got 0"),
        (["model", "arguments"], [], "expected model.arguments to be an object, got []"),
        (["model", "arguments", "colour"], 1, "got colour. The file may come from a newer tapehead"),
        (["model", "arguments", "device"], "cuda", "got device."),
        (["model", "arguments", "hidden_size"], "4", "expected hidden_size to be an int, got '4'"),
        (["model", "arguments", "memory_size"], 10**30, "expected model.arguments that make a layer"),
        (["model", "arguments", "order"], "sideways", "expected order to be one of"),
        (["model", "arguments", "initial"], "zero", "expected initial to be a tapehead.Initial"),
        (["model", "arguments", "initial"], {"memory": "psychic"}, "expected memory to be one of"),
        (["model", "arguments", "initial"], {"colour": 1}, "expected initial of"),
        (["model", "arguments"], {"input_size": 3}, "expected model.arguments that make a layer"),
        (["task"], "copy", "expected task to be an object, got 'copy'"),
        (["task", "options"], None, "expected task.options to be an object, got None"),
        (["provenance"], 3, "expected provenance to be an object, got 3"),
    ],
)
def test_a_configuration_that_does_not_fit(folder, keys, value, said):
    change(folder, *keys, to=value)
    assert said in refused(folder, "config.json")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000], ids=["empty", "cut", "binary", "deep"])
def test_a_configuration_that_is_not_json(folder, data):
    (folder / "config.json").write_bytes(data)
    assert "expected JSON, got a damaged file" in refused(folder, "config.json")


@pytest.mark.parametrize("text", ["3", "{}", '{"hidden_size": 8, "model_type": "bert"}'])
def test_a_configuration_of_something_else(folder, text):
    (folder / "config.json").write_text(text)
    assert "expected a format_version, got none. Not a model of tapehead" in refused(folder, "config.json")


def test_what_is_missing(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    assert "expected the model's weights, got no such file" in refused(folder, "model.safetensors")
    (folder / "config.json").unlink()
    with pytest.raises(PretrainedError, match=r"got one without a config\.json\. `tapehead export RUN DIR`"):
        from_pretrained(folder)
    (folder / "config.yaml").touch()
    with pytest.raises(PretrainedError, match=r"A run's folder is not one yet: `tapehead export .*/model DIR`"):
        from_pretrained(folder)


def test_weights_cut_anywhere(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for length in [0, 1, 7, 8, 9, 100, *range(200, len(whole), 397), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert "expected a safetensors file, got a damaged or truncated one" in refused(folder, path.name)
    path.write_bytes(whole + b"more")
    refused(folder, path.name)
    path.write_bytes(whole)
    from_pretrained(folder)


def test_a_header_with_any_byte_changed_is_refused_or_means_the_same(folder):
    path = folder / "model.safetensors"
    whole, refusals = path.read_bytes(), 0
    shapes = {name: tensor.shape for name, tensor in from_pretrained(folder).state_dict().items()}
    header = 8 + int.from_bytes(whole[:8], "little")
    for at in [*range(8), *range(8, header, 11)]:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            found = from_pretrained(folder).state_dict()
        except PretrainedError:
            refusals += 1
        else:
            assert {name: tensor.shape for name, tensor in found.items()} == shapes
    assert refusals > header / 22


def test_a_pickle_is_not_run(folder):
    ran = folder / "ran"

    class Bomb:
        def __reduce__(self):
            return Path.touch, (ran,)

    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    refused(folder, "model.safetensors")
    torch.save({"readout.weight": Bomb()}, folder / "model.safetensors")
    refused(folder, "model.safetensors")
    assert not ran.exists()


def test_tensors_of_another_model(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = "readout.weight"
    for changed, said in [
        (
            {key: value for key, value in tensors.items() if key != name},
            f"expected {name} (2, 6), .*got no such tensor",
        ),
        ({**tensors, "more": torch.ones(3)}, "expected more not to be there, .*got (3,)"),
        ({**tensors, name: torch.ones(2, 9)}, f"expected {name} (2, 6), .*got (2, 9)"),
        ({**tensors, name: tensors[name].half()}, "got torch.float16, torch.float32"),
        ({**tensors, name: tensors[name].double()}, "got torch.float32, torch.float64"),
        ({key: value.bfloat16() for key, value in tensors.items()}, "got torch.bfloat16"),
        ({}, "got no tensors"),
    ]:
        save_file(changed, path)
        message = refused(folder, path.name)
        assert all(part in message for part in said.split(".*"))


def test_sizes_that_the_tensors_do_not_have_take_no_memory(folder):
    change(folder, "model", "arguments", "hidden_size", to=10**6)
    assert "The two files belong to different models" in refused(folder, "model.safetensors")


def test_an_older_file_without_a_newer_option_takes_its_default(folder):
    path = folder / "config.json"
    data = json.loads(path.read_text())
    del data["model"]["arguments"]["checkpoint_every"], data["provenance"]
    path.write_text(json.dumps({**data, "downloads": 3}))
    assert from_pretrained(folder).core.arguments()["checkpoint_every"] is None


def test_nothing_is_overwritten(folder):
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(PretrainedError, match="expected a new folder, got one that exists"):
        SequenceModel(LSTM(3, 4), 2).save_pretrained(folder)
    assert (folder / "model.safetensors").read_bytes() == before


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PretrainedError, match="cannot be written: No space left on device"):
        SequenceModel(LSTM(3, 4), 2).save_pretrained(tmp_path / "deep" / "model")
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_folder_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PretrainedError, match="cannot be written"):
        SequenceModel(LSTM(3, 4), 2).save_pretrained(tmp_path / "file" / "model")
