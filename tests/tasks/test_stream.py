"""A seed, a rank and a position name a batch."""

import pytest
import torch

from tapehead.tasks import Copy, RepeatCopy, Stream
from tapehead.tasks.stream import generator_for
from tapehead.training.evaluate import EVALUATION_STREAM, VALIDATION_STREAM

TASK = Copy(bits=3, max_length=6)


def inputs(stream: Stream, count: int = 5) -> list[torch.Tensor]:
    return [stream.draw().input for _ in range(count)]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> list[bool]:
    return [a.shape == b.shape and torch.equal(a, b) for a, b in zip(first, second, strict=True)]


def test_the_same_seed_gives_the_same_batches_whatever_else_is_drawn():
    expected = inputs(Stream(TASK, 4, seed=3))
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    assert all(same(inputs(Stream(TASK, 4, seed=3)), expected))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_position_resumes_it():
    stream = Stream(TASK, 4, seed=3)
    expected = inputs(stream, 5)
    assert stream.position == 5
    for position in range(5):
        resumed = Stream(TASK, 4, seed=3)
        resumed.position = position
        assert all(same(inputs(resumed, 5 - position), expected[position:]))


@pytest.mark.parametrize("other", [{"seed": 4}, {"seed": 3, "rank": 1}, {"seed": 3, "rank": -1}], ids=str)
def test_another_seed_or_rank_gives_other_batches(other):
    task = Copy(bits=8, min_length=6, max_length=6)
    assert not any(same(inputs(Stream(task, 4, seed=3)), inputs(Stream(task, 4, **other))))


def test_no_two_batches_are_alike():
    task = Copy(bits=8, min_length=6, max_length=6)
    drawn = {tuple(batch.flatten().tolist()) for batch in inputs(Stream(task, 4, seed=0), 100)}
    assert len(drawn) == 100


def test_a_size_asked_for():
    stream = Stream(RepeatCopy(bits=2), 3, seed=0)
    assert stream.draw({"length": 4, "repeats": 2}).input.shape == (4 + 1 + 8 + 1, 3, 4)


def test_no_training_draws_what_it_is_validated_or_evaluated_on():
    task = Copy(bits=8, min_length=6, max_length=6)

    def drawn(*numbers: int) -> tuple[float, ...]:
        return tuple(task.sample(4, generator_for(*numbers)).input.flatten().tolist())

    near = range(8)
    evaluated = {drawn(EVALUATION_STREAM, seed, length) for seed in near for length in near}
    for seed in near:
        trained = {tuple(batch.flatten().tolist()) for rank in near for batch in inputs(Stream(task, 4, seed, rank), 8)}
        validated = {drawn(VALIDATION_STREAM, seed, length) for length in near}
        assert len(trained) == 64
        assert not trained & (evaluated | validated)


def test_generators_of_near_numbers_are_all_different():
    numbers = [(seed, rank, position) for seed in range(-2, 8) for rank in range(8) for position in range(20)]
    seeds = {generator_for(*each).initial_seed() for each in numbers}
    assert len(seeds) == len(numbers)
    assert generator_for(1).initial_seed() != generator_for(1, 0).initial_seed() != generator_for(0, 1).initial_seed()


def test_numbers_name_the_same_sequences_in_every_version():
    # The figures of the results pages, and those beside the weights of the package, are of these sequences.
    assert generator_for(1, 2, 20).initial_seed() == 4135511714171074363
    assert generator_for(EVALUATION_STREAM, 0, 20).initial_seed() == 504204769661064876
    first = Stream(TASK, 4, seed=3, rank=2).draw().input
    assert torch.equal(first, TASK.sample(4, generator_for(3, 2**63 + 2, 0)).input)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_refuses_an_empty_batch(batch_size: int):
    with pytest.raises(ValueError, match=f"Stream: expected batch_size >= 1, got {batch_size}"):
        Stream(TASK, batch_size, seed=0)
