"""The warning that a task has more to remember than the memory has slots."""

import pytest

from tapehead.cli import main
from tapehead.tasks import AssociativeRecall, Copy, NGrams, PrioritySort, RepeatCopy, Task
from tapehead.training.capacity import capacity_warning
from tests.training.tiny import train


@pytest.mark.parametrize(
    ("task", "length", "slots"),
    [
        (Copy(), 7, 7),
        (RepeatCopy(), 7, 7),
        (AssociativeRecall(), 7, 21),
        (NGrams(), 200, 32),
        (NGrams(n=4), 9, 8),
        (PrioritySort(), 7, 7),
    ],
    ids=repr,
)
def test_slots_that_a_size_needs(task: Task, length: int, slots: int):
    size = task.evaluation_size(length)
    assert task.slots(size) == slots
    assert capacity_warning(task, [size], slots) is None
    warning = capacity_warning(task, [size], slots - 1)
    assert warning is not None
    assert f"needs {slots} slots" in warning
    assert f"the memory has {slots - 1}" in warning


def test_a_model_without_a_memory_gets_no_warning():
    assert capacity_warning(Copy(), [{"length": 10**6}], None) is None


def test_training_warns_with_the_numbers_and_goes_on(tmp_path, capsys):
    assert train(tmp_path / "run", "--task.max_length=9") == 0
    said = capsys.readouterr().err
    assert "length 9 needs 9 slots, one for each thing to remember, and the memory has 8" in said
    assert "--model.memory_size" in said


EVALUATE, PLOT = ["evaluate", "--lengths", "3", "17", "--sequences=2"], ["plot", "--length", "17"]


SLOTS = {17: "", 32: "", 16: "the memory has 16: expect errors. Enlarge it with"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("capacity") / "run"
    assert train(path) == 0
    return path


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize(("words", "sizes"), [(EVALUATE, SLOTS), (PLOT, [16])], ids=["evaluate", "plot"])
def test_a_memory_is_enlarged_where_the_task_outgrows_it(run, capsys, words, sizes):
    command = [words[0], str(run), *words[1:]]
    needs = "length 17 needs 17 slots, one for each thing to remember, and the memory has"
    assert main(command) == 0
    said = capsys.readouterr()
    assert f"{needs} 8: enlarged to 32." in said.err
    assert ("32 slots" if words is EVALUATE else "answer_17_slots_32.png") in said.out
    for slots in sizes:
        assert main([*command, "--memory-size", str(slots)]) == 0
        said = capsys.readouterr()
        assert SLOTS[slots] in said.err
        assert said.err.startswith(f"tapehead: {needs} 16") == bool(said.err) == bool(SLOTS[slots])
        assert (f"{slots} slots" if words is EVALUATE else f"answer_17_slots_{slots}.png") in said.out


@pytest.mark.usefixtures("unrendered")
@pytest.mark.parametrize("words", [EVALUATE, PLOT], ids=["evaluate", "plot"])
def test_a_memory_that_is_tied_to_its_size_is_not_enlarged(tmp_path, capsys, words):
    run = tmp_path / "run"
    assert train(run, "--model.initial.memory=learned") == 0
    capsys.readouterr()
    assert main([words[0], str(run), *words[1:]]) == 0
    said = capsys.readouterr()
    assert "the memory has 8: expect errors. initial.memory='learned' ties it." in said.err
    assert ("8 slots" if words is EVALUATE else "answer_17.png") in said.out


@pytest.mark.parametrize("option", ["memory_sizes", "solved_memory_sizes"])
def test_memories_drawn_in_training_are_looked_at_too(tmp_path, capsys, option):
    assert train(tmp_path / "run", "--task.max_length=5", f"--training.{option}=[8,4,16]") == 0
    said = capsys.readouterr().err
    assert "length 5 needs 5 slots, one for each thing to remember, and the memory has 4" in said
    assert f"--training.{option}" in said


def test_the_memory_that_chooses_the_checkpoint_is_looked_at_too(tmp_path, capsys):
    assert train(tmp_path / "run", "--training.select_at=[4,9]") == 0
    said = capsys.readouterr().err
    assert "length 9 needs 9 slots, one for each thing to remember, and the memory has 8: the checkpoint" in said
    assert train(tmp_path / "larger", "--training.select_at=[4,9]", "--training.select_memory_size=16") == 0
    assert "slots" not in capsys.readouterr().err


def test_what_is_trained_on_once_solved_is_looked_at_too(tmp_path, capsys):
    options = ['--curriculum.solved_task={"max_length": 7}', "--training.solved_memory_sizes=[6,16]"]
    assert train(tmp_path / "run", *options) == 0
    said = capsys.readouterr().err
    assert "length 7 needs 7 slots, one for each thing to remember, and the memory has 6: expect errors" in said
    assert "--training.solved_memory_sizes" in said


def test_a_memory_that_is_large_enough_is_not_mentioned(tmp_path, capsys):
    assert train(tmp_path / "run") == 0
    assert "slots" not in capsys.readouterr().err
