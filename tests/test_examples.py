"""Every program of `examples/` runs, needs torch and tapehead alone, and its parts do what they say."""

from __future__ import annotations

import ast
import itertools
import re
import runpy
import sys

import pytest
import torch

from tests import examples
from tests.examples import FOLDER, PATHS

FIGURES = {
    "both_directions": r"One direction: +[\d.]+% right; the best possible one: [\d.]+%\.\nBoth directions: [\d.]+% ",
    "reinforcement": r"after 2 updates a mean reward of [\d.]+ of 2\nof any agent without a memory: 0\.31",
    "text": r"after 2 updates [\d.]+ bits per character\ncounts of characters [\d.]+, of pairs [\d.]+\n",
}


@pytest.fixture(scope="module")
def tagger() -> dict:
    return runpy.run_path(str(FOLDER / "both_directions.py"))


@pytest.fixture(scope="module")
def simon() -> type:
    return runpy.run_path(str(FOLDER / "reinforcement.py"))["Simon"]


@pytest.fixture(scope="module")
def text() -> dict:
    return runpy.run_path(str(FOLDER / "text.py"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_runs_in_tiny_form(path, capsys):
    examples.run(path, [])
    assert re.match(FIGURES[path.stem], capsys.readouterr().out)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_needs_torch_and_tapehead_alone_and_is_in_the_readme(path):
    tree = ast.parse(path.read_text("utf-8"))
    names = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    allowed = sys.stdlib_module_names | {"torch", "tapehead"}
    assert {name.partition(".")[0] for name in names} <= allowed
    assert f"python examples/{path.name}" in (FOLDER / "README.md").read_text("utf-8")
    assert f"python examples/{path.name}" in (ast.get_docstring(tree) or "")


@pytest.mark.parametrize("model", ["ntm", "mann", "lstm"])
def test_both_directions_are_each_row_by_itself_backwards(tagger, model):
    both = tagger["BothDirections"](tagger["layer"](model, 3), tagger["layer"](model, 3)).double()
    lengths = torch.tensor([6, 1, 4, 2])
    input = torch.randn(6, 4, 3, dtype=torch.float64)
    output = both(input, lengths)
    assert output.shape == (6, 4, both.output_size)
    for row, length in enumerate(lengths):
        alone = input[:length, row]
        expected = torch.cat([both.ahead(alone)[0], both.back(alone.flip(0))[0].flip(0)], -1)
        torch.testing.assert_close(output[:length, row], expected)
        assert not output[length:, row].any()


def test_what_a_symbol_is_told_to_be_is_counted(tagger):
    row, lengths, repeated, inside = tagger["sample"](50, 4, 7)
    assert inside.sum(0).tolist() == lengths.tolist()
    for at, length in enumerate(lengths):
        symbols = row[:length, at].tolist()
        assert repeated[:length, at].tolist() == [symbols.count(symbol) > 1 for symbol in symbols]


def test_the_best_that_reads_forwards_is_the_best(tagger):
    """Of all rows of two steps there are, by counting: the second is known, the first is answered as is likelier."""
    rows = torch.tensor(list(itertools.product(range(3), repeat=2))).T
    rows = torch.cat([rows, rows], 1)  # once with both steps, once with the first alone
    inside = torch.ones(2, 18, dtype=torch.bool)
    inside[1, 9:] = False
    # The first comes again in 3 of 18 rows; the second, in 9 rows, has been seen or never comes again.
    assert tagger["best_forwards"](rows, inside, 3) == pytest.approx((15 + 9) / 27)


def test_simon_shows_the_lights_and_then_asks_for_them(simon):
    game = simon(rows=5, lights=3, length=4)
    shown = game.shown.clone()
    nothing = torch.zeros(5, dtype=torch.long)
    for step in range(4):
        assert torch.equal(game.observe().argmax(1), shown[:, step])
        reward, done = game.press(shown[:, step])  # counts for nothing yet
        assert not reward.any()
        assert not done.any()
    for step in range(4):
        assert torch.equal(game.observe().argmax(1), nothing + 3)
        reward, done = game.press(shown[:, step])
        assert reward.all()
        assert done.all() == (step == 3)
    assert torch.equal(game.observe().argmax(1), game.shown[:, 0])


def test_a_wrong_press_ends_a_game_and_no_other(simon):
    game = simon(rows=2, lights=3, length=4)
    shown = game.shown.clone()
    for _ in range(4):
        game.press(torch.zeros(2, dtype=torch.long))
    reward, done = game.press((shown[:, 0] + torch.tensor([0, 1])) % 3)
    assert reward.tolist() == [1.0, 0.0]
    assert done.tolist() == [False, True]
    assert game.observe().argmax(1).tolist() == [3, int(game.shown[1, 0])]
    assert torch.equal(game.shown[0], shown[0])


def test_counts_cost_what_they_say(text):
    letters = torch.tensor([0, 1] * 500)
    unigram, bigram = text["count_bits"](letters, letters, 2)
    assert unigram == pytest.approx(1.0)
    assert 0 < bigram < 0.01
