"""The real Omniglot, where there is a copy: ../shared/omniglot beside the checkout, or TAPEHEAD_OMNIGLOT."""

import pytest
import torch

from tapehead.tasks import Omniglot
from tapehead.tasks.omniglot.images import drawings
from tapehead.tasks.omniglot.reading import read
from tapehead.tasks.omniglot.source import find
from tapehead.tasks.omniglot.splits import BACKGROUND, CLASSES
from tests.tasks.omniglot.real import COPY

pytestmark = pytest.mark.skipif(not COPY.is_dir(), reason="there is no copy of Omniglot here")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache") / "omniglot"


@pytest.fixture(scope="module")
def real(cache):
    return drawings(COPY, cache)


def test_all_of_omniglot(real):
    assert real.shape == (CLASSES, 20, 20, 20)
    assert real.min() == 0
    assert real.max() == 1
    assert (real.sum((2, 3)) > 0).all()  # no drawing is blank
    assert real.mean() == pytest.approx(0.0805, abs=5e-4)


def test_classes_stand_in_the_order_of_their_numbers(real):
    background, evaluation = read(find(COPY))
    assert (len(background), len(evaluation)) == (BACKGROUND, CLASSES - BACKGROUND)
    for place, originals in ((0, background[0]), (BACKGROUND - 1, background[-1]), (BACKGROUND, evaluation[0])):
        ink = torch.from_numpy(originals).float().mean((1, 2))
        torch.testing.assert_close(real[place].mean((1, 2)), ink)  # an area average keeps the ink
    # Alphabets are not numbered by their names: Latin is 683 to 708, and its l the tallest of all for its width.
    ink = torch.from_numpy(background)
    high, wide = ink.any(3).sum(2), ink.any(2).sum(2)
    assert (high / wide).median(1).values.argmax() + 1 == 683 + "abcdefghijklmnopqrstuvwxyz".index("l")


def test_episodes_of_it(real, cache):
    task = Omniglot(data=str(COPY), cache=str(cache.parent))
    batch = task.sample(4, torch.Generator().manual_seed(0))
    assert 0.06 < batch.input[..., :400].mean() < 0.1
    held_out = task.drawings(task.sample(1, torch.Generator().manual_seed(0), task.sizes()[0]))[:, 0]
    flat = real[BACKGROUND:].flatten(0, 1).flatten(1)
    assert all((flat == drawing.flatten()).all(1).any() for drawing in held_out[:10])
