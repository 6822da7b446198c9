"""The operations and bytes that the benchmarks count, against other ways to count them."""

from __future__ import annotations

import sys
from collections import Counter

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machines import MACHINES, SIZES, Point
from benchmarks.operations import FEEDFORWARD, LSTM, operations, products
from benchmarks.traffic import SUMS_AT_ONCE, traffic
from tapehead import MANN, NTM
from tapehead.ops.ntm.shapes import Shape as NTMShape
from tapehead.ops.tilings import Tiling
from tapehead.testing import named_tensors
from tests.cases import Case
from tests.ops.fused_problems import Recorder, problem_of, run
from tests.ops.mann_problems import mann_problem

CPU = torch.device("cpu")
TINY = [Point(machine, rows=2, steps=3, slots=8, word=4, hidden=5) for machine in MACHINES]
every_machine = pytest.mark.parametrize("point", TINY, ids=list(MACHINES))


@every_machine
def test_the_shape_of_a_point_is_that_of_its_call(point: Point):
    for one in (point, point._replace(steps=40), point._replace(slots=20, word=7, hidden=3)):
        layer = one.core("fused", CPU)
        with Recorder() as recorder:
            layer(one.input(CPU))[0].sum().backward()
        (given,) = [arguments for op, arguments in recorder.calls.items() if "forward" in op.name()]
        (made,) = [arguments for op, arguments in recorder.calls.items() if "backward" in op.name()]
        machine = sys.modules[f"tapehead.ops.{MACHINES[one.machine].op}.op"]
        shape = one.shape()
        assert shape == machine.OP.shape.of(machine.OP.arguments._make(given))
        assert made[-3] == one.kept_every()
        sizes = [tensor.shape for tensor in made if isinstance(tensor, torch.Tensor)]
        assert (sum(shape.internals(one.kept_every(), True, False).values()),) in sizes
        assert (one.steps, one.rows, shape.hidden_size + shape.reads) in sizes


def test_the_sizes_are_those_of_the_papers():
    sort, omniglot = SIZES["ntm-priority-sort"][0].core("auto", CPU), SIZES["mann"][0].core("auto", CPU)
    assert isinstance(sort, NTM)
    assert (len(sort.cell.controller.layers), sort.cell.hidden_size, sort.output_size) == (2, 100, 100 + 5 * 20)
    assert sort.cell.settings.num_write_heads == 5
    assert isinstance(omniglot, MANN)
    assert (omniglot.input_size, omniglot.output_size) == (405, 200 + 4 * 40)


@every_machine
def test_products_are_those_that_torch_counts(point: Point):
    layer, shape = point.core("reference", CPU), point.shape()
    state = layer.initial_state(point.rows)
    for _, tensor in named_tensors(state):
        tensor.detach_().requires_grad_()
    with FlopCounterMode(display=False) as counter:
        layer(point.input(CPU), state)[0].sum().backward()
    counts = {str(op): count for op, count in counter.get_flop_counts()["Global"].items()}
    biases = 2 * (shape.layers * shape.gates + shape.parameters) * shape.steps * shape.rows  # their gradients are sums
    assert counts["aten.mm"] + counts["aten.addmm"] == products(shape) - biases


class Number:
    """A number that only counts what is done to it, and whose equations are below."""

    count = 0

    def _do(self, _: object = None) -> Number:
        Number.count += 1
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _do
    exp = log = tanh = root = _do

    def sigmoid(self) -> Number:
        return 1 / (1 + self.exp())


X = Number()


def dot(size: int, start: Number = X) -> Number:
    """Onto a number, products of as many pairs."""
    for _ in range(size):
        start = start + X * X
    return start


def address(slots: int, word: int, heads: int, *, learned: bool = True) -> None:
    """Eq. 5 and 6: norms of the slots, cosines, softmax; its sum is onto nothing, as all sums here."""
    for _ in range(slots):
        1 / (dot(word) + X).root()
        for _ in range(heads):
            _ = dot(word) * X
            power = ((X - X) * X if learned else X - X).exp()
            _ = (X + power) / X


