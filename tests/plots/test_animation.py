"""A memory at work, step by step."""

import io
import re

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from PIL import Image

from tapehead import MANN, NTM
from tapehead.plots import animate_memory
from tapehead.plots.animation import steps_to_show
from tapehead.plots.stage import encode_gif
from tapehead.plots.style import COLOURS
from tapehead.states import map_tensors

BRIGHT, RED = (np.array(colormaps[name](1.0, bytes=True)[:3]) for name in ("viridis", "RdBu_r"))
"""A weight, or a bit, of 1; and the largest number in the memory."""

MEMORY, TIME = slice(90, 310), 380
"""Of these pictures from above: the heads and the memory, and what has happened so far."""


def make_trace(core=None, *, steps=6, rows=2):
    core = core or NTM(3, 5, memory_size=16, word_size=4)
    return map_tensors(torch.Tensor.detach, core.trace(torch.randn(steps, rows, 3))[2])


def walking_trace(steps=6):
    """The write head goes from slot to slot and leaves a word in each, the read head waits on slot 0."""
    trace = map_tensors(torch.zeros_like, make_trace(steps=steps))
    trace.read.weights[..., 0] = 1
    for step in range(steps):
        trace.write.weights[step, ..., 3 + step] = 1
        trace.memory[step:, :, 3 + step] = 1
    return trace


def animate(trace, input=None, output=None, answer=3, **options):
    """An animation of the input, of which by default nothing is 1, with a target of ones after the step `answer`."""
    steps = len(trace.memory)
    input = torch.zeros(steps, 3) if input is None else input
    output = torch.zeros(steps, 2) if output is None else output
    mask = torch.arange(steps) >= answer
    return animate_memory(trace, input, torch.zeros_like(output), output, mask, **options)


def frames(data):
    """(number, height, width, 3) of a GIF, and how long each frame is shown."""
    file = Image.open(io.BytesIO(data))
    shown, times = [], []
    for number in range(file.n_frames):
        file.seek(number)
        shown.append(np.asarray(file.convert("RGB")))
        times.append(file.info["duration"])
    return np.stack(shown), times


def test_a_frame_for_each_step_and_a_rest_at_the_end():
    data = animate(make_trace(), title="at work")
    shown, times = frames(data)
    assert times == [200] * 5 + [1500]
    assert Image.open(io.BytesIO(data)).info["loop"] == 0  # for ever
    assert shown.shape[2] == 828
    np.testing.assert_array_equal(shown[:, 0, -1], 255)
    assert (shown[1:] != shown[:-1]).any((1, 2, 3)).all()
    now = 255 * np.array(to_rgb(COLOURS[1]))
    marked = (np.abs(shown[:, TIME:] - now).max(-1) < 16).sum((1, 2))  # of the present step, and of no other
    assert 0 < marked.max() < 1.1 * marked.min()


def test_the_write_head_walks_and_leaves_words_behind():
    shown = frames(animate(walking_trace()))[0][:, MEMORY]
    bright = (shown == BRIGHT).all(-1)  # where the heads are, as input and output are 0
    heads = np.flatnonzero(bright.any((0, 1)))
    write, read = ([np.flatnonzero(frame[:, at]).mean() for frame in bright] for at in heads[[0, -1]])
    assert np.ptp(np.diff(write)) <= 2  # by a slot at every step
    assert np.diff(write).min() > 5
    assert np.ptp(read) == 0
    held = (shown == RED).all(-1).sum((1, 2))
    assert np.diff(held).min() > 1000  # one more row of the memory


def test_what_comes_out_appears_at_its_step():
    output = torch.zeros(6, 2)
    output[4, 0] = 1
    shown = frames(animate(walking_trace(), output=output, answer=3))[0]
    right = shown[:, 90:140, 640:]  # the channels of output and target
    bright = [(frame == BRIGHT).all(-1).sum() for frame in right]
    assert bright[4] > 200
    assert bright[:4] + bright[5:] == [0] * 5
    below = (shown[:, TIME:] == BRIGHT).all(-1).sum((1, 2))
    assert (below > 0).tolist() == [False] * 4 + [True] * 2  # over time it stays


def test_the_same_bytes_twice():
    trace = make_trace(steps=2)
    assert animate(trace, answer=0) == animate(trace, answer=0) != animate(trace, row=1, answer=0)


