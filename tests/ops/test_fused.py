"""The fused NTM against the reference: the same function, with numbers as good, in whatever way it is called."""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from tapehead import NTM, Initial, LSTMState, NTMState
from tapehead.ops import ntm
from tapehead.ops.ntm import cpu, fused
from tapehead.states import map_tensors
from tapehead.testing import error, named_tensors
from tests.cases import CASES, INITIALS, Case, by_name, make_input, make_layer, random_state

every_case = pytest.mark.parametrize("case", **by_name(CASES))
some_cases = pytest.mark.parametrize(
    "case",
    **by_name([case for case in CASES if case.name in ("plain", "many_heads_write_read", "content", "two_layers")]),
)
ragged_or_not = pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])

# float64: some hundred roundings of 1e-16 in a row, which sharpening multiplies by gamma at every step.
TOLERANCE = 1e-10


class Run(NamedTuple):
    """What a run gave, tensor by tensor."""

    values: dict[str, Tensor]
    gradients: dict[str, Tensor]


class Problem(NamedTuple):
    """A layer, and what it is to run on."""

    layer: NTM
    input: Tensor
    state: NTMState
    lengths: Tensor | None = None

    def double(self) -> "Problem":
        """The same numbers in float64."""
        layer, input, state = copy.deepcopy(self.layer).double(), self.input.double(), self.state
        return Problem(layer, input, map_tensors(Tensor.double, state), self.lengths)


def problem_of(case: Case, dtype: torch.dtype = torch.float64, *, ragged: bool = False) -> Problem:
    layer, input = make_layer(case, dtype), make_input(case, dtype)
    lengths = torch.tensor([case.steps - 1, 0, case.steps])[: case.rows] if ragged else None
    return Problem(layer, input, random_state(layer, case.rows), lengths)


def parameters_of(layer: NTM) -> ntm.NTMParameters:
    return ntm.NTMParameters(layer.cell.controller.tensors(), layer.cell.heads.tensors())


def sequence(problem: Problem, **options: Any) -> dict[str, Tensor]:
    """Output, final state and trace of the op, by name."""
    layer, input, state, lengths = problem
    results = ntm.sequence(input, state, parameters_of(layer), layer.cell.settings, lengths=lengths, **options)
    return dict(named_tensors(dict(zip(("output", "state", "trace"), results, strict=True))))


def cotangents(values: dict[str, Tensor]) -> list[Tensor]:
    """The same random numbers for the same shapes, in whatever precision."""
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(value.shape, generator=generator).to(value.dtype) for value in values.values()]


def run(problem: Problem, backend: str, **options: Any) -> Run:
    """Values, and the gradients of all leaves with a random cotangent on every value."""
    layer, input, state, lengths = problem
    input, state = map_tensors(lambda tensor: tensor.detach().requires_grad_(), (input, state))
    values = sequence(Problem(layer, input, state, lengths), backend=backend, **options)
    leaves = {"input": input, **dict(named_tensors({"state": state})), **dict(layer.named_parameters())}
    # A step that no row takes part in has no gradient in the reference.
    used = {name: value for name, value in values.items() if value.requires_grad}
    gradients = torch.autograd.grad(
        list(used.values()), list(leaves.values()), cotangents(used), allow_unused=True, materialize_grads=True
    )
    values = {name: value.detach() for name, value in values.items()}
    return Run(values, dict(zip(leaves, gradients, strict=True)))


def assert_close(found: Run, expected: Run, tolerance: float = TOLERANCE) -> None:
    """Equal but for `tolerance` of the largest number of each tensor, or of 1 where that is larger."""
    for left, right in zip(found, expected, strict=True):
        assert left.keys() == right.keys()
        for name, exact in right.items():
            scale = max(1.0, float(exact.abs().max())) if exact.numel() else 1.0
            assert error(left[name], exact) <= tolerance * scale, name


def assert_equal(found: Run, expected: Run, *, gradients: bool = True) -> None:
    """The same bits."""
    for left, right in list(zip(found, expected, strict=True))[: 1 + gradients]:
        assert left.keys() == right.keys()
        for name in right:
            assert torch.equal(left[name], right[name]), name


