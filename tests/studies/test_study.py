"""`tapehead study`: what it leaves, how it goes on, and what it survives."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
from pathlib import Path

import pytest
import yaml

from tapehead.cli import _build_parser, main
from tapehead.studies import worker
from tapehead.studies.folder import StudyFolder
from tapehead.studies.making import make_plan
from tapehead.studies.study import _command
from tapehead.training.runs import Run
from tests.studies.tiny_study import (
    KILLED,
    LONG,
    SCORED,
    contents,
    has_checkpoint,
    process_of,
    signal_to,
    study,
    when,
)
from tests.training.tiny import same, weights

MODELS = ["--models", "ntm", "lstm"]


def test_tables_and_numbers_hold_every_run_and_its_scores(finished):
    results = json.loads((finished / "results.json").read_text())
    assert [run["name"] for run in results["runs"]] == ["ntm-seed0", "ntm-seed1", "lstm-seed0", "lstm-seed1"]
    table = (finished / "table.md").read_text()
    for run in results["runs"]:
        assert run["state"] == "done"
        assert run["summary"] == Run.open(finished / run["name"]).summary()
        config = Run.open(finished / run["name"]).config()
        assert (config.model_name, config.seed) == (run["recipe"], run["seed"])
        evaluation = json.loads((finished / run["name"] / "evaluation.json").read_text())
        assert run["scores"] == evaluation["lengths"]
        assert run["scores"].keys() == {"3", "5"}
        assert f"| {run['recipe']} | {run['seed']} | not solved |" in table
    assert [(model["name"], model["finished"]) for model in results["models"]] == [("ntm", 2), ("lstm", 2)]
    assert "at 3" in table


def test_a_run_of_a_study_is_the_run_of_tapehead_train(finished, tmp_path):
    configuration = str(finished / "configurations" / "ntm.yaml")
    assert main(["train", "copy", "--config", configuration, "--seed", "1", "--out", str(tmp_path / "run")]) == 0
    assert same(weights(tmp_path / "run"), weights(finished / "ntm-seed1"))


def test_a_finished_study_is_only_tabled_again(finished, tmp_path, in_process, capsys):
    folder = shutil.copytree(finished, tmp_path / "study")
    before = contents(folder)
    assert study(folder, *MODELS, "--seeds", "2", *SCORED, "--band") == 0
    assert in_process == []
    after = contents(folder)
    assert {name for name in before if before[name] != after[name]} == {"curves.png"}
    assert "Every model" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*MODELS, "--seeds", "2", *SCORED, "--training.sequences=60"], "training.sequences is 48 there, 60 asked for"),
        ([*MODELS, "--seeds", "1", *SCORED], "seeds: 0 to 1 there, 0 to 0 asked for"),
        (["--models", "ntm", "--seeds", "2", *SCORED], "models: lstm there, not asked for"),
        ([*MODELS, "--seeds", "2", "--lengths", "3", "--sequences", "2"], "evaluation.lengths is [3, 5] there"),
        ([*MODELS, "--seeds", "2", "--no-evaluation"], "evaluation is"),
    ],
)
def test_a_folder_of_another_configuration_is_refused_and_not_touched(finished, capsys, words, said):
    before = contents(finished)
    assert study(finished, *words) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "another configuration" in error
    assert contents(finished) == before


def test_a_folder_of_something_else_is_refused_and_not_touched(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("...")
    assert study(tmp_path / "mine") == 1
    assert "no study's folder" in capsys.readouterr().err
    assert contents(tmp_path).keys() == {"mine/thesis.tex"}
    (tmp_path / "file").write_text("")
    assert study(tmp_path / "file") == 1
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "study.yaml").write_text("models: [")
    assert study(tmp_path / "damaged") == 1
    assert "study.yaml: damaged" in capsys.readouterr().err


def test_further_seeds_and_models_extend_a_study(finished, tmp_path, in_process):
    folder = shutil.copytree(finished, tmp_path / "study")
    before = contents(folder)
    (tmp_path / "ntm-small.yaml").write_text("model:\n  memory_size: 4\n")
    recipe = str(tmp_path / "ntm-small.yaml")
    words = [*MODELS, recipe, "--seeds", "3", *SCORED, "--workers", "1"]
    assert study(folder, *words) == 0
    trained = [words[words.index("--out") + 1].rpartition("/")[2] for words in in_process if words[0] == "train"]
    assert trained == ["ntm-seed2", "lstm-seed2", "ntm-small-seed0", "ntm-small-seed1", "ntm-small-seed2"]
    assert Run.open(folder / "ntm-small-seed0").config().model.memory_size == 4
    after = contents(folder)
    assert all(after[name] == before[name] for name in before if "-seed0/" in name or "-seed1/" in name)
    assert yaml.safe_load((folder / "study.yaml").read_text())["seeds"] == 3


def test_a_study_without_scores_is_scored_later(tmp_path, in_process):
    words = ["--models", "ntm", "--seeds", "1", "--workers", "1"]
    assert study(tmp_path / "study", *words, "--no-evaluation") == 0
    assert study(tmp_path / "study", *words, *SCORED) == 0
    assert [words[0] for words in in_process] == ["train", "evaluate"]
    (run,) = json.loads((tmp_path / "study" / "results.json").read_text())["runs"]
    assert run["scores"].keys() == {"3", "5"}


def test_scores_follow_a_training_that_went_on(finished, tmp_path, in_process):
    folder = shutil.copytree(finished, tmp_path / "study")
    assert main(["train", "--resume", str(folder / "ntm-seed0"), "--training.sequences", "64"]) == 0
    assert study(folder, *MODELS, "--seeds", "2", *SCORED, "--workers", "1") == 0
    assert [words[0] for words in in_process] == ["evaluate"]
    assert "| ntm | 0 | not solved | - | - | 64 |" in (folder / "table.md").read_text()


def test_runs_are_ordinary_one_that_is_killed_is_told_and_repeating_tries_it_again(tmp_path, capsys, from_now_on):
    folder = tmp_path / "study"
    words = ["--models", "ntm", "--seeds", "2", "--first-seed", "3", *SCORED, *KILLED]
    killed = folder / "ntm-seed3"
    killer = when(lambda: has_checkpoint(killed), lambda: signal_to(killed, signal.SIGKILL))
    assert study(folder, *words) == 1
    killer.join()
    said = capsys.readouterr().out
    assert "ntm-seed3  died: killed by SIGKILL" in said
    assert "| ntm | 3 | died |" in (folder / "table.md").read_text()
    results = json.loads((folder / "results.json").read_text())
    assert [(model["finished"], model["died"]) for model in results["models"]] == [(1, 1)]
    others = ["configurations", "curves.png", "logs", "results.json", "study.yaml", "table.md"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(["ntm-seed3", "ntm-seed4", *others])
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")

    run = Run.open(folder / "ntm-seed4")
    assert "ntm-seed4  not solved" in said
    assert (run.config().model_name, run.config().seed) == ("ntm", 4)
    assert run.summary()["sequences"] == 400
    assert json.loads((run.path / "environment.json").read_text())["threads"] == 1
    assert json.loads((run.path / "evaluation.json").read_text())["lengths"].keys() == {"3", "5"}
    log = (folder / "logs" / "ntm-seed4.log").read_text()
    assert "$ tapehead train copy" in log
    assert "$ tapehead evaluate" in log

    other, commands = contents(run.path), from_now_on()
    assert study(folder, *words, "--workers", "1") == 0
    assert [words[0] for words in commands] == ["train", "evaluate"]
    assert contents(run.path) == other
    assert "$ tapehead train --resume" in (folder / "logs" / "ntm-seed3.log").read_text()
    configuration = str(folder / "configurations" / "ntm.yaml")
    assert main(["train", "copy", "--config", configuration, "--seed", "3", "--out", str(tmp_path / "whole")]) == 0
    assert same(weights(tmp_path / "whole"), weights(killed))


def test_a_run_that_fails_says_its_last_words_and_begins_anew(tmp_path, in_process, monkeypatch, capsys):
    folder = tmp_path / "study"
    words = ["--models", "ntm", "--seeds", "1", "--no-evaluation", "--workers", "1"]

    def fail(command, log, *_):
        run = folder / "ntm-seed0"
        run.mkdir()
        (run / "config.yaml").write_text("half")
        log.write_text("Traceback\nMemoryError: no room\n\n")
        return 1

    with monkeypatch.context() as failing:
        failing.setattr(worker, "run_process", fail)
        assert study(folder, *words) == 1
    assert "exit status 1: MemoryError: no room" in capsys.readouterr().out
    assert study(folder, *words) == 0
    assert in_process[0][:2] == ["train", "copy"]


def test_ctrl_c_saves_every_run_and_the_command_it_names_goes_on(tmp_path, capsys, from_now_on):
    folder = tmp_path / "study"
    words = ["--models", "ntm", "--seeds", "2", "--workers", "1", "--no-evaluation", *LONG]
    run, handler = folder / "ntm-seed0", signal.getsignal(signal.SIGINT)
    stopper = when(lambda: has_checkpoint(run), lambda: os.kill(os.getpid(), signal.SIGINT))
    assert study(folder, *words) == 130
    stopper.join()
    assert signal.getsignal(signal.SIGINT) is handler
    assert process_of(run) is None
    assert not (folder / "stop").exists()
    assert not (folder / "ntm-seed1").exists()
    assert "Stopped and saved" in (folder / "logs" / "ntm-seed0.log").read_text()
    assert json.loads((folder / "logs" / "ntm-seed0.json").read_text())["state"] == "stopped"
    command = re.search(r"Go on with: tapehead (.*)", capsys.readouterr().err)
    again, commands = shlex.split(command[1]), from_now_on()
    assert main(again) == 0
    assert [words[1] for words in commands] == ["--resume", "copy"]
    assert Run.open(run).summary()["sequences"] == 700
    assert (folder / "ntm-seed1" / "summary.json").is_file()


def test_the_command_that_goes_on_is_the_same_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("-wide.yaml").write_text("model:\n  hidden_size: 9\n")
    words = ["--models", "./-wide.yaml", "--seeds", "1", "--no-evaluation"]
    plan = make_plan("copy", ["-wide.yaml"], seeds=1, evaluate=False)
    command = _command(plan, StudyFolder("-mine"), None, 1, "joblib", None, together=False, band=True)
    assert command == shlex.join(["tapehead", "study", "copy", *words[:4], "--out", "./-mine", "--band", words[-1]])


def test_only_one_study_at_a_time_works_in_a_folder(finished, capsys):
    import fcntl

    handle = os.open(finished, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        before = contents(finished)
        assert study(finished, *MODELS, "--seeds", "2", *SCORED) == 1
    finally:
        os.close(handle)
    assert "is at work in it" in capsys.readouterr().err
    assert contents(finished) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["study"], "expected a task"),
        (["study", "sing"], "expected a task"),
        (["study", "copy", "--models", "gru"], "--models: expected recipes of copy (lstm, lstm-paper, ntm"),
        (["study", "copy", "--models", "ntm", "copy/ntm"], "named twice"),
        (["study", "copy", "--seeds", "0"], "--seeds: expected at least 1"),
        (["study", "copy", "--first-seed", "-1"], "--first-seed: expected at least 0"),
        (["study", "copy", "--workers", "0"], "--workers: expected at least 1"),
        (["study", "copy", "--threads", "0"], "--threads: expected at least 1"),
        (["study", "copy", "--sequences", "0"], "--sequences: expected at least 1"),
        (["study", "copy", "--lengths", "0"], "length"),
        (["study", "copy", "--repeats", "2"], "repeats"),
        (["study", "copy", "--address", "auto"], "--backend ray"),
        (["study", "copy", "--seed", "3"], "--seeds"),
        (["study", "copy", "--model=lstm"], "--models"),
        (["study", "copy", "--resume", "RUN"], "--out"),
        (["study", "copy", "--training.colour", "red"], "colour"),
        (["study", "copy", "--training.sequences", "-5"], "sequences"),
        (["study", "copy", "--model.memory_size", "0"], "memory_size"),
        (["study", "copy", "--models", "ntm", "lstm", "--model.memory_size", "9"], "memory_size"),
        (["study", "copy", "--trainer.devices", "none"], "devices"),
        (["study", "copy", "--models", "lstm", "--memory-size", "200"], "no memory to resize"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_is_refused_before_anything_is_there(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["evaluate"], ["plot"], ["train", "--resume"]])
def test_a_study_is_not_taken_for_a_run(finished, capsys, command):
    assert main([*command, str(finished)]) == 1
    said = capsys.readouterr().err
    assert f"{finished}: a study, not a run. Its runs are {finished}/lstm-seed0, {finished}/lstm-seed1" in said
    assert main(["train", "copy", "--out", str(finished)]) == 1
    assert "--resume" not in capsys.readouterr().err


def test_models_named_one_by_one_are_all_trained():
    arguments, _ = _build_parser().parse_known_args(["study", "copy", "--models", "ntm", "--models", "lstm"])
    assert arguments.models == ["ntm", "lstm"]
