"""The fused NTM however it is called: awkward tensors, some gradients only, rows, parts and threads."""

import copy
import math

import pytest
import torch
from torch import Tensor

from tapehead import Initial, LSTMState, NTMState
from tapehead.ops import ntm
from tapehead.states import map_tensors
from tapehead.testing import error, named_tensors
from tests.cases import CASES, Case, make_input, make_layer, random_state
from tests.ops.fused_problems import (
    REAL,
    TOLERANCE,
    Problem,
    Run,
    assert_close,
    assert_equal,
    cotangents,
    every_case,
    leaves_of,
    parameters_of,
    problem_of,
    ragged_or_not,
    real_problem,
    rows_of,
    run,
    sequence,
    some_cases,
    threads,
)

# Awkward calls.


@some_cases
def test_tensors_that_are_not_contiguous(case: Case):
    problem = problem_of(case)
    contiguous = problem._replace(lengths=torch.tensor([4, 0, 5]))

    def loose(tensor: Tensor) -> Tensor:
        return tensor.unsqueeze(-1).expand(*tensor.shape, 2).contiguous()[..., 0]

    awkward = Problem(copy.deepcopy(problem.layer), loose(problem.input), map_tensors(loose, problem.state))
    awkward = awkward._replace(lengths=torch.tensor([4, 9, 0, 9, 5, 9], dtype=torch.int32)[::2])
    for name, parameter in list(awkward.layer.named_parameters()):
        module, _, last = name.rpartition(".")
        setattr(awkward.layer.get_submodule(module), last, torch.nn.Parameter(loose(parameter.detach())))
    assert not any(t.is_contiguous() for t in (awkward.input, awkward.state.memory, awkward.layer.cell.heads.weight))
    assert_close(run(awkward, "fused"), run(contiguous, "reference"))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32], ids=str)
def test_lengths_of_every_integer_dtype(dtype: torch.dtype):
    problem = problem_of(CASES[0], ragged=True)
    assert_equal(run(problem._replace(lengths=problem.lengths.to(dtype)), "fused"), run(problem, "fused"))


@every_case
def test_what_pads_a_row_reaches_no_number(case: Case):
    # The layers clear it; who calls the op may leave anything there.
    problem = problem_of(case, ragged=True)
    past_end = torch.arange(case.steps).unsqueeze(1) >= problem.lengths
    padded = problem._replace(input=problem.input.masked_fill(past_end.unsqueeze(-1), math.nan))
    assert_equal(run(padded, "fused"), run(problem, "fused"))


@pytest.mark.parametrize("checkpoint_every", [None, 1, 2])
def test_lengths_out_of_range_count_as_the_nearest_in_it(checkpoint_every: int | None):
    # As in the reference. The layers refuse them; who calls the op must not get numbers from elsewhere in memory.
    problem = problem_of(CASES[0])
    found = run(problem._replace(lengths=torch.tensor([6, -1, 2**40])), "fused", checkpoint_every=checkpoint_every)
    assert_close(found, run(problem._replace(lengths=torch.tensor([6, -1, 2**40])), "reference"))
    assert_close(found, run(problem._replace(lengths=torch.tensor([5, 0, 5])), "reference"))


@some_cases
def test_states_that_are_expanded(case: Case):
    problem = problem_of(case)
    row = map_tensors(Tensor.clone, random_state(problem.layer, 1))
    copies, grads = [], []
    for backend in ("fused", "reference"):
        leaf = map_tensors(lambda tensor: tensor.detach().requires_grad_(), row)
        wide = NTMState(*(part.expand(case.rows, -1, -1) for part in leaf[:4]), None)
        if leaf.controller is not None:
            wide = wide._replace(controller=LSTMState(*(part.expand(-1, case.rows, -1) for part in leaf.controller)))
        values = sequence(problem._replace(state=wide), backend=backend)
        named = dict(named_tensors(leaf))
        gradients = torch.autograd.grad(
            list(values.values()), list(named.values()), cotangents(values), allow_unused=True, materialize_grads=True
        )
        copies.append({name: value.detach() for name, value in values.items()})
        grads.append(dict(zip(named, gradients, strict=True)))
    assert_close(Run(copies[0], grads[0]), Run(copies[1], grads[1]))


