"""What property tests of weights share."""

import torch
from hypothesis import strategies as st
from torch import Tensor

seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([torch.float32, torch.float64])
controllers = st.sampled_from([("lstm", "tanh"), ("feedforward", "tanh"), ("feedforward", "relu")]).map(
    lambda kind: dict(zip(("controller", "controller_activation"), kind, strict=True))
)
"""The options of a layer that choose it."""


def assert_distribution(weights: Tensor) -> None:
    """Nonnegative, and each sums to 1 but for one rounding a slot."""
    assert weights.isfinite().all()
    assert (weights >= 0).all()
    rounding = torch.finfo(weights.dtype).eps * max(8, weights.shape[-1])
    assert (weights.sum(-1) - 1).abs().max() <= rounding


def random_weights(*shape: int, seed: int, dtype: torch.dtype, spread: float = 1.0) -> Tensor:
    """Distributions over the last dimension; a large spread makes them one-hot but for the smallest numbers."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=generator, dtype=dtype) * spread).softmax(-1)
