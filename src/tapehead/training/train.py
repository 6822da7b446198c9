"""`tapehead train`: from a command line to a trained model in a run's folder."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from tapehead.errors import DataError, Interrupted, RunError, TrainingError, UsageError, is_out_of_memory
from tapehead.program import command_of, typed
from tapehead.training.capacity import warn_of_training_memories
from tapehead.training.lightning import trainer as trainers
from tapehead.training.lightning.bar import RunConsole
from tapehead.training.lightning.checkpoints import GracefulStop, SavingStop
from tapehead.training.lightning.devices import why_on_cpu
from tapehead.training.lightning.module import Progress, TrainingModule
from tapehead.training.lightning.quiet import quiet_lightning
from tapehead.training.metrics import MEASURES
from tapehead.training.options.arguments import check_names, find_recipe, model_to_train, parse
from tapehead.training.options.config import RunConfig
from tapehead.training.runs import Run, write_json
from tapehead.training.updates import NonFiniteError

__all__ = ["Prepared", "begin", "check", "finish", "fit", "forget", "prepare", "train"]

FOLDER_VARIABLE = "TAPEHEAD_RUN_FOLDER"
"""Tells the further processes of a distributed run which folder the first one made."""


def train(
    argv: Sequence[str],
    *,
    task: str | None,
    model: str | None,
    recipe: str | None = None,
    resume: str | None = None,
    start: str | None = None,
) -> Path:
    """Train, or go on training.

    Args:
        argv: options as on the command line, such as ["--seed", "3", "--training.batch_size", "8"]
        task: its name; None with `resume`
        model: its name; None takes the task's, or with `resume` the run's
        recipe: "task/model" or a file; None takes the one of task and model
        resume: folder of a run to go on with; options change what it was told
        start: name of its checkpoint to go back to, such as "best"; None goes on from the latest

    Returns:
        the run's folder

    Raises:
        UsageError: the options do not fit.
        RunError: the folder exists already, is missing or damaged, or cannot be written.
        TrainingError: the loss is not finite.
        Interrupted: the user stopped it; the message says how to go on.
    """
    with quiet_lightning(), _kept(FOLDER_VARIABLE):
        prepared = prepare(argv, task=task, model=model, recipe=recipe, resume=resume, start=start)
        try:
            begin(prepared)
            fit(prepared)
            finish(prepared)
            say_what_next(prepared)
        except (DataError, RuntimeError) as error:
            if isinstance(error, DataError) or is_out_of_memory(error):
                forget(prepared)
            raise
        finally:
            prepared.run.release()
    return prepared.run.path


@dataclass
class Prepared:
    """A run whose options have all been accepted."""

    run: Run
    config: RunConfig
    trainer: Any
    module: TrainingModule
    checkpoint: Path | None
    """to go on from; None for a new run"""
    latest: Path | None
    """of the run's checkpoints by the time this was prepared"""
    command: list[str]
    """that trains such a run"""
    before: int
    """sequences trained on so far"""
    ended: bool
    """whether nothing is left to train, of a run that goes on: it stays as it is"""
    on_cpu: str | None = None
    """why it stays on the CPU though another device is there"""


def prepare(
    argv: Sequence[str],
    *,
    task: str | None,
    model: str | None,
    recipe: str | None = None,
    resume: str | None = None,
    start: str | None = None,
) -> Prepared:
    """Accept or refuse what `train` is told, which is what this takes; nothing is left behind."""
    latest = None
    if resume is None:
        if start is not None:
            raise UsageError("--from: a new run has no checkpoints. Name a run that goes back to one with --resume.")
        run, config, options = _new(argv, task, model_to_train(task or "", model, recipe, argv), recipe)
        checkpoint, contents = None, {"progress": {"sequences": 0}}
    else:
        run, config, options = _resumed(argv, task, model, recipe, resume)
        latest = run.latest_checkpoint()
        checkpoint = run.last_checkpoint() if start is None else run.checkpoint_named(start, "--from")
        contents = run.load_checkpoint(checkpoint, to_go_on=True)
    torch.manual_seed(config.seed)
    trainer, module = trainers.build(config, options, run)
    if checkpoint is not None:
        _check_fits(module, contents, checkpoint)
        module.on_load_checkpoint(contents)
    longer = config.trainer.get("min_steps") or config.trainer.get("min_epochs")
    ended = checkpoint is not None and module.has_ended() and not longer
    before = contents["progress"]["sequences"]
    command = _command(argv, config.task_name, model, recipe)
    return Prepared(
        run, config, trainer, module, checkpoint, latest, command, before, ended, why_on_cpu(config, options)
    )


def _command(argv: Sequence[str], task: str, model: str | None, recipe: str | None) -> list[str]:
    words = [*shlex.split(command_of(task)), "train", task]
    for option, value in (("--model", model), ("--recipe", recipe)):
        words += [option, value] if value else []
    return [*words, *argv]


