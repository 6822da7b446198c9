"""Several models of one kind whose parameters lie in one tensor each, so that one call computes what all of them do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils import _pytree as pytree

from tapehead.nn import SequenceModel
from tapehead.training.evaluate import answer

__all__ = ["Stack"]


class _Answer(nn.Module):
    """A model that is called as `answer` is."""

    def __init__(self, model: SequenceModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *arguments: Any) -> Tensor:
        return answer(self.model, *arguments)


class Stack:
    """Models whose parameters become parts of one tensor each.

    The models go on as they are: they are called, trained, saved and loaded as before. What they share is where their
    parameters lie, and `give_gradients` hands each its part of what all have.

    Args:
        models: of one kind, whose buffers nothing changes, as an embedding would

    Attributes:
        models: as given
        parameters: those of all models, (models, ...), by the names they have in each

    >>> from tapehead import NTM
    >>> models = [SequenceModel(NTM(input_size=3, hidden_size=5), target_size=2) for _ in range(4)]
    >>> stack = Stack(models)
    >>> logits = stack.map(lambda answer, input: answer(input), [1, 2], torch.randn(2, 6, 1, 3))
    >>> logits.shape
    torch.Size([2, 6, 1, 2])
    >>> logits.square().sum().backward()
    >>> stack.give_gradients([1, 2])
    >>> models[0].readout.bias.grad is None, models[2].readout.bias.grad.shape
    (True, torch.Size([2]))
    """

    def __init__(self, models: Sequence[SequenceModel]) -> None:
        self.models = list(models)
        self.parameters: dict[str, Tensor] = {}
        self._own = [dict(model.named_parameters()) for model in models]
        self._answer = _Answer(models[0])
        for name, first in self._own[0].items():
            parts = self.parts(name)
            stacked = torch.stack([part.detach() for part in parts])
            for part, place in zip(parts, stacked.unbind(), strict=True):
                part.data = place
            self.parameters[name] = stacked.requires_grad_(first.requires_grad)
        buffers = [dict(model.named_buffers()) for model in models]
        self._buffers = {name: torch.stack([own[name] for own in buffers]) for name in buffers[0]}

    def is_whole(self) -> bool:
        """Whether the models' parameters still lie here; moving a model to a device takes them away."""
        name, stacked = next(iter(self.parameters.items()))
        places = [part.data_ptr() for part in stacked.detach().unbind()]
        return places == [part.data_ptr() for part in self.parts(name)]

    def parts(self, name: str) -> list[nn.Parameter]:
        """The models' own parameters of that name."""
        return [own[name] for own in self._own]

    def map(self, function: Callable[..., Any], members: Sequence[int], *arguments: Any) -> Any:
        """Call `function(answer, ...)` for several models at once: `answer` is `evaluate.answer` without its model.

        Args:
            function: what each model does with its share of the arguments; returns tensors
            members: which models, by their places
            arguments: tensors (members, ...), or tuples of such; what is no tensor is everybody's

        Returns:
            what the function returned, in tensors (members, ...)
        """

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], *own: Any) -> Any:
            return function(lambda *given: functional_call(self._answer, (parameters, buffers), given), *own)

        some = None if len(members) == len(self.models) else torch.tensor(members)
        named = [
            {f"model.{name}": tensor if some is None else tensor[some] for name, tensor in kind.items()}
            for kind in (self.parameters, self._buffers)
        ]
        dimensions = pytree.tree_map(lambda part: 0 if isinstance(part, Tensor) else None, arguments)
        # What a start draws for slots that were not trained is the same for every model, alone as well.
        return vmap(one, in_dims=(0, 0, *dimensions), randomness="same")(*named, *arguments)

    def gradients(self) -> dict[str, Tensor]:
        """The gradients of those parameters that have any, (models, ...)."""
        return {name: stacked.grad for name, stacked in self.parameters.items() if stacked.grad is not None}

    def zero_grad(self) -> None:
        """Forget the gradients of all, those that were given out too."""
        for name, stacked in self.parameters.items():
            stacked.grad = None
            for part in self.parts(name):
                part.grad = None

    def give_gradients(self, members: Sequence[int]) -> None:
        """Make the gradients of models' own parameters their share of what has been computed here."""
        for name, gradient in self.gradients().items():
            for member in members:
                self._own[member][name].grad = gradient[member]
