"""What came out of a study, as numbers: each run, and the runs of each recipe together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tapehead.tasks import TASKS
from tapehead.training.metrics import MEASURES

__all__ = ["RecipeResult", "RunResult", "ShownMeasure", "Spread", "measure_of", "quantile", "summarise"]


class ShownMeasure(NamedTuple):
    """A score that tables show, of the last validation and of every evaluation."""

    key: str
    """in summary.json, and in the scores of evaluation.json"""
    heading: str


def measure_of(task: str) -> ShownMeasure:
    """The measure that a task's tables show."""
    key = TASKS[task].measure
    return ShownMeasure(key, MEASURES[key])


@dataclass(frozen=True)
class RunResult:
    """One run.

    Attributes:
        name: of its folder
        recipe: its name
        seed: its own
        state: "done", "died", "stopped" or "waiting"
        summary: summary.json; empty for a run that is not done
        scores: by size, as evaluation.json holds them
        message: why it died
        node: the machine it was on
    """

    name: str
    recipe: str
    seed: int
    state: str
    summary: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    message: str = ""
    node: str | None = None


class Spread(NamedTuple):
    """How a number is spread over the finished runs. Runs without one (not solved) are infinite in the quartiles."""

    median: float
    low: float
    """first quartile"""
    high: float
    """third quartile"""
    mean: float | None
    """of those that have one; None where none has"""
    deviation: float | None
    """standard deviation of a sample; None for less than two"""
    known: int
    """how many have one"""

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread | None:
        """The spread of at least one number; None of none.

        >>> Spread.of([4.0, 1.0, 3.0, None])
        Spread(median=3.5, low=2.5, high=inf, mean=2.6666666666666665, deviation=1.5275252316519468, known=3)
        """
        if not values:
            return None
        every = [math.inf if value is None else float(value) for value in values]
        there = [value for value in every if math.isfinite(value)]
        return cls(
            quantile(every, 0.5),
            quantile(every, 0.25),
            quantile(every, 0.75),
            statistics.fmean(there) if there else None,
            statistics.stdev(there) if len(there) > 1 else None,
            len(there),
        )


def quantile(values: Sequence[float], share: float) -> float:
    """A quantile, between two values on the line between them (type 7 of Hyndman and Fan, numpy's own).

    >>> quantile([1.0, 2.0, 4.0, math.inf], 0.5), quantile([1.0, math.inf, math.inf], 0.5)
    (3.0, inf)
    """
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    below = math.floor(at)
    if at == below or ordered[below] == ordered[below + 1]:
        return ordered[below]
    return ordered[below] + (at - below) * (ordered[below + 1] - ordered[below])


@dataclass(frozen=True)
class RecipeResult:
    """The runs of one recipe together.

    Attributes:
        name: of the recipe
        runs: how many were planned
        finished: how many are done
        died: how many died
        solved: how many of the finished ones are solved
        spreads: of "solved_at_sequences", "solved_at_seconds" and the measure, over the finished runs
        scores: of the measure at each size, over the runs that were scored
    """

    name: str
    runs: int
    finished: int
    died: int
    solved: int
    spreads: dict[str, Spread | None]
    scores: dict[str, Spread | None]


def summarise(runs: Sequence[RunResult], measure: ShownMeasure) -> list[RecipeResult]:
    """Recipe by recipe, in the order in which they come.

    Args:
        runs: all of a study's
        measure: of what
    """
    results = []
    for name in dict.fromkeys(run.recipe for run in runs):
        own = [run for run in runs if run.recipe == name]
        done = [run for run in own if run.state == "done"]
        keys = ("solved_at_sequences", "solved_at_seconds", measure.key)
        sizes = dict.fromkeys(size for run in done for size in run.scores)
        scores = {size: [run.scores[size].get(measure.key) for run in done if size in run.scores] for size in sizes}
        results.append(
            RecipeResult(
                name,
                runs=len(own),
                finished=len(done),
                died=sum(run.state == "died" for run in own),
                solved=sum(run.summary.get("solved_at_sequences") is not None for run in done),
                spreads={key: Spread.of([run.summary.get(key) for run in done]) for key in keys},
                scores={size: Spread.of(values) for size, values in scores.items()},
            )
        )
    return results
