"""The Triton kernels against the reference: in Triton's interpreter where there is no GPU, and on one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tapehead.ops import mann, ntm, triton_launches, tunings_file
from tapehead.ops.tilings import SHORT_LIST, Tiling
from tapehead.testing import named_tensors
from tests.cases import Case, by_name
from tests.mann_cases import MANN_CASES
from tests.ops.fused_problems import (
    REAL,
    TOLERANCE,
    Problem,
    Run,
    assert_as_good,
    assert_close,
    assert_equal,
    problem_of,
    real_problem,
    run,
    sequence,
    tell,
)
from tests.ops.mann_problems import MANN_REAL, clear_cut, mann_problem, real_mann_problem
from tests.ops.triton_kinds import IN_TILES, INTERPRETED, KINDS, Kind, both_ways, some_kinds

pytest.importorskip("triton", minversion="3.4")
if INTERPRETED:
    from tests.ops.triton_interpreter import hasten  # which needs Triton

    hasten()


(MANN_LINEAR,) = (case for case in MANN_CASES if case.name == "linear")
on_cuda = pytest.mark.cuda
ON_CUDA = pytest.param("cuda", marks=on_cuda)
not_interpreted = pytest.mark.parametrize("device", [ON_CUDA] if INTERPRETED else ["emulator", ON_CUDA], indirect=True)


@pytest.fixture(params=["interpreter" if INTERPRETED else "emulator", ON_CUDA])
def device(request, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the problem has to be, for `backend="fused"` to run the kernels."""
    if request.param == "cuda":
        return "cuda"
    if torch.cuda.is_available():
        pytest.skip("the kernels are compiled for the GPU here, not interpreted")
    for machine in (ntm, mann):
        found = machine.fused.cuda.LAUNCHES
        if request.param == "emulator":
            from tests.ops.ptx.launch import install  # which needs Triton

            monkeypatch.setattr(found, "kernels", found.kernels)  # is put back afterwards
            install(found)
        monkeypatch.setitem(found.op._kernels, ("cpu", "forward"), found.forward)
        monkeypatch.setitem(found.op._kernels, ("cpu", "backward"), found.backward)
    return "cpu"


@pytest.fixture
def tiling(request, monkeypatch: pytest.MonkeyPatch) -> Tiling:
    monkeypatch.setattr(tunings_file, "chosen", lambda key: request.param)
    return request.param


@both_ways(
    list(KINDS),
    [
        "NTM-many_heads_feedforward",
        "NTM-limited_write_read",
        "NTM-content_write_read",
        "NTM-shift_round_the_circle",
        "NTM-two_layers",
        "MANN-each",
        "MANN-paper",
        "MANN-read_write",
        "MANN-feedforward_key",
    ],
)
@pytest.mark.usefixtures("tiling")
def test_float64_is_the_reference(kind: Kind, device: str):
    problem = kind.problem(ragged=True).to(device)
    assert_close(run(problem, "fused", checkpoint_every=2), run(problem, "reference"), TOLERANCE)


@both_ways(
    ["NTM-plain", "NTM-limited_write_read", "NTM-two_layers", "MANN-each", "MANN-paper"],
    ["NTM-limited_write_read", "MANN-each"],
)
@pytest.mark.usefixtures("tiling")
def test_float64_traces_are_the_references(kind: Kind, device: str):
    problem = kind.problem(ragged=True, steps=2).to(device)
    assert_close(run(problem, "fused", trace=True), run(problem, "reference", trace=True), TOLERANCE)


@some_kinds("NTM-plain", "NTM-two_layers_feedforward", "MANN-each")
def test_float32_is_as_good_as_the_reference(kind: Kind, device: str):
    problems = clear_cut if "MANN" in kind.name else lambda make, count: [make() for _ in range(count)]
    found = problems(lambda: kind.problem(torch.float32, steps=2 if INTERPRETED else 3, rows=1), 3)
    assert_as_good([problem.to(device) for problem in found], together=True)


