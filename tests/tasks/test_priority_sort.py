"""Priority sort against its slow construction and its worked examples."""

import pytest
import torch

from tapehead.tasks import PrioritySort
from tests.tasks import slow

SORT = PrioritySort(bits=3, length=6, highest=4)
TASKS = [SORT, PrioritySort(), PrioritySort(bits=1, length=1, highest=1), PrioritySort(bits=2, length=3, highest=9)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("task", TASKS, ids=repr)
@pytest.mark.parametrize("length", [None, 2, 7])
def test_every_row_is_the_slow_construction(task: PrioritySort, length: int | None):
    source = generator()
    size = None if length is None else task.evaluation_size(length)
    shown = length or task.length
    for _ in range(5):
        batch = task.sample(4, source, size)
        assert batch.lengths is None
        for row in range(4):
            vectors = batch.input[:shown, row, : task.bits].tolist()
            priorities = batch.input[:shown, row, task.bits].tolist()
            input, target, mask = slow.priority_sort_sequence(vectors, priorities, task.highest)
            assert batch.input[:, row].tolist() == input
            assert batch.target[:, row].tolist() == target
            assert batch.mask[:, row].tolist() == mask


def test_the_papers_sizes():
    batch = PrioritySort().sample(2, generator())
    assert batch.input.shape == (37, 2, 10)
    assert batch.target.shape == (37, 2, 8)
    assert batch.mask.sum(0).tolist() == [16, 16]


def test_bits_are_fair_and_priorities_uniform():
    batch = SORT.sample(4000, generator())
    shown = batch.input[:6]
    assert (shown[..., :3].mean((0, 1)) - 0.5).abs().max() < 4.5 * 0.5 / 24_000**0.5
    priorities = shown[..., 3].flatten()
    assert priorities.abs().max() <= 1
    counts = torch.histc(priorities, 8, -1, 1) / len(priorities)
    assert (counts - 1 / 8).abs().max() < 4.5 * (1 / 8 * 7 / 8 / len(priorities)) ** 0.5


def test_the_measure_is_wrong_bits_and_the_answer_certain():
    batch = SORT.sample(3, generator())
    assert SORT.measure == "bit_errors"
    assert SORT.optimal_bits(batch).tolist() == [0, 0, 0]


def test_stages_cut_the_length():
    assert [SORT.stage(limit).sizes() for limit in (2, 6, 99)] == [[{"length": length}] for length in (2, 6, 6)]
    ranged = PrioritySort(length=6, min_length=3)
    assert [len(ranged.stage(limit).sizes()) for limit in (2, 4, 99)] == [1, 2, 4]


def test_a_batch_draws_a_length_of_the_range():
    task = PrioritySort(bits=2, length=5, highest=4, min_length=2)
    assert task.sizes() == [{"length": length} for length in (2, 3, 4, 5)]
    shapes = {(batch.input.shape[0], int(batch.mask.sum())) for batch in map(task.sample, [1] * 200)}
    assert shapes == {(2 * shown + 1, shown) for shown in (2, 3, 4)} | {(5 + 1 + 4, 4)}


def test_a_single_length_is_not_drawn():
    """The numbers that a seed gives are those of trained models: no draw goes before them."""
    batch = PrioritySort(bits=2, length=4, highest=2).sample(1, generator(3))
    assert batch.input[0, 0, 2].item() == pytest.approx(0.1888, abs=1e-4)


@pytest.mark.parametrize(
    ("vectors", "priorities", "highest", "answer"),
    [
        ([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [-0.5, 0.8, 0.1], 2, [[0.0, 1.0], [1.0, 1.0]]),
        ([[1.0, 0.0], [0.0, 1.0]], [0.3, 0.2], 2, [[1.0, 0.0], [0.0, 1.0]]),
    ],
)
def test_examples(vectors: list[list[float]], priorities: list[float], highest: int, answer: list[list[float]]):
    input, target, mask = slow.priority_sort_sequence(vectors, priorities, highest)
    assert [want for want, counts in zip(target, mask, strict=True) if counts] == answer
    assert input[: len(vectors)] == [[*vector, one, 0.0] for vector, one in zip(vectors, priorities, strict=True)]
    task = PrioritySort(bits=2, length=len(vectors), highest=highest)
    order = sorted(range(len(vectors)), key=lambda place: -priorities[place])
    for seed in range(4000):
        batch = task.sample(1, generator(seed))
        drawn = batch.input[: len(vectors), 0]
        if drawn[:, :2].tolist() == vectors and drawn[:, 2].argsort(descending=True).tolist() == order:
            assert batch.target[batch.mask].tolist() == answer
            return
    raise AssertionError("never drawn")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PrioritySort(bits=0), "PrioritySort: expected bits >= 1, got 0"),
        (lambda: PrioritySort(length=0), "PrioritySort: expected length >= 1, got 0"),
        (lambda: PrioritySort(highest=0), "PrioritySort: expected highest >= 1, got 0"),
        (lambda: PrioritySort(min_length=0), "PrioritySort: expected 1 <= min_length <= length, got 0 and 20"),
        (lambda: PrioritySort(min_length=21), "PrioritySort: expected 1 <= min_length <= length, got 21 and 20"),
        (lambda: SORT.evaluation_size(0), "PrioritySort: expected a length >= 1, got 0"),
        (lambda: SORT.evaluation_size(3, 2), "PrioritySort: expected no repeats, got 2"),
    ],
)
def test_errors(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
