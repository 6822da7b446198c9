"""Every rule of an episode, checked one step at a time on drawings that say who they are."""

import dataclasses
import pickle
from collections import Counter

import pytest
import torch
from torch import Tensor

from tapehead.tasks import Batch, Omniglot
from tapehead.tasks.omniglot import task as omniglot_task
from tapehead.tasks.omniglot.splits import held_out_classes, training_classes
from tests.tasks.omniglot.synthetic import signature

STILL = Omniglot(max_rotation=0, max_translation=0)
TASKS = [
    STILL,
    dataclasses.replace(STILL, labels="strings"),
    dataclasses.replace(STILL, way=3, length=14, split="1200/423", rotated_held_out_classes=True),
    dataclasses.replace(STILL, way=4, length=80, labels="strings", rotated_classes=False),
    dataclasses.replace(STILL, way=2, length=2),
    dataclasses.replace(STILL, way=2, length=39),
    dataclasses.replace(STILL, class_counts="equal"),
    dataclasses.replace(STILL, way=3, length=14, labels="strings", class_counts="equal"),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shown(task: Omniglot, batch: Batch, row: int) -> list[tuple[int, int, int]]:
    """Class, quarter turns and drawer of each step of an episode."""
    return [signature(drawing) for drawing in task.drawings(batch)[:, row]]


@pytest.mark.parametrize("held_out", [False, True], ids=["training", "held out"])
@pytest.mark.parametrize("task", TASKS, ids=repr)
def test_every_rule_of_an_episode(task: Omniglot, held_out: bool, signed):
    batch = task.sample(6, generator(), task.sizes()[0] if held_out else None)
    assert batch.input.shape == (task.length, 6, task.input_size)
    assert batch.target.shape == (task.length, 6, task.target_size)
    assert batch.lengths is None
    assert batch.mask.all()
    instances = task.instances(batch)
    allowed = set((held_out_classes if held_out else training_classes)(task.split).tolist())
    turned = task.rotated_held_out_classes if held_out else task.rotated_classes
    for row in range(6):
        steps = shown(task, batch, row)
        labels = [tuple(label) for label in batch.target[:, row].tolist()]
        assert len(set(steps)) == task.length, "a drawing came twice"
        classes = Counter((character, turns) for character, turns, _ in steps)
        if held_out or task.class_counts == "equal":
            assert len(classes) == task.way
            assert max(classes.values()) - min(classes.values()) <= 1
        else:
            assert len(classes) <= task.way
        assert {character for character, _ in classes} <= allowed
        assert turned or not any(turns for _, turns in classes)
        # A class has one label, and a label one class.
        pairs = {((character, turns), label) for (character, turns, _), label in zip(steps, labels, strict=True)}
        assert len(pairs) == len(set(labels)) == len(classes)
        seen: Counter = Counter()
        for time, (character, turns, _) in enumerate(steps):
            seen[character, turns] += 1
            assert instances[time, row] == seen[character, turns]
            before = labels[time - 1] if time else (0.0,) * task.target_size
            assert tuple(batch.input[time, row, 400:].tolist()) == before
            check_label(task, labels[time])


def check_label(task: Omniglot, label: tuple[float, ...]) -> None:
    sizes = [task.way] if task.labels == "one_hot" else [5] * 5
    assert len(label) == sum(sizes)
    for place, size in enumerate(sizes):
        assert sorted(label[place * size : (place + 1) * size]) == [0.0] * (size - 1) + [1.0]


def share_is(count: int, total: int, chance: float) -> bool:
    return abs(count / total - chance) < 4.5 * (chance * (1 - chance) / total) ** 0.5


def test_chance_is_even(signed):
    """First classes, labels, drawers, turns and who comes once more."""
    task = dataclasses.replace(STILL, way=4, length=6, class_counts="equal")
    batch = task.sample(2000, generator())
    first = [signature(drawing) for drawing in task.drawings(batch)[0]]
    for turns in range(4):
        assert share_is(sum(step[1] == turns for step in first), 2000, 1 / 4)
    assert share_is(sum(character < 100 for character, _, _ in first), 2000, 100 / 964)
    for drawer in (0, 7, 19):
        assert share_is(sum(step[2] == drawer for step in first), 2000, 1 / 20)
    counts = batch.target.sum(0)  # (B, 4), two of them once more
    for label in range(4):
        assert share_is(int(batch.target[0, :, label].sum()), 2000, 1 / 4)
        assert share_is(int((counts[:, label] == 2).sum()), 2000, 1 / 2)
    again = (batch.target[0] * batch.target[1]).sum()
    assert share_is(int(again), 2000, 2 / 15)  # of 15 pairs of presentations two are of one class


def test_the_next_class_does_not_depend_on_what_has_come(signed):
    batch = dataclasses.replace(STILL, way=4, length=12).sample(2000, generator())
    for time in range(12):
        for label in range(4):
            assert share_is(int(batch.target[time, :, label].sum()), 2000, 1 / 4)
    often = batch.target[:11].sum(0).argmax(1)  # the label that has come most
    assert share_is(int((batch.target[11].argmax(1) == often).sum()), 2000, 1 / 4)
    equal = dataclasses.replace(STILL, way=4, length=12, class_counts="equal").sample(2000, generator())
    assert int((equal.target[11].argmax(1) == equal.target[:11].sum(0).argmax(1)).sum()) == 0


def test_counts_of_any_part_where_they_are_asked_for(signed):
    equal = STILL.episodes(20, generator(), part="training", class_counts="equal").target.sum(0)
    assert (equal == 10).all()
    assert not (STILL.episodes(20, generator(), part="held_out", class_counts="random").target.sum(0) == 10).all()
    assert (STILL.episodes(20, generator(), part="validation").target.sum(0) == 10).all()
    with pytest.raises(ValueError, match="expected class_counts 'equal' or 'random', got 'evne'"):
        STILL.episodes(20, generator(), part="training", class_counts="evne")


def test_strings_label_more_classes_than_trained_on(signed):
    batch = TASKS[1].episodes(3, generator(), part="held_out", way=7, length=21)
    assert [len(set(map(tuple, batch.target[:, row].tolist()))) for row in range(3)] == [7] * 3


def test_a_class_without_drawings_left_does_not_come(signed):
    batch = dataclasses.replace(STILL, way=2, length=40).sample(50, generator())
    assert torch.equal(batch.target.sum(0), torch.full((50, 2), 20.0))
    assert share_is(int(batch.target[0, :, 0].sum()), 50, 1 / 2)


def test_strings_are_any_of_all(signed):
    batch = dataclasses.replace(STILL, labels="strings").sample(3000, generator())
    letters = batch.target[0].unflatten(-1, (5, 5))
    for place in range(5):
        for letter in range(5):
            assert share_is(int(letters[:, place, letter].sum()), 3000, 1 / 5)
    together = int((letters[:, 0] * letters[:, 4]).sum())  # first and last letter the same
    assert share_is(together, 3000, 1 / 5)


@pytest.mark.parametrize("task", [Omniglot(), TASKS[1], TASKS[5]], ids=repr)  # the last runs out of drawings
def test_a_generator_decides_everything(task: Omniglot, signed):
    for size in (None, {"length": 20, "way": task.way}):
        first, again, other = (task.sample(3, generator(seed), size) for seed in (1, 1, 2))
        assert torch.equal(first.input, again.input)
        assert torch.equal(first.target, again.target)
        assert not torch.equal(first.input, other.input)
        before = torch.get_rng_state()
        task.sample(3, generator(), size)
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(1)
        own = task.sample(3, None, size)
        torch.manual_seed(1)
        assert torch.equal(task.sample(3, None, size).input, own.input)


def test_the_copy_is_that_of_the_option_or_of_the_variable(signed, monkeypatch):
    asked = []
    monkeypatch.setattr(omniglot_task, "load", lambda *folders: asked.append(folders) or signed)
    for variable in ("", "there"):
        monkeypatch.setenv("TAPEHEAD_OMNIGLOT", variable)
        Omniglot().sample(1)
        Omniglot(data="here", cache="cache").sample(1)
    assert asked == [(None, None), ("here", "cache"), ("there", None), ("here", "cache")]


def test_nothing_is_written_to_what_all_share(signed):
    before = signed[:50].clone()
    batch = Omniglot(rotated_classes=False).sample(3, generator())
    batch.input.fill_(7)
    assert torch.equal(signed[:50], before)
    assert signed.max() == 1623


@pytest.mark.parametrize("size", [None, {"length": 12, "way": 5}], ids=str)
def test_what_is_trained_on_is_of_the_classes_for_training(signed, size):
    trained_on = STILL.training_sample(20, generator(), size)
    asked = STILL.episodes(20, generator(), part="training", length=12 if size else None)
    assert torch.equal(trained_on.input, asked.input)


def test_a_size_means_held_out_and_still(signed):
    task = dataclasses.replace(STILL, max_rotation=11.25, max_translation=2.0)
    size = task.evaluation_size(30)
    asked, still = task.sample(4, generator(), size), task.episodes(4, generator(), part="held_out", length=30)
    assert torch.equal(asked.input, still.input)
    assert torch.equal(asked.input, STILL.sample(4, generator(), size).input)
    moved = task.episodes(4, generator(), part="held_out", length=30, augment=True)
    assert torch.equal(moved.target, asked.target)
    assert not torch.equal(moved.input, asked.input)
    training = task.episodes(4, generator(), part="training", augment=False)
    assert torch.equal(training.input, STILL.sample(4, generator()).input)


def test_validation_shows_classes_that_neither_training_nor_evaluation_shows(signed):
    task = dataclasses.replace(STILL, validation_classes=60)
    training = training_classes(task.split).tolist()
    size = task.sizes()[0]

    def classes(batch: Batch) -> set[int]:
        drawings = task.drawings(batch).flatten(0, 1)
        return {signature(drawing)[0] for drawing in drawings}

    watched = set().union(*(classes(task.validation_sample(8, generator(seed), size)) for seed in range(20)))
    assert watched == set(training[-60:])
    shown = set().union(*(classes(task.sample(20, generator(seed))) for seed in range(5)))
    assert shown < set(training[:-60])
    assert len(task.validation_sample(1, generator(), task.evaluation_size(30)).input) == 30
    without = dataclasses.replace(task, validation_classes=0)
    batch = without.validation_sample(4, generator(), size)
    assert torch.equal(batch.input, without.sample(4, generator(), size).input)


def test_the_dtype_is_torchs(signed):
    torch.set_default_dtype(torch.float64)
    try:
        batch = Omniglot().sample(2, generator())
    finally:
        torch.set_default_dtype(torch.float32)
    assert batch.input.dtype == batch.target.dtype == torch.float64


@pytest.mark.parametrize("task", TASKS[:2], ids=lambda task: task.labels)
def test_answers_against_a_slow_count(task: Omniglot, signed):
    batch = task.sample(3, generator())
    logits = torch.randn(batch.target.shape, generator=generator(1))
    logits[::2] += 9 * batch.target[::2]
    loss, right = task.loss(logits, batch), task.right(logits, batch)
    assert right[::2].all()
    assert not right.all()
    groups = 1 if task.labels == "one_hot" else 5
    total, probabilities = 0.0, task.probabilities(logits)
    for row in range(3):
        for time in range(task.length):
            letters = logits[time, row].chunk(groups)
            pairs = zip(letters, batch.target[time, row].chunk(groups), strict=True)
            torch.testing.assert_close(probabilities[time, row], torch.cat([each.softmax(0) for each in letters]))
            exact = True
            for scores, label in pairs:
                place = label.tolist().index(1.0)
                total -= float(scores.double().log_softmax(0)[place])
                exact &= scores.tolist().index(max(scores.tolist())) == place
            assert bool(right[time, row]) == exact
    assert loss.item() == pytest.approx(total / 3, rel=1e-5)


def test_the_best_possible_guesses_each_class_once(signed):
    import math

    batch = STILL.sample(3, generator())
    torch.testing.assert_close(STILL.optimal_bits(batch), torch.full((3,), math.log2(120)))
    strings = TASKS[1]
    wanted = sum(math.log2(3125 - index) for index in range(5))
    torch.testing.assert_close(strings.optimal_bits(strings.sample(3, generator())), torch.full((3,), wanted))
    # Who says what it knows pays that much.
    seen = (batch.target.cumsum(0) - batch.target).bool()
    again = (seen & batch.target.bool()).any(-1, keepdim=True)
    known = torch.where(again, batch.target.bool(), ~seen)
    logits = torch.zeros_like(batch.target).masked_fill(~known, -100.0)
    torch.testing.assert_close(STILL.loss(logits, batch) / math.log(2), STILL.optimal_bits(batch).mean())


def test_text(signed):
    task = dataclasses.replace(STILL, way=2, length=3)
    target = torch.tensor([[0.0, 1], [1, 0], [0, 1]])[:, None]
    batch = Batch(torch.zeros(3, 1, 402), target, torch.ones(3, 1, dtype=torch.bool), None)
    assert task.to_text(batch).splitlines() == [
        "sequence 1 of 1: 3 steps",
        "  step  label  instance",
        "     0      1         1",
        "     1      0         1",
        "     2      1         2",
    ]
    logits = torch.tensor([[2.0, 1], [1, 0], [0, 1]])[:, None]
    assert task.to_text(batch, logits).splitlines()[1:] == [
        "  step  label  instance  answer",
        "     0      1         1       0 x",
        "     1      0         1       0",
        "     2      1         2       1",
    ]
    strings = TASKS[1]
    lines = strings.to_text(strings.sample(3, generator()), rows=2).splitlines()
    assert len(lines) == 2 * 52
    assert set(lines[2].split()[1]) <= set("abcde")


def test_what_a_task_says_of_itself():
    task = Omniglot(way=3, length=9)
    assert (task.input_size, task.target_size) == (403, 3)
    assert task.sizes() == [task.evaluation_size(9)] == [{"length": 9, "way": 3}]
    assert task.slots({"length": 50, "way": 3}) == 3
    assert [task.stage(limit).length for limit in (1, 5, 99)] == [3, 5, 9]
    strings = Omniglot(labels="strings")
    assert (strings.input_size, strings.target_size) == (425, 25)
    for each in (task, strings):
        assert len(set(each.channel_names())) == each.input_size
        assert pickle.loads(pickle.dumps(each)) == each


def _episodes(**options: int) -> Tensor:
    return STILL.episodes(1, part="held_out", **options).input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Omniglot(split="1200"),
            r"Omniglot: expected split 'background/evaluation' or '1200/423', got '1200'\.",
        ),
        (lambda: Omniglot(labels="words"), r"Omniglot: expected labels 'one_hot' or 'strings', got 'words'\."),
        (lambda: Omniglot(way=1), r"expected way in 2\.\.659, the classes held out that can have a label each, got 1"),
        (lambda: Omniglot(way=660, length=660), r"expected way in 2\.\.659, .* got 660"),
        (lambda: Omniglot(way=424, length=500, split="1200/423"), r"expected way in 2\.\.423, .* got 424"),
        (
            lambda: Omniglot(
                way=905, length=905, validation_classes=60, rotated_held_out_classes=True, rotated_classes=False
            ),
            r"way in 2\.\.904, the classes for training",
        ),
        (
            lambda: Omniglot(
                "x", way=3126, length=3126, labels="strings", split="1200/423", rotated_held_out_classes=True
            ),
            r"way in 2\.\.1692",
        ),
        (lambda: Omniglot(way=5, length=4), r"expected length in 5\.\.100: room for each of 5 classes.*; got 4\."),
        (lambda: Omniglot(way=5, length=101), r"expected length in 5\.\.100: .* 20; got 101\."),
        (lambda: Omniglot(class_counts="even"), "expected class_counts 'equal' or 'random', got 'even'"),
        (lambda: Omniglot(max_rotation=-1), r"expected max_rotation in 0\.\.180, got -1\."),
        (lambda: Omniglot(max_rotation=float("nan")), r"expected max_rotation in 0\.\.180, got nan\."),
        (lambda: Omniglot(max_translation=21), r"expected max_translation in 0\.\.20, got 21\."),
        (lambda: Omniglot(validation_classes=964), r"expected validation_classes in 0\.\.963, .* got 964"),
        (lambda: Omniglot(validation_classes=3), r"expected way in 2\.\.3, the classes for validation .* got 5"),
        (lambda: STILL.evaluation_size(101), r"expected length in 5\.\.100"),
        (lambda: STILL.evaluation_size(50, 2), "Omniglot: expected no repeats, got 2"),
        (lambda: _episodes(way=6), 'expected way 5, which labels "one_hot" are made for, got 6'),
        (lambda: _episodes(length=4), r"expected length in 5\.\.100"),
    ],
)
def test_errors(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("part", ["test", "evaluation", "heldout", None])
def test_a_part_that_does_not_exist_is_refused(part):
    with pytest.raises(ValueError, match=r"^Omniglot: expected part 'training' or 'validation' or 'held_out', got"):
        STILL.episodes(1, generator(), part=part)
