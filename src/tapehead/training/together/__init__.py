"""Several runs trained in one process: what their models compute is one call of the kernels for all of them.

`runs` is the way in, with the files that `tapehead train` makes of each run alone. Every run is an ordinary training in
a thread of its own; the threads take turns (`turns`) and meet where their models compute. There an `Ensemble`
(`ensemble`) answers all of them at once, from parameters that lie in one tensor for all (`stack`), and steps their
optimisers at once (`joint_steps`).
"""

from tapehead.training.together.runs import train_together, why_not_together

__all__ = ["train_together", "why_not_together"]
