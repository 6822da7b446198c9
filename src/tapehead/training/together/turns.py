"""Jobs that take turns in one process, and meet where each of them asks for something that is done for all at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["Turns"]

Perform = Callable[[Mapping[int, Any]], Mapping[int, Any]]
"""From what jobs ask for, by their numbers, to what each gets; an exception is raised where that one asked."""


class Turns:
    """Runs jobs, each in a thread of its own, but never two at a time.

    A job runs until it asks for something or ends, then the next one does. When all that are left have asked,
    everything they asked for is performed at once, by the caller's thread, which is also the one that hears signals.
    So jobs need no locks, and what they share changes in the same order in every run. What goes wrong in performing is
    raised in every job that asked.

    Args:
        perform: does what all the jobs that are left have asked for

    >>> turns = Turns(lambda asked: {job: sum(asked.values()) for job in asked})
    >>> def job(number):
    ...     return [turns.ask(number), turns.ask(10 * number)]
    >>> turns.run([lambda: job(1), lambda: job(2)])
    [[3, 30], [3, 30]]
    """

    def __init__(self, perform: Perform) -> None:
        self._perform = perform
        self._changed = threading.Condition()
        self._turn: int | None = None
        self._asked: dict[int, Any] = {}
        self._given: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}

    def ask(self, request: Any) -> Any:
        """Ask, from inside a job, and wait until it is given.

        Raises:
            Exception: what performing it gave this job.
        """
        number = self._numbers[threading.get_ident()]
        with self._changed:
            self._asked[number] = request
            self._turn = None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._turn == number)
            given = self._given.pop(number)
        if isinstance(given, BaseException):
            raise given
        return given

    def run(self, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run jobs to their ends; returns what each returned, or the exception that ended it."""
        ended: dict[int, Any] = {}
        left = list(range(len(jobs)))

        def work(number: int) -> None:
            with self._changed:
                self._numbers[threading.get_ident()] = number
                self._changed.wait_for(lambda: self._turn == number)
            try:
                ended[number] = jobs[number]()
            except BaseException as error:
                ended[number] = error
            with self._changed:
                self._turn = None
                self._changed.notify_all()

        for number in left:
            # Daemons: whoever stops the caller at once is not kept waiting for them.
            threading.Thread(target=work, args=(number,), daemon=True).start()
        while left:
            for number in left:
                with self._changed:
                    self._turn = number
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._turn is None)
            left = [number for number in left if number not in ended]
            if left:
                asked, self._asked = self._asked, {}
                try:
                    self._given = dict(self._perform(asked))
                except Exception as error:
                    self._given = dict.fromkeys(asked, error)
        return [ended[number] for number in range(len(jobs))]
