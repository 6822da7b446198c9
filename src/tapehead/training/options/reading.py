"""YAML as PyYAML's `safe_load` reads it, and faster where PyYAML has libyaml."""

from __future__ import annotations

from typing import Any

import yaml

__all__ = ["load_yaml"]


def load_yaml(text: str) -> Any:
    """What a YAML text says.

    Raises:
        yaml.YAMLError: it is none, in the words of PyYAML's own parser, which show the place.

    >>> load_yaml("seed: 3")
    {'seed': 3}
    """
    fast = getattr(yaml, "CSafeLoader", None)
    if fast is not None:
        try:
            return yaml.load(text, fast)
        except yaml.YAMLError:
            pass
    return yaml.safe_load(text)
