"""Kinds of machines that the Triton kernels are tested on, all of them small: the interpreter has to run them."""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
import torch

from tapehead.ops.tilings import USUAL, Tiling
from tests.cases import CASES, Case, by_name
from tests.mann_cases import MANN_CASES
from tests.ops.fused_problems import Problem, problem_of
from tests.ops.mann_problems import mann_problem

INTERPRETED = os.environ["TRITON_INTERPRET"] == "1"


class Kind(NamedTuple):
    """A machine's case, and what makes problems of it."""

    name: str
    case: Case
    make: Callable[..., Problem]

    def problem(self, dtype: torch.dtype = torch.float64, *, ragged: bool = False, **sizes: int) -> Problem:
        problem = self.make(self.case._replace(**sizes), dtype, ragged=ragged)
        # The first of two rows has no step then, and only the second is computed.
        return problem if problem.lengths is None else problem._replace(lengths=problem.lengths.flip(0))


# The interpreter takes some 100 ms for a step of a row.
NTM_NAMES = (
    "plain",
    "write_read",
    "many_heads_feedforward",
    "limited_write_read",
    "content_write_read",
    "tanh_both",
    "shift_round_the_circle",
    "two_layers",
    "two_layers_feedforward",
    "relu",
)
MANN_NAMES = ("plain", "each", "paper", "read_write", "one_slot", "feedforward_key", "relu", "two_layers")
KINDS = {
    f"{machine}-{case.name}": Kind(f"{machine}-{case.name}", case._replace(steps=3, rows=2), make)
    for machine, cases, names, make in (
        ("NTM", CASES, NTM_NAMES, problem_of),
        ("MANN", MANN_CASES, MANN_NAMES, mann_problem),
    )
    for case in cases
    if case.name in names
}


def some_kinds(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", **by_name([KINDS[name] for name in names]))


# The whole memory of a small problem is one tile of the usual size, which a program holds from step to step.
HELD, IN_TILES = USUAL, Tiling(8, 16, 16, 16)


def both_ways(held: Sequence[str], in_tiles: Sequence[str]) -> pytest.MarkDecorator:
    """These kinds with their memories held, and in tiles: in the interpreter those that need all of the code for it."""
    of_each = {"held": (HELD, held), "in_tiles": (IN_TILES, in_tiles if INTERPRETED else held)}
    pairs = [
        pytest.param(tiling, KINDS[name], id=f"{way}-{name}")
        for way, (tiling, names) in of_each.items()
        for name in names
    ]
    return pytest.mark.parametrize(("tiling", "kind"), pairs, indirect=["tiling"])
