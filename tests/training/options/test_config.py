"""What a configuration refuses when it is made in Python, where no parser has looked at it."""

from __future__ import annotations

import pytest

from tapehead.training.options.config import CurriculumConfig, OptimiserConfig, ScheduleConfig


@pytest.mark.parametrize(
    ("kind", "option", "word"),
    [
        (OptimiserConfig, "name", "sgd"),
        (OptimiserConfig, "clip", "both"),
        (ScheduleConfig, "kind", "exponential"),
        (ScheduleConfig, "solved_kind", "linear"),
        (CurriculumConfig, "kind", "random"),
    ],
)
def test_a_word_that_is_none_of_the_choices(kind, option, word):
    with pytest.raises(ValueError, match=f"{kind.__name__}: expected {option} to be one of .*, got '{word}'"):
        kind(**{option: word})
