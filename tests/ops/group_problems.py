"""Problems for several models at once: how they are run together, by `torch.func.vmap`, and then told apart."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from tapehead.states import LSTMState
from tapehead.testing import named_tensors
from tests.cases import Case
from tests.ops.fused_problems import Problem, Run, cotangents, sequence

MIXED = [2, 0, 5, 1, 4, 3]


def problems_of(
    make: Callable[..., Problem], case: Case, groups: int, dtype: torch.dtype, ragged: bool
) -> list[Problem]:
    """As many models of a case, each with an input, a state and lengths of its own."""
    made = [make(case, dtype) for _ in range(groups)]
    if not ragged:
        return made
    lengths = [[min(MIXED[(3 * group + row) % 6], case.steps) for row in range(case.rows)] for group in range(groups)]
    return [problem._replace(lengths=torch.tensor(own)) for problem, own in zip(made, lengths, strict=True)]


class _Sequence(nn.Module):
    """A layer's op, as a module of which the parameters are mapped."""

    def __init__(self, layer: nn.Module, kind: type, options: dict[str, Any]) -> None:
        super().__init__()
        self.layer, self.kind, self.options = layer, kind, options

    def forward(self, input: Tensor, state: Any, lengths: tuple[Tensor, ...]) -> dict[str, Tensor]:
        controller = LSTMState(*state[4:]) if len(state) > 4 else None
        problem = Problem(self.layer, input, self.kind(*state[:4], controller), *lengths)
        return sequence(problem, **self.options)


def run_together(
    problems: list[Problem], backend: str = "fused", *, gradients: bool = True, **options: Any
) -> list[Run]:
    """What `run` gives of each problem, by one call of all of them."""
    kind = type(problems[0].state)
    modules = [_Sequence(problem.layer, kind, {"backend": backend, **options}) for problem in problems]
    parameters, buffers = stack_module_state(modules)
    states = [(*state[:4], *(state.controller or ())) for state in (problem.state for problem in problems)]
    state = tuple(torch.stack(parts) for parts in zip(*states, strict=True))
    input = torch.stack([problem.input for problem in problems])
    lengths = () if problems[0].lengths is None else (torch.stack([problem.lengths for problem in problems]),)
    for leaf in (input, *state):
        leaf.requires_grad_(gradients)

    def one(parameters: Any, buffers: Any, *given: Any) -> dict[str, Tensor]:
        return functional_call(modules[0], (parameters, buffers), given)

    values = vmap(one)(parameters, buffers, input, state, lengths)
    found: list[dict[str, Tensor]] = [{} for _ in problems]
    if gradients:
        names = [name for name, _ in named_tensors({"state": problems[0].state})]
        leaves = {"input": input, **dict(zip(names, state, strict=True))}
        leaves |= {name.removeprefix("layer."): leaf for name, leaf in parameters.items()}
        used = {name: value for name, value in values.items() if value.requires_grad}
        outer = cotangents({name: value[0] for name, value in used.items()})
        of_all = [cotangent.expand_as(value) for cotangent, value in zip(outer, used.values(), strict=True)]
        made = torch.autograd.grad(
            list(used.values()), list(leaves.values()), of_all, allow_unused=True, materialize_grads=True
        )
        found = [dict(zip(leaves, parts, strict=True)) for parts in zip(*made, strict=True)]
    return [
        Run({name: value[group].detach() for name, value in values.items()}, found[group])
        for group in range(len(problems))
    ]
