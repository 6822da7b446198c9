"""What a study refuses before anything is started, and what it says where its folder cannot be written."""

from __future__ import annotations

import errno
import os

import pytest

from tapehead.cli import main
from tests.studies.tiny_study import study


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", str(10**20)], "--seeds: expected at most 100,000, got 100000000000000000000."),
        (
            ["--first-seed", str(2**63)],
            "--first-seed: expected at most 9,223,372,036,854,775,798, got 9223372036854775808.",
        ),
        (["--models", "none.yaml"], "--models: expected a YAML file, got none.yaml, which is no such file."),
        (["--models", "folder.yaml"], "--models: expected a YAML file, got folder.yaml, which is a folder."),
        (["--models", "other.yaml"], "model_name in other.yaml: expected one of ntm, mann, lstm, got nix."),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "other.yaml").write_text("model_name: nix\n")
    assert main(["study", "copy", "--out", "study", *words]) == 2
    assert capsys.readouterr().err == f"tapehead: {said}\n"
    assert not (tmp_path / "study").exists()


def test_a_disk_that_is_full_before_a_run_begins(tmp_path, monkeypatch, capsys, in_process):
    synchronise = os.fsync

    def full(file):
        if "/logs/" in os.readlink(f"/proc/self/fd/{file}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        synchronise(file)

    out, words = tmp_path / "study", ["--seeds", "1", "--workers", "1", "--no-evaluation"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert study(out, *words) == 1
    error = capsys.readouterr().err
    assert f"tapehead: {out}: cannot be written: No space left on device. What its runs have saved is kept." in error
    assert study(out, *words) == 0
    assert "Study: " in capsys.readouterr().out


def test_only_the_files_that_were_written_are_named(tmp_path, capsys, in_process):
    words = ["--seeds", "1", "--workers", "1", "--no-evaluation", "--optimiser.learning_rate=1e38"]
    assert study(tmp_path / "study", *words) == 1
    out = capsys.readouterr().out
    assert "table.md, results.json" in out
    assert "curves.png" not in out
    assert not (tmp_path / "study" / "curves.png").exists()