@pytest.mark.parametrize(
    "core",
    [
        NTM(3, 5, memory_size=16, num_read_heads=9, num_write_heads=12),
        NTM(3, 5, memory_size=1, max_shift=0),
        MANN(3, 5, memory_size=16),
    ],
    ids=["many heads", "one slot", "MANN"],
)
def test_other_cores(core):
    trace = make_trace(core, steps=2)
    shown, _ = frames(animate(trace, input=torch.randn(2, 3), answer=0))
    assert len(shown) == 2
    assert (shown[1:] != shown[:-1]).any((1, 2, 3)).all()
    now = 255 * np.array(to_rgb(COLOURS[1]))
    marked = (np.abs(shown[:, TIME:] - now).max(-1) < 16).sum((1, 2))  # of the present step, and of no other
    assert 0 < marked.max() < 1.1 * marked.min()


def test_each_head_has_a_column():
    trace = map_tensors(
        torch.zeros_like, make_trace(NTM(3, 5, memory_size=16, num_read_heads=3, num_write_heads=2), steps=2)
    )
    for part in trace.write, trace.read:
        part.weights[..., 7] = 1
    shown = frames(animate(trace, answer=1))[0][0]
    bright = (shown[MEMORY] == BRIGHT).all(-1).any(0).astype(int)
    assert (np.diff(bright) == 1).sum() == 5


def test_drawings_take_the_place_of_the_input():
    drawings = torch.zeros(4, 20, 20)
    drawings[2] = 1
    trace = make_trace(steps=4)
    shown = frames(animate(trace, drawings=drawings, captions=["a", "b", "c", "d"], answer=0))[0]
    assert [bool((frame[95:200, 25:125] == 0).all()) for frame in shown] == [False, False, True, False]
    captions = shown[:, 212:270, :150]
    assert all((captions[0] != other).any() for other in captions[1:])


def test_a_long_sequence_leaves_steps_out():
    assert steps_to_show(120, 120) == list(range(120))
    assert steps_to_show(241, 120) == list(range(0, 241, 3))
    for steps, most in ((121, 120), (5000, 120), (7, 2), (1, 1), (9, 1)):
        chosen = steps_to_show(steps, most)
        assert 1 <= len(chosen) <= most
        assert chosen[-1] == steps - 1
        assert len(set(np.diff(chosen))) <= 1
    data = animate(make_trace(steps=5), most_frames=3)
    assert frames(data)[1] == [200, 200, 1500]
    assert len(frames(animate(make_trace(steps=1), answer=0))[1]) == 1


def test_all_frames_have_the_colours_of_one_palette():
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (9, 30, 40, 3), dtype=np.uint8)
    pictures[:, :, :20] = 7
    wanted = random.integers(0, 256, (100, 3), dtype=np.uint8)
    pictures[8, :10, :10] = wanted.reshape(10, 10, 3)
    shown, times = frames(encode_gif(pictures.__getitem__, range(9), [20] * 9, wanted))
    assert times == [20] * 9
    np.testing.assert_array_equal(shown[8, :10, :10], wanted.reshape(10, 10, 3))
    np.testing.assert_array_equal(shown[:8, :, :20], 7)
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) <= 255


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"row": 2}, "expected row in 0..1, got 2"),
        ({"most_frames": 0}, "expected most_frames >= 1, got 0"),
        ({"input": torch.zeros(5, 3)}, r"with T = 6, the steps of the trace, got (5, 3), (6, 2)"),
        ({"output": torch.zeros(6, 2, 1)}, "expected input (T, D), target and output (T, O)"),
        ({"answer": 6}, "expected a mask with a step that counts, got none"),
        ({"drawings": torch.zeros(5, 20, 20)}, "expected drawings (6, height, width), one for each step, got (5, 20"),
        ({"drawings": torch.zeros(6, 20, 20), "captions": ["a"]}, "expected 6 captions of as many drawings, or none"),
        ({"captions": ["a"] * 6}, "or none, got 6 of 0"),
    ],
)
def test_what_does_not_go_together(options, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        animate(make_trace(), **options)
    assert str(caught.value).startswith("animate_memory: ")


def test_a_trace_that_cannot_be_shown_is_refused():
    trace = make_trace()
    with pytest.raises(ValueError, match=r"animate_memory: expected a trace of finite .* got inf or NaN in memory"):
        animate(trace._replace(memory=torch.full_like(trace.memory, torch.nan)))
    with pytest.raises(ValueError, match="animate_memory: expected a trace of one step or more, got none"):
        animate(map_tensors(lambda tensor: tensor[:0], trace))
