"""The commands that need no run."""

from __future__ import annotations

import builtins
import subprocess
import sys

import pytest

import tapehead
from tapehead.cli import main


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
