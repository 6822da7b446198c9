"""Several models whose parameters lie in one tensor each."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tapehead.nn import MANN, NTM, Initial, SequenceModel
from tapehead.training.evaluate import answer
from tapehead.training.together.stack import Stack


def models_of(kind: type[NTM] | type[MANN], **options: object) -> list[SequenceModel]:
    sizes = {"memory_size": 6, "word_size": 4, "dtype": torch.float64}
    return [SequenceModel(kind(3, 5, **sizes, **options), 2) for _ in range(4)]  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [NTM, MANN])
@pytest.mark.parametrize("members", [[0, 1, 2, 3], [2, 0]])
@pytest.mark.parametrize("memory_size", [None, 9])
def test_gradients_are_those_of_each_alone(kind: type[NTM] | type[MANN], members: list[int], memory_size: int | None):
    start = Initial(memory="random", weights="random", reads="learned", controller="learned")
    models = models_of(kind, initial=start)
    input = torch.randn(len(members), 7, 2, 3, dtype=torch.float64)
    lengths = torch.tensor([[7, 4], [5, 2], [6, 7], [1, 3]])[: len(members)]

    def loss(answer: object, input: Tensor, lengths: Tensor, memory_size: int | None) -> Tensor:
        return answer(input, lengths, memory_size).square().sum()  # type: ignore[operator,no-any-return]

    stack = Stack(models)
    for _ in range(2):  # of two batches
        stack.map(loss, members, input, lengths, memory_size).sum().backward()
    stack.give_gradients(members)
    found = {place: [one.grad for one in models[place].parameters()] for place in members}
    assert all(one.grad is None for place in {0, 1, 2, 3} - {*members} for one in models[place].parameters())
    for place, own, length in zip(members, input, lengths, strict=True):
        models[place].zero_grad()
        alone = answer(models[place], own, length, memory_size).square().sum()
        (2 * alone).backward()
        for parameter, gradient in zip(models[place].parameters(), found[place], strict=True):
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            assert gradient is not None
            assert torch.allclose(gradient, expected, rtol=1e-10, atol=1e-12)


def test_models_in_a_stack_are_changed_as_before():
    models = models_of(NTM)
    before = [{name: tensor.clone() for name, tensor in model.state_dict().items()} for model in models]
    stack = Stack(models)
    assert all(
        torch.equal(own[name], tensor)
        for own, model in zip(before, models, strict=True)
        for name, tensor in model.state_dict().items()
    )
    input = torch.randn(4, 5, 1, 3, dtype=torch.float64)
    models[2].load_state_dict(before[0])
    logits = stack.map(lambda answer, own: answer(own), [0, 1, 2, 3], input)
    assert torch.allclose(logits[2], answer(models[0], input[2]), rtol=1e-12, atol=1e-12)
    assert stack.is_whole()
    models[1].float()
    assert not stack.is_whole()
