"""The optimiser against its equations, and the learning rate over a run."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tapehead import core
from tapehead.training import optimisers
from tapehead.training.optimisers import GravesRMSprop, build_optimiser, clip_gradients, rate_factor, solved_factor
from tapehead.training.options.config import OptimiserConfig, ScheduleConfig


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


def test_graves_rmsprop_follows_a_gradient_that_is_a_negative_view():
    parameter = torch.nn.Parameter(torch.zeros(1))
    one = torch.ones(1)
    (torch.complex(one, parameter).conj() * torch.complex(one, one)).imag.sum().backward()
    assert parameter.grad.is_neg()
    GravesRMSprop([parameter]).step()
    assert parameter > 0


def test_graves_rmsprop_refuses_a_sparse_gradient_before_it_changes_anything():
    weight, embedding = torch.nn.Parameter(torch.zeros(2)), torch.nn.Embedding(5, 3, sparse=True)
    (embedding(torch.tensor([1])).sum() + weight.sum()).backward()
    with pytest.raises(ValueError, match=r"expected dense gradients, got a sparse one of a parameter \(5, 3\)"):
        GravesRMSprop([{"params": [weight]}, {"params": embedding.parameters()}]).step()
    assert torch.equal(weight, torch.zeros(2))


def test_a_group_of_graves_rmsprop_has_its_rate_as_lr():
    still, moved = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    still.grad, moved.grad = torch.ones(1), torch.ones(1)
    GravesRMSprop([{"params": [still], "lr": 0.0}, {"params": [moved]}]).step()
    assert still == 0
    assert moved < 0
    with pytest.raises(ValueError, match="expected a group's learning rate as lr"):
        GravesRMSprop([{"params": [still], "learning_rate": 0.1}])


# Sizes around a vector's, one that several threads share, and one that is empty.
SIZES = [(1,), (3, 5), (8,), (17, 31), (0,), (40_001,)]
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def gradients_of(dtype: torch.dtype, seed: int, scale: float = 1.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(size, generator=generator, dtype=torch.float64).to(dtype) for size in SIZES]


@pytest.fixture
def no_core(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has the operations of torch do what the core would do."""
    return lambda: monkeypatch.setattr(optimisers, "_fits_the_core", lambda *lists: False)


def assert_alike(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    eps = torch.finfo(found[0].dtype).eps
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=100 * eps, atol=100 * eps)


@dtypes
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_an_update_in_the_core_is_that_of_torchs_operations(dtype: torch.dtype, weight_decay: float, no_core):
    assert optimisers._fits_the_core(gradients_of(dtype, 0)) == (not core.why_not())
    results = []
    for prepare in (lambda: None, no_core):
        prepare()
        parameters = [torch.nn.Parameter(tensor) for tensor in gradients_of(dtype, 1)]
        optimiser = GravesRMSprop(parameters, learning_rate=0.01, weight_decay=weight_decay)
        for step in range(5):
            for parameter, gradient in zip(parameters, gradients_of(dtype, 2 + step), strict=True):
                parameter.grad = gradient
            versions = [parameter._version for parameter in parameters]
            optimiser.step()
            assert all(parameter._version > before for parameter, before in zip(parameters, versions, strict=True))
        states = [optimiser.state[parameter][name] for parameter in parameters for name in ("square", "mean", "delta")]
        results.append([parameter.detach() for parameter in parameters] + states)
    assert_alike(*results)


def test_what_the_core_works_on():
    plain = torch.ones(3, 2)
    assert optimisers._fits_the_core([plain], [plain], [plain]) == (not core.why_not())
    others = [
        plain.double(),
        plain.half(),
        plain.to("meta"),
        torch.ones(2, 3).T,
        torch.ones(2, 3),
        torch.ones(4, 2),
        plain.as_subclass(type("Mine", (torch.Tensor,), {})),
    ]
    for other in others:
        assert not optimisers._fits_the_core([plain, plain], [plain, other])
    assert not optimisers._fits_the_core([plain.half()], [plain.half()])


def test_a_state_of_another_dtype_is_an_error():
    layer = torch.nn.Linear(300, 300)
    optimiser = GravesRMSprop(layer.parameters())
    for dtype in (torch.float32, torch.float64):
        layer.to(dtype)
        for parameter in layer.parameters():
            parameter.grad = torch.ones_like(parameter)
        if dtype == torch.float32:
            optimiser.step()
    with pytest.raises(RuntimeError, match="dtype"):
        optimiser.step()