@some_kinds("NTM-plain", "MANN-each")
def test_lengths_out_of_range_count_as_the_nearest_in_it(kind: Kind, device: str):
    problem = kind.problem(steps=2, rows=3).to(device)
    outside, inside = (torch.tensor(values, device=device) for values in ([3, -1, 2**40], [2, 0, 2]))
    found = run(problem._replace(lengths=outside), "fused", checkpoint_every=2)
    assert_close(found, run(problem._replace(lengths=inside), "reference"), TOLERANCE)


@some_kinds("NTM-plain", "MANN-each")
def test_what_pads_a_row_reaches_no_number(kind: Kind, device: str):
    problem = kind.problem(ragged=True).to(device)
    past_end = torch.arange(kind.case.steps, device=device).unsqueeze(1) >= problem.lengths
    padded = problem._replace(input=problem.input.masked_fill(past_end.unsqueeze(-1), torch.nan))
    assert_close(run(padded, "fused"), run(problem, "reference"), TOLERANCE)


TILED = {"memory_size": 37, "word_size": 17, "order": "write_read"}
THREE_LAYERS = {"num_layers": 3, "controller": "feedforward"}


@pytest.mark.parametrize(
    "kind",
    **by_name(
        [
            Kind("NTM", Case("", {**TILED, "num_write_heads": 2, "num_layers": 3}, steps=2, rows=2), problem_of),
            Kind("MANN", Case("", {**TILED, "least_used": "each", **THREE_LAYERS}, steps=2, rows=2), mann_problem),
        ]
    ),
)
def test_a_memory_of_several_tiles_is_the_same_memory(kind: Kind, device: str, monkeypatch: pytest.MonkeyPatch):
    problem = kind.problem().to(device)
    expected = run(problem, "reference")
    monkeypatch.setattr(tunings_file, "chosen", lambda key: IN_TILES)
    assert_close(run(problem, "fused"), expected, TOLERANCE)


MANY = {"memory_size": 37, "word_size": 5, "num_read_heads": 5}


@pytest.mark.parametrize(
    "kind",
    **by_name(
        [
            Kind("NTM", Case("", {**MANY, "num_write_heads": 2, "order": "write_read"}, steps=2, rows=1), problem_of),
            Kind("MANN", Case("", MANY, steps=2, rows=1), mann_problem),
        ]
    ),
)
def test_many_heads_are_taken_in_parts(kind: Kind, device: str, monkeypatch: pytest.MonkeyPatch):
    problem = kind.problem().to(device)
    expected = run(problem, "reference")
    taken = []
    monkeypatch.setattr(
        triton_launches, "tiles", lambda *given, tiles=triton_launches.tiles: taken.append(tiles(*given)) or taken[-1]
    )
    monkeypatch.setattr(tunings_file, "chosen", lambda key: Tiling(1, 256, 16, 16))
    assert_close(run(problem, "fused", checkpoint_every=2), expected, TOLERANCE)
    assert taken[-1].heads == 2


EVERY_TILING = [
    pytest.param(make, tiling, id=f"{machine}-{tiling.text()}")
    for machine, make, tilings in (
        ("NTM", real_problem, SHORT_LIST),
        # It takes tiles with the NTM's functions. So the interpreter runs every other one.
        ("MANN", real_mann_problem, SHORT_LIST[1::2] if INTERPRETED else SHORT_LIST),
    )
    for tiling in tilings
]


@pytest.mark.parametrize(("make", "tiling"), EVERY_TILING)
def test_every_tiling_of_the_short_list_is_the_reference(
    make: Callable[..., Problem], tiling: Tiling, device: str, monkeypatch: pytest.MonkeyPatch
):
    # Of sizes that no tile divides, and of which the smaller tiles take several.
    problem = make(Case("", TILED, steps=2, rows=1), torch.float64, 33).to(device)
    expected = run(problem, "reference")
    monkeypatch.setattr(tunings_file, "chosen", lambda key: tiling)
    assert_close(run(problem, "fused"), expected, TOLERANCE)


