"""What cells with a memory, and layers of them, do alike: one step, a whole sequence, the checks of a state."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tapehead.nn.checks import check_size, check_tensor
from tapehead.nn.precision import outside_autocast, own_dtype, under_autocast
from tapehead.nn.sequences import Opened, open_sequence
from tapehead.states import LSTMState

__all__ = [
    "check_controller_state",
    "check_state_kind",
    "check_tied",
    "initial_state",
    "reset_parts",
    "run_sequence",
    "run_step",
]


def run_step(cell: Any, input: Tensor, state: Any) -> tuple[Tensor, Any]:
    """One step of a cell: (B, D) -> (B, output_size) and the new state; (D,) unbatched."""
    owner, parameters = type(cell).__name__, _parameters_of(cell, input)
    like = parameters.heads.weight
    batched = not isinstance(input, Tensor) or input.dim() != 1
    if isinstance(input, Tensor) and under_autocast(like):
        input = own_dtype(input, like)
    check_tensor(owner, "input", input, ("B", cell.input_size) if batched else (cell.input_size,), like)
    steps = (input if batched else input.unsqueeze(0)).unsqueeze(0)
    if steps.shape[1] == 0:
        raise ValueError(f"{owner}: expected input of at least one row, got {tuple(input.shape)}.")
    output, new_state, _ = cell._run(steps, cell._start(state, steps.shape[1], batched, like), parameters)
    return (output[0], new_state) if batched else (output[0, 0], new_state.remove_batch())


def run_sequence(
    layer: Any, input: Tensor | PackedSequence, state: Any, lengths: Tensor | None, *, trace: bool
) -> tuple[Opened, Tensor, Any, Any]:
    """A sequence, checked, through a layer's cell.

    Returns:
        the form of the input, output (T, B, output_size), the new state in the form of the input, the trace or None
    """
    cell = layer.cell
    parameters = _parameters_of(cell, input)
    like = parameters.heads.weight
    opened = open_sequence(
        type(layer).__name__,
        input,
        lengths,
        input_size=cell.input_size,
        batch_first=layer.batch_first,
        like=like,
    )
    start = cell._start(state, opened.input.shape[1], opened.batched, like)
    output, new_state, shown = cell._run(opened.input, start, parameters, lengths=opened.lengths, trace=trace)
    return opened, output, new_state if opened.batched else new_state.remove_batch(), shown


def _parameters_of(cell: Any, input: Any) -> Any:
    """The parameters of a call: autocast does not reach into a parametrization that makes them either."""
    data = input.data if isinstance(input, PackedSequence) else input
    if isinstance(data, Tensor) and under_autocast(data):
        with outside_autocast(data):
            return cell._parameters_of_call()
    return cell._parameters_of_call()


def initial_state(cell: Any, batch_size: int | None, memory_size: int | None) -> Any:
    """The state that starts a sequence of a cell, its sizes checked."""
    owner = f"{type(cell).__name__}.initial_state"
    check_size(owner, "batch_size", 1 if batch_size is None else batch_size)
    memory_size = cell.memory_size if memory_size is None else memory_size
    check_size(owner, "memory_size", memory_size)
    cell._check_memory_size(memory_size)
    with outside_autocast(next(cell.parameters())):
        state = cell.initial(1 if batch_size is None else batch_size, memory_size, cell.heads().weight)
    return state.remove_batch() if batch_size is None else state


def reset_parts(module: nn.Module) -> None:
    """Draw new parameters in every part of a module, in the order in which a new module draws them.

    Raises:
        TypeError: a part has parameters of its own and no `reset_parameters`.
    """
    for part in module.children():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
        elif next(part.parameters(recurse=False), None) is not None:
            raise TypeError(
                f"reset_parameters: expected {type(part).__name__}, which has parameters of its own, to have a "
                "reset_parameters, got none. Give it one."
            )
        else:
            reset_parts(part)


def check_state_kind(owner: str, state: Any, kind: type, controller: str) -> None:
    """Raise unless a state is of this kind, and its controller's state that of this kind of controller."""
    article = "an" if kind.__name__[0] in "AEIOUN" else "a"
    advice = "Pass on what the layer returned, or start with initial_state()."
    if not isinstance(state, kind):
        raise TypeError(f"{owner}: expected {article} {kind.__name__}, got {type(state).__name__}. {advice}")
    found = state.controller  # type: ignore[attr-defined]
    if controller == "lstm" and not isinstance(found, LSTMState):
        got = "the one of a feed-forward controller" if found is None else f"one with a {type(found).__name__}"
        raise TypeError(f"{owner}: expected the state of an LSTM controller, got {got}. {advice}")
    if controller != "lstm" and found is not None:
        got = "one with an LSTMState" if isinstance(found, LSTMState) else f"one with a {type(found).__name__}"
        raise TypeError(
            f"{owner}: expected the state of a feed-forward controller (controller=None), got {got}. {advice}"
        )


def check_controller_state(
    owner: str, state: LSTMState | None, layers: int, rows: tuple[int, ...], hidden_size: int, like: Tensor
) -> None:
    """Raise unless the tensors of an LSTM controller's state are (L, B, H); None is a feed-forward controller's."""
    if state is not None:
        shape = (layers, *rows, hidden_size)
        check_tensor(owner, "controller.hidden", state.hidden, shape, like)
        check_tensor(owner, "controller.cell", state.cell, shape, like)


def check_tied(cell: Any, memory_size: int) -> None:
    """Raise where something learned slot by slot ties a cell to another memory size."""
    tied = cell.initial.tied_to_memory_size() if hasattr(cell, "initial") else None
    if tied and memory_size != cell.memory_size:
        raise ValueError(
            f"{type(cell).__name__}: expected memory_size={cell.memory_size}, got {memory_size}. The model is tied to "
            f"it by {tied}; train one with an initial state that is not learned slot by slot."
        )
