"""An episode of Omniglot: every drawing in its order, what it was called, and what it is."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from tapehead.plots.style import COLOURS, QUIET, new_figure, styled

__all__ = ["draw_episode"]

COLUMNS = 10
RIGHT, WRONG = COLOURS[2], COLOURS[1]


@styled
def draw_episode(
    drawings: Tensor,
    labels: Sequence[str],
    answers: Sequence[str],
    instances: Tensor,
    *,
    title: str | None = None,
) -> Figure:
    """The drawings of one episode in rows, framed by whether the answer was right.

    Under each stands the answer, and where it is wrong what it should have been; in its corner, the how-manieth of its
    class it is.

    Args:
        drawings: ink is 1
        labels: of each
        answers: to each
        instances: from 1
        title: of the picture

    Shape:
        drawings: (T, height, width)
        instances: (T,)

    Raises:
        ValueError: not as many labels, answers or instances as drawings.
    """
    steps = len(drawings)
    if not steps == len(labels) == len(answers) == len(instances):
        raise ValueError(
            f"draw_episode: expected as many labels, answers and instances as drawings, got {steps} drawings, "
            f"{len(labels)}, {len(answers)} and {len(instances)}."
        )
    images = drawings.detach().double().cpu().numpy()
    rows = -(-steps // COLUMNS)
    figure = new_figure(0.95 * rows + 0.75, title)
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for step, axes in enumerate(grid.flat):
        axes.set(xticks=[], yticks=[])
        if step >= steps:
            axes.axis("off")
            continue
        right = labels[step] == answers[step]
        axes.imshow(images[step], cmap="gray_r", vmin=0, vmax=1)
        axes.spines[:].set(visible=True, color=RIGHT if right else WRONG, linewidth=1.6 if right else 2.4)
        axes.text(0.03, 0.97, str(int(instances[step])), transform=axes.transAxes, va="top", fontsize=6.5, color=QUIET)
        answer = answers[step] if right else f"{answers[step]}, is {labels[step]}"
        axes.set_xlabel(answer, labelpad=2, fontsize=8 if len(answer) < 9 else 6, color=RIGHT if right else WRONG)
    wrong = sum(label != answer for label, answer in zip(labels, answers, strict=True))
    first = sum(
        label != answer and int(instance) == 1
        for label, answer, instance in zip(labels, answers, instances, strict=True)
    )
    figure.supxlabel(
        f"Under a drawing the answer, in its corner which drawing of its class it is. Wrong: {wrong} of {steps}, "
        f"{first} at first sight.",
        fontsize=8,
    )
    return figure
