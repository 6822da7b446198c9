"""Several models in one call of the fused backend: what `torch.func.vmap` makes of it, on CPU tensors."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from tapehead.ops import mann, ntm
from tests.cases import CASES, Case, by_name
from tests.mann_cases import MANN_CASES
from tests.ops.fused_problems import (
    TOLERANCE,
    Problem,
    Recorder,
    Run,
    assert_close,
    assert_equal,
    parameters_of,
    problem_of,
    run,
    sequence,
    threads,
)
from tests.ops.group_problems import problems_of, run_together
from tests.ops.mann_problems import mann_problem
from tests.ops.test_fused_op import QUICK


class Kind(NamedTuple):
    name: str
    case: Case
    make: Callable[..., Problem]


NTM_NAMES = ("plain", "one_step_one_row", "many_heads_write_read", "many_heads_feedforward", "content", "limited")
MANN_NAMES = ("plain", "one_row", "each", "paper", "read_write", "feedforward_key")
BOTH = ("two_layers", "two_layers_feedforward")
KINDS = {
    f"{machine}-{case.name}": Kind(f"{machine}-{case.name}", case, make)
    for machine, cases, names, make in (
        ("NTM", CASES, NTM_NAMES, problem_of),
        ("MANN", MANN_CASES, MANN_NAMES, mann_problem),
    )
    for case in cases
    if case.name in (*names, *BOTH)
}
every_kind = pytest.mark.parametrize("kind", **by_name(list(KINDS.values())))
both_machines = pytest.mark.parametrize("kind", **by_name([KINDS["NTM-plain"], KINDS["MANN-each"]]))


def assert_as_alone(problems: list[Problem], found: list[Run], **options: object) -> None:
    for problem, own in zip(problems, found, strict=True):
        assert_equal(own, run(problem, "fused", **options))


@every_kind
@pytest.mark.parametrize(
    ("dtype", "ragged"), [(torch.float32, True), (torch.float64, False)], ids=["float32_ragged", "float64_full"]
)
def test_together_they_give_the_bits_that_each_gives_alone(kind: Kind, dtype: torch.dtype, ragged: bool):
    problems = problems_of(kind.make, kind.case, 3, dtype, ragged)
    assert_as_alone(problems, run_together(problems, checkpoint_every=2), checkpoint_every=2)


@both_machines
@pytest.mark.parametrize("groups", [1, 2, 5])
def test_any_number_of_groups(kind: Kind, groups: int):
    problems = problems_of(kind.make, kind.case, groups, torch.float32, True)
    assert_as_alone(problems, run_together(problems))


@both_machines
def test_one_call_of_the_core_for_all(kind: Kind, monkeypatch: pytest.MonkeyPatch):
    calls = []
    for machine in (ntm, mann):
        cpu = machine.fused.cpu
        kernel = cpu._kernel
        monkeypatch.setattr(cpu, "_kernel", lambda function, kernel=kernel: calls.append(function) or kernel(function))
    run_together(problems_of(kind.make, kind.case, 3, torch.float32, False))
    assert [name.split("_")[-1] for name in calls] == ["forward", "backward"]


@both_machines
def test_threads_share_the_rows_of_all_groups(kind: Kind):
    problems = problems_of(kind.make, kind.case._replace(rows=19), 3, torch.float32, True)
    with threads(2):
        assert_as_alone(problems, run_together(problems))


@pytest.mark.parametrize(
    "kind", **by_name([KINDS[name] for name in ("NTM-plain", "NTM-content", "MANN-each", "MANN-paper")])
)
def test_traces(kind: Kind):
    problems = problems_of(kind.make, kind.case, 2, torch.float64, True)
    assert_as_alone(problems, run_together(problems, trace=True), trace=True)


@both_machines
def test_without_gradients(kind: Kind):
    problems = problems_of(kind.make, kind.case, 2, torch.float64, True)
    with torch.no_grad():
        for problem, own in zip(problems, run_together(problems, gradients=False), strict=True):
            assert_equal(own, Run(sequence(problem, backend="fused"), {}))


@both_machines
@pytest.mark.parametrize("trace", [False, True])
def test_no_number_comes_from_fresh_memory(kind: Kind, trace: bool, request: pytest.FixtureRequest):
    problems = problems_of(kind.make, kind.case, 3, torch.float64, True)
    expected = run_together(problems, trace=trace)
    request.getfixturevalue("nan_filled")
    for own, other in zip(run_together(problems, trace=trace), expected, strict=True):
        assert_equal(own, other)


@both_machines
def test_the_reference_gives_the_same_under_the_same_map(kind: Kind):
    problems = problems_of(kind.make, kind.case, 2, torch.float64, True)
    for own, other in zip(run_together(problems), run_together(problems, "reference"), strict=True):
        assert_close(own, other)


# What is mapped, and what is not.


def op_of(problem: Problem) -> Callable[..., tuple[Tensor, Tensor]]:
    """Output and last memory of an op, of what may be mapped."""
    settings, machine = problem.layer.cell.settings, mann if "usage" in problem.state._fields else ntm

    def call(input: Tensor, memory: Tensor, bias: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        parameters, state = parameters_of(problem.layer), problem.state._replace(memory=memory)
        heads = parameters.heads._replace(bias=bias)
        parameters = parameters._replace(heads=heads)
        output, last, _ = machine.sequence(input, state, parameters, settings, lengths=lengths, backend="fused")
        return output, last.memory

    return call


@both_machines
@pytest.mark.parametrize(
    "dims", [(0, 0, 0, 0), (0, None, None, None), (None, 0, None, 0), (None, None, 0, None), (1, 2, 1, 1)]
)
def test_some_arguments_mapped_and_others_not(kind: Kind, dims: tuple[int | None, ...]):
    problem = kind.make(kind.case, torch.float64)
    bias = problem.layer.cell.heads.bias.detach()
    own = (problem.input, problem.state.memory, bias, torch.tensor([2, 0, 5]))
    given = [
        torch.stack([value, value.flip(0), value.roll(1, 0)], dim) if dim is not None else value.clone()
        for value, dim in zip(own, dims, strict=True)
    ]
    leaves = [value.requires_grad_() for value in given[:3]]
    call = op_of(problem)

    def alone(group: int) -> tuple[Tensor, Tensor]:
        return call(*(v if d is None else v.select(d, group) for v, d in zip(given, dims, strict=True)))

    found = vmap(call, in_dims=dims)(*given)
    expected = tuple(map(torch.stack, zip(*map(alone, range(3)), strict=True)))
    gradients = []
    for values in (found, expected):
        total = sum((value * torch.linspace(-1, 1, value.numel()).view_as(value)).sum() for value in values)
        gradients.append(torch.autograd.grad(total, [*leaves, *problem.layer.parameters()], allow_unused=True))
    for left, right in zip(found, expected, strict=True):
        assert torch.equal(left, right)
    for left, right in zip(*gradients, strict=True):
        assert (left is None) == (right is None)
        assert left is None or torch.allclose(left, right, rtol=TOLERANCE, atol=TOLERANCE)


@both_machines
def test_a_map_in_a_map(kind: Kind):
    problem = kind.make(kind.case, torch.float64)
    call, lengths = op_of(problem), torch.tensor([2, 0, 5])
    bias = problem.layer.cell.heads.bias.detach()
    inputs, biases = torch.randn(2, *problem.input.shape, dtype=torch.float64), torch.randn(3, *bias.shape).to(bias)
    inner = vmap(call, in_dims=(None, None, 0, None))
    found = vmap(inner, in_dims=(0, None, None, None))(inputs, problem.state.memory, biases, lengths)[0]
    for i, input in enumerate(inputs):
        for j, own in enumerate(biases):
            assert torch.equal(found[i, j], call(input, problem.state.memory, own, lengths)[0])


@both_machines
def test_a_map_over_the_backward_alone(kind: Kind):
    """As `torch.func.jacrev` does: many cotangents of one forward."""
    problem = kind.make(kind.case, torch.float64)
    call, memory, lengths = op_of(problem), problem.state.memory.requires_grad_(), torch.tensor([2, 0, 5])
    output = call(problem.input, memory, problem.layer.cell.heads.bias, lengths)[0]
    several = torch.randn(4, *output.shape, dtype=torch.float64)

    def back(cotangent: Tensor) -> tuple[Tensor, ...]:
        leaves = [memory, *problem.layer.parameters()]
        return torch.autograd.grad(output, leaves, cotangent, retain_graph=True)

    for left, *right in zip(vmap(back)(several), *map(back, several), strict=True):
        assert torch.equal(left, torch.stack(right))


@both_machines
def test_gradcheck(kind: Kind):
    case = Case("", {"memory_size": 4, "word_size": 2, "num_read_heads": 1}, steps=2, rows=1)
    problem = kind.make(case, torch.float64)
    memory, bias = problem.state.memory, problem.layer.cell.heads.bias.detach()
    leaves = [
        torch.stack([leaf, leaf + 0.1 * torch.randn_like(leaf)]).requires_grad_()
        for leaf in (problem.input, memory, bias)
    ]
    lengths = torch.tensor([[2], [1]])
    assert torch.autograd.gradcheck(lambda *given: vmap(op_of(problem))(*given, lengths), leaves)


# The op.


@both_machines
@pytest.mark.parametrize("trace", [False, True])
def test_opcheck(kind: Kind, trace: bool):
    with Recorder() as recorder:
        run_together(problems_of(kind.make, kind.case, 2, torch.float32, True), trace=trace)
    assert len(recorder.calls) == 2
    for op, arguments in recorder.calls.items():
        own = tuple(value.detach().clone() if isinstance(value, Tensor) else value for value in arguments)
        torch.library.opcheck(op, own, test_utils=QUICK)
