import numpy as np
import pytest
import torch

from tapehead import NTM
from tapehead.plots import draw_internals
from tapehead.plots.internals import Slots, used_slots
from tapehead.states import map_tensors
from tests.plots.pixels import assert_drawn, panels, titles


def make_trace(steps=6, rows=2, memory_size=12, **options):
    layer = NTM(3, 5, memory_size=memory_size, word_size=4, **options)
    return layer.trace(torch.randn(steps, rows, 3))[2]


def test_five_panels_of_one_head():
    trace = make_trace()
    figure = draw_internals(trace, 3, row=1, title="inside")
    assert_drawn(figure)
    shown = {title.split(":")[0]: values for title, values in panels(figure).items()}
    assert list(shown) == ["Adds", "Write weights", "Memory", "Read weights", "Reads"]
    trace = type(trace)(*(part if isinstance(part, tuple) else part.detach() for part in trace))
    np.testing.assert_allclose(shown["Adds"].T, trace.add[:, 1, 0])
    np.testing.assert_allclose(shown["Reads"].T, trace.reads[:, 1, 0])
    np.testing.assert_allclose(shown["Write weights"].T, trace.write.weights[:, 1, 0].detach())
    np.testing.assert_allclose(shown["Read weights"].T, trace.read.weights[:, 1, 0].detach())
    np.testing.assert_allclose(shown["Memory"].T, trace.memory[:, 1].norm(dim=-1), rtol=1e-6)
    assert figure.get_suptitle() == "inside"
    scales = [axes.images[0].get_clim() for axes in figure.axes[1:6]]
    most = {name: np.abs(values).max() for name, values in shown.items()}
    signed = [(-most[name], most[name]) for name in ("Adds", "Reads")]
    np.testing.assert_allclose(scales, [signed[0], (0, 1), (0, most["Memory"]), (0, 1), signed[1]])
    assert [axes.get_ylabel() for axes in figure.axes[6:]] == ["add", "weight", "norm", "weight", "read"]


def test_axes_are_labelled_and_the_answer_is_marked():
    figure = draw_internals(make_trace(), 3)
    strip, *others = figure.axes[:6]
    assert [text.get_text() for text in strip.texts] == ["input", "answer"]
    assert [axes.get_ylabel() for axes in others] == ["element", *["slot\n(all 12)"] * 3, "element"]
    assert others[-1].get_xlabel() == "time (step)"
    for axes in others:
        assert axes.lines[0].get_xdata()[0] == 2.5


def test_a_panel_for_each_head():
    figure = draw_internals(make_trace(num_read_heads=3, num_write_heads=2), 3)
    assert_drawn(figure)
    names = [title.split(":")[0] for title in titles(figure)]
    assert names == [
        *(f"Adds, head {head} of 2" for head in (1, 2)),
        *(f"Write weights, head {head} of 2" for head in (1, 2)),
        "Memory",
        *(f"Read weights, head {head} of 3" for head in (1, 2, 3)),
        *(f"Reads, head {head} of 3" for head in (1, 2, 3)),
    ]


@pytest.mark.parametrize(
    "options", [{"addressing": "content"}, {"memory_size": 1, "max_shift": 0}, {"steps": 1}, {"steps": 300}]
)
def test_other_shapes(options):
    assert_drawn(draw_internals(make_trace(**options), 0))


def test_slots_no_head_looks_at_are_left_out():
    trace = make_trace(memory_size=64)
    weights = torch.zeros_like(trace.write.weights)
    weights[..., 63] = 1
    trace = trace._replace(read=trace.read._replace(weights=weights), write=trace.write._replace(weights=weights))
    shown = panels(draw_internals(trace, 3))
    figure_slots = next(values for title, values in shown.items() if title.startswith("Read weights"))
    assert figure_slots.shape[0] < 12
    np.testing.assert_array_equal(figure_slots.sum(axis=0), 1)


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ([3], Slots(3, 1, 20)),
        ([3, 6], Slots(3, 4, 20)),
        ([18, 1], Slots(18, 4, 20)),
        ([0, 19], Slots(19, 2, 20)),
        (range(20), Slots(0, 20, 20)),
    ],
)
def test_used_slots_are_the_shortest_arc(used, expected):
    weights = np.zeros((2, 20))
    weights[1, list(used)] = 0.5
    assert used_slots(weights, margin=0, fewest=1) == expected


def test_margin_and_fewest():
    weights = np.zeros((1, 100))
    weights[0, 50] = 1
    assert used_slots(weights, margin=2, fewest=1) == Slots(48, 5, 100)
    assert used_slots(weights, margin=0, fewest=8).length >= 8
    assert used_slots(np.full((1, 100), 0.01)) == Slots(0, 100, 100)


def test_slots_name_themselves_by_their_own_numbers():
    slots = Slots(first=112, length=30, memory_size=128)
    assert slots.describe() == "slot of 128\n(112 to 13)"
    ticks = slots.ticks()
    assert 0 in ticks.values()
    assert all((112 + position) % 128 == slot for position, slot in ticks.items())
    np.testing.assert_array_equal(slots.take(np.arange(128))[[0, 15, 16, 29]], [112, 127, 0, 13])
    for length, step in ((6, 1), (12, 2), (13, 5), (300, 50), (4000, 1000)):
        assert Slots(0, length, length).ticks() == {slot: slot for slot in range(0, length, step)}


def test_not_in_the_trace():
    for start, row in ((6, 0), (0, 2), (-1, 0)):
        with pytest.raises(ValueError, match="expected row in"):
            draw_internals(make_trace(), start, row=row)


@pytest.mark.parametrize("name", ["add", "reads", "memory"])
def test_a_trace_that_is_not_finite_is_refused(name):
    trace = make_trace()
    trace = trace._replace(**{name: torch.full_like(getattr(trace, name), torch.nan)})
    with pytest.raises(ValueError, match=f"draw_internals: expected a trace of finite .* got inf or NaN in {name}"):
        draw_internals(trace, 3)


def test_weights_that_are_not_finite_are_refused():
    trace = make_trace()
    weights = torch.full_like(trace.read.weights, torch.inf)
    with pytest.raises(ValueError, match=r"got inf or NaN in read\.weights"):
        draw_internals(trace._replace(read=trace.read._replace(weights=weights)), 3)


def test_a_trace_without_steps_is_refused():
    with pytest.raises(ValueError, match="draw_internals: expected a trace of one step or more, got none"):
        draw_internals(map_tensors(lambda tensor: tensor[:0], make_trace()), 0)
