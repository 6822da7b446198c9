"""Several models in one launch of the Triton kernels, in the interpreter where there is no GPU."""

import pytest
import torch

pytest.importorskip("triton", minversion="3.4")

from tests.ops.fused_problems import TOLERANCE, assert_as_good, assert_close, run
from tests.ops.group_problems import problems_of, run_together
from tests.ops.mann_problems import is_clear_cut
from tests.ops.test_triton import device  # noqa: F401  (a fixture)
from tests.ops.triton_kinds import INTERPRETED, Kind, some_kinds
from tests.ops.triton_races import Watch

# The interpreter takes some 100 ms for a step of a row.


@some_kinds("NTM-two_layers", "MANN-feedforward_key")
def test_float64_is_the_reference_of_each(kind: Kind, device: str, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    problems = problems_of(kind.make, kind.case._replace(steps=2), 2, torch.float64, True)
    problems = [problem.to(device) for problem in problems]
    watch = Watch(monkeypatch) if device == "cpu" and INTERPRETED else None
    for problem, own in zip(problems, run_together(problems, checkpoint_every=2), strict=True):
        assert_close(own, run(problem, "reference"), TOLERANCE)
    # No barrier is missing, and no program touches what another one stored.
    assert watch is None or (watch.barriers > 50 and not watch.found)


@some_kinds("NTM-many_heads_feedforward", "MANN-plain")
def test_float64_traces_are_the_references(kind: Kind, device: str):  # noqa: F811
    problems = problems_of(kind.make, kind.case._replace(steps=1, rows=1), 2, torch.float64, False)
    problems = [problem.to(device) for problem in problems]
    for problem, own in zip(problems, run_together(problems, trace=True), strict=True):
        assert_close(own, run(problem, "reference", trace=True), TOLERANCE)


@some_kinds("NTM-plain", "MANN-each")
def test_float32_is_as_good_as_the_reference(kind: Kind, device: str):  # noqa: F811
    problems = problems_of(kind.make, kind.case._replace(steps=1, rows=1), 2, torch.float32, False)
    problems = [problem.to(device) for problem in problems if "MANN" not in kind.name or is_clear_cut(problem)]
    assert len(problems) == 2
    assert_as_good(problems, found=run_together(problems), together=True)
