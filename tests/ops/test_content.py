"""Addressing by content: limits, and a distribution whatever comes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tapehead.ops.content import content_weights, cosine_similarity
from tests.ops.distributions import assert_distribution, dtypes, seeds

sizes = st.integers(1, 9)


@given(seeds, dtypes, sizes, sizes, sizes, st.floats(0, 1e4), st.sampled_from([0.0, 1e-20, 1e-6, 1.0, 1e6]))
def test_weights_are_a_distribution(seed, dtype, heads, slots, words, strength, scale):
    generator = torch.Generator().manual_seed(seed)
    key = torch.randn(2, heads, words, generator=generator, dtype=dtype)
    memory = torch.randn(2, slots, words, generator=generator, dtype=dtype) * scale
    weights = content_weights(key, torch.full((2, heads), strength, dtype=dtype), memory)
    assert weights.shape == (2, heads, slots)
    assert_distribution(weights)


@given(seeds, sizes, sizes)
def test_similarity_is_the_cosine(seed, slots, words):
    generator = torch.Generator().manual_seed(seed)
    key = torch.randn(2, 3, words, generator=generator, dtype=torch.float64)
    memory = torch.randn(2, slots, words, generator=generator, dtype=torch.float64)
    expected = torch.nn.functional.cosine_similarity(key.unsqueeze(2), memory.unsqueeze(1), dim=-1)
    # The epsilon of the norms lowers a cosine by epsilon^2 / (2 |v|^2) of itself: 1e-6 down to |v| = 1e-3.
    assert (cosine_similarity(key, memory) - expected).abs().max() < 1e-6


def test_infinite_strength_is_one_hot():
    memory = torch.eye(5, dtype=torch.float64).unsqueeze(0)
    weights = content_weights(memory[:, [3, 1]], torch.full((1, 2), 1e4, dtype=torch.float64), memory)
    assert torch.equal(weights, memory[:, [3, 1]])


def test_zero_strength_is_uniform():
    weights = content_weights(torch.randn(2, 3, 4), torch.zeros(2, 3), torch.randn(2, 8, 4))
    assert torch.equal(weights, torch.full((2, 3, 8), 1 / 8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_memory_and_zero_key_have_similarity_zero_and_finite_gradients(dtype):
    key, memory = torch.randn(2, 3, 4, dtype=dtype), torch.randn(2, 6, 4, dtype=dtype)
    key[0], memory[1] = 0, 0
    key.requires_grad_(), memory.requires_grad_()
    similarity = cosine_similarity(key, memory)
    assert torch.equal(similarity, torch.zeros_like(similarity))
    similarity.square().sum().backward()
    similarity = cosine_similarity(key, memory)
    similarity.sum().backward()
    assert key.grad.isfinite().all()
    assert memory.grad.isfinite().all()
