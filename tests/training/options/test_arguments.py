"""Every field of every dataclass is an option with help, and every recipe is one."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from typing import Any

import pytest
import yaml

from tapehead.cli import main
from tapehead.tasks import TASKS
from tapehead.training.options.arguments import (
    build_parser,
    config_from_dict,
    config_to_dict,
    find_recipe,
    parse,
    recipe_names,
)
from tapehead.training.options.kinds import option_kinds
from tapehead.training.options.models import MODELS
from tests.training import tiny


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", MODELS)
def test_every_field_is_an_option_with_help(task, model):
    parser = build_parser(task, model, trainer=False)
    config = parse(["--trainer.accelerator=cpu"], task, model, find_recipe(task, model, None)).config
    actions = {action.dest: action for action in parser._actions}
    for group in ("task", "model", "optimiser", "schedule", "curriculum", "training"):
        for field in dataclasses.fields(getattr(config, group)):
            action = actions[f"{group}.{field.name}"]
            assert action.help, f"{group}.{field.name} has no help"


def help_of(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 0
    return capsys.readouterr().out


@pytest.fixture
def columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", MODELS)
def test_help_lists_every_option_of_tapehead_and_no_type_of_python(task, model, columns, capsys):
    text = help_of(["train", task, "--model", model, "--help"], capsys)
    names = set(re.findall(r"^  --([\w.]+)(?: [\[{A-Z]|$)", text, re.MULTILINE))
    wanted = option_kinds(task, model, trainer=False).keys() - {"task_name", "model_name"}
    assert wanted <= names <= wanted | {"model", "recipe", "resume", "from"}
    assert "--model {ntm,mann,lstm}" in text
    for python in ("Optional", "Literal", "Union", "tuple", "None", "class ", "type:", "CONFIG"):
        assert python not in text
    usage, _, rest = text.partition("\n\n")
    assert usage.count("\n") <= 1
    assert len(rest.splitlines()) < 260
    assert max(map(len, text.splitlines())) <= 80


def test_help_tells_defaults_of_the_recipe_choices_and_kinds(columns, capsys):
    text = " ".join(help_of(["train", "copy", "--help"], capsys).split())
    assert "comes from the recipe copy/ntm" in text
    assert "--training.sequences N to train on at the most (default: 30000)" in text
    assert "--optimiser.clip {norm,value,none}" in text
    assert "--optimiser.betas [X,X] decay of the running means of Adam and AdamW (default: [0.9, 0.999])" in text
    assert "--training.solved_memory_sizes [N,...]|null" in text
    assert '{"density": "random"}' in text
    assert "--trainer.NAME" in text
    assert "--trainer.max_epochs" not in text
    assert "--out DIR the run's folder; must not exist (default: runs/copy-ntm-seedSEED-DATE-TIME)" in text
    own = " ".join(help_of(["train", "copy", "--recipe", "copy/ntm-paper", "--help"], capsys).split())
    assert "comes from the recipe copy/ntm-paper" in own


def test_full_help_lists_every_option_of_the_trainer_as_well(columns, capsys):
    text = help_of(["train", "copy", "--help-all"], capsys)
    for name in ("config", *option_kinds("copy", "ntm")):
        assert f"  --{name} " in text or name in ("task_name", "model_name"), name
    for markup in ("``", ":class:", "Union["):
        assert markup not in text
    assert main(["train", "--help-all"]) == 0
    assert "TASK --help-all" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["study", "--help"], ["study", "copy", "--help"]])
def test_help_fits_a_terminal(words, columns, capsys):
    with contextlib.suppress(SystemExit):
        main(words)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert 10 < len(text.splitlines()) < 50


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
