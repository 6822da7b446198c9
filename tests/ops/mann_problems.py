"""Problems for the fused MANN: what they are run on. How they are run, and compared, is in fused_problems.py."""

import pytest
import torch

from tapehead import MANN
from tapehead.ops.usage import USAGE_TOLERANCE, least_used
from tests.cases import Case, by_name, make_input
from tests.mann_cases import MANN_CASES, make_mann, random_mann_state
from tests.ops.fused_problems import Problem, sequence

every_case = pytest.mark.parametrize("case", **by_name(MANN_CASES))
SOME = ("plain", "each", "paper", "read_write", "feedforward_key", "two_layers")
some_cases = pytest.mark.parametrize("case", **by_name([case for case in MANN_CASES if case.name in SOME]))

MANN_REAL = [
    Case("omniglot", {}, steps=20, rows=6),
    Case("odd_sizes", {"memory_size": 100, "word_size": 17, "num_read_heads": 3, "least_used": "all"}, 12, 5),
    Case("odd_sizes_feedforward", {"memory_size": 100, "word_size": 17, "controller": "feedforward"}, 12, 5),
]


def mann_problem(case: Case, dtype: torch.dtype = torch.float64, *, ragged: bool = False) -> Problem:
    layer, input = make_mann(case, dtype), make_input(case, dtype)
    lengths = torch.tensor([case.steps - 1, 0, case.steps])[: case.rows] if ragged else None
    return Problem(layer, input, random_mann_state(layer, case.rows), lengths)


def real_mann_problem(case: Case, dtype: torch.dtype = torch.float32, hidden_size: int = 33) -> Problem:
    """A layer as drawn, in the middle of a run: the slots of a new memory are used alike but for roundings."""
    layer = MANN(9, hidden_size, dtype=dtype, **case.options)
    state = random_mann_state(layer, case.rows)
    return Problem(layer, torch.randn(case.steps, case.rows, 9, dtype=dtype), state)


def is_clear_cut(problem: Problem, margin: float = 1e-5) -> bool:
    """Whether no rounding of float32 can choose other slots: no usage is near the border of being the least."""
    exact, settings = problem.double(), problem.layer.cell.settings
    with torch.no_grad():
        after = sequence(exact, backend="reference", trace=True)["trace.usage"]
    for usage in torch.cat([exact.state.usage.unsqueeze(0), after[:-1]]):
        left = usage
        for _ in range(settings.num_least_used):
            away = (left - left.amin(-1, keepdim=True) - USAGE_TOLERANCE).abs()
            if away[left > left.amin(-1, keepdim=True)].lt(margin).any():
                return False
            left = left.masked_fill(least_used(left, 1)[:, 0].bool(), torch.inf)
    return True


def clear_cut(make, count: int) -> list[Problem]:
    """So many problems that are, of those that `make` gives; nearly all are."""
    made = [problem for problem in (make() for _ in range(count + 3)) if is_clear_cut(problem)]
    assert len(made) >= count
    return made[:count]