@some_kinds("NTM-write_read", "NTM-two_layers", "MANN-plain")
def test_no_number_comes_from_fresh_memory(kind: Kind, device: str, request):
    problem = kind.problem(steps=2, rows=2).to(device)
    problem = problem._replace(lengths=torch.tensor([1, 2], device=device))
    expected = [run(problem, "reference", trace=trace) for trace in (False, True)]
    request.getfixturevalue("nan_filled")
    assert_close(run(problem, "fused", checkpoint_every=2), expected[0], TOLERANCE)
    assert_close(run(problem, "fused", trace=True), expected[1], TOLERANCE)


@both_ways(["NTM-write_read", "MANN-read_write"], ["NTM-write_read", "MANN-read_write"])
@pytest.mark.usefixtures("tiling")
def test_without_gradients_it_gives_the_same_values(kind: Kind, device: str):
    problem = kind.problem(ragged=True).to(device)
    kept = sequence(problem, backend="fused")
    with torch.no_grad():
        assert_close(Run(sequence(problem, backend="fused"), {}), Run(kept, {}), TOLERANCE)


@some_kinds("NTM-two_layers")
def test_awkward_tensors(kind: Kind, device: str):
    problem = kind.problem(steps=2).to(device)
    expected = run(problem, "reference")
    awkward = problem._replace(
        input=problem.input.transpose(0, 1).contiguous().transpose(0, 1),
        state=problem.state._replace(memory=problem.state.memory.mT.contiguous().mT),
        lengths=torch.tensor([2, 2], dtype=torch.int32, device=device),
    )
    assert_close(run(awkward, "fused"), expected, TOLERANCE)


@some_kinds("NTM-plain")
def test_autocast_changes_nothing(kind: Kind, device: str):
    problem = kind.problem(torch.float32, steps=1, rows=1).to(device)
    expected = run(problem, "fused")
    with torch.autocast(device, dtype=torch.bfloat16):
        assert_equal(run(problem, "fused"), expected)


@pytest.mark.parametrize("wanted", ["input", "state", "parameters"])
@some_kinds("NTM-plain", "MANN-plain")
def test_some_gradients_only(kind: Kind, wanted: str, device: str):
    layer, input, state, _ = kind.problem(steps=2, rows=1).to(device)
    gradients, seen = [], "state.memory" if wanted == "state" else "output"
    for backend in ("fused", "reference"):
        given = [tensor.detach().clone() for tensor in (input, state.memory)]
        leaves = {"input": given[:1], "state": given[1:], "parameters": list(layer.parameters())}[wanted]
        for parameter in layer.parameters():
            parameter.requires_grad_(wanted == "parameters")
        for leaf in leaves:
            leaf.requires_grad_()
        values = sequence(Problem(layer, given[0], state._replace(memory=given[1])), backend=backend)
        gradients.append(torch.autograd.grad(values[seen].square().sum(), leaves))
    found, expected = ({str(index): tensor for index, tensor in enumerate(several)} for several in gradients)
    assert_close(Run(found, {}), Run(expected, {}), TOLERANCE)


# Within the tolerance of the least, the lowest slot is the least used: of the ties it is the second.
@pytest.mark.parametrize("usage", [[0.1, 0.2, torch.nan], [2e-6, 9e-7, 0.0]], ids=["nan", "ties"])
def test_the_least_used_slots_are_the_references(usage: list[float], device: str):
    problem = KINDS["MANN-each"].problem(steps=1, rows=1).to(device)
    problem.state.usage[0, :3] = torch.tensor(usage)
    with torch.no_grad():
        found, expected = (sequence(problem, backend=backend, trace=True) for backend in ("fused", "reference"))
    name = "trace.write.least_used_weights"
    assert torch.equal(found[name], expected[name])


SATURATED = {"key_strength": 1e4, "interpolation_gate": -1e4, "gamma": 1e3, "shift_weights": (-1e3, 0.0, 1e3)}
EXTREMES = {"saturated": {**SATURATED, "erase": 1e4, "write_gate": 1e4}, "nothing": {"key": 0.0}}


