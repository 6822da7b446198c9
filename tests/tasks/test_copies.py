"""Copy and repeat copy against their slow construction and their worked examples."""

import dataclasses
from collections import Counter

import pytest
import torch

from tapehead.tasks import TASKS, AssociativeRecall, Batch, Copy, RepeatCopy, Task
from tests.tasks import slow

COPY = Copy(bits=3, min_length=2, max_length=6)
REPEAT = RepeatCopy(bits=3, min_length=1, max_length=4, min_repeats=2, max_repeats=5)
NARROW = [Copy(bits=1, max_length=1), RepeatCopy(bits=1, max_repeats=1)]
RECALL = [AssociativeRecall(mixed_lengths=mixed, item_bits="balanced") for mixed in (False, True)]
MIXED = [dataclasses.replace(task, mixed_lengths=True) for task in (COPY, REPEAT)]
RANDOM_DENSITY = [dataclasses.replace(task, density="random") for task in (COPY, REPEAT, *MIXED)]

DRAWN = [name for name in TASKS if name != "omniglot"]  # which has data, and tests of its own


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def with_vectors(task: Task, vectors: list[list[int]], size: dict[str, int]) -> Batch:
    """The batch of one sequence that happens to show these vectors: tried until it comes."""
    wanted = torch.tensor(vectors, dtype=torch.float32)
    for seed in range(1000):
        batch = task.sample(1, generator(seed), size)
        if torch.equal(batch.input[: len(vectors), 0, : wanted.shape[1]], wanted):
            return batch
    raise AssertionError(f"{vectors} never came")


def check_rows(task: Task, batch: Batch, expect_lengths: bool) -> list[tuple[int, int]]:
    """Hold every row against the slow construction; returns each row's length and repeats."""
    found = []
    assert (batch.lengths is not None) == expect_lengths
    for row in range(batch.input.shape[1]):
        input, target, mask = batch.input[:, row], batch.target[:, row], batch.mask[:, row].tolist()
        length = int(input[:, task.bits].argmax())  # the delimiter's step
        vectors = input[:length, : task.bits].tolist()
        assert {bit for vector in vectors for bit in vector} <= {0.0, 1.0}
        if isinstance(task, RepeatCopy):
            repeats = (sum(mask) - 1) // length
            built = slow.repeat_copy_sequence(vectors, repeats, task.min_repeats, task.max_repeats)
        else:
            repeats, built = 1, slow.copy_sequence(vectors)
        steps = len(built[0])
        if expect_lengths:
            assert int(batch.lengths[row]) == steps
        else:
            assert batch.input.shape[0] == steps
        torch.testing.assert_close(input[:steps], torch.tensor(built[0]), rtol=1e-6, atol=0)
        assert target[:steps].tolist() == built[1]
        assert mask[:steps] == built[2]
        assert not input[steps:].any()
        assert not target[steps:].any()
        assert not any(mask[steps:])
        found.append((length, repeats))
    assert batch.input.shape[0] == (int(batch.lengths.max()) if expect_lengths else steps)
    return found


@pytest.mark.parametrize("task", [COPY, REPEAT, *NARROW], ids=repr)
def test_one_size_a_batch(task: Task):
    source = generator()
    for _ in range(20):
        batch = task.sample(3, source)
        assert len(set(check_rows(task, batch, expect_lengths=False))) == 1


@pytest.mark.parametrize("task", RANDOM_DENSITY, ids=repr)
def test_sequences_of_any_density_are_sequences_of_the_task(task: Task):
    for _ in range(20):
        check_rows(task, task.sample(3, generator()), expect_lengths=task.mixed_lengths)


