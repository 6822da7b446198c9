"""`tapehead study --together`: the same study, the seeds of a recipe in one process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal

import pytest
import torch

from tapehead.cli import main
from tapehead.files import lock_folder
from tapehead.studies import one_process
from tapehead.studies.folder import StudyFolder
from tapehead.studies.worker import Order
from tapehead.training.runs import Run
from tests.studies.conftest import patched
from tests.studies.tiny_study import KILLED, LONG, SCORED, has_checkpoint, process_of, study, when
from tests.training.tiny import weights


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a study whose runs were trained together to their ends, and what was printed."""
    folder = tmp_path_factory.mktemp("together") / "study"
    with pytest.MonkeyPatch.context() as monkeypatch, contextlib.redirect_stdout(io.StringIO()) as said:
        patched(monkeypatch)
        assert study(folder, "--models", "ntm", "--seeds", "2", "--together", "--workers", "1", *SCORED) == 0
    return folder, said.getvalue()


def test_a_study_is_the_same_together(finished, trained):
    folder, said = trained
    assert all(f"ntm-seed{seed}  not solved" in said for seed in (0, 1))
    assert "$ tapehead train" not in (folder / "logs" / "ntm-together.log").read_text()
    left = {path.name for path in finished.iterdir() if not path.name.startswith("lstm")}
    assert {path.name for path in folder.iterdir()} == left
    there, here = (json.loads((path / "results.json").read_text())["runs"] for path in (finished, folder))
    for expected, run in zip(there[:2], here, strict=True):
        assert (run["name"], run["state"]) == (expected["name"], "done")
        assert run["scores"].keys() == expected["scores"].keys()
        alone, own = weights(finished / run["name"]), weights(folder / run["name"])
        assert all(torch.allclose(own[name], alone[name], rtol=0, atol=1e-5) for name in alone)
        facts = json.loads((folder / run["name"] / "environment.json").read_text())
        assert facts["command"][:3] == ["tapehead", "train", "copy"]
        assert facts["together"] == 2
        log = (folder / "logs" / f"{run['name']}.log").read_text()
        assert re.findall(r"^\$ tapehead (\w+)", log, re.MULTILINE) == ["train", "evaluate"]


def test_what_cannot_be_trained_together_is_trained_all_the_same(tmp_path, in_process, capsys):
    words = ["--models", "lstm", "--seeds", "1", "--workers", "1", "--no-evaluation"]
    assert study(tmp_path / "study", *words, "--together") == 0
    assert "lstm: trained one by one: LSTM layers are of torch" in capsys.readouterr().out
    assert [words[:2] for words in in_process] == [["train", "copy"]]


def test_ctrl_c_saves_all_and_the_command_it_names_goes_on(tmp_path, capsys, from_now_on):
    folder = tmp_path / "study"
    words = ["--models", "ntm", "--seeds", "2", "--together", "--no-evaluation", *LONG]
    stopper = when(lambda: has_checkpoint(folder / "ntm-seed1"), lambda: os.kill(os.getpid(), signal.SIGINT))
    assert study(folder, *words) == 130
    stopper.join()
    for seed in range(2):
        assert "Stopped and saved" in (folder / "logs" / f"ntm-seed{seed}.log").read_text()
        assert json.loads((folder / "logs" / f"ntm-seed{seed}.json").read_text())["state"] == "stopped"
    again = shlex.split(re.search(r"Go on with: tapehead (.*)", capsys.readouterr().err)[1])
    assert "--together" in again
    from_now_on()
    assert main(again) == 0
    assert [Run.open(folder / f"ntm-seed{seed}").summary()["sequences"] for seed in range(2)] == [700, 700]


