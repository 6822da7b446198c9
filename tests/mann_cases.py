"""Awkward MANNs on purpose, and what to feed them; shared by the tests of the op, the layer and the backends."""

from typing import Any

import torch

from tapehead import MANN, Initial, LSTMState, MANNState
from tests.cases import HIDDEN_SIZE, INPUT_SIZE, Case

THREE_HEADS = {"num_read_heads": 3, "memory_size": 11, "word_size": 7}

MANN_CASES = [
    Case("plain", {}),
    Case("one_step", {}, steps=1),
    Case("one_row", {}, rows=1),
    Case("one_head", {"num_read_heads": 1}),
    Case("three_heads", THREE_HEADS),
    Case("each", {**THREE_HEADS, "least_used": "each"}),
    Case("all", {**THREE_HEADS, "least_used": "all"}),
    Case("paper", {"write": "key", "least_used": "all", "key_strength": "one", "usage_decay": 0.99}),
    Case("key", {"write": "key", "order": "read_write"}),
    Case("read_write", {"order": "read_write", "least_used": "each"}),
    Case("linear", {"key_activation": "linear", "add_activation": "linear"}),
    Case("no_decay", {"usage_decay": 1.0}),
    Case("forgets_at_once", {"usage_decay": 0.0}),
    Case("one_slot", {"memory_size": 1}),
    Case("as_many_slots_as_heads", {**THREE_HEADS, "memory_size": 3, "least_used": "each"}),
    Case("one_number_a_slot", {"word_size": 1}),
    Case("feedforward", {"controller": "feedforward"}),
    Case("relu", {"controller": "feedforward", "controller_activation": "relu", "num_layers": 2}),
    Case("feedforward_key", {"controller": "feedforward", "write": "key", "num_layers": 2}),
    Case("two_layers", {"num_layers": 2}),
]

MANN_INITIALS = {
    "default": Initial(),
    "zero_memory": Initial(constant=0.0),
    "all_random": Initial(memory="random", weights="random", reads="random"),
    "all_learned": Initial(memory="learned", weights="learned", reads="learned", controller="learned"),
    "uniform_weights": Initial(weights="uniform", constant=0.5),
}


def make_mann(case: Case, dtype: torch.dtype = torch.float64, **options: Any) -> MANN:
    """The MANN of a case, its heads outspoken: as drawn, they would say nearly the same at every step."""
    options = {"memory_size": 7, "word_size": 4, "num_read_heads": 2, "dtype": dtype, **case.options, **options}
    layer = MANN(INPUT_SIZE, HIDDEN_SIZE, **options)
    with torch.no_grad():
        layer.cell.heads.weight *= 4
        layer.cell.heads.bias.normal_()
        for name, parameter in layer.named_parameters():
            if "initial.controller" in name:
                parameter.normal_()
    return layer


def random_mann_state(layer: MANN, rows: int) -> MANNState:
    """A state as one in the middle of a run, of another memory in every row; no two slots are used alike."""
    start = layer.initial_state(rows)
    controller = start.controller and LSTMState(*(torch.randn_like(part).tanh() for part in start.controller))
    return MANNState(
        torch.randn_like(start.memory),
        torch.randn_like(start.read_weights).softmax(-1),
        torch.rand_like(start.usage) * 2,
        torch.randn_like(start.reads),
        controller,
    )
