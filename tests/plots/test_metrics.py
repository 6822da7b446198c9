import numpy as np
import pytest

from tapehead.plots import Series, mean_and_deviation, read_metrics
from tapehead.plots.metrics import together

HEADER = "sequences,train_bits,validation_bits\n"


def write(folder, version, text):
    path = folder / f"version_{version}" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def points(series):
    return list(zip(*(part.tolist() for part in series), strict=True))


def test_blank_cells_are_missing(tmp_path):
    write(tmp_path, 0, HEADER + "100,4,\n100,,3\n200,2,\n")
    metrics = read_metrics(tmp_path)
    assert points(metrics["train_bits"]) == [(100, 4), (200, 2)]
    assert points(metrics["validation_bits"]) == [(100, 3)]
    assert "sequences" not in metrics


def test_a_column_without_a_value_is_no_metric(tmp_path):
    write(tmp_path, 0, HEADER + "100,4,\n")
    assert read_metrics(tmp_path).keys() == {"train_bits"}


def test_later_versions_win_from_where_they_went_on(tmp_path):
    write(tmp_path, 0, HEADER + "100,1,\n200,2,\n200,,20\n250,2.5,\n300,3,30\n")
    write(tmp_path, 1, HEADER + "200,5,\n280,6,\n")
    metrics = read_metrics(tmp_path)
    assert points(metrics["train_bits"]) == [(100, 1), (200, 5), (280, 6)]
    assert points(metrics["validation_bits"]) == [(200, 20)]


def test_versions_are_ordered_by_number(tmp_path):
    for version, value in ((10, 3), (2, 2), (9, 1)):
        write(tmp_path, version, HEADER + f"100,{value},\n")
    assert points(read_metrics(tmp_path)["train_bits"]) == [(100, 3)]


def test_a_version_that_logged_nothing_takes_nothing_away(tmp_path):
    write(tmp_path, 0, HEADER + "100,4,\n")
    write(tmp_path, 1, HEADER)
    write(tmp_path, 2, "")
    assert points(read_metrics(tmp_path)["train_bits"]) == [(100, 4)]


def test_a_half_written_last_line_and_nan_are_left_out(tmp_path):
    write(tmp_path, 0, HEADER + "100,4,\n200,nan,\n300,1")
    assert points(read_metrics(tmp_path)["train_bits"]) == [(100, 4)]


@pytest.mark.parametrize("text", [None, "", HEADER])
def test_no_metrics(tmp_path, text):
    if text is not None:
        write(tmp_path, 0, text)
    with pytest.raises(FileNotFoundError, match="no metrics"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("text", [HEADER + "100,what,\n", "step,train_bits\n1,2\n", HEADER + "1,2,3,4\n"])
def test_damaged(tmp_path, text):
    write(tmp_path, 3, text)
    with pytest.raises(ValueError, match=r"version_3/metrics\.csv: damaged"):
        read_metrics(tmp_path)


def test_mean_and_deviation_against_numpy():
    generator = np.random.default_rng(0)
    grid = np.arange(0.0, 100, 5)
    values = generator.random((4, len(grid)))
    sequences, mean, deviation = mean_and_deviation([Series(grid, row) for row in values])
    np.testing.assert_array_equal(sequences, grid)
    np.testing.assert_allclose(mean, np.mean(values, axis=0))
    np.testing.assert_allclose(deviation, np.std(values, axis=0, ddof=1))


def test_mean_is_interpolated_over_the_common_range():
    long = Series(np.array([0.0, 10, 20, 30]), np.array([0.0, 10, 20, 30]))
    short = Series(np.array([5.0, 25]), np.array([0.0, 40]))
    sequences, mean, _ = mean_and_deviation([long, short])
    np.testing.assert_array_equal(sequences, [5, 10, 20, 25])
    np.testing.assert_allclose(mean, [2.5, 10, 25, 32.5])


def test_mean_of_one_and_of_none():
    one = Series(np.array([1.0, 2]), np.array([3.0, 4]))
    _, mean, deviation = mean_and_deviation([one])
    np.testing.assert_array_equal(mean, one.values)
    np.testing.assert_array_equal(deviation, 0)
    assert mean_and_deviation([]) is None
    assert mean_and_deviation([one, Series(np.array([5.0]), np.array([3.0]))]) is None


def test_together_begins_where_all_have_begun_and_a_run_that_ended_keeps_its_last_value():
    early = Series(np.array([0.0, 10, 20]), np.array([0.0, 10, 20]))
    late = Series(np.array([5.0, 25]), np.array([0.0, 40]))
    sequences, values = together([early, late])
    np.testing.assert_array_equal(sequences, [5, 10, 20, 25])
    np.testing.assert_allclose(values, [[5, 10, 20, 20], [0, 10, 30, 40]])
