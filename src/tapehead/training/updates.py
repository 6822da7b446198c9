"""The updates of a run: a batch is drawn, the model answers it, its gradients are clipped, the optimiser steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.strategies import SingleDeviceStrategy

from tapehead.tasks import Batch
from tapehead.tasks.stream import generator_for
from tapehead.training.capacity import memories_drawn
from tapehead.training.evaluate import MEMORY_STREAM, answer
from tapehead.training.metrics import training_errors
from tapehead.training.optimisers import (
    averaged_tensors,
    build_optimiser,
    clip_gradients,
    rate_factor,
    solved_factor,
)

if TYPE_CHECKING:
    from tapehead.training.lightning.module import TrainingModule

__all__ = ["NonFiniteError", "Update", "Updates"]


class NonFiniteError(Exception):
    """The loss is NaN or infinite."""


class Update(NamedTuple):
    """What one update saw, in the mean of its sequences."""

    loss: float
    """in nats a sequence"""
    errors: float
    """of a sequence, in what `TRAINING_ERRORS` names"""
    norm: float
    """of the gradients, before they were clipped; 0 where one was not finite"""


class Updates:
    """The updates of a training module that Lightning has begun to train.

    Args:
        module: whose model is trained
    """

    def __init__(self, module: TrainingModule) -> None:
        self.module = module
        self._follow_options()
        self._parameters: list[Any] = list(module.model.parameters())
        self._tensors, self._averages = (averaged_tensors(model) for model in (module.model, module.average))
        self._backward = _choose_backward(module)
        callbacks = module.trainer.callbacks  # type: ignore[attr-defined]
        self._observers = [callback.on_update for callback in callbacks if hasattr(callback, "on_update")]

    def _follow_options(self) -> None:
        """Make a resumed optimiser follow the run's options, not those it was saved with."""
        fresh = build_optimiser(self.module.config.optimiser, [torch.nn.Parameter(torch.empty(1))]).defaults
        for group in self.optimiser.param_groups:
            group.update(fresh)

    @property
    def optimiser(self) -> Any:
        """Lightning's wrapper, which counts the steps."""
        return self.module.optimizers()

    def make(self) -> Update:
        """Make one.

        Raises:
            NonFiniteError: the loss is not finite.
        """
        self.optimiser.zero_grad()
        total_loss = total_errors = 0.0
        for _ in range(self.module.accumulate):
            batch, memory_size = self.draw()
            loss, errors = self._learn(self.moved(batch), memory_size)
            total_loss += loss
            total_errors += errors
        return self.step(total_loss, total_errors)

    def draw(self) -> tuple[Batch, int | None]:
        """The next batch, and the slots of the memory for it; None are the model's own."""
        module = self.module
        curriculum, task, solved = module.config.curriculum, module.config.task, module.solved
        if solved:
            task = module.solved_task
        size = None
        if curriculum.kind == "none":
            size = task.sizes()[-1]
        elif curriculum.kind == "incremental":
            task = task.stage(module.limit())
        if module.cycle is not None:
            module.stream.position %= module.cycle
        module.stream.task = task
        batch = module.stream.draw(size)
        sizes = memories_drawn(module.model.core, module.config.training, solved)
        if not sizes:
            return batch, None
        generator = generator_for(MEMORY_STREAM, module.config.seed, module.stream.rank, module.stream.position)
        return batch, sizes[int(torch.randint(len(sizes), (), generator=generator))]

    def moved(self, batch: Batch) -> Batch:
        """A batch on the model's device and in its dtype."""
        like = self._parameters[0]
        if like.device.type != "cpu" or batch.input.dtype != like.dtype:
            parts = (part if part is None else part.to(like.device) for part in batch)
            batch = Batch(*parts)  # type: ignore[arg-type]
            batch = batch._replace(input=batch.input.to(like.dtype), target=batch.target.to(like.dtype))
        return batch

    def _learn(self, batch: Batch, memory_size: int | None) -> tuple[float, float]:
        """Add the gradients of a batch to the parameters'; returns its share of the loss and of the errors."""
        module, task = self.module, self.module.stream.task
        logits = answer(module.model, batch.input, batch.lengths, memory_size)
        loss = task.loss(logits, batch) / module.accumulate
        value = loss.item()
        self.check(value)
        self._backward(loss)
        return value, training_errors(logits.detach(), batch, task).item() / module.accumulate

    def check(self, loss: float) -> None:
        """Raise NonFiniteError unless a loss is finite."""
        if not math.isfinite(loss):
            raise NonFiniteError(
                f"the loss is {loss} at update {self.module.trainer.global_step + 1}, after "
                f"{self.module.progress.sequences} sequences"
            )

    def step(self, loss: float, errors: float) -> Update:
        """Clip the gradients, set the learning rate, update, and count it.

        An update with gradients that are not finite is left out.

        Args:
            loss: in nats a sequence
            errors: of a sequence
        """
        optimiser = self.optimiser
        scaler = getattr(self.module.trainer.precision_plugin, "scaler", None)
        if scaler is not None:
            scaler.unscale_(optimiser.optimizer)
        norm = clip_gradients(self._parameters, self.module.config.optimiser).item()
        if not math.isfinite(norm) and scaler is None:  # which leaves such an update out by itself
            optimiser.zero_grad()
        self.set_rate()
        # Stepped all the same, so that Lightning counts it: without gradients nothing moves.
        optimiser.step()
        if math.isfinite(norm):
            self.average()
        return self.count(loss, errors, norm)

    def average(self) -> None:
        """Let the mean of the weights follow them, where there is one."""
        if self.module.average is not None:
            # torch's AveragedModel does the same in ten times as long.
            with torch.no_grad():
                torch._foreach_lerp_(self._averages, self._tensors, self.share())

    def share(self) -> float:
        """How much of the next mean the present weights are: all of the first one."""
        return 1 - self.module.config.optimiser.average if self.module.progress.sequences else 1.0

    def count(self, loss: float, errors: float, norm: float) -> Update:
        """Count an update that was made, or left out because the norm of its gradients is not finite."""
        module, finite = self.module, math.isfinite(norm)
        module.progress.skipped += not finite
        module.progress.sequences += module.sequences_per_step
        for observe in self._observers:
            observe(module, loss, errors)
        return Update(loss, errors, norm if finite else 0.0)

    def set_rate(self) -> None:
        """The learning rate and the weight decay of this moment."""
        config, progress = self.module.config, self.module.progress
        schedule, solved_at, training = config.schedule, progress.solved_at_sequences, config.training
        factor = rate_factor(schedule, progress.sequences, training.sequences)
        weight_decay = config.optimiser.weight_decay
        if solved_at is not None:
            after = progress.sequences - solved_at
            factor *= solved_factor(schedule, after, training.sequences_after_solved)
            if schedule.solved_weight_decay is not None:
                weight_decay = schedule.solved_weight_decay
        for group in self.optimiser.param_groups:
            group["lr"] = config.optimiser.learning_rate * factor
            group["weight_decay"] = weight_decay


def _choose_backward(module: TrainingModule) -> Callable[[torch.Tensor], None]:
    """Lightning's, or torch's own where Lightning's would go a long way to call nobody."""
    trainer: Any = module.trainer
    hooks = ("on_before_backward", "on_after_backward")
    heard = any(getattr(type(one), hook) is not getattr(Callback, hook) for one in trainer.callbacks for hook in hooks)
    own = any(
        getattr(type(module), name) is not getattr(LightningModule, name)
        for name in ("manual_backward", "backward", *hooks)
    )
    plain = type(trainer.strategy) is SingleDeviceStrategy and type(trainer.precision_plugin) is Precision
    return torch.Tensor.backward if plain and not heard and not own else module.manual_backward
