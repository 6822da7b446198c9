"""The commands that need no run."""

from __future__ import annotations

import builtins
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tapehead
from tapehead.cli import EXTRAS, main

ROOT = Path(__file__).parents[1]


def test_info_names_versions_and_says_why_a_backend_cannot_run(capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert f"tapehead      {tapehead.__version__}" in text
    for name in ("torch", "lightning", "python", "cpu"):
        assert name in text
    assert "reference   yes" in text
    assert "fused" in text


@pytest.mark.slow_start
def test_the_installed_command_runs():
    done = subprocess.run(
        [sys.executable, "-m", "tapehead", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == f"tapehead {tapehead.__version__}"


@pytest.mark.parametrize("words", [[], ["sing"], ["info", "more"], ["evaluate"], ["evaluate", "run", "--length", "3"]])
def test_a_wrong_command_shows_the_usage(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert "usage: tapehead" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["train", "copy"], ["tune", "copy"], ["plot", "run"], ["evaluate", "run"]], ids=lambda words: words[0]
)
def test_a_missing_extra_is_named(words, capsys, monkeypatch):
    importing = builtins.__import__
    extras = ("lightning", "jsonargparse", "matplotlib", "rich", "yaml")

    def without_extras(name, *arguments, **keywords):
        if name.split(".")[0] in extras:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return importing(name, *arguments, **keywords)

    for name in list(sys.modules):
        if name.split(".")[0] in (*extras, "tapehead") and name != "tapehead":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without_extras)
    from tapehead.cli import main as fresh

    assert fresh(words) == 1
    assert 'pip install "tapehead[train,plots]"' in capsys.readouterr().err


def test_the_words_of_an_error_that_says_what_to_install_are_kept(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TAPEHEAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert main(["train", "omniglot", "--out", str(tmp_path / "run")]) == 1
    said = "tapehead: Downloading Omniglot: expected the package pooch, got none: it is not installed."
    assert capsys.readouterr().err == f'{said} Install it with: pip install "tapehead[omniglot]"\n'


@pytest.mark.parametrize("extra", ["train", "plots", "omniglot", "hub", "ray", "pretrained"])
def test_what_an_extra_brings_is_known(extra):
    """The extras of pyproject.toml that commands use; `gpu` and `docs` are imported where they are asked for alone."""
    modules = {"pillow": "PIL", "pooch[progress]": "pooch", "jsonargparse[signatures]": "jsonargparse"}
    tomllib = pytest.importorskip("tomllib")  # since Python 3.11
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["optional-dependencies"][extra]:
        name = re.match(r"[\w\[\]-]+", requirement)[0]
        if not name.startswith("tapehead"):
            assert modules.get(name, name) in EXTRAS


@pytest.mark.parametrize(
    ("name", "extras"),
    [("safetensors", "pretrained"), ("PIL.Image", "omniglot"), ("ray", "ray"), ("rich.console", "train,plots")],
)
def test_the_extra_that_brings_a_package_is_named(name, extras, capsys, monkeypatch):
    monkeypatch.setattr("tapehead.info.describe", lambda: (_ for _ in ()).throw(ModuleNotFoundError("No", name=name)))
    assert main(["info"]) == 1
    assert f'This needs {name}, which is not installed. Install it with: pip install "tapehead[{extras}]"' in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["tapehead.lost", "pandas", None])
def test_a_module_of_no_extra_is_nobodys_advice(name, monkeypatch):
    monkeypatch.setattr("tapehead.info.describe", lambda: (_ for _ in ()).throw(ModuleNotFoundError("No", name=name)))
    with pytest.raises(ModuleNotFoundError):
        main(["info"])