def address_backward(slots: int, word: int, heads: int, reads: int, *, learned: bool = True) -> None:
    for _ in range(slots):
        for _ in range(heads):
            dot(1)  # the mean
            centred = X * (X - X)
            if learned:
                X + centred * X  # d beta
                centred = centred * X
            z = centred * X
            X + z * X * X  # q
            dot(word)  # dM
            dot(word)  # du
        dot(word)  # q M
        dot(reads * word)  # dM of the reads


def locate(slots: int, heads: int, offsets: int) -> None:
    """Eq. 7 to 9, and back."""
    for _ in range(slots * heads):
        X + X * (X - X)
        dot(offsets).log()
        (X + (X * (X - X)).exp()) / X
        dot(1)  # the mean
        difference = X - X
        X + (X * difference) * X  # d gamma
        ratio = (X * (X - X) - X - X).exp()
        _ = X * ratio * difference
        dot(offsets)  # ds
        dot(offsets)  # dw^g
        X + (X - X) * X  # dg
        X - X * X  # dw, with dw^c


def ntm_step(point: Point, reads: int, writes: int, offsets: int, memories: list[tuple[int, int]]) -> None:
    """Of the parameters on: `memories` has how many heads address, and read, each memory."""
    for addressing, reading in memories:
        address(point.slots, point.word, addressing)
        address_backward(point.slots, point.word, addressing, reading)
    locate(point.slots, reads + writes, offsets)
    for _ in range(point.slots * point.word):
        dot(reads)
        dot(reads)  # dw of the reads
        memory = X
        for _ in range(writes):
            memory = memory * (1 - X * X)
        for _ in range(writes):
            memory = memory + X * X
        if writes == 1:
            weighted = X * X
            _ = X + weighted, X - weighted * X, X + X * (X - X * X), X - weighted * X  # da, de, dw, dM
            continue
        kept = [1 - X * X for _ in range(writes)]
        for factor in kept[:-1]:
            _ = X * factor  # left
        for factor in kept:
            others = X * X
            _ = X - others * X + X * X, X - others * X, X + X * X, X * factor  # dw, de, da, right


def mann_step(point: Point, heads: int) -> None:
    for _ in range(point.slots):
        _ = X * X  # the usage decays
        for _ in range(heads):
            _ = X * X, X + X + X  # where it writes; into the usage
            dot(1), X * X  # dg, dw of the step before
    address(point.slots, point.word, heads)
    address_backward(point.slots, point.word, heads, heads)
    for _ in range(point.slots * point.word):
        dot(heads)  # the write
        dot(heads), dot(heads)  # the reads, and dw
        dot(heads), dot(heads)  # dw and da of the write


def lstm_unit() -> None:
    i, f, o, candidate = X.sigmoid(), X.sigmoid(), X.sigmoid(), X.tanh()
    cell = f * X + i * candidate
    _ = o * cell.tanh()
    squared = 1 - X * X
    grad_next = X + X * o * squared
    _ = grad_next * candidate * i * (1 - i), grad_next * X * f * (1 - f)
    _ = grad_next * i * (1 - candidate * candidate), X * X * o * (1 - o), grad_next * f


def feedforward_unit() -> None:
    _ = X.tanh(), X * (1 - X * X)


@every_machine
def test_operations_are_those_of_the_equations(point: Point):
    shape = point.shape()
    Number.count = 0
    for _ in range(point.hidden * shape.layers):
        lstm_unit() if shape.lstm else feedforward_unit()
    if isinstance(shape, NTMShape):
        reads, writes = shape.sizes.read_heads, shape.sizes.write_heads
        ntm_step(point, reads, writes, 3, [(reads + writes, reads)])
    else:
        mann_step(point, shape.sizes.read_heads)
    assert operations(shape) == products(shape) + point.steps * point.rows * Number.count


