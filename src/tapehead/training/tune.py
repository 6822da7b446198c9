"""`tapehead tune`: the fastest tilings of the CUDA kernels for the models that `tapehead train` would train."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from tapehead.errors import UsageError
from tapehead.nn.tuning import check, tune
from tapehead.ops import tunings_file
from tapehead.ops.tilings import Tiling
from tapehead.ops.tuner import Tuning
from tapehead.tasks import Stream
from tapehead.training.options.arguments import check_names, find_recipe, model_to_train, parse

__all__ = ["table", "tune_task"]

NOTE = (
    "Milliseconds of one launch for {rows} sequences of {steps} steps, medians; the fastest in bold. "
    "What is launched for up to {rounded} sequences in a batch takes it from now on. Kept in {path}"
)


def tune_task(
    argv: Sequence[str], *, task: str | None, model: str | None = None, recipe: str | None = None
) -> list[Tuning]:
    """Tune the kernels for a model and a batch of its task's longest training size, and print what was found.

    Args:
        argv: options of `tapehead train`, such as ["--training.batch_size", "64"]
        task: its name
        model: its name; None takes the task's
        recipe: "task/model" or a file; None takes the one of task and model

    Raises:
        UsageError: the options do not fit, or the model has nothing to tune.
        BackendError: the kernels cannot run here.
    """
    if any(word.partition("=")[0] == "--resume" for word in argv):
        raise UsageError("--resume: tune goes on with no run; name its task and its options.")
    name = model_to_train(task or "", model, recipe, argv)
    check_names("tune", argv, task, name)
    assert task is not None
    parsed = parse(argv, task, name, find_recipe(task, name, recipe))
    if parsed.out is not None:
        raise UsageError("--out: tune makes no run; leave it out.")
    config = parsed.config
    torch.manual_seed(config.seed)
    built = config.build_model()
    if not hasattr(built.core, "memory_size"):
        raise UsageError(f"--model: {name} has no memory, and no kernels to tune. Take ntm or mann.")
    if config.trainer.get("precision") in (64, "64", "64-true"):
        built = built.double()
    like = built.to("cuda" if torch.cuda.is_available() else "cpu").readout.weight
    check(built)
    batch = Stream(config.task, config.training.batch_size, config.seed).draw(config.task.sizes()[-1])
    steps, rows = batch.input.shape[:2]
    lengths = None if batch.lengths is None else batch.lengths.to(like.device)
    console = Console(highlight=False, soft_wrap=True)
    with console.status("Compiling and timing; some seconds for each tiling of each kernel"):
        found = tune(built, batch.input.to(like), lengths)
    console.print(table(found))
    for line in _left_out(found):
        console.print(line, style="yellow", markup=False)
    rounded = found[0].key.programs
    console.print(
        NOTE.format(rows=rows, steps=steps, rounded=rounded, path=tunings_file.path()), style="dim", markup=False
    )
    return found


def table(tunings: Sequence[Tuning]) -> Table:
    """A row for each tiling, a column for each kernel; what was left out has no time."""
    made = Table(title="Tilings", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("warps", "memory", "weights", *(one.name for one in tunings)):
        made.add_column(heading, justify="right")
    tried = dict.fromkeys(timing.tiling for one in tunings for timing in one.timings)
    for tiling in tried:
        cells = [_cell(one, tiling) for one in tunings]
        weights = f"{tiling.product_rows} x {tiling.product_columns}"
        made.add_row(str(tiling.warps), str(tiling.tile), weights, *cells)
    return made


def _cell(tuning: Tuning, tiling: Tiling) -> str:
    (time,) = [timing.milliseconds for timing in tuning.timings if timing.tiling == tiling]
    text = "-" if time is None else f"{time:,.3f}"
    return f"[bold green]{text}[/]" if tiling == tuning.winner else text


def _left_out(tunings: Sequence[Tuning]) -> list[str]:
    return [
        f"{timing.tiling.text()}: left out of {one.name}. {timing.problem}"
        for one in tunings
        for timing in one.timings
        if timing.problem
    ]
