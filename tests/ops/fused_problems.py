"""Problems for the fused NTM and MANN, how they are run, and what it means that two runs agree."""

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tapehead import MANN, NTM, LSTMState, MANNState, NTMState
from tapehead.ops import mann, ntm
from tapehead.ops.ntm import cpu
from tapehead.states import map_tensors
from tapehead.testing import error, named_tensors
from tests.cases import CASES, Case, by_name, make_input, make_layer, random_state

every_case = pytest.mark.parametrize("case", **by_name(CASES))
some_cases = pytest.mark.parametrize(
    "case",
    **by_name([case for case in CASES if case.name in ("plain", "many_heads_write_read", "content", "two_layers")]),
)
ragged_or_not = pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
# One without the other is computed in float64, where a wrong term is as wrong, and in float32 in `test_fused_random`.
ragged_and_traced_or_not = pytest.mark.parametrize("both", [False, True], ids=["full", "ragged_trace"])

# float64: some hundred roundings of 1e-16 in a row, which sharpening multiplies by gamma at every step.
TOLERANCE = 1e-10


class Run(NamedTuple):
    """What a run gave, tensor by tensor."""

    values: dict[str, Tensor]
    gradients: dict[str, Tensor]


class Problem(NamedTuple):
    """A layer, and what it is to run on."""

    layer: NTM | MANN
    input: Tensor
    state: NTMState | MANNState
    lengths: Tensor | None = None

    def double(self) -> "Problem":
        """The same numbers in float64."""
        layer, input, state = copy.deepcopy(self.layer).double(), self.input.double(), self.state
        return Problem(layer, input, map_tensors(Tensor.double, state), self.lengths)

    def to(self, device: str) -> "Problem":
        """The same on another device."""
        layer, input, state, lengths = self
        move = partial(Tensor.to, device=device)
        return Problem(
            copy.deepcopy(layer).to(device), move(input), map_tensors(move, state), map_tensors(move, lengths)
        )


def problem_of(case: Case, dtype: torch.dtype = torch.float64, *, ragged: bool = False) -> Problem:
    layer, input = make_layer(case, dtype), make_input(case, dtype)
    lengths = torch.tensor([case.steps - 1, 0, case.steps])[: case.rows] if ragged else None
    return Problem(layer, input, random_state(layer, case.rows), lengths)


def parameters_of(layer: NTM | MANN) -> Any:
    kind = mann.MANNParameters if isinstance(layer, MANN) else ntm.NTMParameters
    return kind(layer.cell.controller(), layer.cell.heads())


TOLD = {
    NTM: ("key", "key_strength", "interpolation_gate", "shift_weights", "gamma", "erase", "add"),
    MANN: ("key", "key_strength", "write_gate", "add"),
}
"""What the heads of a machine are told, in the order of its settings' `head_sizes`."""


def tell(problem: Problem, said: Mapping[str, float | tuple[float, ...]]) -> Problem:
    """The problem, its heads told this, whatever the controller says: a number, or one for each of a head's."""
    heads, sizes = problem.layer.cell.heads, problem.layer.cell.settings.head_sizes
    with torch.no_grad():
        for name, bias, weight in zip(
            TOLD[type(problem.layer)], heads.bias.split(sizes), heads.weight.split(sizes), strict=True
        ):
            if name in said:
                numbers = torch.tensor(said[name], dtype=bias.dtype)
                bias.view(-1, numbers.numel()).copy_(numbers)
                weight.zero_()
    return problem


def sequence(problem: Problem, **options: Any) -> dict[str, Tensor]:
    """Output, final state and trace of the op, by name."""
    layer, input, state, lengths = problem
    op = mann if isinstance(layer, MANN) else ntm
    results = op.sequence(input, state, parameters_of(layer), layer.cell.settings, lengths=lengths, **options)
    return dict(named_tensors(dict(zip(("output", "state", "trace"), results, strict=True))))


def cotangents(values: dict[str, Tensor]) -> list[Tensor]:
    """The same random numbers for the same shapes, in whatever precision, on whatever device."""
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(value.shape, generator=generator).to(value) for value in values.values()]


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


def unavoidable(problem: Problem, kind: int, name: str, trace: bool) -> float:
    """How much an exact answer changes when each parameter moves by at most half a unit in its last place.

    The largest change of eight draws: what rounding the parameters costs, whatever is computed from them. The
    reference may be far better by luck. A key of norm 0.03 is left of numbers around 1: its direction, which alone
    counts, is known to a thirtieth of their precision.
    """
    exact, half = run(problem.double(), "reference", trace=trace)[kind][name], torch.finfo(problem.input.dtype).eps / 2
    changes = []
    for seed in range(8):
        moved, generator = problem.double(), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in moved.layer.parameters():
                draw = torch.rand(parameter.shape, generator=generator, dtype=parameter.dtype).to(parameter.device)
                parameter.mul_(1 + half * (2 * draw - 1))
        changes.append(error(run(moved, "reference", trace=trace)[kind][name], exact))
    return max(changes)


