"""jsonargparse without most of its looking for options, which is a tenth of the time of what trains in the tests.

For every key of every configuration, some of them several times, it goes through all options of a parser.
"""

import functools
from typing import Any
from weakref import WeakKeyDictionary

import jsonargparse
from jsonargparse import _core, _subcommands, _typehints


@functools.cache
def hasten() -> None:
    """From now on, it finds the option of a key once in a parser, for as long as no option is added to that.

    A jsonargparse with other parts, which are private, stays as slow as it is.
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