def begin(prepared: Prepared, facts: dict[str, Any] | None = None) -> None:
    """Make the run's folder, or open it again, and hold it; whoever calls releases it.

    A new one's environment.json says the command, and the facts besides.

    Raises:
        RunError: the folder cannot be made, or another process trains in it.
    """
    if not _is_first_process():
        return
    run, config = prepared.run, prepared.config
    if prepared.trainer.world_size > 1:
        os.environ[FOLDER_VARIABLE] = str(run.path)
    if prepared.checkpoint is None:
        run.create(config, {"command": prepared.command, **(facts or {})})
    if prepared.trainer.num_nodes == 1:  # each of several has a first process, in the same folder
        run.hold()
    if prepared.checkpoint is not None:
        if run.latest_checkpoint() != prepared.latest:
            raise RunError(f"{run.path}: another `tapehead train` has gone on with it since. Repeat the command.")
        if not prepared.ended:
            try:
                prepared.checkpoint = run.go_back(prepared.checkpoint, prepared.before)
                run.reopen(config)
            except OSError as error:
                raise RunError(
                    f"{run.path}: cannot be written: {error.strerror}. A run goes on in its own folder; a copy of it "
                    "goes on as well."
                ) from error
    warn_of_training_memories(prepared.module.model.core, config)


def forget(prepared: Prepared) -> None:
    """Remove the folder of a new run that has trained nothing: the name is free again."""
    run = prepared.run
    if prepared.checkpoint is None and _is_first_process() and not any(run.checkpoints.glob("*.ckpt")):
        shutil.rmtree(run.path, ignore_errors=True)


def check(argv: Sequence[str], *, task: str, model: str, recipe: str | None = None) -> RunConfig:
    """What `train` would follow, after everything that it would refuse has been refused; nothing is left behind.

    Args:
        argv: options as on the command line
        task: its name
        model: its name
        recipe: "task/model" or a file; None takes the one of task and model

    Raises:
        UsageError: the options do not fit.
    """
    parsed = parse(argv, task, model, find_recipe(task, model, recipe))
    with quiet_lightning():
        trainers.build(parsed.config, parsed.trainer, Run(parsed.out or "runs/none"))
    return parsed.config


def _new(
    argv: Sequence[str], task: str | None, model: str, recipe: str | None
) -> tuple[Run, RunConfig, dict[str, Any]]:
    check_names("train", argv, task, model)
    assert task is not None
    parsed = parse(argv, task, model, find_recipe(task, model, recipe))
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = parsed.out or f"runs/{task}-{model}-seed{parsed.config.seed}-{stamp}"
    if _is_first_process():
        run = Run(path)
        run.check_new()
    else:
        run = Run(os.environ.get(FOLDER_VARIABLE, path))
    return run, parsed.config, parsed.trainer


