"""`tapehead export`, and `evaluate` and `plot` of what it wrote and of the package's models."""

from __future__ import annotations

import json
import shlex
import shutil
import sys

import pytest
import torch

import tapehead
from tapehead import pretrained
from tapehead.cli import main
from tapehead.training.runs import Run
from tapehead.training.trained_models import open_model
from tests.training.tiny import same, train


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three runs and what was exported of them."""
    folder = tmp_path_factory.mktemp("made")
    learned = ["--model.initial.memory=learned", "--model.controller=feedforward", "--training.select_memory_size=null"]
    for name, words, options in [
        ("ntm", [], {}),
        ("learned", learned, {"task": "repeat_copy"}),
        ("lstm", ["--trainer.precision=64-true"], {"model": "lstm", "task": "associative_recall"}),
    ]:
        assert train(folder / name, "--seed=7", *words, **options) == 0
        assert main(["export", str(folder / name), str(folder / f"{name}-model")]) == 0
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["ntm", "learned", "lstm"])
def test_the_same_logits_to_the_bit(made, name):
    run = Run.open(made / name)
    trained, found = run.load_model(), tapehead.from_pretrained(made / f"{name}-model")
    assert same(found.state_dict(), trained.state_dict())
    batch = run.config().task.sample(5, torch.Generator().manual_seed(0))
    input = batch.input.to(found.readout.weight.dtype)
    with torch.no_grad():
        assert torch.equal(found(input)[0], trained(input)[0])
    opened = open_model(str(made / f"{name}-model"))
    assert opened.task == run.config().task
    assert (opened.task_name, opened.model_name, opened.seed) == (run.config().task_name, run.config().model_name, 7)


def test_it_says_where_it_comes_from(made):
    config = pretrained.read_config(made / "ntm-model")
    assert config["task"] == {
        "name": "copy",
        "options": {"bits": 2, "min_length": 1, "max_length": 3, "mixed_lengths": False, "density": "even"},
    }
    provenance = config["provenance"]
    assert provenance["seed"] == 7
    assert provenance["sequences"] in (16, 32, 48)
    assert provenance["packages"]["torch"] == torch.__version__
    assert provenance["score"]["lengths"]["3"].keys() >= {"bit_errors", "bits", "perfect"}


def test_the_command_is_told_without_where_the_run_went(made, tmp_path):
    run = shutil.copytree(made / "ntm", tmp_path / "run")
    for number, out in enumerate((["--out", "/home/me/run"], ["--out=/home/me/run"])):
        data = json.loads((run / "environment.json").read_text())
        data["command"] = ["tapehead", "train", "copy", *out, "--seed", "7", "--task.bits", "a b"]
        (run / "environment.json").write_text(json.dumps(data))
        assert main(["export", str(run), str(number)]) == 0
        command = pretrained.read_config(str(number))["provenance"]["command"]
        assert command == "tapehead train copy --seed 7 --task.bits 'a b'"
    (run / "environment.json").unlink()
    assert main(["export", str(run), "none"]) == 0
    assert pretrained.read_config("none")["provenance"]["commit"] is None


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["--config", "/tmp/study/configurations/ntm.yaml", "--seed=3"], ["--seed=3"]),
        (["--conf=mine.yml", "--recipe", "mine.yaml", "--recipe=../mine"], []),
        (
            ["--recipe", "copy/ntm-large-batch", "--model", "ntm"],
            ["--recipe", "copy/ntm-large-batch", "--model", "ntm"],
        ),
        (["--ou", "here", "--trainer.default_root", "runs", "--trainer.devices", "1"], ["--trainer.devices", "1"]),
        (["--model.initial", r"C:\\me", "--trainer.max_steps", "-1"], ["--trainer.max_steps", "-1"]),
        (['--trainer.logger={"save_dir": "~/logs"}', "--task.bits", "2"], ["--task.bits", "2"]),
    ],
)
def test_the_command_names_no_file_of_the_users(made, tmp_path, words, kept):
    run = shutil.copytree(made / "ntm", tmp_path / "run")
    data = json.loads((run / "environment.json").read_text())
    data["command"] = ["python", "/home/me/mine.py", "train", "copy", *words]
    (run / "environment.json").write_text(json.dumps(data))
    assert main(["export", str(run), "out"]) == 0
    command = pretrained.read_config("out")["provenance"]["command"]
    assert shlex.split(command) == ["python", "mine.py", "train", "copy", *kept]


def test_another_checkpoint(made):
    run = Run.open(made / "ntm")
    last = run.last_checkpoint()
    for number, name in enumerate((last.name, str(last))):
        assert main(["export", str(run.path), str(number), "--checkpoint", name]) == 0
        assert same(tapehead.from_pretrained(f"./{number}").state_dict(), run.load_model(last).state_dict())
        assert pretrained.read_config(str(number))["provenance"]["sequences"] == 48


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["none", "new"], 1, "no such run"),
        (["RUN", "there"], 1, "expected a new folder, got one that exists"),
        (["RUN", "new", "--checkpoint", "none.ckpt"], 1, "got none.ckpt. There are: best.ckpt, sequences-"),
        (["MODEL", "new"], 1, "it has no config.yaml"),
    ],
)
def test_what_cannot_be_exported_gets_a_sentence(made, elsewhere, capsys, words, status, said):
    (elsewhere / "there").mkdir()
    words = [{"RUN": str(made / "ntm"), "MODEL": str(made / "ntm-model")}.get(word, word) for word in words]
    assert main(["export", *words]) == status
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in elsewhere.iterdir()) == ["there"]


def test_without_safetensors_the_extra_is_named(made, capsys, monkeypatch):
    for name in ("safetensors", "safetensors.torch"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["export", str(made / "ntm"), "new"]) == 1
    error = capsys.readouterr().err
    assert "safetensors" in error
    assert "pip install" in error
    assert main(["evaluate", "copy-ntm"]) == 1


def test_evaluate_a_name_a_folder_and_a_run(made, elsewhere, capsys):
    shutil.copytree(made / "ntm-model", elsewhere / "mine")
    words = ["--lengths", "2", "--sequences", "5"]
    assert main(["evaluate", "copy_ntm", "mine", str(made / "ntm"), *words]) == 0
    out = capsys.readouterr().out
    assert "copy_ntm: ntm on copy, 5 sequences each, 128 slots" in out
    assert "mine: ntm on copy, 5 sequences each, 8 slots" in out
    assert "0.00" in out
    results = json.loads((made / "ntm" / "evaluation.json").read_text())
    assert results["lengths"].keys() == {"2"}
    # Nothing is written but into runs.
    assert sorted(path.name for path in elsewhere.rglob("*")) == ["config.json", "mine", "model.safetensors"]
    assert not (pretrained.locate("copy-ntm") / "evaluation.json").exists()


def test_a_larger_memory_where_the_model_takes_one(made, capsys):
    assert main(["evaluate", "copy-ntm", "--lengths", "2", "--sequences", "2", "--memory-size", "256"]) == 0
    assert "256 slots" in capsys.readouterr().out
    assert main(["evaluate", str(made / "learned-model"), "--memory-size", "256"]) == 2
    assert "initial.memory='learned'" in capsys.readouterr().err


def test_plot_a_name_a_folder_and_a_run(made, elsewhere, capsys, unrendered):
    shutil.copytree(made / "lstm-model", elsewhere / "mine")
    assert main(["plot", "copy-ntm", "--length", "3"]) == 0
    assert capsys.readouterr().out.splitlines() == ["copy-ntm-plots/answer_3.png", "copy-ntm-plots/internals_3.png"]
    run = made / "lstm"
    assert main(["plot", "./mine", str(run), "--length", "3"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{run}/plots/learning_curves.png",
        "mine-plots/answer_3.png",
        f"{run}/plots/answer_3.png",
    ]
    assert main(["plot", "./mine", "--length", "3", "--out", "here"]) == 0
    assert capsys.readouterr().out.splitlines() == ["here/answer_3.png"]
    assert sorted(path.name for path in pretrained.locate("copy-ntm").iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("command", ["evaluate", "plot"])
def test_what_is_neither_lists_the_models_there_are(command, capsys):
    assert main([command, "copy-gru"]) == 1
    error = capsys.readouterr().err
    assert "copy-gru: no such run" in error
    assert "there are: " in error
    assert "copy-ntm" in error


@pytest.mark.parametrize("command", ["evaluate", "plot"])
@pytest.mark.parametrize(
    ("task", "said"),
    [
        (None, "expected a task to draw sequences from, got none"),
        ({"name": "chess", "options": {}}, "expected a task of copy, "),
        ({"name": "chess", "options": {}}, "If it is a task of your own, call its file"),
        ({"name": "copy", "options": {"colour": 1}}, "expected task.options of bits, "),
        ({"name": "copy", "options": {"bits": 0}}, "expected bits >= 1, got 0"),
        ({"name": "copy", "options": {"bits": "eight"}}, "expected task.options that fit"),
        ({"name": "copy", "options": {"bits": 3}}, "expected a model of input and target size 4 and 3"),
    ],
)
def test_a_task_that_does_not_fit(command, task, said, capsys):
    tapehead.SequenceModel(tapehead.LSTM(3, 4), 2).save_pretrained("mine", task=task)
    assert main([command, "mine"]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "mine/config.json" in error
    assert "Traceback" not in error


def test_a_checkpoint_by_its_name_and_none_of_another_run(made, tmp_path, capsys):
    run = Run.open(made / "ntm")
    assert main(["export", str(run.path), "named", "--checkpoint", "best"]) == 0
    assert same(tapehead.from_pretrained("named").state_dict(), run.load_model().state_dict())
    other = shutil.copytree(run.path, tmp_path / "other")
    capsys.readouterr()
    assert main(["export", str(run.path), "mixed", "--checkpoint", str(other / "checkpoints" / "best.ckpt")]) == 1
    assert f"is of another run. Name that one instead: {other}" in capsys.readouterr().err
    assert not (tmp_path / "mixed").exists()
    (tmp_path / "link").symlink_to(run.path)
    assert main(["export", "link", "linked", "--checkpoint", str(run.checkpoints / "best.ckpt")]) == 0
    shutil.copy(run.checkpoints / "best.ckpt", tmp_path / "copied.ckpt")
    assert main(["export", str(run.path), "copied", "--checkpoint", "copied.ckpt"]) == 0
