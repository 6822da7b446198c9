"""From what a user asks for to a plan, none of whose runs would be refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from tapehead.errors import UnknownNameError, UsageError
from tapehead.studies.plan import Evaluation, Plan, Recipe
from tapehead.training.capacity import check_memory_size
from tapehead.training.options.arguments import check_task, model_in_file, model_to_train, recipe_names
from tapehead.training.options.config import RunConfig
from tapehead.training.options.models import MODELS, default_model
from tapehead.training.report import user_sizes
from tapehead.training.runs import plain_config
from tapehead.training.train import check

__all__ = ["make_plan"]

MOST_SEEDS = 100_000
"""Each is a process and a folder."""

ELSEWHERE = {
    "--seed": "name the seeds with --seeds and --first-seed",
    "--model": "name the models with --models",
    "--recipe": "name the recipes with --models",
    "--resume": "give the study's folder to --out",
    "--print_config": "ask `tapehead train` for it",
    "--help": "ask `tapehead train TASK --help`",
    "--help-all": "ask `tapehead train TASK --help-all`",
}
"""Options of `tapehead train` that a study decides for every run by itself."""


def make_plan(
    task: str | None,
    models: Sequence[str] | None,
    *,
    seeds: int = 10,
    first_seed: int = 0,
    options: Sequence[str] = (),
    evaluate: bool = True,
    lengths: Sequence[int] | None = None,
    repeats: Sequence[int] | None = None,
    memory_size: int | None = None,
    sequences: int | None = None,
) -> Plan:
    """A plan, all of whose runs could be started: every option is parsed, and every model built, for each recipe.

    Args:
        task: its name
        models: each a model, a recipe of the task, or a YAML file; None takes the task's model
        seeds: how many
        first_seed: the lowest
        options: of `tapehead train`, passed to every run
        evaluate: score every run after its training
        lengths: to score at; None takes the task's own
        repeats: of repeat copy; None takes the most trained on
        memory_size: slots to score with
        sequences: of each size scored; None takes as many as the task says

    Raises:
        UsageError: something does not fit.
    """
    task = check_task("study", options, task)
    for option, value, least in (("--seeds", seeds, 1), ("--first-seed", first_seed, 0), ("--sequences", sequences, 1)):
        if value is not None and value < least:
            raise UsageError(f"{option}: expected at least {least}, got {value}.")
    for option, value, most in (("--seeds", seeds, MOST_SEEDS), ("--first-seed", first_seed, 2**63 - seeds)):
        if value > most:
            raise UsageError(f"{option}: expected at most {most:,}, got {value}.")
    for word in options:
        instead = ELSEWHERE.get(word.partition("=")[0])
        if instead:
            raise UsageError(f"{word.partition('=')[0]}: a study decides it for each of its runs; {instead}.")
    configs: dict[str, RunConfig] = {}
    recipes = []
    for source in models or [default_model(task)]:
        name, model, recipe = _find(task, source)
        if name in configs:
            raise UsageError(f"--models: {name} is named twice; its runs would have the same folders. Leave one out.")
        configs[name] = check(options, task=task, model=model, recipe=recipe)
        config = yaml.safe_load(yaml.safe_dump(plain_config(configs[name])))  # as it will be read back
        config.pop("seed")
        recipes.append(Recipe(name, model, source, config))
    evaluation = None
    if evaluate:
        first = next(iter(configs.values())).task
        chosen = tuple(first.lengths_to_evaluate() if lengths is None else lengths)
        counted = first.evaluation_sequences if sequences is None else sequences
        evaluation = Evaluation(chosen, None if repeats is None else tuple(repeats), memory_size, counted)
        _check_evaluation(evaluation, list(configs.values()))
    return Plan(task, tuple(recipes), first_seed, seeds, tuple(options), evaluation)


def _find(task: str, source: str) -> tuple[str, str, str | None]:
    """Name, model and recipe of what the user named; None is no recipe."""
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            got = "a folder" if path.is_dir() else "no such file"
            raise UsageError(f"--models: expected a YAML file, got {source}, which is {got}.")
        begins = path.stem.split("-")[0]
        model = model_in_file(source) or (begins if begins in MODELS else default_model(task))
        if model not in MODELS:
            raise UsageError(f"model_name in {source}: expected one of {', '.join(MODELS)}, got {model}.")
        return path.stem, model, source
    name = source.removeprefix(f"{task}/")
    if name in MODELS and f"{task}/{name}" not in recipe_names():
        return name, name, None  # with the defaults
    if f"{task}/{name}" not in recipe_names():
        there = [other.removeprefix(f"{task}/") for other in recipe_names() if other.startswith(f"{task}/")]
        message = f"--models: expected recipes of {task} ({', '.join(there)}) or YAML files, got {source}."
        raise UnknownNameError(message, name, there)
    return name, model_to_train(task, None, f"{task}/{name}"), f"{task}/{name}"


def _check_evaluation(evaluation: Evaluation, configs: Sequence[RunConfig]) -> None:
    for config in configs:
        user_sizes(config.task, evaluation.lengths, evaluation.repeats)
    if evaluation.memory_size is None:
        return
    cores = [config.build_model().core for config in configs]
    with_memory = [core for core in cores if hasattr(core, "memory_size")]
    for core in with_memory or cores[:1]:
        check_memory_size(core, evaluation.memory_size)
