"""What a study is: which recipes, which seeds, told what, and measured how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Evaluation", "Plan", "PlannedRun", "Recipe"]


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
        """The name of its folder."""
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

        Further models, further seeds, and scores where there were none extend a study. Options are compared by what
        they come to, not as they were written.
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
        if there.get("evaluation") is not None:
            found += _compare("evaluation", there["evaluation"], here["evaluation"])
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
