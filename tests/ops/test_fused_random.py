"""The fused NTM against the reference in configurations that nobody thought of."""

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tapehead import NTM
from tapehead.testing import error
from tests.cases import random_state
from tests.ops.distributions import assert_distribution, controllers, seeds
from tests.ops.fused_problems import Problem, assert_as_good, assert_close, rows_of, run, sequence, threads


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    max_shift = draw(st.integers(0, 3))
    layers = draw(st.integers(1, 3))
    return {
        "input_size": draw(st.integers(1, 4)),
        "hidden_size": draw(st.integers(1, 12)),
        "memory_size": draw(st.integers(2 * max_shift + 1, 40)),
        "word_size": draw(st.integers(1, 9)),
        "num_read_heads": draw(st.integers(1, 4)),
        "num_write_heads": draw(st.integers(1, 3)),
        "max_shift": max_shift,
        "num_layers": layers,
        "addressing": draw(st.sampled_from(["content_and_location", "content"])),
        "order": draw(st.sampled_from(["read_write", "write_read"])),
        "key_activation": draw(st.sampled_from(["linear", "tanh"])),
        "add_activation": draw(st.sampled_from(["linear", "tanh"])),
        **draw(controllers),
    }


steps, rows, counts = st.integers(1, 7), st.integers(1, 10), st.integers(1, 3)
kept = st.none() | st.integers(1, 9)


def make(options: dict[str, Any], steps: int, rows: int, ragged: bool, dtype: torch.dtype, seed: int) -> Problem:
    """A problem whose heads say something else at every step."""
    torch.manual_seed(seed)
    layer = NTM(**options, dtype=dtype)
    with torch.no_grad():
        layer.cell.heads.weight *= 2
        layer.cell.heads.bias.normal_()
    input = torch.randn(steps, rows, options["input_size"], dtype=dtype)
    lengths = torch.randint(0, steps + 1, (rows,)) if ragged else None
    return Problem(layer, input, random_state(layer, rows), lengths)


@settings(max_examples=220)
@given(configurations(), steps, rows, st.booleans(), st.booleans(), kept, counts, seeds)
def test_float64_is_the_reference(options, steps, rows, ragged, trace, checkpoint_every, count, seed):
    problem = make(options, steps, rows, ragged, torch.float64, seed)
    with threads(count):
        found = run(problem, "fused", trace=trace, checkpoint_every=checkpoint_every)
    assert_close(found, run(problem, "reference", trace=trace), 1e-9)


@settings(max_examples=50)
@given(configurations(), steps, rows, st.booleans(), kept, counts, seeds)
def test_float32_is_as_good_as_the_reference(options, steps, rows, ragged, checkpoint_every, count, seed):
    problems = [make(options, steps, rows, ragged, torch.float32, seed + part) for part in range(6)]
    assert_as_good(problems, together=True, count=count, checkpoint_every=checkpoint_every)


@settings(max_examples=60)
@given(configurations(), steps, rows, st.booleans(), st.sampled_from([torch.float32, torch.float64]), seeds)
def test_weights_are_distributions(options, steps, rows, ragged, dtype, seed):
    problem = make(options, steps, rows, ragged, dtype, seed)
    with torch.no_grad():
        found = sequence(problem, backend="fused", trace=True)
    active = torch.ones(steps, rows, dtype=torch.bool)
    if problem.lengths is not None:
        active = torch.arange(steps)[:, None] < problem.lengths
    for side in ("read", "write"):
        for field in ("weights", "content_weights", "shift_weights"):
            weights = found.get(f"trace.{side}.{field}")
            if weights is not None:
                assert (weights[~active] == 0).all()
                if active.any():
                    assert_distribution(weights[active])
    assert_distribution(found["state.read_weights"])
    assert_distribution(found["state.write_weights"])
    assert (found["output"][~active] == 0).all()


@settings(max_examples=60)
@given(configurations(), steps, st.integers(1, 6), seeds)
def test_a_ragged_row_is_its_run_without_padding(options, steps, rows, seed):
    problem = make(options, steps, rows, True, torch.float64, seed)
    with torch.no_grad():
        whole = sequence(problem, backend="fused")
        for row, length in enumerate(problem.lengths.tolist()):
            alone = rows_of(problem, slice(row, row + 1))
            state = (
                dict(sequence(alone._replace(input=alone.input[:length], lengths=None), backend="fused"))
                if length
                else {}
            )
            for name, value in whole.items():
                part = value[:, row : row + 1] if name == "output" or "controller" in name else value[row : row + 1]
                if name == "output":
                    assert (part[length:] == 0).all()
                    part = part[:length]
                expected = state[name] if length else start_of(alone, name, part)
                assert error(part, expected) <= 1e-9 * max(
                    1.0, float(expected.abs().max()) if expected.numel() else 1.0
                )


def start_of(problem: Problem, name: str, output: Tensor) -> Tensor:
    """What a run of no steps returns: no output, and the state that it was given."""
    value: Any = problem.state
    if name == "output":
        return output[:0]
    for part in name.split(".")[1:]:
        value = getattr(value, part)
    return value


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


def map_state(like: Any, values: dict[str, Tensor]) -> Any:
    """A state out of values by name."""
    fields = {name: values[f"state.{name}"] for name in like._fields[:4]}
    controller = like.controller
    if controller is not None:
        controller = type(controller)(*(values[f"state.controller.{name}"] for name in controller._fields))
    return type(like)(**fields, controller=controller)