def assert_as_good(problems: list[Problem], *, together: bool = False, count: int = 1, **options: Any) -> None:
    """The rule of `tapehead.testing`, for the typical problem: the geometric mean of the errors of several.

    Factor 2 for values, 3 for gradients. The largest error of the few numbers of one tensor is a matter of luck: over
    60 seeds the ratio is 0.9 on average, but 5 once. A wrong term is wrong every time; to be sure that none is wrong
    only rarely, no error may be 16 times the largest of the reference's. Errors below tiny / eps count as none: the
    core takes numbers below `tiny`, the smallest normal one, for zero, and others are multiplied by them.

    Args:
        problems: of the same sizes
        together: take the mean over all values, or gradients, for tensors of a single number
        count: threads of the fused runs; the reference's small products would only wait for each other
        options: of the run
    """
    errors: dict[tuple[int, str], list[tuple[float, float]]] = {}
    trace = options.get("trace", False)
    for problem in problems:
        with threads(count):
            fast = run(problem, "fused", **options)
        reference, exact = run(problem, "reference", trace=trace), run(problem.double(), "reference", trace=trace)
        for kind, (left, middle, right) in enumerate(zip(fast, reference, exact, strict=True)):
            assert left.keys() == middle.keys() == right.keys()
            for name, best in right.items():
                info = torch.finfo(left[name].dtype)
                rounding = info.eps * float(best.abs().max()) if best.numel() else 0.0
                floor = max(rounding, info.tiny / info.eps)
                pair = max(error(left[name], best), floor), max(error(middle[name], best), floor)
                errors.setdefault((kind, name), []).append(pair)
    ratios: dict[tuple[int, str], list[float]] = {}
    for (kind, name), pairs in errors.items():
        found, own = (max(several) for several in zip(*pairs, strict=True))
        assert found <= 16 * own, f"{name}: error {found:.3g}, the reference's {own:.3g}"
        key = (kind, ("values", "gradients")[kind] if together else name)
        ratios.setdefault(key, []).extend(left / right for left, right in pairs)
    for (kind, name), several in ratios.items():
        typical = math.exp(sum(map(math.log, several)) / len(several))
        assert typical <= (2, 3)[kind], f"{name}: {typical:.3g} times the reference's error"


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# As good as the reference.


@every_case
@ragged_or_not
@pytest.mark.parametrize("trace", [False, True], ids=["", "trace"])
def test_float32_is_as_good_as_the_reference(case: Case, ragged: bool, trace: bool):
    assert_as_good([problem_of(case, torch.float32, ragged=ragged) for _ in range(8)], trace=trace)


REAL = [
    Case("paper", {"memory_size": 128, "word_size": 20}, steps=41, rows=8),
    Case("paper_write_read", {"memory_size": 128, "word_size": 20, "order": "write_read"}, steps=41, rows=8),
    Case("odd_sizes", {"memory_size": 100, "word_size": 17, "num_read_heads": 3, "num_write_heads": 2}, 12, 5),
    Case("odd_sizes_feedforward", {"memory_size": 100, "word_size": 17, "controller": "feedforward"}, 12, 5),
]


def real_problem(case: Case, dtype: torch.dtype = torch.float32, hidden_size: int = 0) -> Problem:
    """As drawn: that is what a user trains."""
    layer = NTM(9, hidden_size or (100 if "paper" in case.name else 33), dtype=dtype, **case.options)
    return Problem(layer, torch.randn(case.steps, case.rows, 9, dtype=dtype), layer.initial_state(case.rows))


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


# Fresh memory.


@pytest.fixture
def nan_filled():
    """torch.empty gives NaN, and so do the core's workspaces."""
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.utils.deterministic.fill_uninitialized_memory = before[1]


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
    """Of a function of the values, for both backends."""
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


def leaves_of(problem: Problem) -> dict[str, Tensor]:
    state = dict(named_tensors({"state": problem.state}))
    return {"input": problem.input, **state, **dict(problem.layer.named_parameters())}


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


def rows_of(problem: Problem, rows: slice) -> Problem:
    controller = problem.state.controller and LSTMState(*(part[:, rows] for part in problem.state.controller))
    state = NTMState(*(part[rows] for part in problem.state[:4]), controller)
    lengths = None if problem.lengths is None else problem.lengths[rows]
    return Problem(problem.layer, problem.input[:, rows], state, lengths)


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
    # To rounding, not bit by bit: more threads make smaller groups of rows, and those sum in another order.
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


# Long sequences.


