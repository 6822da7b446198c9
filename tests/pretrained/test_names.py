"""What a name is taken for."""

from __future__ import annotations

import sys

import pytest

import tapehead
from tapehead import PretrainedError, pretrained


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def without(monkeypatch):
    """Make a package impossible to import."""

    def block(package: str) -> None:
        for name in list(sys.modules):
            if name.partition(".")[0] == package:
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)

    return block


def test_dashes_and_underscores_are_the_same():
    assert pretrained.find("copy_ntm") == pretrained.locate("copy-ntm")
    names = [name.replace("_", "-") for name in pretrained.names()]
    assert len(set(names)) == len(names)


def test_a_folder_of_a_models_name_has_to_be_told_apart(elsewhere):
    (elsewhere / "copy-ntm").mkdir()
    assert tapehead.from_pretrained("copy-ntm").target_size == 8  # an empty folder is nothing
    (elsewhere / "copy-ntm").rmdir()
    model = tapehead.SequenceModel(tapehead.LSTM(3, 4), 2)
    model.save_pretrained("copy-ntm")
    with pytest.raises(PretrainedError, match=r"expected one meaning, got two.* Write \./copy-ntm"):
        tapehead.from_pretrained("copy-ntm")
    assert tapehead.from_pretrained("./copy-ntm").target_size == 2
    assert tapehead.from_pretrained(elsewhere / "copy-ntm").target_size == 2


@pytest.mark.parametrize("name", ["gru", "a/b/c", "/no/such", "../x", ""])
def test_a_name_that_is_nothing_lists_what_there_is(name):
    expected = "config.json" if name == "" else r"expected a folder or the name .*There are: .*copy-ntm"
    with pytest.raises(PretrainedError, match=expected):
        tapehead.from_pretrained(name)


def test_a_revision_is_for_the_hub():
    with pytest.raises(ValueError, match="expected no revision for copy-ntm"):
        tapehead.from_pretrained("copy-ntm", revision="main")


def test_without_safetensors_one_sentence_says_what_to_install(without):
    model = tapehead.from_pretrained("copy-ntm")
    without("safetensors")
    said = r'safetensors, got none: it is not installed\. Install it with: pip install "tapehead\[pretrained\]"'
    with pytest.raises(ModuleNotFoundError, match=said):
        tapehead.from_pretrained("copy-ntm")
    with pytest.raises(ModuleNotFoundError, match=said):
        model.save_pretrained("mine")
    assert pretrained.read_config(pretrained.locate("copy-ntm"))["task"]["name"] == "copy"


def test_saving_needs_numpy_and_loading_does_not(without):
    without("numpy")
    model = tapehead.from_pretrained("copy-ntm")
    with pytest.raises(ModuleNotFoundError, match=r"expected the package numpy, got none.*tapehead\[pretrained\]"):
        model.save_pretrained("mine")


def test_without_huggingface_hub_one_sentence_says_what_to_install(without):
    model = tapehead.from_pretrained("copy-ntm")
    without("huggingface_hub")
    said = r'huggingface_hub, got none: it is not installed\. Install it with: pip install "tapehead\[hub\]"'
    with pytest.raises(ModuleNotFoundError, match=r"me/copy: neither a folder here nor .*" + said):
        tapehead.from_pretrained("me/copy")
    with pytest.raises(ModuleNotFoundError, match=said):
        model.push_to_hub("me/copy")
