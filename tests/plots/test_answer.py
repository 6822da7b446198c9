import itertools

import numpy as np
import pytest
import torch

from tapehead.plots import draw_answer
from tapehead.tasks import Copy, RepeatCopy
from tests.plots.pixels import assert_drawn, panels, titles


def draw(task, size, output=None, **options):
    batch = task.sample(1, size=size)
    target, mask = batch.target[:, 0], batch.mask[:, 0]
    output = target if output is None else output
    return batch, draw_answer(batch.input[:, 0], target, output, mask, **options)


def test_all_four_are_drawn_where_they_count():
    task = Copy(bits=3)
    batch, figure = draw(task, {"length": 4}, title="an answer", input_names=task.channel_names())
    assert_drawn(figure)
    shown = panels(figure)
    assert [name.split(":")[0] for name in shown] == ["Input", "Target", "Output", "Error"]
    np.testing.assert_array_equal(shown["Input"].T, batch.input[:, 0])
    assert not np.ma.getmaskarray(shown["Input"]).any()
    np.testing.assert_array_equal(~np.ma.getmaskarray(shown["Target"])[0], batch.mask[:, 0])
    np.testing.assert_array_equal(shown["Target"][:, 5:].T, batch.target[5:, 0])
    assert figure.axes[4].get_xlabel() == "time (step)"
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["bit 0", "bit 2", "delimiter"]
    assert figure.get_suptitle() == "an answer"


def test_one_channel_and_one_bit():
    mask = torch.tensor([False, True])
    figure = draw_answer(torch.zeros(2, 9), torch.ones(2, 1), torch.ones(2, 1), mask)
    assert titles(figure)[-1] == "Error: none of 1 bit is wrong; the largest error is 0"
    figure.canvas.draw()
    bar = next(axes for axes in figure.axes if axes.get_ylabel() == "error")
    labels = [label.get_window_extent() for label in bar.get_yticklabels() if label.get_visible()]
    assert all(below.y1 <= above.y0 for below, above in itertools.pairwise(labels))


def test_wrong_bits_are_marked_and_counted():
    task = Copy(bits=2)
    batch = task.sample(1, size={"length": 3})
    output = (batch.target[:, 0] * 0.8 + 0.1).clone()
    output[5, 1] = 1 - output[5, 1]
    output[0, 0] = 1 - output[0, 0]  # asked nothing there
    figure = draw_answer(batch.input[:, 0], batch.target[:, 0], output, batch.mask[:, 0])
    assert titles(figure)[-1] == "Error: 1 of 6 bits is wrong (cross)"
    error = figure.axes[4]
    crosses = error.collections[-1].get_offsets()
    np.testing.assert_array_equal(crosses, [[5, 1]])
    np.testing.assert_allclose(error.images[0].get_array()[:, 4:].max(), 0.9)


def test_a_perfect_answer_says_so():
    _, figure = draw(Copy(bits=2), {"length": 3})
    assert titles(figure)[-1] == "Error: none of 6 bits is wrong; the largest error is 0"


def test_a_number_is_written_beside_its_cell():
    task = RepeatCopy(bits=2, max_repeats=5)
    _, figure = draw(task, {"length": 2, "repeats": 5}, input_names=task.channel_names())
    assert [text.get_text() for text in figure.axes[1].texts] == ["1.41"]
    assert_drawn(figure)


@pytest.mark.parametrize("length", [1, 120])
def test_short_and_long(length):
    _, figure = draw(Copy(), {"length": length}, torch.rand(2 * length + 1, 8))
    assert_drawn(figure)


def test_wrong_shapes():
    with pytest.raises(ValueError, match="expected input"):
        draw_answer(torch.zeros(3, 2), torch.zeros(3, 1), torch.zeros(4, 1), torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="a step that counts"):
        draw_answer(torch.zeros(3, 2), torch.zeros(3, 1), torch.zeros(3, 1), torch.zeros(3, dtype=torch.bool))


def test_an_input_below_0_has_a_scale_of_its_own():
    """Priorities go from -1 to 1; bits and probabilities do not."""
    input = torch.tensor([[1.0, -0.5], [0.0, 0.75], [0.0, 0.0]])
    target, output, mask = torch.zeros(3, 1), torch.full((3, 1), 0.25), torch.tensor([False, False, True])
    figure = draw_answer(input, target, output, mask)
    limits = [axes.images[0].get_clim() for axes in figure.axes if axes.images]
    assert limits[0] == (-1, 1)
    assert set(limits[1:]) == {(0, 1)}
    unsigned = draw_answer(input.abs(), target, output, mask)
    assert {axes.images[0].get_clim() for axes in unsigned.axes if axes.images} == {(0, 1)}


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ([True, False], "1 of 2 answers is wrong (cross)"),
        ([False, False], "2 of 2 answers are wrong (crosses)"),
        ([True, True], "none of 2 answers is wrong; the largest error is 0.8"),
    ],
)
def test_where_answers_count_the_largest_error_of_a_wrong_one_is_marked(right, said):
    input, target = torch.zeros(3, 2), torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    output = torch.tensor([[0.9, 0.1, 0.1], [0.4, 0.3, 0.3], [0.1, 0.2, 0.7]])
    mask, right = torch.tensor([False, True, True]), torch.tensor([False, *right])
    figure = draw_answer(input, target, output, mask, right=right)
    assert titles(figure)[-1] == f"Error: {said}"
    crosses = figure.axes[4].collections[-1].get_offsets().tolist()
    assert sorted(crosses) == [cross for cross in ([1, 0], [2, 1]) if not right[cross[0]]]
