"""The picture of a study."""

import numpy as np
import pytest

from tapehead.plots import RunCurves, Series, draw_study
from tests.plots.pixels import assert_drawn, pixels

VALIDATION = "validation_bit_errors"


def make_run(values, name="ntm", solved_at=None, whole=True):
    sequences = 100.0 * np.arange(1, len(values) + 1)
    return RunCurves(name, {VALIDATION: Series(sequences, np.array(values, dtype=float))}, solved_at, whole)


RUNS = [
    make_run([8, 4, 0], solved_at=300),
    make_run([9, 6, 5, 1]),
    make_run([7, 0], solved_at=200),
    make_run([20, 19, 18, 17], name="lstm"),
]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def lines(figure, width):
    (axes,) = figure.axes
    return [line for line in axes.lines if line.get_linewidth() == width and len(line.get_xdata()) > 1]


def test_every_seed_is_thin_and_the_median_thick():
    figure = draw_study(RUNS, title="a study")
    assert_drawn(figure)
    thin, thick = lines(figure, 0.7), lines(figure, 2.2)
    assert [list(line.get_ydata()) for line in thin] == [[8, 4, 0], [9, 6, 5, 1], [7, 0], [20, 19, 18, 17]]
    # A run that has ended keeps its last value: at 300 the three are at 0, 5 and 0, at 400 at 0, 1 and 0.
    assert list(thick[0].get_xdata()) == [100, 200, 300, 400]
    assert list(thick[0].get_ydata()) == [8, 4, 0, 0]
    assert list(thick[1].get_ydata()) == [20, 19, 18, 17]
    assert thick[0].get_color() == thin[0].get_color() != thick[1].get_color()
    assert legend(figure)[:5] == ["ntm (2 of 3 solved)", "lstm (0 of 1 solved)", "each seed", "median", "solved"]
    colours = [handle.get_color() for handle in figure.legends[0].legend_handles[:2]]
    assert colours == [line.get_color() for line in thick]
    stars = [line for line in figure.axes[0].lines if line.get_marker() == "*"]
    assert {line.get_color() for line in stars} == {thick[0].get_color()}
    assert [(*line.get_xdata(), *line.get_ydata()) for line in stars] == [(300, 0), (200, 0)]
    assert figure.axes[0].get_yscale() == "symlog"


def test_a_band_of_mean_and_deviation():
    figure = draw_study(RUNS, band=True)
    assert_drawn(figure)
    assert lines(figure, 0.7) == []
    (mean, _) = lines(figure, 2.2)
    assert list(mean.get_ydata()) == pytest.approx([8, 10 / 3, 5 / 3, 1 / 3])
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(9)
    # The three at 100: 8, 9 and 7, one standard deviation of a sample around 8.
    assert band[band[:, 0] == 100][:, 1].min() == pytest.approx(7)
    assert legend(figure)[2:4] == ["mean", "mean ± one standard deviation"]


def test_a_run_that_is_not_whole_is_dashed_and_in_no_median():
    figure = draw_study([make_run([8, 4]), make_run([100, 100], whole=False)])
    assert [list(line.get_ydata()) for line in lines(figure, 2.2)] == [[8, 4]]
    assert [line.get_linestyle() for line in lines(figure, 0.7)] == ["-", "--"]
    assert "not finished" in legend(figure)


@pytest.mark.parametrize("band", [False, True])
def test_a_model_of_a_single_validation_is_seen(band):
    def with_lstm(*runs):
        return pixels(draw_study([*RUNS[:3], *(make_run([height], name="lstm") for height in runs)], band=band))

    assert (with_lstm(20, 19) != with_lstm(20, 20)).any()


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="no run has logged"):
        draw_study([RunCurves("ntm", {})])


@pytest.mark.parametrize("longest", [15, 60])
def test_a_legend_of_long_names_stays_inside(longest):
    names = [f"repeat_copy, ntm, memory_sizes {list(range(n))}" for n in (12, longest)]
    figure = draw_study([make_run([8, 4], name=name) for name in names])
    assert_drawn(figure)
    legend = figure.legends[0].get_window_extent()
    assert 0 <= legend.x0 < legend.x1 <= figure.bbox.width


def test_many_names_look_different_and_leave_the_curves_their_room():
    settings = [f"copy, ntm, learning_rate {index}, batch_size {index}" for index in range(12)]
    figure = draw_study([make_run([8 + index, 4], name=name) for index, name in enumerate(settings)])
    assert_drawn(figure)
    looks = [(line.get_color(), line.get_linestyle()) for line in figure.legends[0].legend_handles[:12]]
    assert len(set(looks)) == 12
    assert [(line.get_color(), line.get_linestyle()) for line in lines(figure, 2.2)] == looks
    assert figure.axes[0].get_window_extent().height > 0.9 * draw_study(RUNS).axes[0].get_window_extent().height


def test_runs_that_have_no_others_of_their_name_have_no_median():
    assert not {"each seed", "median"} & set(legend(draw_study([make_run([8, 4]), make_run([9, 3], name="lstm")])))


def test_where_there_is_no_common_threshold_nothing_counts_as_solved():
    for threshold in (None, 0.0):
        figure = draw_study(RUNS, solved_below=threshold)
        assert not any("counts as solved" in text for text in legend(figure))
        assert not figure.axes[0].patches
