"""Files and folders that appear whole, and where the user's cache is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tapehead.cache import cache_folder
from tapehead.files import new_folder, replacing


def test_a_new_folder_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "above" / "folder"

    def fail():
        with new_folder(path) as beside:
            (beside / "file").write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(path.parent.iterdir()) == []
    with new_folder(path) as beside:
        assert not path.exists()
        (beside / "file").write_bytes(b"whole")
    assert list(path.parent.iterdir()) == [path]
    assert (path / "file").read_bytes() == b"whole"
    with pytest.raises(OSError, match="not empty"), new_folder(path):
        pass
    assert list(path.parent.iterdir()) == [path]


def test_a_file_can_be_replaced_without_waiting_for_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda file: pytest.fail("waited"))
    with replacing(tmp_path / "file", waiting=False) as file:
        file.write(b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"TAPEHEAD_CACHE": "~/mine", "XDG_CACHE_HOME": "/xdg"}, "/home/me/mine"),
        ("linux", {"XDG_CACHE_HOME": "/xdg"}, "/xdg/tapehead"),
        ("linux", {}, "/home/me/.cache/tapehead"),
        ("darwin", {}, "/home/me/Library/Caches/tapehead"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/tapehead/Cache"),
    ],
)
def test_the_cache_is_where_the_system_keeps_it(platform, variables, expected, monkeypatch):
    for name in ("TAPEHEAD_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == Path(expected)
