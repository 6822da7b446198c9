"""Tuning: the fastest tiling that is right is taken, by this process and those that come."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tapehead import LSTM, MANN, NTM, BackendError, SequenceModel, backends, tune
from tapehead.nn import tuning as of_models
from tapehead.ops import mann, ntm, tuner, tunings_file
from tapehead.ops.tilings import SHORT_LIST, USUAL, Tiling
from tapehead.ops.triton_launches import Launches

MODELS = {
    "NTM": lambda: NTM(3, 5, memory_size=6, word_size=4),
    "MANN": lambda: SequenceModel(MANN(3, 5, memory_size=6, word_size=4), 2),
}
SECOND, THIRD, BROKEN, WRONG = SHORT_LIST[1:5]


class Spied:
    """In the place of a machine's kernels: notes what is launched, and spoils some of it."""

    def __init__(self, launches: Launches) -> None:
        self.kernels, self.launched = launches.kernels, []

    def __call__(self, way: str) -> Any:
        self.way = way
        return self

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        way = self.way

        def launch(*arguments: Any, **options: Any) -> None:
            plan = arguments[-1]
            taken = (options["num_warps"], plan.product_rows, plan.product_columns)
            self.launched.append((way, taken))
            if taken == of(BROKEN):
                raise RuntimeError("too much shared memory\nof 228 kB")
            kernel = self.kernels(way)
            kernel[grid](*arguments, **options)
            if taken == of(WRONG):
                made = {"forward": "output", "backward": "grad_sums"}[way]
                arguments[kernel.arg_names.index(made)].add_(1e-4)

        return launch


def of(tiling: Tiling) -> tuple[int, int, int]:
    return tiling.warps, tiling.product_rows, tiling.product_columns


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Spied]:
    """The kernels in Triton's interpreter, on CPU tensors, and little of everything; by the op's name."""
    pytest.importorskip("triton", minversion="3.4")
    if torch.cuda.is_available():
        pytest.skip("the kernels are compiled for the GPU here, not interpreted")
    from tests.ops.triton_interpreter import hasten  # which needs Triton

    hasten()
    found = {}
    for machine in (ntm, mann):
        launches = machine.fused.cuda.LAUNCHES
        found[launches.op.name] = Spied(launches)
        monkeypatch.setattr(launches, "kernels", found[launches.op.name])
        for way in ("forward", "backward"):
            monkeypatch.setitem(launches.op._kernels, ("cpu", way), getattr(launches, way))
    monkeypatch.setattr(of_models, "check", lambda model: None)
    monkeypatch.setattr(tuner, "WARM_UP", 0)
    monkeypatch.setattr(tuner, "DRAWS", 1)
    return found


def clock_of(spied: Spied, times: dict[Tiling, float]) -> Callable[[Callable[[], None]], float]:
    def clock(run: Callable[[], None]) -> float:
        run()
        return {of(tiling): number for tiling, number in times.items()}[spied.launched[-1][1]]

    return clock


@pytest.mark.parametrize("name", MODELS)
def test_the_fastest_that_is_right_is_taken(name: str, interpreted: dict[str, Spied], tunings: Path):
    model, input, spied = MODELS[name](), torch.randn(1, 1, 3), interpreted[name.lower()]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    clock = clock_of(spied, {USUAL: 2.0, SECOND: 1.0, BROKEN: 0.1, WRONG: 0.1})
    found = tune(model, input, tilings=(SECOND, BROKEN, WRONG), rounds=1, clock=clock)
    assert [one.name for one in found] == ["forward", "backward", "forward without gradients"]
    for one in found:
        assert one.winner == SECOND
        assert [timing.tiling for timing in one.timings] == [USUAL, SECOND, BROKEN, WRONG]
        assert [timing.milliseconds for timing in one.timings] == [2.0, 1.0, None, None]
        assert [timing.problem for timing in one.timings[:2]] == ["", ""]
        assert one.timings[2].problem == "RuntimeError: too much shared memory"
        assert one.timings[3].problem.startswith("its results differ from the usual one's by ")

    # The model is as it was, and launches take it from now on: here, and where the file is read anew.
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(cell.backend == "auto" for cell in of_models._cells(model))
    for _ in range(2):
        del spied.launched[:]
        model(torch.randn(1, 1, 3))[0].sum().backward()
        assert spied.launched == [("forward", of(SECOND)), ("backward", of(SECOND))]
        tunings_file.forget()
    with torch.no_grad():
        model(input)
    assert spied.launched[-1] == ("forward", of(SECOND))
    model(torch.randn(1, 2, 3))
    assert spied.launched[-1] == ("forward", of(USUAL))  # of two rows nothing was tuned


