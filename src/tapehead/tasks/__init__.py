"""The tasks of the NTM paper and Omniglot: every batch is drawn anew, and a seed and a position name it."""

from tapehead.tasks.associative_recall import AssociativeRecall
from tapehead.tasks.checks import Tasks
from tapehead.tasks.copy import Copy
from tapehead.tasks.ngrams import NGrams
from tapehead.tasks.omniglot import Omniglot
from tapehead.tasks.priority_sort import PrioritySort
from tapehead.tasks.repeat_copy import RepeatCopy
from tapehead.tasks.stream import Stream
from tapehead.tasks.task import Batch, Measure, Size, Task

__all__ = [
    "TASKS",
    "AssociativeRecall",
    "Batch",
    "Copy",
    "Measure",
    "NGrams",
    "Omniglot",
    "PrioritySort",
    "RepeatCopy",
    "Size",
    "Stream",
    "Task",
]

TASKS: dict[str, type[Task]] = Tasks(
    copy=Copy,
    repeat_copy=RepeatCopy,
    associative_recall=AssociativeRecall,
    ngrams=NGrams,
    priority_sort=PrioritySort,
    omniglot=Omniglot,
)
"""Every task by the name it has on the command line, a word without `-`. A task of your own is added with
`TASKS["mine"] = Mine`, before `tapehead.cli.main` or what is below `tapehead.training` looks for it."""
