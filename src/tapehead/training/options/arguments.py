"""The command line of `tapehead train`: dataclasses and recipes in, one `RunConfig` out."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
from argparse import SUPPRESS
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import ArgumentParser, Namespace

from tapehead.errors import UnknownNameError, UsageError, did_you_mean
from tapehead.tasks import TASKS, Task
from tapehead.training.options.config import RunConfig
from tapehead.training.options.help import BriefHelp, Elsewhere, ShowFullHelp
from tapehead.training.options.kinds import GROUPS, Seed, option_kinds, placeholder
from tapehead.training.options.models import MODELS, default_model
from tapehead.training.options.reading import load_yaml
from tapehead.training.options.refusals import check_files, config_files, refusal, with_option

__all__ = ["check_names", "check_task", "config_from_dict", "config_to_dict", "find_recipe", "parse", "recipe_names"]

TRAINER_DEFAULTS: dict[str, Any] = {
    "accelerator": "auto",
    "devices": 1,
    "max_epochs": -1,
    "log_every_n_steps": 25,
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,
}
"""What differs from Lightning's own defaults."""


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


TAKEN_BEFORE = {
    "--recipe": ("RECIPE", "what the defaults come from: task/model of the package, or a YAML file"),
    "--resume": ("RUN", "go on with the run in this folder"),
    "--from": ("CHECKPOINT", "with --resume: go back to this checkpoint, such as best"),
}
"""Options that the command line's first parser takes (`tapehead.cli`); they are in the help of this one as well."""

TRAINER_HELP = (
    "Every option of lightning.pytorch.Trainer is there as --trainer.NAME, such as --trainer.accelerator cpu, "
    "--trainer.precision 64-true and --trainer.max_time 00:01:00:00. --help-all lists them."
)

WITHOUT_DOCSTRINGS = (
    "The explanations of the options are missing, because Python removes them under -OO and PYTHONOPTIMIZE=2."
)


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
    known = recipe_names()
    if recipe is None and name not in known:
        return None
    of_task = ", ".join(other for other in known if other.startswith(f"{task_name}/"))
    if name not in known:
        message = f"--recipe: no recipe {name!r}, and no such file. Of {task_name} there are: {of_task}."
        raise UnknownNameError(message, name, known)
    if name.split("/")[0] != task_name:
        raise UsageError(f"--recipe: {name} is for {name.split('/')[0]}. Of {task_name} there are: {of_task}.")
    return _recipe_path(name)


def _recipe_path(name: str) -> str:
    return str(resources.files("tapehead") / "recipes" / f"{name}.yaml")


def model_to_train(task_name: str, model_name: str | None, recipe: str | None, argv: Sequence[str] = ()) -> str:
    """The model named, else the one that the recipe is for, else the one that a --config file is for, else the task's.

    Raises:
        UsageError: the recipe is for another model than the one named.
    """
    for_model = None
    if recipe and Path(recipe).is_file():
        for_model = model_in_file(recipe)
    elif recipe:
        for_model = next((name for name in MODELS if recipe.split("/")[-1].split("-")[0] == name), None)
    if model_name and for_model not in (None, model_name):
        raise UsageError(f"--recipe: {recipe} is for {for_model}, not for {model_name}. Leave --model out.")
    in_files = (model_in_file(file) for file in config_files(argv))
    return model_name or for_model or next(filter(None, in_files), None) or default_model(task_name)


def model_in_file(path: str) -> str | None:
    """The model that a YAML file is for, as a run's config.yaml says; None if it says nothing, or cannot be read."""
    try:
        data = load_yaml(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):  # the parser says what is wrong with it
        return None
    name = data.get("model_name") if isinstance(data, dict) else None
    return name if isinstance(name, str) else None


def check_task(command: str, argv: Sequence[str], task: str | None) -> str:
    """The task's name; raises UnknownNameError unless it is known.

    Args:
        command: "train", "study" or "tune"
        argv: what else it was given, of which the first word may have been meant for the task
        task: its name
    """
    if task in TASKS:
        return task
    got = task or (argv[0] if argv else "nothing")
    message = f"{command}: expected a task of {', '.join(TASKS)} as the first word, got {got}."
    if task and not did_you_mean(task, TASKS):
        message += f" If it is a task of your own, call its file: `python FILE.py {command} ...`."
    raise UnknownNameError(message, got, TASKS)


def check_names(command: str, argv: Sequence[str], task: str | None, model: str) -> None:
    """Raise UnknownNameError unless task and model are known.

    Args:
        command: "train" or "tune"
        argv: what else it was given, of which the first word may have been meant for the task
        task: its name
        model: its name
    """
    check_task(command, argv, task)
    if model not in MODELS:
        raise UnknownNameError(f"--model: expected one of {', '.join(MODELS)}, got {model}.", model, MODELS)


def build_parser(
    task_name: str, model_name: str, *, defaults: str | None = None, trainer: bool = True
) -> ArgumentParser:
    """The parser for one task and one model; the next call for both returns the same one, with other defaults.

    Args:
        task_name: of `TASKS`
        model_name: of `MODELS`
        defaults: path of a YAML file that overrides the dataclasses' defaults: a recipe, or a run's configuration
        trainer: whether the Trainer's options are part of it, which imports Lightning
    """
    parser = _parser(task_name, TASKS[task_name], model_name, trainer)
    parser.description = f"Train a model on {task_name}. {_where_defaults_are_from(defaults)}"
    if sys.flags.optimize >= 2:
        parser.description += f" {WITHOUT_DOCSTRINGS}"
    parser.default_config_files = [defaults] if defaults else []
    return parser


