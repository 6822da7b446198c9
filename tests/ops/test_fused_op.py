"""The fused NTM as an op of torch: what compilers, modes, autograd and threads see of it."""

import contextlib
import copy
import pickle
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from tapehead import NTM, NTMCell
from tapehead.ops import ntm
from tapehead.ops.ntm import cpu
from tapehead.states import map_tensors
from tapehead.testing import error, named_tensors
from tests.cases import CASES, Case, by_name, make_layer, random_state
from tests.ops.fused_problems import (
    BACKWARD,
    FORWARD,
    TOLERANCE,
    Problem,
    calls_of,
    cotangents,
    leaves_of,
    parameters_of,
    problem_of,
    real_problem,
    run,
    sequence,
)

dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
NAMES = ("plain", "write_read", "content", "feedforward", "relu", "two_layers", "two_layers_feedforward")
kinds = pytest.mark.parametrize("case", **by_name([case for case in CASES if case.name in NAMES]))

# What the ops promise to torch. The last of opcheck's tests compiles them, which takes seconds.
QUICK = ("test_schema", "test_autograd_registration", "test_faketensor")


@kinds
@dtypes
@pytest.mark.parametrize("way", ["saves", "saves_ragged", "traces", "saves_nothing"])
def test_opcheck(case: Case, dtype: torch.dtype, way: str):
    problem = problem_of(case, dtype, ragged=way == "saves_ragged")
    if way == "saves_nothing":
        calls = calls_of(problem, grad=False)
        assert set(calls) == {FORWARD}
    else:
        calls = calls_of(problem, trace=way == "traces")
        assert set(calls) == {FORWARD, BACKWARD}
    for op, arguments in calls.values():
        torch.library.opcheck(op, arguments, test_utils=QUICK)


def test_opcheck_with_gradients():
    op, arguments = calls_of(problem_of(CASES[0]))[FORWARD]
    leaves = [value.requires_grad_() if isinstance(value, Tensor) else value for value in arguments]
    torch.library.opcheck(op, tuple(leaves), test_utils=QUICK)


def small(**options: Any) -> NTM:
    return make_layer(Case("", {"backend": "fused", **options}))


def results_of(layer: Callable[..., Any], input: Tensor, **options: Any) -> dict[str, Tensor]:
    """Values, and the gradients of the input and of every parameter."""
    input = input.detach().requires_grad_()
    values = dict(named_tensors(layer(input, **options)))
    leaves = {"input": input, **dict(layer.named_parameters())}
    gradients = torch.autograd.grad(
        list(values.values()), list(leaves.values()), cotangents(values), allow_unused=True, materialize_grads=True
    )
    found = {f"grad.{name}": gradient for name, gradient in zip(leaves, gradients, strict=True)}
    return found | {name: value.detach() for name, value in values.items()}


def assert_alike(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, exact in expected.items():
        assert error(found[name], exact) <= TOLERANCE * max(1.0, float(exact.abs().max())), name


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "order": "write_read"}], ids=["plain", "two_layers"])
def test_compiled_in_one_graph_it_gives_the_same(options: dict[str, Any]):
    torch.compiler.reset()
    layer, input = small(**options), torch.randn(5, 3, 3, dtype=torch.float64)
    lengths = torch.tensor([5, 0, 3])
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert_alike(results_of(compiled, input, lengths=lengths), by_module(results_of(layer, input, lengths=lengths)))


