"""The fused NTM against the reference: the same function, with numbers as good."""

import copy
from typing import Any

import pytest
import torch

from tapehead.testing import named_tensors
from tests.cases import CASES, INITIALS, Case, by_name, make_input, make_layer
from tests.ops.fused_problems import (
    REAL,
    TOLERANCE,
    Run,
    assert_as_good,
    assert_close,
    cotangents,
    every_case,
    problem_of,
    ragged_and_traced_or_not,
    ragged_or_not,
    real_problem,
    run,
    sequence,
    some_cases,
    tell,
    threads,
)

# As good as the reference.


@every_case
@ragged_and_traced_or_not
def test_float32_is_as_good_as_the_reference(case: Case, both: bool):
    assert_as_good([problem_of(case, torch.float32, ragged=both) for _ in range(8)], trace=both)


@pytest.mark.parametrize("case", **by_name(REAL))
def test_float32_is_as_good_at_real_sizes(case: Case):
    assert_as_good([real_problem(case) for _ in range(4)])


@pytest.mark.parametrize("rows", [9, 17])
def test_float32_is_as_good_with_row_groups_on_two_threads(rows: int):
    assert_as_good([real_problem(REAL[2]._replace(rows=rows)) for _ in range(4)], count=2)


@every_case
@ragged_or_not
def test_float64_is_the_reference_with_every_way_to_keep_memories(case: Case, ragged: bool):
    problem = problem_of(case, ragged=ragged)
    expected = run(problem, "reference")
    for checkpoint_every in (None, 1, 2, 3, case.steps, case.steps + 3, 10**9):
        assert_close(run(problem, "fused", checkpoint_every=checkpoint_every), expected)


@every_case
@ragged_or_not
def test_float64_traces_are_the_references(case: Case, ragged: bool):
    problem = problem_of(case, ragged=ragged)
    expected = run(problem, "reference", trace=True)
    assert_close(run(problem, "fused", trace=True), expected)
    # A trace shows every memory, whatever is kept.
    assert_close(run(problem, "fused", trace=True, checkpoint_every=2), expected)


@pytest.mark.parametrize("name", INITIALS)
@pytest.mark.parametrize("order", ["read_write", "write_read"])
def test_every_initial_state(name: str, order: str):
    case = Case(name, {"initial": INITIALS[name], "order": order, "num_read_heads": 2})
    layers = [make_layer(case)]
    layers.append(copy.deepcopy(layers[0]))
    input, runs = make_input(case), []
    for layer, backend in zip(layers, ("fused", "reference"), strict=True):
        layer.cell.backend = backend
        values = dict(named_tensors(layer(input)))
        leaves = dict(layer.named_parameters())
        gradients = torch.autograd.grad(list(values.values()), list(leaves.values()), cotangents(values))
        runs.append(
            Run({name: value.detach() for name, value in values.items()}, dict(zip(leaves, gradients, strict=True)))
        )
    assert_close(*runs)


# Gradients of weights are made for 256 sums at a time, and add up over 128 steps and rows at a time.
@pytest.mark.parametrize(
    "options", [{"num_layers": 2}, {"controller": "feedforward"}], ids=["two_layers", "feedforward"]
)
@pytest.mark.parametrize("hidden_size", [70, 300])
@ragged_or_not
def test_gradients_of_weights_over_many_steps_and_rows(options: dict[str, Any], hidden_size: int, ragged: bool):
    case = Case("", {"memory_size": 8, "word_size": 5, **options}, steps=27, rows=10)
    problem = real_problem(case, torch.float64, hidden_size)
    if ragged:
        problem = problem._replace(lengths=torch.tensor([27, 3, 0, 27, 12, 1, 26, 8, 20, 5]))
    with threads(2):
        found = run(problem, "fused")
    assert_close(found, run(problem, "reference"))


# The input is projected for eight steps at a time.
@some_cases
@ragged_or_not
@pytest.mark.parametrize("steps", [1, 2, 7, 8, 9, 16, 20])
def test_any_number_of_steps(case: Case, ragged: bool, steps: int):
    problem = problem_of(case._replace(steps=steps), ragged=ragged)
    assert_close(run(problem, "fused"), run(problem, "reference"), TOLERANCE)


# Extreme parameters.


EXTREMES: dict[str, dict[str, float | tuple[float, ...]]] = {
    "key_strength": {"key_strength": 1e4},
    "key_strength_zero": {"key_strength": -1e4},
    "gamma": {"gamma": 1e3},
    "gates_open": {"interpolation_gate": 1e4},
    "gates_shut": {"interpolation_gate": -1e4},
    "shift": {"shift_weights": (-1e4, 0.0, 1e4)},
    "erase_all": {"erase": 1e4},
    "erase_nothing": {"erase": -1e4},
    "one_hot": {"key_strength": 1e4, "gamma": 1e3, "erase": 1e4},
    "zero_keys": {"key": 0.0},
    "huge_keys": {"key": 1e12},
    "tiny_keys": {"key": 1e-12},
    "huge_adds": {"add": 1e6},
}


@pytest.mark.parametrize("name", EXTREMES)
@pytest.mark.parametrize("order", ["read_write", "write_read"])
def test_extreme_parameters(name: str, order: str):
    case = Case("", {"order": order})
    assert_as_good([tell(problem_of(case, torch.float32), EXTREMES[name]) for _ in range(8)], finite=True)


@pytest.mark.parametrize(("said", "field"), [("key_strength", "content_weights"), ("gamma", "weights")])
def test_weights_on_one_slot_are_exactly_one_as_the_references(said: str, field: str):
    exactly = 0
    for _ in range(8):
        problem = tell(problem_of(CASES[0], torch.float32), EXTREMES[said])
        expected = sequence(problem, backend="reference", trace=True)[f"trace.read.{field}"].amax(-1)
        found = sequence(problem, backend="fused", trace=True)[f"trace.read.{field}"].amax(-1)
        assert (found[expected == 1] == 1).all()
        exactly += int((expected == 1).sum())
    assert exactly > 50


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6])
@pytest.mark.parametrize("order", ["read_write", "write_read"])
def test_extreme_memories(scale: float, order: str):
    problems = [problem_of(Case("", {"order": order}), torch.float32) for _ in range(8)]
    problems = [p._replace(state=p.state._replace(memory=p.state.memory * scale)) for p in problems]
    assert_as_good(problems, finite=True)


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e30])
def test_extreme_inputs(scale: float):
    problems = [problem_of(CASES[0], torch.float32) for _ in range(8)]
    assert_as_good([problem._replace(input=problem.input * scale) for problem in problems], finite=True)