# The input is projected for eight steps at a time.
@some_cases
@ragged_or_not
@pytest.mark.parametrize("steps", [1, 2, 7, 8, 9, 16, 20])
def test_any_number_of_steps(case: Case, ragged: bool, steps: int):
    problem = problem_of(case._replace(steps=steps), ragged=ragged)
    assert_close(run(problem, "fused"), run(problem, "reference"), TOLERANCE)


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every call of the core from now on, by the function's name."""
    calls, kernel = [], cpu._kernel

    def counted(function: str):
        calls.append(function)
        return kernel(function)

    monkeypatch.setattr(cpu, "_kernel", counted)
    return calls


@some_cases
def test_memories_made_again_give_the_same_bits(case: Case, monkeypatch: pytest.MonkeyPatch):
    problem = problem_of(case._replace(steps=11), ragged=True)
    expected = run(problem, "fused", checkpoint_every=1)
    for checkpoint_every in (2, 3, 4, 10, 11, 12):
        assert_equal(run(problem, "fused", checkpoint_every=checkpoint_every), expected)
    monkeypatch.setattr(fused, "MEMORY_LIMIT", 0)
    assert_equal(run(problem, "fused"), expected)


def test_a_trace_keeps_every_memory_whatever_the_limit(monkeypatch: pytest.MonkeyPatch):
    problem = problem_of(CASES[0], ragged=True)
    expected = run(problem, "fused", trace=True)
    monkeypatch.setattr(fused, "MEMORY_LIMIT", 0)
    for checkpoint_every in (None, 2, 100):
        assert_equal(run(problem, "fused", trace=True, checkpoint_every=checkpoint_every), expected)


def test_a_trace_without_gradients_is_the_same_trace():
    problem = problem_of(CASES[5], ragged=True)
    with torch.no_grad():
        found = sequence(problem, backend="fused", trace=True)
    assert_equal(Run(found, {}), Run(run(problem, "fused", trace=True).values, {}))


# Extreme parameters.


def told(case: Case, **said: float) -> Problem:
    """A problem whose heads are told, whatever the controller says: these go into the heads' activations."""
    problem = problem_of(case, torch.float32)
    kinds = ["key", "key_strength", "interpolation_gate", "shift_weights", "gamma", "erase", "add"]
    heads, sizes = problem.layer.cell.heads, problem.layer.cell.settings.head_sizes
    with torch.no_grad():
        for name, bias, weight in zip(kinds, heads.bias.split(sizes), heads.weight.split(sizes), strict=True):
            if name in said:
                bias.fill_(said[name])
                weight.zero_()
    return problem


EXTREMES: dict[str, dict[str, float]] = {
    "key_strength": {"key_strength": 1e4},
    "key_strength_zero": {"key_strength": -1e4},
    "gamma": {"gamma": 1e3},
    "gates_open": {"interpolation_gate": 1e4},
    "gates_shut": {"interpolation_gate": -1e4},
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
    assert_as_good_where_finite([told(Case("", {"order": order}), **EXTREMES[name]) for _ in range(8)])


@pytest.mark.parametrize(("said", "field"), [("key_strength", "content_weights"), ("gamma", "weights")])
def test_weights_on_one_slot_are_exactly_one_as_the_references(said: str, field: str):
    exactly = 0
    for _ in range(8):
        problem = told(CASES[0], **EXTREMES[said])
        expected = sequence(problem, backend="reference", trace=True)[f"trace.read.{field}"].amax(-1)
        found = sequence(problem, backend="fused", trace=True)[f"trace.read.{field}"].amax(-1)
        assert (found[expected == 1] == 1).all()
        exactly += int((expected == 1).sum())
    assert exactly > 50


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6])
@pytest.mark.parametrize("order", ["read_write", "write_read"])
def test_extreme_memories(scale: float, order: str):
    problems = [problem_of(Case("", {"order": order}), torch.float32) for _ in range(8)]
    assert_as_good_where_finite([p._replace(state=p.state._replace(memory=p.state.memory * scale)) for p in problems])


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e30])
def test_extreme_inputs(scale: float):
    problems = [problem_of(CASES[0], torch.float32) for _ in range(8)]
    assert_as_good_where_finite([problem._replace(input=problem.input * scale) for problem in problems])


def assert_as_good_where_finite(problems: list[Problem]) -> None:
    """Finite where the reference is, and as good there."""
    for problem in problems:
        for found, expected in zip(run(problem, "fused"), run(problem, "reference"), strict=True):
            for name, tensor in expected.items():
                assert tensor.isfinite().all(), f"the reference is not finite: {name}"
                assert found[name].isfinite().all(), name
    assert_as_good(problems)
