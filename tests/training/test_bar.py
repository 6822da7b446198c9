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


def test_a_narrow_terminal_keeps_the_bar_and_the_times(tmp_path, monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(trainer, "RunBar", lambda: bar.RunBar(refresh_seconds=0, console=console))
    assert train(tmp_path / "run", "--trainer.enable_progress_bar=true") == 0
    assert re.search(r"48 / 48 sequences .{10,} wrong bits [\d.]+ +0:00:\d\d gone, 0:00:00 left", screen.getvalue())
    assert "loss" not in screen.getvalue()


def test_what_is_trained_comes_first_and_what_follows_a_solution_beside_it(tmp_path, monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, width=120)
    monkeypatch.setattr(trainer, "RunBar", lambda: bar.RunBar(console=console))
    options = [
        "--training.solved_below=1000",
        "--training.stop_when_solved=true",
        "--training.sequences_after_solved=16",
    ]
    assert train(tmp_path / "run", "--trainer.enable_progress_bar=true", *options) == 0
    first, *validations = screen.getvalue().splitlines()
    assert re.fullmatch(r"copy, ntm: [\d,]+ parameters, seed 0, at most 48 sequences", first)
    assert [line.endswith("solved, and goes on for 16 sequences") for line in validations] == [True, False]