def _is_first_process() -> bool:
    """Whether this is the only process on its machine, or the one that the others follow."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _resumed(
    argv: Sequence[str], task: str | None, model: str | None, recipe: str | None, resume: str
) -> tuple[Run, RunConfig, dict[str, Any]]:
    run = Run.open(resume)
    old = run.config()
    for option, asked, have in (("task", task, old.task_name), ("--model", model, old.model_name)):
        if asked not in (None, have):
            raise UsageError(f"{option}: {resume} is a run of {have}, not of {asked}. Leave {option} out.")
    if recipe is not None:
        raise UsageError("--recipe: a run goes on with its own configuration; leave --recipe out.")
    parsed = parse(argv, old.task_name, old.model_name, str(run.config_path))
    if parsed.out is not None:
        raise UsageError("--out: a run goes on in its own folder; leave --out out.")
    for name in ("seed", "task", "model", "embedding"):
        if getattr(parsed.config, name) != getattr(old, name):
            raise UsageError(f"--{name}: cannot change when a run goes on. Start a new run instead.")
    if parsed.config.optimiser.name != old.optimiser.name:
        raise UsageError("--optimiser.name: cannot change when a run goes on. Start a new run instead.")
    return run, parsed.config, parsed.trainer


def _check_fits(module: TrainingModule, contents: dict[str, Any], checkpoint: Path) -> None:
    unknown = ", ".join(contents["progress"].keys() - {field.name for field in fields(Progress)})
    if unknown:
        raise RunError(f"{checkpoint}: of a later tapehead, whose runs keep {unknown} as well. Go on with that one.")
    seed, trained = module.config.seed, contents.get("seed")  # earlier versions did not say it
    if trained not in (None, seed):
        raise RunError(
            f"{checkpoint}: trained with seed {trained}, and config.yaml says {seed}. Put {trained} back there."
        )
    try:
        module.load_state_dict(contents["state_dict"])
    except RuntimeError as error:
        raise RunError(f"{checkpoint}: of another model than this tapehead makes of its options: {error}") from error


def fit(prepared: Prepared) -> None:
    """Have Lightning train it, unless nothing is left to train.

    Raises:
        DataError: what its task is made of is missing.
        TrainingError: the loss is not finite.
        Interrupted: the user stopped it; the message says how to go on.
    """
    trainer, run = prepared.trainer, prepared.run
    if prepared.ended:
        return
    if prepared.on_cpu is not None and trainer.is_global_zero:
        RunConsole(highlight=False, soft_wrap=True).print(prepared.on_cpu)
    try:
        with contextlib.ExitStack() as stack:
            for callback in trainer.callbacks:
                if isinstance(callback, GracefulStop):
                    stack.enter_context(callback.handling_signals())
            trainer.fit(prepared.module, ckpt_path=prepared.checkpoint, weights_only=True)
    except Interrupted:
        if not any(isinstance(callback, SavingStop) for callback in trainer.callbacks):
            raise Interrupted("Stopped; nothing is saved, because checkpoints are turned off.") from None
        raise Interrupted(
            f"Stopped and saved. Go on with: {command_of(prepared.config.task_name)} train --resume {typed(run.path)}"
        ) from None
    except SystemExit:  # Lightning's way out of a second Ctrl-C
        raise Interrupted("Stopped at once.") from None
    except NonFiniteError as error:
        kept = sorted(path.name for path in run.checkpoints.glob("*.ckpt"))
        raise TrainingError(
            f"Training stopped: {error}. Checkpoints from before: {', '.join(kept) or 'none'}, in {run.checkpoints}. "
            "Try a lower --optimiser.learning_rate, a lower --optimiser.clip_limit, or another --seed."
        ) from error


def finish(prepared: Prepared) -> None:
    """Write what came out, and say it."""
    run, module, before = prepared.run, prepared.module, prepared.before
    if not prepared.trainer.is_global_zero:
        return
    config = run.config() if prepared.ended else module.config  # options that an ended run is given count for nothing
    progress = module.progress
    solved = progress.solved_at_sequences is not None
    summary = {
        "task": config.task_name,
        "model": config.model_name,
        "seed": config.seed,
        "solved": solved,
        "solved_at_sequences": progress.solved_at_sequences,
        "solved_at_seconds": progress.solved_at_seconds,
        "sequences": progress.sequences,
        "seconds": progress.seconds,
        "bit_errors": progress.bit_errors,
        "bits": progress.bits,
        "excess_bits": progress.excess_bits,
        "wrong_answers": progress.wrong_answers,
        "measure": config.task.measure,
        "parameters": sum(parameter.numel() for parameter in module.model.parameters()),
        "skipped_updates": progress.skipped,
    }
    if not (prepared.ended and (run.path / "summary.json").is_file()):
        write_json(run.path / "summary.json", summary)
    console = RunConsole(highlight=False, soft_wrap=True)
    measure, error = MEASURES[config.task.measure], getattr(progress, config.task.measure)
    if solved:
        console.print(
            f"[bold green]Solved[/] {config.task_name} after {progress.solved_at_sequences:,} sequences and "
            f"{progress.solved_at_seconds:.1f} s: at most {config.training.solved_below} {measure} a sequence."
        )
    else:
        found = "none" if error is None else f"{error:.3f} {measure} a sequence"
        ended = "Not solved" if config.training.solved_below else "Done"  # there is nothing like solving it
        console.print(f"[bold]{ended}[/] after {progress.sequences:,} sequences. Latest validation: {found}.")
    if before and progress.sequences == before:
        more = "add --training.stop_when_solved false" if progress.finished else "name more: --training.sequences"
        trainer = prepared.trainer
        if not module.has_ended():  # one of Lightning's own limits
            limits = {"max_steps": trainer.global_step, "max_epochs": trainer.current_epoch}
            reached = (name for name, now in limits.items() if 0 <= (getattr(trainer, name) or -1) <= now)
            more = f"raise --trainer.{next(reached, 'max_time')}"
        console.print(f"Nothing was left to train. To go on, {more}.")
    console.print(f"Run: {run.path}", markup=False)


def say_what_next(prepared: Prepared) -> None:
    """The commands that look at a run, for whoever has just trained their first one."""
    run = prepared.run
    if not prepared.trainer.is_global_zero or not any(run.checkpoints.glob("*.ckpt")):
        return  # it was told to save nothing
    commands = ["evaluate", "plot"] if (run.logs / "csv").is_dir() else ["evaluate"]
    program, console = command_of(prepared.config.task_name), RunConsole(highlight=False, soft_wrap=True, markup=False)
    console.print("Next: " + "\n      ".join(f"{program} {command} {typed(run.path)}" for command in commands))


@contextlib.contextmanager
def _kept(variable: str) -> Iterator[None]:
    """A variable of the environment as it is now, once this is over."""
    before = os.environ.get(variable)
    try:
        yield
    finally:
        os.environ.pop(variable, None)
        if before is not None:
            os.environ[variable] = before
