"""What training and inference keep in memory, and that long sequences run."""

import math

import pytest
import torch
from torch import Tensor

from tapehead import NTM, NTMCell
from tapehead.ops import packing
from tapehead.testing import error, named_tensors

STEPS, ROWS, SLOTS, WORDS, HIDDEN = 400, 4, 64, 16, 8
MEMORY = ROWS * SLOTS * WORDS * 4  # bytes of M_t


def kept(layer: NTM, steps: int = STEPS) -> int:
    """Bytes that autograd keeps of a run, each storage once, without the parameters."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        results = layer(torch.randn(steps, ROWS, 3))
    own = {parameter.untyped_storage().data_ptr() for parameter in layer.parameters()}
    assert results[0].requires_grad
    return sum(size for address, size in storages.items() if address not in own)


def layer_of(checkpoint_every: int | None = None, **options) -> NTM:
    options = {"memory_size": SLOTS, "word_size": WORDS, "backend": "fused", **options}
    return NTM(3, HIDDEN, checkpoint_every=checkpoint_every, **options)


def test_checkpoints_keep_a_fraction_of_the_memories():
    every, tenth, twentieth = (kept(layer_of(wish)) for wish in (1, 10, 20))
    assert every > STEPS * MEMORY
    # Nine of ten memories less, nineteen of twenty; the rest is the same.
    assert every - tenth == pytest.approx(STEPS * MEMORY * 9 / 10, rel=0.02)
    assert every - twentieth == pytest.approx(STEPS * MEMORY * 19 / 20, rel=0.02)
    assert twentieth < every / 2


def test_a_larger_interval_than_the_sequence_keeps_one_memory():
    assert kept(layer_of(10**9)) < kept(layer_of(1)) - (STEPS - 2) * MEMORY


def test_what_is_kept_grows_with_the_root_above_the_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packing, "MEMORY_LIMIT", 0)
    assert kept(layer_of()) == kept(layer_of(math.isqrt(STEPS)))


def test_the_usual_choice_keeps_no_more_than_all():
    assert kept(layer_of()) <= kept(layer_of(1))


def test_no_gradients_keep_nothing():
    layer = layer_of().requires_grad_(False)
    packed = []
    with torch.autograd.graph.saved_tensors_hooks(packed.append, lambda tensor: tensor):
        output, _ = layer(torch.randn(STEPS, ROWS, 3))
    assert not packed
    assert not output.requires_grad


def test_it_keeps_less_than_the_reference():
    assert kept(layer_of()) < kept(layer_of(backend="reference")) / 4


@pytest.mark.parametrize("order", ["read_write", "write_read"])
def test_two_thousand_steps_train_above_the_limit(order: str, monkeypatch: pytest.MonkeyPatch):
    layer = NTM(3, HIDDEN, memory_size=16, word_size=4, order=order, backend="fused", dtype=torch.float64)
    input = torch.randn(2000, 2, 3, dtype=torch.float64)

    def gradients() -> dict[str, Tensor]:
        layer.zero_grad()
        layer(input)[0].square().mean().backward()
        return {name: parameter.grad.clone() for name, parameter in layer.named_parameters()}

    layer.cell.checkpoint_every = 1
    expected = gradients()
    layer.cell.checkpoint_every = None
    monkeypatch.setattr(packing, "MEMORY_LIMIT", 0)
    for name, gradient in gradients().items():
        assert gradient.isfinite().all()
        assert torch.equal(gradient, expected[name]), name


@pytest.mark.parametrize("order", ["read_write", "write_read"])
def test_twenty_thousand_steps_without_gradients_are_those_of_handed_states(order: str):
    layer = NTM(3, HIDDEN, memory_size=16, word_size=4, order=order, backend="fused", dtype=torch.float64)
    input = torch.randn(20_000, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        output, state = layer(input)
        outputs, handed = [], None
        for part in input.split(1500):
            piece, handed = layer(part, handed)
            outputs.append(piece)
    # A sum of the same numbers over other sizes may round differently, and memories carry that on.
    found = dict(named_tensors((output, state)))
    for name, value in named_tensors((torch.cat(outputs), handed)):
        assert error(found[name], value) <= 1e-9 * max(1.0, float(value.abs().max())), name


@pytest.mark.parametrize("module", [NTM, NTMCell])
@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (0, ValueError, "{}: expected checkpoint_every >= 1, got 0."),
        (-3, ValueError, "{}: expected checkpoint_every >= 1, got -3."),
        (2.0, TypeError, "{}: expected checkpoint_every to be an int, got 2.0 of type float."),
        (True, TypeError, "{}: expected checkpoint_every to be an int, got True of type bool."),
        ("all", TypeError, "{}: expected checkpoint_every to be an int, got 'all' of type str."),
    ],
)
def test_the_interval_is_checked(module, value, kind, message):
    with pytest.raises(kind) as caught:
        module(3, 4, checkpoint_every=value)
    assert str(caught.value) == message.format(module.__name__)


@pytest.mark.parametrize("backend", ["auto", "reference", "fused"])
def test_every_backend_takes_the_interval(backend: str):
    torch.manual_seed(0)
    layer = NTM(3, 4, memory_size=8, word_size=4, checkpoint_every=3, backend=backend, dtype=torch.float64)
    assert layer.cell.checkpoint_every == 3
    input = torch.randn(7, 2, 3, dtype=torch.float64)
    output, _ = layer(input)
    layer.cell.checkpoint_every = None
    assert torch.equal(layer(input)[0], output)
