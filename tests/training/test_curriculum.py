"""Which sizes are trained on, when a stage of a curriculum ends, and when a task counts as solved."""

from __future__ import annotations

import pytest

from tapehead.tasks import Copy, Size
from tapehead.training.lightning import module
from tapehead.training.metrics import Score
from tapehead.training.runs import Run
from tests.training.test_best_model import validations
from tests.training.tiny import train

STAGES = ["--curriculum.kind=incremental", "--curriculum.stages=[1,2]"]


@pytest.fixture
def lengths(monkeypatch) -> list[int]:
    """The length of every batch that is trained on."""
    seen: list[int] = []
    original = Copy.training_sample

    def training_sample(self, *arguments):
        batch = original(self, *arguments)
        seen.append(int(batch.mask.sum(0).max()))
        return batch

    monkeypatch.setattr(Copy, "training_sample", training_sample)
    return seen


@pytest.mark.parametrize(("kind", "sizes"), [("none", {3}), ("uniform", {1, 2, 3})])
def test_sizes_without_stages(tmp_path, lengths, kind: str, sizes: set[int]):
    assert train(tmp_path / "run", f"--curriculum.kind={kind}") == 0
    assert len(lengths) == 24
    assert set(lengths) == sizes


@pytest.fixture
def errors(monkeypatch) -> dict[int, float]:
    """The wrong bits that validations find at each length, 100 where none are given."""
    found: dict[int, float] = {}

    def score_size(model, task, size: Size, *numbers, **options) -> Score:
        return Score(found.get(size["length"], 100.0), 1.0, 0.0, 1.0, 1.0)

    monkeypatch.setattr(module, "score_size", score_size)
    return found


def stages(path) -> list[float]:
    return [row["stage"] for row in validations(path)]


def test_a_stage_draws_up_to_its_length_and_ends_where_the_mean_over_its_sizes_is_low_enough(tmp_path, lengths, errors):
    errors |= {1: 0.25, 2: 0.75}
    options = [*STAGES, "--curriculum.advance_below=0.5", "--training.sequences=64"]
    assert train(tmp_path / "run", *options) == 0
    assert stages(tmp_path / "run") == [1, 2, 2, 2]  # after each eight updates; 2 is the task itself
    assert [set(lengths[at : at + 8]) for at in (0, 8)] == [{1}, {1, 2}]
    assert set(lengths[16:]) == {1, 2, 3}


def test_a_stage_goes_on_where_the_mean_over_its_sizes_is_too_high(tmp_path, lengths, errors):
    errors |= {1: 0.25, 2: 0.8}
    assert train(tmp_path / "run", *STAGES, "--curriculum.advance_below=0.5") == 0
    assert stages(tmp_path / "run") == [1, 1, 1]
    assert max(lengths) == 2


@pytest.mark.parametrize(("below", "solved_at"), [(0.5, 16), (0.49, None)])
def test_solved_is_a_mean_over_all_sizes_of_at_most_the_limit(tmp_path, errors, below: float, solved_at: int | None):
    errors |= {1: 0.25, 2: 0.5, 3: 0.75}
    options = [f"--training.solved_below={below}", "--training.sequences=16", "--trainer.num_sanity_val_steps=-1"]
    assert train(tmp_path / "run", *options) == 0
    assert Run.open(tmp_path / "run").summary()["solved_at_sequences"] == solved_at
    assert len(validations(tmp_path / "run")) == 1  # what Lightning calls a sanity check is no validation
