"""The Triton kernels as ops of torch: what they promise to it, in Triton's interpreter and on a GPU."""

from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import Tensor

from tapehead.ops import mann, ntm
from tapehead.ops.custom import SequenceOp
from tapehead.ops.triton_launches import Launches
from tests.ops.fused_problems import Problem, calls_of
from tests.ops.test_fused_op import QUICK
from tests.ops.test_triton import on_cuda
from tests.ops.triton_kinds import Kind, some_kinds

pytest.importorskip("triton", minversion="3.4")

MACHINES = {"NTM": ntm, "MANN": mann}


@lru_cache
def interpreted(machine: str) -> SequenceOp:
    """An op of its own that has the Triton kernels for CPU tensors, where the machine's has the core's."""
    found: Launches = MACHINES[machine].fused.cuda.LAUNCHES
    own = found.op
    op = SequenceOp(
        f"interpreted_{own.name}",
        own.owner,
        own.shape,
        own.arguments,
        own.results,
        own.backward_arguments,
    )
    fields = ("kernels", "plan", "kept", "seen", "first_weights", "scratch")
    launches = Launches(op, **{name: getattr(found, name) for name in fields})
    op.register_kernels("cpu", launches.forward, launches.backward)
    return op


@pytest.fixture(params=["interpreter", pytest.param("cuda", marks=on_cuda)])
def device(request) -> str:
    """Where the tensors have to be."""
    if request.param == "interpreter" and torch.cuda.is_available():
        pytest.skip("the kernels are compiled for the GPU here, not interpreted")
    return "cuda" if request.param == "cuda" else "cpu"


def calls(kind: Kind, problem: Problem, device: str, *, trace: bool) -> list[tuple[Any, tuple[Any, ...]]]:
    """The forward and backward of a run that keeps what its backward needs, as (op, arguments)."""
    machine = kind.name.partition("-")[0]
    op = interpreted(machine) if device == "cpu" else MACHINES[machine].fused.cuda.LAUNCHES.op
    (given,) = [given for called, given in calls_of(problem, trace=trace).values() if "forward" in called.name()]
    given = op.arguments._make(given)
    made = op.results._make(op.forward(*given))
    gradients = [torch.randn_like(getattr(made, name)) for name in op.differentiable]
    backward = (*gradients, *op.save(given, made), given.sizes, given.checkpoint_every, True, True)
    return [(op.forward, tuple(given)), (op.backward, backward)]


@some_kinds("NTM-plain", "MANN-plain")
@pytest.mark.parametrize("way", ["saves", "saves_ragged", "traces"])
def test_opcheck(kind: Kind, way: str, device: str):
    ragged = way == "saves_ragged"
    problem = kind.problem(torch.float32, steps=1 + ragged, rows=1 + ragged, ragged=ragged).to(device)
    for op, arguments in calls(kind, problem, device, trace=way == "traces"):
        torch.library.opcheck(op, arguments, test_utils=QUICK)


@some_kinds("NTM-plain", "MANN-plain")
def test_opcheck_without_what_a_backward_needs(kind: Kind, device: str):
    problem = kind.problem(torch.float32, steps=1, rows=1).to(device)
    ((op, arguments), _) = calls(kind, problem, device, trace=False)
    torch.library.opcheck(op, (*arguments[:-2], False, False), test_utils=QUICK)


@some_kinds("NTM-plain", "NTM-two_layers_feedforward", "MANN-plain")
def test_opcheck_with_gradients(kind: Kind, device: str):
    problem = kind.problem(steps=1, rows=1).to(device)
    ((op, arguments), _) = calls(kind, problem, device, trace=False)
    leaves = [value.requires_grad_() if isinstance(value, Tensor) else value for value in arguments]
    torch.library.opcheck(op, tuple(leaves), test_utils=QUICK)
