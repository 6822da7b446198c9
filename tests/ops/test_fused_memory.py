"""What the fused NTM takes from memory: nothing that it did not write, and the same whatever it keeps."""

from typing import Any

import pytest
import torch

from tapehead.ops import packing
from tests.cases import CASES, Case
from tests.ops.fused_problems import (
    REAL,
    Problem,
    Run,
    assert_equal,
    every_case,
    problem_of,
    ragged_or_not,
    real_problem,
    run,
    sequence,
    some_cases,
    threads,
)

# Fresh memory.


def assert_clean(problem: Problem, **options: Any) -> Run:
    found = run(problem, "fused", **options)
    for part in found:
        for name, tensor in part.items():
            assert tensor.isfinite().all(), name
    return found


@every_case
@ragged_or_not
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_no_number_comes_from_fresh_memory(case: Case, ragged: bool, dtype: torch.dtype, request):
    problem = problem_of(case, dtype, ragged=ragged)
    ways = [{}, {"checkpoint_every": 1}, {"checkpoint_every": 2}, {"trace": True}]
    expected = [run(problem, "fused", **way) for way in ways]
    with torch.no_grad():
        plain = sequence(problem, backend="fused")
    request.getfixturevalue("nan_filled")
    for way, exact in zip(ways, expected, strict=True):
        assert_equal(assert_clean(problem, **way), exact)
    with torch.no_grad():
        assert_equal(Run(sequence(problem, backend="fused"), {}), Run(plain, {}))


@ragged_or_not
def test_no_number_comes_from_fresh_memory_in_row_groups(ragged: bool, request):
    problem = real_problem(REAL[2]._replace(rows=9, steps=5))
    if ragged:
        problem = problem._replace(lengths=torch.tensor([5, 0, 1, 4, 5, 2, 0, 3, 5]))
    with threads(2):
        expected = run(problem, "fused", checkpoint_every=2)
        request.getfixturevalue("nan_filled")
        assert_equal(assert_clean(problem, checkpoint_every=2), expected)


# Long sequences.


@some_cases
def test_memories_made_again_give_the_same_bits(case: Case, monkeypatch: pytest.MonkeyPatch):
    problem = problem_of(case._replace(steps=11), ragged=True)
    expected = run(problem, "fused", checkpoint_every=1)
    for checkpoint_every in (2, 3, 4, 10, 11, 12):
        assert_equal(run(problem, "fused", checkpoint_every=checkpoint_every), expected)
    monkeypatch.setattr(packing, "MEMORY_LIMIT", 0)
    assert_equal(run(problem, "fused"), expected)


def test_a_trace_keeps_every_memory_whatever_the_limit(monkeypatch: pytest.MonkeyPatch):
    problem = problem_of(CASES[0], ragged=True)
    expected = run(problem, "fused", trace=True)
    monkeypatch.setattr(packing, "MEMORY_LIMIT", 0)
    for checkpoint_every in (None, 2, 100):
        assert_equal(run(problem, "fused", trace=True, checkpoint_every=checkpoint_every), expected)


def test_a_trace_without_gradients_is_the_same_trace():
    problem = problem_of(CASES[5], ragged=True)
    with torch.no_grad():
        found = sequence(problem, backend="fused", trace=True)
    assert_equal(Run(found, {}), Run(run(problem, "fused", trace=True).values, {}))
