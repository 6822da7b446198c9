"""The pictures of one-shot learning: an episode, and accuracy by instance over a training."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from tapehead.plots import Series, draw_episode, draw_instances, instance_series
from tests.plots.pixels import assert_drawn


def test_an_episode_shows_every_drawing_and_marks_what_is_wrong():
    drawings = torch.rand(12, 20, 20)
    labels, answers = ["0", "1"] * 6, ["0", "1"] * 5 + ["1", "1"]
    instances = torch.tensor([1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6])
    figure = draw_episode(drawings, labels, answers, instances, title="an episode")
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 12
    np.testing.assert_allclose(shown[3].images[0].get_array(), drawings[3].numpy(), rtol=1e-6)
    assert [axes.get_xlabel() for axes in shown] == [*answers[:10], "1, is 0", "1"]
    frames = [to_hex(axes.spines["left"].get_edgecolor()) for axes in shown]
    assert len(set(frames)) == 2
    assert frames.count(frames[10]) == 1
    assert [axes.texts[0].get_text() for axes in shown] == [str(int(instance)) for instance in instances]
    assert "Wrong: 1 of 12, 0 at first sight" in figure.get_supxlabel()
    assert_drawn(figure)


def test_long_labels_fit():
    figure = draw_episode(torch.rand(3, 20, 20), ["abcde"] * 3, ["abcde", "edcba", "aaaaa"], torch.tensor([1, 2, 3]))
    assert figure.axes[1].get_xlabel() == "edcba, is abcde"
    assert_drawn(figure)


def test_numbers_have_to_agree():
    with pytest.raises(ValueError, match="got 3 drawings, 2, 3 and 3"):
        draw_episode(torch.rand(3, 20, 20), ["0"] * 2, ["0"] * 3, torch.ones(3))


def test_a_line_for_each_instance():
    at = np.array([100.0, 200.0])
    metrics = {f"validation_accuracy_{k}": Series(at, np.array([0.2, 0.05 * k])) for k in (10, 1, 2)}
    series = instance_series({**metrics, "validation_bits": Series(at, at)})
    assert list(series) == [1, 2, 10]
    figure = draw_instances(series, title="right answers")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1", "2", "10"]
    assert figure.axes[0].lines[2].get_ydata().tolist() == [0.2, 0.5]
    assert_drawn(figure)


def test_nothing_to_draw_is_said():
    with pytest.raises(ValueError, match="no accuracy by instance"):
        draw_instances({})
