"""What a study shows while it runs: a bar for every run on a terminal, elsewhere a line for each that ends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tapehead.studies.folder import read_json
from tapehead.studies.worker import Order
from tapehead.training.metrics import MEASURES, TRAINING_ERRORS

__all__ = ["StudyProgress", "describe"]

URGENCY = {"training": 0, "evaluating": 0, "starting": 0, "died": 1, "waiting": 2, "stopped": 3}
"""Which runs are shown where the terminal has not enough lines for all; those that are done come last."""


def describe(summary: dict[str, Any]) -> str:
    """How a training ended, in a few words."""
    at, seconds = summary.get("solved_at_sequences"), summary.get("solved_at_seconds")
    if at is not None:
        return f"solved after {at:,} sequences" + ("" if seconds is None else f", {seconds:,.1f} s")
    measure = summary.get("measure", "bit_errors")
    error = summary.get(measure)
    return "not solved" + ("" if error is None else f", {error:,.2f} {MEASURES[measure]}")


class StudyProgress:
    """Follows the runs of a study through the small files in their folders, wherever they run; a context manager.

    Args:
        orders: all the runs
        done: names of those with nothing left to do
        console: to show them on
    """

    def __init__(self, orders: Sequence[Order], done: set[str], console: Console) -> None:
        self.orders = list(orders)
        self.console = console
        self.notice = ""
        self._ended: dict[str, dict[str, Any]] = {}
        self._start = time.monotonic()
        for order in orders:
            if order.name in done:
                self._ended[order.name] = {"state": "done", **_summary(order)}
        self._live = Live(console=console, get_renderable=self.render, refresh_per_second=2)

    def __enter__(self) -> StudyProgress:
        if self.console.is_terminal:
            self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live.is_started:
            self._live.stop()

    def ended(self, order: Order, record: dict[str, Any]) -> None:
        """Tell of a run that is done, died or was stopped."""
        self._ended[order.name] = {**record, **_summary(order)}
        if not self.console.is_terminal and record["state"] != "stopped":
            text = describe(_summary(order)) if record["state"] == "done" else f"died: {record['message']}"
            count = sum(one["state"] != "stopped" for one in self._ended.values())
            self.console.print(
                f"{count:>3} of {len(self.orders)}  {order.name}  {text}", markup=False, highlight=False, soft_wrap=True
            )

    def render(self) -> RenderableType:
        """All that is shown at this moment."""
        states = [(order, *self._state(order)) for order in self.orders]
        lines = max(3, self.console.height - 3)
        hidden = 0
        if len(states) > lines:
            ranked = sorted(range(len(states)), key=lambda index: URGENCY.get(states[index][1], 9))
            shown = sorted(ranked[:lines])
            hidden, states = len(states) - len(shown), [states[index] for index in shown]
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(min_width=8, ratio=1)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(no_wrap=True, overflow="ellipsis", min_width=min(44, self.console.width // 2))
        for order, state, at, total, text in states:
            bar = ProgressBar(total=total or 1, completed=at)
            count = f"{at:,} / {total:,}" if total and state == "training" else ""
            style = {"died": "bold red", "waiting": "dim", "stopped": "yellow"}.get(state, "")
            table.add_row(order.name, bar, count, Text(text, style="green" if text.startswith("solved") else style))
        return Group(table, Text(self._footer(hidden), style="bold"))

    def _footer(self, hidden: int) -> str:
        states = [one["state"] for one in self._ended.values()]
        minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
        parts = [f"{states.count('done')} of {len(self.orders)} runs done"]
        if states.count("died"):
            parts.append(f"{states.count('died')} died")
        parts.append(f"{minutes}:{seconds:02}")
        if hidden:
            parts.append(f"{hidden} not shown")
        return ", ".join(parts) + (f".  {self.notice}" if self.notice else "")

    def _state(self, order: Order) -> tuple[str, int, int, str]:
        """State, sequences trained on, of how many, and what to say of a run."""
        ended = self._ended.get(order.name)
        if ended is not None:
            at = ended.get("sequences", 0)
            if ended["state"] == "done":
                return "done", 1, 1, describe(ended)
            text = f"died: {ended.get('message')}" if ended["state"] == "died" else "stopped"
            return ended["state"], at, ended.get("total", 0), text
        record = read_json(order.record)
        if record is None or record.get("state") != "running":
            return "waiting", 0, 0, "waiting"
        summary = read_json(order.folder / "summary.json")
        if summary is not None:
            return "evaluating", 1, 1, f"evaluating; {describe(summary)}"
        progress = read_json(order.folder / "progress.json")
        if progress is None:
            return "starting", 0, 0, "starting"
        # Of training, where nobody works out the optimum.
        measure = progress.get("measure", "bit_errors")
        counted = TRAINING_ERRORS[measure] == measure
        key, name = ("errors", MEASURES[measure]) if counted else ("bits", "bits")
        error, speed = progress.get(key), progress.get("sequences_per_second")
        parts = ["training"] if error is None else [f"{error:,.2f} {name}"]
        parts += [] if speed is None else [f"{speed:,.0f} sequences/s"]
        parts += [] if progress.get("solved_at_sequences") is None else ["solved"]
        return "training", progress["sequences"], progress["total"], "  ".join(parts)


def _summary(order: Order) -> dict[str, Any]:
    return read_json(order.folder / "summary.json") or read_json(order.folder / "progress.json") or {}
