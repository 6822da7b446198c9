"""The settings in which several runs differ, as their names in one picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["flattened", "names_by_settings"]


def flattened(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings, by their dotted names.

    >>> flattened({"seed": 3, "model": {"initial": {"memory": "random"}}})
    {'seed': 3, 'model.initial.memory': 'random'}
    """
    found: dict[str, Any] = {}
    for name, value in nested.items():
        found |= flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def names_by_settings(kinds: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each run: its kind, and behind it what tells it from runs of the same kind with other settings.

    Runs of one kind with the same settings have the same name. Of the options in which they differ, as few are named as
    tell all apart, those first that tell most; an ellipsis stands for the others. Of more than two, a name has only
    those in which its run is not as most are: in an ablation, a run is called by what was changed in it.

    Args:
        kinds: of each run, such as "copy, ntm"
        settings: of each run, by their dotted names (`flattened`)

    >>> usual = {"model.hidden_size": 100, "training.batch_size": 4}
    >>> names_by_settings(["copy, ntm"] * 3, [usual, usual, {**usual, "training.batch_size": 8}])
    ['copy, ntm, batch_size 4', 'copy, ntm, batch_size 4', 'copy, ntm, batch_size 8']
    """
    names = list(kinds)
    for kind in dict.fromkeys(kinds):
        members = [index for index, one in enumerate(kinds) if one == kind]
        own = [{name: _text(value) for name, value in settings[index].items()} for index in members]
        differing = [name for name in dict.fromkeys(name for one in own for name in one) if _count(own, [name]) > 1]
        telling = _telling(own, differing)
        short = [name.rpartition(".")[2] for name in telling]
        labels = [last if short.count(last) == 1 else name for name, last in zip(telling, short, strict=True)]
        usual = _usual(own, telling) if len(telling) > 2 else {}
        for index, one in zip(members, own, strict=True):
            told = [
                f"{label} {one.get(name, 'none')}"
                for label, name in zip(labels, telling, strict=True)
                if name not in usual or one.get(name) != usual[name]
            ]
            names[index] = ", ".join([kind, *told, *["..."] * (len(telling) < len(differing))])
    return names


def _telling(settings: Sequence[Mapping[str, str]], differing: Sequence[str]) -> list[str]:
    """As few of the options as tell all settings apart, taken one after the other."""
    telling: list[str] = []
    while _count(settings, telling) < _count(settings, differing):
        telling.append(max(differing, key=lambda name: _count(settings, [*telling, name])))
    return telling


def _usual(settings: Sequence[Mapping[str, str]], names: Sequence[str]) -> dict[str, str | None]:
    """The value of each option that most of the different settings have."""
    different = dict.fromkeys(tuple(one.get(name) for name in names) for one in settings)
    return {
        name: Counter(values).most_common(1)[0][0]
        for name, values in zip(names, zip(*different, strict=True), strict=True)
    }


def _count(settings: Sequence[Mapping[str, str]], names: Iterable[str]) -> int:
    """How many different settings there are, as far as these options go."""
    names = list(names)
    return len({tuple(one.get(name) for name in names) for one in settings})


def _text(value: Any) -> str:
    if value is None or value in ([], ()):
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_text, value)) + "]"
    return str(value)
