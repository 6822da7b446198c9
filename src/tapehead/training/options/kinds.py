"""The options of `tapehead train` and the kinds of their values, as people read them."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterable
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from jsonargparse.typing import restricted_number_type

from tapehead.tasks import TASKS
from tapehead.training.options.config import CurriculumConfig, OptimiserConfig, ScheduleConfig, TrainingConfig
from tapehead.training.options.models import MODELS, EmbeddingConfig

__all__ = ["GROUPS", "Seed", "describe", "option_kinds", "placeholder", "takes_null"]

GROUPS: dict[str, type] = {
    "embedding": EmbeddingConfig,
    "optimiser": OptimiserConfig,
    "schedule": ScheduleConfig,
    "curriculum": CurriculumConfig,
    "training": TrainingConfig,
}
"""What a run can be told besides its task and model: the names that options begin with, and what they make."""

Seed = restricted_number_type("Seed", int, [(">=", 0), ("<", 2**63)])

WORDS: dict[Any, tuple[str, str]] = {
    int: ("a whole number", "N"),
    Seed: ("a whole number from 0 to 2^63 - 1", "N"),
    float: ("a number", "X"),
    bool: ("true or false", "{true,false}"),
    str: ("a text", "TEXT"),
    dict: ('names with values, such as {"name": "value"}', '{"NAME": VALUE}'),
    type(None): ("null", "null"),
}
"""What a kind is called in a sentence, and what stands for it in the help."""
LONGEST_PLACEHOLDER = 24
"""in characters, of those that stand for several kinds"""


def option_kinds(task_name: str, model_name: str, *, trainer: bool = True) -> dict[str, Any]:
    """Every option, as it is written in a configuration file, and its annotation.

    Args:
        task_name: of `TASKS`
        model_name: of `MODELS`
        trainer: whether the Trainer's are among them, which imports Lightning

    >>> option_kinds("copy", "ntm", trainer=False)["model.memory_size"]
    <class 'int'>
    """
    kinds: dict[str, Any] = {
        "config": str,
        "task_name": Literal[task_name],
        "model_name": Literal[model_name],
        "seed": Seed,
        "out": str | None,
    }
    for name, kind in {"task": TASKS[task_name], "model": MODELS[model_name], **GROUPS}.items():
        kinds |= _fields(name, kind)
    if trainer:
        from lightning.pytorch import Trainer

        hints = get_type_hints(Trainer.__init__)
        kinds |= {f"trainer.{name}": kind for name, kind in hints.items() if name != "return"}
    return kinds


def _fields(prefix: str, kind: type) -> dict[str, Any]:
    """The fields of a dataclass, and those of dataclasses in it."""
    found: dict[str, Any] = {}
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        name, hint = f"{prefix}.{field.name}", hints[field.name]
        found |= _fields(name, hint) if dataclasses.is_dataclass(hint) else {name: hint}  # type: ignore[arg-type]
    return found


def describe(kind: Any) -> str:
    """What is expected of a value, for a sentence.

    >>> describe(tuple[int, ...] | None)
    'a list of whole numbers, such as [1, 2], or null'
    >>> describe(Literal["auto", "fused"]), describe(int | float)
    ('auto or fused', 'a number')
    >>> describe(list[float] | list[list[float]])
    'a list of numbers, such as [0.5, 0.9], or a list of such lists'
    """
    words = list(dict.fromkeys(part for one in _alternatives(kind) for part in _described(one)))
    apart = ", or " if any("," in word for word in words) else " or "
    return _joined(words, apart)


def _described(kind: Any) -> list[str]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return [str(value) for value in arguments]
    if origin is dict or kind is dict:
        return [WORDS[dict][0]]
    if isinstance(origin, type) and issubclass(origin, Iterable):
        item = arguments[0] if arguments else Any
        if item == list[float]:
            return ["a list of such lists"]
        if item not in (int, float):
            return [f"a list of {describe(item).removeprefix('a ')}s"]
        count = len(arguments) if origin is tuple and arguments[-1] is not Ellipsis else None
        example = ", ".join(["1, 2", "0.5, 0.9"][item is float].split(", ")[: count or 2])
        counted = "" if count is None else f"{count} "
        return [f"a list of {counted}{WORDS[item][0].removeprefix('a ')}s, such as [{example}]"]
    if kind in WORDS:
        return [WORDS[kind][0]]
    return [f"a {getattr(kind, '__name__', kind)}"]


def placeholder(kind: Any) -> str:
    """What stands for a value in the help.

    >>> placeholder(int), placeholder(tuple[int, ...] | None), placeholder(Literal["auto", "fused"])
    ('N', '[N,...]|null', '{auto,fused}')
    >>> placeholder(float | list[float]), placeholder(list[list[float]])
    ('X|[X,...]', '[[X,...],...]')
    """
    if kind != (without := _without_null(kind)):
        return f"{placeholder(without)}|null"
    parts = _alternatives(kind)
    if len(parts) != 1:
        shown = list(map(placeholder, parts))
        joined = "|".join(shown)
        return "VALUE" if "VALUE" in shown or len(joined) > LONGEST_PLACEHOLDER else joined
    origin, arguments = get_origin(parts[0]), get_args(parts[0])
    if origin is Literal:
        return "{" + ",".join(map(str, arguments)) + "}"
    if origin is dict:
        return WORDS[dict][1]
    if isinstance(origin, type) and issubclass(origin, Iterable):
        items = [placeholder(item) if item is not Ellipsis else "..." for item in arguments]
        return "[" + ",".join(items if len(items) > 1 else [*items, "..."]) + "]"
    return WORDS.get(parts[0], ("", "VALUE"))[1]


def _alternatives(kind: Any) -> list[Any]:
    """What a union is of, numbers once: whoever may give a number may give a whole one."""
    if get_origin(kind) not in (Union, types.UnionType):
        return [kind]
    parts = [one for part in get_args(kind) for one in _alternatives(part)]
    return [part for part in parts if part is not int or float not in parts]


def takes_null(kind: Any) -> bool:
    """Whether None is a value of this kind.

    >>> takes_null(int | None), takes_null(int)
    (True, False)
    """
    return type(None) in _alternatives(kind)


def _without_null(kind: Any) -> Any:
    parts = _alternatives(kind)
    return kind if type(None) not in parts else Union[tuple(part for part in parts if part is not type(None))]  # noqa: UP007


def _joined(words: list[str], last: str = " or ") -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + last + words[-1]
