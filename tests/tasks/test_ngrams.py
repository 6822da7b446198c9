"""Dynamic N-grams: what is drawn, and the best possible predictor against a slow count."""

import math

import pytest
import torch

from tapehead.tasks import NGrams
from tapehead.training.metrics import Score
from tests.tasks import slow

TASKS = [NGrams(n=3, length=30), NGrams(n=1, length=5), NGrams(n=2, length=2), NGrams()]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_the_input_is_the_target_one_step_late(task: NGrams):
    batch = task.sample(5, generator())
    assert batch.input.shape == batch.target.shape == (task.length, 5, 1)
    assert batch.lengths is None
    assert batch.mask.all()
    assert set(batch.target.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(batch.input[1:], batch.target[:-1])
    assert not batch.input[0].any()
    assert task.sample(2, generator(), task.evaluation_size(40)).input.shape == (40, 2, 1)


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_optimal_predictions_are_the_slow_count(task: NGrams):
    bits = task.sample(3, generator()).target.squeeze(-1)
    predictions = task.optimal_predictions(bits)
    for row in range(3):
        sequence = [int(bit) for bit in bits[:, row]]
        wanted = [slow.optimal_prediction(sequence[:time], task.n) for time in range(task.length)]
        torch.testing.assert_close(predictions[:, row], torch.tensor(wanted), rtol=1e-6, atol=0)


def test_the_tables_are_drawn_from_beta_a_half_a_half():
    tables = NGrams()._tables(2000, generator())
    assert tables.shape == (2000, 32)
    # The moments of Beta(1/2, 1/2): mean 1/2, variance 1/8, fourth central moment 3/128.
    centred = tables - 0.5
    assert abs(centred.mean()) < 4.5 * (1 / 8 / 64_000) ** 0.5
    assert abs(centred.square().mean() - 1 / 8) < 4.5 * ((3 / 128 - 1 / 64) / 64_000) ** 0.5
    below = (tables < 0.1).double().mean()
    share = 2 / math.pi * math.asin(0.1**0.5)
    assert abs(below - share) < 4.5 * (share * (1 - share) / 64_000) ** 0.5


def test_a_sequence_follows_its_table():
    # Contexts 00, 01, 10, 11 are followed by a 1 with probability 0, 1, 1, 0.
    table, chances = [0.0, 1.0, 1.0, 0.0], [0.7, 0.2] + [0.5] * 6
    assert NGrams(n=3, length=8)._sequence(table, chances) == [0, 1, 1, 0, 1, 1, 0, 1]
    # Frequencies, context by context, of a long one.
    task, draws = NGrams(n=3, length=20_000), generator()
    table = [0.1, 0.8, 0.5, 0.3]
    bits = task._sequence(table, torch.rand(20_000, generator=draws).tolist())
    for context, chance in enumerate(table):
        after = [bits[t] for t in range(2, len(bits)) if 2 * bits[t - 2] + bits[t - 1] == context]
        assert abs(sum(after) / len(after) - chance) < 4.5 * (chance * (1 - chance) / len(after)) ** 0.5


def test_nobody_does_better_than_the_optimum():
    """The papers' 133 bits; a predictor that knows less pays more, and the measure says how much."""
    task = NGrams()
    batch = task.sample(2000, generator())
    optimum = task.optimal_bits(batch)
    assert optimum.shape == (2000,)
    assert abs(optimum.mean() - 133.35) < 4.5 * optimum.std() / 2000**0.5
    coin = Score.of(torch.zeros_like(batch.target), batch, task)
    assert coin.bits == pytest.approx(200)
    assert coin.excess_bits == pytest.approx(200 - optimum.mean().item(), rel=1e-5)
    best = Score.of(task.optimal_predictions(batch.target.squeeze(-1)).logit().unsqueeze(-1), batch, task)
    assert best.excess_bits == pytest.approx(0, abs=1e-3)
    # The paper's estimator with counts of 1 in place of 1/2 (Laplace's) is worse.
    chance = task.optimal_predictions(batch.target.squeeze(-1))
    assert Score.of((0.8 * chance + 0.1).logit().unsqueeze(-1), batch, task).excess_bits > 1


def test_examples():
    assert NGrams(n=2).optimal_predictions(torch.tensor([[0.0], [1.0], [0.0], [1.0]])).flatten().tolist() == [
        0.5,
        0.5,
        0.5,
        0.75,
    ]


def test_stages_cut_the_length():
    task = NGrams(n=3, length=30)
    assert [task.stage(limit).sizes() for limit in (1, 10, 99)] == [[{"length": length}] for length in (3, 10, 30)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NGrams(n=0), r"NGrams: expected n in 1\.\.16, got 0"),
        (lambda: NGrams(n=17, length=20), r"NGrams: expected n in 1\.\.16, got 17"),
        (lambda: NGrams(n=6, length=5), "NGrams: expected length >= n = 6, got 5"),
        (lambda: NGrams().evaluation_size(5), "NGrams: expected a length >= n = 6, got 5"),
        (lambda: NGrams().evaluation_size(9, 2), "NGrams: expected no repeats, got 2"),
    ],
)
def test_errors(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
