"""The fused MANN against the reference: the same function, with numbers as good."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tapehead import MANN
from tapehead.ops import packing
from tapehead.ops.mann import reference
from tapehead.states import map_tensors
from tapehead.testing import error, named_tensors
from tests.cases import Case, by_name, make_input
from tests.mann_cases import MANN_CASES, MANN_INITIALS, make_mann
from tests.ops.fused_problems import (
    TOLERANCE,
    Problem,
    Run,
    assert_as_good,
    assert_close,
    assert_equal,
    cotangents,
    parameters_of,
    ragged_and_traced_or_not,
    ragged_or_not,
    rows_of,
    run,
    sequence,
    tell,
    threads,
)
from tests.ops.mann_problems import (
    MANN_REAL,
    clear_cut,
    every_case,
    mann_problem,
    real_mann_problem,
    some_cases,
)
from tests.ops.test_fused_memory import assert_clean

# As good as the reference.


@every_case
@ragged_and_traced_or_not
def test_float32_is_as_good_as_the_reference(case: Case, both: bool):
    problems = clear_cut(lambda: mann_problem(case, torch.float32, ragged=both), 8)
    assert_as_good(problems, trace=both)


@pytest.mark.parametrize("case", **by_name(MANN_REAL))
def test_float32_is_as_good_at_real_sizes(case: Case):
    assert_as_good(clear_cut(lambda: real_mann_problem(case), 4))


def test_float32_is_as_good_with_row_groups_on_two_threads():
    assert_as_good(clear_cut(lambda: real_mann_problem(MANN_REAL[1]._replace(rows=9)), 4), count=2)


@every_case
@ragged_or_not
def test_float64_is_the_reference_with_every_way_to_keep_memories(case: Case, ragged: bool):
    problem = mann_problem(case, ragged=ragged)
    expected = run(problem, "reference")
    for checkpoint_every in (None, 1, 2, 3, case.steps, 10**9):
        assert_close(run(problem, "fused", checkpoint_every=checkpoint_every), expected)


@every_case
@ragged_or_not
def test_float64_traces_are_the_references(case: Case, ragged: bool):
    problem = mann_problem(case, ragged=ragged)
    assert_close(run(problem, "fused", trace=True), run(problem, "reference", trace=True))


@pytest.mark.parametrize("name", MANN_INITIALS)
@pytest.mark.parametrize("least_used", ["one", "each", "all"])
def test_every_initial_state(name: str, least_used: str):
    # A new memory's slots are all used alike: here the tolerance chooses.
    case = Case(name, {"initial": MANN_INITIALS[name], "least_used": least_used}, steps=9)
    layers = [make_mann(case)]
    layers.append(copy.deepcopy(layers[0]))
    input, runs = make_input(case), []
    for layer, backend in zip(layers, ("fused", "reference"), strict=True):
        layer.cell.backend = backend
        values = dict(named_tensors(layer(input)))
        used = {name: value for name, value in values.items() if value.requires_grad}
        leaves = dict(layer.named_parameters())
        gradients = torch.autograd.grad(list(used.values()), list(leaves.values()), cotangents(used))
        values = {name: value.detach() for name, value in values.items()}
        runs.append(Run(values, dict(zip(leaves, gradients, strict=True))))
    assert_close(*runs)


# Gradients of weights are made for 256 sums at a time, and add up over 128 steps and rows at a time.
@pytest.mark.parametrize("options", [{"num_layers": 2}, {"controller": "feedforward", "write": "key"}], ids=str)
def test_gradients_of_weights_over_many_steps_and_rows(options: dict[str, Any]):
    case = Case("", {"memory_size": 8, "word_size": 5, "num_read_heads": 5, **options}, steps=27, rows=10)
    problem = real_mann_problem(case, torch.float64, 70)
    problem = problem._replace(lengths=torch.tensor([27, 3, 0, 27, 12, 1, 26, 8, 20, 5]))
    with threads(2):
        found = run(problem, "fused")
    assert_close(found, run(problem, "reference"))


# Extreme parameters and numbers.

EXTREMES: dict[str, dict[str, float]] = {
    "key_strength": {"key_strength": 1e4},
    "key_strength_zero": {"key_strength": -1e4},
    "gates_open": {"write_gate": 1e4},
    "gates_shut": {"write_gate": -1e4},
    "zero_keys": {"key": 0.0},
    "huge_keys": {"key": 1e12},
    "tiny_keys": {"key": 1e-12},
    "huge_adds": {"add": 1e6},
}


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("order", ["write_read", "read_write"])
def test_extreme_parameters(name: str, order: str):
    case = Case("", {"order": order, "key_activation": "linear", "add_activation": "linear"})
    problems = clear_cut(lambda: tell(mann_problem(case, torch.float32), EXTREMES[name]), 8)
    assert_as_good(problems, finite=True)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("least_used", ["one", "each", "all"])
def test_usages_that_are_not_finite_choose_as_the_reference(value: float, least_used: str):
    problem = mann_problem(Case("", {"least_used": least_used}, steps=3, rows=4))
    usage = problem.state.usage.clone()
    usage[0, 3], usage[1], usage[2, 0] = value, value, value
    broken = problem._replace(state=problem.state._replace(usage=usage))
    with torch.no_grad():
        found, expected = (sequence(broken, backend=backend, trace=True) for backend in ("fused", "reference"))
    for name, exact in expected.items():
        assert torch.equal(found[name].isnan(), exact.isnan()), name
        left, right = (tensor.nan_to_num(nan=0.0) for tensor in (found[name], exact))
        assert error(left, right) <= TOLERANCE, name


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_cleared_slot_may_have_held_anything(value: float):
    problem = mann_problem(MANN_CASES[0], torch.float32)
    usage, memory = problem.state.usage.clone(), problem.state.memory.clone()
    usage[:, 2] = 0
    memory[:, 2] = value
    state = problem.state._replace(usage=usage, memory=memory)
    for part in run(problem._replace(state=state), "fused"):
        for name, tensor in part.items():
            assert tensor.isfinite().all(), name


def test_a_row_that_is_not_finite_leaves_the_others_as_they_are():
    problem = mann_problem(Case("", {}, rows=10))
    broken = problem.input.clone()
    broken[2, 4] = math.nan
    others = torch.tensor([row for row in range(10) if row != 4])
    with torch.no_grad():
        clean = sequence(problem, backend="fused")
        found = sequence(problem._replace(input=broken), backend="fused")
    for name, tensor in found.items():
        dim = 1 if name == "output" or "controller" in name else 0
        assert torch.equal(tensor.index_select(dim, others), clean[name].index_select(dim, others)), name
    assert found["output"][2:, 4].isnan().all()


# Awkward calls.


@some_cases
def test_tensors_that_are_not_contiguous(case: Case):
    problem = mann_problem(case)
    contiguous = problem._replace(lengths=torch.tensor([4, 0, 5]))

    def loose(tensor: Tensor) -> Tensor:
        return tensor.unsqueeze(-1).expand(*tensor.shape, 2).contiguous()[..., 0]

    awkward = Problem(copy.deepcopy(problem.layer), loose(problem.input), map_tensors(loose, problem.state))
    awkward = awkward._replace(lengths=torch.tensor([4, 9, 0, 9, 5, 9], dtype=torch.int32)[::2])
    for name, parameter in list(awkward.layer.named_parameters()):
        module, _, last = name.rpartition(".")
        setattr(awkward.layer.get_submodule(module), last, torch.nn.Parameter(loose(parameter.detach())))
    assert not any(t.is_contiguous() for t in (awkward.input, awkward.state.usage, awkward.layer.cell.heads.weight))
    assert_close(run(awkward, "fused"), run(contiguous, "reference"))


@every_case
def test_what_pads_a_row_reaches_no_number(case: Case):
    problem = mann_problem(case, ragged=True)
    past_end = torch.arange(case.steps).unsqueeze(1) >= problem.lengths
    padded = problem._replace(input=problem.input.masked_fill(past_end.unsqueeze(-1), math.nan))
    assert_equal(run(padded, "fused"), run(problem, "fused"))


def test_lengths_out_of_range_count_as_the_nearest_in_it():
    problem = mann_problem(MANN_CASES[0])
    found = run(problem._replace(lengths=torch.tensor([6, -1, 2**40])), "fused")
    assert_close(found, run(problem._replace(lengths=torch.tensor([5, 0, 5])), "reference"))


@some_cases
@ragged_or_not
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_no_number_comes_from_fresh_memory(case: Case, ragged: bool, dtype: torch.dtype, request):
    problem = mann_problem(case, dtype, ragged=ragged)
    ways: list[dict[str, Any]] = [{}, {"checkpoint_every": 1}, {"checkpoint_every": 2}, {"trace": True}]
    expected = [run(problem, "fused", **way) for way in ways]
    with torch.no_grad():
        plain = sequence(problem, backend="fused")
    request.getfixturevalue("nan_filled")
    for way, exact in zip(ways, expected, strict=True):
        assert_equal(assert_clean(problem, **way), exact)
    with torch.no_grad():
        assert_equal(Run(sequence(problem, backend="fused"), {}), Run(plain, {}))


@some_cases
def test_memories_made_again_give_the_same_bits(case: Case, monkeypatch: pytest.MonkeyPatch):
    problem = mann_problem(case._replace(steps=11), ragged=True)
    expected = run(problem, "fused", checkpoint_every=1)
    for checkpoint_every in (2, 3, 4, 11, 12):
        assert_equal(run(problem, "fused", checkpoint_every=checkpoint_every), expected)
    monkeypatch.setattr(packing, "MEMORY_LIMIT", 0)
    assert_equal(run(problem, "fused"), expected)


@pytest.mark.parametrize("rows", [1, 2, 9, 17])
def test_every_number_of_threads_gives_the_same_numbers(rows: int):
    # To rounding, not bit by bit: more threads make smaller bundles of rows, and those sum in another order.
    problem = real_mann_problem(MANN_REAL[1]._replace(rows=rows), torch.float64)
    problem = problem._replace(lengths=torch.randint(0, 13, (rows,)))
    expected = run(problem, "fused")
    for count in (2, 3):
        with threads(count):
            found = run(problem, "fused")
            assert_close(found, expected, 1e-12)
            assert_equal(run(problem, "fused"), found)


def test_a_row_of_a_batch_is_that_row_alone():
    problem = mann_problem(MANN_CASES[4]._replace(rows=10))
    problem = problem._replace(lengths=torch.tensor([5, 0, 1, 4, 5, 2, 0, 3, 5, 1]))
    whole = run(problem, "fused")
    for rows in (slice(0, 1), slice(3, 4), slice(2, 9)):
        for name, value in run(rows_of(problem, rows), "fused").values.items():
            wide = name == "output" or "controller" in name
            assert error(value, whole.values[name][:, rows] if wide else whole.values[name][rows]) <= TOLERANCE, name


@some_cases
def test_many_calls_are_one(case: Case):
    problem = mann_problem(case._replace(steps=12))
    results = []
    for parts in (4, 1):
        input, start = map_tensors(lambda tensor: tensor.detach().requires_grad_(), (problem.input, problem.state))
        state, outputs = start, []
        for part in input.chunk(parts):
            values = sequence(problem._replace(input=part, state=state), backend="fused")
            outputs.append(values["output"])
            controller = state.controller and type(state.controller)(
                values["state.controller.hidden"], values["state.controller.cell"]
            )
            state = type(state)(*(values[f"state.{name}"] for name in state._fields[:4]), controller)
        leaves = [input, *(tensor for _, tensor in named_tensors(start)), *problem.layer.parameters()]
        total = torch.cat(outputs).square().sum() + state.memory.square().sum() + state.read_weights.square().sum()
        results.append(torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True))
    for left, right in zip(*results, strict=True):
        assert error(left, right) <= TOLERANCE * max(1.0, float(right.abs().max()))


def test_auto_takes_it():
    layer = MANN(3, 5, memory_size=7, word_size=4)
    input = torch.randn(4, 2, 3)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(reference, "sequence", lambda *arguments, **options: pytest.fail("the reference ran"))
        layer(input)
    parameters, state = parameters_of(layer), layer.initial_state(2)
    assert len(parameters.heads) == 2
    assert state.usage.shape == (2, 7)
