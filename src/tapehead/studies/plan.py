"""What a study is: which recipes, which seeds, told what, and measured how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tapehead.errors import UsageError
from tapehead.tasks import TASKS
from tapehead.training.arguments import model_of_recipe, recipe_names
from tapehead.training.config import MODELS, RunConfig
from tapehead.training.report import check_memory_size, user_sizes
from tapehead.training.runs import plain_config
from tapehead.training.train import check

__all__ = ["Evaluation", "Plan", "PlannedRun", "Recipe", "make_plan"]

ELSEWHERE = {
    "--seed": "name the seeds with --seeds and --first-seed",
    "--model": "name the models with --models",
    "--recipe": "name the recipes with --models",
    "--resume": "give the study's folder to --out",
    "--print_config": "ask `tapehead train` for it",
    "--help": "ask `tapehead train TASK --help`",
}
"""Options of `tapehead train` that a study decides for every run by itself."""


class Recipe(NamedTuple):
    """One of the things compared."""

    name: str
    """what it is called in folders, tables and pictures"""
    model: str
    """of `MODELS`"""
    source: str
    """what the user named: a model, a recipe or a file"""
    config: dict[str, Any]
    """every option of its runs but the seed, as config.yaml holds them"""


class PlannedRun(NamedTuple):
    """One run of a study."""

    recipe: Recipe
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.recipe.name}-seed{self.seed}"


@dataclass(frozen=True)
class Evaluation:
    """How each run is scored after its training.

    Attributes:
        lengths: of the sequences
        repeats: of repeat copy; None takes the most trained on
        memory_size: slots, when other than trained with; recipes without a memory are scored as they are
        sequences: of each size
    """

    lengths: tuple[int, ...]
    repeats: tuple[int, ...] | None = None
    memory_size: int | None = None
    sequences: int = 100


@dataclass(frozen=True)
class Plan:
    """A study.

    Attributes:
        task: its name
        recipes: at least one, of different names
        first_seed: the others follow it
        seeds: how many
        options: training options passed to every run, as on the command line
        evaluation: None for none
    """

    task: str
    recipes: tuple[Recipe, ...]
    first_seed: int
    seeds: int
    options: tuple[str, ...] = ()
    evaluation: Evaluation | None = None

    def runs(self) -> list[PlannedRun]:
        """All of them, recipe by recipe."""
        seeds = range(self.first_seed, self.first_seed + self.seeds)
        return [PlannedRun(recipe, seed) for recipe in self.recipes for seed in seeds]

    def to_dict(self) -> dict[str, Any]:
        """As study.yaml holds it."""
        evaluation = None
        if self.evaluation is not None:
            evaluation = {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in vars(self.evaluation).items()
            }
        return {
            "task": self.task,
            "models": {recipe.name: recipe.source for recipe in self.recipes},
            "first_seed": self.first_seed,
            "seeds": self.seeds,
            "options": list(self.options),
            "evaluation": evaluation,
            "configurations": {recipe.name: recipe.config for recipe in self.recipes},
        }

    def differences(self, there: Mapping[str, Any]) -> list[str]:
        """What a folder's study.yaml has that this study would not go on with; empty if it goes on or is extended.

        Further models and further seeds extend a study. Options are compared by what they come to, not as they were
        written.
        """
        here = self.to_dict()
        found = list(_compare("task", there.get("task"), here["task"]))
        if found:
            return found
        configurations = there.get("configurations") or {}
        missing = [name for name in configurations if name not in here["configurations"]]
        found += [f"models: {name} there, not asked for" for name in missing]
        first, last = there.get("first_seed", 0), there.get("first_seed", 0) + there.get("seeds", 0) - 1
        end = self.first_seed + self.seeds - 1
        if first < self.first_seed or last > end:
            found.append(f"seeds: {first} to {last} there, {self.first_seed} to {end} asked for")
        found += _compare("evaluation", there.get("evaluation"), here["evaluation"])
        for name, config in configurations.items():
            if name in here["configurations"]:
                found += [f"{name}: {text}" for text in _compare("", config, here["configurations"][name])]
        return found


def _compare(name: str, there: Any, here: Any) -> Iterator[str]:
    """Each leaf that differs, by its dotted name."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*there, *here]):
            yield from _compare(f"{name}.{key}" if name else str(key), there.get(key), here.get(key))
    elif there != here:
        yield f"{name} is {there} there, {here} asked for"


def make_plan(
    task: str | None,
    models: Sequence[str],
    *,
    seeds: int = 10,
    first_seed: int = 0,
    options: Sequence[str] = (),
    evaluate: bool = True,
    lengths: Sequence[int] | None = None,
    repeats: Sequence[int] | None = None,
    memory_size: int | None = None,
    sequences: int = 100,
) -> Plan:
    """A plan, all of whose runs could be started: every option is parsed, and every model built, for each recipe.

    Args:
        task: its name
        models: each a model, a recipe of the task, or a YAML file
        seeds: how many
        first_seed: the lowest
        options: of `tapehead train`, passed to every run
        evaluate: score every run after its training
        lengths: to score at; None takes the task's own
        repeats: of repeat copy; None takes the most trained on
        memory_size: slots to score with
        sequences: of each size scored

    Raises:
        UsageError: something does not fit.
    """
    if task not in TASKS:
        raise UsageError(f"study: expected a task of {', '.join(TASKS)} as the first word, got {task}.")
    for option, value, least in (("--seeds", seeds, 1), ("--first-seed", first_seed, 0), ("--sequences", sequences, 1)):
        if value < least:
            raise UsageError(f"{option}: expected at least {least}, got {value}.")
    for word in options:
        instead = ELSEWHERE.get(word.partition("=")[0])
        if instead:
            raise UsageError(f"{word.partition('=')[0]}: a study decides it for each of its runs; {instead}.")
    configs: dict[str, RunConfig] = {}
    recipes = []
    for source in models:
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
        chosen = tuple(first.evaluation_lengths if lengths is None else lengths)
        evaluation = Evaluation(chosen, None if repeats is None else tuple(repeats), memory_size, sequences)
        _check_evaluation(evaluation, list(configs.values()))
    return Plan(task, tuple(recipes), first_seed, seeds, tuple(options), evaluation)


def _find(task: str, source: str) -> tuple[str, str, str]:
    """Name, model and recipe of what the user named."""
    path = Path(source)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(f"--models: {source}: cannot be read: {error}") from error
        told = data.get("model_name") if isinstance(data, dict) else None
        begins = path.stem.split("-")[0]
        return path.stem, told or (begins if begins in MODELS else "ntm"), source
    name = source.removeprefix(f"{task}/")
    if f"{task}/{name}" not in recipe_names():
        there = [other.removeprefix(f"{task}/") for other in recipe_names() if other.startswith(f"{task}/")]
        raise UsageError(f"--models: expected recipes of {task} ({', '.join(there)}) or YAML files, got {source}.")
    return name, model_of_recipe(task, None, f"{task}/{name}"), f"{task}/{name}"


def _check_evaluation(evaluation: Evaluation, configs: Sequence[RunConfig]) -> None:
    for config in configs:
        user_sizes(config.task, evaluation.lengths, evaluation.repeats)
    if evaluation.memory_size is None:
        return
    cores = [config.build_model().core for config in configs]
    with_memory = [core for core in cores if hasattr(core, "memory_size")]
    for core in with_memory or cores[:1]:
        check_memory_size(core, evaluation.memory_size)