def test_one_that_computes_nothing_is_wrong(interpreted: dict[str, Spied], monkeypatch: pytest.MonkeyPatch):
    launches = ntm.fused.cuda.LAUNCHES
    with tuner.Recorder() as recorder, torch.no_grad():
        MODELS["NTM"]()(torch.randn(2, 2, 3), lengths=torch.tensor([2, 1]))
    (_, way, arguments), *none = recorder.calls
    assert (way, none) == ("forward", [])
    spied = interpreted["ntm"]
    real = spied.kernels

    class Idle:
        def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
            return lambda *_, **__: None

    monkeypatch.setattr(spied, "kernels", lambda way: Idle() if spied.launched[-1][1] == of(THIRD) else real(way))
    found = tuner.tune_call(launches, way, arguments, tilings=(THIRD, SECOND), clock=lambda run: 1.0, rounds=1)
    assert [bool(timing.problem) for timing in found.timings] == [False, True, False]
    assert found.winner == USUAL  # of those that are as fast the first


def test_what_the_usual_tiling_raises_is_raised(interpreted: dict[str, Spied], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tuner, "USUAL", BROKEN)
    with pytest.raises(RuntimeError, match="too much shared memory"):
        tune(MODELS["NTM"](), torch.randn(1, 1, 3), rounds=1, clock=lambda run: 1.0)


def test_without_parameters_to_train_there_is_one_kernel(interpreted: dict[str, Spied], tunings: Path):

    def clock(run: Callable[[], None]) -> float:
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin

    model = MODELS["NTM"]().requires_grad_(False)
    (found,) = tune(model, torch.randn(1, 1, 3), tilings=(SECOND,), rounds=1, clock=clock)
    assert found.name == "forward without gradients"
    assert all(timing.milliseconds > 0 for timing in found.timings)


def test_without_a_gpu_it_says_why_not():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    reasons = backends.why_not("fused", backends.Request("ntm", torch.device("cuda"), torch.float32))
    with pytest.raises(BackendError) as raised:
        tune(NTM(3, 5), torch.randn(1, 1, 3))
    assert str(raised.value) == f"tune: the kernels for CUDA tensors cannot run ntm: {' '.join(reasons)}"


def test_without_triton_it_says_why_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backends, "_triton_is_missing", lambda: ("Triton is not installed.",))
    monkeypatch.setattr(backends, "_device_is_missing", lambda index: ())
    with pytest.raises(BackendError, match="cannot run mann: Triton is not installed"):
        tune(MANN(3, 5), torch.randn(1, 1, 3))


def test_what_cannot_be_tuned_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(TypeError, match="expected a model with an NTM or a MANN, got LSTM"):
        tune(LSTM(3, 5), torch.randn(1, 1, 3))
    with pytest.raises(ValueError, match="tune: expected rounds of 1 or more, got 0"):
        tune(NTM(3, 5), torch.randn(1, 1, 3), rounds=0)
    monkeypatch.setattr(backends, "why_not", lambda backend, request: ())
    with pytest.raises(ValueError, match=r"expected a model on a CUDA device, got one on cpu\. Move"):
        tune(NTM(3, 5), torch.randn(1, 1, 3))


@pytest.mark.cuda
@pytest.mark.parametrize("name", MODELS)
def test_a_gpu_is_tuned(name: str, tunings: Path, monkeypatch: pytest.MonkeyPatch):
    model, input = MODELS[name]().cuda(), torch.randn(5, 3, 3, device="cuda")
    found = tune(model, input, tilings=SHORT_LIST[:3], rounds=3)
    assert [one.name for one in found] == ["forward", "backward", "forward without gradients"]
    for one in found:
        assert all(timing.milliseconds > 0 or timing.problem for timing in one.timings)
        assert one.key.device == torch.cuda.get_device_name()
    assert tunings_file.count(torch.device("cuda"), backends.ops()) == 3
    launches = {"NTM": ntm, "MANN": mann}[name].fused.cuda.LAUNCHES
    spied = Spied(launches)
    monkeypatch.setattr(launches, "kernels", spied)
    (cell,) = of_models._cells(model)
    cell.backend = "fused"
    model(input)[0].sum().backward()
    assert spied.launched == [(one.name, of(one.winner)) for one in found[:2]]