def test_a_killed_process_is_told_and_repeating_the_command_goes_on(tmp_path, capsys, from_now_on):
    folder = tmp_path / "study"
    words = ["--models", "ntm", "--seeds", "2", "--together", "--no-evaluation", *KILLED]

    def process():
        return process_of((folder / "logs" / "ntm-together.json").resolve(), "--train-orders")

    killer = when(lambda: has_checkpoint(folder / "ntm-seed1"), lambda: os.kill(process(), signal.SIGKILL))
    assert study(folder, *words) == 1
    killer.join()
    said = capsys.readouterr().out
    assert all(f"ntm-seed{seed}  died: killed by SIGKILL" in said for seed in range(2))
    from_now_on()
    assert study(folder, *words) == 0
    assert "--resume" in (folder / "logs" / "ntm-seed0.log").read_text()
    assert [Run.open(folder / f"ntm-seed{seed}").summary()["sequences"] for seed in range(2)] == [400, 400]


def order(folder, seed):
    return Order(str(folder.resolve()), "copy", f"ntm-seed{seed}", "ntm", "ntm", seed, 1, True, None)


class GoOn:
    """A `Stop` that nobody asks for."""

    def level(self) -> int:
        return 0


COUNTING = "import json, sys; print(len(json.load(open(sys.argv[-1]))), sum(map(len, sys.argv[1:])))"


def test_a_command_is_short_however_many_runs_it_trains(tmp_path):
    folder = tmp_path / ("study" * 50)
    (folder / "logs").mkdir(parents=True)
    orders = [order(folder, seed)._replace(program=("-c", COUNTING)) for seed in range(300)]
    assert len(json.dumps(orders)) > 128 * 1024  # the longest word of a command that Linux takes
    found = list(one_process.perform_together(orders, workers=1, threads=1, stop=GoOn()))
    assert [one for one, _ in found] == orders
    assert {record["state"] for _, record in found} == {"died"}  # the program only counts them
    count, length = map(int, (folder / "logs" / "ntm-together.log").read_text().split())
    assert count == 300
    assert length < 1000
    told = json.loads((folder / "logs" / "ntm-together.json").read_text())
    assert [Order(*fields)._replace(program=("-c", COUNTING)) for fields in told] == orders


def test_a_damaged_run_dies_and_the_others_go_on(trained, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "study")
    for seed in range(2):
        (folder / f"ntm-seed{seed}" / "summary.json").unlink()
    for checkpoint in (folder / "ntm-seed0" / "checkpoints").iterdir():
        checkpoint.write_bytes(b"half")
    orders = tmp_path / "orders.json"
    orders.write_text(json.dumps([order(folder, seed) for seed in range(2)]))
    assert one_process.train_orders(orders) == 1
    record = json.loads((StudyFolder(folder).logs / "ntm-seed0.json").read_text())
    assert record["state"] == "died"
    assert "damaged" in record["message"]
    assert "damaged" in (folder / "logs" / "ntm-seed0.log").read_text()
    assert Run.open(folder / "ntm-seed1").summary()["sequences"] == 48


@pytest.mark.parametrize("words", [["--backend", "ray"], ["--backend", "ray", "--address", "local"]])
def test_only_on_this_machine(tmp_path, capsys, words):
    assert study(tmp_path / "study", "--together", *words) == 2
    assert "--together: expected only with --backend joblib" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_a_run_that_another_process_trains_dies_and_the_others_go_on(trained, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "study")
    for seed in range(2):
        (folder / f"ntm-seed{seed}" / "checkpoints" / "sequences-0000000048.ckpt").unlink()
        (folder / f"ntm-seed{seed}" / "summary.json").unlink()
    other = lock_folder(folder / "ntm-seed0")
    orders = tmp_path / "orders.json"
    orders.write_text(json.dumps([order(folder, seed) for seed in range(2)]))
    assert one_process.train_orders(orders) == 1
    os.close(other)
    record = json.loads((StudyFolder(folder).logs / "ntm-seed0.json").read_text())
    assert record["state"] == "died"
    assert "another `tapehead train` is at work in it" in record["message"]
    assert "another `tapehead train`" in (folder / "logs" / "ntm-seed0.log").read_text()
    assert Run.open(folder / "ntm-seed1").summary()["sequences"] == 48
