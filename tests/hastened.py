"""What comes out the same every time that a test trains is looked up once: a fifth of the time of such tests."""

import functools
from importlib.metadata import EntryPoints
from typing import Any
from weakref import WeakKeyDictionary

import jsonargparse
from jsonargparse import _core, _subcommands, _typehints
from lightning.fabric.utilities import registry


@functools.cache
def hasten() -> None:
    """From now on, what is found stays found.

    Both are private parts of others. Where they are not there, all is as it is without this.
    """
    _find_options_once()
    _find_plugins_once()


def _find_options_once() -> None:
    """jsonargparse goes through all options of a parser for every key of every configuration, often several times.

    It finds the option of a key once in a parser, for as long as no option is added to that.
    """
    name = "find_action_and_subcommand"
    find = getattr(_subcommands, name, None)
    if find is None:
        return
    known: WeakKeyDictionary[jsonargparse.ArgumentParser, dict[Any, Any]] = WeakKeyDictionary()

    def find_once(parser: Any, dest: str, exclude: Any = None) -> Any:
        if getattr(parser, "_subcommands_action", None):  # whose parsers may be added to
            return find(parser, dest, exclude=exclude)
        found, key = known.setdefault(parser, {}), (len(parser._actions), dest, exclude)
        if key not in found:
            found[key] = find(parser, dest, exclude=exclude)
        return found[key]

    for module in (_core, _subcommands, _typehints):
        if hasattr(module, name):
            setattr(module, name, find_once)


def _find_plugins_once() -> None:
    """Lightning looks through all packages that are installed for callbacks, for every Trainer."""
    find = getattr(registry, "entry_points", None)
    if find is None:
        return

    @functools.cache
    def find_once(group: str) -> EntryPoints:
        return find(group=group)

    registry.entry_points = find_once