def assert_as_good(
    problems: list[Problem],
    *,
    together: bool = False,
    count: int = 1,
    found: list[Run] | None = None,
    finite: bool = False,
    **options: Any,
) -> None:
    """The rule of `tapehead.testing`, for the typical problem: the geometric mean of the errors of several.

    Factor 2 for values, 3 for gradients. The largest error of the few numbers of one tensor is a matter of luck: over
    60 seeds the ratio is 0.9 on average, but 5 once. A wrong term is wrong every time; to be sure that none is wrong
    only rarely, no error may be 16 times the largest of the reference's, unless the same factors of what nobody can
    avoid (`unavoidable`) allow it. Errors below tiny / eps count as none: the core takes numbers below `tiny`, the
    smallest normal one, for zero, and others are multiplied by them.

    Args:
        problems: of the same sizes
        together: take the mean over all values, or gradients, for tensors of a single number
        count: threads of the fused runs; the reference's small products would only wait for each other
        found: what the fused backend gave, a run a problem; None to run it
        finite: whether every number has to be finite; the reference's as well, or nothing would be compared
        options: of the run
    """
    errors: dict[tuple[int, str], list[tuple[float, float]]] = {}
    trace = options.get("trace", False)
    for index, problem in enumerate(problems):
        with threads(count):
            fast = run(problem, "fused", **options) if found is None else found[index]
        reference, exact = run(problem, "reference", trace=trace), run(problem.double(), "reference", trace=trace)
        for kind, (left, middle, right) in enumerate(zip(fast, reference, exact, strict=True)):
            assert left.keys() == middle.keys() == right.keys()
            for name, best in right.items():
                if finite:
                    assert middle[name].isfinite().all(), f"the reference is not finite: {name}"
                    assert left[name].isfinite().all(), f"not finite: {name}"
                info = torch.finfo(left[name].dtype)
                rounding = info.eps * float(best.abs().max()) if best.numel() else 0.0
                floor = max(rounding, info.tiny / info.eps)
                pair = max(error(left[name], best), floor), max(error(middle[name], best), floor)
                errors.setdefault((kind, name), []).append(pair)
    ratios: dict[tuple[int, str], list[float]] = {}
    for (kind, name), pairs in errors.items():
        worst, own = (max(several) for several in zip(*pairs, strict=True))
        if worst > 16 * own:
            problem = problems[max(range(len(pairs)), key=lambda index: pairs[index][0])]
            limit = (2, 3)[kind] * unavoidable(problem, kind, name, trace)
            assert worst <= limit, f"{name}: error {worst:.3g}, the reference's {own:.3g}, at most {limit:.3g}"
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


def leaves_of(problem: Problem) -> dict[str, Tensor]:
    state = dict(named_tensors({"state": problem.state}))
    return {"input": problem.input, **state, **dict(problem.layer.named_parameters())}


def rows_of(problem: Problem, rows: slice) -> Problem:
    controller = problem.state.controller and LSTMState(*(part[:, rows] for part in problem.state.controller))
    state = type(problem.state)(*(part[rows] for part in problem.state[:4]), controller)
    lengths = None if problem.lengths is None else problem.lengths[rows]
    return Problem(problem.layer, problem.input[:, rows], state, lengths)


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every call of the core from now on, by the function's name."""
    calls, kernel = [], cpu._kernel

    def counted(function: str):
        calls.append(function)
        return kernel(function)

    monkeypatch.setattr(cpu, "_kernel", counted)
    return calls


class Recorder(TorchDispatchMode):
    """Keeps the arguments of every call of the machines' ops."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[Any, tuple[Any, ...]] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == "tapehead":
            self.calls[function] = args
        return function(*args, **(kwargs or {}))


def calls_of(problem: Problem, *, grad: bool = True, **options: Any) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """The ops' own calls in a run, forward and backward, as (op, arguments) by the op's name."""
    with Recorder() as recorder:
        if grad:
            run(problem, "fused", **options)
        else:
            with torch.no_grad():
                sequence(problem, backend="fused")

    def own(value: Any) -> Any:
        return value.detach().clone() if isinstance(value, Tensor) else value

    return {op.name(): (op, tuple(map(own, arguments))) for op, arguments in recorder.calls.items()}


FORWARD, BACKWARD = "tapehead::ntm_forward", "tapehead::ntm_backward"
