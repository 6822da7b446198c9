"""What is done to the parameters of several runs once their gradients are known, for all of them at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tapehead.training.optimisers import GravesRMSprop, build_optimiser, in_rows
from tapehead.training.options.config import OptimiserConfig
from tapehead.training.together.stack import Stack

__all__ = ["JointSteps", "clip_each"]

MAY_DIFFER = ("lr", "weight_decay")
"""options that schedules change, each run's at its own time"""


def clip_each(stack: Stack, config: OptimiserConfig) -> Tensor:
    """Clip the gradients of each model of a stack as the options say.

    Returns:
        (models,) norms from before, 0 where there is no gradient
    """
    gradients = list(stack.gradients().values())
    if not gradients:
        return torch.zeros(len(stack.models))
    parts = [torch.linalg.vector_norm(gradient.view(len(gradient), -1), dim=1) for gradient in gradients]
    norms = torch.linalg.vector_norm(torch.stack(parts), dim=0)
    if config.clip == "norm":
        factors = (config.clip_limit / (norms + 1e-6)).clamp(max=1)
        torch._foreach_mul_(gradients, in_rows(factors, gradients))
    elif config.clip == "value":
        torch._foreach_clamp_min_(gradients, -config.clip_limit)
        torch._foreach_clamp_max_(gradients, config.clip_limit)
    return norms


class JointSteps:
    """Steps of the optimisers of all models of a stack, made at once.

    Each optimiser stays its model's own, and may make the next step alone: what it keeps becomes a part of one tensor,
    as the parameters are.

    Args:
        stack: of the models
        optimisers: each model's, in the order of the stack
        config: their options

    >>> from tapehead import NTM, SequenceModel
    >>> models = [SequenceModel(NTM(input_size=3, hidden_size=5), target_size=2) for _ in range(2)]
    >>> config = OptimiserConfig()
    >>> optimisers = [build_optimiser(config, model.parameters()) for model in models]
    >>> stack = Stack(models)
    >>> steps = JointSteps(stack, optimisers, config)
    >>> for _ in range(2):
    ...     stack.map(lambda answer, input: answer(input), [0, 1], torch.ones(2, 6, 1, 3)).sum().backward()
    ...     if steps.can_step():
    ...         steps.step()
    ...     else:  # before each has made its first
    ...         stack.give_gradients([0, 1])
    ...         _ = [optimiser.step() for optimiser in optimisers]
    >>> steps.can_step()
    True
    """

    def __init__(self, stack: Stack, optimisers: Sequence[torch.optim.Optimizer], config: OptimiserConfig) -> None:
        self.stack = stack
        self._own = list(optimisers)
        self._joint = build_optimiser(config, stack.parameters.values())  # type: ignore[arg-type]
        self._told: list[list[float]] = []

    def can_step(self) -> bool:
        """Whether one step does what all would: each has made its first, and none has left one out that counts."""
        names = list(self.stack.gradients())
        if not all(self.stack.parameters[name] in self._joint.state or self._take(name) for name in names):
            return False
        counted = {
            float(own.state[part]["step"])
            for name in names[:1]
            for own, part in zip(self._own, self.stack.parts(name), strict=True)
            if "step" in own.state[part]
        }
        return len(counted) <= 1 and self._follow_options()

    def step(self) -> None:
        """Make them, with the gradients of the stack, where `can_step` says so."""
        self._joint.step()
        # The joint optimiser counts in the first one's numbers.
        counts = [
            own.state[part]["step"]
            for name in self.stack.gradients()
            for own, part in zip(self._own[1:], self.stack.parts(name)[1:], strict=True)
            if "step" in own.state[part]
        ]
        if counts:
            torch._foreach_add_(counts, 1)

    def _take(self, name: str) -> bool:
        """Put what the optimisers keep of a parameter into one tensor each; False where one keeps nothing yet."""
        parts = self.stack.parts(name)
        if not all(own.state.get(part) for own, part in zip(self._own, parts, strict=True)):
            return False
        states = [own.state[part] for own, part in zip(self._own, parts, strict=True)]
        joint = self._joint.state[self.stack.parameters[name]]
        for key in states[0]:
            if key == "step":
                joint[key] = states[0][key]
            else:
                joint[key] = torch.stack([state[key] for state in states])
                for state, place in zip(states, joint[key].unbind(), strict=True):
                    state[key] = place
        return True

    def _follow_options(self) -> bool:
        """Make the joint optimiser's options those of all; False where it has no way to."""
        (group,) = self._joint.param_groups
        told = [[float(own.param_groups[0][name]) for own in self._own] for name in MAY_DIFFER]
        if told != self._told:
            self._told = told
            for name, values in zip(MAY_DIFFER, told, strict=True):
                group[name] = values[0] if len(set(values)) == 1 else group["params"][0].new_tensor(values)
        return isinstance(self._joint, GravesRMSprop) or not any(isinstance(group[name], Tensor) for name in MAY_DIFFER)