def test_other_orders_are_counted_too():
    point = TINY[2]
    shape = point.shape()
    shape = shape._replace(sizes=shape.sizes._replace(write_read=1, max_shift=2))
    Number.count = sum(LSTM) * point.hidden * shape.layers
    ntm_step(point, 5, 5, 5, [(5, 0), (5, 5)])
    assert operations(shape) == products(shape) + point.steps * point.rows * Number.count
    assert sum(FEEDFORWARD) == 4


def test_bytes_are_counted():
    # H 2, M 3, N 16, one step of one row. G = 8 sums, P = 2 * (3 + 1 + 1 + 3 + 1) + 2 * 3 = 24 words.
    point = Point(rows=1, steps=1, slots=16, word=3, hidden=2)
    weights = 8 * (3 + 2) + 24 * 2
    assert point.kept_every() == 1
    assert bytes_of(point).caches == 4 * 2 * weights  # the memory is held
    padded = {"weights": 32, "content": 32, "parameters": 32, "similarity": 32, "logarithms": 32}
    padded |= {"inverse_norms": 16, "slopes": 16, "gates": 16, "memories": 2 * 16 * 3}
    assert bytes_of(point).device == 4 * (2 * sum(padded.values()) + 2 * (2 * 8 + 24) + 3 * (2 + 3))
    # Five steps with every fourth memory kept: five are written again, and read once.
    five = bytes_of(point._replace(steps=5))
    assert five.caches == 4 * (5 * 2 * weights + (5 + 5) * 16 * 3)
    assert bytes_of(point._replace(steps=5, rows=7)).caches == 7 * five.caches
    # A memory that is passed over in tiles; of the five, three are made from others.
    large = point._replace(slots=4096)
    assert bytes_of(large).caches == 4 * (2 * weights + (4 + 7) * 4096 * 3)
    assert bytes_of(large._replace(steps=5)).caches == 4 * (5 * 2 * weights + (5 * (4 + 7) + 5 + 3) * 4096 * 3)


def test_bytes_of_other_machines_are_counted():
    # H 2, M 3, N 16, one step of one row. A feed-forward controller has G = 2 sums, and no past.
    sizes = {"rows": 1, "steps": 1, "slots": 16, "word": 3, "hidden": 2}
    weights = 2 * 3 + 24 * 2
    assert bytes_of(Point("ntm-feedforward", **sizes)).caches == 4 * 2 * weights
    padded = 5 * 32 + 16 + 16 + 2 * 16 * 3  # no gates
    assert bytes_of(Point("ntm-feedforward", **sizes)).device == 4 * (2 * padded + 2 * (2 * 2 + 24) + 3 * (2 + 3))
    # Two layers, five heads of each kind: G = 8, P = 10 * (3 + 1 + 1 + 3 + 1) + 2 * 5 * 3 = 120 words.
    weights = 8 * (5 * 3 + 2) + 8 * (2 + 2) + 120 * 2
    assert bytes_of(Point("ntm-priority-sort", **sizes)).caches == 4 * 2 * weights
    padded = (
        4 * 160 + 128 + 16 + 48 + 32 + 16 + 2 * 16 * 3
    )  # of 120 words, 40 slopes, 2 x 12 gates, the lower layer's 2
    assert bytes_of(Point("ntm-priority-sort", **sizes)).device == 4 * (2 * padded + 2 * (3 * 8 + 120) + 3 * (2 + 15))
    # A MANN's memory, held: its words are P = 4 * (2 * 3 + 2) = 32.
    weights = 8 * (4 * 3 + 2) + 32 * 2
    assert bytes_of(Point("mann", **sizes)).caches == 4 * 2 * weights
    padded = 16 + 2 * 64 + 32 + 16 + 16 + 16 + 2 * 16 * 3
    assert bytes_of(Point("mann", **sizes)).device == 4 * (2 * padded + 2 * (2 * 8 + 32) + 3 * (2 + 12))
    # In tiles: six passes backward, four forward; of five steps, two segments have six memories made and two copied.
    large = Point("mann", **{**sizes, "slots": 4096, "steps": 5})
    assert bytes_of(large).caches == 4 * (5 * 2 * weights + (5 * (4 + 6) + 2 + 2 * 5) * 4096 * 3)


