"""The picture of a predictor: both lines, the bits, and what each paid."""

import math

import pytest
import torch

from tapehead.plots import draw_predictions, png


def test_lines_bits_and_costs():
    bits = torch.tensor([1.0, 0.0, 1.0] * 50)
    predicted, optimal = torch.full((150,), 0.5), torch.where(bits > 0.5, 0.75, 0.25)
    figure = draw_predictions(bits, predicted, optimal, title="a sequence")
    first, second, paid = figure.axes  # a hundred steps a panel
    assert [len(axes.lines[0].get_xdata()) for axes in (first, second)] == [100, 50]
    assert first.lines[0].get_ydata().tolist() == pytest.approx(optimal[:100].tolist())
    assert second.lines[1].get_ydata().tolist() == pytest.approx(predicted[100:].tolist())
    assert first.collections[0].get_offsets()[:, 1].tolist() == bits[:100].tolist()
    best = 150 * -math.log2(0.75)
    assert paid.get_title(loc="left") == f"Bits paid so far: in the end 150.0, the optimum {best:.1f}"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["model", "optimum", "bit"]
    assert figure.get_suptitle() == "a sequence"
    assert png(figure).startswith(b"\x89PNG")


def test_shapes_have_to_agree():
    with pytest.raises(ValueError, match=r"expected bits, predicted and optimal of one shape \(T,\), got \(3,\)"):
        draw_predictions(torch.zeros(3), torch.zeros(3, 1), torch.zeros(3))
