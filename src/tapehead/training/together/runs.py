"""Several runs trained together in one process, with the files that `tapehead train` makes of each alone."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TextIO

from tapehead.errors import DataError, RunError, TapeheadError
from tapehead.nn import MANN, NTM
from tapehead.training.lightning.checkpoints import GracefulStop
from tapehead.training.lightning.quiet import quiet_lightning
from tapehead.training.options.config import RunConfig
from tapehead.training.together.ensemble import Ensemble, is_own, try_together
from tapehead.training.train import Prepared, begin, finish, fit, forget

__all__ = ["train_together", "why_not_together"]

PLAIN: dict[str, tuple[Any, ...]] = {
    "precision": (None, 32, "32", "32-true"),
    "devices": (1, "1"),
    "num_nodes": (1,),
    "strategy": ("auto",),
    "callbacks": (None, []),
    "plugins": (None, []),
    "barebones": (False,),
}
"""Trainer options that are done together with these values alone: others have Lightning step in where all compute."""


def why_not_together(config: RunConfig) -> str | None:
    """What keeps runs of a configuration from being trained together; None where nothing does.

    Args:
        config: of one of the runs, which differ in their seeds alone

    >>> from tapehead.training.train import check
    >>> why_not_together(check([], task="copy", model="ntm"))
    >>> why_not_together(check([], task="copy", model="lstm"))
    'LSTM layers are of torch, which compute one model at a time'
    """
    model = config.build_model()
    if not isinstance(model.core, (NTM, MANN)):
        return f"{type(model.core).__name__} layers are of torch, which compute one model at a time"
    if model.embedding is not None:
        return "an embedding keeps means of what it is shown, of one model at a time"
    for name, values in PLAIN.items():
        value = config.trainer.get(name, values[0])
        if value not in values:
            return f"--trainer.{name} {value} asks Lightning to step in where all compute together"
    if not is_own(config.task):
        try:
            try_together(config)
        except RuntimeError as error:
            why = str(error).partition("\n")[0].rstrip(".")
            return f"the loss of {config.task_name} cannot be computed for several models at once: {why}"
    return None


def train_together(
    runs: Sequence[Prepared], outputs: Sequence[TextIO], facts: Sequence[dict[str, Any]] | None = None
) -> list[BaseException | None]:
    """Train runs to their ends.

    Args:
        runs: of one configuration but for their seeds, for which `why_not_together` has nothing to say
        outputs: what each run prints goes here
        facts: what the environment.json of each says besides

    Returns:
        what ended each before its end, or None: an `Interrupted`, `TrainingError` or whatever else was raised
    """
    with quiet_lightning(), _stopping(runs), _outputs() as own_output, contextlib.ExitStack() as stack:
        for run in runs:
            stack.callback(run.run.release)
        refused = [_begin(*each) for each in zip(runs, facts or [{}] * len(runs), outputs, strict=True)]
        begun = [pair for pair, error in zip(zip(runs, outputs, strict=True), refused, strict=True) if error is None]
        if not begun:
            return [*refused]
        ensemble = Ensemble([run.module for run, _ in begun])
        found = iter(ensemble.run([partial(_train, run, partial(own_output, output)) for run, output in begun]))
        ended = [next(found) if error is None else error for error in refused]
        return [error if isinstance(error, BaseException) else None for error in ended]


def _begin(run: Prepared, facts: dict[str, Any], output: TextIO) -> RunError | None:
    """Open a run's folder, or say why it cannot be: another process may train in it. The others go on."""
    try:
        begin(run, facts)
    except RunError as error:
        print(f"tapehead: {error}", file=output)
        return error
    return None


def _train(run: Prepared, begin_output: Callable[[], None]) -> None:
    begin_output()
    try:
        fit(run)
        finish(run)
    except TapeheadError as error:
        if isinstance(error, DataError):
            forget(run)
        print(f"tapehead: {error}")
        raise
    except Exception:
        traceback.print_exc(file=sys.stdout)
        raise


@contextlib.contextmanager
def _stopping(runs: Sequence[Prepared]) -> Iterator[None]:
    """Ctrl-C or SIGTERM: every run finishes the updates under way, saves, and stops. A second Ctrl-C stops at once."""
    stops = [callback for run in runs for callback in run.trainer.callbacks if isinstance(callback, GracefulStop)]

    def request(number: int, frame: Any) -> None:
        for stop in stops:
            stop.request(number, frame)

    previous = {}
    if threading.current_thread() is threading.main_thread():
        previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Output:
    """A standard output that is another one in threads that have their own."""

    def __init__(self, otherwise: TextIO) -> None:
        self.otherwise = otherwise
        self.own = threading.local()

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(self.own, "output", self.otherwise), name)


@contextlib.contextmanager
def _outputs() -> Iterator[Callable[[TextIO], None]]:
    """Yields what a thread calls for an output of its own."""
    before = sys.stdout
    output = _Output(before)
    sys.stdout = output
    try:
        yield partial(setattr, output.own, "output")
    finally:
        sys.stdout = before
