"""What came out of a study, as tables: on the terminal, in Markdown, and as data."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tapehead.studies.summary import RecipeResult, RunResult, ShownMeasure, Spread, measure_of, summarise

__all__ = ["markdown", "print_tables", "results"]

NOTE = (
    "Solved: of the finished runs. Median [first, third quartile]: a run that is not solved counts as infinitely late. "
    "Mean ± standard deviation: of the solved runs alone. {measure}: a sequence, of the last validation{sizes}."
)

LONGEST_NAME = 28
"""Characters of a model's name in a line of a terminal that is narrow; the rest goes on below"""


class Block(NamedTuple):
    """A table before it is drawn: the first `keys` columns name a row, the others hold numbers."""

    title: str
    headings: list[str]
    rows: list[list[str]]
    keys: int


def _sizes(runs: Sequence[RunResult]) -> list[str]:
    return list(dict.fromkeys(size for run in runs for size in run.scores))


def _runs_block(runs: Sequence[RunResult], measure: ShownMeasure, sizes: Sequence[str]) -> Block:
    headings = ["model", "seed", "", "solved at sequences", "at seconds", "trained on", "seconds", measure.heading]
    rows = []
    for run in runs:
        summary = run.summary
        solved = summary.get("solved_at_sequences") is not None
        state = {"done": "solved" if solved else "not solved"}.get(run.state, run.state)
        keys = ("solved_at_sequences", "solved_at_seconds", "sequences", "seconds", measure.key)
        numbers = [_number(summary.get(key)) for key in keys]
        scores = [_number(run.scores.get(size, {}).get(measure.key)) for size in sizes]
        rows.append([run.recipe, str(run.seed), state, *numbers, *scores])
    return Block("Every run", headings + [f"at {size}" for size in sizes], rows, 3)


def _recipes_block(recipes: Sequence[RecipeResult], measure: ShownMeasure, sizes: Sequence[str]) -> Block:
    headings = ["model", "solved", "sequences until solved", "mean sequences", "seconds until solved", "mean seconds"]
    headings.append(measure.heading)
    rows = []
    for recipe in recipes:
        solved = f"{recipe.solved} of {recipe.finished}" + (f", {recipe.died} died" if recipe.died else "")
        until = [recipe.spreads[key] for key in ("solved_at_sequences", "solved_at_seconds")]
        cells = [text for spread in until for text in (_quartiles(spread), _mean(spread))]
        medians = [recipe.spreads[measure.key], *(recipe.scores.get(size) for size in sizes)]
        rows.append([recipe.name, solved, *cells, *(_median(spread) for spread in medians)])
    return Block("Every model", headings + [f"at {size}" for size in sizes], rows, 2)


def _number(value: float | None) -> str:
    """For people: whole numbers as they are, large ones without a fraction."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return "not"
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 0.01 else f"{value:.1g}"


def _median(spread: Spread | None) -> str:
    return "-" if spread is None else _number(spread.median)


def _quartiles(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    if not math.isfinite(spread.low):
        return _number(spread.median)
    return f"{_number(spread.median)} [{_number(spread.low)}, {_number(spread.high)}]"


def _mean(spread: Spread | None) -> str:
    if spread is None or spread.mean is None:
        return "-"
    return _number(spread.mean) + ("" if spread.deviation is None else f" ± {_number(spread.deviation)}")


def _note(measure: ShownMeasure, sizes: Sequence[str]) -> str:
    heading = measure.heading[0].upper() + measure.heading[1:]
    return NOTE.format(measure=heading, sizes=" and at these sizes; of each model the median" if sizes else "")


def markdown(task: str, runs: Sequence[RunResult]) -> str:
    """Both tables, every model and every run, in Markdown.

    Args:
        task: its name
        runs: all of a study's
    """
    measure, sizes = measure_of(task), _sizes(runs)
    parts = [f"# Study of {task}"]
    for block in (_recipes_block(summarise(runs, measure), measure, sizes), _runs_block(runs, measure, sizes)):
        rules = ["---"] * block.keys + ["---:"] * (len(block.headings) - block.keys)
        lines = [f"| {' | '.join(map(_plain, cells))} |" for cells in (block.headings, rules, *block.rows)]
        parts += [f"## {block.title}", "\n".join(lines)]
    parts += [_plain(f"{run.name} died: {run.message}") for run in runs if run.state == "died"]
    return "\n\n".join([*parts, _note(measure, sizes)]) + "\n"


def _plain(text: str) -> str:
    """A text that Markdown shows as it is, in a cell of a table as well; names of recipes are those of users' files."""
    return re.sub(r"([\\|*`<])", r"\\\1", text)


