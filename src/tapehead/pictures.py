"""`tapehead plot`: learning curves, an answer, and the inside of the memory of what was trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from tapehead.errors import RunError, UsageError
from tapehead.files import replacing
from tapehead.nn import SequenceModel
from tapehead.plots import (
    RunCurves,
    animate_memory,
    draw_answer,
    draw_curves,
    draw_episode,
    draw_instances,
    draw_internals,
    draw_predictions,
    draw_study,
    instance_series,
    png,
    read_metrics,
)
from tapehead.plots.names import flattened, names_by_settings
from tapehead.tasks import Batch, NGrams, Omniglot, RepeatCopy, Size, Task
from tapehead.tasks.stream import generator_for
from tapehead.traces import MANNTrace, Trace
from tapehead.training.capacity import memory_to_use
from tapehead.training.evaluate import PICTURE_STREAM
from tapehead.training.metrics import MEASURES
from tapehead.training.options.config import RunConfig
from tapehead.training.report import user_sizes
from tapehead.training.runs import Run, plain_config
from tapehead.training.trained_models import Trained, open_model

__all__ = ["plot_runs"]


ALIKE = ("seed", "training.sequences", "training.stop_when_solved", "training.keep_last")
"""Options in which runs of one experiment may differ."""

TRAINER_OPTIONS = (
    "accumulate_grad_batches",
    "devices",
    "gradient_clip_algorithm",
    "gradient_clip_val",
    "num_nodes",
    "overfit_batches",
    "precision",
)
"""Those of the Trainer in which they may not: they change the updates."""


class Loaded(NamedTuple):
    """A trained model, and all that is drawn of it."""

    trained: Trained
    curves: RunCurves | None
    """of a run"""
    settings: dict[str, Any]
    """in which it may differ from others in one picture"""
    solved_below: float
    size: Size
    memory_size: int | None
    """slots of the memory, when other than trained with"""


def plot_runs(
    runs: Sequence[str | Path],
    *,
    length: int | None = None,
    repeats: int | None = None,
    memory_size: int | None = None,
    seed: int = 0,
    animate: bool = False,
    out: Path | None = None,
) -> list[Path]:
    """Draw the learning curves of all the runs together, and of each its answer to one sequence and its memory.

    Several runs have two pictures of curves: training and validation with mean and deviation, and validation alone with
    a line for every run and the median. Runs of tasks with different measures have such pictures of their own.

    A pretrained model has no learning curves, and a model without a memory gets no picture of one. Nothing is drawn
    before all of them are found to be whole.

    Args:
        runs: folders of runs, names of pretrained models, exported folders; runs that differ only in their seeds, or in
            how long they train, are taken together, and others of the same task and model named by what sets them apart
        length: of the sequence; None takes the longest trained on
        repeats: of repeat copy; None takes the most trained on
        memory_size: slots of the memory; None takes those it was trained with, or more where the size outgrows them
        seed: of the sequence
        animate: also show a memory at work on the sequence, step by step
        out: where the pictures go, with several runs in a folder for each below it; None takes each run's `plots`,
            the first run's for the learning curves, and for what is not a run NAME-plots in the working directory

    Returns:
        the files written

    Raises:
        RunError: a run is missing or damaged, has logged nothing, or a picture cannot be written.
        PretrainedError: an exported folder is damaged.
        UsageError: a length or a memory size that cannot be, or the same run twice.
    """
    loaded = [_load(path, length, repeats, memory_size) for path in runs]
    names = [one.trained.path.resolve() for one in loaded]
    if len(set(names)) < len(names):
        raise UsageError("plot: the same run is named twice; its curves would count as those of two seeds.")
    folders = _folders([one.trained for one in loaded], out)
    written = []
    with_curves = [one for one in loaded if one.curves is not None]
    measures = list(dict.fromkeys(one.trained.task.measure for one in with_curves))
    for measure in measures:
        members = [one for one in with_curves if one.trained.task.measure == measure]
        count, place = len(members), out or with_curves[0].trained.plots
        name = ("" if count == 1 else f"_{count}_runs") + ("" if len(measures) == 1 else f"_{measure}") + ".png"
        written.append(_save(_draw_curves(members, draw_curves), place / f"learning_curves{name}"))
        if count > 1:
            written.append(_save(_draw_curves(members, draw_study), place / f"validation{name}"))
    for one, folder in zip(loaded, folders, strict=True):
        instances = {} if one.curves is None else instance_series(one.curves.metrics)
        if instances:
            title = f"{one.trained.title}: right answers, by presentation of a class"
            written.append(_save(draw_instances(instances, title=title), folder / "instances.png"))
    for one, folder in zip(loaded, folders, strict=True):
        written += _draw_sequence(one, folder, seed, animate)
    return written


def _load(path: str | Path, length: int | None, repeats: int | None, memory_size: int | None) -> Loaded:
    trained = open_model(path)
    if length is None:
        length = next(iter(trained.task.sizes()[-1].values()))
    size = user_sizes(trained.task, [length], None if repeats is None else [repeats])[0]
    curves = None if trained.run is None else _curves(trained.run, trained)
    memory_size = memory_to_use(trained.model.core, trained.task, [size], memory_size)
    config = trained.config
    solved_below = 0.0 if config is None else config.training.solved_below
    return Loaded(trained, curves, {} if config is None else _settings(config), solved_below, size, memory_size)


def _settings(config: RunConfig) -> dict[str, Any]:
    """The options by which a run is told from those of other experiments."""
    options = flattened(plain_config(config))
    updates = tuple(f"trainer.{name}" for name in TRAINER_OPTIONS)
    return {
        name: value
        for name, value in options.items()
        if name not in ALIKE and (name in updates or not name.startswith("trainer."))
    }


def _curves(run: Run, trained: Trained) -> RunCurves:
    try:
        metrics = read_metrics(run.logs / "csv")
    except FileNotFoundError as error:
        raise RunError(
            f"{error}. Without them there are no learning curves; has the run trained, and logged?"
        ) from None
    except (OSError, ValueError) as error:
        raise RunError(str(error)) from error
    summary = run.summary() if (run.path / "summary.json").is_file() else {}
    return RunCurves(trained.kind, metrics, summary.get("solved_at_sequences"))


def _folders(loaded: Sequence[Trained], out: Path | None) -> list[Path]:
    """Where the pictures of each go."""
    if out is None:
        return [trained.plots for trained in loaded]
    if len(loaded) == 1:
        return [out]
    names = [trained.path.resolve().name for trained in loaded]
    if len(set(names)) < len(names):
        names = [f"{number}-{name}" for number, name in enumerate(names, start=1)]
    return [out / name for name in names]


def _draw_curves(loaded: Sequence[Loaded], draw: Callable[..., Figure]) -> Figure:
    """The curves of all runs in one figure, by `draw_curves` or `draw_study`."""
    measure = loaded[0].trained.task.measure
    title = loaded[0].trained.title if len(loaded) == 1 else f"Learning curves of {len(loaded)} runs"
    names = names_by_settings([one.trained.kind for one in loaded], [one.settings for one in loaded])
    curves = [one.curves for one in loaded if one.curves is not None]
    thresholds = {one.solved_below for one in loaded}
    try:
        return draw(
            [one._replace(name=name) for one, name in zip(curves, names, strict=True)],
            measure=measure,
            heading=MEASURES[measure],
            solved_below=thresholds.pop() if len(thresholds) == 1 else None,
            title=title,
        )
    except ValueError as error:
        raise RunError(f"{loaded[0].trained.path}: {error}.") from error


def _draw_sequence(one: Loaded, folder: Path, seed: int, animate: bool) -> list[Path]:
    """Run the model on one sequence, and draw what comes out and, where there is a memory, what went on in it."""
    task, size, memory_size = one.trained.task, one.size, one.memory_size
    batch = task.sample(1, generator_for(PICTURE_STREAM, seed, *size.values()), size)
    logits, trace = _trace(one.trained.model, batch, memory_size)
    described = ", ".join(f"{name} {number}" for name, number in size.items())
    slots = "" if memory_size is None else f", {memory_size} slots"
    unseen = "" if size in task.sizes() else " (not trained on)"
    title = f"{one.trained.title}: {described}{unseen}{slots}"
    name = "x".join(map(str, size.values())) + ("" if memory_size is None else f"_slots_{memory_size}")
    name += "" if seed == 0 else f"_seed_{seed}"
    written = [_save(_draw_answer(task, batch, logits, trace, title), folder / f"answer_{name}.png")]
    if trace is not None:
        start = int(batch.mask[:, 0].int().argmax())
        written.append(_save(draw_internals(trace, start, title=title), folder / f"internals_{name}.png"))
        if animate:
            written.append(_write(_animate(task, batch, logits, trace, title), folder / f"memory_{name}.gif"))
    return written


def _draw_answer(task: Task, batch: Batch, logits: Tensor, trace: Trace | MANNTrace | None, title: str) -> Figure:
    """What a model said, (T, O), to the one sequence of a batch."""
    target = batch.target[:, 0]
    if isinstance(task, NGrams):
        optimum = task.optimal_predictions(target)[:, 0]
        return draw_predictions(target[:, 0], logits[:, 0].sigmoid(), optimum, title=title)
    if isinstance(task, Omniglot):
        names = task.label_names(target), task.label_names(logits)
        drawings, instances = task.drawings(batch)[:, 0], task.instances(batch)[:, 0]
        return draw_episode(drawings, *names, instances, trace=trace, title=title)
    answers_count = task.measure == "wrong_answers"
    return draw_answer(
        batch.input[:, 0],
        target,
        task.probabilities(logits.unsqueeze(1))[:, 0],
        batch.mask[:, 0],
        input_names=task.channel_names(),
        target_names=_target_names(task),
        right=task.right(logits.unsqueeze(1), batch)[:, 0] if answers_count else None,
        title=title,
    )


def _animate(task: Task, batch: Batch, logits: Tensor, trace: Trace | MANNTrace, title: str) -> bytes:
    """The memory while a model gave this answer, (T, O), to the one sequence of a batch."""
    input, target, names = batch.input[:, 0], batch.target[:, 0], task.channel_names()
    drawings, captions, target_names = None, [], _target_names(task)
    if isinstance(task, NGrams):
        target_names = ["next bit"]
    if isinstance(task, Omniglot):
        drawings = task.drawings(batch)[:, 0]
        of_each = task.instances(batch)[:, 0].tolist(), task.label_names(target), task.label_names(logits)
        captions = [
            f"drawing {k}\nof label {label}\nanswer {answer}" for k, label, answer in zip(*of_each, strict=True)
        ]
        told = input.shape[1] - target.shape[1]
        input, target_names = input[:, told:], names[told:]
    return animate_memory(
        trace,
        input,
        target,
        task.probabilities(logits.unsqueeze(1))[:, 0],
        batch.mask[:, 0],
        drawings=drawings,
        captions=captions,
        input_names=names,
        target_names=target_names,
        title=title,
    )


@torch.inference_mode()
def _trace(model: SequenceModel, batch: Batch, memory_size: int | None) -> tuple[Tensor, Trace | MANNTrace | None]:
    """Logits (T, O) of a batch of one, and the trace of a core that has one."""
    core = model.core
    input = batch.input.to(next(model.parameters()).dtype)
    state = None if memory_size is None else core.initial_state(1, memory_size)  # type: ignore[operator]
    if hasattr(core, "trace"):
        hidden, _, trace = core.trace(model.embed(input), state)  # type: ignore[operator]
        logits = model.readout(hidden)
    else:
        (logits, _), trace = model(input, state), None
    return logits[:, 0], trace


def _target_names(task: Task) -> list[str]:
    """The bits under the names they have in the input; what a target has besides them under its number."""
    if isinstance(task, RepeatCopy):
        return [*task.channel_names()[: task.bits], "end marker"]
    bits = [name for name in task.channel_names() if name.startswith("bit ")][: task.target_size]
    return bits + [f"target {index}" for index in range(len(bits), task.target_size)]


def _save(figure: Figure, path: Path) -> Path:
    """Write a figure, whole or not at all."""
    return _write(png(figure), path)


def _write(data: bytes, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(data)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}. Name another folder with --out.") from error
    return path
