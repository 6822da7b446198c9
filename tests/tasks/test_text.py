"""A batch as text, for people."""

import torch

from tapehead.tasks import Copy, RepeatCopy
from tapehead.tasks.task import Batch

COPY = Copy(bits=2)


def batch_of(input: list[list[float]], target: list[list[float]], mask: list[bool], lengths=None) -> Batch:
    return Batch(torch.tensor(input)[:, None], torch.tensor(target)[:, None], torch.tensor(mask)[:, None], lengths)


BATCH = batch_of(
    [[1.0, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]],
    [[0.0, 0], [0, 0], [0, 0], [1, 0], [1, 1]],
    [False, False, False, True, True],
)


def test_a_line_a_channel():
    assert COPY.to_text(BATCH).splitlines() == [
        "sequence 1 of 1: 5 steps",
        "  bit 0      ##...",
        "  bit 1      .#...",
        "  delimiter  ..#..",
        "  target 0      ##",
        "  target 1      .#",
    ]


def test_wrong_bits_of_an_answer_are_marked():
    logits = torch.tensor([[9.0, 9], [9, 9], [9, 9], [-1, 2], [3, -4]])[:, None]
    assert COPY.to_text(BATCH, logits).splitlines()[-2:] == ["  target 0      o#", "  target 1      xo"]
    right = (BATCH.target - 0.5) * 7
    assert COPY.to_text(BATCH, right) == COPY.to_text(BATCH)


def test_other_values_are_shown_by_their_sign():
    task = RepeatCopy(bits=1, min_repeats=1, max_repeats=3)
    shown = []
    for repeats in (1, 2, 3):
        text = task.to_text(task.sample(1, size={"length": 1, "repeats": repeats}))
        shown += [line.split()[-1][1] for line in text.splitlines() if "repeats" in line]
    assert shown == ["-", ".", "+"]


def test_as_many_rows_as_asked_for_each_as_long_as_it_is():
    task = Copy(bits=1, max_length=9, mixed_lengths=True)
    batch = task.sample(6, torch.Generator().manual_seed(0))
    lines = task.to_text(batch, rows=3).splitlines()
    heads = [line for line in lines if line.startswith("sequence")]
    assert heads == [f"sequence {row + 1} of 6: {int(batch.lengths[row])} steps" for row in range(3)]
    shown = [line.split()[-1] for line in lines if "delimiter" in line]
    assert [len(text) for text in shown] == batch.lengths[:3].tolist()
    assert task.to_text(batch, rows=99).count("sequence") == 6


class Classes(Copy):
    """Each step's answer is one class of two."""

    measure = "wrong_answers"

    def right(self, logits, batch):
        return logits.argmax(-1) == batch.target.argmax(-1)

    def probabilities(self, logits):
        return logits.softmax(-1)


def test_where_answers_count_those_that_are_right_have_no_marks():
    batch = BATCH._replace(target=torch.tensor([[0.0, 0], [0, 0], [0, 0], [1, 0], [0, 1]])[:, None])
    task = Classes(bits=2)
    logits = torch.tensor([[9.0, 9], [9, 9], [9, 9], [2, 1], [-2, -1]])[:, None]
    plain = task.to_text(batch).splitlines()
    marked = task.to_text(batch, logits).splitlines()
    assert marked[0] == f"{plain[0]}, 0 of 2 answers wrong"
    assert marked[1:] == plain[1:]
    logits[4] = logits[4].flip(-1)
    marked = task.to_text(batch, logits).splitlines()
    assert marked[0].endswith("1 of 2 answers wrong")
    assert marked[-2:] == ["  target 0      #x", "  target 1      .o"]
