"""Runs that train in step: what their models compute is one call for all, and all else stays each run's own."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tapehead.tasks import Batch, Task
from tapehead.tasks.stream import generator_for
from tapehead.training.lightning.module import TrainingModule
from tapehead.training.metrics import training_errors
from tapehead.training.options.config import RunConfig
from tapehead.training.together.joint_steps import JointSteps, clip_each
from tapehead.training.together.stack import Stack
from tapehead.training.together.turns import Turns
from tapehead.training.updates import Update

__all__ = ["Ensemble", "is_own", "try_together"]


class _Training(NamedTuple):
    """Asked for: so many updates."""

    steps: int


class _Answering(NamedTuple):
    """Asked for: logits, without gradients."""

    input: Tensor
    memory_size: int | None


class _Drawn(NamedTuple):
    """Batches of members that one call learns from."""

    task: Task
    """whose loss it is"""
    memory_size: int | None
    form: tuple[int, bool] | None
    """their steps, and whether they have lengths, where the loss may look at that"""
    batches: dict[int, Batch]


class Ensemble:
    """Runs that differ in nothing but their seeds.

    Every run keeps its own trainer, random stream, clipping, optimiser, validation and files. What their models compute
    is computed together, for all that want the same number of slots; batches shorter than the longest are filled up,
    and their rows end where they did. A loss that is not of this package may see what fills them: there only batches of
    one length are computed together. Clipping is one call too, and so are the optimisers' steps, unless one stays out.

    Args:
        modules: of the runs
    """

    def __init__(self, modules: Sequence[TrainingModule]) -> None:
        self._modules = list(modules)
        self._turns = Turns(self._perform)
        self._stacks: dict[str, Stack] = {}
        self._steps: JointSteps | None = None
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
        """The stack of what the modules at work have by that name: their models, or the means of their weights."""
        models = [getattr(self._modules[member], name) for member in self._present]
        stack = self._stacks.get(name)
        if stack is None or stack.models != models or not stack.is_whole():
            stack = self._stacks[name] = Stack(models)
        return stack

    def _places(self, members: Iterable[int]) -> list[int]:
        """The places of members among those at work, which is where their models are in a stack."""
        return [self._present.index(member) for member in members]

    def _update(self, members: Sequence[int]) -> dict[int, Update | Exception]:
        """An update of each member, or why it could make none."""
        stack = self._stack("model")
        stack.zero_grad()
        made: dict[int, Update | Exception] = {}
        drawn: list[int] = []
        learned: list[Tensor] = []
        accumulate = self._modules[0].accumulate
        for _ in range(accumulate):
            for task, memory_size, _, batches in self._draw(members, made):
                drawn += batches
                at_work = self._modules[next(iter(batches))]  # one that has ended has left the device
                batch = at_work.updates.moved(_stacked(list(batches.values())))
                learned.append(_learn(stack, self._places(batches), task, accumulate, batch, memory_size))
        if not drawn:
            return made
        norms = clip_each(stack, self._modules[0].config.optimiser)
        # All that the host has to wait for, in one piece.
        told = torch.cat([torch.cat(learned, 1).flatten(), norms.to(learned[0])]).tolist()
        losses, errors = dict.fromkeys(members, 0.0), dict.fromkeys(members, 0.0)
        for member, loss, wrong in zip(drawn, told, told[len(drawn) :], strict=False):
            losses[member] += loss
            errors[member] += wrong
        norm_of = dict(zip(self._present, told[2 * len(drawn) :], strict=True))
        ready: list[int] = []
        for member in members:
            if member not in made:
                updates = self._modules[member].updates
                try:
                    updates.check(losses[member])
                    updates.set_rate()
                    ready.append(member)
                except Exception as error:
                    made[member] = error
        finite = [member for member in ready if math.isfinite(norm_of[member])]
        together = self._step_together(stack, finite)
        for member in ready:
            updates = self._modules[member].updates
            try:
                updates.optimiser.step()  # which Lightning counts; without gradients nothing moves
                if not together and member in finite:
                    updates.average()
                made[member] = updates.count(losses[member], errors[member], norm_of[member])
            except Exception as error:
                made[member] = error
        return made

    def _draw(self, members: Sequence[int], failed: dict[int, Update | Exception]) -> list[_Drawn]:
        """The next batch of each member that has not failed, those in one piece that can be learned from at once."""
        drawn: list[_Drawn] = []
        for member in members:
            if member not in failed:
                module = self._modules[member]
                try:
                    batch, memory_size = module.updates.draw()
                except Exception as error:
                    failed[member] = error
                else:
                    # What a curriculum changes of a task of the package changes its sequences, and not what they cost.
                    own = is_own(module.config.task)
                    task = module.config.task if own else module.stream.task
                    form = None if own else (len(batch.input), batch.lengths is not None)
                    for like in drawn:
                        if like.memory_size == memory_size and like.task == task and like.form == form:
                            like.batches[member] = batch
                            break
                    else:
                        drawn.append(_Drawn(task, memory_size, form, {member: batch}))
        return drawn

    def _step_together(self, stack: Stack, finite: Sequence[int]) -> bool:
        """Make one step for all, if all have finite gradients; otherwise give these out, and leave the steps to all."""
        if self._steps is None or self._steps.stack is not stack:
            optimisers = [self._modules[member].optimizers().optimizer for member in self._present]  # type: ignore
            self._steps = JointSteps(stack, optimisers, self._modules[0].config.optimiser)
        if list(finite) != self._present or not self._steps.can_step():
            stack.give_gradients(self._places(finite))
            return False
        self._steps.step()
        modules = [self._modules[member] for member in finite]
        shares = {module.updates.share() for module in modules}
        if len(shares) > 1:
            for module in modules:
                module.updates.average()
        elif modules[0].average is not None:
            means = list(self._stack("average").parameters.values())
            with torch.no_grad():
                torch._foreach_lerp_(means, list(stack.parameters.values()), shares.pop())
        return True

    def _logits(self, asked: Mapping[int, _Answering]) -> dict[int, Tensor]:
        given: dict[int, Tensor] = {}
        alike: dict[Any, list[int]] = defaultdict(list)
        for member, request in asked.items():
            alike[request.input.shape, request.memory_size].append(member)
        if not alike:
            return given
        stack = self._stack("model" if self._modules[0].average is None else "average")
        with torch.inference_mode():  # a stack that is made in here could never be trained
            for (_, memory_size), members in alike.items():
                inputs = torch.stack([asked[member].input for member in members])
                logits = stack.map(_answer, self._places(members), inputs, memory_size)
                given.update(zip(members, logits.unbind(), strict=True))
        return given


def is_own(task: Task) -> bool:
    """Whether a task is of this package."""
    return type(task).__module__.startswith("tapehead.")


def try_together(config: RunConfig) -> None:
    """Compute the losses of two models of a configuration, and their gradients, in one call.

    Raises:
        RuntimeError: something in its task or model cannot be computed so; the message is torch's.
    """
    batches = [config.task.training_sample(1, generator_for(member)) for member in range(2)]
    _learn(Stack([config.build_model() for _ in batches]), [0, 1], config.task, 1, _stacked(batches), None)


def _learn(
    stack: Stack, places: Sequence[int], task: Task, accumulate: int, batch: Batch, memory_size: int | None
) -> Tensor:
    """Add the gradients of members' batches to those of the stack.

    Args:
        stack: of the models
        places: the members' in it
        task: of all
        accumulate: batches that make an update
        batch: of tensors (members, ...)
        memory_size: slots; None are the models' own

    Returns:
        (2, members): each one's share of its loss, and of its errors
    """

    def learn(answer: Callable[..., Tensor], batch: Batch, memory_size: int | None) -> tuple[Tensor, Tensor]:
        logits = answer(batch.input, batch.lengths, memory_size)
        return task.loss(logits, batch) / accumulate, training_errors(logits.detach(), batch, task) / accumulate

    losses, errors = stack.map(learn, places, batch, memory_size)
    losses.sum().backward()
    return torch.stack([losses.detach(), errors.to(losses.dtype)])


def _answer(answer: Callable[..., Tensor], input: Tensor, memory_size: int | None) -> Tensor:
    return answer(input, None, memory_size)


def _stacked(batches: Sequence[Batch]) -> Batch:
    """Batches as one of tensors (batches, ...), as long as the longest."""
    steps = [len(batch.input) for batch in batches]
    lengths = None
    if len(set(steps)) > 1 or batches[0].lengths is not None:
        lengths = torch.stack([_lengths(batch) for batch in batches])

    return Batch(*(pad_sequence([batch[part] for batch in batches], True) for part in range(3)), lengths)  # type: ignore


def _lengths(batch: Batch) -> Tensor:
    """(B,)"""
    if batch.lengths is not None:
        return batch.lengths
    return torch.full(batch.input.shape[1:2], len(batch.input), device=batch.input.device)
