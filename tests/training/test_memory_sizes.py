"""Memories of several sizes in one training, and of another size to choose the checkpoint with."""

import pytest
import torch
import yaml

from tapehead.nn import NTM
from tapehead.training.evaluate import VALIDATION_STREAM, score_size
from tapehead.training.runs import Run
from tapehead.training.updates import Updates
from tests.training.test_best_model import validations
from tests.training.tiny import same, train, weights

SIZES = "--training.memory_sizes=[5,8,13]"
SOLVED_SIZES = "--training.solved_memory_sizes=[5,8,13]"
SELECT = "--training.select_memory_size=20"


def test_every_batch_draws_a_size_and_a_resumed_run_draws_the_same(tmp_path, monkeypatch):
    seen: list[int] = []
    original = NTM.forward

    def forward(self, input, state=None, lengths=None):
        if torch.is_grad_enabled():
            seen.append(8 if state is None else state.memory.shape[1])
        return original(self, input, state, lengths)

    monkeypatch.setattr(NTM, "forward", forward)
    assert train(tmp_path / "whole", SIZES) == 0
    whole = list(seen)
    assert set(whole) == {5, 8, 13}
    seen.clear()
    assert train(tmp_path / "parts", SIZES, "--training.sequences=16") == 0
    from tapehead.cli import main

    assert main(["train", "--resume", str(tmp_path / "parts"), "--training.sequences=48"]) == 0
    assert seen == whole
    assert same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


def test_without_sizes_the_models_own_is_taken(tmp_path, monkeypatch):
    seen = set()
    original = NTM.forward

    def forward(self, *arguments):
        seen.add(arguments[1])
        return original(self, *arguments)

    monkeypatch.setattr(NTM, "forward", forward)
    assert train(tmp_path / "run") == 0
    assert seen == {None}


@pytest.mark.parametrize(("before", "after"), [("[]", "[5,13]"), ("[5]", "[13]"), ("[5,13]", "[]"), ("[5]", "null")])
def test_other_sizes_once_solved(tmp_path, monkeypatch, before, after):
    seen: list[int] = []
    original = Updates.draw

    def draw(self):
        batch, memory_size = original(self)
        seen.append(memory_size or 8)
        return batch, memory_size

    monkeypatch.setattr(Updates, "draw", draw)
    sizes = [f"--training.memory_sizes={before}", f"--training.solved_memory_sizes={after}"]
    solved = ["--training.solved_below=1000", "--training.stop_when_solved=false"]
    assert train(tmp_path / "run", *sizes, *solved, "--training.sequences=96") == 0
    updates = Run.open(tmp_path / "run").summary()["solved_at_sequences"] // 2
    wanted = [set(yaml.safe_load(text) or [8]) for text in (before, before if after == "null" else after)]
    assert [set(seen[:updates]), set(seen[updates:])] == wanted


def test_a_tied_memory_goes_on_alone_once_solved_and_says_so(tmp_path, capsys):
    solved = ["--training.solved_below=1000", "--training.stop_when_solved=false", "--model.initial.memory=learned"]
    assert train(tmp_path / "run", SOLVED_SIZES, *solved) == 0
    said = capsys.readouterr().err
    assert "with the model's own memory alone, to which initial.memory='learned' ties it" in said
    assert train(tmp_path / "plain", "--training.solved_memory_sizes=[]", *solved) == 0
    assert "ties it" not in capsys.readouterr().err
    assert same(weights(tmp_path / "run"), weights(tmp_path / "plain"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model.initial.memory=learned"], "--training.memory_sizes: NTMCell"),
        ([], "--training.memory_sizes: LSTM has no memory"),
    ],
    ids=["tied", "without a memory"],
)
def test_a_model_that_cannot_have_them_is_refused_and_nothing_left(tmp_path, capsys, options, said):
    model = "ntm" if options else "lstm"
    given = {"memory_sizes": SIZES, "solved_memory_sizes": SOLVED_SIZES, "select_memory_size": SELECT}
    for name, option in given.items():
        if options and name == "solved_memory_sizes":  # which recipes ask for, and not every model can have
            continue
        assert train(tmp_path / "run", option, *options, model=model) == 2
        assert said.replace("memory_sizes", name) in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


def test_the_checkpoint_is_chosen_with_a_memory_of_its_own_size(tmp_path):
    options = ["--training.select_at=[6]", "--training.select_sequences=3", "--training.solved_below=1000"]
    options += ["--training.stop_when_solved=false", "--training.keep_last=100", "--training.select_memory_size=20"]
    assert train(tmp_path / "run", *options) == 0
    run = Run.open(tmp_path / "run")
    paths = sorted(run.checkpoints.glob("sequences-*"))
    for path, row in zip(paths, validations(tmp_path / "run"), strict=True):
        model, size = run.load_model(path), {"length": 6}
        longer = score_size(model, run.config().task, size, 3, VALIDATION_STREAM, 0, memory_size=20).bits
        assert row["selection"] == pytest.approx(row["validation_bits"] + longer, rel=1e-5)
