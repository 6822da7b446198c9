"""Runs that train in step: what their models compute is one call for all, and all else stays each run's own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tapehead.tasks import Batch, Task
from tapehead.tasks.stream import generator_for
from tapehead.training.config import RunConfig
from tapehead.training.metrics import training_errors
from tapehead.training.module import TrainingModule
from tapehead.training.stack import Stack
from tapehead.training.turns import Turns
from tapehead.training.updates import Update

__all__ = ["Ensemble", "try_together"]


class _Training(NamedTuple):
    """Asked for: so many updates."""

    steps: int


class _Answering(NamedTuple):
    """Asked for: logits, without gradients."""

    input: Tensor
    memory_size: int | None


class Ensemble:
    """Runs that differ in nothing but their seeds.

    Every run keeps its own trainer, random stream, clipping, optimiser, validation and files. The forward and backward
    of their models are computed together, for all that want the same number of slots; batches shorter than the longest
    are filled up, and their rows end where they did.

    Args:
        modules: of the runs
    """

    def __init__(self, modules: Sequence[TrainingModule]) -> None:
        self._modules = list(modules)
        self._turns = Turns(self._perform)
        self._stacks: dict[str, Stack] = {}
        self._present: list[int] = []
        for module in modules:
            module.companions = self

    def run(self, jobs: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run jobs, each of which has Lightning train a module; returns what each returned, or what ended it."""
        return self._turns.run(jobs)

    def train(self, steps: int) -> list[Update]:
        """Make so many updates: called by the module whose turn it is.

        Raises:
            NonFiniteError: its loss is not finite.
            Exception: what else went wrong, of its own or of all.
        """
        updates: list[Update] = self._turns.ask(_Training(steps))
        return updates

    def answer(self, input: Tensor, memory_size: int | None) -> Tensor:
        """Logits (T, B, O), without gradients: called by the module whose turn it is."""
        logits: Tensor = self._turns.ask(_Answering(input, memory_size))
        return logits

    def _perform(self, asked: Mapping[int, Any]) -> dict[int, Any]:
        self._present = sorted(asked)  # the others have ended, and Lightning may have moved their models
        steps = {member: request.steps for member, request in asked.items() if isinstance(request, _Training)}
        given: dict[int, Any] = {member: [] for member in steps}
        for step in range(max(steps.values(), default=0)):
            members = [member for member, count in steps.items() if count > step and isinstance(given[member], list)]
            for member, update in self._update(members).items():
                if isinstance(update, Update):
                    given[member].append(update)
                else:
                    given[member] = update
        return given | self._logits({member: request for member, request in asked.items() if member not in steps})

    def _stack(self, name: str) -> Stack:
        """Of what the modules at work have by that name: their models, or the means of their weights."""
        models = [getattr(self._modules[member], name) for member in self._present]
        stack = self._stacks.get(name)
        if stack is None or stack.models != models or not stack.is_whole():
            stack = self._stacks[name] = Stack(models)
        return stack

    def _places(self, members: Iterable[int]) -> list[int]:
        """Of members among those at work, which is where their models are in a stack."""
        return [self._present.index(member) for member in members]

    def _update(self, members: Sequence[int]) -> dict[int, Update | Exception]:
        """An update of each member, or why it could make none."""
        stack = self._stack("model")
        stack.zero_grad()
        losses, errors = dict.fromkeys(members, 0.0), dict.fromkeys(members, 0.0)
        made: dict[int, Update | Exception] = {}
        accumulate, task = self._modules[0].accumulate, self._modules[0].config.task
        for _ in range(accumulate):
            drawn: dict[int | None, dict[int, Batch]] = defaultdict(dict)
            for member in members:
                if member not in made:
                    try:
                        batch, memory_size = self._modules[member].updates.draw()
                        drawn[memory_size][member] = batch
                    except Exception as error:
                        made[member] = error
            for memory_size, batches in drawn.items():
                found = _learn(stack, self._places(batches), task, accumulate, batches, memory_size)
                for member, loss, wrong in zip(batches, *found, strict=True):
                    losses[member] += loss
                    errors[member] += wrong
        stack.give_gradients(self._places(members))
        for member in members:
            updates = self._modules[member].updates
            if member not in made:
                try:
                    updates.check(losses[member])
                    made[member] = updates.step(losses[member], errors[member])
                except Exception as error:
                    made[member] = error
        return made

    def _logits(self, asked: Mapping[int, _Answering]) -> dict[int, Tensor]:
        given: dict[int, Tensor] = {}
        alike: dict[Any, list[int]] = defaultdict(list)
        for member, request in asked.items():
            alike[request.input.shape, request.memory_size].append(member)
        with torch.inference_mode():
            for (_, memory_size), members in alike.items():
                stack = self._stack("model" if self._modules[0].average is None else "average")
                inputs = torch.stack([asked[member].input for member in members])
                logits = stack.map(_answer, self._places(members), inputs, memory_size)
                given.update(zip(members, logits.unbind(), strict=True))
        return given


def try_together(config: RunConfig) -> None:
    """Compute the losses of two models of a configuration, and their gradients, in one call.

    Raises:
        RuntimeError: something in its task or model cannot be computed so; the message is torch's.
    """
    batches = {member: config.task.training_sample(1, generator_for(member)) for member in range(2)}
    _learn(Stack([config.build_model() for _ in batches]), [0, 1], config.task, 1, batches, None)


def _learn(
    stack: Stack,
    places: Sequence[int],
    task: Task,
    accumulate: int,
    batches: Mapping[int, Batch],
    memory_size: int | None,
) -> tuple[list[float], list[float]]:
    """Add the gradients of members' batches to those of the stack, in which their models have these places.

    Returns:
        each one's share of its loss, and of its errors
    """

    def learn(answer: Callable[..., Tensor], batch: Batch, memory_size: int | None) -> tuple[Tensor, Tensor]:
        logits = answer(batch.input, batch.lengths, memory_size)
        return task.loss(logits, batch) / accumulate, training_errors(logits.detach(), batch, task) / accumulate

    losses, errors = stack.map(learn, places, _stacked(list(batches.values())), memory_size)
    losses.sum().backward()
    return losses.tolist(), errors.tolist()


def _answer(answer: Callable[..., Tensor], input: Tensor, memory_size: int | None) -> Tensor:
    return answer(input, None, memory_size)


def _stacked(batches: Sequence[Batch]) -> Batch:
    """Batches as one of tensors (batches, ...), as long as the longest."""
    steps = [len(batch.input) for batch in batches]
    lengths = None
    if len(set(steps)) > 1 or batches[0].lengths is not None:
        lengths = torch.stack([_lengths(batch) for batch in batches])

    def filled(tensors: Sequence[Tensor]) -> Tensor:
        longer = [(0, 0) * (tensor.dim() - 1) + (0, max(steps) - len(tensor)) for tensor in tensors]
        return torch.stack([functional.pad(tensor, more) for tensor, more in zip(tensors, longer, strict=True)])

    return Batch(*(filled([batch[part] for batch in batches]) for part in range(3)), lengths)  # type: ignore


def _lengths(batch: Batch) -> Tensor:
    """(B,)"""
    if batch.lengths is not None:
        return batch.lengths
    return torch.full(batch.input.shape[1:2], len(batch.input), device=batch.input.device)
