"""The training step under Lightning: several updates a Lightning step, so that Lightning's own cost does not show.

Lightning spends 2-3 ms on a step (hooks, loggers, bars), as much as an update takes. So what it takes for a batch is a
*block* of updates, each on a batch drawn here. Everything that Lightning does once a batch then happens once a block.
An epoch ends where the count of updates reaches a multiple of its length, so that a run that was stopped and resumed
validates where it would have. `trainer` turns Trainer options that count steps into blocks.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule
from torch.utils import _pytree as pytree

from tapehead.tasks import Omniglot, Size, Stream
from tapehead.training.capacity import check_training_memories
from tapehead.training.evaluate import VALIDATION_STREAM, score_size
from tapehead.training.instances import Instances
from tapehead.training.lightning.loaders import Blocks, Sizes
from tapehead.training.metrics import TRAINING_ERRORS, Score
from tapehead.training.optimisers import build_optimiser
from tapehead.training.options.config import RunConfig
from tapehead.training.threads import at_most_threads
from tapehead.training.updates import Update, Updates

if TYPE_CHECKING:
    from tapehead.training.together.ensemble import Ensemble

__all__ = ["Progress", "TrainingModule"]


UNSOLVED = 1e5
"""Bits added to those of a validation that is not clean, so that a clean one always counts as better."""


@dataclass
class Progress:
    """How far a run has come; part of every checkpoint."""

    sequences: int = 0
    """trained on, over all processes"""
    seconds: float = 0.0
    """of training and validation, over all the times the run was resumed"""
    stage: int = 0
    """of an incremental curriculum"""
    skipped: int = 0
    """updates left out because a gradient was not finite"""
    solved_at_sequences: int | None = None
    solved_at_seconds: float | None = None
    finished: bool = False
    """a validation found it solved for as long as it was to go on for: nothing is left to train"""
    bit_errors: float | None = None
    """of the latest validation"""
    bits: float | None = None
    """of the latest validation"""
    excess_bits: float | None = None
    """of the latest validation"""
    wrong_answers: float | None = None
    """of the latest validation"""


class TrainingModule(LightningModule):
    """Trains a model on a task as a `RunConfig` says.

    Args:
        config: of the run
        epoch_steps: updates between two validations
        block_steps: updates in a Lightning step
        accumulate: batches whose gradients make one update
        cycle: repeat the first so many batches for ever (`overfit_batches`); None never repeats

    Attributes:
        companions: the runs that this one trains together with; None trains alone
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        epoch_steps: int,
        block_steps: int,
        accumulate: int = 1,
        cycle: int | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.config = config
        self.model = config.build_model()
        check_training_memories(self.model.core, config.training)
        self.average = None
        if config.optimiser.average:
            self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.companions: Ensemble | None = None
        self.progress = Progress()
        self.accumulate = accumulate
        self.cycle = cycle
        self.epoch_steps = epoch_steps
        self.block_steps = block_steps
        self.stream = Stream(config.task, config.training.batch_size, config.seed)
        self.solved_task = config.solved_task()
        self._scores: list[tuple[Size, Score]] = []
        self._instances: Instances | None = None
        self._metrics: dict[str, float] = {}
        self._clock: float | None = None
        self._stopped_between = False

    # Data: Lightning sees only how many updates to make, and which sizes to validate at.

    def train_dataloader(self) -> Blocks:
        return Blocks(math.ceil(self.epoch_steps / self.block_steps))

    def val_dataloader(self) -> list[Size]:
        return Sizes(self.config.task.sizes())

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch

    @property
    def solved(self) -> bool:
        """Whether a validation has found the task solved."""
        return self.progress.solved_at_sequences is not None

    def limit(self) -> int:
        """The longest length of the curriculum's stage."""
        stages = self.config.curriculum.stages
        return stages[self.progress.stage] if self.progress.stage < len(stages) else 2**31

    # Updates.

    def configure_optimizers(self) -> Any:
        return build_optimiser(self.config.optimiser, self.model.parameters())

    @property
    def sequences_per_step(self) -> int:
        """Sequences that one update sees, over all processes."""
        return self.config.training.batch_size * self.accumulate * self.trainer.world_size

    def has_ended(self) -> bool:
        """Whether it has trained on all sequences it was told to, or is solved and was told to stop."""
        finished = self.progress.finished and self._solved_for_long()  # options of a run that goes on may have changed
        return finished or self.progress.sequences >= self.config.training.sequences

    def _steps_left(self) -> int:
        sequences = 0 if self.progress.finished else self.config.training.sequences - self.progress.sequences
        left = math.ceil(sequences / self.sequences_per_step)
        if self._must_go_on():
            left = max(left, self.block_steps)
        if self.trainer.max_steps >= 0:
            left = min(left, self.trainer.max_steps - self.trainer.global_step)
        return max(0, left)

    def _solved_for_long(self) -> bool:
        """Whether it has gone on after it was solved for as long as it was told to; never of one told not to stop."""
        training, at = self.config.training, self.progress.solved_at_sequences
        after = -1 if at is None or not training.stop_when_solved else self.progress.sequences - at
        return after >= training.sequences_after_solved

    def _must_go_on(self) -> bool:
        """Whether the Trainer was told to train for longer than this, by `min_steps` or `min_epochs`."""
        trainer = self.trainer
        return trainer.global_step < (trainer.min_steps or 0) or trainer.current_epoch < (trainer.min_epochs or 0)

    def _find_epoch_end(self) -> None:
        self._epoch_end = (self.trainer.global_step // self.epoch_steps + 1) * self.epoch_steps

    def on_fit_start(self) -> None:
        self.stream.rank = self.global_rank

    def on_train_start(self) -> None:
        self._clock = time.perf_counter()
        self._find_epoch_end()
        self.updates = Updates(self)
        self.progress.finished &= self._solved_for_long()  # options of a run that goes on may have changed
        if self._stopped_between and self.progress.solved_at_sequences == self.progress.sequences:
            # It was found solved by the look at where it stopped, which one that never stopped does not take.
            self.progress.solved_at_sequences = self.progress.solved_at_seconds = None

    def on_train_epoch_start(self) -> None:
        self._find_epoch_end()

    def training_step(self, block: int, index: int) -> None:
        """Make a block of updates, and log their means."""
        steps = min(self.block_steps, self._epoch_end - self.trainer.global_step, self._steps_left())
        start = time.perf_counter()
        results = self._make_updates(steps)
        self._tick()
        if steps and not self.trainer.barebones:
            loss, errors, norm = (sum(values) / steps for values in zip(*results, strict=True))
            self._metrics = {
                "sequences": float(self.progress.sequences),
                "seconds": self.progress.seconds,
                "train_bits": loss / math.log(2),
                f"train_{TRAINING_ERRORS[self.config.task.measure]}": errors,
                "gradient_norm": norm,
                "skipped_updates": float(self.progress.skipped),
                "learning_rate": self.optimizers().param_groups[0]["lr"],  # type: ignore[union-attr]
                "sequences_per_second": steps * self.sequences_per_step / (time.perf_counter() - start),
            }
            # Straight to the loggers: `self.log` takes several milliseconds for as many numbers.
            for logger in self.loggers:
                logger.log_metrics({**self._metrics, "epoch": self.current_epoch}, step=self.trainer.global_step)
        if self._steps_left() == 0:
            self.trainer.should_stop = True

    def _make_updates(self, steps: int) -> list[Update]:
        if self.companions is not None and steps:
            return self.companions.train(steps)
        with at_most_threads(self.config.training.batch_size):
            return [self.updates.make() for _ in range(steps)]

    def on_train_epoch_end(self) -> None:
        # What callbacks may look at: those of the epoch's last block.
        if not self.trainer.barebones:
            self.log_dict(self._metrics, logger=False)

    def _tick(self) -> None:
        now = time.perf_counter()
        if self._clock is not None:
            self.progress.seconds += now - self._clock
        self._clock = now

    # Validation: the same sequences each time, so many of every training size.

    def validation_step(self, size: Size, index: int) -> None:
        """Score one size."""
        task = self.config.task
        if isinstance(task, Omniglot) and self._instances is None:
            self._instances = Instances(task)
        observe = None if self._instances is None else self._instances.add
        self._scores.append((size, self._score(size, self.config.training.validation_sequences, observe=observe)))

    def _score(self, size: Size, sequences: int, memory_size: int | None = None, observe: Any = None) -> Score:
        numbers = (VALIDATION_STREAM, self.config.seed)
        model = self.model if self.average is None else self.average
        ask = None if self.companions is None else self.companions.answer
        options: dict[str, Any] = {"memory_size": memory_size, "observe": observe, "ask": ask}
        state = torch.get_rng_state()
        try:
            return score_size(model, self.config.task, size, sequences, *numbers, **options)
        finally:  # a task may draw from torch's own generator: how often is validated must not change the training
            torch.set_rng_state(state)

    def _selection(self, bits: float, clean: bool) -> float:
        """What best.ckpt has the least of: bits, and where the task is solved those at longer lengths as well."""
        training, task = self.config.training, self.config.task
        lengths, sequences, slots = training.select_at, training.select_sequences, training.select_memory_size
        if not lengths:
            return bits
        if not clean:
            return bits + UNSOLVED
        return bits + sum(self._score(task.evaluation_size(length), sequences, slots).bits for length in lengths)

    def on_validation_epoch_end(self) -> None:
        scores, self._scores = self._scores, []
        instances, self._instances = self._instances, None
        if self.trainer.sanity_checking or not scores:
            return
        self._tick()
        score, progress, training = Score.mean([score for _, score in scores]), self.progress, self.config.training
        measure = self.config.task.measure
        for name in ("bit_errors", "bits", "excess_bits", "wrong_answers"):
            setattr(progress, name, getattr(score, name))
        clean = len(scores) == len(self.config.task.sizes()) and getattr(score, measure) <= training.solved_below
        if clean and progress.solved_at_sequences is None:
            progress.solved_at_sequences, progress.solved_at_seconds = progress.sequences, progress.seconds
        if self._solved_for_long():
            progress.finished = self.trainer.should_stop = True
        self._advance_stage(scores)
        if self.trainer.barebones:
            return
        metrics = {f"validation_{name}": value for name, value in score._asdict().items()}
        if instances is not None:
            rows = instances.rows()
            metrics |= {f"validation_accuracy_{instance}": row["accuracy"] for instance, row in rows.items()}
        metrics["selection"] = self._selection(score.bits, clean)
        counts = {"step": self.trainer.global_step, "sequences": progress.sequences, "stage": progress.stage}
        self.log_dict({**metrics, **{name: float(count) for name, count in counts.items()}})

    def _advance_stage(self, scores: list[tuple[Size, Score]]) -> None:
        curriculum, progress = self.config.curriculum, self.progress
        if self.trainer.global_step % self.epoch_steps:
            return  # the last look at a run that was stopped in between: it must not change how the run goes on
        if curriculum.kind != "incremental" or progress.stage >= len(curriculum.stages):
            return
        measure, limit = self.config.task.measure, self.limit()
        inside = [getattr(score, measure) for size, score in scores if next(iter(size.values())) <= limit]
        if inside and sum(inside) / len(inside) <= curriculum.advance_below:
            progress.stage += 1

    # Checkpoints.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._tick()
        if self.companions is not None:  # a part of a tensor would be saved with all the rest of it
            for kept in ("state_dict", "optimizer_states"):
                checkpoint[kept] = pytree.tree_map_only(torch.Tensor, torch.clone, checkpoint.get(kept))
        checkpoint["seed"] = self.config.seed
        checkpoint["progress"] = asdict(self.progress)
        checkpoint["stream_position"] = self.stream.position
        checkpoint["random_state"] = torch.get_rng_state()
        checkpoint["between_validations"] = self.trainer.global_step % self.epoch_steps != 0

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.progress = Progress(**checkpoint["progress"])
        if "finished" not in checkpoint["progress"]:  # of an earlier version
            self.progress.finished = self._solved_for_long()
        self._stopped_between = checkpoint.get("between_validations", False)  # earlier versions did not say
        self.stream.position = checkpoint["stream_position"]
        torch.set_rng_state(checkpoint["random_state"].cpu())