@pytest.mark.parametrize(
    "kind",
    **by_name([Kind("NTM", Case("", {}, 2, 1), problem_of), Kind("MANN", MANN_LINEAR._replace(steps=2), mann_problem)]),
)
@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_parameters(kind: Kind, name: str, device: str):
    problem = tell(kind.problem(rows=1), EXTREMES[name]).to(device)
    state = problem.state
    if name == "nothing":
        state = state._replace(memory=torch.zeros_like(state.memory))
    else:
        weights = state.read_weights
        state = state._replace(read_weights=(weights == weights.amax(-1, keepdim=True)).to(weights))
    problem = problem._replace(state=state)
    assert_close(run(problem, "fused", trace=True), run(problem, "reference", trace=True), TOLERANCE)


# Sizes that the interpreter is too slow for.


@not_interpreted
@pytest.mark.parametrize("case", **by_name(REAL))
def test_float32_is_as_good_at_real_sizes(case: Case, device: str):
    assert_as_good([real_problem(case).to(device) for _ in range(4)], together=True)


@not_interpreted
@pytest.mark.parametrize("case", **by_name(MANN_REAL))
def test_float32_is_as_good_at_real_sizes_of_a_mann(case: Case, device: str):
    problems = clear_cut(lambda: real_mann_problem(case), 4)
    assert_as_good([problem.to(device) for problem in problems], together=True)


# On a GPU only: sizes that the emulator is too slow for, and what only a stream can show.


@on_cuda
@pytest.mark.parametrize("options", [{"memory_size": 4096, "word_size": 20}, {"memory_size": 128, "word_size": 300}])
def test_float64_is_the_reference_at_large_sizes(options: dict[str, Any]):
    problem = real_problem(Case("", options, steps=5, rows=3), torch.float64, 70).to("cuda")
    assert_close(run(problem, "fused"), run(problem, "reference"))


@on_cuda
@some_kinds("NTM-plain", "MANN-plain")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_nothing_waits_for_the_gpu(kind: Kind):
    problem = kind.problem(torch.float32, ragged=True).to("cuda")
    run(problem, "fused")  # compiles
    problem.layer.cell.backend = "fused"
    try:
        torch.cuda.set_sync_debug_mode("error")
        problem.layer(problem.input)
        values = sequence(problem, backend="fused")
        torch.autograd.grad(values["output"].sum(), list(problem.layer.parameters()), allow_unused=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@on_cuda
@some_kinds("NTM-plain", "MANN-plain")
def test_a_cuda_graph_gives_the_same(kind: Kind):
    problem = kind.problem(torch.float32).to("cuda")
    with torch.no_grad():
        expected = sequence(problem, backend="fused")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = sequence(problem, backend="fused")
        graph.replay()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@on_cuda
@some_kinds("NTM-plain", "MANN-plain")
def test_a_cuda_graph_takes_a_layer_with_lengths(kind: Kind):
    problem = kind.problem(torch.float32, ragged=True).to("cuda")
    problem.layer.cell.backend = "fused"
    with torch.no_grad():
        expected, _ = problem.layer(problem.input, problem.state, problem.lengths)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found, _ = problem.layer(problem.input, problem.state, problem.lengths)
        graph.replay()
    assert torch.equal(found, expected)


@on_cuda
def test_the_same_bits_every_time():
    problem = real_problem(REAL[1]).to("cuda")
    expected = run(problem, "fused")
    for _ in range(20):
        assert_equal(run(problem, "fused"), expected)


@on_cuda
@some_kinds("NTM-plain", "MANN-plain")
def test_a_layer_on_the_gpu_takes_the_kernels_when_asked(kind: Kind):
    layer = kind.problem(torch.float32).layer.cuda()
    layer.cell.backend = "fused"
    input = torch.randn(3, 2, 3, device="cuda")
    found = dict(named_tensors(layer(input)))
    layer.cell.backend = "reference"
    for name, value in named_tensors(layer(input)):
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
