"""The runs of a study that differ in their seeds alone, trained in one process: `tapehead study --together`.

`perform_together` is the study's side. `train_orders` is what the process does that it starts: it trains the runs that
it is named, writes each one's log, and into the record of one that died why.
"""

from __future__ import annotations

import contextlib
import json
import platform
import shlex
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tapehead.errors import Interrupted, TapeheadError
from tapehead.studies.folder import StudyFolder, read_json
from tapehead.studies.local import perform_here
from tapehead.studies.worker import Order, Stop, ended, last_line, run_process, training_of
from tapehead.training.runs import write_json

if TYPE_CHECKING:
    from tapehead.training.train import Prepared

__all__ = ["perform_together", "train_orders"]


def perform_together(
    orders: Sequence[Order], *, workers: int, threads: int, stop: Stop, lock: int | None = None
) -> Iterator[tuple[Order, dict[str, Any]]]:
    """Train the runs of one recipe in one process, then score each; yields each with its record.

    Args:
        orders: the runs; those that are trained already are scored
        workers: runs to score at a time
        threads: of the process that trains
        stop: asked all along
        lock: what the children inherit
    """
    left = [order for order in orders if not _is_trained(order)]
    status, log = 0, StudyFolder(orders[0].study).logs / f"{orders[0].recipe}-together.log"
    if left and not stop.level():
        for order in left:
            write_json(order.record, {**(read_json(order.record) or {}), "state": "running", "node": platform.node()})
        told = log.with_suffix(".json")  # hundreds of orders are more than one word of a command may be long
        write_json(told, [order._replace(evaluation=None) for order in left])
        words = ["study", "--train-orders", str(told)]
        status = run_process([sys.executable, *left[0].program, *words], log, threads, stop, lock)
    for order in left:
        if not _is_trained(order):
            record = read_json(order.record) or {}
            if record.get("state") != "died":
                record = {**record, "state": "stopped"}
                if not stop.level():
                    record |= {"state": "died", "exit_status": status, "message": f"{ended(status)}: {last_line(log)}"}
            with contextlib.suppress(OSError):
                write_json(order.record, record)
            yield order, record
    yield from perform_here([order for order in orders if _is_trained(order)], workers=workers, stop=stop, lock=lock)


def _is_trained(order: Order) -> bool:
    return (order.folder / "summary.json").is_file()


def train_orders(told: str | Path) -> int:
    """Train runs of one recipe to their ends: what the process does that `perform_together` starts.

    Args:
        told: a file with the orders, as JSON

    Returns:
        the exit status: 0 done, 1 where any died, 130 stopped
    """
    orders = [Order(*fields) for fields in json.loads(Path(told).read_text(encoding="utf-8"))]
    from tapehead.training.lightning.quiet import quiet_lightning
    from tapehead.training.together import train_together
    from tapehead.training.train import prepare

    ready: list[Order] = []
    runs: list[Prepared] = []
    outputs: list[TextIO] = []
    facts: list[dict[str, Any]] = []
    died = 0
    with quiet_lightning(), contextlib.ExitStack() as stack:
        for order in orders:
            output = stack.enter_context(order.log.open("a", encoding="utf-8", buffering=1))
            try:
                words, options, task, model, resume = training_of(order)
                output.write(f"$ {shlex.join(['tapehead', *words])}  # in one process with {len(orders) - 1} more\n")
                runs.append(prepare(options, task=task, model=model, resume=resume))
            except (TapeheadError, OSError) as error:
                died += 1
                output.write(f"tapehead: {error}\n")
                _record_death(order, error)
            else:
                ready.append(order)
                outputs.append(output)
                facts.append({"together": len(orders)})
        found = train_together(runs, outputs, facts)
    for order, ended_by in zip(ready, found, strict=True):
        if ended_by is not None and not isinstance(ended_by, Interrupted):
            died += 1
            _record_death(order, ended_by)
    return 130 if any(isinstance(ended_by, Interrupted) for ended_by in found) else int(died > 0)


def _record_death(order: Order, error: BaseException) -> None:
    status = error.exit_status if isinstance(error, TapeheadError) else 1
    said = "".join(traceback.format_exception_only(error)).strip()
    message = f"exit status {status}: " + (f"tapehead: {error}" if isinstance(error, TapeheadError) else said)
    record = read_json(order.record) or {}
    write_json(order.record, {**record, "state": "died", "exit_status": status, "message": message})