@every_case
def test_zero_memory(case: Case):
    layer = make_layer(case, initial=Initial(constant=0.0))
    problem = Problem(layer, make_input(case), layer.initial_state(case.rows))
    found = run(problem, "fused")
    assert_close(found, run(problem, "reference"))
    assert all(tensor.isfinite().all() for part in found for tensor in part.values())


def gradients_by_backend(problem: Problem, leaves, total) -> list[list[Tensor | None]]:
    """Gradients of a function of the values, for both backends."""
    results = []
    for backend in ("fused", "reference"):
        values = sequence(problem, backend=backend)
        results.append(torch.autograd.grad(total(values), leaves, allow_unused=True))
    return results


SUMS = {
    "one_output_value": lambda values: values["output"][-1, 0, 0],
    "sum_of_outputs": lambda values: values["output"].sum(),  # an expanded cotangent
    "memory_alone": lambda values: values["state.memory"].square().sum(),
    "reads_alone": lambda values: values["state.reads"].sum(),
    "weights_alone": lambda values: values["state.write_weights"].square().sum(),
    "cell_alone": lambda values: values["state.controller.cell"].sum(),
    "all": lambda values: sum(value.sum() for value in values.values()),
}


@pytest.mark.parametrize("total", SUMS.values(), ids=SUMS)
@pytest.mark.parametrize("order", ["read_write", "write_read"])
def test_cotangents_that_are_expanded_or_missing(total, order: str):
    case = Case("", {"num_layers": 2, "num_read_heads": 2, "order": order})
    problem = problem_of(case, ragged=True)
    leaves = [*problem.layer.parameters()]
    found, expected = gradients_by_backend(problem, leaves, total)
    for left, right in zip(found, expected, strict=True):
        assert error(left, torch.zeros_like(left) if right is None else right) <= TOLERANCE


@pytest.mark.parametrize("name", leaves_of(problem_of(Case("", {"num_layers": 2}))))
@ragged_or_not
def test_one_tensor_alone_requires_a_gradient(name: str, ragged: bool):
    problem = problem_of(Case("", {"num_layers": 2}), ragged=ragged)
    problem.layer.requires_grad_(False)
    leaf = leaves_of(problem)[name].requires_grad_()
    (found,), (expected,) = gradients_by_backend(problem, [leaf], lambda values: SUMS["all"](values))
    assert error(found, expected) <= TOLERANCE * max(1.0, float(expected.abs().max()))
    assert sum(tensor.requires_grad for tensor in leaves_of(problem).values()) == 1


def test_nothing_requires_a_gradient():
    problem = problem_of(CASES[0], ragged=True)
    expected = sequence(problem, backend="fused")
    problem.layer.requires_grad_(False)
    found = sequence(problem, backend="fused")
    assert not any(value.requires_grad for value in found.values())
    assert_equal(Run(found, {}), Run(expected, {}))


@some_cases
def test_frozen_parameters_leave_the_other_gradients_as_they_are(case: Case):
    problem = problem_of(case)
    expected = run(problem, "fused")
    problem.layer.cell.heads.requires_grad_(False)
    leaves = {name: p for name, p in problem.layer.named_parameters() if p.requires_grad}
    values = sequence(problem, backend="fused")
    gradients = torch.autograd.grad(list(values.values()), list(leaves.values()), cotangents(values))
    for name, gradient in zip(leaves, gradients, strict=True):
        assert torch.equal(gradient, expected.gradients[name]), name


def test_gradients_accumulate():
    problem = problem_of(CASES[0])
    for _ in range(2):
        sequence(problem, backend="fused")["output"].square().sum().backward()
    twice = {name: p.grad.clone() for name, p in problem.layer.named_parameters()}
    problem.layer.zero_grad()
    values = sequence(problem, backend="fused")
    values["output"].square().sum().backward(retain_graph=True)
    values["output"].square().sum().backward()  # a second time through one graph
    for name, parameter in problem.layer.named_parameters():
        assert torch.equal(parameter.grad, twice[name]), name


# Rows, parts and threads.


