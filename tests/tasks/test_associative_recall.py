"""Associative recall against its slow construction and its worked examples."""

import dataclasses
from collections import Counter

import pytest
import torch

from tapehead.tasks import AssociativeRecall, Batch
from tests.tasks import slow

RECALL = AssociativeRecall(bits=3, item_length=2, min_items=2, max_items=5)
MIXED = AssociativeRecall(bits=3, item_length=2, min_items=2, max_items=5, mixed_lengths=True)
BALANCED = [dataclasses.replace(task, item_bits="balanced") for task in (RECALL, MIXED)]
TASKS = [
    RECALL,
    MIXED,
    *BALANCED,
    AssociativeRecall(),
    AssociativeRecall(bits=8, item_length=1, min_items=2, max_items=2),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def check_rows(task: AssociativeRecall, batch: Batch, expect_lengths: bool) -> list[tuple[int, int]]:
    """Hold every row against the slow construction; returns each row's number of items and the query's place."""
    found, span = [], task.item_length + 1
    assert (batch.lengths is not None) == expect_lengths
    for row in range(batch.input.shape[1]):
        input, target, mask = batch.input[:, row], batch.target[:, row], batch.mask[:, row].tolist()
        count = int(input[:, task.bits].sum())  # item delimiters
        vectors = input[: count * span].view(count, span, -1)[:, 1:, : task.bits].tolist()
        start = count * span
        query = vectors.index(input[start + 1 : start + span, : task.bits].tolist())
        built = slow.associative_recall_sequence(vectors, query)
        steps = len(built[0])
        if expect_lengths:
            assert int(batch.lengths[row]) == steps
        else:
            assert batch.input.shape[0] == steps
        assert input[:steps].tolist() == built[0]
        # An item that came twice has two answers; the batch's own is one of them.
        answers = [vectors[place + 1] for place in range(count - 1) if vectors[place] == vectors[query]]
        answer = target[:steps][torch.tensor(mask[:steps])].tolist()
        assert answer in answers
        assert mask[:steps] == built[2]
        assert not input[steps:].any()
        assert not target[~torch.tensor(mask)].any()
        assert not any(mask[steps:])
        found.append((count, query))
    return found


@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_every_row_is_the_slow_construction(task: AssociativeRecall):
    source = generator()
    for _ in range(20):
        found = check_rows(task, task.sample(7, source), expect_lengths=task.mixed_lengths)
        assert task.mixed_lengths or len({count for count, _ in found}) == 1


@pytest.mark.parametrize("items", [2, 3, 20])
def test_a_given_size(items: int):
    for task in (RECALL, MIXED):
        found = check_rows(task, task.sample(5, generator(), task.evaluation_size(items)), expect_lengths=False)
        assert {count for count, _ in found} == {items}


def test_any_item_but_the_last_is_asked_for_equally_often():
    task, draws = AssociativeRecall(bits=16, item_length=2), 4000
    counts = Counter(query for _, query in check_rows(task, task.sample(draws, generator(), {"items": 5}), False))
    assert set(counts) == {0, 1, 2, 3}
    assert all(abs(count / draws - 0.25) < 4.5 * (0.25 * 0.75 / draws) ** 0.5 for count in counts.values())


def test_every_number_of_items_comes_equally_often():
    draws = 4000
    counts = Counter(count for count, _ in check_rows(MIXED, MIXED.sample(draws, generator()), True))
    assert set(counts) == {2, 3, 4, 5}
    assert all(abs(count / draws - 0.25) < 4.5 * (0.25 * 0.75 / draws) ** 0.5 for count in counts.values())


def test_bits_are_fair():
    batch = RECALL.sample(2000, generator(), {"items": 5})
    bits = batch.input[:15].view(5, 3, 2000, -1)[:, 1:, :, :3]
    assert (bits.mean((0, 1, 2)) - 0.5).abs().max() < 4.5 * 0.5 / 20_000**0.5


def items_of(task: AssociativeRecall, batch: Batch, row: int) -> torch.Tensor:
    """(K, item_length, bits)"""
    count, span = int(batch.input[:, row, task.bits].sum()), task.item_length + 1
    return batch.input[: count * span, row, : task.bits].view(count, span, -1)[:, 1:]


@pytest.mark.parametrize("task", BALANCED, ids=repr)
def test_balanced_items_are_as_even_as_their_number_allows(task: AssociativeRecall):
    source, more, ones = generator(), [], []
    for _ in range(100):
        batch = task.sample(4, source)
        for row in range(4):
            candidates = items_of(task, batch, row)[1:]  # the first is never the answer
            count, sums = len(candidates), candidates.sum(0)
            assert ((sums == count // 2) | (sums == (count + 1) // 2)).all()
            ones.append(candidates.mean((1, 2)))
            if count % 2:
                more.append((sums > count / 2).float().flatten())
    # Where half of an odd number is one more or one less, each comes as often; so are ones and zeros, for every item.
    more, ones = torch.cat(more), torch.cat(ones)
    assert abs(more.mean() - 0.5) < 4.5 * 0.5 / len(more) ** 0.5
    assert abs(ones.mean() - 0.5) < 0.03


def test_balanced_items_are_each_as_likely_to_have_a_one():
    task = AssociativeRecall(bits=4, item_length=2, min_items=5, max_items=5, item_bits="balanced")
    batch = task.sample(4000, generator())
    bits = batch.input[:15].view(5, 3, 4000, -1)[:, 1:, :, :4]
    assert (bits.mean(2) - 0.5).abs().max() < 4.5 * 0.5 / 4000**0.5  # at every place of every item, the first too
    # The first says nothing of the others: two of the four have a one whatever it has.
    assert (bits[1:].sum(0) == 2).all()
    agree = (bits[0] == bits[1]).float().mean(1)
    assert (agree - 0.5).abs().max() < 4.5 * 0.5 / 4000**0.5


@pytest.mark.parametrize("task", BALANCED, ids=repr)
def test_a_named_size_has_independent_items(task: AssociativeRecall):
    size = {"items": 4}
    plain = dataclasses.replace(task, item_bits="independent")
    assert torch.equal(plain.sample(7, generator(), size).input, task.sample(7, generator(), size).input)
    trained_on = task.training_sample(50, generator(), size)
    sums = torch.stack([items_of(task, trained_on, row)[1:].sum(0) for row in range(50)])
    assert set(sums.flatten().tolist()) == {1.0, 2.0}  # of three


@pytest.mark.parametrize(("query", "answer"), [(1, [1.0, 1.0]), (0, [0.0, 1.0])])
def test_examples(query: int, answer: list[float]):
    task, items = AssociativeRecall(bits=2, item_length=1), [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    for seed in range(1000):
        batch = task.sample(1, generator(seed), {"items": 3})
        if batch.input[[1, 3, 5, 7], 0, :2].tolist() == [*items, items[query]]:
            break
    listed = [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 1, 0, 0]]
    asked = [[0, 0, 0, 1], [*items[query], 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert batch.input[:, 0].tolist() == listed + asked
    assert batch.target[batch.mask].tolist() == [answer]
    assert batch.mask[:, 0].tolist() == [False] * 9 + [True]


def test_stages_cut_the_number_of_items():
    for limit, most in ((1, 2), (2, 2), (4, 4), (99, 5)):
        assert RECALL.stage(limit).sizes() == [{"items": items} for items in range(2, most + 1)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: AssociativeRecall(min_items=1),
            "AssociativeRecall: expected 2 <= min_items <= max_items, got 1 and 6",
        ),
        (lambda: AssociativeRecall(min_items=5, max_items=4), "got 5 and 4"),
        (lambda: AssociativeRecall(bits=0), "AssociativeRecall: expected bits >= 1, got 0"),
        (lambda: AssociativeRecall(item_length=0), "AssociativeRecall: expected item_length >= 1, got 0"),
        (lambda: AssociativeRecall(item_bits="few"), "expected item_bits 'independent' or 'balanced', got 'few'"),
        (lambda: RECALL.evaluation_size(1), "AssociativeRecall: expected a length of >= 2 items, got 1"),
        (lambda: RECALL.evaluation_size(3, 2), "AssociativeRecall: expected no repeats, got 2"),
    ],
)
def test_errors(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
