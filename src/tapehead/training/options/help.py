"""The help of `tapehead train TASK`: its own options as people read them, and Lightning's for those who ask."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from typing import Any

from jsonargparse import DefaultHelpFormatter

__all__ = ["BriefHelp", "Elsewhere", "FullHelp", "ShowFullHelp"]


class FullHelp(DefaultHelpFormatter):
    """Every option with its description and default, and no Python types: what stands for a value shows its kind.

    It overrides what argparse's own formatters override; what an option has in the help is in its `metavar` and `help`.
    """

    hidden: tuple[str, ...] = ()
    """What the options that are left out begin with"""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **{"max_help_position": 34, **keywords})
        self._skipping = False

    def start_section(self, heading: str | None) -> None:
        # jsonargparse's list of the files that the defaults come from: the description has it in a sentence.
        self._skipping = heading == "default config file locations"
        super().start_section(heading)

    def end_section(self) -> None:
        self._skipping = False
        super().end_section()

    def add_text(self, text: str | None) -> None:
        if not self._skipping:
            super().add_text(text)

    def add_argument(self, action: argparse.Action) -> None:
        # `--model CONFIG` and the like take a file for a whole group, as --config does for all of them.
        if action.metavar != "CONFIG" and not action.dest.startswith(self.hidden or "-"):
            super().add_argument(action)

    def _get_help_string(self, action: argparse.Action) -> str:
        text = re.sub(r"\s*Default: (``.*?``|\d+)\.?", "", action.help or "")  # Lightning's own, before ours
        text = re.sub(r":\w+:`~?([^`]*)`", lambda name: name[1].rpartition(".")[2], text).replace("``", "")
        text = text[:-1] if text.endswith(".") and ". " not in text else text
        if action.default is None or action.default == argparse.SUPPRESS:
            return text
        default = f"(default: {_written(action.default)})"
        if text.endswith(default):  # jsonargparse asks again for the help of an option that is not explained
            return text
        return f"{text} {default}".lstrip()

    def _format_action_invocation(self, action: argparse.Action) -> str:
        names = [name for name in action.option_strings if not name.endswith("+")]
        value = "" if action.nargs in (0, argparse.OPTIONAL) else f" {action.metavar or 'VALUE'}"
        return ", ".join(names) + value.replace(" \b", "")  # jsonargparse's --print_config[=flags]


class BriefHelp(FullHelp):
    """The same without the options of Lightning's Trainer, which are as many again."""

    hidden = ("trainer.",)


def _written(value: Any) -> str:
    """A default as it would be given on the command line."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value, default=str)


class Elsewhere(argparse.Action):
    """An option that is in the help, and never comes here: the parser before this one takes it."""

    def __init__(self, option_strings: Sequence[str], dest: str, **keywords: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, default=argparse.SUPPRESS, **keywords)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        raise AssertionError(f"{self.option_strings[0]} is taken by the command line's first parser")


class ShowFullHelp(argparse.Action):
    """`--help-all`."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, default=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        parser.formatter_class = FullHelp
        parser.print_help()
        parser.exit()
