"""Every field of every dataclass is an option with help."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import subprocess
import sys

import pytest

from tapehead.cli import main
from tapehead.tasks import TASKS, Copy
from tapehead.training.options.arguments import build_parser, find_recipe, parse
from tapehead.training.options.kinds import option_kinds
from tapehead.training.options.models import MODELS


# Every task and every model; that all fields of any two are options is what the test of the help below looks at.
@pytest.mark.parametrize(("task", "model"), list(zip(TASKS, itertools.cycle(MODELS), strict=False)))
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


def test_help_of_a_task_whose_options_are_not_explained(columns, capsys, monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Silent(Copy):
        more: int = 3

    monkeypatch.setitem(TASKS, "silent", Silent)
    text = help_of(["train", "silent", "--help"], capsys)
    assert re.search(r"^  --task.more N +\(default: 3\)$", text, re.MULTILINE)


def test_help_says_it_where_python_has_removed_the_explanations():
    words = [sys.executable, "-OO", "-m", "tapehead", "train", "copy", "--help"]
    text = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"}).stdout
    assert "The explanations of the options are missing, because Python removes them under -OO" in " ".join(
        text.split()
    )
    assert re.search(r"^  --training.batch_size N +\(default: 1\)$", text, re.MULTILINE)
    assert re.search(r"^Optimiser:$", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 80


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
