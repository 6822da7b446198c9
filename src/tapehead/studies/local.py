"""The runs of a study side by side on this machine, through joblib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import joblib

from tapehead.studies.worker import Order, Stop, perform

__all__ = ["perform_here"]


def perform_here(
    orders: Sequence[Order], *, workers: int, stop: Stop, lock: int | None = None
) -> Iterator[tuple[Order, dict[str, Any]]]:
    """Perform orders, so many at a time; yields each with its record, as it comes to its end.

    joblib's threads only start a run's process and wait for it. Its worker processes would bring nothing more, and
    one that is killed takes all the others with it.

    Args:
        orders: the runs
        workers: runs at a time
        stop: asked by all of them
        lock: what the children inherit
    """

    def one(order: Order) -> tuple[Order, dict[str, Any]]:
        return order, perform(order, stop, lock=lock)

    parallel = joblib.Parallel(
        n_jobs=workers, backend="threading", batch_size=1, pre_dispatch=workers, return_as="generator_unordered"
    )
    yield from parallel(joblib.delayed(one)(order) for order in orders)
