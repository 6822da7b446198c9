"""The fused MANN against the reference in configurations that nobody thought of."""

from typing import Any

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tapehead import MANN
from tapehead.testing import error
from tests.mann_cases import random_mann_state
from tests.ops.distributions import assert_distribution, controllers, seeds
from tests.ops.fused_problems import Problem, assert_as_good, assert_close, run, sequence, threads
from tests.ops.mann_problems import is_clear_cut
from tests.ops.test_fused_random import counts, kept, map_state, rows, steps


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    heads = draw(st.integers(1, 5))
    return {
        "input_size": draw(st.integers(1, 4)),
        "hidden_size": draw(st.integers(1, 12)),
        "memory_size": draw(st.integers(heads, 40)),
        "word_size": draw(st.integers(1, 9)),
        "num_read_heads": heads,
        "usage_decay": draw(st.sampled_from([0.0, 0.5, 0.95, 1.0])),
        "write": draw(st.sampled_from(["add", "key"])),
        "least_used": draw(st.sampled_from(["one", "each", "all"])),
        "key_strength": draw(st.sampled_from(["learned", "one"])),
        "num_layers": draw(st.integers(1, 3)),
        "order": draw(st.sampled_from(["read_write", "write_read"])),
        "key_activation": draw(st.sampled_from(["linear", "tanh"])),
        "add_activation": draw(st.sampled_from(["linear", "tanh"])),
        **draw(controllers),
    }


def make(options: dict[str, Any], steps: int, rows: int, ragged: bool, dtype: torch.dtype, seed: int) -> Problem:
    """A problem whose heads say something else at every step."""
    torch.manual_seed(seed)
    layer = MANN(**options, dtype=dtype)
    with torch.no_grad():
        layer.cell.heads.weight *= 2
        layer.cell.heads.bias.normal_()
    input = torch.randn(steps, rows, options["input_size"], dtype=dtype)
    lengths = torch.randint(0, steps + 1, (rows,)) if ragged else None
    return Problem(layer, input, random_mann_state(layer, rows), lengths)


@settings(max_examples=100)
@given(configurations(), steps, rows, st.booleans(), st.booleans(), kept, counts, seeds)
def test_float64_is_the_reference(options, steps, rows, ragged, trace, checkpoint_every, count, seed):
    problem = make(options, steps, rows, ragged, torch.float64, seed)
    with threads(count):
        found = run(problem, "fused", trace=trace, checkpoint_every=checkpoint_every)
    assert_close(found, run(problem, "reference", trace=trace), 1e-9)


@settings(max_examples=12)
@given(configurations(), steps, rows, st.booleans(), kept, counts, seeds)
def test_float32_is_as_good_as_the_reference(options, steps, rows, ragged, checkpoint_every, count, seed):
    problems = [make(options, steps, rows, ragged, torch.float32, seed + part) for part in range(6)]
    problems = [problem for problem in problems if is_clear_cut(problem)]
    assume(len(problems) >= 4)
    assert_as_good(problems, together=True, count=count, checkpoint_every=checkpoint_every)


@settings(max_examples=40)
@given(configurations(), steps, rows, st.booleans(), st.sampled_from([torch.float32, torch.float64]), seeds)
def test_weights_are_distributions(options, steps, rows, ragged, dtype, seed):
    problem = make(options, steps, rows, ragged, dtype, seed)
    with torch.no_grad():
        found = sequence(problem, backend="fused", trace=True)
    active = torch.ones(steps, rows, dtype=torch.bool)
    if problem.lengths is not None:
        active = torch.arange(steps)[:, None] < problem.lengths
    for name, tensor in found.items():
        if name.startswith(("trace", "output")):
            assert (tensor[~active] == 0).all(), name
    if active.any():
        assert_distribution(found["trace.read.weights"][active])
        cleared = found["trace.write.least_used_weights"][active]
        assert ((cleared == 0) | (cleared == 1)).all()
    assert_distribution(found["state.read_weights"])


@settings(max_examples=40)
@given(configurations(), st.integers(2, 9), rows, st.data(), seeds)
def test_a_run_may_be_cut_anywhere(options, steps, rows, data, seed):
    problem = make(options, steps, rows, False, torch.float64, seed)
    cut = data.draw(st.integers(1, steps - 1))
    with torch.no_grad():
        whole = sequence(problem, backend="fused")
        first = sequence(problem._replace(input=problem.input[:cut]), backend="fused")
        state = map_state(problem.state, first)
        second = sequence(problem._replace(input=problem.input[cut:], state=state), backend="fused")
    second["output"] = torch.cat([first["output"], second["output"]])
    assert second.keys() == whole.keys()
    for name, value in whole.items():
        assert error(second[name], value) <= 1e-9 * max(1.0, float(value.abs().max())), name
