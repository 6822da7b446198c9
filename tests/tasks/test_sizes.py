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