@pytest.mark.parametrize("task", RANDOM_DENSITY, ids=repr)
def test_random_density_is_drawn_evenly_for_each_sequence_trained_on(task: Task):
    task, rows = dataclasses.replace(task, bits=64, min_length=4, max_length=4), 4000
    ones = task.sample(rows, generator()).input[:4, :, :64].mean((0, 2))  # of 256 bits: a good guess of the density
    counts = torch.histc(ones, 4, 0, 1)
    assert ((counts / rows - 0.25).abs() < 0.03).all(), counts
    # Half of the bits are ones all the same, and a row's do not depend on another's.
    assert abs(ones.mean() - 0.5) < 4.5 * (1 / 12 / rows) ** 0.5
    assert abs(torch.corrcoef(torch.stack([ones[::2], ones[1::2]]))[0, 1]) < 0.1


@pytest.mark.parametrize("task", RANDOM_DENSITY, ids=repr)
def test_a_named_size_is_even_whatever_the_density_trained_on(task: Task):
    size = task.evaluation_size(5)
    even, mine = (one.sample(7, generator(), size) for one in (dataclasses.replace(task, density="even"), task))
    assert torch.equal(even.input, mine.input)
    trained_on = task.training_sample(7, generator(), size)
    assert trained_on.input.shape == even.input.shape
    assert not torch.equal(trained_on.input, even.input)


@pytest.mark.parametrize("task", MIXED, ids=repr)
def test_mixed_lengths(task: Task):
    found = check_rows(task, task.sample(200, generator()), expect_lengths=True)
    assert set(found) == {(size["length"], size.get("repeats", 1)) for size in task.sizes()}
    # A size given is the size of every row, inside the training sizes or not.
    size = task.evaluation_size(9)
    assert set(check_rows(task, task.sample(5, generator(), size), False)) == {(9, size.get("repeats", 1))}


@pytest.mark.parametrize("task", [COPY, REPEAT], ids=repr)
@pytest.mark.parametrize("length", [1, 5, 30])
def test_a_given_size(task: Task, length: int):
    size = task.evaluation_size(length, 7) if isinstance(task, RepeatCopy) else task.evaluation_size(length)
    expected = (length, 7 if isinstance(task, RepeatCopy) else 1)
    assert check_rows(task, task.sample(2, generator(), size), False) == [expected] * 2


def test_example_of_copy():
    batch = with_vectors(Copy(bits=2), [[1, 0], [1, 1]], {"length": 2})
    assert batch.input[:, 0].tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert batch.target[batch.mask].tolist() == [[1, 0], [1, 1]]
    assert batch.mask[:, 0].tolist() == [False, False, False, True, True]
    batch = with_vectors(Copy(bits=2), [[0, 1]], {"length": 1})
    assert batch.input[:, 0].tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert batch.target[batch.mask].tolist() == [[0, 1]]


