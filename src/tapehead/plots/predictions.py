"""What a model predicts bit by bit, beside the best that anybody could: figure 14 of the NTM paper."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from tapehead.plots.style import COLOURS, INK, QUIET, legend_below, new_figure, styled

__all__ = ["draw_predictions"]

STEPS_A_PANEL = 100


@styled
def draw_predictions(bits: Tensor, predicted: Tensor, optimal: Tensor, *, title: str | None = None) -> Figure:
    """The probability of a 1 at every step of one sequence: the model's, the optimum's, and the bit that came.

    The last panel has the bits that each has paid so far, one above the other where the model loses them.

    Args:
        bits: 0 or 1
        predicted: probabilities of the model
        optimal: probabilities of the best possible predictor
        title: of the picture

    Shape:
        bits, predicted, optimal: (T,)

    Raises:
        ValueError: the shapes differ, there is no step, or a probability is not in 0..1.

    >>> import torch
    >>> bits, even = torch.tensor([1.0, 0.0, 1.0, 1.0]), torch.full((4,), 0.5)
    >>> figure = draw_predictions(bits, predicted=even, optimal=torch.tensor([0.5, 0.5, 0.5, 0.75]))
    >>> figure.axes[-1].get_title(loc="left")
    'Bits paid so far: in the end 4.0, the optimum 3.4'
    """
    came, said, best = (part.detach().double().cpu().numpy() for part in (bits, predicted, optimal))
    if not came.shape == said.shape == best.shape or came.ndim != 1:
        raise ValueError(
            f"draw_predictions: expected bits, predicted and optimal of one shape (T,), got {tuple(bits.shape)}, "
            f"{tuple(predicted.shape)} and {tuple(optimal.shape)}."
        )
    steps = len(came)
    if not steps:
        raise ValueError("draw_predictions: expected one step or more, got none.")
    for name, chances in (("predicted", said), ("optimal", best)):
        if not ((chances >= 0) & (chances <= 1)).all():
            raise ValueError(f"draw_predictions: expected {name} of probabilities in 0..1, got others.")
    panels = -(-steps // STEPS_A_PANEL)
    figure = new_figure(1.5 * panels + 2.6, title)
    *rows, paid = figure.subplots(panels + 1, 1)
    for number, axes in enumerate(rows):
        time = np.arange(number * STEPS_A_PANEL, min(steps, (number + 1) * STEPS_A_PANEL))
        (optimum,) = axes.plot(time, best[time], color=QUIET, linewidth=1.8, drawstyle="steps-mid", label="optimum")
        (model,) = axes.plot(time, said[time], color=COLOURS[0], linewidth=1.1, drawstyle="steps-mid", label="model")
        dots = axes.scatter(time, came[time], s=9, color=INK, zorder=3, linewidth=0, label="bit", clip_on=False)
        axes.set(xlim=(time[0] - 0.5, time[0] + STEPS_A_PANEL - 0.5), ylim=(-0.02, 1.02), ylabel="P(1)")
    rows[0].set_title("Probability that the next bit is a 1")
    least = np.finfo(float).eps  # a model that is sure and wrong would pay infinitely much
    paid_for = (np.where(came > 0.5, chance, 1 - chance).clip(least, 1) for chance in (best, said))
    cost = [-np.log2(chance).cumsum() for chance in paid_for]
    paid.plot(cost[0], color=QUIET, linewidth=1.8)
    paid.plot(cost[1], color=COLOURS[0], linewidth=1.1)
    paid.fill_between(np.arange(steps), cost[0], cost[1], color=COLOURS[0], alpha=0.2, linewidth=0)
    paid.set_title(f"Bits paid so far: in the end {cost[1][-1]:.1f}, the optimum {cost[0][-1]:.1f}")
    paid.set(xlim=(-0.5, steps - 0.5), ylim=(0, None), xlabel="time (step)", ylabel="bits")
    paid.grid(True)
    legend_below(figure, [model, optimum, dots], 3)
    return figure
