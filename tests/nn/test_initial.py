"""What starts a sequence: numbers, what is saved with a model, and which choices tie it to its memory size."""

import gc

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from tapehead import NTM, Initial, NTMCell, NTMState
from tapehead.testing import named_tensors

LOGITS = ["read_weights.logits.value", "write_weights.logits.value"]
LEARNED = {"memory": "learned", "weights": "learned", "reads": "learned", "controller": "learned"}


def cell(**kinds) -> NTMCell:
    return NTMCell(3, 4, memory_size=6, word_size=2, num_read_heads=2, num_layers=2, initial=Initial(**kinds))


def assert_equal_states(mine: NTMState, theirs: NTMState) -> None:
    pairs = zip(named_tensors(mine), named_tensors(theirs), strict=True)
    assert all(torch.equal(one, other) for (_, one), (_, other) in pairs)


def saved(module: NTMCell) -> dict[str, str]:
    """What starts a sequence, as a state dict holds it: parameter or buffer."""
    parameters = {name for name, _ in module.named_parameters()}
    names = [name for name in module.state_dict() if name.startswith("initial.")]
    return {name.removeprefix("initial."): "parameter" if name in parameters else "buffer" for name in names}


def test_default_is_constant_memory_and_heads_on_the_first_slot():
    state = cell().initial_state(3)
    assert (state.memory == 1e-6).all()
    assert (state.reads == 1e-6).all()
    first = torch.tensor([1.0, 0, 0, 0, 0, 0])
    assert torch.equal(state.read_weights, first.expand(3, 2, 6))
    assert torch.equal(state.write_weights, first.expand(3, 1, 6))
    assert (state.controller.hidden == 0).all()
    assert (state.controller.cell == 0).all()


def test_uniform_weights_and_another_constant():
    state = cell(weights="uniform", constant=0.5).initial_state(3)
    assert (state.memory == 0.5).all()
    assert torch.equal(state.read_weights, torch.full((3, 2, 6), 1 / 6))
    assert (cell(memory="random", std=0.0).initial_state(3).memory == 0).all()


@pytest.mark.parametrize(
    ("kinds", "names"),
    [
        ({}, {}),
        ({"weights": "uniform"}, {}),
        ({"memory": "random"}, {"memory.value": "buffer"}),
        ({"memory": "learned"}, {"memory.value": "parameter"}),
        ({"reads": "random"}, {"reads.value": "buffer"}),
        ({"reads": "learned"}, {"reads.value": "parameter"}),
        ({"weights": "random"}, dict.fromkeys(LOGITS, "buffer")),
        (
            {"weights": "learned"},
            dict.fromkeys(LOGITS, "parameter"),
        ),
        ({"controller": "learned"}, dict.fromkeys(["controller.hidden", "controller.cell"], "parameter")),
    ],
    ids=str,
)
def test_state_dict_holds_what_was_drawn_or_learned_and_nothing_else(kinds, names):
    assert saved(cell(**kinds)) == names


@pytest.mark.parametrize("kind", ["random", "learned"])
def test_what_is_drawn_has_its_deviation_and_goes_with_the_state_dict(kind):
    def make() -> NTMCell:
        return NTMCell(3, 4, memory_size=500, initial=Initial(memory=kind, weights=kind, reads=kind, std=0.2))

    module, other = make(), make()
    memory = module.initial_state(1).memory
    assert memory.mean().abs() < 0.2 * 4 / 100  # 10,000 numbers: four standard errors
    assert (memory.std() / 0.2 - 1).abs() < 4 / 140
    assert not torch.equal(memory, other.initial_state(1).memory)
    other.load_state_dict(module.state_dict())
    assert_equal_states(module.initial_state(2), other.initial_state(2))


def test_rows_of_a_batch_start_alike_and_unbatched_is_one_of_them():
    module = cell(**LEARNED)
    alone = dict(named_tensors(module.initial_state()))
    for name, tensor in named_tensors(module.initial_state(3)):
        for row in tensor.unbind(1 if "controller" in name else 0):
            assert torch.equal(row, alone[name])


@pytest.mark.parametrize("weights", ["first_slot", "uniform", "random"])
@pytest.mark.parametrize("memory", ["constant", "random"])
@pytest.mark.parametrize("memory_size", [3, 6, 2048])
def test_memory_of_another_size_runs(memory, weights, memory_size):
    layer = NTM(3, 4, memory_size=6, word_size=2, initial=Initial(memory=memory, weights=weights, reads="learned"))
    start = layer.initial_state(2, memory_size=memory_size)
    assert start.memory.shape == (2, memory_size, 2)
    assert torch.allclose(start.read_weights.sum(-1), torch.ones(2, 1))
    common = min(memory_size, 6)
    assert torch.equal(start.memory[:, :common], layer.initial_state(2).memory[:, :common])
    again = layer.initial_state(2, memory_size=memory_size)
    assert torch.equal(start.memory, again.memory)
    output, state = layer(torch.randn(3, 2, 3), start)
    assert output.isfinite().all()
    assert state.memory.shape == start.memory.shape


