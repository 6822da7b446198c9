"""A study of a task that a user's own file names."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tapehead.training.runs import Run

PROGRAM = """
import sys
from dataclasses import dataclass
from tapehead.cli import main
from tapehead.tasks import TASKS, Copy

@dataclass(frozen=True)
class Again(Copy):
    pass

TASKS["again"] = Again

if __name__ == "__main__":
    sys.exit(main())
"""


def test_every_run_is_started_by_that_file(tmp_path):
    (tmp_path / "mine.py").write_text(PROGRAM)
    options = ["--task.bits=2", "--task.max_length=2", "--model.hidden_size=8", "--trainer.accelerator=cpu"]
    options += ["--training.sequences=8", "--training.validate_every=8", "--training.validation_sequences=2"]
    words = ["study", "again", "--models", "ntm", "--seeds=2", "--no-evaluation", "--together"]
    child = subprocess.run(
        [sys.executable, str(tmp_path / "mine.py"), *words, "--out=study", *options],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert child.returncode == 0, child.stderr + child.stdout
    assert "one by one" not in child.stdout
    for seed in range(2):
        run = tmp_path / "study" / f"ntm-seed{seed}"
        assert Run.open(run).summary()["task"] == "again"
        environment = json.loads((run / "environment.json").read_text())
        assert environment["together"] == 2
        assert environment["command"][:4] == ["python", str(tmp_path / "mine.py"), "train", "again"]
