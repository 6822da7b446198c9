"""The file of what was tuned: found again, merged, and harmless whatever is in it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tapehead import backends
from tapehead.ops import ntm, tunings_file
from tapehead.ops.tilings import SHORT_LIST, USUAL, Tiling
from tapehead.tasks.omniglot.source import cache_folder

own_path = tunings_file.path  # before a fixture takes its place
KEY = tunings_file.Key("a GPU", "3.6.0", "0123", "ntm", "forward", "float32", 8, "hidden 100")
BEST = SHORT_LIST[2]


def test_nothing_tuned_is_the_usual_tiling(tunings: Path):
    assert tunings_file.chosen(KEY) == USUAL
    assert not tunings.parent.exists()


def test_what_was_tuned_is_found_again(tunings: Path):
    tunings_file.remember({KEY: BEST})
    assert tunings_file.chosen(KEY) == BEST
    tunings_file.forget()
    assert tunings_file.chosen(KEY) == BEST
    assert [path.name for path in tunings.parent.glob("*.json")] == ["tunings.json"]
    assert not list(tunings.parent.glob("*.part"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("device", "another GPU"),
        ("triton", "3.7.0"),
        ("kernels", "4567"),
        ("op", "mann"),
        ("way", "backward"),
        ("dtype", "float64"),
        ("programs", 16),
        ("sizes", "hidden 101"),
    ],
)
def test_a_tuning_holds_for_its_key_alone(field: str, value: object, tunings: Path):
    tunings_file.remember({KEY: BEST})
    tunings_file.forget()
    assert tunings_file.chosen(KEY._replace(**{field: value})) == USUAL


def test_others_tunings_stay(tunings: Path):
    other = KEY._replace(device="another GPU")
    tunings_file.remember({other: SHORT_LIST[1], KEY: SHORT_LIST[1]})
    tunings_file.forget()
    tunings_file.remember({KEY: BEST})
    tunings_file.forget()
    assert (tunings_file.chosen(KEY), tunings_file.chosen(other)) == (BEST, SHORT_LIST[1])


def test_kernels_that_cannot_be_read_are_not_looked_up(tunings: Path, monkeypatch: pytest.MonkeyPatch):
    tunings_file.remember({KEY._replace(kernels=""): USUAL, KEY: BEST})
    assert [*json.loads(tunings.read_text())] == [KEY.place]
    tunings_file.forget()
    assert tunings_file.chosen(KEY._replace(kernels="")) == USUAL
    monkeypatch.setattr(tunings_file, "KERNELS", Path("nowhere"))
    assert tunings_file.kernels_hash.__wrapped__("ntm") == ""


@pytest.mark.parametrize("changed", ["triton/memory.py", "ntm/triton/heads.py", "ntm/cuda.py", "triton_launches.py"])
def test_a_changed_kernel_has_another_hash(changed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    copied = tmp_path / "ops"
    shutil.copytree(tunings_file.KERNELS, copied)
    before, hash_of = tunings_file.kernels_hash("ntm"), tunings_file.kernels_hash.__wrapped__
    monkeypatch.setattr(tunings_file, "KERNELS", copied)
    assert hash_of("ntm") == before
    with (copied / changed).open("a") as file:
        file.write("# another line\n")
    assert hash_of("ntm") not in (before, "")


WHOLE = {KEY.place: {KEY.call: BEST._asdict()}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected JSON"),
        (json.dumps(WHOLE)[:-9], "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ("\udcff", "expected JSON"),
        ("[1]", "expected tunings by their places, got list"),
        (json.dumps({KEY.place: 3}), "expected a tiling"),
        (json.dumps({KEY.place: {KEY.call: {**BEST._asdict(), "tile": 1000}}}), "expected a tiling"),
        (json.dumps({KEY.place: {KEY.call: {**BEST._asdict(), "warps": "8"}}}), "expected a tiling"),
        (json.dumps({KEY.place: {KEY.call: {**BEST._asdict(), "stages": 2}}}), "expected a tiling"),
    ],
)
def test_a_damaged_file_is_as_if_there_were_none(text: str, said: str, tunings: Path):
    tunings.parent.mkdir()
    tunings.write_text(text, errors="surrogateescape")
    with pytest.warns(UserWarning, match=rf"tunings.json: {said}.*`tapehead tune` writes it anew"):
        assert tunings_file.chosen(KEY) == USUAL
    assert tunings_file.chosen(KEY._replace(programs=16)) == USUAL  # and says it once: a warning is an error in tests
    tunings_file.remember({KEY: BEST})
    tunings_file.forget()
    assert tunings_file.chosen(KEY) == BEST


def test_what_is_sound_in_a_damaged_file_counts(tunings: Path):
    tunings.parent.mkdir()
    tunings.write_text(json.dumps({"elsewhere": {"x": {}}, **WHOLE}))
    with pytest.warns(UserWarning, match="That part is as if it were not there"):
        assert tunings_file.chosen(KEY) == BEST


def test_a_file_that_cannot_be_read_or_written(tunings: Path):
    tunings.mkdir(parents=True)
    with pytest.warns(UserWarning, match="cannot be read: Is a directory"):
        assert tunings_file.chosen(KEY) == USUAL
    with pytest.warns(UserWarning, match="cannot be written: .* gone with this process"):
        tunings_file.remember({KEY: BEST})
    assert tunings_file.chosen(KEY) == BEST
    assert not list(tunings.parent.glob("*.part"))


@pytest.mark.skipif(sys.platform == "win32", reason="files have no modes there")
def test_whoever_shares_the_folder_may_read_the_file(tunings: Path):
    before = os.umask(0o022)
    try:
        tunings_file.remember({KEY: BEST})
    finally:
        os.umask(before)
    assert tunings.stat().st_mode & 0o777 == 0o644


WRITE = """
import os, sys
from tapehead.ops import tunings_file
from tapehead.ops.tilings import SHORT_LIST
key = tunings_file.Key("a GPU", "3.6.0", "0123", "ntm", "forward", "float32", 8, "")
other = os.fork()
name = "a" if other else "b"
for index in range(40):
    tunings_file.remember({key._replace(sizes=f"{name} {index}"): SHORT_LIST[3]})
