"""Scores: what they count, and how `tapehead evaluate` reports them."""

from __future__ import annotations

import json
import math
import re

import pytest
import torch
from torch.nn import functional

from tapehead import NTM, SequenceModel
from tapehead.cli import main
from tapehead.tasks import Batch, Copy, RepeatCopy
from tapehead.training.evaluate import evaluate, score_size
from tapehead.training.metrics import Score, wrong_bits
from tests.training.tiny import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    assert train(folder / "ntm", "--training.sequences=16") == 0
    assert train(folder / "lstm", "--training.sequences=16", model="lstm") == 0
    assert train(folder / "repeat", "--training.sequences=16", task="repeat_copy") == 0
    assert train(folder / "recall", "--training.sequences=16", task="associative_recall") == 0
    assert train(folder / "ngrams", "--training.sequences=16", task="ngrams") == 0
    assert train(folder / "learned", "--training.sequences=16", "--model.initial.memory=learned") == 0
    return folder


def test_scores_count_only_the_steps_that_count():
    task = Copy(bits=3, max_length=4, mixed_lengths=True)
    batch = task.sample(6, torch.Generator().manual_seed(0))
    logits = torch.randn(*batch.target.shape, generator=torch.Generator().manual_seed(1))
    bits = wrong = perfect = wrong_steps = 0.0
    for row in range(6):
        wrong_here = 0
        for time in range(batch.input.shape[0]):
            before = wrong_here
            for bit in range(3):
                if batch.mask[time, row]:
                    target, logit = batch.target[time, row, bit].item(), logits[time, row, bit].item()
                    probability = 1 / (1 + math.exp(-logit))
                    bits -= math.log2(probability if target else 1 - probability)
                    wrong_here += (probability > 0.5) != bool(target)
            wrong_steps += wrong_here > before
        wrong += wrong_here
        perfect += wrong_here == 0
    score = Score.of(logits, batch, task)
    assert score == pytest.approx((wrong / 6, bits / 6, perfect / 6, bits / 6, wrong_steps / 6), rel=1e-5)
    assert wrong_bits(logits, batch).sum() == wrong
    assert task.loss(logits, batch).item() == pytest.approx(bits / 6 * math.log(2), rel=1e-5)


def test_the_loss_is_torchs_summed_over_the_steps_that_count():
    batch = Copy(bits=3).sample(4, torch.Generator().manual_seed(0), {"length": 5})
    logits = torch.randn(*batch.target.shape)
    expected = functional.binary_cross_entropy_with_logits(logits[6:], batch.target[6:], reduction="sum") / 4
    torch.testing.assert_close(Copy(bits=3).loss(logits, batch), expected)


def test_a_perfect_and_a_hopeless_answer():
    task = RepeatCopy(bits=2)
    batch = task.sample(5, torch.Generator().manual_seed(0), {"length": 2, "repeats": 3})
    right = (batch.target * 2 - 1) * 100
    assert Score.of(right, batch, task) == pytest.approx((0, 0, 1, 0, 0), abs=1e-6)
    assert Score.of(-right, batch, task).bit_errors == (2 * 3 + 1) * 3


def test_evaluation_draws_the_same_sequences_each_time():
    model, task = SequenceModel(NTM(3, 5, memory_size=8, word_size=4), 2), Copy(bits=2)
    sizes = [{"length": 2}, {"length": 9}]
    first = evaluate(model, task, sizes, sequences=13)
    assert evaluate(model, task, sizes, sequences=13) == first
    assert evaluate(model, task, sizes, sequences=13, seed=1) != first
    assert evaluate(model, task, sizes[1:], sequences=13)["lengths"]["9"] == first["lengths"]["9"]
    assert first["memory_size"] == 8
    assert score_size(model, task, sizes[0], 3, 1, memory_size=64) != score_size(model, task, sizes[0], 3, 1)


def test_a_score_of_several_batches_is_that_of_all_sequences(monkeypatch):
    monkeypatch.setattr("tapehead.training.evaluate.ROWS", 5)
    model, task, seen = SequenceModel(NTM(3, 5, memory_size=8, word_size=4), 2), Copy(bits=2), []
    score = score_size(model, task, {"length": 2}, 13, 1, observe=lambda *both: seen.append(both))
    assert [batch.input.shape[1] for _, batch in seen] == [5, 5, 3]
    logits = torch.cat([logits for logits, _ in seen], 1)
    batch = Batch(*(torch.cat(parts, 1) for parts in zip(*(batch[:3] for _, batch in seen), strict=True)), lengths=None)
    assert score == pytest.approx(Score.of(logits, batch, task), rel=1e-5)


def test_the_command_prints_a_table_and_writes_a_file(runs, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(runs / "ntm"), "--lengths", "2", "5", "--sequences", "7"]) == 0
    out = capsys.readouterr().out
    assert "wrong bits" in out
    assert "7 sequences each, 8 slots" in out
    data = json.loads((runs / "ntm" / "evaluation.json").read_text())
    assert data.keys() >= {"memory_size", "lengths"}
    assert data["memory_size"] == 8
    assert data["lengths"].keys() == {"2", "5"}
    names = {"bit_errors", "bits", "perfect", "excess_bits", "wrong_answers", "answer_bits"}
    assert data["lengths"]["5"].keys() == names
    assert 0 < data["lengths"]["2"]["bit_errors"] <= 4
    assert [data["lengths"][length]["answer_bits"] for length in ("2", "5")] == [2 * 2, 5 * 2]
    assert re.search(r"^\W*5\W+[\d.]+\W+10\W+[\d.]+\W+\d+%\W*$", out, re.MULTILINE)


