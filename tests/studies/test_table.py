"""Tables against numbers worked out by hand."""

from __future__ import annotations

import io
import math
import re

import pytest
from rich.console import Console

from tapehead.studies.summary import RunResult, Spread, measure_of, quantile, summarise
from tapehead.studies.table import markdown, print_tables, results


def run(seed, at, *, recipe="ntm", state="done", errors=0.0, scores=None):
    summary = {"solved_at_sequences": at, "solved_at_seconds": at and at / 1000, "sequences": 9000, "seconds": 9.0}
    summary["bit_errors"] = errors
    named = {size: {"bit_errors": value} for size, value in (scores or {}).items()}
    if state != "done":
        return RunResult(f"{recipe}-seed{seed}", recipe, seed, state, message="killed by SIGKILL: so it goes")
    return RunResult(f"{recipe}-seed{seed}", recipe, seed, state, summary=summary, scores=named)


RUNS = [
    run(0, 1000, scores={"10": 0.0, "20": 4.0}),
    run(1, 2000, scores={"10": 1.0, "20": 2.0}),
    run(2, 4000, scores={"10": 2.0, "20": 1.0}),
    run(3, 7000, scores={"10": 8.0, "20": 3.0}),
    run(4, None, errors=5.5, scores={"10": 9.0, "20": 9.0}),
    run(5, None, state="died"),
    run(0, None, recipe="lstm", errors=20.0),
    run(1, None, recipe="lstm", errors=30.0),
    run(2, 3000, recipe="lstm", errors=0.0),
]


def test_quartiles_by_hand():
    # Five finished: 1000, 2000, 4000, 7000, never. The quartiles of five are the second and the fourth.
    ntm, lstm = summarise(RUNS, measure_of("copy"))
    assert (ntm.runs, ntm.finished, ntm.died, ntm.solved) == (6, 5, 1, 4)
    sequences = ntm.spreads["solved_at_sequences"]
    assert (sequences.median, sequences.low, sequences.high) == (4000, 2000, 7000)
    # Of the solved ones: mean 3500, squares of the distances 6.25 + 2.25 + 0.25 + 12.25 = 21 million, over 3.
    assert sequences.mean == 3500
    assert sequences.deviation == pytest.approx(math.sqrt(7e6))
    assert ntm.spreads["bit_errors"].median == 0
    assert (ntm.scores["10"].median, ntm.scores["20"].median) == (2, 3)
    # 3000, never, never: halfway from 3000 to never is never.
    sequences = lstm.spreads["solved_at_sequences"]
    assert (sequences.median, sequences.low, sequences.high) == (math.inf, math.inf, math.inf)
    assert (sequences.mean, sequences.deviation, sequences.known) == (3000, None, 1)
    assert lstm.spreads["bit_errors"].median == 20


def test_quantiles_between_two_values_and_of_one():
    assert [quantile([1, 2, 3, 4], share) for share in (0, 0.25, 0.5, 0.75, 1)] == [1, 1.75, 2.5, 3.25, 4]
    assert quantile([7], 0.25) == 7
    assert quantile([1, math.inf], 0) == 1
    assert Spread.of([]) is None
    assert Spread.of([1.0, 3.0]).deviation == pytest.approx(math.sqrt(2))


def test_markdown_says_it_all():
    text = markdown("copy", RUNS)
    assert (
        "| ntm | 4 of 5, 1 died | 4,000 [2,000, 7,000] | 3,500 ± 2,646 | 4 [2, 7] | 3.50 ± 2.65 | 0 | 2 | 3 |" in text
    )
    assert "| lstm | 1 of 3 | not | 3,000 | not | 3 | 20 | - | - |" in text
    assert "| ntm | 3 | solved | 7,000 | 7 | 9,000 | 9 | 0 | 8 | 3 |" in text
    assert "| ntm | 4 | not solved | - | - | 9,000 | 9 | 5.50 | 9 | 9 |" in text
    assert "| ntm | 5 | died | - | - | - | - | - | - | - |" in text
    assert "ntm-seed5 died: killed by SIGKILL: so it goes" in text
    assert "of the solved runs alone" in text


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_shows_every_number_whatever_its_width(width):
    console = Console(file=io.StringIO(), width=width)
    print_tables("copy", RUNS, console)
    text = console.file.getvalue()
    for said in ("Every run", "Every model", "4 of 5, 1 died", "at 20", "killed by SIGKILL"):
        assert said in text
    assert ("continued" in text) == (width == 80)
    assert "…" not in text
    for said in ("4,000 [2,000, 7,000]", "3,500 ± 2,646", "3.50 ± 2.65"):
        assert said in text
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [60, 72, 80, 100, 120])
@pytest.mark.parametrize(
    "recipe", ["ntm", "ntm-[b]-2", "ntm-feedforward-paper", "a-recipe-with-a-name-of-a-line-and-more-to-itself"]
)
def test_no_column_is_cut(width, recipe):
    sizes = ["10x10", "20x10", "30x10", "50x10", "80x10", "120x10"]
    scores = {size: 1234.0 * index + 0.5 for index, size in enumerate(sizes)}
    runs = [run(seed, 10000 + 4321 * seed, recipe=recipe, errors=7.25, scores=scores) for seed in range(3)]
    runs.append(run(3, None, recipe=recipe, errors=7.25, scores=scores))
    console = Console(file=io.StringIO(), width=width)
    print_tables("copy", runs, console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    words = [word.strip("[],") for line in lines for word in line.split()]
    for size in sizes:
        assert words.count(size) == 2  # a heading in each table
    for seed in range(3):
        assert f"{10000 + 4321 * seed:,}" in words
    assert words.count("7.25") == 4 + 1
    assert words.count("6,170") == 4 + 1
    assert "".join(recipe.split()) in "".join(words) or len(recipe) > 28
    assert "…" not in " ".join(words)


def test_results_hold_no_infinity():
    found = results("copy", RUNS)
    assert found["measure"] == "bit_errors"
    lstm = found["models"][1]
    assert lstm["spreads"]["solved_at_sequences"] == {
        "median": None, "low": None, "high": None, "mean": 3000, "deviation": None, "known": 1,
    }  # fmt: skip


def test_a_study_whose_runs_all_died_has_a_table():
    text = markdown("copy", [run(0, None, state="died")])
    assert "| ntm | 0 of 0, 1 died | - | - | - | - | - |" in text


def test_a_name_with_a_bar_stays_in_its_cell():
    name = "a|b*c`d\\e<f"
    text = markdown("copy", [run(0, 1000, recipe=name), run(1, 1000, recipe=name, state="died")])
    rows = [line for line in text.splitlines() if line.startswith("|")]
    bars = (
        {len(re.findall(r"(?<!\\)\|", row)) for row in rows[:3]},
        {len(re.findall(r"(?<!\\)\|", row)) for row in rows[3:]},
    )
    assert [len(numbers) for numbers in bars] == [1, 1]
    assert text.count(r"| a\|b\*c\`d\\e\<f |") == 3
    assert r"a\|b\*c\`d\\e\<f-seed1 died: " in text


def test_names_that_are_states_or_markup_are_printed_as_they_are():
    out = io.StringIO()
    names = ["solved", "[red]x[/]", "x\\[red]"]
    print_tables("copy", [run(0, 1000, recipe=name) for name in names], Console(file=out, width=200, color_system=None))
    for name in names:
        assert name in out.getvalue()
