"""`tapehead evaluate`: a run's scores as a table and as a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tapehead.errors import RunError, UsageError
from tapehead.tasks import Measure, Size, Task
from tapehead.training.capacity import check_memory_size, memory_to_use
from tapehead.training.evaluate import evaluate
from tapehead.training.runs import write_json
from tapehead.training.trained_models import open_model

__all__ = ["check_runs", "evaluate_run", "user_sizes"]


COLUMNS: dict[Measure, dict[str, Callable[[Mapping[str, float]], str]]] = {
    "bit_errors": {
        "wrong bits": lambda row: f"{row['bit_errors']:.2f}",
        "of": lambda row: f"{row['answer_bits']:,.0f}",
        "bits": lambda row: f"{row['bits']:.3f}",
        "perfect": lambda row: f"{row['perfect']:.0%}",
    },
    "excess_bits": {
        "bits": lambda row: f"{row['bits']:.2f}",
        "optimum": lambda row: f"{row['bits'] - row['excess_bits']:.2f}",
        "above it": lambda row: f"{row['excess_bits']:.2f}",
    },
    "wrong_answers": {
        "wrong answers": lambda row: f"{row['wrong_answers']:.2f}",
        "bits": lambda row: f"{row['bits']:.2f}",
        "optimum": lambda row: f"{row['bits'] - row['excess_bits']:.2f}",
    },
}
"""What the table shows of a score, by the task's measure; "of" is how many bits could be wrong."""


def user_sizes(task: Task, lengths: Sequence[int], repeats: Sequence[int] | None) -> list[Size]:
    """The sizes that a user named.

    Raises:
        UsageError: not sizes of this task.
    """
    counts: Sequence[int | None] = repeats or [None]
    try:
        return [task.evaluation_size(length, count) for length in lengths for count in counts]
    except ValueError as error:
        raise UsageError(str(error)) from error


def check_runs(
    paths: Sequence[str | Path],
    *,
    lengths: Sequence[int] | None = None,
    repeats: Sequence[int] | None = None,
    memory_size: int | None = None,
) -> None:
    """Raise what `evaluate_run` would of any of these, before the first is scored."""
    for path in paths:
        trained = open_model(path)
        user_sizes(trained.task, lengths or trained.task.lengths_to_evaluate(), repeats)
        if memory_size is not None:
            check_memory_size(trained.model.core, memory_size)


def evaluate_run(
    path: str | Path,
    *,
    lengths: Sequence[int] | None = None,
    repeats: Sequence[int] | None = None,
    memory_size: int | None = None,
    sequences: int | None = None,
    seed: int = 0,
    console: Console | None = None,
) -> dict[str, Any]:
    """Score a run's best checkpoint or a pretrained model, and print a table; into a run, write `evaluation.json`.

    Args:
        path: the run's folder, a pretrained model's name, or an exported folder
        lengths: to score at; None takes the task's own
        repeats: of repeat copy; None takes the most trained on
        memory_size: slots of the memory; None takes those it was trained with, or more where a size outgrows them
        sequences: of each size; None takes as many as the task says
        seed: of the sequences
        console: to print on

    Returns:
        what `evaluation.json` holds

    Raises:
        RunError: the run is missing or damaged, or cannot be written.
        PretrainedError: the exported folder is.
        UsageError: a length, a count or a memory size that cannot be.
    """
    if sequences is not None and sequences < 1:
        raise UsageError(f"--sequences: expected at least 1, got {sequences}.")
    trained = open_model(path)
    task, model = trained.task, trained.model
    sequences = task.evaluation_sequences if sequences is None else sequences
    sizes = user_sizes(task, lengths or task.lengths_to_evaluate(), repeats)
    memory_size = memory_to_use(model.core, task, sizes, memory_size)
    console = console or Console(highlight=False, soft_wrap=True)
    slots = memory_size or getattr(model.core, "memory_size", None)
    title = f"{escape(trained.name)}: {trained.model_name} on {trained.task_name}, {sequences} sequences each"
    table = Table(title=title + (f", {slots} slots" if slots else ""))
    columns = COLUMNS[task.measure]
    for heading in (" x ".join(sizes[0]), *columns):
        table.add_column(heading, justify="right", overflow="fold")

    with console.status("evaluating"):
        results = evaluate(model, task, sizes, sequences=sequences, seed=seed, memory_size=memory_size)
    for name, score in results["lengths"].items():
        table.add_row(name, *(written(score) for written in columns.values()))
    console.print(table)
    if trained.run is not None:
        scored = trained.run.best_checkpoint().name
        if scored != "best.ckpt":
            console.print(f"This is {scored}, its latest checkpoint: it has no best.ckpt.", style="dim", markup=False)
    for name, score in results["lengths"].items():
        if "instances" in score:
            console.print(_instance_table(name, score["instances"]))
    if trained.run is not None:
        try:
            write_json(trained.path / "evaluation.json", results)
        except OSError as error:
            path = trained.path / "evaluation.json"
            raise RunError(f"{path}: cannot be written: {error.strerror}. The scores are printed, not kept.") from error
    return results


def _instance_table(size: str, rows: dict[str, dict[str, float]]) -> Table:
    """The k-th presentation of a class, and how often it was named rightly."""
    table = Table(title=f"{size}: right at the k-th presentation of a class")
    for heading in ("instance", "right", "standard error"):
        table.add_column(heading, justify="right", overflow="fold")
    for instance, row in rows.items():
        table.add_row(instance, f"{row['accuracy']:.1%}", f"{row['standard_error']:.1%}")
    return table
