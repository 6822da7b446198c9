"""Everything that a run can be told, as small dataclasses: they make the command line, its help and the YAML files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from tapehead.errors import did_you_mean
from tapehead.nn import SequenceModel
from tapehead.nn.checks import check_choice
from tapehead.tasks import Task
from tapehead.tasks.checks import check_task
from tapehead.training.options.models import EmbeddingConfig, ModelConfig

__all__ = [
    "CurriculumConfig",
    "OptimiserConfig",
    "RunConfig",
    "ScheduleConfig",
    "TrainingConfig",
]

Optimiser = Literal["rmsprop_graves", "rmsprop", "adam", "adamw"]
Clip = Literal["norm", "value", "none"]
Decay = Literal["constant", "cosine", "linear"]
SolvedDecay = Literal["constant", "cosine"]
Curriculum = Literal["none", "uniform", "incremental"]

SIMPLE_KINDS: dict[type, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
"""What the kinds of a task's options are called."""


COUNT_LIMIT, SEQUENCES_LIMIT = 2**31, 2**63
"""What whole numbers are below: those of sizes, which tensors have and loops go through, and those of sequences."""


def _check_counts(group: Any) -> None:
    """Raise if a whole number among the options of a group is more than can be counted to."""
    for one in dataclasses.fields(group):
        value = getattr(group, one.name)
        if dataclasses.is_dataclass(value):
            _check_counts(value)
        limit = SEQUENCES_LIMIT if "sequences" in one.name or one.name == "validate_every" else COUNT_LIMIT
        several = isinstance(value, (list, tuple))
        for number in value if several else [value]:
            if isinstance(number, int) and number >= limit:
                wanted = f"whole numbers below {limit:,}" if several else f"a whole number below {limit:,}"
                raise ValueError(f"{type(group).__name__}: expected {wanted} for {one.name}, got {number}.")


