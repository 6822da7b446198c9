"""What must not reach the core: it is refused in Python."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tapehead import NTM, LSTMState, NTMCell
from tapehead.ops.ntm import cpu
from tests.cases import Case
from tests.ops.fused_problems import FORWARD, calls_of, leaves_of, problem_of, sequence


@pytest.fixture
def no_core(monkeypatch: pytest.MonkeyPatch):
    """Fails the test where the core is called."""

    def fail(*arguments: Any) -> None:
        pytest.fail("the core was called")

    monkeypatch.setattr(cpu, "_kernel", fail)


def bad_calls() -> dict[str, Callable[[], Any]]:
    layer = NTM(3, 4, memory_size=5, word_size=2, num_layers=2, backend="fused")
    flat = NTM(3, 4, memory_size=5, word_size=2, controller="feedforward", backend="fused")
    cell = NTMCell(3, 4, memory_size=5, word_size=2, backend="fused")
    input, state = torch.zeros(6, 2, 3), layer.initial_state(2)
    controller = state.controller

    def with_state(**fields: Any) -> Callable[[], Any]:
        return lambda: layer(input, state._replace(**fields))

    def with_lengths(*lengths: int) -> Callable[[], Any]:
        return lambda: layer(input, lengths=torch.tensor(lengths))

    shapes = {"memory": (2, 5, 2), "read_weights": (2, 1, 5), "write_weights": (2, 1, 5), "reads": (2, 1, 2)}
    calls = {
        "input_width": lambda: layer(torch.zeros(6, 2, 4)),
        "input_steps": lambda: layer(input[:0]),
        "input_rows": lambda: layer(input[:, :0]),
        "input_double": lambda: layer(input.double()),
        "input_integer": lambda: layer(input.long()),
        "input_meta": lambda: layer(input.to("meta")),
        "cell_width": lambda: cell(torch.zeros(2, 4)),
        "cell_double": lambda: cell(torch.zeros(2, 3).double()),
        "lengths_past_the_end": with_lengths(3, 7),
        "lengths_negative": with_lengths(3, -1),
        "lengths_too_many": with_lengths(3, 3, 3),
        "lengths_float": lambda: layer(input, lengths=torch.tensor([1.0, 2.0])),
        "state_of_other_rows": lambda: layer(input, layer.initial_state(3)),
        "state_without_controller": lambda: layer(input, flat.initial_state(2)),
        "state_with_controller": lambda: flat(input, state),
        "state_of_fewer_layers": with_state(controller=LSTMState(*(part[:1] for part in controller))),
        "controller_double": with_state(controller=LSTMState(controller.hidden.double(), controller.cell)),
        "controller_turned": with_state(controller=LSTMState(*(part.mT for part in controller))),
        "memory_too_small": with_state(memory=torch.zeros(2, 2, 2)),
        "memory_larger_than_weights": with_state(memory=torch.zeros(2, 9, 2)),
    }
    for name, shape in shapes.items():
        calls[f"{name}_double"] = with_state(**{name: torch.zeros(shape, dtype=torch.float64)})
        calls[f"{name}_rows"] = with_state(**{name: torch.zeros(3, *shape[1:])})
        calls[f"{name}_width"] = with_state(**{name: torch.zeros(*shape[:-1], 3)})
        calls[f"{name}_heads"] = with_state(**{name: torch.zeros(2, shape[1] + 1, shape[2])})
    return calls


@pytest.mark.parametrize("call", bad_calls().values(), ids=bad_calls())
def test_what_is_wrong_is_refused_before_the_core(call: Callable[[], Any], no_core: None):
    with pytest.raises((TypeError, ValueError), match=r"^NTM(Cell)?(: state|\.\w+)?: expected .+, got "):
        call()


@pytest.mark.parametrize("name", leaves_of(problem_of(Case("", {"num_layers": 2}))))
@pytest.mark.parametrize("trace", [False, True])
def test_float32_and_float64_do_not_mix_in_the_op(name: str, trace: bool, no_core: None):
    # One tensor in float64, the others in float32: the reference raises as well.
    problem = problem_of(Case("", {"num_layers": 2}), torch.float32)
    module, _, last = name.rpartition(".")
    if name in dict(problem.layer.named_parameters()):
        parameter = problem.layer.get_parameter(name)
        setattr(problem.layer.get_submodule(module), last, torch.nn.Parameter(parameter.detach().double()))
    elif name == "input":
        problem = problem._replace(input=problem.input.double())
    elif "controller" in name:
        controller = problem.state.controller
        controller = controller._replace(**{last: getattr(controller, last).double()})
        problem = problem._replace(state=problem.state._replace(controller=controller))
    else:
        problem = problem._replace(state=problem.state._replace(**{last: getattr(problem.state, last).double()}))
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        sequence(problem, backend="fused", trace=trace)


def narrowed() -> list[tuple[str, str, int]]:
    """Every dimension of every tensor that the ops take, as (op, argument, dimension)."""
    found = []
    for name, (op, arguments) in calls_of(problem_of(Case("", {"num_layers": 2})), trace=True).items():
        for argument, value in zip(op._schema.arguments, arguments, strict=True):
            if isinstance(value, Tensor):
                found += [(name, argument.name, dim) for dim in range(value.dim()) if value.shape[dim] > 0]
    found.remove((FORWARD, "input", 0))  # fewer steps are a shorter sequence
    return found


@pytest.mark.parametrize(("name", "argument", "dim"), narrowed())
def test_the_ops_themselves_refuse_sizes_that_do_not_fit(
    traced_calls, name: str, argument: str, dim: int, no_core: None
):
    op, arguments = traced_calls[name]
    wrong = [
        value.narrow(dim, 0, value.shape[dim] - 1) if parameter.name == argument else value
        for parameter, value in zip(op._schema.arguments, arguments, strict=True)
    ]
    with pytest.raises((ValueError, RuntimeError)):
        op(*wrong)


@pytest.fixture(scope="module")
def traced_calls() -> dict[str, tuple[Any, tuple[Any, ...]]]:
    return calls_of(problem_of(Case("", {"num_layers": 2})), trace=True)


@pytest.mark.parametrize("part", ["cell.heads", "cell.controller"])
@pytest.mark.usefixtures("no_core")
def test_a_parameter_whose_memory_was_given_back(part: str):
    """As fully_shard gives it back after a call of the part that it was told to shard."""
    layer = NTM(3, 4, memory_size=5, word_size=2, backend="fused")

    def give_back(module: Any, given: Any, parameters: Any) -> None:
        next(module.parameters()).untyped_storage().resize_(0)

    layer.get_submodule(part).register_forward_hook(give_back)
    with pytest.raises(ValueError, match=r"whose memory was given back\. .* shard the whole layer"):
        layer(torch.zeros(6, 2, 3))
