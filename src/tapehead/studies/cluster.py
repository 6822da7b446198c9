"""The runs of a study over the machines of a Ray cluster, which share the study's folder."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tapehead.errors import RunError
from tapehead.studies.folder import StudyFolder
from tapehead.studies.worker import FileStop, Order, perform

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reads it when it is imported

import ray

__all__ = ["Cluster"]

CONNECT_SECONDS = 10.0

POLL_SECONDS = 0.5
"""Between two looks at what has come to its end."""


class Cluster:
    """A connection to a Ray cluster; a context manager.

    Args:
        address: "auto" for the one that this machine belongs to, HOST:PORT for another, "local" for one of this
            machine alone, which lives as long as the connection
        cores: of a local one

    Raises:
        RunError: on entering, there is no such cluster.
    """

    def __init__(self, address: str, *, cores: int) -> None:
        self.address = address
        self.cores = cores

    def __enter__(self) -> Cluster:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.address == "local":
            options |= {"num_cpus": self.cores, "include_dashboard": False}
        self._sigterm = signal.getsignal(signal.SIGTERM)  # Ray takes it over and does not give it back
        try:
            if self.address not in ("auto", "local"):
                self._knock()
            ray.init(address=self.address, **options)
        except (RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
            lines = str(error).splitlines() or [type(error).__name__]
            raise RunError(
                f"--address: expected a Ray cluster at {self.address}, got: {lines[0]} "
                "Start one with `ray start --head`, or take --address local."
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._sigterm)

    def _knock(self) -> None:
        """Raise at once where nobody answers; Ray would try for minutes."""
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError("not auto, local or HOST:PORT.")
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()

    def perform(self, orders: Sequence[Order], *, workers: int | None) -> Iterator[tuple[Order, dict[str, Any]]]:
        """Perform orders; yields each with its record, as it comes to its end.

        Each is a task of as many cores as the run has threads, started where they are free, and never again by Ray: a
        run that died is the study's to try again. Stopping goes through the folder, as everything else does.

        Args:
            orders: the runs
            workers: at the most so many at a time; None leaves it to the cluster
        """
        waiting, running = list(orders), dict[Any, Order]()
        try:
            while waiting or running:
                while waiting and (workers is None or len(running) < workers):
                    order = waiting.pop(0)
                    task = ray.remote(_perform_there).options(num_cpus=order.threads, max_retries=0, name=order.name)
                    running[task.remote(order)] = order
                done, _ = ray.wait(list(running), timeout=POLL_SECONDS)
                for reference in done:
                    yield running.pop(reference), _result(reference)
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def _result(reference: Any) -> dict[str, Any]:
    try:
        record: dict[str, Any] = ray.get(reference)
        return record
    except ray.exceptions.RayError as error:  # its machine went away, or the task itself failed
        line = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
        return {"state": "died", "exit_status": 1, "message": f"Ray: {line.strip()}"}


def _perform_there(order: Order) -> dict[str, Any]:
    """On a machine of the cluster."""
    node = ray.get_runtime_context().get_node_id()
    folder = StudyFolder(order.study)
    if not folder.plan_path.is_file():
        message = f"{folder.path} is not there on node {node}. All machines of the cluster have to share the folder."
        return {"state": "died", "exit_status": 1, "message": message, "node": node}
    return perform(order, FileStop(Path(order.study) / folder.stop_path.name), node=node)
