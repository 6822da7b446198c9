"""The pictures of one-shot learning: an episode, and accuracy by instance over a training."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from tapehead import MANN, NTM
from tapehead.plots import Series, draw_episode, draw_instances, instance_series
from tapehead.plots.internals import used_slots
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


@pytest.mark.parametrize("core", [MANN(8, 4, memory_size=16), NTM(8, 4, memory_size=16, num_write_heads=2)])
def test_a_trace_shows_where_it_wrote_and_read(core):
    _, _, trace = core.trace(torch.randn(12, 2, 8))
    instances = torch.arange(1, 13)
    figure = draw_episode(torch.rand(12, 20, 20), ["0"] * 12, ["0"] * 12, instances, trace=trace, row=1)
    titles = ("Where it wrote: weights of all heads, summed", "Where it read")
    wrote, read = (next(axes for axes in figure.axes if axes.get_title("left") == title) for title in titles)
    weights = trace.write.weights[:, 1].sum(1).detach(), trace.read.weights[:, 1].sum(1).detach()
    slots = used_slots(np.stack(weights))
    for axes, values in zip((wrote, read), weights, strict=True):
        np.testing.assert_allclose(axes.images[0].get_array(), slots.take(values.numpy()).T, rtol=1e-6)
    assert [axes.get_title() for axes in figure.axes[:12]] == [
        f"w {int(written.argmax())}  r {int(looked.argmax())}" for written, looked in zip(*weights, strict=True)
    ]
    assert_drawn(figure)


def test_long_labels_fit():
    figure = draw_episode(torch.rand(3, 20, 20), ["abcde"] * 3, ["abcde", "edcba", "aaaaa"], torch.tensor([1, 2, 3]))
    assert figure.axes[1].get_xlabel() == "edcba, is abcde"
    assert_drawn(figure)


def test_numbers_have_to_agree():
    with pytest.raises(ValueError, match="got 3 drawings, 2, 3 and 3"):
        draw_episode(torch.rand(3, 20, 20), ["0"] * 2, ["0"] * 3, torch.ones(3))
    with pytest.raises(ValueError, match="draw_episode: expected one drawing or more, got none"):
        draw_episode(torch.rand(0, 20, 20), [], [], torch.ones(0))
    trace = MANN(8, 4, memory_size=16).trace(torch.randn(2, 1, 8))[2]
    with pytest.raises(ValueError, match="expected a trace of 3 steps, one for each drawing, got 2"):
        draw_episode(torch.rand(3, 20, 20), ["0"] * 3, ["0"] * 3, torch.ones(3), trace=trace)
    with pytest.raises(ValueError, match=r"expected row in 0\.\.0, got -1"):
        draw_episode(torch.rand(2, 20, 20), ["0"] * 2, ["0"] * 2, torch.ones(2), trace=trace, row=-1)


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


def test_a_trace_that_is_not_finite_is_refused():
    trace = MANN(8, 4, memory_size=16).trace(torch.full((3, 1, 8), torch.nan))[2]
    with pytest.raises(ValueError, match="draw_episode: expected a trace of finite numbers, got inf or NaN in"):
        draw_episode(torch.rand(3, 20, 20), ["0"] * 3, ["0"] * 3, torch.ones(3), trace=trace)