def print_tables(task: str, runs: Sequence[RunResult], console: Console) -> None:
    """Both tables on a terminal; columns that do not fit go on below."""
    measure, sizes = measure_of(task), _sizes(runs)
    recipes = summarise(runs, measure)
    for block in (_runs_block(runs, measure, sizes), _recipes_block(recipes, measure, sizes)):
        for part in _parts(block, console):
            console.print()
            console.print(_rich(part, narrow=not _fits(part, console, narrow=False)))
    for run in runs:
        if run.state == "died":
            console.print(f"{run.name} died: {run.message}", style="red", markup=False, soft_wrap=True)
    console.print(_note(measure, sizes), style="dim", markup=False)


def _width(block: Block, column: int) -> int:
    """The width of a column whose cells stay on one line, and whose heading may be broken between words."""
    return max(map(len, [*(row[column] for row in block.rows), *block.headings[column].split()]), default=0)


def _parts(block: Block, console: Console) -> list[Block]:
    """A table cut into such as fit a terminal, model and seed naming the rows of each."""
    names = [0, 1] if block.keys == 3 else [0]
    parts, columns = [], list(range(block.keys))
    for column in range(block.keys, len(block.headings)):
        if len(columns) > len(names) and not _fits(_of_columns(block, [*columns, column]), console):
            parts.append(columns)
            columns = [*names]
        columns.append(column)
    parts.append(columns)
    return [
        _of_columns(block, columns, block.title if index == 0 else f"{block.title}, continued")
        for index, columns in enumerate(parts)
    ]


def _of_columns(block: Block, columns: Sequence[int], title: str = "") -> Block:
    return Block(
        title,
        [block.headings[column] for column in columns],
        [[row[column] for column in columns] for row in block.rows],
        sum(column < block.keys for column in columns),
    )


def _fits(block: Block, console: Console, *, narrow: bool = True) -> bool:
    unlimited = console.options.update_width(10_000)
    return console.measure(_rich(block, narrow=narrow), options=unlimited).maximum <= console.width


def _rich(block: Block, *, narrow: bool) -> Table:
    """The table for a terminal; narrow, with headings broken between words. Left to itself rich cuts columns off."""
    table = Table(title=block.title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for index, heading in enumerate(block.headings):
        width = _width(block, index) if narrow else None
        if index == 0 and width is not None:
            width = min(width, LONGEST_NAME)
        table.add_column(heading, justify="left" if index < block.keys else "right", width=width, overflow="fold")
    colours = {"solved": "green", "died": "bold red"}
    for row in block.rows:
        table.add_row(*(Text(cell, colours.get(cell, "") if index else "") for index, cell in enumerate(row)))
    return table


def results(task: str, runs: Sequence[RunResult]) -> dict[str, Any]:
    """What results.json holds: "task", "measure", "runs" and "models"; a number that is infinite is null."""
    measure = measure_of(task)
    recipes = [asdict(recipe) for recipe in summarise(runs, measure)]
    for recipe in recipes:
        for name in ("spreads", "scores"):
            recipe[name] = {key: _finite(spread) for key, spread in recipe[name].items()}
    return {"task": task, "measure": measure.key, "runs": [asdict(run) for run in runs], "models": recipes}


def _finite(spread: Spread | None) -> dict[str, float | None] | None:
    if spread is None:
        return None
    values = Spread(*spread)._asdict()
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}
