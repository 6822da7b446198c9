"""The optimiser against its equations, and the learning rate over a run."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tapehead.training.config import OptimiserConfig, ScheduleConfig
from tapehead.training.optimisers import GravesRMSprop, build_optimiser, clip_gradients, rate_factor


def test_graves_rmsprop_is_equations_38_to_41():
    random = np.random.default_rng(0)
    weight = random.normal(size=(3, 2))
    parameter = torch.nn.Parameter(torch.from_numpy(weight.copy()))
    optimiser = GravesRMSprop([parameter], learning_rate=0.01, decay=0.9, momentum=0.8, eps=1e-3, weight_decay=0.1)
    square, mean, delta = np.zeros_like(weight), np.zeros_like(weight), np.zeros_like(weight)
    for _ in range(20):
        gradient = random.normal(size=weight.shape)
        parameter.grad = torch.from_numpy(gradient.copy())
        optimiser.step()
        gradient = gradient + 0.1 * weight
        square = 0.9 * square + 0.1 * gradient**2
        mean = 0.9 * mean + 0.1 * gradient
        delta = 0.8 * delta - 0.01 * gradient / np.sqrt(square - mean**2 + 1e-3)
        weight = weight + delta
        np.testing.assert_allclose(parameter.detach().numpy(), weight, rtol=1e-12)


def test_graves_rmsprop_stays_finite_where_the_variance_rounds_below_zero():
    parameter = torch.nn.Parameter(torch.zeros(1000))
    optimiser = GravesRMSprop([parameter], eps=1e-12)
    for _ in range(300):
        parameter.grad = torch.linspace(1, 1e4, 1000)
        optimiser.step()
    assert parameter.isfinite().all()


@pytest.mark.parametrize("name", ["rmsprop_graves", "rmsprop", "adam", "adamw"])
def test_an_optimiser_saved_and_loaded_goes_on_as_before(name):
    def steps(optimiser, parameter, seed):
        generator = torch.Generator().manual_seed(seed)
        for _ in range(3):
            parameter.grad = torch.randn(5, generator=generator)
            optimiser.step()

    config = OptimiserConfig(name=name, learning_rate=0.1)
    parameter = torch.nn.Parameter(torch.ones(5))
    optimiser = build_optimiser(config, [parameter])
    steps(optimiser, parameter, 0)
    other = torch.nn.Parameter(parameter.detach().clone())
    loaded = build_optimiser(config, [other])
    loaded.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    steps(optimiser, parameter, 1)
    steps(loaded, other, 1)
    assert torch.equal(parameter, other)
    assert not torch.equal(parameter, torch.ones(5))


def test_parameters_without_a_gradient_stay():
    used, unused = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimiser = GravesRMSprop([used, unused])
    optimiser.step()
    used.grad = torch.ones(2)
    optimiser.step()
    assert torch.equal(unused, torch.ones(2))
    assert not torch.equal(used, torch.ones(2))


@pytest.mark.parametrize(
    ("clip", "expected"),
    [("norm", [0.6, 0.8]), ("value", [1.0, 1.0]), ("none", [3.0, 4.0])],
)
def test_clipping(clip, expected):
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([3.0, 4.0])
    norm = clip_gradients([parameter], OptimiserConfig(clip=clip, clip_limit=1.0))
    assert norm == 5
    torch.testing.assert_close(parameter.grad, torch.tensor(expected), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("config", "factors"),
    [
        (ScheduleConfig(), [1, 1, 1, 1, 1]),
        (ScheduleConfig("constant", warmup_sequences=50), [0.02, 0.5, 1, 1, 1]),
        (ScheduleConfig("linear"), [1, 0.75, 0.5, 0.25, 0]),
        (ScheduleConfig("linear", final_fraction=0.2), [1, 0.8, 0.6, 0.4, 0.2]),
        (ScheduleConfig("cosine"), [1, 0.853553, 0.5, 0.146447, 0]),
        (ScheduleConfig("linear", hold_sequences=50), [1, 1, 1, 0.5, 0]),
        (ScheduleConfig("linear", warmup_sequences=25, hold_sequences=25), [0.04, 1, 1, 0.5, 0]),
    ],
)
def test_the_rate_over_a_run(config, factors):
    found = [rate_factor(config, seen, 100) for seen in (0, 25, 50, 75, 100)]
    assert found == pytest.approx(factors, abs=1e-6)
    solved = [rate_factor(config, seen, 100, solved=True) for seen in (0, 25, 50, 75, 100)]
    assert solved == pytest.approx([factor * config.solved_fraction for factor in factors], abs=1e-6)
