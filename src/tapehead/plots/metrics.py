"""Reading what a run has logged, and what several runs have in common."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["Series", "mean_and_deviation", "read_metrics", "together"]


class Series(NamedTuple):
    """One metric of one run, where it was logged."""

    sequences: np.ndarray
    """(K,) trained on so far, rising"""
    values: np.ndarray
    """(K,)"""


def read_metrics(folder: Path) -> dict[str, Series]:
    """Every metric of a run, by its name, from `folder/version_*/metrics.csv`.

    A run has a version for each time it was begun or resumed. Where they overlap the later one counts: what an earlier
    one logged after the point where a later one went on is no part of the run's history. Blank cells are missing, and
    so is a last line that is only half written.

    Args:
        folder: a run's `logs/csv`

    Raises:
        FileNotFoundError: there is no such file, or nothing in any of them.
        ValueError: one is damaged; the message names it.
    """
    points: dict[str, dict[float, float]] = {}
    for path in sorted(folder.glob("version_*/metrics.csv"), key=_version):
        rows = _read_rows(path)
        begin = min((sequences for sequences, _ in rows), default=math.inf)
        points = {name: {at: value for at, value in old.items() if at <= begin} for name, old in points.items()}
        for sequences, row in rows:
            for name, value in row.items():
                points.setdefault(name, {})[sequences] = value
    merged = {name: sorted(values.items()) for name, values in points.items() if values}
    if not merged:
        raise FileNotFoundError(f"{folder}: no metrics, there is no version_*/metrics.csv with anything in it")
    return {name: Series(*np.array(pairs, dtype=float).T) for name, pairs in merged.items()}


def _version(path: Path) -> int:
    found = re.search(r"\d+$", path.parent.name)
    return int(found.group()) if found else -1


def _read_rows(path: Path) -> list[tuple[float, dict[str, float]]]:
    """The rows of a file that say after how many sequences they were logged: (sequences, the other metrics)."""
    text = path.read_text(encoding="utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1].splitlines()
    rows = []
    for number, cells in enumerate(csv.DictReader(whole), start=2):
        try:
            if None in cells:
                raise ValueError("more cells than the heading")
            row = {name: float(cell) for name, cell in cells.items() if cell and cell.strip()}
        except (TypeError, ValueError):
            raise ValueError(f"{path}: damaged, line {number} is not a row of numbers") from None
        if "sequences" in row:
            sequences = row.pop("sequences")
            rows.append((sequences, {name: value for name, value in row.items() if math.isfinite(value)}))
    if whole and not rows and len(whole) > 1:
        raise ValueError(f"{path}: damaged, no row has a number of sequences")
    return rows


def mean_and_deviation(series: Sequence[Series]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Mean and standard deviation of several runs over the sequences that all of them have seen.

    Each run is interpolated linearly at every number of sequences where any of them was logged.

    Args:
        series: the same metric of each run

    Returns:
        (sequences, mean, deviation), the deviation that of a sample (divided by runs - 1) and 0 for a single run; None
        where the runs have no range in common

    >>> first = Series(np.array([0.0, 10.0]), np.array([4.0, 2.0]))
    >>> second = Series(np.array([0.0, 5.0]), np.array([2.0, 1.0]))
    >>> mean_and_deviation([first, second])
    (array([0., 5.]), array([3., 2.]), array([1.41421356, 1.41421356]))
    """
    if not series:
        return None
    low, high = max(one.sequences[0] for one in series), min(one.sequences[-1] for one in series)
    every = np.unique(np.concatenate([one.sequences for one in series]))
    grid = every[(every >= low) & (every <= high)]
    if not grid.size:
        return None
    values = np.stack([np.interp(grid, one.sequences, one.values) for one in series])
    deviation = values.std(axis=0, ddof=1) if len(series) > 1 else np.zeros_like(grid)
    return grid, values.mean(axis=0), deviation


def together(series: Sequence[Series]) -> tuple[np.ndarray, np.ndarray]:
    """Several runs at the same numbers of sequences, from where all of them have begun to where the last one ends.

    Each is interpolated linearly at every number of sequences where any was logged; one that ends earlier keeps its
    last value.

    Args:
        series: the same metric of each run, at least one

    Returns:
        (sequences (K,), values (runs, K))

    >>> first = Series(np.array([0.0, 10.0]), np.array([4.0, 2.0]))
    >>> second = Series(np.array([0.0, 5.0]), np.array([2.0, 1.0]))
    >>> together([first, second])[1]
    array([[4., 3., 2.],
           [2., 1., 1.]])
    """
    low = max(one.sequences[0] for one in series)
    every = np.unique(np.concatenate([one.sequences for one in series]))
    grid = every[every >= low]
    return grid, np.stack([np.interp(grid, one.sequences, one.values) for one in series])
