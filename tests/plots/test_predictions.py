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


def test_who_is_sure_and_wrong_pays_52_bits():
    bits, sure = torch.tensor([0.0, 1.0, 1.0]), torch.ones(3)
    figure = draw_predictions(bits, sure, torch.full((3,), 0.5))
    assert figure.axes[-1].get_title(loc="left") == "Bits paid so far: in the end 52.0, the optimum 3.0"


@pytest.mark.parametrize(
    ("predicted", "said"),
    [
        (torch.zeros(0), "expected one step or more, got none"),
        (torch.tensor([torch.nan]), r"expected predicted of probabilities in 0\.\.1"),
        (torch.tensor([1.5]), r"expected predicted of probabilities in 0\.\.1"),
    ],
)
def test_what_cannot_be_drawn(predicted, said):
    with pytest.raises(ValueError, match=f"draw_predictions: {said}"):
        draw_predictions(torch.zeros_like(predicted), predicted, torch.full_like(predicted, 0.5))


def test_shapes_have_to_agree():
    with pytest.raises(ValueError, match=r"expected bits, predicted and optimal of one shape \(T,\), got \(3,\)"):
        draw_predictions(torch.zeros(3), torch.zeros(3, 1), torch.zeros(3))