@some_cases
@pytest.mark.parametrize("detached", [False, True], ids=["", "detached"])
@pytest.mark.parametrize("checkpoint_every", [None, 2])
def test_many_calls_are_one(case: Case, detached: bool, checkpoint_every: int | None):
    problem = problem_of(case._replace(steps=12))
    results = []
    # Detached, the parts of the fused run are held against those of the reference, otherwise against one call.
    for backend, parts in (("fused", 4), ("reference", 4) if detached else ("fused", 1)):
        options = {"checkpoint_every": checkpoint_every} if backend == "fused" else {}
        input, start = map_tensors(lambda tensor: tensor.detach().requires_grad_(), (problem.input, problem.state))
        state, outputs = start, []
        for part in input.chunk(parts):
            output, state, _ = ntm.sequence(
                part, state, parameters_of(problem.layer), problem.layer.cell.settings, backend=backend, **options
            )
            outputs.append(output)
            state = state.detach() if detached else state
        values = {"output": torch.cat(outputs), **({} if detached else dict(named_tensors({"state": state})))}
        leaves = {**dict(named_tensors((input, start))), **dict(problem.layer.named_parameters())}
        gradients = torch.autograd.grad(
            list(values.values()), list(leaves.values()), cotangents(values), allow_unused=True, materialize_grads=True
        )
        values = {name: value.detach() for name, value in values.items()}
        results.append(Run(values, dict(zip(leaves, gradients, strict=True))))
    assert_close(*results)


@some_cases
@ragged_or_not
def test_a_row_of_a_batch_is_that_row_alone(case: Case, ragged: bool):
    # To rounding, not bit by bit: how many rows there are decides in which order products are summed.
    problem = problem_of(case._replace(rows=10), ragged=False)
    if ragged:
        problem = problem._replace(lengths=torch.tensor([5, 0, 1, 4, 5, 2, 0, 3, 5, 1]))
    whole = run(problem, "fused")
    for rows in (slice(0, 1), slice(3, 4), slice(2, 9)):
        alone = run(rows_of(problem, rows), "fused")
        for name, value in alone.values.items():
            expected = (
                whole.values[name][:, rows] if name == "output" or "controller" in name else whole.values[name][rows]
            )
            assert error(value, expected) <= TOLERANCE, name


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_same_bits_run_to_run(count: int):
    problem = real_problem(REAL[2]._replace(rows=17))
    with threads(count):
        expected = run(problem, "fused")
        for _ in range(9):
            assert_equal(run(problem, "fused"), expected)


@pytest.mark.parametrize("rows", [1, 2, 9, 17])
@ragged_or_not
def test_every_number_of_threads_gives_the_same_numbers(rows: int, ragged: bool):
    # To rounding, not bit by bit: more threads make smaller bundles of rows, and those sum in another order.
    problem = real_problem(REAL[2]._replace(rows=rows), torch.float64)
    if ragged:
        problem = problem._replace(lengths=torch.randint(0, 13, (rows,)))
    expected = run(problem, "fused")
    for count in (2, 3, 8):
        with threads(count):
            assert_close(run(problem, "fused"), expected, 1e-12)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_leaves_the_others_as_they_are(value: float):
    case = Case("", {"num_read_heads": 2}, rows=10)
    problem = problem_of(case)
    broken = problem.input.clone()
    broken[2, 4] = value
    others = [row for row in range(10) if row != 4]
    with torch.no_grad():
        clean = sequence(problem, backend="fused")
        found = sequence(problem._replace(input=broken), backend="fused")
        reference = sequence(problem._replace(input=broken), backend="reference")
    for name, tensor in found.items():
        dim = 1 if name == "output" or "controller" in name else 0
        assert torch.equal(
            tensor.index_select(dim, torch.tensor(others)), clean[name].index_select(dim, torch.tensor(others))
        )
        assert torch.equal(tensor.isnan(), reference[name].isnan()), name
        expected = reference[name].nan_to_num(nan=0.0)
        assert error(tensor.nan_to_num(nan=0.0), expected) <= TOLERANCE * max(1.0, float(expected.abs().max()))
    if math.isnan(value):
        assert found["output"][2:, 4].isnan().all()
