"""The errors that a user may catch."""

from __future__ import annotations

import pickle

import pytest

import tapehead
from tapehead import errors


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name != "did_you_mean"])
def test_each_is_a_tapehead_error_that_another_process_can_raise_again(name):
    kind = getattr(errors, name)
    assert issubclass(kind, tapehead.TapeheadError)
    words = ["No task coppy.", "coppy", ["copy"]] if kind is errors.UnknownNameError else ["No task coppy."]
    error = kind(*words)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (kind, str(error), vars(error))


def test_a_name_near_a_known_one_is_asked_for():
    error = errors.UnknownNameError("No task coppy.", "coppy", iter(["copy"]))
    assert str(error) == "No task coppy. Did you mean copy?"
    assert error.message == "No task coppy."
