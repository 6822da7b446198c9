"""Addressing by location: limits, exact shifts round the circle, and a distribution whatever comes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from tapehead.ops.location import interpolate, sharpen, shift
from tests.ops.distributions import assert_distribution, dtypes, random_weights, seeds

spreads = st.sampled_from([0.0, 1.0, 30.0, 1000.0])


@given(seeds, dtypes, st.integers(1, 9), spreads, st.floats(0, 1))
def test_interpolation_is_a_distribution(seed, dtype, slots, spread, gate):
    content, previous = random_weights(2, 2, 3, slots, seed=seed, dtype=dtype, spread=spread)
    assert_distribution(interpolate(content, previous, torch.full((2, 3), gate, dtype=dtype)))


@pytest.mark.parametrize("gate", [0.0, 1.0])
def test_interpolation_at_its_ends_is_exact(gate):
    content, previous = random_weights(2, 2, 3, 7, seed=0, dtype=torch.float32)
    expected = content if gate else previous
    assert torch.equal(interpolate(content, previous, torch.full((2, 3), gate)), expected)


@given(seeds, dtypes, st.integers(0, 3), st.integers(0, 6), spreads)
def test_shift_is_a_distribution(seed, dtype, max_shift, more_slots, spread):
    size = 2 * max_shift + 1
    weights = random_weights(2, 3, size + more_slots, seed=seed, dtype=dtype, spread=spread)
    shift_weights = random_weights(2, 3, size, seed=seed + 1, dtype=dtype, spread=spread)
    assert_distribution(shift(weights, shift_weights))


@pytest.mark.parametrize("max_shift", [0, 1, 2, 3])
@pytest.mark.parametrize("slots", [7, 12])
def test_one_hot_shift_rotates_exactly(max_shift, slots):
    weights = random_weights(2, 3, slots, seed=0, dtype=torch.float32)
    for offset in range(-max_shift, max_shift + 1):
        one_hot = functional.one_hot(torch.tensor(offset + max_shift), 2 * max_shift + 1).float().expand(2, 3, -1)
        assert torch.equal(shift(weights, one_hot), weights.roll(offset, -1))


def test_an_even_number_of_shift_weights_is_refused():
    with pytest.raises(ValueError, match="odd number of shift weights"):
        shift(torch.ones(1, 1, 8), torch.ones(1, 1, 4))


def test_shift_of_many_offsets_is_their_mixture():
    weights = random_weights(2, 3, 9, seed=0, dtype=torch.float64)
    shares = random_weights(2, 3, 5, seed=1, dtype=torch.float64)
    expected = sum(weights.roll(offset, -1) * shares[..., [offset + 2]] for offset in range(-2, 3))
    assert torch.allclose(shift(weights, shares), expected, rtol=0, atol=1e-15)


@given(seeds, dtypes, st.integers(1, 9), spreads, st.floats(1, 1000))
def test_sharpening_is_a_distribution_in_the_same_order(seed, dtype, slots, spread, gamma):
    weights = random_weights(2, 3, slots, seed=seed, dtype=dtype, spread=spread)
    sharp = sharpen(weights, torch.full((2, 3), gamma, dtype=dtype))
    assert_distribution(sharp)
    assert (sharp.gather(-1, weights.argsort(-1)).diff(dim=-1) >= 0).all()


def test_sharpening_with_gamma_one_changes_nothing():
    weights = torch.tensor([[[0.0, 0.5, 0.25, 0.25]]], dtype=torch.float64)
    sharp = sharpen(weights, torch.ones(1, 1, dtype=torch.float64))
    # Zero becomes the smallest normal number; the rest is off by the roundings of a logarithm and an exponential.
    assert torch.allclose(sharp, weights, rtol=1e-14, atol=torch.finfo(torch.float64).tiny)


def test_sharpening_with_infinite_gamma_is_one_hot():
    weights = torch.tensor([[[0.3, 0.4, 0.2, 0.1, 0.0]]])
    assert torch.equal(sharpen(weights, torch.tensor([[1e4]])), torch.tensor([[[0.0, 1.0, 0.0, 0.0, 0.0]]]))


def test_sharpening_many_uniform_slots_does_not_underflow():
    uniform = torch.full((1, 1, 128), 1 / 128)
    assert uniform.pow(50).sum() == 0  # what the power form divides by
    assert torch.allclose(sharpen(uniform, torch.tensor([[50.0]])), uniform, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gamma", [1.0, 1.5, 50.0])
def test_sharpening_has_finite_gradients_at_weights_of_zero(dtype, gamma):
    weights = torch.tensor([[[1.0, 0.0, 0.0]], [[0.0, 0.5, 0.5]]], dtype=dtype, requires_grad=True)
    gammas = torch.full((2, 1), gamma, dtype=dtype, requires_grad=True)
    (sharpen(weights, gammas) * torch.tensor([1.0, -2.0, 3.0], dtype=dtype)).sum().backward()
    assert weights.grad.isfinite().all()
    assert gammas.grad.isfinite().all()


def test_gradient_of_sharpening_at_zero_with_gamma_one_is_that_of_the_power_form():
    def power_form(weights):
        return weights / weights.sum(-1, keepdim=True)

    cotangent = torch.tensor([[[1.0, -2.0, 3.0]]], dtype=torch.float64)
    gradients = []
    for function in (power_form, lambda weights: sharpen(weights, weights.new_ones(1, 1))):
        weights = torch.tensor([[[0.75, 0.0, 0.25]]], dtype=torch.float64, requires_grad=True)
        gradients += torch.autograd.grad((function(weights) * cotangent).sum(), weights)
    assert torch.allclose(*gradients, rtol=1e-12, atol=0)
