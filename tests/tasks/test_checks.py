"""What a task of a user's own gets wrong is said in a sentence that names its class."""

from dataclasses import dataclass
from unittest import mock

import pytest
import torch

from tapehead.errors import DataError, UsageError
from tapehead.tasks import TASKS, Copy, Stream, Task
from tapehead.tasks.checks import check_batch, check_task
from tapehead.training.evaluate import EVALUATION_STREAM, VALIDATION_STREAM, batches


class Mine(Copy):
    """Right in everything; a test makes it wrong in something."""


def task_with(**wrong):
    return type("Mine", (Mine,), wrong)(bits=2, max_length=3)


def changed(change):
    """A task that draws batches which something has been done to."""
    draw = lambda self, *draw: change(Copy.sample(self, *draw))  # noqa: E731
    return task_with(sample=draw, training_sample=Task.training_sample)


BATCHES = {
    "batch-first": (lambda b: b._replace(input=b.input.transpose(0, 1)), "input is .* seems to be batch-first"),
    "batch-first target": (lambda b: b._replace(target=b.target.transpose(0, 1)), "target is .* batch-first"),
    "batch-first mask": (lambda b: b._replace(mask=b.mask.T), "mask is .* batch-first"),
    "a plain tuple": (tuple, r"a tapehead\.tasks\.Batch, got a tuple\. Return Batch"),
    "nothing": (lambda b: None, "got a NoneType"),
    "integers": (lambda b: b._replace(input=b.input.long()), r"floating point, got \(7, 5, 3\) int64"),
    "other channels": (lambda b: b._replace(target=b.target[..., :1]), r"target is \(7, 5, 2\) .* got \(7, 5, 1\)"),
    "no steps": (lambda b: b._replace(input=b.input[:0]), r"input is \(T, 5, 3\)"),
    "input as a list": (lambda b: b._replace(input=b.input.tolist()), "got list"),
    "float mask": (lambda b: b._replace(mask=b.mask.float()), r"mask is \(7, 5\) bool, got \(7, 5\) float32"),
    "mask of bits": (lambda b: b._replace(mask=b.mask[..., None]), r"got \(7, 5, 1\) bool"),
    "mask of rows": (lambda b: b._replace(mask=b.mask[0]), r"got \(5,\) bool\. Give it this shape"),
    "mask of nothing": (lambda b: b._replace(mask=b.mask & False), "true in the steps that count, got one that never"),
    "lengths as a list": (lambda b: b._replace(lengths=[7] * 5), r"lengths is None or \(5,\) integers, got list \[7"),
    "float lengths": (lambda b: b._replace(lengths=torch.full((5,), 7.0)), r"got \(5,\) float32"),
}
ANSWERS = {
    "loss of each row": ({"loss": lambda s, o, b: o.sum((0, 2))}, r"Mine\.loss: .* got \(5,\) float32\. Sum it"),
    "loss as a number": ({"loss": lambda s, o, b: o.sum().item()}, "got float 0"),
    "right of each bit": ({"right": lambda s, o, b: o > b.target}, r"Mine\.right: expected \(7, 5\) .*\.all\(-1\)"),
    "right as numbers": ({"right": lambda s, o, b: o.sum(-1)}, r"got \(7, 5\) float32"),
}
TASK_WIDE = {
    "measure": ({"measure": "accuracy"}, r"^Mine\.measure: expected 'bit_errors' or .* got 'accuracy'\.$"),
    "a method": ({"target_size": lambda self: 2}, r"^Mine\.target_size: .* Write @property above it\.$"),
    "half a channel": ({"input_size": 2.5}, r"^Mine\.input_size: expected a whole number >= 1, got 2\.5\.$"),
    "sizes as numbers": ({"sizes": lambda self: [1, 2]}, r"^Mine\.sizes: expected a list .* got \[1, 2\]\.$"),
    "no sizes": ({"sizes": lambda self: []}, r"got \[\]"),
    "sizes of text": ({"sizes": lambda self: [{"length": "5"}]}, "got "),
}


@pytest.mark.parametrize(("change", "message"), BATCHES.values(), ids=BATCHES)
def test_a_wrong_batch(change, message):
    task = changed(change)
    with pytest.raises(DataError, match=rf"^Mine\.training_sample: expected .*{message}"):
        check_batch(task, "training_sample", task.sample(5, None, {"length": 3}), 5)


@pytest.mark.parametrize(("wrong", "message"), ANSWERS.values(), ids=ANSWERS)
def test_a_wrong_answer(wrong, message):
    task = task_with(**wrong)
    with pytest.raises(DataError, match=message):
        check_batch(task, "sample", task.sample(5, None, {"length": 3}), 5)


@pytest.mark.parametrize(("wrong", "message"), TASK_WIDE.values(), ids=TASK_WIDE)
def test_a_wrong_task(wrong, message):
    with pytest.raises(UsageError, match=message):
        check_task(task_with(**wrong))


@pytest.mark.parametrize("name", [name for name in TASKS if name != "omniglot"])
def test_the_packages_own_are_right(name):
    task = TASKS[name]()
    check_task(task)
    check_batch(task, "sample", task.sample(3), 3)


def test_the_first_batch_of_every_stream_is_checked_and_no_other():
    task = changed(lambda batch: batch._replace(mask=batch.mask.float()))
    with pytest.raises(DataError, match=r"^Mine\.training_sample: "):
        Stream(task, 5, seed=0).draw()
    for stream, method in ((VALIDATION_STREAM, "validation_sample"), (EVALUATION_STREAM, "sample")):
        with pytest.raises(DataError, match=rf"^Mine\.{method}: "):
            next(batches(task, {"length": 3}, 60, stream, 0))
    right = Stream(task_with(), 5, seed=0)
    with mock.patch("tapehead.tasks.stream.check_batch") as check:
        right.draw(), right.draw()
    assert check.call_count == 1


@dataclass(frozen=True)
class Fine(Copy):
    more: int = 1


class Forgotten(Copy):
    more: int = 1


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("mine", Fine(), "expected the class, got an instance. Leave the parentheses out"),
        ("my-task", Fine, "expected a name of letters"),
        ("mine", Forgotten, r"or more would be no option. Write @dataclass\(frozen=True\) above class Forgotten"),
        ("mine", int, r"expected a subclass of tapehead\.tasks\.Task"),
    ],
)
def test_what_is_no_task_is_not_added(name, kind, message):
    with pytest.raises(UsageError, match=rf"^TASKS\['{name}'\]: .*{message}"):
        TASKS[name] = kind
    assert name not in TASKS


def test_a_task_that_is_one_is_added():
    with mock.patch.dict(TASKS):
        TASKS["fine"] = Fine
        TASKS["same_options"] = Mine
        assert issubclass(TASKS["fine"], Task)
    assert "fine" not in TASKS
