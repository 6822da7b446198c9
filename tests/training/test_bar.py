"""The progress bar: what it shows where somebody watches, and where nobody does."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from tapehead.training import bar, trainer
from tests.training.tiny import train


@pytest.mark.parametrize("watched", [True, False])
def test_what_the_bar_shows(tmp_path, monkeypatch, watched):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=watched, width=120, color_system=None)
    monkeypatch.setattr(trainer, "RunBar", lambda: bar.RunBar(refresh_seconds=0, console=console))
    assert train(tmp_path / "run", "--trainer.enable_progress_bar=true") == 0
    text = screen.getvalue()
    validations = re.findall(r"(\d+) sequences +[\d.]+ s +validation: +[\d.]+ bits +[\d.]+ wrong bits", text)
    assert validations == ["16", "32", "48"]
    shown = re.search(r"48 / 48 sequences .*loss [\d.]+ bits +wrong bits [\d.]+ +[\d,]+ sequences/s", text)
    assert bool(shown) == watched