def by_module(results: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names as a compiled module has them."""
    return {name.replace("grad.cell.", "grad._orig_mod.cell."): value for name, value in results.items()}


@pytest.mark.skipif(
    torch.__version__ < (2, 7), reason="torch 2.6 takes the modules' own numbers for unknown sizes as well"
)
def test_compiled_once_for_every_size():
    torch.compiler.reset()
    layer, graphs = small(), []

    def count(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(layer, backend=count, fullgraph=True, dynamic=True)
    # No size of these is the width of the input, 3, which the compiler would take for the same size.
    for steps, rows in ((5, 4), (7, 6), (9, 2)):
        input = torch.randn(steps, rows, 3, dtype=torch.float64)
        assert_alike(results_of(compiled, input), by_module(results_of(layer, input)))
    assert len(graphs) == 1


def test_exported_it_gives_the_same():
    layer, input = small().requires_grad_(False), torch.randn(5, 3, 3, dtype=torch.float64)
    exported = torch.export.export(layer, (input,))
    targets = [str(node.target) for node in exported.graph.nodes if "tapehead" in str(node.target)]
    assert targets == ["tapehead.ntm_forward.default"]
    other = torch.randn_like(input)
    assert_alike(dict(named_tensors(exported.module()(other))), dict(named_tensors(layer(other))))


def test_traced_by_make_fx_it_is_one_node():
    layer, input = small().requires_grad_(False), torch.randn(5, 3, 3, dtype=torch.float64)
    graph = make_fx(lambda value: layer(value)[0])(input)
    assert sum("tapehead" in str(node.target) for node in graph.graph.nodes) == 1
    other = torch.randn_like(input)
    assert error(graph(other), layer(other)[0]) <= TOLERANCE


@kinds
@pytest.mark.parametrize("trace", [False, True])
def test_fake_tensors_have_the_real_shapes(case: Case, trace: bool):
    problem = problem_of(case)
    real = sequence(problem, backend="fused", trace=trace)
    mode, fake = FakeTensorMode(), copy.deepcopy(problem.layer)
    for module in fake.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, torch.nn.Parameter(mode.from_tensor(parameter.detach())))
    input, state = map_tensors(mode.from_tensor, (problem.input, problem.state))
    with mode:
        found = sequence(Problem(fake, input, state), backend="fused", trace=trace)
    assert found.keys() == real.keys()
    for name, value in real.items():
        assert (found[name].shape, found[name].dtype, found[name].device) == (value.shape, value.dtype, value.device)


@kinds
def test_under_inference_mode(case: Case):
    problem = problem_of(case, ragged=True)
    expected = sequence(problem, backend="fused")
    with torch.inference_mode():
        found = sequence(problem, backend="fused")
        traced = sequence(problem, backend="fused", trace=True)
    assert all(value.is_inference() for value in found.values())
    for name, value in found.items():
        assert torch.equal(value, expected[name].detach()), name
        assert torch.equal(value, traced[name]), name


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize("kind", [NTM, NTMCell])
def test_a_layer_that_ran_can_be_copied(again, kind):
    layer = kind(3, 5, memory_size=7, word_size=4, backend="fused", checkpoint_every=2)
    input = torch.randn(*(2, 3) if kind is NTMCell else (5, 2, 3))
    layer(input)[0].sum().backward()
    copied = again(layer)
    assert (copied.cell if kind is NTM else copied).checkpoint_every == 2
    for left, right in zip(named_tensors(copied(input)), named_tensors(layer(input)), strict=True):
        assert torch.equal(left[1], right[1])


# Autograd.


@pytest.mark.parametrize("trace", [False, True])
def test_a_second_derivative_is_refused_by_name(trace: bool):
    problem = problem_of(CASES[0])
    input = problem.input.requires_grad_()
    values = sequence(problem, backend="fused", trace=trace)
    (gradient,) = torch.autograd.grad(values["output"].square().sum(), input, create_graph=True)
    with pytest.raises(RuntimeError, match="backend='reference'"):
        gradient.square().sum().backward()


def test_a_gradient_made_for_a_second_derivative_is_the_same_gradient():
    problem = problem_of(CASES[0])
    leaves = list(problem.layer.parameters())
    totals = [sequence(problem, backend="fused")["output"].square().sum() for _ in range(2)]
    plain = torch.autograd.grad(totals[0], leaves)
    recorded = torch.autograd.grad(totals[1], leaves, create_graph=True)
    assert all(torch.equal(left, right) for left, right in zip(plain, recorded, strict=True))


CHANGEABLE = ["output", *leaves_of(problem_of(Case("", {"num_layers": 2})))]
CHANGEABLE += [f"new {name}" for name in CHANGEABLE if name.startswith("state")]
TRACED = [name for name in sequence(problem_of(CASES[0]), backend="fused", trace=True) if name.startswith("trace")]


class ChangedInPlace(Exception):
    """Torch's answer to a change of what the backward needs."""


def gradients_after_a_change(name: str, *, trace: bool, change: bool) -> dict[str, Tensor]:
    torch.manual_seed(0)
    problem = problem_of(Case("", {"num_layers": 2}), ragged=True)
    problem = problem._replace(state=map_tensors(lambda tensor: tensor * 1.0, problem.state))  # no leaves
    values = sequence(problem, backend="fused", trace=trace)
    total = sum((value * other).sum() for value, other in zip(values.values(), cotangents(values), strict=True))
    changed = {**leaves_of(problem), **{f"new {key}": value for key, value in values.items()}, **values}
    if name.startswith("state"):
        changed = leaves_of(problem)
    if change:
        with torch.no_grad():
            changed[name].mul_(3.0)
    names = dict(problem.layer.named_parameters())
    try:
        return dict(zip(names, torch.autograd.grad(total, list(names.values())), strict=True))
    except RuntimeError as raised:
        if "modified by an inplace operation" in str(raised):
            raise ChangedInPlace from raised
        raise


@pytest.mark.parametrize(("name", "trace"), [(n, False) for n in CHANGEABLE] + [(n, True) for n in TRACED])
def test_a_change_in_place_raises_or_changes_no_gradient(name: str, trace: bool):
    expected = gradients_after_a_change(name, trace=trace, change=False)
    found = None
    with contextlib.suppress(ChangedInPlace):
        found = gradients_after_a_change(name, trace=trace, change=True)
    for key, gradient in ({} if found is None else expected).items():
        assert torch.equal(found[key], gradient), key


def test_a_change_in_place_of_the_output_raises():
    problem = problem_of(CASES[0])
    output = sequence(problem, backend="fused")["output"]
    total = output.sum()
    with torch.no_grad():
        output.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


def test_lengths_changed_in_place_raise_or_change_no_gradient():
    expected = run(problem_of(CASES[0], ragged=True), "fused").gradients["cell.heads.weight"]
    torch.manual_seed(0)
    problem = problem_of(CASES[0], ragged=True)
    values = sequence(problem, backend="fused")
    problem.lengths.fill_(5)
    torch.manual_seed(0)
    weight = problem.layer.cell.heads.weight
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(list(values.values()), weight, cotangents(values))
    assert expected.isfinite().all()


def test_a_step_of_an_optimiser_between_forward_and_backward_raises():
    problem = problem_of(CASES[0])
    optimiser = torch.optim.SGD(problem.layer.parameters(), lr=0.1)
    first = sequence(problem, backend="fused")["output"].sum()
    second = sequence(problem, backend="fused")["output"].sum()
    first.backward()
    optimiser.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        second.backward()


# Threads.


def train(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    layer = NTM(3, 5, memory_size=16, word_size=4, backend="fused")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.01)
    for _ in range(15):
        optimiser.zero_grad()
        layer(torch.randn(20, 9, 3, generator=generator))[0].square().mean().backward()
        optimiser.step()
    return [parameter.detach() for parameter in layer.parameters()]


def test_two_threads_train_as_each_would_alone():
    expected = [train(0), train(1)]
    found: dict[int, list[Tensor]] = {}
    threads = [threading.Thread(target=lambda seed=seed: found.update({seed: train(seed)})) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, parameters in enumerate(expected):
        assert all(torch.equal(left, right) for left, right in zip(found[seed], parameters, strict=True))


def test_other_threads_run_during_a_call():
    problem, stop, ticks = real_problem(Case("paper", {}, steps=400, rows=16)), threading.Event(), []

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    longest, kernel = (0.0, 0.0), cpu._kernel

    def timed(function: str):
        call = kernel(function)

        def run(*arguments: Any) -> None:
            nonlocal longest
            start = time.perf_counter()
            call(*arguments)
            longest = max(longest, (start, time.perf_counter()), key=lambda span: span[1] - span[0])

        return run

    thread = threading.Thread(target=tick)
    thread.start()
    with pytest.MonkeyPatch.context() as monkeypatch, torch.no_grad():
        monkeypatch.setattr(cpu, "_kernel", timed)
        sequence(problem, backend="fused")
    stop.set()
    thread.join()
    # Well inside the call: a thread that waits for Python's lock would tick at its two ends.
    start, end = longest
    middle = [time for time in ticks if start + (end - start) / 4 < time < end - (end - start) / 4]
    assert middle, f"no tick in the middle of {end - start:.3f} s"


def test_the_layer_hands_its_wish_to_the_op(monkeypatch: pytest.MonkeyPatch):
    wishes, original = [], ntm.fused.sequence

    def seen(*arguments: Any, **options: Any) -> Any:
        wishes.append(options["checkpoint_every"])
        return original(*arguments, **options)

    monkeypatch.setattr(ntm.fused, "sequence", seen)
    for wish in (None, 1, 7):
        layer = NTM(3, 5, memory_size=7, word_size=4, backend="fused", checkpoint_every=wish)
        layer(torch.randn(9, 2, 3))
        layer.cell(torch.randn(2, 3))
    assert wishes == [None, None, 1, 1, 7, 7]


def test_the_op_takes_parameters_of_no_layer():
    problem = problem_of(CASES[0])
    parameters = map_tensors(lambda tensor: tensor.detach().clone(), parameters_of(problem.layer))
    state = random_state(problem.layer, 3)
    output, _, trace = ntm.sequence(problem.input, state, parameters, problem.layer.cell.settings, backend="fused")
    assert trace is None
    assert not output.requires_grad
