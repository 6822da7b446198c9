import numpy as np
import pytest

from tapehead.plots import RunCurves, Series, draw_curves
from tests.plots.pixels import assert_drawn, pixels, titles

TRAIN, ERRORS, VALIDATION = "train_bits", "train_bit_errors", "validation_bit_errors"


def make_run(name="copy, ntm", solved_at=None, scale=1.0, end=1000):
    sequences = np.arange(100.0, end + 1, 100)
    bits = scale * 50 / sequences
    errors = np.where(sequences > 700, 0.0, bits)
    metrics = {TRAIN: bits, ERRORS: errors, VALIDATION: errors, "validation_bits": bits}
    return RunCurves(name, {key: Series(sequences, values) for key, values in metrics.items()}, solved_at)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_one_run():
    figure = draw_curves([make_run(solved_at=800)], title="a run")
    assert_drawn(figure)
    bits, errors = figure.axes
    assert (bits.get_ylabel(), errors.get_ylabel()) == ("bits per sequence", "wrong bits\nper sequence")
    assert errors.get_xlabel() == "sequences trained on"
    assert "solved after 800 sequences" in legend(figure)
    assert figure.get_suptitle() == "a run"


def test_zero_and_the_threshold_are_on_the_scale():
    figure = draw_curves([make_run()], solved_below=0.05)
    errors = figure.axes[1]
    assert errors.get_yscale() == "symlog"
    assert errors.get_ylim()[0] < 0
    assert {0, 0.1, 1} <= set(errors.get_yticks())
    assert "at most 0.05: counts as solved" in legend(figure)


def test_a_threshold_of_many_bits_leaves_the_scale_linear():
    figure = draw_curves([make_run(scale=40.0)], solved_below=15.0)
    errors = figure.axes[1]
    assert errors.get_yscale() == "linear"
    assert errors.get_ylim()[0] < 0 < 15 < errors.get_ylim()[1]
    assert_drawn(figure)


def test_a_run_that_is_not_solved_says_nothing_of_it():
    assert not any(text.startswith("solved") for text in legend(draw_curves([make_run()])))


def test_several_runs_have_mean_and_deviation():
    runs = [make_run(scale=scale) for scale in (1, 2, 4)]
    figure = draw_curves(runs)
    assert_drawn(figure)
    assert titles(figure) == ["Training", "Training", "Validation"]
    lines = sorted(figure.axes[0].lines, key=lambda line: line.get_linewidth())
    assert len(lines) == 4
    values = np.stack([run.metrics[TRAIN].values for run in runs])
    np.testing.assert_allclose(lines[-1].get_ydata(), values.mean(axis=0))
    corners = figure.axes[0].collections[0].get_paths()[0].vertices
    top = (values.mean(axis=0) + values.std(axis=0, ddof=1)).max()
    np.testing.assert_allclose(corners[:, 1].max(), top)


def test_runs_are_grouped_by_name():
    runs = [make_run(), make_run(scale=2, end=600), make_run("copy, lstm")]
    figure = draw_curves(runs)
    assert {"copy, ntm (2 runs)", "copy, lstm (1 run)"} <= set(legend(figure))
    means = [line for line in figure.axes[0].lines if line.get_linewidth() > 2]
    assert [line.get_xdata()[-1] for line in means] == [600]
    assert len({line.get_color() for line in figure.axes[0].lines}) == 2
    assert [handle.get_color() for handle in figure.legends[0].legend_handles[:2]] == [
        figure.axes[0].lines[0].get_color(),
        figure.axes[0].lines[-1].get_color(),
    ]


def test_runs_of_no_common_range_and_with_metrics_missing():
    early, late = make_run(end=300), make_run()
    late.metrics[TRAIN] = Series(np.array([900.0]), np.array([1.0]))
    del early.metrics[VALIDATION], late.metrics[VALIDATION]
    assert_drawn(draw_curves([early, late]))


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_curves([RunCurves("copy, ntm", {})])
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_curves([])


def test_a_prediction_is_drawn_above_its_optimum():
    sequences = np.array([0.0, 1000.0])
    metrics = {
        "train_bits": Series(sequences, np.array([200.0, 136.0])),
        "validation_bits": Series(sequences, np.array([200.0, 135.0])),
        "validation_excess_bits": Series(sequences, np.array([67.0, 2.0])),
    }
    runs = [RunCurves("ngrams, ntm", metrics)] * 2
    figure = draw_curves(runs[:1], measure="excess_bits", heading="bits above the optimum", solved_below=1.0)
    bits, errors = figure.axes
    assert bits.get_yscale() == "linear"
    assert bits.lines[-1].get_ydata()[0] == 133
    assert "optimum: 133.0 bits" in legend(figure)
    assert errors.get_ylabel() == "bits above the optimum\nper sequence"
    several = draw_curves(runs, measure="excess_bits", heading="bits above the optimum", solved_below=1.0)
    assert [axes.get_title(loc="left") for axes in several.axes] == ["Training", "Validation"]


@pytest.mark.parametrize("names", [("copy, ntm", "copy, lstm"), ("copy, ntm", "copy, ntm")])
def test_curves_of_one_point_are_seen(names):
    def drawn(scale):
        return pixels(draw_curves([make_run(names[0]), make_run(names[1], scale=scale, end=100)]))

    assert (drawn(0.9) != drawn(0.8)).any()


def test_many_names_look_different():
    runs = [make_run(name=f"copy, ntm, batch_size {index}", scale=1 + index) for index in range(12)]
    figure = draw_curves(runs)
    assert_drawn(figure)
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == 12


def test_where_there_is_no_common_threshold_nothing_counts_as_solved():
    for runs in ([make_run()], [make_run(), make_run("lstm")]):
        assert not any("counts as solved" in text for text in legend(draw_curves(runs, solved_below=None)))
