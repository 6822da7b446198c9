"""Pictures of runs: functions that take data and return a matplotlib `Figure`, or the bytes of a GIF. They never see a
model.

Only matplotlib's object-oriented interface is used, so nothing here touches what pyplot has open.
"""

from tapehead.plots.animation import animate_memory
from tapehead.plots.answer import draw_answer
from tapehead.plots.curves import RunCurves, draw_curves
from tapehead.plots.episode import draw_episode
from tapehead.plots.instances import draw_instances, instance_series
from tapehead.plots.internals import draw_internals
from tapehead.plots.metrics import Series, mean_and_deviation, read_metrics
from tapehead.plots.predictions import draw_predictions
from tapehead.plots.study import draw_study
from tapehead.plots.style import png

__all__ = [
    "RunCurves",
    "Series",
    "animate_memory",
    "draw_answer",
    "draw_curves",
    "draw_episode",
    "draw_instances",
    "draw_internals",
    "draw_predictions",
    "draw_study",
    "instance_series",
    "mean_and_deviation",
    "png",
    "read_metrics",
]
