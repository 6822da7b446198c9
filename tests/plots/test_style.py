import matplotlib
from matplotlib.figure import Figure

from tapehead.plots import draw_curves, png
from tapehead.plots.style import look
from tests.plots.pixels import pixels
from tests.plots.test_curves import make_run


def test_a_users_settings_change_nothing():
    plain = pixels(draw_curves([make_run()]))
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 10, "lines.linewidth": 9}):
        settings = dict(matplotlib.rcParams)
        assert (pixels(draw_curves([make_run()])) == plain).all()
        assert dict(matplotlib.rcParams) == settings


def test_lines_differ_in_colour_or_in_dashes():
    assert len({str(look(index)) for index in range(24)}) == 24


def test_a_png_is_a_png():
    assert png(Figure(figsize=(1, 1))).startswith(b"\x89PNG")
