"""The progress bar: what it shows where somebody watches, and where nobody does."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from tapehead.training.lightning import bar, trainer
from tapehead.training.lightning.running_means import Running
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


def test_the_speed_is_that_since_the_last_look(monkeypatch):
    now = [10.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    running, found = Running(sequences=100), []
    for now[0], sequences in ((14.0, 180), (15.0, 180), (17.0, 190), (17.0, 200)):
        running.look(sequences)
        found.append((running.speed, running.seconds()))
    assert found == [(20, 0), (20, 0), (5, 0), (5, 0)]
    now[0] = 20.0
    assert running.seconds() == 3


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
    assert validations[1].endswith("wrong bits  solved")


def test_a_validation_that_has_lost_it_again_is_not_called_solved(tmp_path, monkeypatch):
    """Though the run stays a solved one."""
    screen, errors = io.StringIO(), iter([5.0, 0.01, 7.0, 0.0])
    end = bar.RunBar.on_validation_end

    def scripted(self, trainer, module):
        module.progress.bit_errors = next(errors)
        if module.progress.bit_errors <= 0.01 and module.progress.solved_at_sequences is None:
            module.progress.solved_at_sequences = module.progress.sequences
            module.progress.solved_at_seconds = 1.0
        end(self, trainer, module)

    monkeypatch.setattr(bar.RunBar, "on_validation_end", scripted)
    monkeypatch.setattr(trainer, "RunBar", lambda: bar.RunBar(console=Console(file=screen, width=120)))
    assert train(tmp_path / "run", "--trainer.enable_progress_bar=true", "--training.sequences=64") == 0
    assert ["solved" in line for line in screen.getvalue().splitlines()[1:]] == [False, True, False, True]


def test_a_validation_fits_a_narrow_terminal(tmp_path, monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(trainer, "RunBar", lambda: bar.RunBar(console=console))
    options = ["--training.solved_below=1000", "--training.sequences_after_solved=16", "--training.sequences=32"]
    assert train(tmp_path / "run", "--trainer.enable_progress_bar=true", *options) == 0
    line = next(line for line in re.split(r"[\r\n]+", screen.getvalue()) if line.endswith("wrong bits  solved"))
    assert "validation:" in line
    assert len(re.sub(r"\x1b\[[\d;?]*\w", "", line)) <= 80
