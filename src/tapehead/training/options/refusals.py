"""Why an option is refused, in a sentence that names the option, what was given and what is allowed.

jsonargparse reports all that is wrong as text, and in the words of Python's types. What is taken from its text is the
name of the option and the value; what is expected comes from the annotations (`kinds`). A text that is not known here
is passed on as it is.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tapehead.errors import UnknownNameError, UsageError, did_you_mean
from tapehead.nn import LSTM, MANN, NTM, ImageEmbedding, Initial, MANNCell, NTMCell
from tapehead.tasks import TASKS
from tapehead.training.options.kinds import GROUPS, describe, takes_null
from tapehead.training.options.models import MODELS
from tapehead.training.options.reading import load_yaml

__all__ = ["check_files", "config_files", "refusal", "with_option", "with_trainer_option"]

NAMES = ("--model", "--recipe", "--resume", "--help", "--help-all", "--print_config")
"""Options besides those of a configuration."""

MEANT = {
    "--seeds": "For several seeds there is `tapehead study`; of one run it is --seed.",
    **dict.fromkeys(("--lr", "--optimiser.lr"), "Did you mean --optimiser.learning_rate?"),
    "--epochs": "How long to train is --training.sequences.",
    "--device": "Where to train is --trainer.accelerator, such as cpu or gpu.",
}
"""What to say of options that others have, and that are called otherwise here."""

NO_NAME = re.compile(
    r"(?:Group '(?P<group>[\w.]+)' does not accept option|Option) '(?P<name>[^']+)'(?: is not accepted)?"
)
VALUE = re.compile(r"(?:Got value|Given value): (.*)\Z", re.DOTALL)
OTHER_VALUES = (
    r"Not of type \w+: (.*) does not conform to",
    r"Not of type \w+: invalid literal for int\(\) with base 10: '(.*)'",
    r"'?(.*?)'? not among choices",
    r"Unable to load config ['\"](.*?)['\"]",
)
WORDS = {"None": "null", "True": "true", "False": "false"}

OWNERS: dict[str, str] = {
    **{kind.__name__: name for name, kind in GROUPS.items()},
    **{kind.__name__: "task" for kind in TASKS.values()},
    **{kind.__name__: "model" for kind in (*MODELS.values(), NTM, NTMCell, MANN, MANNCell, LSTM)},
    Initial.__name__: "model.initial",
    ImageEmbedding.__name__: "embedding",
}
"""Which options make what a class refuses."""


def refusal(
    error: Exception, kinds: Mapping[str, Any], argv: Sequence[str] = (), files: Sequence[str] = ()
) -> UsageError:
    """What to tell the user of an error of the parser's.

    Args:
        error: that it raised
        kinds: of all options
        argv: the command line
        files: configuration files, those that count for more later
    """
    text = str(error).strip()
    if found := re.match(r"unrecognized arguments: (\S+)", text):
        return _unknown(found[1].partition("=")[0], [*NAMES, *(f"--{name}" for name in kinds)])
    if found := re.match(r"ambiguous option: (\S+) could match (.*)", text, re.DOTALL):
        return UsageError(f"{found[1]}: no such option. Did you mean {' or '.join(found[2].split(', '))}?")
    if found := re.match(r"argument (--[\w.]+): expected one argument", text):
        return UsageError(f"{found[1]}: expected {_expected(found[1][2:], kinds)}, got nothing.")
    if found := NO_NAME.match(text):
        name = ".".join(filter(None, (found["group"], found["name"])))
        return _no_option(_place(name, argv, files).removeprefix("--"), name, kinds)
    if found := re.match(r"Parser key \"config\": File does not exist: '(.*)'", text):
        return UsageError(f"--config: no such file: {found[1]}.")
    if found := re.match(r"Parser key \"config\": Path is not a file: '(.*)'", text):
        return UsageError(f"--config: expected a YAML file, got {found[1]}, which is a folder.")
    if found := re.match(r'Parser key "([\w.]+)":\s*(.*)', text, re.DOTALL):
        return _wrong_value(found[1], found[2], kinds, _place(found[1], argv, files)) or UsageError(text)
    return UsageError(with_option(text, kinds))


def _unknown(word: str, known: Sequence[str]) -> UsageError:
    if not word.startswith("-"):
        return UsageError(f"{word}: expected options, which begin with --, after the task.")
    if word in MEANT:
        return UsageError(f"{word}: no such option. {MEANT[word]}")
    return _no_option(word, word, known)


def _no_option(place: str, name: str, known: Iterable[str]) -> UsageError:
    """There is none of this name; where none is near, those of its group are told."""
    message, known = f"{place}: no such option.", list(known)
    group = name.rpartition(".")[0]
    members = [one.removeprefix(f"{group}.") for one in known if group and one.startswith(f"{group}.")]
    if members and not did_you_mean(name, known):
        return UsageError(f"{message} Of {group} there are: {', '.join(members)}.")
    return UnknownNameError(message, name, known)


def _wrong_value(name: str, text: str, kinds: Mapping[str, Any], place: str) -> UsageError | None:
    matches = [VALUE.search(text), *(re.search(pattern, text, re.DOTALL) for pattern in OTHER_VALUES)]
    value = next((match[1] for match in matches if match), None)
    if value is None:
        return None
    value = re.sub(r"NestedArg\(key='(.*?)', val='?(.*?)'?\)", r"\1=\2", value)
    lines = [line.strip().removeprefix("- ") for line in text.partition("Errors:")[2].splitlines()]
    reasons = [line for line in lines if line and not re.match(r"Expected a|Given value", line)]
    why = f" {' '.join(dict.fromkeys(reasons))}." if reasons else ""
    return UsageError(f"{place}: expected {_expected(name, kinds)}, got {WORDS.get(value, value)}.{why}")


def _expected(name: str, kinds: Mapping[str, Any]) -> str:
    return describe(kinds[name]) if name in kinds else "names with values, or a file with them"


def _place(name: str, argv: Sequence[str], files: Sequence[str]) -> str:
    """How the user wrote an option: on the command line, where it may be shortened, or in a file."""
    words = [re.split(r"[=+]", word)[0] for word in argv if re.match(r"--\w", word)]
    if any(f"--{name}".startswith(word) or word.startswith(f"--{name}.") for word in words):
        return f"--{name}"
    return next((f"{name} in {file}" for file in reversed(files) if _holds(file, name)), f"--{name}")


def _holds(file: str, name: str) -> bool:
    data: Any = None
    with contextlib.suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
        data = load_yaml(Path(file).read_text(encoding="utf-8"))
    for part in name.split("."):
        if not isinstance(data, dict) or part not in data:
            return False
        data = data[part]
    return True


def config_files(argv: Sequence[str]) -> list[str]:
    """What a command line gives to --config, in its order.

    >>> config_files(["--config", "a.yaml", "--seed", "3", "--config=b.yaml"])
    ['a.yaml', 'b.yaml']
    """
    found = []
    for word, after in itertools.zip_longest(argv, argv[1:], fillvalue=""):
        name, equals, value = word.partition("=")
        if name == "--config":
            found.append(value if equals else after)
    return found


def check_files(files: Sequence[str], kinds: Mapping[str, Any]) -> None:
    """Refuse what the parser would not, or not with the file's name.

    Args:
        files: configuration files; those that do not exist are left to the parser
        kinds: of all options

    Raises:
        UsageError: one is no YAML, or has a value where options belong.
    """
    for file in files:
        path = Path(file)
        if not path.is_file():
            continue
        try:
            data = load_yaml(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(f"{file}: cannot be read as YAML: {' '.join(str(error).split())}") from error
        if not isinstance(data, dict):
            got = "an empty file" if data is None else repr(data)
            raise UsageError(f"{file}: expected options, as `seed: 3`, got {got}.")
        _check_groups(file, data, kinds)


def _check_groups(file: str, data: dict[Any, Any], kinds: Mapping[str, Any], prefix: str = "") -> None:
    for key, value in data.items():
        name = f"{prefix}{key}"
        if not any(kind.startswith(f"{name}.") for kind in kinds):
            # The parser lets null through wherever it comes from a file. What a run has written of Lightning stays.
            if value is None and name in kinds and not name.startswith("trainer.") and not takes_null(kinds[name]):
                raise UsageError(f"{name} in {file}: expected {_expected(name, kinds)}, got null.")
            continue
        if isinstance(value, dict):
            _check_groups(file, value, kinds, f"{name}.")
        elif not isinstance(value, str):  # which is the name of a file with them
            written = WORDS.get(str(value), value)
            raise UsageError(f"{name} in {file}: expected {_expected(name, kinds)}, got {written}.")


def with_option(message: str, kinds: Mapping[str, Any]) -> str:
    """A message of a class that the options made, with the option in place of the class.

    >>> with_option("OptimiserConfig: expected momentum < 1, got 2.", {"optimiser.momentum": float})
    '--optimiser.momentum: expected momentum < 1, got 2.'
    """
    owner, _, rest = message.partition(": ")
    if owner not in OWNERS or not rest:
        return message
    group = OWNERS[owner]
    names = {f"{group}.{word}" for word in re.findall(r"\w+", rest)} & kinds.keys()
    return f"--{names.pop() if len(names) == 1 else group}: {rest}"


def with_trainer_option(message: str, options: Mapping[str, Any]) -> str:
    """A message of Lightning's Trainer, behind the option that it names, or whose text it quotes, if that is one.

    >>> with_trainer_option("`Timer(duration='soon')` is not valid.", {"max_time": "soon", "max_epochs": None})
    "--trainer.max_time: `Timer(duration='soon')` is not valid."
    >>> with_trainer_option("No `logger` with `barebones`.", {"logger": True, "barebones": True})
    '--trainer: No `logger` with `barebones`.'
    """
    names = options.keys() & set(re.findall(r"\w+", message))
    if not names:
        names = {name for name, value in options.items() if isinstance(value, str) and repr(value) in message}
    return f"--trainer{f'.{names.pop()}' if len(names) == 1 else ''}: {message}"
