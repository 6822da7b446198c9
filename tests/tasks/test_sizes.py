"""What is no size of a task is refused before anything is drawn."""

import pytest
import torch

from tapehead.tasks import TASKS


@pytest.mark.parametrize("draw", ["training_sample", "validation_sample", "sample"])
@pytest.mark.parametrize("name", TASKS)
def test_a_size_has_the_names_of_the_task(name, draw):
    task = TASKS[name]()
    names = " and ".join(task.sizes()[0])
    for wrong in ({}, {"len": 5}, {**task.sizes()[0], "more": 1}):
        with pytest.raises(ValueError, match=f'^{type(task).__name__}: expected a size with {names}, such as {{"'):
            getattr(task, draw)(2, torch.Generator(), wrong)
    with pytest.raises(TypeError, match=rf"^{type(task).__name__}: expected a size that is a dict, .* got 5\.$"):
        getattr(task, draw)(2, torch.Generator(), 5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("copy", {"max_length": 10**24}),
        ("repeat_copy", {"max_length": 10**12}),
        ("repeat_copy", {"max_length": 10**4, "max_repeats": 10**4}),
        ("associative_recall", {"max_items": 10**10}),
        ("priority_sort", {"min_length": 2, "length": 10**10}),
    ],
)
def test_no_more_sizes_than_can_be_looked_at(name, options):
    kind = TASKS[name]
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: expected at most 1,000,000 sizes, .* got [\d,]+\. "):
        kind(**options)
    assert len(TASKS["copy"](min_length=10**6, max_length=10**6).sizes()) == 1
