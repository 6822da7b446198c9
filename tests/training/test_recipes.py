"""Every recipe is a configuration, and trains."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tapehead.cli import main
from tapehead.tasks import TASKS
from tapehead.training.options.arguments import (
    config_from_dict,
    config_to_dict,
    find_recipe,
    parse,
    recipe_names,
)
from tapehead.training.options.models import MODELS
from tests.training import tiny


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_a_configuration_of_its_task_and_model(name):
    task, variant = name.split("/")
    model = variant.split("-")[0]
    path = find_recipe(task, model, name)
    config = parse([], task, model, path).config
    with open(path, encoding="utf-8") as file:
        recipe = yaml.safe_load(file)
    assert recipe, "a recipe that changes nothing"
    assert_holds(config_to_dict(config), recipe)
    assert config_from_dict(yaml.safe_load(yaml.safe_dump(config_to_dict(config)))) == config


def assert_holds(config: dict[str, Any], part: dict[str, Any]) -> None:
    """Every value of `part`, at any depth, is that of the configuration."""
    for name, value in part.items():
        if isinstance(value, dict):
            assert_holds(config[name], value)
        else:
            found = config[name]
            assert (list(found) if isinstance(found, tuple) else found) == value, name


def test_there_is_a_recipe_for_every_task_and_model():
    wanted = {f"{task}/{model}" for task in TASKS for model in MODELS if model != "mann" or task == "omniglot"}
    assert wanted <= set(recipe_names())


def test_a_model_without_a_recipe_is_trained_with_the_defaults(tmp_path):
    assert find_recipe("copy", "mann", None) is None
    assert tiny.train(tmp_path / "run", model="mann") == 0


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_trains(tmp_path, name, signed):
    task = name.split("/")[0]
    small = {**tiny.TASKS[task], "trainer.fast_dev_run": "true", "trainer.accelerator": "cpu", "model.hidden_size": 4}
    options = [f"--{option}={value}" for option, value in small.items()]
    assert main(["train", task, "--recipe", name, "--out", str(tmp_path / "run"), *options]) == 0
