"""What takes as long as to train the runs of many a test: parsers are kept, and pictures left unrendered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonargparse import ArgumentParser

from tapehead import pictures
from tapehead.tasks import TASKS
from tapehead.training.options import arguments

_KEPT: dict[Any, ArgumentParser] = {}


@pytest.fixture(scope="module", autouse=True)
def one_parser() -> Iterator[None]:
    """Parsers are used again, with the defaults of each command; the tests of the options build theirs each time."""
    build = arguments.build_parser

    def build_parser(task: str, model: str, *, defaults: str | None = None, trainer: bool = True) -> ArgumentParser:
        key = TASKS[task], model, trainer
        if key not in _KEPT:
            _KEPT[key] = build(task, model, trainer=trainer)
        _KEPT[key].default_config_files = [defaults] if defaults else []
        return _KEPT[key]

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(arguments, "build_parser", build_parser)
        yield


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn and their files written, but nothing is in them: `tests/plots` looks at what is."""
    monkeypatch.setattr(pictures, "png", lambda figure: b"")
