"""Awkward NTMs on purpose, and what to feed them; shared by the tests of the ops, the layers and the backends."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from tapehead import NTM, Initial, LSTMState, NTMState

INPUT_SIZE, HIDDEN_SIZE = 3, 5


class Case(NamedTuple):
    """An NTM, and the size of a batch for it."""

    name: str
    options: dict[str, Any]
    steps: int = 5
    rows: int = 3


MANY_HEADS = {"num_read_heads": 3, "num_write_heads": 2, "memory_size": 11, "word_size": 7}

CASES = [
    Case("plain", {}),
    Case("one_step", {}, steps=1),
    Case("one_row", {}, rows=1),
    Case("one_step_one_row", {"order": "write_read"}, steps=1, rows=1),
    Case("write_read", {"order": "write_read"}),
    Case("many_heads_read_write", MANY_HEADS),
    Case("many_heads_write_read", {**MANY_HEADS, "order": "write_read"}),
    Case("many_heads_feedforward", {**MANY_HEADS, "controller": "feedforward", "max_shift": 2}),
    Case("two_write_heads", {"num_write_heads": 2, "order": "write_read"}),
    Case("content", {"addressing": "content", "num_read_heads": 2}),
    Case("content_write_read", {"addressing": "content", "order": "write_read", "num_write_heads": 2}),
    Case("tanh_key", {"key_activation": "tanh"}),
    Case("tanh_add", {"add_activation": "tanh", "order": "write_read"}),
    Case("tanh_both", {"key_activation": "tanh", "add_activation": "tanh", "addressing": "content"}),
    Case("no_shift", {"max_shift": 0}),
    Case("shift_2", {"max_shift": 2, "order": "write_read"}),
    Case("shift_round_the_circle", {"max_shift": 3, "memory_size": 7, "num_read_heads": 2}),
    Case("one_slot", {"max_shift": 0, "memory_size": 1}),
    Case("one_number_a_slot", {"word_size": 1}),
    Case("feedforward", {"controller": "feedforward"}),
    Case("relu", {"controller": "feedforward", "controller_activation": "relu", "num_layers": 2}),
    Case("two_layers", {"num_layers": 2}),
    Case("limited", {**MANY_HEADS, "gradient_limit": 0.02}),
    Case("limited_write_read", {**MANY_HEADS, "order": "write_read", "gradient_limit": 0.02}),
    Case("two_layers_feedforward", {"num_layers": 2, "controller": "feedforward", "order": "write_read"}),
]

INITIALS = {
    "zero_memory": Initial(constant=0.0),
    "all_random": Initial(memory="random", weights="random", reads="random"),
    "all_learned": Initial(memory="learned", weights="learned", reads="learned", controller="learned"),
    "uniform_weights": Initial(weights="uniform", constant=0.5),
}


def make_layer(case: Case, dtype: torch.dtype = torch.float64, **options: Any) -> NTM:
    """The NTM of a case, its heads outspoken: as drawn, they would say nearly the same at every step."""
    options = {"memory_size": 7, "word_size": 4, "dtype": dtype, **case.options, **options}
    layer = NTM(INPUT_SIZE, HIDDEN_SIZE, **options)
    with torch.no_grad():
        layer.cell.heads.weight *= 4
        layer.cell.heads.bias.normal_()
        for name, parameter in layer.named_parameters():
            if "initial.controller" in name:
                parameter.normal_()
    return layer


def make_input(case: Case, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(case.steps, case.rows, INPUT_SIZE, dtype=dtype)


def random_state(layer: NTM, rows: int) -> NTMState:
    """A state as one in the middle of a run, of another memory in every row."""
    start = layer.initial_state(rows)
    controller = start.controller and LSTMState(*(torch.randn_like(part).tanh() for part in start.controller))
    return NTMState(
        torch.randn_like(start.memory),
        torch.randn_like(start.read_weights).softmax(-1),
        torch.randn_like(start.write_weights).softmax(-1),
        torch.randn_like(start.reads),
        controller,
    )


def by_name(values: list[Any]) -> dict[str, Any]:
    """Arguments for `pytest.mark.parametrize`, of things that have a name."""
    return {"argvalues": values, "ids": [value.name for value in values]}
