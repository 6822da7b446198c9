"""Every layer over time, in the forms that could differ: what holds for one must hold for all."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tapehead import LSTM, MANN, LSTMState
from tapehead.testing import error, named_tensors
from tests.cases import CASES, HIDDEN_SIZE, INITIALS, INPUT_SIZE, Case, make_layer, random_state
from tests.mann_cases import MANN_CASES, MANN_INITIALS, make_mann, random_mann_state

STEPS, ROWS = 6, 4
# float64; the same sums in another order differ by some roundings of 1e-16, which sharpening multiplies by gamma.
TOLERANCE = 1e-12


class Layer(NamedTuple):
    name: str
    make: Callable[..., nn.Module]


def _ntm(case: Case) -> Layer:
    return Layer(f"NTM-{case.name}", lambda **options: make_layer(case, **options))


def _mann(case: Case) -> Layer:
    return Layer(f"MANN-{case.name}", lambda **options: make_mann(case, **options))


def _lstm(**fixed: Any) -> Layer:
    def make(**options: Any) -> LSTM:
        layer = LSTM(INPUT_SIZE, HIDDEN_SIZE, dtype=torch.float64, **fixed, **options)
        for parameter in layer.initial.parameters():
            nn.init.normal_(parameter)
        return layer

    return Layer("-".join(["LSTM", *(f"{name}={value}" for name, value in fixed.items())]), make)


_NTM_NAMES = ("plain", "write_read", "many_heads_read_write", "many_heads_feedforward", "content", "two_layers")
_MANN_NAMES = ("plain", "three_heads", "each", "paper", "feedforward", "two_layers")
LAYERS = [
    *(_ntm(case) for case in CASES if case.name in _NTM_NAMES),
    _ntm(Case("all_learned", {"initial": INITIALS["all_learned"], "num_layers": 2})),
    *(_mann(case) for case in MANN_CASES if case.name in _MANN_NAMES),
    _mann(Case("all_learned", {"initial": MANN_INITIALS["all_learned"], "num_layers": 2})),
    _lstm(),
    _lstm(num_layers=2),
    _lstm(initial="learned"),
]


def batch(steps: int = STEPS, rows: int = ROWS) -> Tensor:
    return torch.randn(steps, rows, INPUT_SIZE, dtype=torch.float64)


def any_state(layer: nn.Module, rows: int = ROWS) -> Any:
    """A state as one in the middle of a run."""
    if isinstance(layer, LSTM):
        return LSTMState(*(torch.randn_like(part) for part in layer.initial_state(rows)))
    return random_mann_state(layer, rows) if isinstance(layer, MANN) else random_state(layer, rows)


def row_of(state: Any, row: int) -> Any:
    """One row of a state, unbatched."""
    if isinstance(state, LSTMState):
        return LSTMState(*(part[:, row] for part in state))
    return type(state)(*(part[row] for part in state[:4]), state.controller and row_of(state.controller, row))


def assert_same(found: Any, expected: Any) -> None:
    """Equal but for rounding, tensor by tensor."""
    found, expected = dict(named_tensors(found)), dict(named_tensors(expected))
    assert found.keys() == expected.keys()
    for name in found:
        assert error(found[name], expected[name]) <= TOLERANCE, name
