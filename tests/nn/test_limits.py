"""What a machine must do when its heads are told extreme things: exact answers instead of magic numbers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tapehead import NTM, Initial, NTMCell, NTMState
from tests.cases import random_state
from tests.ops.distributions import assert_distribution, dtypes, seeds

SLOTS = WORDS = 6
ALWAYS, NEVER = 1e6, -1e6  # through a sigmoid exactly 1 and 0, through a softmax one-hot, through softplus 1e6 and 0

both_orders = pytest.mark.parametrize("order", ["read_write", "write_read"])


def told(order: str, addressing: str = "content_and_location", heads: int = 1, **said: Tensor) -> NTMCell:
    """A cell whose heads, whatever the controller says, are told this; what is left out is zero before activations.

    Each is what goes into the head's activations, read heads first: (2 heads, ...) or (heads, ...) for erase and add.
    """
    cell = NTMCell(
        2,
        4,
        memory_size=SLOTS,
        word_size=WORDS,
        num_read_heads=heads,
        num_write_heads=heads,
        order=order,
        addressing=addressing,
        dtype=torch.float64,
    )
    kinds = ["key", "key_strength", "interpolation_gate", "shift_weights", "gamma", "erase", "add"]
    if addressing == "content":
        del kinds[2:5]
    parts = dict(zip(kinds, cell.heads.bias.detach().split(cell.settings.head_sizes), strict=True))
    assert said.keys() <= parts.keys()
    torch.nn.init.zeros_(cell.heads.weight)
    for name, value in said.items():
        parts[name].copy_(value.flatten())
    return cell


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def one_hot(*slots: int) -> Tensor:
    return torch.eye(SLOTS, dtype=torch.float64)[list(slots)]


def logits(index: int) -> Tensor:
    """Shift logits that say `index` to a read and a write head, with all their weight."""
    return torch.full((2, 3), NEVER, dtype=torch.float64).index_fill(1, torch.tensor(index), 0.0)


def step(cell: NTMCell, memory: Tensor) -> tuple[NTMState, NTMState]:
    """The state before and after one step from a random state with this memory."""
    before = random_state(cell, 2)._replace(memory=memory.expand(2, -1, -1))
    return before, cell(torch.randn(2, 2, dtype=torch.float64), before)[1]


ORTHOGONAL = 2 * torch.eye(SLOTS, dtype=torch.float64)
ERASE_ALL, ERASE_NOTHING = tensor(*[ALWAYS] * WORDS), tensor(*[NEVER] * WORDS)


@both_orders
def test_infinite_strength_points_at_one_slot_and_reads_it(order):
    cell = told(order, "content", key=one_hot(4, 1), key_strength=tensor(ALWAYS, ALWAYS))
    _, after = step(cell, ORTHOGONAL)
    assert torch.equal(after.read_weights, one_hot(4).expand(2, 1, -1))
    assert torch.equal(after.write_weights, one_hot(1).expand(2, 1, -1))
    assert torch.equal(after.reads, ORTHOGONAL[[4]].expand(2, 1, -1))


@both_orders
@pytest.mark.parametrize("index", [0, 1, 2])
def test_gate_zero_keeps_the_old_weights_and_shifts_them_exactly(order, index):
    said = {"interpolation_gate": tensor(NEVER, NEVER), "gamma": tensor(NEVER, NEVER), "shift_weights": logits(index)}
    before, after = step(told(order, **said), torch.randn(SLOTS, WORDS, dtype=torch.float64))
    for name in ("read_weights", "write_weights"):
        expected = getattr(before, name).roll(index - 1, -1)
        # Sharpening with gamma = 1 is a logarithm and an exponential: some roundings.
        assert torch.allclose(getattr(after, name), expected, rtol=1e-14, atol=0)


@both_orders
def test_infinite_gamma_is_one_hot(order):
    said = {"interpolation_gate": tensor(NEVER, NEVER), "gamma": tensor(ALWAYS, ALWAYS), "shift_weights": logits(1)}
    before, after = step(told(order, **said), torch.randn(SLOTS, WORDS, dtype=torch.float64))
    for name in ("read_weights", "write_weights"):
        old = getattr(before, name)
        assert torch.equal(getattr(after, name), torch.nn.functional.one_hot(old.argmax(-1), SLOTS).double())


@both_orders
def test_one_hot_write_with_erase_one_writes_exactly_what_is_added(order):
    add = torch.randn(WORDS, dtype=torch.float64)
    said = {
        "key": one_hot(3, 3),
        "key_strength": tensor(ALWAYS, ALWAYS),
        "erase": ERASE_ALL,
        "add": add,
    }
    _, after = step(told(order, "content", **said), ORTHOGONAL)
    expected = ORTHOGONAL.clone()
    expected[3] = add
    assert torch.equal(after.memory, expected.expand(2, -1, -1))


@both_orders
def test_erase_zero_and_add_zero_leave_the_memory(order):
    memory = torch.randn(SLOTS, WORDS, dtype=torch.float64)
    _, after = step(told(order, erase=ERASE_NOTHING), memory)
    assert torch.equal(after.memory, memory.expand(2, -1, -1))


def test_order_decides_whether_a_step_reads_its_own_write():
    add = one_hot(3) * 5  # along the key, so that the slot is found again
    said = {
        "key": one_hot(3, 3),
        "key_strength": tensor(ALWAYS, ALWAYS),
        "erase": ERASE_ALL,
        "add": add,
    }
    reads = {order: step(told(order, "content", **said), ORTHOGONAL)[1].reads for order in ("read_write", "write_read")}
    assert torch.equal(reads["read_write"], ORTHOGONAL[[3]].expand(2, 1, -1))
    assert torch.equal(reads["write_read"], add.expand(2, 1, -1))


@both_orders
def test_write_heads_on_one_slot_erase_first_and_add_both(order):
    add = torch.randn(2, WORDS, dtype=torch.float64)
    said = {"key": one_hot(0, 0, 2, 2), "key_strength": tensor(*[ALWAYS] * 4), "add": add}
    half = torch.zeros(2, WORDS, dtype=torch.float64)  # before the sigmoid
    _, after = step(told(order, "content", heads=2, erase=half, **said), ORTHOGONAL)
    expected = ORTHOGONAL.clone()
    expected[2] = ORTHOGONAL[2] * 0.5 * 0.5 + add.sum(0)
    assert torch.allclose(after.memory, expected.expand(2, -1, -1), rtol=1e-15, atol=1e-15)


@both_orders
def test_a_tape_is_written_and_read_back(order):
    """Moving one slot up a step, the write head lays down its add vector all along the tape, exactly."""
    add = torch.arange(1.0, WORDS + 1, dtype=torch.float64)
    said = {"interpolation_gate": tensor(NEVER, NEVER), "gamma": tensor(NEVER, NEVER), "shift_weights": logits(2)}
    cell = told(order, **said, erase=ERASE_ALL, add=add)
    state = cell.initial_state(1)
    for _ in range(SLOTS):
        _, state = cell(torch.randn(1, 2, dtype=torch.float64), state)
    assert torch.allclose(state.memory, add.expand(1, SLOTS, -1), rtol=1e-12, atol=0)
    assert torch.allclose(state.write_weights, one_hot(0).expand(1, 1, -1), rtol=0, atol=1e-12)


configurations = st.fixed_dictionaries(
    {
        "memory_size": st.integers(5, 9),
        "word_size": st.integers(1, 5),
        "num_read_heads": st.integers(1, 3),
        "num_write_heads": st.integers(1, 3),
        "max_shift": st.integers(0, 2),
        "num_layers": st.integers(1, 2),
        "addressing": st.sampled_from(["content_and_location", "content"]),
        "order": st.sampled_from(["read_write", "write_read"]),
        "controller": st.sampled_from(["lstm", "feedforward"]),
        "key_activation": st.sampled_from(["linear", "tanh"]),
        "initial": st.builds(
            Initial,
            memory=st.sampled_from(["constant", "random", "learned"]),
            weights=st.sampled_from(["first_slot", "uniform", "random", "learned"]),
            constant=st.sampled_from([0.0, 1e-6, 1.0]),
        ),
        "dtype": dtypes,
    }
).filter(lambda options: (options["addressing"], options["initial"].weights) != ("content", "learned"))  # refused


@given(configurations, seeds, st.sampled_from([1.0, 30.0, 1000.0]))
def test_weights_of_any_machine_are_distributions(options, seed, loudness):
    torch.manual_seed(seed)
    layer = NTM(2, 3, **options)
    with torch.no_grad():
        layer.cell.heads.weight *= loudness
    output, state, trace = layer.trace(torch.randn(4, 2, 2, dtype=options["dtype"]) * math.sqrt(loudness))
    assert output.isfinite().all()
    assert state.memory.isfinite().all()
    for head in (trace.read, trace.write):
        for weights in (head.content_weights, head.weights, head.shift_weights):
            if weights is not None:
                assert_distribution(weights)
