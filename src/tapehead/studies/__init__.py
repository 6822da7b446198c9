"""Many runs: seeds x models, side by side on this machine or over a cluster, that end with one table and one picture.

Nothing here trains. A run is started as a process of `tapehead train`, and known by its folder.
"""

from tapehead.studies.plan import Evaluation, Plan, make_plan
from tapehead.studies.study import run_study

__all__ = ["Evaluation", "Plan", "make_plan", "run_study"]
