"""How many slots a memory may have, and a word of warning where a task has more to remember than that."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from tapehead.errors import UsageError
from tapehead.tasks import Size, Task
from tapehead.training.options.config import RunConfig, TrainingConfig

__all__ = [
    "capacity_warning",
    "check_memory_size",
    "check_training_memories",
    "memories_drawn",
    "memory_to_use",
    "warn_of_training_memories",
]


def capacity_warning(task: Task, sizes: Sequence[Size], memory_size: int | None) -> str | None:
    """What to tell a user whose memory has fewer slots than the largest size needs; None where it has enough.

    Args:
        task: whose sizes they are
        sizes: that a model will see
        memory_size: slots of its memory; None for a model without one

    >>> from tapehead.tasks import Copy
    >>> capacity_warning(Copy(), [{"length": 20}, {"length": 200}], 128)
    'length 200 needs 200 slots, one for each thing to remember, and the memory has 128'
    >>> capacity_warning(Copy(), [{"length": 120}], 128)
    """
    if memory_size is None:
        return None
    slots, worst = max(((task.slots(size), size) for size in sizes), key=lambda pair: pair[0])
    if slots <= memory_size:
        return None
    described = ", ".join(f"{name} {number}" for name, number in worst.items())
    return f"{described} needs {slots:,} slots, one for each thing to remember, and the memory has {memory_size:,}"


def _warn(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[yellow]tapehead: {text}[/]")


def memory_to_use(core: object, task: Task, sizes: Sequence[Size], asked: int | None) -> int | None:
    """The slots that a trained core is given for these sizes; None leaves it its own.

    Those that a user asks for, and else, where the largest size outgrows the core's own, the next power of two that
    holds it, which is said on the error output. A core that is tied to its own keeps them, and is warned of.

    Raises:
        UsageError: a number asked for that the core cannot have.
    """
    if asked is not None:
        check_memory_size(core, asked)
    slots = asked or getattr(core, "memory_size", None)
    warning = capacity_warning(task, sizes, slots)
    if warning is None:
        return asked
    tied = tied_to_memory_size(core)
    if asked is not None or tied:
        _warn(f"{warning}: expect errors. " + (f"{tied} ties it." if tied else "Enlarge it with --memory-size."))
        return asked
    enlarged = 1 << (max(map(task.slots, sizes)) - 1).bit_length()
    _warn(f"{warning}: enlarged to {enlarged:,}. --memory-size gives it another size.")
    return enlarged


def warn_of_training_memories(core: object, config: RunConfig) -> None:
    """Say it of every memory that is smaller than a run's task needs, and which option makes it larger.

    And say it where a core cannot have the `solved_memory_sizes`.
    """
    training, tied = config.training, tied_to_memory_size(core)
    if tied and training.solved_memory_sizes:
        _warn(f"once solved, training goes on with the model's own memory alone, to which {tied} ties it.")
    memories = {"model.memory_size": getattr(config.model, "memory_size", None)}
    for name in ["memory_sizes"] if tied else ["memory_sizes", "solved_memory_sizes"]:
        memories[f"training.{name}"] = min(getattr(training, name) or (), default=None)
    for option, slots in memories.items():
        task = config.solved_task() if option == "training.solved_memory_sizes" else config.task
        warning = capacity_warning(task, task.sizes(), slots)
        if warning is not None:
            _warn(f"{warning}: expect errors. Enlarge it with --{option}.")
    if training.select_at:
        longer = [config.task.evaluation_size(length) for length in training.select_at]
        warning = capacity_warning(config.task, longer, training.select_memory_size or memories["model.memory_size"])
        if warning is not None:
            _warn(f"{warning}: the checkpoint is chosen with errors. Enlarge it with --training.select_memory_size.")


def memories_drawn(core: object, training: TrainingConfig, solved: bool) -> tuple[int, ...]:
    """The numbers of slots of which training draws one for each batch; none means the core's own."""
    if solved and training.solved_memory_sizes is not None and not tied_to_memory_size(core):
        return training.solved_memory_sizes
    return training.memory_sizes


def check_memory_size(
    core: object, memory_size: int, option: str = "--memory-size", without: str = "leave it out"
) -> None:
    """Raise unless a core can run with a memory of so many slots.

    Args:
        core: of a model
        memory_size: slots
        option: that asked for it, for the message
        without: how to do without the option, for the message

    Raises:
        UsageError: it has no memory, or cannot have one of that size.
    """
    if not hasattr(core, "memory_size"):
        raise UsageError(f"{option}: {type(core).__name__} has no memory to resize; {without}.")
    try:
        core.initial_state(1, memory_size)  # type: ignore[attr-defined]
    except ValueError as error:
        raise UsageError(f"{option}: {error} Or {without}.") from error


def tied_to_memory_size(core: object) -> str | None:
    """The option that ties a core to its own number of slots, or None."""
    initial = getattr(getattr(core, "cell", None), "initial", None)
    return None if initial is None else initial.tied_to_memory_size()


def check_training_memories(core: object, training: TrainingConfig) -> None:
    """Raise unless a core can run with every number of slots that its training asks for.

    Recipes ask for `solved_memory_sizes`, and a core that is tied to its own goes without them (`memories_drawn`).

    Raises:
        UsageError: it cannot.
    """
    names = ["memory_sizes"] if tied_to_memory_size(core) else ["memory_sizes", "solved_memory_sizes"]
    for name in names:
        for size in getattr(training, name) or ():
            check_memory_size(core, size, f"--training.{name}", f"give --training.{name}=[]")
    if training.select_memory_size is not None:
        option = "--training.select_memory_size"
        check_memory_size(core, training.select_memory_size, option, f"give {option}=null")
