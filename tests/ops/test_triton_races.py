"""Between two accesses to one number of which one is a store, the Triton kernels have a barrier."""

from typing import Any

import pytest
import torch

pytest.importorskip("triton", minversion="3.4")

from tapehead.ops import tunings_file
from tapehead.ops.tilings import Tiling
from tests.cases import Case
from tests.ops.fused_problems import problem_of, run, sequence
from tests.ops.mann_problems import mann_problem
from tests.ops.test_triton import TILED, device  # noqa: F401  (a fixture)
from tests.ops.triton_kinds import KINDS, Kind
from tests.ops.triton_races import Watch

in_the_interpreter = pytest.mark.parametrize("device", ["interpreter"], indirect=True)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


@in_the_interpreter
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("NTM-limited_write_read", {"checkpoint_every": 2}),
        ("NTM-plain", {"trace": True}),
        ("MANN-each", {"checkpoint_every": 2}),
        ("MANN-paper", {"trace": True}),
    ],
)
def test_no_barrier_is_missing(name: str, options: dict[str, Any], device: str, watch: Watch):  # noqa: F811
    run(KINDS[name].problem(steps=2 if "trace" in options else 3, rows=2), "fused", **options)
    assert watch.barriers > 50
    assert not watch.found


@in_the_interpreter
@pytest.mark.parametrize("name", ["NTM-two_layers", "MANN-read_write"])
def test_no_barrier_is_missing_without_gradients(name: str, device: str, watch: Watch):  # noqa: F811
    with torch.no_grad():
        sequence(KINDS[name].problem(steps=3, rows=2), backend="fused")
    assert not watch.found


@in_the_interpreter
@pytest.mark.parametrize(
    ("machine", "make", "own"),
    [("NTM", problem_of, {"num_write_heads": 2}), ("MANN", mann_problem, {"num_read_heads": 2})],
)
def test_no_barrier_is_missing_between_tiles(
    machine: str,
    make: Any,
    own: dict[str, Any],
    device: str,  # noqa: F811
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(tunings_file, "chosen", lambda key: Tiling(8, 16, 16, 16))
    run(Kind(machine, Case("", {**TILED, **own}, 2, 1), make).problem(), "fused", checkpoint_every=2)
    assert not watch.found


@in_the_interpreter
def test_missing_barriers_are_found(device: str, watch: Watch, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    monkeypatch.setattr(watch, "_pass_barrier", lambda: None)
    run(KINDS["NTM-plain"].problem(steps=1, rows=1), "fused")
    kinds = {kind for kind, _, _ in watch.found}
    assert kinds == {"load after a store", "store after a load", "store after a store"}