def test_example_of_repeat_copy():
    task = RepeatCopy(bits=2, min_repeats=1, max_repeats=3)
    batch = with_vectors(task, [[1, 0]], {"length": 1, "repeats": 2})
    assert batch.input[:, 0].tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], *[[0, 0, 0, 0]] * 3]
    assert batch.target[batch.mask].tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]
    batch = with_vectors(task, [[0, 1]], {"length": 1, "repeats": 3})
    assert batch.input[1, 0].tolist() == pytest.approx([0, 0, 1, 1.5**0.5])
    assert batch.target[batch.mask].tolist() == [[0, 1, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("name", DRAWN)
def test_sizes_of_tensors_are_those_announced(name: str):
    task = TASKS[name]()
    batch = task.sample(3, generator())
    assert batch.input.shape == (batch.input.shape[0], 3, task.input_size)
    assert batch.target.shape == (batch.input.shape[0], 3, task.target_size)
    assert batch.mask.shape == batch.input.shape[:2]
    assert batch.mask.dtype == torch.bool
    assert len(task.channel_names()) == task.input_size


@pytest.mark.parametrize("name", DRAWN)
def test_follows_the_default_dtype(name: str):
    torch.set_default_dtype(torch.float64)
    try:
        batch = TASKS[name]().sample(2, generator())
    finally:
        torch.set_default_dtype(torch.float32)
    assert batch.input.dtype == batch.target.dtype == torch.float64


@pytest.mark.parametrize("task", [*(TASKS[name]() for name in DRAWN), *MIXED, *RANDOM_DENSITY, *RECALL], ids=repr)
def test_the_same_generator_gives_the_same_batch(task: Task):
    first, again, other = (task.sample(4, generator(seed)) for seed in (7, 7, 8))
    for mine, theirs in zip(first, again, strict=True):
        assert (mine is None and theirs is None) or torch.equal(mine, theirs)
    assert first.input.shape != other.input.shape or not torch.equal(first.input, other.input)


@pytest.mark.parametrize("task", [COPY, REPEAT], ids=repr)
def test_every_size_comes_equally_often(task: Task):
    source, sizes, draws = generator(), task.sizes(), 2000
    counts = Counter(check_size(task, task.sample(1, source)) for _ in range(draws))
    assert set(counts) == {tuple(size.values()) for size in sizes}
    share = 1 / len(sizes)
    error = (share * (1 - share) / draws) ** 0.5
    assert all(abs(count / draws - share) < 4.5 * error for count in counts.values())


def check_size(task: Task, batch: Batch) -> tuple[int, ...]:
    length = int(batch.input[:, 0, task.bits].argmax())
    return (length, (int(batch.mask.sum()) - 1) // length) if isinstance(task, RepeatCopy) else (length,)


@pytest.mark.parametrize("task", [COPY, REPEAT], ids=repr)
def test_bits_are_fair(task: Task):
    batch = task.sample(500, generator(), task.evaluation_size(20))
    bits = batch.input[:20, :, : task.bits]
    assert (bits.mean((0, 1)) - 0.5).abs().max() < 4.5 * 0.5 / 100  # 10,000 draws a channel


@pytest.mark.parametrize(("low", "high"), [(1, 10), (2, 5), (3, 4)])
def test_repeats_are_shown_with_mean_zero_and_variance_one(low: int, high: int):
    shown = RepeatCopy(min_repeats=low, max_repeats=high).normalise(torch.arange(low, high + 1)).double()
    assert shown.mean().abs() < 1e-6
    assert (shown.square().mean() - 1).abs() < 1e-6


def test_one_number_of_repeats_is_shown_as_zero_and_more_as_more():
    task = RepeatCopy(min_repeats=4, max_repeats=4)
    assert task.normalise(torch.tensor([4, 5])).tolist() == [0, 1]


def test_stages_cut_the_lengths():
    for limit, longest in ((1, 2), (2, 2), (4, 4), (99, 6)):
        stage = COPY.stage(limit)
        assert stage.max_length == longest
        assert stage.sizes() == [size for size in COPY.sizes() if size["length"] <= longest]
    stage = REPEAT.stage(2)
    assert stage.sizes() == [size for size in REPEAT.sizes() if size["length"] <= 2]
    counts = torch.arange(1, 9)
    assert torch.equal(stage.normalise(counts), REPEAT.normalise(counts))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Copy(min_length=0), "Copy: expected 1 <= min_length <= max_length, got 0 and 20"),
        (lambda: Copy(min_length=5, max_length=4), "got 5 and 4"),
        (lambda: Copy(bits=0), "Copy: expected bits >= 1, got 0"),
        (lambda: Copy(density="odd"), "Copy: expected density 'even' or 'random', got 'odd'"),
        (lambda: RepeatCopy(density="odd"), "RepeatCopy: expected density 'even' or 'random', got 'odd'"),
        (lambda: COPY.evaluation_size(0), "Copy: expected a length >= 1, got 0"),
        (lambda: COPY.evaluation_size(3, 2), "Copy: expected no repeats, got 2"),
        (lambda: RepeatCopy(max_length=0), "RepeatCopy: expected 1 <= min_length <= max_length, got 1 and 0"),
        (lambda: RepeatCopy(min_repeats=0), "RepeatCopy: expected 1 <= min_repeats <= max_repeats, got 0 and 10"),
        (lambda: RepeatCopy(bits=0), "RepeatCopy: expected bits >= 1, got 0"),
        (lambda: REPEAT.evaluation_size(3, 0), "RepeatCopy: expected length and repeats >= 1, got 3 and 0"),
    ],
)
def test_errors(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
