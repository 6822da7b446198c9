"""The steps of several runs' optimisers, made at once, against those that each would make."""

from __future__ import annotations

import copy

import pytest
import torch

from tapehead.nn import NTM, SequenceModel
from tapehead.training.optimisers import build_optimiser, clip_gradients
from tapehead.training.options.config import OptimiserConfig
from tapehead.training.together.joint_steps import JointSteps, clip_each
from tapehead.training.together.stack import Stack

OPTIMISERS = ("rmsprop_graves", "rmsprop", "adam", "adamw")


class Runs:
    """Three models with their optimisers, in a stack, and the same three alone."""

    def __init__(self, config: OptimiserConfig) -> None:
        self.config = config
        self.models = [SequenceModel(NTM(3, 5, memory_size=6, word_size=4, dtype=torch.float64), 2) for _ in range(3)]
        self.models[0].readout.bias.requires_grad_(False)
        for model in self.models[1:]:
            model.readout.bias.requires_grad_(False)
        self.alone = copy.deepcopy(self.models)
        self.optimisers = self._built(self.models)
        self.expected = self._built(self.alone)
        self.stack = Stack(self.models)
        self.steps = JointSteps(self.stack, self.optimisers, config)

    def _built(self, models: list[SequenceModel]) -> list[torch.optim.Optimizer]:
        return [build_optimiser(self.config, model.parameters()) for model in models]

    def learn(self, scale: float = 1.0) -> None:
        """Give everybody gradients, the same to those in the stack as to those alone."""
        self.stack.zero_grad()
        for name, stacked in self.stack.parameters.items():
            if stacked.requires_grad:
                stacked.grad = scale * torch.randn_like(stacked)
                for model, gradient in zip(self.alone, stacked.grad, strict=True):
                    model.get_parameter(name).grad = gradient.clone()

    def step(self, members: tuple[int, ...] = (0, 1, 2)) -> bool:
        """Step those; returns whether it was done at once."""
        at_once = len(members) == len(self.models) and self.steps.can_step()
        if at_once:
            self.steps.step()
        else:
            self.stack.give_gradients(members)
        for member in members:
            self.optimisers[member].step()  # of which nothing is to come where it was done
            self.expected[member].step()
        return at_once

    def assert_alike(self) -> None:
        for model, other in zip(self.models, self.alone, strict=True):
            for parameter, expected in zip(model.parameters(), other.parameters(), strict=True):
                assert torch.allclose(parameter, expected, rtol=1e-10, atol=1e-12)
        for one, other in zip(self.optimisers, self.expected, strict=True):
            left, right = one.state_dict()["state"], other.state_dict()["state"]
            assert left.keys() == right.keys()
            for place, state in right.items():
                for name, tensor in state.items():
                    assert torch.allclose(left[place][name], tensor, rtol=1e-10, atol=1e-12), (place, name)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_each_steps_as_it_would_alone(name: str):
    runs = Runs(OptimiserConfig(name=name, learning_rate=0.01, weight_decay=0.1))  # type: ignore[arg-type]
    for update in range(4):
        runs.learn()
        assert runs.step() == (update > 0)  # each makes its first alone
        runs.assert_alike()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_options_that_differ(name: str):
    runs = Runs(OptimiserConfig(name=name, learning_rate=0.01))  # type: ignore[arg-type]
    for update in range(6):
        differ = update in (2, 3)
        for optimisers in (runs.optimisers, runs.expected):
            for place, optimiser in enumerate(optimisers):
                optimiser.param_groups[0]["lr"] = 0.01 * (1 + differ * place) / (1 + update)
                optimiser.param_groups[0]["weight_decay"] = 0.1 * differ * place
        runs.learn()
        assert runs.step() == (update > 0 and (not differ or name == "rmsprop_graves"))
        runs.assert_alike()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_one_that_leaves_a_step_out(name: str):
    runs = Runs(OptimiserConfig(name=name, learning_rate=0.01))  # type: ignore[arg-type]
    found = []
    for members in ((0, 1, 2), (0, 1, 2), (0, 2), (0, 1, 2), (1,), (0, 1, 2)):
        runs.learn()
        found.append(runs.step(members))
        runs.assert_alike()
    # torch's optimisers count their steps, of which they take one number for all parameters.
    counted = name != "rmsprop_graves"
    assert found == [False, True, False, not counted, False, True]


def test_a_parameter_whose_first_gradient_comes_late():
    runs = Runs(OptimiserConfig(name="adam", learning_rate=0.01))
    late = "core.cell.heads.bias"
    for update in range(5):
        runs.learn()
        if update < 2:
            runs.stack.parameters[late].grad = None
            for model in runs.alone:
                model.get_parameter(late).grad = None
        assert runs.step() == (update not in (0, 2))
        runs.assert_alike()


def test_a_new_stack_goes_on():
    runs = Runs(OptimiserConfig(name="rmsprop", learning_rate=0.01))
    for update in range(4):
        if update == 2:
            for optimiser in runs.optimisers:
                optimiser.load_state_dict(copy.deepcopy(optimiser.state_dict()))
            runs.stack = Stack(runs.models)
            runs.steps = JointSteps(runs.stack, runs.optimisers, runs.config)
        runs.learn()
        assert runs.step() == (update > 0)
        runs.assert_alike()


@pytest.mark.parametrize("clip", ["norm", "value", "none"])
def test_gradients_are_clipped_as_each_alone(clip: str):
    config = OptimiserConfig(clip=clip, clip_limit=0.5)  # type: ignore[arg-type]
    runs = Runs(config)
    for scale in (1e-3, 10.0):
        runs.learn(scale)
        runs.stack.parameters["core.cell.heads.bias"].grad[1] *= 100  # type: ignore[index]
        runs.alone[1].get_parameter("core.cell.heads.bias").grad *= 100
        norms = clip_each(runs.stack, config)
        for place, model in enumerate(runs.alone):
            norm = clip_gradients(list(model.parameters()), config)
            assert torch.allclose(norms[place], norm, rtol=1e-10)
        runs.stack.give_gradients([0, 1, 2])
        for model, other in zip(runs.models, runs.alone, strict=True):
            for parameter, expected in zip(model.parameters(), other.parameters(), strict=True):
                if expected.grad is not None:
                    assert torch.allclose(parameter.grad, expected.grad, rtol=1e-9)


def test_norms_of_nothing():
    stack = Stack([SequenceModel(NTM(3, 5), 2) for _ in range(2)])
    assert clip_each(stack, OptimiserConfig()).tolist() == [0, 0]


def test_a_norm_that_is_not_finite_is_its_own():
    runs = Runs(OptimiserConfig())
    runs.learn()
    runs.stack.parameters["readout.weight"].grad[1, 0, 0] = torch.inf  # type: ignore[index]
    assert torch.isfinite(clip_each(runs.stack, runs.config)).tolist() == [True, False, True]
    runs.stack.give_gradients([0, 2])
    for model in (runs.models[0], runs.models[2]):
        assert all(one.grad is None or one.grad.isfinite().all() for one in model.parameters())