def test_the_bits_that_could_be_wrong_are_those_that_count(runs, capsys):
    options = ["--lengths", "3", "--sequences", "2"]
    assert main(["evaluate", str(runs / "repeat"), *options, "--repeats", "2"]) == 0
    assert "length x repeats" in capsys.readouterr().out
    assert main(["evaluate", str(runs / "recall"), *options]) == 0
    found = {
        name: json.loads((runs / name / "evaluation.json").read_text())["lengths"] for name in ("repeat", "recall")
    }
    assert found["repeat"]["3x2"]["answer_bits"] == (3 * 2 + 1) * 3  # a step and a channel for the end
    assert found["recall"]["3"]["answer_bits"] == 1 * 2  # an item of one vector of two bits
    assert main(["evaluate", str(runs / "ngrams"), *options]) == 0
    score = json.loads((runs / "ngrams" / "evaluation.json").read_text())["lengths"]["3"]
    assert "answer_bits" not in score


def test_without_lengths_the_tasks_own_are_taken(runs, capsys):
    assert main(["evaluate", str(runs / "recall"), "--sequences=2"]) == 0
    lengths = json.loads((runs / "recall" / "evaluation.json").read_text())["lengths"]
    assert lengths.keys() == {"6", "8", "10", "12", "15", "20"}
    assert "items" in capsys.readouterr().out


def test_a_prediction_is_held_against_the_optimum(runs, capsys):
    assert main(["evaluate", str(runs / "ngrams"), "--lengths", "20", "--sequences=50"]) == 0
    out = capsys.readouterr().out
    assert "optimum" in out
    assert "wrong bits" not in out
    score = json.loads((runs / "ngrams" / "evaluation.json").read_text())["lengths"]["20"]
    assert 0 < score["excess_bits"] < score["bits"] - 2  # the first n - 1 bits cost any predictor a bit each
    summary = json.loads((runs / "ngrams" / "summary.json").read_text())
    assert summary["measure"] == "excess_bits"
    assert 0 < summary["excess_bits"] < summary["bits"]


def test_a_larger_memory_repeats_and_several_runs(runs):
    words = [str(runs / "ntm"), str(runs / "repeat"), "--lengths", "2", "--memory-size", "64", "--sequences", "2"]
    assert main(["evaluate", *words[:1], *words[2:]]) == 0
    assert json.loads((runs / "ntm" / "evaluation.json").read_text())["memory_size"] == 64
    assert main(["evaluate", str(runs / "repeat"), "--lengths", "1", "2", "--repeats", "1", "3", "--sequences=2"]) == 0
    lengths = json.loads((runs / "repeat" / "evaluation.json").read_text())["lengths"]
    assert lengths.keys() == {"1x1", "1x3", "2x1", "2x3"}
    assert main(["evaluate", str(runs / "ntm"), str(runs / "lstm"), "--lengths", "2", "--sequences", "2"]) == 0
    assert json.loads((runs / "lstm" / "evaluation.json").read_text())["memory_size"] is None


@pytest.mark.parametrize(
    ("run", "words", "said"),
    [
        ("none", [], "no such run"),
        ("ntm", ["--lengths", "0"], "length >= 1"),
        ("ntm", ["--repeats", "2"], "repeats"),
        ("ntm", ["--sequences", "0"], "at least 1"),
        ("ntm", ["--memory-size", "0"], "memory_size >= 1"),
        ("ntm", ["--memory-size", "2"], "memory_size >= 3"),
        ("lstm", ["--memory-size", "64"], "no memory"),
        ("learned", ["--memory-size", "64"], "initial.memory='learned'"),
        ("repeat", ["--repeats", "0"], "repeats >= 1"),
    ],
)
def test_what_cannot_be_evaluated_gets_a_sentence(runs, capsys, run, words, said):
    capsys.readouterr()
    assert main(["evaluate", str(runs / run), *words]) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


@pytest.mark.parametrize("option", ["--lengths", "--sequences", "--memory-size"])
def test_numbers_that_nobody_can_count_to_are_refused(option, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "copy-ntm", option, str(10**23)])
    assert f"{option}: expected less than 2,147,483,648, got 1000" in capsys.readouterr().err


def test_no_heading_is_cut_where_the_terminal_is_narrow(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["evaluate", "copy-ntm", "--lengths", "5", "--sequences", "1"]) == 0
    said = capsys.readouterr().out
    assert "…" not in said
    assert "length" in said


@pytest.mark.parametrize("sequences", [0, -1])
def test_no_sequences_are_refused(sequences):
    model = SequenceModel(NTM(5, 4, memory_size=4, word_size=3), 3)
    with pytest.raises(ValueError, match=f"evaluate: expected sequences >= 1, got {sequences}"):
        evaluate(model, Copy(bits=3), [{"length": 2}], sequences=sequences)


def test_none_of_several_is_scored_where_one_would_be_refused(runs):
    (runs / "ntm" / "evaluation.json").unlink(missing_ok=True)
    both = [str(runs / "ntm"), str(runs / "lstm")]
    assert main(["evaluate", *both, "--lengths", "3", "--sequences", "2", "--memory-size", "16"]) == 2
    assert not (runs / "ntm" / "evaluation.json").exists()
