"""What is shown of a study while it runs."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from tapehead.studies.progress import StudyProgress
from tapehead.studies.worker import Order
from tapehead.training.lightning.progress_file import ProgressFile
from tests.training.tiny import train


@pytest.fixture
def orders(tmp_path):
    (tmp_path / "logs").mkdir()
    return [Order(str(tmp_path), "copy", f"ntm-seed{seed}", "ntm", "ntm", seed, 1, True, None) for seed in range(6)]


def put(path, data):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data))


def shown(progress, console):
    with console.capture() as capture:
        console.print(progress.render())
    return capture.get().splitlines()


def test_every_run_has_a_line_that_says_where_it_is(orders):
    console = Console(file=io.StringIO(), width=110, height=40, force_terminal=True, color_system=None)
    put(orders[0].folder / "summary.json", {"solved_at_sequences": 5040, "solved_at_seconds": 4.79, "sequences": 6048})
    for order in orders[1:4]:
        put(order.record, {"state": "running"})
    state = {"sequences": 1200, "total": 4000, "sequences_per_second": 830.2, "errors": 12.345}
    put(orders[1].folder / "progress.json", state)
    put(orders[2].folder / "summary.json", {"solved_at_sequences": None, "bit_errors": 3.5, "sequences": 4000})
    progress = StudyProgress(orders, {orders[0].name}, console)
    progress.ended(orders[4], {"state": "died", "message": "killed by SIGKILL: out"})
    lines = shown(progress, console)
    assert "solved after 5,040 sequences, 4.8 s" in lines[0]
    assert all(said in lines[1] for said in ("1,200 / 4,000", "12.35 wrong bits", "830 sequences/s"))
    assert "evaluating; not solved, 3.50 wrong bits" in lines[2]
    assert "starting" in lines[3]
    assert "died: killed by SIGKILL: out" in lines[4]
    assert "waiting" in lines[5]
    assert lines[6].startswith("1 of 6 runs done, 1 died, 0:0")
    assert "not shown" not in lines[6]
    done, training, waiting = (lines[index].count("\N{BOX DRAWINGS HEAVY HORIZONTAL}") for index in (0, 1, 5))
    assert 0 == waiting < training < done / 2


def test_a_run_that_has_told_nothing_yet(orders):
    console = Console(file=io.StringIO(), width=80, height=20, force_terminal=True, color_system=None)
    put(orders[0].record, {"state": "running"})
    put(orders[0].folder / "progress.json", {"sequences": 0, "total": 4000, "sequences_per_second": None})
    line = shown(StudyProgress(orders, set(), console), console)[0]
    assert line.split() == ["ntm-seed0", "0", "/", "4,000", "training"]


def test_a_small_terminal_shows_the_runs_at_work(orders):
    console = Console(file=io.StringIO(), width=80, height=6, force_terminal=True, color_system=None)
    put(orders[4].record, {"state": "running"})
    progress = StudyProgress(orders, {order.name for order in orders[:3]}, console)
    lines = shown(progress, console)
    assert [line.split()[0] for line in lines[:-1]] == ["ntm-seed3", "ntm-seed4", "ntm-seed5"]
    assert "3 not shown" in lines[-1]


def test_half_written_files_do_not_matter(orders):
    console = Console(file=io.StringIO(), width=80, height=20, force_terminal=True, color_system=None)
    put(orders[0].record, {"state": "running"})
    put(orders[0].folder / "progress.json", {})
    (orders[0].folder / "progress.json").write_text('{"sequ')
    assert "starting" in shown(StudyProgress(orders, set(), console), console)[0]


def test_a_run_keeps_its_progress_beside_it_while_it_trains(tmp_path, monkeypatch):
    seen = []
    write = ProgressFile._write

    def watched(self, module):
        self.seconds = 0.0
        write(self, module)
        seen.append(json.loads((tmp_path / "run" / "progress.json").read_text()))

    monkeypatch.setattr(ProgressFile, "_write", watched)
    assert train(tmp_path / "run") == 0
    assert [state["sequences"] for state in seen] == list(range(0, 50, 2))
    assert seen[-1]["total"] == 48
    assert seen[-1]["sequences_per_second"] > 0
    assert 0 <= seen[-1]["errors"] < 10
    assert not (tmp_path / "run" / "progress.json").exists()