def _positive(owner: str, **values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{owner}: expected {name} > 0, got {value}.")


@dataclass(frozen=True)
class OptimiserConfig:
    """How gradients become updates.

    Attributes:
        name: rmsprop_graves is the form of Graves 2013 (centred, eps inside the root); rmsprop is torch's, centred
        learning_rate: at its highest
        decay: of the running means of rmsprop_graves and rmsprop
        momentum: of rmsprop_graves and rmsprop
        eps: joins the root of the optimiser; null takes 1e-4 for both RMSprops and 1e-8 for Adam and AdamW
        betas: decay of the running means of Adam and AdamW
        weight_decay: of AdamW decoupled, of the others added to the gradient
        clip: the gradients' norm over all parameters, or each element's value, or not at all
        clip_limit: what they are clipped to
        average: decay of a running mean of the weights over the updates; that mean is what is validated, and what a
            run's model is in the end. 0 takes the weights as they are
    """

    name: Optimiser = "rmsprop_graves"
    learning_rate: float = 3e-4
    decay: float = 0.95
    momentum: float = 0.9
    eps: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip: Clip = "norm"
    clip_limit: float = 10.0
    average: float = 0.0

    def __post_init__(self) -> None:
        eps = 1.0 if self.eps is None else self.eps
        _positive("OptimiserConfig", learning_rate=self.learning_rate, clip_limit=self.clip_limit, eps=eps)
        shares = [
            ("decay", self.decay),
            ("momentum", self.momentum),
            ("average", self.average),
            *(("betas", beta) for beta in self.betas),
        ]
        for name, share in shares:
            if not 0 <= share < 1:
                raise ValueError(f"OptimiserConfig: expected 0 <= {name} < 1, got {share}.")
        if self.weight_decay < 0:
            raise ValueError(f"OptimiserConfig: expected weight_decay >= 0, got {self.weight_decay}.")
        check_choice("OptimiserConfig", "name", self.name, Optimiser)
        check_choice("OptimiserConfig", "clip", self.clip, Clip)


@dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate over a run.

    Attributes:
        kind: what happens after the warm-up: nothing, or a decay along a cosine or a line to the end of the run
        warmup_sequences: over which the rate rises from 0
        final_fraction: of the learning rate, reached at the end of a decay
        hold_sequences: for which the full rate is held before a decay begins
        solved_fraction: of all that, once the task is solved: a lower rate keeps it so
        solved_kind: what happens to it from there on: nothing, or a decay to 0 along a cosine over
            `training.sequences_after_solved`
        solved_weight_decay: in place of the optimiser's weight decay once the task is solved; null keeps that one
    """

    kind: Decay = "constant"
    warmup_sequences: int = 0
    final_fraction: float = 0.0
    hold_sequences: int = 0
    solved_fraction: float = 0.1
    solved_kind: SolvedDecay = "constant"
    solved_weight_decay: float | None = None

    def __post_init__(self) -> None:
        names = ("warmup_sequences", "hold_sequences", "final_fraction", "solved_fraction", "solved_weight_decay")
        for name in names:
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"ScheduleConfig: expected {name} >= 0, got {getattr(self, name)}.")
        check_choice("ScheduleConfig", "kind", self.kind, Decay)
        check_choice("ScheduleConfig", "solved_kind", self.solved_kind, SolvedDecay)


@dataclass(frozen=True)
class CurriculumConfig:
    """Which sequences training draws.

    Attributes:
        kind: uniform draws from all of the task's sizes; none always takes the largest; incremental goes
            through stages, each with its own longest length
        stages: longest length of each stage; the task's own follows as the last
        advance_below: mean validation error, in the task's measure, over a stage's sizes at which the next one begins
        solved_task: options of the task, by name, that change once it is solved: `density: random` goes on with
            sequences of any density. Validation and evaluation stay as they were
    """

    kind: Curriculum = "uniform"
    stages: tuple[int, ...] = (5, 10)
    advance_below: float = 0.5
    solved_task: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if list(self.stages) != sorted(set(self.stages)) or any(stage < 1 for stage in self.stages):
            raise ValueError(f"CurriculumConfig: expected stages of rising lengths >= 1, got {self.stages}.")
        check_choice("CurriculumConfig", "kind", self.kind, Curriculum)


@dataclass(frozen=True)
class TrainingConfig:
    """How long to train, and how to watch it. Durations are in sequences, over all processes together.

    Attributes:
        sequences: to train on at the most
        batch_size: sequences in a step, in each process
        validate_every: sequences between two validations; a Lightning epoch is this long
        validation_sequences: of each training size in a validation
        solved_below: mean error of a validation at which the task counts as solved, in the task's measure: wrong bits a
            sequence, for ngrams bits above the optimum
        stop_when_solved: true stops then, after `sequences_after_solved` more; false goes on to the end
        memory_sizes: slots of the memory, a size drawn for each batch; [] always takes the model's own
        solved_memory_sizes: in place of those once the task is solved; null keeps them, and so does a model that
            something learned slot by slot ties to its own size
        select_at: lengths beyond those trained on that a validation at which the task is solved looks at as well:
            best.ckpt is then the one of these with the fewest bits at both
        select_sequences: of each of those lengths
        select_memory_size: slots of the memory for those lengths; null takes those trained with
        sequences_after_solved: to go on for, at the rate of `schedule.solved_fraction`, before stopping when solved
        keep_last: checkpoints of the latest validations to keep, beside the best one
    """

    sequences: int = 100_000
    batch_size: int = 4
    validate_every: int = 500
    validation_sequences: int = 32
    solved_below: float = 0.01
    stop_when_solved: bool = True
    memory_sizes: tuple[int, ...] = ()
    solved_memory_sizes: tuple[int, ...] | None = None
    select_at: tuple[int, ...] = ()
    select_sequences: int = 100
    select_memory_size: int | None = None
    sequences_after_solved: int = 0
    keep_last: int = 2

    def __post_init__(self) -> None:
        _positive(
            "TrainingConfig",
            sequences=self.sequences,
            batch_size=self.batch_size,
            validate_every=self.validate_every,
            validation_sequences=self.validation_sequences,
            select_sequences=self.select_sequences,
            keep_last=self.keep_last,
        )
        if self.sequences_after_solved < 0:
            raise ValueError(
                f"TrainingConfig: expected sequences_after_solved >= 0, got {self.sequences_after_solved}."
            )

    def selected_by(self) -> dict[str, Any]:
        """What the score of best.ckpt is of, as plain data; other scores cannot be compared with it.

        >>> TrainingConfig(select_at=(120,)).selected_by()
        {'select_at': [120], 'select_memory_size': None, 'solved_below': 0.01}
        """
        names = ("select_memory_size", "solved_below") if self.select_at else ()
        return {"select_at": list(self.select_at), **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True)
class RunConfig:
    """One run, whole: with the versions in its folder, this is what it takes to repeat it."""

    task_name: str
    model_name: str
    seed: int
    task: Task
    model: ModelConfig
    optimiser: OptimiserConfig
    schedule: ScheduleConfig
    curriculum: CurriculumConfig
    training: TrainingConfig
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for group in (self.task, self.model, self.embedding, self.optimiser, self.schedule, self.curriculum):
            _check_counts(group)
        _check_counts(self.training)
        check_task(self.task)
        self.embedding.check(self.task)
        self.solved_task()
        lengths = self.training.select_at
        try:
            for length in lengths:
                self.task.evaluation_size(length)
        except ValueError as error:
            raise ValueError(
                f"TrainingConfig: expected select_at of lengths of {self.task_name}, got {list(lengths)}. {error}"
            ) from error

    def solved_task(self) -> Task:
        """What is trained on once the task is solved.

        Raises:
            ValueError: `curriculum.solved_task` has an option that the task has not or cannot have, or that changes
                the channels of its input or target.
        """
        options, known = self.curriculum.solved_task, [one.name for one in dataclasses.fields(self.task)]
        for name in options:
            if name not in known:
                raise ValueError(
                    f"CurriculumConfig: expected options of {self.task_name} in solved_task, got {name!r}; "
                    f"it has {', '.join(known)}.{did_you_mean(name, known)}"
                )
            value, kind = options[name], type(getattr(self.task, name))
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise ValueError(
                    f"CurriculumConfig: expected {name} of solved_task to be "
                    f"{SIMPLE_KINDS.get(kind, kind.__name__)}, got {value!r}."
                )
        try:
            task = dataclasses.replace(self.task, **options)
        except ValueError as error:
            raise ValueError(f"CurriculumConfig: expected a solved_task that can be, got another: {error}") from error
        for name in ("input_size", "target_size"):
            if getattr(task, name) != getattr(self.task, name):
                raise ValueError(
                    f"CurriculumConfig: expected a solved_task with the task's {name} of {getattr(self.task, name)}, "
                    f"got {getattr(task, name)}."
                )
        return task

    def build_model(self) -> SequenceModel:
        """A new model, drawn from torch's generator."""
        embedding = self.embedding.build(self.task)
        input_size = self.task.input_size if embedding is None else embedding.output_size
        return SequenceModel(self.model.build(input_size), self.task.target_size, embedding)
