"""Which classes are held out: fixed once and for all."""

import hashlib

import pytest
import torch

from tapehead.tasks.omniglot.splits import SPLITS, held_out_classes, split_sizes, training_classes


@pytest.mark.parametrize("split", SPLITS)
def test_the_halves_are_apart_and_together_everything(split: str):
    training, held_out = training_classes(split), held_out_classes(split)
    assert (len(training), len(held_out)) == split_sizes(split)
    assert torch.equal(torch.cat([training, held_out]).sort().values, torch.arange(1623))


def test_omniglots_own_are_its_archives():
    assert torch.equal(training_classes("background/evaluation"), torch.arange(964))


def test_the_papers_sizes_are_the_same_classes_for_ever():
    training, held_out = training_classes("1200/423"), held_out_classes("1200/423")
    assert training[:6].tolist() == [95, 257, 263, 893, 727, 431]
    assert held_out[:6].tolist() == [373, 232, 251, 816, 394, 1105]
    text = " ".join(map(str, torch.cat([training, held_out]).tolist()))
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "999c10d521b59aaa18fc65631d5860b66ffb63d87fc12871823a6680f28a64f9"
    )
