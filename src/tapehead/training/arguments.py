"""The command line of `tapehead train`: dataclasses and recipes in, one `RunConfig` out."""

from __future__ import annotations

import dataclasses
import inspect
from argparse import SUPPRESS
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import restricted_number_type

from tapehead.errors import UsageError
from tapehead.tasks import TASKS
from tapehead.training.config import CurriculumConfig, OptimiserConfig, RunConfig, ScheduleConfig, TrainingConfig
from tapehead.training.models import MODELS, EmbeddingConfig, default_model

__all__ = ["config_from_dict", "config_to_dict", "find_recipe", "parse", "recipe_names"]

GROUPS: dict[str, type] = {
    "embedding": EmbeddingConfig,
    "optimiser": OptimiserConfig,
    "schedule": ScheduleConfig,
    "curriculum": CurriculumConfig,
    "training": TrainingConfig,
}

TRAINER_DEFAULTS: dict[str, Any] = {
    "accelerator": "auto",
    "devices": 1,
    "max_epochs": -1,
    "log_every_n_steps": 25,
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,
}
"""What differs from Lightning's own defaults."""


Seed = restricted_number_type("Seed", int, [(">=", 0), ("<", 2**63)])


BATCH_COUNTS: dict[str, Any] = {
    "limit_train_batches": int | float | None,
    "limit_val_batches": int | float | None,
    "limit_test_batches": int | float | None,
    "limit_predict_batches": int | float | None,
    "overfit_batches": int | float,
    "val_check_interval": int | float | str | dict[str, int] | None,
}
"""Trainer options in which 1 is one batch and 1.0 all of them. Lightning annotates them with typing.Union, whose cache
hands out int and float in whatever order was asked for first in the process; these types keep theirs."""


class Parsed(NamedTuple):
    """What a command line came to."""

    config: RunConfig
    trainer: dict[str, Any]
    """Trainer options with their classes instantiated"""
    out: str | None


