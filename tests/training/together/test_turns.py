"""Jobs that take turns in one process."""

import pytest

from tapehead.training.together.turns import Turns


def test_jobs_take_turns_and_meet():
    seen: list[str] = []

    def perform(asked):
        seen.append(f"performed {sorted(asked.items())}")
        return {job: -value for job, value in asked.items()}

    def job(number, times):
        given = []
        for time in range(times):
            seen.append(f"{number} asks")
            given.append(turns.ask(10 * number + time))
        seen.append(f"{number} ends")
        return given

    turns = Turns(perform)
    assert turns.run([lambda: job(1, 1), lambda: job(2, 2)]) == [[-10], [-20, -21]]
    assert seen == [
        *("1 asks", "2 asks", "performed [(0, 10), (1, 20)]"),
        *("1 ends", "2 asks", "performed [(1, 21)]", "2 ends"),
    ]


def test_an_exception_is_raised_where_it_belongs():
    def perform(asked):
        return {job: ValueError("odd") if value % 2 else value for job, value in asked.items()}

    def catching():
        with pytest.raises(ValueError, match="odd"):
            turns.ask(3)
        return turns.ask(4)

    turns = Turns(perform)
    first, second, third = turns.run([lambda: turns.ask(1), catching, lambda: turns.ask(2)])
    assert (type(first), second, third) == (ValueError, 4, 2)


def test_where_performing_fails_every_job_that_asked_hears_of_it():
    def perform(asked):
        if len(asked) > 1:
            raise MemoryError("no room")
        return asked

    def catching():
        with pytest.raises(MemoryError, match="no room"):
            turns.ask(1)
        return turns.ask(2)

    turns = Turns(perform)
    first, second = turns.run([catching, lambda: turns.ask(3)])
    assert first == 2
    assert isinstance(second, MemoryError)
    assert Turns(perform).run([]) == []
