"""YAML is read as PyYAML's own parser reads it, whichever parser is faster."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tapehead.training.options.arguments import find_recipe, recipe_names
from tapehead.training.options.reading import load_yaml


@pytest.mark.parametrize("with_libyaml", [True, False])
def test_every_recipe_says_the_same(monkeypatch, with_libyaml):
    if not with_libyaml:
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    for name in recipe_names():
        text = Path(find_recipe(name.split("/")[0], "", name)).read_text("utf-8")
        assert load_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["model: [", "seed: 3: 4", "\tseed: 3", "seed: !!python/name:os.system", "a: &x [*y]"])
def test_what_is_no_yaml_is_shown_with_its_place(text):
    with pytest.raises(yaml.YAMLError) as expected:
        yaml.safe_load(text)
    with pytest.raises(type(expected.value)) as found:
        load_yaml(text)
    assert str(found.value) == str(expected.value)