def recipe_names() -> list[str]:
    """Every recipe of the package, as "task/model"."""
    root = resources.files("tapehead") / "recipes"
    folders = [folder for folder in root.iterdir() if folder.is_dir() and folder.name in TASKS]
    names = (f"{folder.name}/{file.name}" for folder in folders for file in folder.iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def find_recipe(task_name: str, model_name: str, recipe: str | None) -> str | None:
    """The path of a recipe: the one named, "task/model" or a file, or the default one of task and model, if there is.

    Raises:
        UsageError: there is none, or it is another task's.
    """
    name = recipe or f"{task_name}/{model_name}"
    if recipe and Path(recipe).is_file():
        return recipe
    if "/" not in name:
        name = f"{task_name}/{name}"
    if recipe is None and name not in recipe_names():
        return None
    of_task = ", ".join(known for known in recipe_names() if known.startswith(f"{task_name}/"))
    if name not in recipe_names():
        raise UsageError(f"--recipe: no recipe {name!r}, and no such file. Of {task_name} there are: {of_task}.")
    if name.split("/")[0] != task_name:
        raise UsageError(f"--recipe: {name} is for {name.split('/')[0]}. Of {task_name} there are: {of_task}.")
    return str(resources.files("tapehead") / "recipes" / f"{name}.yaml")


def model_of_recipe(task_name: str, model_name: str | None, recipe: str | None) -> str:
    """The model to train: the one named, else the one that a recipe of the package is for, else the task's.

    Raises:
        UsageError: the recipe is for another model than the one named.
    """
    for_model = None
    if recipe and not Path(recipe).is_file():
        for_model = next((name for name in MODELS if recipe.split("/")[-1].split("-")[0] == name), None)
    if model_name and for_model not in (None, model_name):
        raise UsageError(f"--recipe: {recipe} is for {for_model}, not for {model_name}. Leave --model out.")
    return model_name or for_model or default_model(task_name)


def build_parser(
    task_name: str, model_name: str, *, defaults: str | None = None, trainer: bool = True
) -> ArgumentParser:
    """The parser for one task and one model.

    Args:
        task_name: of `TASKS`
        model_name: of `MODELS`
        defaults: path of a YAML file that overrides the dataclasses' defaults: a recipe, or a run's configuration
        trainer: whether the Trainer's options are part of it, which imports Lightning
    """
    parser = ArgumentParser(
        prog=f"tapehead train {task_name}",
        description=(
            f"Train a model on {task_name}. Recipe: {defaults or 'none, the defaults below'}. "
            "`tapehead train --help` tells of --recipe and --resume, which come beside these options."
        ),
        default_config_files=[defaults] if defaults else [],
        exit_on_error=False,
    )
    parser.add_argument("--config", action="config", help="A YAML file with any of the options below.")
    # In the files of runs, so that one can be given to --config: another task's or model's is refused.
    parser.add_argument("--task_name", choices=[task_name], default=task_name, help=SUPPRESS)
    parser.add_argument("--model_name", choices=[model_name], default=model_name, help=SUPPRESS)
    parser.add_argument("--seed", type=Seed, default=0, help="Of parameters and data; a run repeats to the bit on CPU.")
    parser.add_argument("--out", type=str | None, default=None, help="The run's folder; must not exist.")
    parser.add_class_arguments(TASKS[task_name], "task", help=f"The task: {task_name}")
    parser.add_class_arguments(MODELS[model_name], "model", help=f"The model: {model_name}")
    for action in parser._actions:
        if action.dest == "model":  # cli.py has taken --model before this parser sees the line
            action.metavar, action.help = "{" + ",".join(MODELS) + "}", "Which model; each has options of its own."
    for name, group in GROUPS.items():
        parser.add_class_arguments(group, name, help=(group.__doc__ or "").splitlines()[0])
    if trainer:
        from lightning.pytorch import Trainer

        parser.add_class_arguments(
            Trainer, "trainer", instantiate=False, skip=set(BATCH_COUNTS), help="Lightning's Trainer"
        )
        for name, kind in BATCH_COUNTS.items():
            default = inspect.signature(Trainer.__init__).parameters[name].default
            parser.add_argument(
                f"--trainer.{name}", type=kind, default=default, help="A number of batches, or a share."
            )
        parser.set_defaults({f"trainer.{name}": value for name, value in TRAINER_DEFAULTS.items()})
    return parser


def parse(argv: Sequence[str], task_name: str, model_name: str, defaults: str | None) -> Parsed:
    """Options -> configuration; what they leave out comes from the YAML file `defaults`, or the dataclasses.

    Raises:
        UsageError: an option that does not exist, or a value that does not fit.
    """
    parser = build_parser(task_name, model_name, defaults=defaults)
    try:
        namespace = parser.parse_args(list(argv))
        objects = parser.instantiate(namespace)
    except Exception as error:
        raise UsageError(str(error).strip()) from error
    trainer = namespace.trainer.as_dict()
    return Parsed(
        _config(objects, task_name, model_name, trainer),
        dict(vars(objects.trainer)),
        namespace.out,
    )


def config_to_dict(config: RunConfig) -> dict[str, Any]:
    """A configuration as plain data, for YAML."""
    return dataclasses.asdict(config)


def config_from_dict(data: dict[str, Any]) -> RunConfig:
    """The configuration that `config_to_dict` made plain.

    Raises:
        UsageError: it is not one.
    """
    if data.get("task_name") not in (None, *TASKS):
        raise UsageError(f"of a task {data['task_name']!r} that is not known here. Known are {', '.join(TASKS)}.")
    try:
        task_name, model_name = data["task_name"], data["model_name"]
        parser = build_parser(task_name, model_name, trainer=False)
        plain = {key: value for key, value in data.items() if key != "trainer"}
        objects = parser.instantiate(parser.parse_object(plain))
    except Exception as error:
        raise UsageError(f"not a configuration of tapehead: {type(error).__name__}: {error}") from error
    return _config(objects, task_name, model_name, data.get("trainer") or {})


def _config(objects: Namespace, task_name: str, model_name: str, trainer: dict[str, Any]) -> RunConfig:
    groups = {name: objects[name] for name in GROUPS}
    try:
        return RunConfig(
            task_name=task_name,
            model_name=model_name,
            seed=int(objects.seed),
            task=objects.task,
            model=objects.model,
            trainer=trainer,
            **groups,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
