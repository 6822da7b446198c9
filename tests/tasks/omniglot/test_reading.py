"""A copy of Omniglot in each of its forms: the same drawings, or a clear word of what is wrong with it."""

import shutil
import sys

import numpy
import pytest
import torch
from PIL import Image

from tapehead.errors import DataError
from tapehead.tasks.omniglot import images
from tapehead.tasks.omniglot.images import drawings, shrink
from tapehead.tasks.omniglot.reading import read
from tapehead.tasks.omniglot.source import cache_folder, find
from tests.tasks.omniglot import synthetic

FORMS = {"png": synthetic.write_png, "zip": synthetic.write_zip, "npz": synthetic.write_npz}


@pytest.fixture
def copy(tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_drawings(form: str, copy, cache):
    halves = FORMS[form](copy)
    source = find(copy, halves)
    assert source.form == form
    for half, ink in enumerate(read(source, halves)):
        assert numpy.array_equal(ink, synthetic.ink(half))
    small = drawings(copy, cache, halves)
    assert small.shape == (5, 20, 20, 20)
    assert small.dtype == torch.float32
    whole = torch.from_numpy(numpy.concatenate([synthetic.ink(0), synthetic.ink(1)]))
    assert torch.equal(small, shrink(whole.flatten(0, 1)).view_as(small) / 441)
    torch.testing.assert_close(small.mean(), whole.float().mean())


def test_shrinking_is_the_slow_average():
    """A small pixel covers 5.25 original ones each way: the mean of them, those at the edges in part."""
    ink = torch.rand(2, 105, 105, generator=torch.Generator().manual_seed(0)) < 0.3
    small = shrink(ink)
    pixels = ink[1].tolist()
    for row in range(0, 20, 3):
        for column in range(20):
            area = 0.0
            for y in range(int(5.25 * row), min(105, int(5.25 * (row + 1)) + 1)):
                for x in range(int(5.25 * column), min(105, int(5.25 * (column + 1)) + 1)):
                    high = min(y + 1, 5.25 * (row + 1)) - max(y, 5.25 * row)
                    wide = min(x + 1, 5.25 * (column + 1)) - max(x, 5.25 * column)
                    area += high * wide * pixels[y][x]
            assert small[1, row, column] / 441 == pytest.approx(area / 5.25**2, abs=1e-6)


def test_a_kept_file_is_read_and_a_damaged_one_made_again(copy, cache, monkeypatch):
    halves = synthetic.write_npz(copy)
    first = drawings(copy, cache, halves)
    (kept,) = cache.iterdir()
    sound = kept.read_bytes()
    monkeypatch.setattr(images, "_shrunk", lambda *_: pytest.fail("read again"))
    assert torch.equal(drawings(copy, cache, halves), first)
    monkeypatch.undo()
    for damaged in (sound[:-1], b"", sound[:100] + bytes([sound[100] ^ 1]) + sound[101:]):
        kept.write_bytes(damaged)
        assert torch.equal(drawings(copy, cache, halves), first)
        assert kept.read_bytes() == sound


def test_another_copy_is_kept_apart(copy, cache):
    halves = synthetic.write_png(copy)
    first = drawings(copy, cache, halves)
    blank = copy / "images_background" / "Alphabet_9" / "character01" / "0001_01.png"
    Image.new("1", (105, 105), 1).save(blank)
    second = drawings(copy, cache, halves)
    assert not second[0, 0].any()
    assert torch.equal(first.flatten(0, 1)[1:], second.flatten(0, 1)[1:])
    assert len(list(cache.iterdir())) == 2


def test_drawings_need_no_cache_that_can_be_written(copy, tmp_path):
    halves = synthetic.write_npz(copy)
    (tmp_path / "file").write_text("in the way")
    assert drawings(copy, tmp_path / "file" / "cache", halves).shape == (5, 20, 20, 20)


def test_load_reads_once(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(images, "drawings", lambda *arguments: calls.append(arguments) or torch.zeros(1))
    images._load.cache_clear()
    try:
        monkeypatch.chdir(tmp_path)
        first = images.load("copy", "cache")
        assert images.load(str(tmp_path / "copy"), str(tmp_path / "cache")) is first
        assert calls == [(tmp_path / "copy", tmp_path / "cache" / "omniglot")]
    finally:
        images._load.cache_clear()


def test_the_cache_is_the_option_the_variable_or_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("TAPEHEAD_CACHE", str(tmp_path / "variable"))
    assert cache_folder(tmp_path / "option") == tmp_path / "option" / "omniglot"
    assert cache_folder() == tmp_path / "variable" / "omniglot"
    monkeypatch.delenv("TAPEHEAD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert cache_folder().parts[-2:] == ("tapehead", "omniglot")


def _alter(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(bytes(content))


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-10])


ONE = "images_evaluation/Alphabet_9/character01/0004_07.png"
PROBLEMS = {
    "no folder": ("png", shutil.rmtree, "expected a folder with Omniglot, got .*copy: there is none. Name the folder"),
    "nothing in it": ("png", lambda folder: [shutil.rmtree(path) for path in folder.iterdir()], "expected a copy of"),
    "half of it": ("zip", lambda folder: (folder / "images_evaluation.zip").unlink(), r"images_evaluation\.zip in .*"),
    "altered zip": ("zip", lambda folder: _alter(folder / "images_evaluation.zip"), r"evaluation\.zip: expected md5"),
    "truncated zip": ("zip", lambda folder: _truncate(folder / "images_background.zip"), "truncated, altered, or"),
    "altered npz": ("npz", lambda folder: _alter(folder / "images_evaluation.npz"), r"\.npz: expected sha256 .*, got"),
    "truncated npz": ("npz", lambda folder: _truncate(folder / "images_background.npz"), "Get the file again"),
    "missing drawing": (
        "png",
        lambda folder: (folder / ONE).unlink(),
        r"expected 40 drawings, got 39: 0004_07\.png is",
    ),
    "altered drawing": ("png", lambda folder: _alter(folder / ONE), r"0004_07\.png: expected a PNG image, got a dam"),
    "truncated drawing": ("png", lambda folder: _truncate(folder / ONE), r"0004_07\.png: expected a PNG image, got"),
    "empty drawing": (
        "png",
        lambda folder: (folder / ONE).write_bytes(b""),
        r"0004_07\.png: expected a PNG image, got",
    ),
    "small drawing": (
        "png",
        lambda folder: Image.new("1", (9, 8)).save(folder / ONE),
        "expected 105 x 105 pixels, got 9",
    ),
    "twice": (
        "png",
        lambda folder: shutil.copytree(folder / ONE[:28], folder / "images_evaluation/B"),
        "each drawing o",
    ),
    "too many": (
        "png",
        lambda folder: shutil.copy(folder / ONE, (folder / ONE).with_name("0006_07.png")),
        r"expected a character of 4\.\.5 and a drawer of 1\.\.20, got 6 and 7",
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_what_is_wrong_with_a_copy_is_said(problem: str, copy, cache):
    form, spoil, message = PROBLEMS[problem]
    halves = FORMS[form](copy)
    spoil(copy)
    with pytest.raises(DataError, match=message):
        drawings(copy, cache, halves)
    assert not cache.exists()


@pytest.mark.parametrize("form", ["zip", "npz"])
def test_an_archive_of_the_right_checksum_is_read_with_care(form: str, copy, cache):
    FORMS[form](copy)
    path = copy / f"images_background.{form}"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=rf"images_background\.{form}: expected .*, got a damaged file"):
        drawings(copy, cache, synthetic.halves(copy))


def test_arrays_of_another_shape_are_refused(copy, cache):
    synthetic.write_npz(copy)
    numpy.savez(copy / "images_background.npz", images=numpy.zeros((3, 20, 28, 28), dtype=bool))
    with pytest.raises(DataError, match=r"expected images bool \(3, 20, 105, 105\), got bool \(3, 20, 28, 28\)"):
        drawings(copy, cache, synthetic.halves(copy))


@pytest.mark.parametrize(("form", "missing"), [("npz", "numpy"), ("png", "PIL")])
def test_a_missing_library_names_the_extra(form: str, missing: str, copy, cache, monkeypatch):
    halves = FORMS[form](copy)
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=rf'expected the package {missing}, got none.*"tapehead\[omniglot\]"'):
        drawings(copy, cache, halves)