class Enlarged(nn.Module):
    """A layer that starts with more slots than it was made with."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = NTM(3, 4, memory_size=6, word_size=2, initial=Initial(memory="random", weights="random"))

    def start(self) -> NTMState:
        return self.layer.initial_state(2, memory_size=14)

    def forward(self, input: Tensor) -> Tensor:
        return self.layer(input, self.start())[0]


def test_further_slots_are_those_of_a_fixed_seed_whatever_the_defaults_of_torch():
    model = Enlarged()
    start = model.start()
    further = torch.randn(8, 2, generator=torch.Generator().manual_seed(0)) * 0.05
    assert torch.equal(start.memory[0, 6:], further)
    torch.set_default_dtype(torch.float64)
    try:
        assert_equal_states(model.start(), start)
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        assert_equal_states(model.start(), start)
        assert Enlarged().start().memory.is_meta


def test_further_slots_are_no_draw_under_vmap():
    models, input = [Enlarged(), Enlarged()], torch.randn(3, 2, 3)
    mapped = vmap(lambda *tensors: functional_call(models[0], tensors, (input,)))(*stack_module_state(models))
    for model, output in zip(models, mapped, strict=True):
        assert torch.allclose(output, model(input), atol=1e-6)


@pytest.mark.parametrize(
    ("field", "kind"), [*LEARNED.items(), ("memory", "random"), ("weights", "random"), ("reads", "random")]
)
def test_what_is_drawn_or_learned_is_a_models_own_where_nobody_asks_for_the_state(field: str, kind: str):
    input = torch.randn(4, 2, 3)
    for _ in range(2):
        layer = NTM(3, 4, memory_size=6, word_size=2, initial=Initial(**{field: kind}))
        for _ in range(2):
            assert torch.equal(layer(input)[0], layer(input, layer.initial_state(2))[0])
            with torch.no_grad():
                for start in [*layer.cell.initial.parameters(), *layer.cell.initial.buffers()]:
                    start.add_(torch.rand_like(start))


@pytest.mark.parametrize("options", [{"constant": 0.5}, {"weights": "uniform"}], ids=str)
def test_layers_of_the_same_sizes_start_as_each_was_told(options: dict):
    input = torch.randn(4, 2, 3)
    for initial in (Initial(), Initial(**options)):
        layer = NTM(3, 4, memory_size=6, word_size=2, initial=initial)
        assert torch.equal(layer(input)[0], layer(input, layer.initial_state(2))[0])


def test_a_layer_learns_after_it_has_answered_in_inference_mode():
    layer, input = NTM(3, 4, memory_size=78, word_size=2), torch.randn(4, 2, 3)
    with torch.inference_mode():
        layer(input)
    layer(input)[0].sum().backward()
    assert layer.cell.heads.weight.grad is not None


def test_batches_of_many_sizes_leave_few_starts_behind():
    layer = NTM(3, 4, memory_size=77, word_size=2)
    for rows in range(1, 12):
        layer(torch.randn(1, rows, 3))
    kept = [one for one in gc.get_objects() if type(one) is NTMState and one.memory.shape[1] == 77]
    assert len(kept) <= 4


def test_who_writes_to_a_state_changes_no_other_models_answer():
    first, second, input = cell(), cell(), torch.randn(2, 3)
    expected, _ = second(input)
    for state in (first.initial_state(2), first(input)[1]):
        for _, tensor in named_tensors(state):
            tensor.detach().fill_(7)
    assert torch.equal(second(input)[0], expected)


@pytest.mark.parametrize("memory_size", [5, 7, 2048])
@pytest.mark.parametrize("field", ["memory", "weights"])
def test_what_is_learned_slot_by_slot_refuses_another_size(field, memory_size):
    module, free = cell(**{field: "learned"}), cell()
    message = rf"expected memory_size=6, got {memory_size}. The model is tied to it by initial.{field}='learned'"
    with pytest.raises(ValueError, match=message):
        module.initial_state(2, memory_size=memory_size)
    with pytest.raises(ValueError, match=message):
        module(torch.randn(2, 3), free.initial_state(2, memory_size=memory_size))


def test_learned_reads_and_controller_tie_to_no_size():
    module = cell(reads="learned", controller="learned")
    module(torch.randn(2, 3), module.initial_state(2, memory_size=9))


def test_options_are_immutable_and_compare():
    assert Initial() == Initial()
    assert Initial(std=0.1) != Initial()
    with pytest.raises(AttributeError):
        Initial().std = 0.1