def test_a_state_of_other_strides_makes_the_same_update():
    results = []
    for strided in (False, True):
        parameter = torch.nn.Parameter(torch.arange(6.0).view(2, 3))
        optimiser = GravesRMSprop([parameter], learning_rate=0.1)
        for seed in range(3):
            parameter.grad = torch.randn(2, 3, generator=torch.Generator().manual_seed(seed))
            optimiser.step()
            for name, tensor in optimiser.state[parameter].items():
                optimiser.state[parameter][name] = tensor.T.contiguous().T if strided else tensor
        results.append(parameter.detach())
    assert_alike([results[1]], [results[0]])


@dtypes
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e15, float("nan"), float("inf")])
def test_clipping_in_the_core_is_that_of_torchs_operations(dtype: torch.dtype, scale: float, no_core):
    results = []
    for prepare in (lambda: None, no_core):
        prepare()
        parameters = [torch.nn.Parameter(torch.zeros(size, dtype=dtype)) for size in SIZES]
        for parameter, gradient in zip(parameters, gradients_of(dtype, 1), strict=True):
            parameter.grad = gradient * scale
        norm = clip_gradients(parameters, OptimiserConfig(clip="norm", clip_limit=10.0))
        results.append([norm, *(parameter.grad for parameter in parameters)])
    for left, right in zip(*results, strict=True):  # torch divides by the norm and a millionth
        torch.testing.assert_close(left, right, rtol=1e-4 if dtype == torch.float32 else 1e-6, atol=0, equal_nan=True)


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


BETAS, MOMENTUM = {"betas": (0.7, 0.95)}, {"momentum": 0.8}


@pytest.mark.parametrize(
    ("name", "kind", "eps", "expected"),
    [
        ("rmsprop_graves", GravesRMSprop, 1e-4, {"decay": 0.9, **MOMENTUM}),
        ("rmsprop", torch.optim.RMSprop, 1e-4, {"alpha": 0.9, "centered": True, **MOMENTUM}),
        ("adam", torch.optim.Adam, 1e-8, BETAS),
        ("adamw", torch.optim.AdamW, 1e-8, BETAS),
    ],
)
def test_what_the_options_are_to_each_optimiser(name, kind, eps, expected):
    given = {"learning_rate": 0.01, "decay": 0.9, "weight_decay": 0.05, **BETAS, **MOMENTUM}
    for option, used in ((None, eps), (1e-3, 1e-3)):
        parameter = torch.nn.Parameter(torch.ones(1))
        optimiser = build_optimiser(OptimiserConfig(name=name, eps=option, **given), [parameter])
        assert type(optimiser) is kind
        assert optimiser.defaults.items() >= {"lr": 0.01, "weight_decay": 0.05, "eps": used, **expected}.items()


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


@pytest.mark.parametrize(
    ("config", "factors"),
    [
        (ScheduleConfig(), [0.1] * 5),
        (ScheduleConfig(solved_fraction=0.5), [0.5] * 5),
        (ScheduleConfig(solved_fraction=0.5, solved_kind="cosine"), [0.5, 0.426777, 0.25, 0.073223, 0]),
    ],
)
def test_the_rate_once_solved(config, factors):
    found = [solved_factor(config, seen, 100) for seen in (0, 25, 50, 75, 100)]
    assert found == pytest.approx(factors, abs=1e-6)
    assert solved_factor(config, 0, 0) == config.solved_fraction


def test_graves_rmsprop_with_a_rate_that_is_a_tensor():
    parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in ((), (3,), (3, 2))]
    others = copy.deepcopy(parameters)
    with_tensor = GravesRMSprop(parameters, learning_rate=torch.tensor(0.1))
    for optimiser in (with_tensor, GravesRMSprop(others, learning_rate=0.1)):
        for _ in range(3):
            for parameter in optimiser.param_groups[0]["params"]:
                parameter.grad = 2 * parameter.detach() + 1
            optimiser.step()
    torch.testing.assert_close(parameters, others)


REFUSED = {"learning_rate": [-1e-3, float("nan")], "decay": [-0.1, 1.5], "momentum": [-0.9], "eps": [-1e-4]}


@pytest.mark.parametrize(("option", "value"), [(name, value) for name in REFUSED for value in REFUSED[name]])
def test_graves_rmsprop_refuses_what_would_climb_or_give_nan(option: str, value: float):
    with pytest.raises(ValueError, match=f"^GravesRMSprop: expected {option} .= [01].*, got {value}"):
        GravesRMSprop([torch.nn.Parameter(torch.ones(1))], **{option: value})