if other:
    sys.exit(os.waitpid(other, 0)[1] != 0)
"""


@pytest.mark.slow_start
def test_processes_that_write_at_once_lose_nothing(tunings: Path):
    environment = {**os.environ, "TAPEHEAD_CACHE": str(tunings.parent)}
    subprocess.run([sys.executable, "-c", WRITE], env=environment, check=True, timeout=60)
    keys = [KEY._replace(sizes=f"{name} {index}") for name in ("a", "b") for index in range(40)]
    assert {tunings_file.chosen(key) for key in keys} == {SHORT_LIST[3]}


def test_the_file_lies_where_other_downloads_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    pytest.importorskip("pooch")
    monkeypatch.setenv("TAPEHEAD_CACHE", str(tmp_path / "named"))
    assert own_path() == tmp_path / "named" / "tunings.json"
    monkeypatch.delenv("TAPEHEAD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "users"))
    assert own_path() == tmp_path / "users" / "tapehead" / "tunings.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert own_path() == Path.home() / ".cache" / "tapehead" / "tunings.json"
    if sys.platform == "linux":
        assert own_path().parent == cache_folder().parent


def test_the_key_of_a_launch():
    """Rows count by powers of two, T does not, N by those of its padding, and no tiling is part of it."""
    shape = ntm.fused.Shape(41, 5, 9, 100, 1, 120, 128, 20, 1, ntm.fused.Sizes(1, 1, 1, 1, 0, 0, 0, 0, 0))
    plan = ntm.fused.cuda.LAUNCHES.plan

    def key(shape, tiling: Tiling = USUAL, save: bool = True) -> tunings_file.Key:
        made = plan(shape, torch.float32, save, False, False, tiling)
        return tunings_file.key_of("ntm", "forward", made, torch.float32, torch.device("cpu"), shape.rows)

    first = key(shape)
    assert (first.device, first.op, first.dtype, first.programs) == ("cpu", "ntm", "float32", 8)
    assert "hidden 100, layers 1" in first.sizes
    assert "tile" not in first.sizes
    assert first == key(shape._replace(steps=7, rows=8), BEST) == key(shape._replace(memory_size=128))
    others = [shape._replace(rows=9), shape._replace(hidden_size=101), shape._replace(memory_size=200, padded_size=208)]
    assert len({first, *map(key, others), key(shape, save=False)}) == 5


@pytest.mark.usefixtures("tunings")
def test_each_build_of_triton_has_tunings_of_its_own(monkeypatch: pytest.MonkeyPatch):
    found = set()
    for version in ("3.6.0+git1", "3.6.0+git2"):
        monkeypatch.setattr(backends, "triton_version", lambda version=version: version)
        found.add(tunings_file.key_of("ntm", "forward", USUAL, torch.float32, torch.device("cpu"), 8).triton)
    assert found == {"3.6.0+git1", "3.6.0+git2"}


def test_info_counts_what_holds_here(tunings: Path):
    device = torch.device("cpu")
    own = KEY._replace(device="cpu", triton=backends.triton_version() or "", kernels=tunings_file.kernels_hash("ntm"))
    tunings_file.remember(
        {own: BEST, own._replace(way="backward"): BEST, own._replace(kernels="4567"): BEST, KEY: BEST}
    )
    tunings_file.forget()
    assert tunings_file.count(device, ("ntm", "mann")) == 2
