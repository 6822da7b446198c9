"""Ways of torch to take a derivative, beyond a backward: each gives what the backward gives."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import jacobian
from torch.func import linearize

from tapehead import MANN, NTM

SIZES: dict[str, Any] = {"memory_size": 7, "word_size": 4, "dtype": torch.float64}


@pytest.mark.parametrize("kind", [NTM, MANN])
@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_linearized(kind: type[nn.Module]) -> None:
    layer = kind(3, 5, **SIZES)
    input, tangent = torch.randn(2, 2, 2, 3, dtype=torch.float64)

    def loss(input: Tensor) -> Tensor:
        return layer(input)[0].square().sum()

    value, derivative = linearize(loss, input)
    torch.testing.assert_close(value, loss(input))
    torch.testing.assert_close(derivative(tangent), (jacobian(loss, input) * tangent).sum())


@pytest.mark.parametrize(
    ("kind", "options"), [(NTM, {}), (NTM, {"gradient_limit": 1e4}), (MANN, {})], ids=["NTM", "NTM-limit", "MANN"]
)
def test_a_vectorized_forward_jacobian(kind: type[nn.Module], options: dict[str, float]) -> None:
    layer, input = kind(3, 5, **SIZES, **options), torch.randn(4, 2, 3, dtype=torch.float64)

    def last(input: Tensor) -> Tensor:
        output: Tensor = layer(input)[0][-1]
        return output

    found = jacobian(last, input, strategy="forward-mode", vectorize=True)
    torch.testing.assert_close(found, jacobian(last, input))
