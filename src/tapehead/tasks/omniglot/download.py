"""The original archives, downloaded: whole, checked, and resumed where they were interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tapehead.errors import DataError
from tapehead.files import locked
from tapehead.tasks.omniglot.extra import package
from tapehead.tasks.omniglot.source import HALVES, URL, Half, Source, check

__all__ = ["download"]

_TIMEOUT = 30.0  # seconds without a byte
_BLOCK = 1 << 16  # bytes written at once: what a broken connection loses


def download(folder: Path, halves: tuple[Half, ...] = HALVES, url: str = URL) -> Source:
    """Bring the archives into a folder, unless they are there and sound.

    An archive gets its name only when its checksum is right. What an interrupted download left is in a file that ends
    in .part, and the next call goes on from there.

    Args:
        folder: made where it is missing
        halves: what to download
        url: of the folder that holds the archives

    Raises:
        DataError: they cannot be had, are not what they should be, or the folder cannot be written.
        ModuleNotFoundError: pooch or tqdm is not installed.
    """
    there = tuple(folder / half.zip_name for half in halves)
    if all(_is_sound(path, half) for path, half in zip(there, halves, strict=True)):
        return Source("zip", there)  # also where nothing can be written
    pooch = package("pooch", "Downloading Omniglot")
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # the bar says what is downloaded
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            paths = tuple(Path(_retrieve(pooch, folder, half, url)) for half in halves)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written: {error.strerror or error}. Name another folder with the option cache or "
            "the variable TAPEHEAD_CACHE."
        ) from error
    finally:
        logger.setLevel(level)
    return Source("zip", paths)


def _is_sound(path: Path, half: Half) -> bool:
    try:
        check(path, "md5", half.zip_md5)
    except DataError:
        return False
    return True


def _retrieve(pooch: Any, folder: Path, half: Half, url: str) -> str:
    requests = package("requests", "Downloading Omniglot")
    address = f"{url}/{half.zip_name}"
    part = folder / f"{half.zip_name}.part"
    while True:
        resumed = part.is_file()
        try:
            return pooch.retrieve(
                address, f"md5:{half.zip_md5}", half.zip_name, path=folder, downloader=_resuming(requests, part)
            )
        except requests.exceptions.RequestException as error:
            status = f" {error.response.status_code}" if error.response is not None else ""
            raise DataError(
                f"{address}: cannot be downloaded: {type(error).__name__}{status}. What came is kept: try again to go "
                "on from there. Or get the file by other means and name its folder: in the environment as "
                "TAPEHEAD_OMNIGLOT, or with the option data."
            ) from error
        except ValueError as error:  # pooch's, of a wrong checksum; it has removed the file
            if not resumed:
                raise DataError(
                    f"{address}: expected md5 {half.zip_md5}, got another file. Nothing of it is kept: try again, or "
                    "get the file by other means and name its folder with the option data."
                ) from error
        # Gone on with from a file that was not its beginning: once more, from nothing.


def _resuming(requests: Any, part: Path) -> Callable[[str, str, object], None]:
    """A downloader of pooch that adds to `part` what is missing there, and hands it over when it is whole."""
    tqdm = package("tqdm", "Downloading Omniglot").tqdm

    def fetch(url: str, output_file: str, _: object) -> None:
        have = part.stat().st_size if part.is_file() else 0
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code != requests.codes.requested_range_not_satisfiable:  # that: nothing is missing
                answer.raise_for_status()
                if answer.status_code != requests.codes.partial_content:
                    have = 0  # the server sends everything again
                rest = answer.headers.get("Content-Length")
                total = have + int(rest) if rest else None
                bar = tqdm(desc=part.stem, total=total, initial=have, unit="B", unit_scale=True, disable=None)
                with part.open("ab" if have else "wb") as file, bar:
                    for block in answer.iter_content(_BLOCK):
                        file.write(block)
                        bar.update(len(block))
        os.replace(part, output_file)

    return fetch