@functools.lru_cache(maxsize=64)  # one takes a tenth of a second, and a command may read the options of many runs
def _parser(task_name: str, task: type[Task], model_name: str, trainer: bool) -> ArgumentParser:
    parser = ArgumentParser(
        prog=f"tapehead train {task_name}",
        usage=f"tapehead train {task_name} [options]",
        exit_on_error=False,
        formatter_class=BriefHelp,
    )
    for name, (metavar, text) in TAKEN_BEFORE.items():
        parser.add_argument(name, action=Elsewhere, metavar=metavar, help=text)
    parser.add_argument("--help-all", action=ShowFullHelp, help="this, and every option of Lightning's Trainer")
    parser.add_argument("--config", action="config", metavar="FILE", help="a YAML file with any of the options below")
    # In the files of runs, so that one can be given to --config: another task's or model's is refused.
    parser.add_argument("--task_name", choices=[task_name], default=task_name, help=SUPPRESS)
    parser.add_argument("--model_name", choices=[model_name], default=model_name, help=SUPPRESS)
    parser.add_argument(
        "--seed",
        type=Seed,
        default=0,
        help="of parameters and data; on a CPU a run repeats to the bit with the same number of threads",
    )
    parser.add_argument(
        "--out",
        type=str | None,
        default=None,
        help=f"the run's folder; must not exist (default: runs/{task_name}-{model_name}-seedSEED-DATE-TIME)",
    )
    parser.add_class_arguments(task, "task", help=f"Task {task_name}")
    parser.add_class_arguments(MODELS[model_name], "model", help=f"Model {model_name}")
    groups: Any = parser.groups
    for name, group in GROUPS.items():
        first = name.capitalize() if sys.flags.optimize >= 2 else str(group.__doc__).splitlines()[0]
        title, _, text = first.rstrip(".").partition(". ")
        parser.add_class_arguments(group, name, help=title)
        groups[name].description = text or None
    if "model.initial" in groups:
        groups["model.initial"].title = f"Model {model_name}: what starts a sequence"
    if trainer:
        _add_trainer(parser)
    kinds = option_kinds(task_name, model_name, trainer=trainer)
    for action in parser._actions:
        if action.dest in kinds and action.dest != "config":
            action.metavar = "DIR" if action.dest == "out" else placeholder(kinds[action.dest])
        elif action.dest == "model":  # cli.py has taken --model before this parser sees the line
            action.metavar, action.help = "{" + ",".join(MODELS) + "}", "which model; each has options of its own"
        elif action.dest == "print_config":
            action.help = "print the configuration that the options come to, and train nothing"
    return parser


def _add_trainer(parser: ArgumentParser) -> None:
    from lightning.pytorch import Trainer

    parser.add_class_arguments(
        Trainer, "trainer", instantiate=False, skip=set(BATCH_COUNTS), help="Lightning's Trainer"
    )
    group: Any = (parser.groups or {})["trainer"]
    group.description = TRAINER_HELP
    for name, kind in BATCH_COUNTS.items():
        default = inspect.signature(Trainer.__init__).parameters[name].default
        text = "A number of batches, or with a point a share of them."
        group.add_argument(f"--trainer.{name}", type=kind, default=default, help=text)
    parser.set_defaults({f"trainer.{name}": value for name, value in TRAINER_DEFAULTS.items()})


def _where_defaults_are_from(path: str | None) -> str:
    if path is None:
        return "There is no recipe for it; what is left out is as the code has it."
    recipe = next((name for name in recipe_names() if _recipe_path(name) == path), None)
    source = path if recipe is None else f"the recipe {recipe}"
    return f"What is left out comes from {source}, and so do the defaults below."


def parse(argv: Sequence[str], task_name: str, model_name: str, defaults: str | None) -> Parsed:
    """Options -> configuration; what they leave out comes from the YAML file `defaults`, or the dataclasses.

    Raises:
        UsageError: an option that does not exist, or a value that does not fit.
    """
    kinds, own = option_kinds(task_name, model_name), config_files(argv)
    files = own if defaults is None else [defaults, *own]
    check_files(files, kinds)
    parser = build_parser(task_name, model_name, defaults=defaults)
    try:
        namespace = parser.parse_args(list(argv))
        objects = parser.instantiate(namespace)
    except Exception as error:
        raise refusal(error, kinds, argv, files) from error
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
    task_name, model_name = (str(data.get(key)) for key in ("task_name", "model_name"))
    for what, name, known in (("task", task_name, TASKS), ("model", model_name, MODELS)):
        if name not in known:
            message = f"of a {what} {name!r} that is not known here. Known are {', '.join(known)}."
            if what == "task":
                message += " If it is a task of your own, call its file: `python FILE.py evaluate ...`."
            raise UnknownNameError(message, name, known)
    kinds = option_kinds(task_name, model_name, trainer=False)
    try:
        parser = build_parser(task_name, model_name, trainer=False)
        plain = {key: value for key, value in data.items() if key != "trainer"}
        objects = parser.instantiate(parser.parse_object(plain))
    except Exception as error:
        raise UsageError(f"not a configuration of this tapehead: {refusal(error, kinds)}") from error
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
        kinds = option_kinds(task_name, model_name, trainer=False)
        raise UsageError(with_option(str(error), kinds)) from error