def bytes_of(point: Point):
    return traffic(point.shape(), point.kept_every())


HELD, IN_TILES = Tiling(8, 4096, 64, 64), Tiling(8, 16, 64, 64)
MADE = {
    "NTM in_tiles": (problem_of, {"num_layers": 2, "num_read_heads": 5, "num_write_heads": 2}, IN_TILES),
    "NTM write_read held": (problem_of, {"order": "write_read", "controller": "feedforward"}, HELD),
    "MANN in_tiles": (mann_problem, {"num_read_heads": 2}, IN_TILES),
    "MANN read_write held": (mann_problem, {"num_read_heads": 2, "order": "read_write"}, HELD),
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels are compiled for the GPU here, not interpreted")
@pytest.mark.parametrize(("make", "options", "tiling"), MADE.values(), ids=MADE)
def test_the_kernels_move_what_is_counted(make, options, tiling, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("triton", minversion="3.4")
    interpreter = pytest.importorskip("triton.runtime.interpreter")
    from tapehead.ops import mann, ntm, tunings_file
    from tapehead.ops.triton.memory import SUMS_AT_ONCE as AT_ONCE

    assert AT_ONCE.value == SUMS_AT_ONCE
    problem = make(Case("", {"memory_size": 32, "word_size": 3, **options}, steps=3, rows=1))
    with Recorder() as recorder:
        run(problem, "fused", checkpoint_every=2)
    (given,) = [arguments for op, arguments in recorder.calls.items() if "forward" in op.name()]
    op = (mann if make is mann_problem else ntm).fused.cuda.LAUNCHES.op
    shape = op.shape.of(op.arguments._make(given))
    moved: Counter[tuple[str, int]] = Counter()

    def watched(original, masked: int):
        def method(builder, *arguments):
            mask = arguments[masked]
            function, inside = place()
            if "transpose_in" not in inside and "transpose_out" not in inside:
                moved[function, mask.data.ndim] += int(mask.data.sum())
            return original(builder, *arguments)

        return method

    builder = interpreter.InterpreterBuilder
    monkeypatch.setattr(builder, "create_masked_load", watched(builder.create_masked_load, 1))
    monkeypatch.setattr(builder, "create_masked_store", watched(builder.create_masked_store, 2))
    for machine in (ntm, mann):
        found = machine.fused.cuda.LAUNCHES
        monkeypatch.setitem(found.op._kernels, ("cpu", "forward"), found.forward)
        monkeypatch.setitem(found.op._kernels, ("cpu", "backward"), found.backward)
    monkeypatch.setattr(tunings_file, "chosen", lambda key: tiling)
    run(problem, "fused", checkpoint_every=2)
    weights = moved["product", 2]
    memories = sum(moved[function, 2] for function in ("tile_of", "hold", "store_written", "put_back", "copy_memory"))
    # Beside what is counted from the caches: one memory is kept on the way, both kept ones are read, and what is held
    # is loaded once in the forward, and its gradient in the backward.
    held = tiling == HELD
    beside = (1 + 2 + 2 * held) * shape.memory_size * shape.word_size
    assert traffic(shape, 2, tiling).caches == 4 * (weights + memories - beside)


def place() -> tuple[str, list[str]]:
    """The kernels' function that loads or stores, and all that it is called from."""
    frame, inside = sys._getframe(), []
    while frame is not None:
        if "/triton/" in frame.f_code.co_filename and "tapehead" in frame.f_code.co_filename:
            inside.append(frame.f_code.co_name)
        frame = frame.f_back
    return inside[0], inside
