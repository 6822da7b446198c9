"""`tapehead study`: from a plan to a folder of runs, a table and a picture."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from tapehead.errors import Interrupted, RunError, UsageError
from tapehead.files import replacing
from tapehead.plots import RunCurves, draw_study, png, read_metrics
from tapehead.program import command_of, unlike_option
from tapehead.studies.folder import StudyFolder, read_json
from tapehead.studies.plan import Plan
from tapehead.studies.progress import StudyProgress
from tapehead.studies.summary import RunResult, measure_of
from tapehead.studies.table import markdown, print_tables, results
from tapehead.studies.worker import Order, is_done, run_order
from tapehead.training.options.arguments import config_from_dict
from tapehead.training.runs import write_json

__all__ = ["run_study"]

BACKENDS = ("joblib", "ray")
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""What a disk says that takes no more, or is not ours."""


def run_study(
    plan: Plan,
    out: str | Path,
    *,
    workers: int | None = None,
    threads: int = 1,
    backend: str = "joblib",
    address: str | None = None,
    together: bool = False,
    band: bool = False,
    console: Console | None = None,
) -> list[RunResult]:
    """Run what a study's folder does not hold yet, then write its table, its numbers and its picture.

    Args:
        plan: from `tapehead.studies.making.make_plan`
        out: the study's folder; one that holds a part of the same study is gone on with
        workers: runs at a time; None takes as many as there are cores for
        threads: of each run
        backend: "joblib" for this machine, "ray" for a cluster
        address: of the cluster: "auto", HOST:PORT, or "local" for one of this machine alone
        together: train the runs of each recipe in one process, where that is possible
        band: draw mean and deviation instead of every seed and the median
        console: to print on

    Returns:
        every run, dead ones among them

    Raises:
        UsageError: the options do not go together.
        RunError: the folder holds something else or cannot be written, another process is at work in it, or there is
            no such cluster.
        Interrupted: the user stopped it; every run that had begun has saved, and the message says how to go on.
    """
    _check(workers, threads, backend, address, together)
    folder, console = StudyFolder(out), console or Console(highlight=False, soft_wrap=True)
    folder.check(plan)
    cores = workers or max(1, _cores() // threads)
    with contextlib.ExitStack() as stack:
        cluster = None
        if backend == "ray":
            from tapehead.studies.cluster import Cluster

            cluster = stack.enter_context(Cluster(address or "auto", cores=cores * threads))
        lock = stack.enter_context(folder.working(plan))
        orders = [run_order(folder, plan.task, run, plan.evaluation, threads) for run in plan.runs()]
        left = [order for order in orders if not is_done(order)]
        with _writing(folder):
            _forget(left)
        progress = StudyProgress(orders, {order.name for order in orders} - {order.name for order in left}, console)
        stop = _Stop(folder, progress)
        with _writing(folder), stop.handling_signals(), progress:
            if cluster is not None:
                records = cluster.perform(left, workers=workers)
            else:
                ensembles = _ensembles(plan, left, console) if together else []
                records = _perform(left, ensembles, workers=cores, threads=threads, stop=stop, lock=lock)
            _follow(records, progress, stop)
        found = _results(plan, orders)
        _write(plan, folder, found, band)
    if stop.level():
        again = f"Go on with: {_command(plan, folder, workers, threads, backend, address, together, band)}"
        how = "Every run under way has saved" if stop.level() == 1 else "Runs under way were killed"
        raise Interrupted(f"Stopped. {how}. {again}")
    print_tables(plan.task, found, console)
    written = [name for name in ("table.md", "results.json", "curves.png") if (folder.path / name).is_file()]
    console.print(f"Study: {folder.path}: {', '.join(written)}", markup=False)
    return found


@contextlib.contextmanager
def _writing(folder: StudyFolder) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE:  # a terminal that is gone, or a cluster
            raise
        raise RunError(
            f"{folder.path}: cannot be written: {error.strerror}. What its runs have saved is kept. Repeat the command "
            "once it can be."
        ) from error


def _ensembles(plan: Plan, left: Sequence[Order], console: Console) -> list[list[Order]]:
    """The orders that are trained together; says why others are not."""
    from tapehead.training.together import why_not_together

    found = []
    for recipe in plan.recipes:
        orders = [order for order in left if order.recipe == recipe.name]
        why_not = why_not_together(config_from_dict({**recipe.config, "seed": plan.first_seed}))
        if orders and why_not is None:
            found.append(orders)
        elif orders:
            console.print(f"{recipe.name}: trained one by one: {why_not}.", markup=False)
    return found


def _perform(
    left: Sequence[Order], ensembles: Sequence[Sequence[Order]], *, workers: int, threads: int, stop: _Stop, lock: Any
) -> Iterator[tuple[Order, dict[str, Any]]]:
    from tapehead.studies.local import perform_here
    from tapehead.studies.one_process import perform_together

    for orders in ensembles:
        yield from perform_together(orders, workers=workers, threads=workers * threads, stop=stop, lock=lock)
    together = {order for orders in ensembles for order in orders}
    yield from perform_here([order for order in left if order not in together], workers=workers, stop=stop, lock=lock)


def _check(workers: int | None, threads: int, backend: str, address: str | None, together: bool) -> None:
    for option, value in (("--workers", workers), ("--threads", threads)):
        if value is not None and value < 1:
            raise UsageError(f"{option}: expected at least 1, got {value}.")
    if backend not in BACKENDS:
        raise UsageError(f"--backend: expected one of {', '.join(BACKENDS)}, got {backend}.")
    if together and backend != "joblib":
        raise UsageError(
            "--together: expected only with --backend joblib, which trains on this machine. Leave one out."
        )
    if address is not None and backend != "ray":
        raise UsageError("--address: expected only with --backend ray. Leave it out, or add --backend ray.")


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _forget(orders: Sequence[Order]) -> None:
    """What an earlier attempt said of runs that are tried again; their scores are kept."""
    for order in orders:
        record = read_json(order.record)
        if record is not None:
            kept = {name: record[name] for name in ("scores", "scored") if name in record}
            write_json(order.record, {**kept, "state": "waiting"})


def _follow(records: Iterator[tuple[Order, dict[str, Any]]], progress: StudyProgress, stop: _Stop) -> None:
    """Take every record as it comes. Whatever goes wrong here, no run is left behind."""
    try:
        for order, record in records:
            progress.ended(order, record)
            if record["state"] == "died":
                write_json(order.record, {**(read_json(order.record) or {}), **record})  # where its machine could not
    except BaseException:
        stop.request(2)
        for _ in records:
            pass
        raise


class _Stop:
    """Ctrl-C, SIGTERM or a closed terminal asks every run to save and stop; a second one kills them.

    In memory for the workers of this process, and as a file in the study's folder for those of others.
    """

    def __init__(self, folder: StudyFolder, progress: StudyProgress) -> None:
        self._folder = folder
        self._progress = progress
        self._level = 0

    def level(self) -> int:
        return self._level

    def request(self, level: int) -> None:
        """Ask for it."""
        self._level = max(self._level, level)
        with contextlib.suppress(OSError):
            self._folder.stop_path.write_text(str(self._level), encoding="utf-8")
        self._progress.notice = "Stopping: every run saves; again to kill them" if level == 1 else "Stopping at once"

    @contextlib.contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Take the signals over, in the main thread; nobody else may."""
        previous: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            names = ("SIGINT", "SIGTERM", "SIGHUP")
            numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
            previous = {number: signal.signal(number, self._signalled) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._folder.stop_path.unlink(missing_ok=True)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self.request(self._level + 1)


def _results(plan: Plan, orders: Sequence[Order]) -> list[RunResult]:
    found = []
    for run, order in zip(plan.runs(), orders, strict=True):
        record = read_json(order.record) or {}
        done = is_done(order)
        state = "done" if done else str(record.get("state", "waiting"))
        summary = read_json(order.folder / "summary.json") or {}
        found.append(
            RunResult(
                run.name,
                run.recipe.name,
                run.seed,
                state,
                summary=summary,
                scores=record.get("scores", {}) if done and plan.evaluation is not None else {},
                message="" if done else str(record.get("message", "")),
                node=record.get("node"),
            )
        )
    return found


def _write(plan: Plan, folder: StudyFolder, found: Sequence[RunResult], band: bool) -> None:
    try:
        with replacing(folder.path / "table.md") as file:
            file.write(markdown(plan.task, found).encode())
        write_json(folder.path / "results.json", results(plan.task, found))
        curves = [curve for run in found if (curve := _curves(folder.path / run.name, run)) is not None]
        if curves:
            thresholds = {recipe.config["training"]["solved_below"] for recipe in plan.recipes}
            measure = measure_of(plan.task)
            figure = draw_study(
                curves,
                measure=measure.key,
                heading=measure.heading,
                band=band,
                solved_below=thresholds.pop() if len(thresholds) == 1 else None,
                title=f"Study of {plan.task}",
            )
            with replacing(folder.path / "curves.png") as file:
                file.write(png(figure))
    except OSError as error:
        raise RunError(f"{folder.path}: cannot be written: {error.strerror}. The runs in it are whole.") from error


def _curves(path: Path, run: RunResult) -> RunCurves | None:
    """The learning curves of a run; None where it has logged no validation, or its logs cannot be read."""
    try:
        metrics = read_metrics(path / "logs" / "csv")
    except (OSError, ValueError):
        return None
    if "validation_bits" not in metrics:
        return None
    return RunCurves(run.recipe, metrics, run.summary.get("solved_at_sequences"), whole=run.state == "done")


def _command(
    plan: Plan,
    folder: StudyFolder,
    workers: int | None,
    threads: int,
    backend: str,
    address: str | None,
    together: bool,
    band: bool,
) -> str:
    """The command that goes on with a study."""
    words = [
        *shlex.split(command_of(plan.task)),
        "study",
        plan.task,
        "--models",
        *(unlike_option(recipe.source) for recipe in plan.recipes),
    ]
    words += ["--seeds", str(plan.seeds)] + (["--first-seed", str(plan.first_seed)] if plan.first_seed else [])
    words += ["--out", unlike_option(folder.path)]
    words += [] if workers is None else ["--workers", str(workers)]
    words += [] if threads == 1 else ["--threads", str(threads)]
    words += ["--backend", backend] * (backend != "joblib") + (["--address", address] if address else [])
    words += ["--together"] * together + ["--band"] * band
    evaluation = plan.evaluation
    if evaluation is None:
        words.append("--no-evaluation")
    else:
        words += ["--lengths", *map(str, evaluation.lengths), "--sequences", str(evaluation.sequences)]
        words += ["--repeats", *map(str, evaluation.repeats)] if evaluation.repeats else []
        words += [] if evaluation.memory_size is None else ["--memory-size", str(evaluation.memory_size)]
    return shlex.join([*words, *plan.options])
