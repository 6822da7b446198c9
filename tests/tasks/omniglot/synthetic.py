"""A small Omniglot of random dots on disk, in its three forms; a whole one in memory whose drawings are signed."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy
import torch
from PIL import Image
from torch import Tensor

from tapehead.tasks.omniglot.source import Half

NAMES, CLASSES = ("images_background", "images_evaluation"), (3, 2)


def ink(half: int) -> numpy.ndarray:
    """The drawings of a half: bool (classes, 20, 105, 105)."""
    return numpy.random.default_rng(half).random((CLASSES[half], 20, 105, 105)) < 0.1


def files(half: int) -> dict[str, bytes]:
    """Its PNG files. The alphabets are numbered against their names, as those of Omniglot are."""
    first = 1 + sum(CLASSES[:half])
    made = {}
    for place, character in enumerate(ink(half)):
        for drawer, drawing in enumerate(character, 1):
            file = io.BytesIO()
            Image.fromarray(~drawing).convert("1").save(file, "PNG")
            name = f"Alphabet_{9 - place}/character01/{first + place:04}_{drawer:02}.png"
            made[name] = file.getvalue()
    return made


def write_png(folder: Path) -> tuple[Half, ...]:
    for half, name in enumerate(NAMES):
        for path, content in files(half).items():
            (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / name / path).write_bytes(content)
    return halves(folder)


def write_zip(folder: Path) -> tuple[Half, ...]:
    for half, name in enumerate(NAMES):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            archive.writestr("__MACOSX/._0001_01.png", b"what one system adds")
            for path, content in files(half).items():
                archive.writestr(f"{name}/{path}", content)
    return halves(folder)


def write_npz(folder: Path) -> tuple[Half, ...]:
    for half, name in enumerate(NAMES):
        numpy.savez_compressed(folder / f"{name}.npz", images=~ink(half))
    return halves(folder)


def halves(folder: Path) -> tuple[Half, ...]:
    """What the copy in a folder is held against."""
    made = []
    for half, name in enumerate(NAMES):
        sums = [
            hashlib.new(algorithm, path.read_bytes()).hexdigest() if path.is_file() else "none"
            for algorithm, path in (("md5", folder / f"{name}.zip"), ("sha256", folder / f"{name}.npz"))
        ]
        made.append(Half(name, 1 + sum(CLASSES[:half]), CLASSES[half], *sums))
    return tuple(made)


def signed() -> Tensor:
    """(1623, 20, 20, 20): every drawing has its class + 1 at row 1, column 3, and its drawer + 1 at row 2, column 7."""
    drawings = torch.zeros(1623, 20, 20, 20)
    drawings[:, :, 1, 3] = torch.arange(1.0, 1624).unsqueeze(1)
    drawings[:, :, 2, 7] = torch.arange(1.0, 21)
    return drawings


def signature(drawing: Tensor) -> tuple[int, int, int]:
    """Class, quarter turns and drawer of a signed drawing, (20, 20)."""
    for turns in range(4):
        back = drawing.rot90(-turns)
        if back[1, 3]:
            return int(back[1, 3]) - 1, turns, int(back[2, 7]) - 1
    raise AssertionError("not a signed drawing")
