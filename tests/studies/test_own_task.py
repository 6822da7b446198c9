"""A study of a task that a user's own file names."""

from __future__ import annotations

import json
import runpy
import sys

import lightning.pytorch  # noqa: F401  (it logs to the standard error of its import, which a test may have taken)
import pytest

from tapehead.tasks import TASKS, Copy

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


def test_every_run_is_started_by_that_file(tmp_path, monkeypatch, capsys):
    """The file is run as `python mine.py` does; the runs are in a process that it starts."""
    (tmp_path / "mine.py").write_text(PROGRAM)
    options = ["--task.bits=2", "--task.max_length=2", "--model.hidden_size=8", "--trainer.accelerator=cpu"]
    options += ["--training.sequences=8", "--training.validate_every=8", "--training.validation_sequences=2"]
    words = ["study", "again", "--models", "ntm", "--seeds=2", "--no-evaluation", "--together"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "mine.py"), *words, "--out=study", *options])
    with monkeypatch.context() as changed:
        changed.setitem(TASKS, "again", Copy)  # until the file puts its own there
        with pytest.raises(SystemExit) as ended:
            runpy.run_path("mine.py", run_name="__main__")
    said = capsys.readouterr()
    assert ended.value.code == 0, said.err + said.out
    assert "one by one" not in said.out
    for seed in range(2):
        run = tmp_path / "study" / f"ntm-seed{seed}"
        summary = json.loads((run / "summary.json").read_text())
        assert (summary["task"], summary["sequences"]) == ("again", 8)
        environment = json.loads((run / "environment.json").read_text())
        assert environment["together"] == 2
        assert environment["command"][:4] == ["python", str(tmp_path / "mine.py"), "train", "again"]
