"""One parser for each task and model: to build one takes as long as to train the runs of many a test here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonargparse import ArgumentParser

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
