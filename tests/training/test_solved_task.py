"""Other sequences to train on once a task is solved."""

import pytest

from tapehead.cli import main
from tapehead.tasks import Copy
from tapehead.training.runs import Run
from tests.training.tiny import same, train, weights

RANDOM = '--curriculum.solved_task={"density": "random"}'
SOLVED_AT_ONCE = ["--training.solved_below=1000", "--training.stop_when_solved=false"]


@pytest.fixture
def drawn(monkeypatch) -> list[tuple[str, bool]]:
    """The density of every task that a batch is drawn from, and whether it is to train on."""
    seen: list[tuple[str, bool]] = []
    for name, training in (("sample", False), ("training_sample", True)):
        original = getattr(Copy, name)

        def sample(self, *arguments, original=original, training=training):
            seen.append((self.density, training))
            return original(self, *arguments)

        monkeypatch.setattr(Copy, name, sample)
    return seen


def test_the_task_changes_when_it_is_solved_and_validation_does_not(tmp_path, drawn):
    assert train(tmp_path / "run", RANDOM, *SOLVED_AT_ONCE) == 0
    trained = [density for density, training in drawn if training]
    solved_at = Run.open(tmp_path / "run").summary()["solved_at_sequences"]
    before = trained.index("random")
    assert set(trained[:before]) == {"even"}
    assert set(trained[before:]) == {"random"}
    assert before * 2 == solved_at
    assert {density for density, training in drawn if not training} == {"even"}


def test_it_does_not_change_before(tmp_path, drawn):
    assert train(tmp_path / "run", RANDOM) == 0
    assert {density for density, _ in drawn} == {"even"}
    assert train(tmp_path / "plain", "--curriculum.solved_task={}") == 0
    assert same(weights(tmp_path / "run"), weights(tmp_path / "plain"))


def test_a_resumed_run_draws_the_same(tmp_path):
    assert train(tmp_path / "whole", RANDOM, *SOLVED_AT_ONCE) == 0
    assert train(tmp_path / "parts", RANDOM, *SOLVED_AT_ONCE, "--training.sequences=32") == 0
    assert main(["train", "--resume", str(tmp_path / "parts"), "--training.sequences=48"]) == 0
    assert same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    assert train(tmp_path / "plain", *SOLVED_AT_ONCE, "--curriculum.solved_task={}") == 0
    assert not same(weights(tmp_path / "plain"), weights(tmp_path / "whole"))


@pytest.mark.parametrize("options", [["--curriculum.kind=none"], ["--curriculum.kind=incremental"]], ids=str)
def test_with_the_largest_size_alone_and_in_stages(tmp_path, drawn, options):
    assert train(tmp_path / "run", RANDOM, *SOLVED_AT_ONCE, *options) == 0
    assert ("random", True) in drawn


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ('{"densty": "random"}', "expected options of copy in solved_task, got 'densty'; it has bits, "),
        ('{"density": "odd"}', "Copy: expected density 'even' or 'random', got 'odd'"),
        ('{"max_length": null}', "expected max_length of solved_task to be a whole number, got None"),
        ('{"max_length": 2.5}', "expected max_length of solved_task to be a whole number, got 2.5"),
        ('{"mixed_lengths": 1}', "expected mixed_lengths of solved_task to be true or false, got 1"),
        ('{"bits": 9}', "expected a solved_task with the task's input_size of "),
    ],
)
def test_errors(tmp_path, capsys, options, said):
    assert train(tmp_path / "run", f"--curriculum.solved_task={options}") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
