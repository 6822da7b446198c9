"""Models saved and made again: every public layer, in every mode, to the bit."""

import inspect

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import tapehead
from tapehead import LSTM, NTM, SequenceModel
from tapehead.nn.saved import CORES
from tests.nn.modules import PUBLIC, D, Public, without_running_means
from tests.nn.test_conformance import assert_equal, every_module, results


@every_module
def test_arguments_make_another_of_it(public: Public):
    """They are complete: a constructor's argument that is left out, or not remembered, is found here."""
    module = public.make()
    arguments, parameters = module.arguments(), inspect.signature(public.type).parameters
    assert arguments.keys() == parameters.keys() - {"device", "dtype"}
    again = public.type(**arguments)
    assert again.arguments() == arguments
    assert repr(again) == repr(module)
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    assert {name: tensor.shape for name, tensor in again.state_dict().items()} == shapes
    if public.type is not SequenceModel:  # whose core is the same one
        again.load_state_dict(module.state_dict())
        input = public.input()
        assert_equal(results(again, input), results(module, input))


OTHER = {
    "NTM": {
        "input_size": 2, "hidden_size": 3, "memory_size": 6, "word_size": 4, "num_read_heads": 2, "num_write_heads": 3,
        "max_shift": 0, "addressing": "content", "order": "write_read", "key_activation": "tanh",
        "add_activation": "tanh", "controller": "feedforward", "controller_activation": "relu", "num_layers": 2,
        "key_strength_bias": 3.0, "read_interpolation_bias": 4.0, "write_interpolation_bias": 5.0,
        "read_shift_bias": (6.0,), "write_shift_bias": (7.0,),
        "initial": tapehead.Initial(memory="learned", reads="random", std=0.1), "batch_first": True,
        "backend": "reference", "checkpoint_every": 3, "gradient_limit": 7.0,
    },
    "MANN": {
        "input_size": 2, "hidden_size": 3, "memory_size": 6, "word_size": 4, "num_read_heads": 2, "usage_decay": 0.5,
        "write": "key", "least_used": "each", "order": "read_write", "key_strength": "one", "key_activation": "linear",
        "add_activation": "linear", "controller": "feedforward", "controller_activation": "relu", "num_layers": 2,
        "key_strength_bias": 3.0, "write_gate_bias": 1.0,
        "initial": tapehead.Initial(memory="learned", reads="random", std=0.1), "batch_first": True,
        "backend": "reference",
    },
    "LSTM": {"input_size": 2, "hidden_size": 3, "num_layers": 2, "initial": "learned", "batch_first": True},
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_every_argument_is_remembered(name):
    """With a value other than the default, so that none is remembered by luck."""
    parameters = inspect.signature(CORES[name]).parameters
    assert OTHER[name].keys() == parameters.keys() - {"device", "dtype"}
    assert all(parameters[key].default != value for key, value in OTHER[name].items())
    assert CORES[name](**OTHER[name]).arguments() == OTHER[name]


def test_every_public_layer_can_be_saved():
    assert set(CORES.values()) == {public.type for public in PUBLIC if not public.is_cell} - {SequenceModel}


@every_module
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saved_and_made_again(public: Public, dtype: torch.dtype, tmp_path):
    module = public.make(dtype=dtype)
    model = module if public.type is SequenceModel else SequenceModel(module, 2)
    if public.is_cell:
        with pytest.raises(TypeError, match=r"expected a core of LSTM, MANN, NTM, got (NTM|MANN)Cell"):
            model.save_pretrained(tmp_path / "model")
        return
    model.save_pretrained(tmp_path / "model")
    again, input = tapehead.from_pretrained(tmp_path / "model"), public.input(dtype)
    assert type(again) is SequenceModel
    assert repr(again) == repr(model)
    assert_equal(again.state_dict(), model.state_dict())
    with torch.no_grad():
        assert_equal(results(again, input), results(model.eval(), input))
    without_running_means(again.train())
    results(again, input)["0"].sum().backward()  # it can be trained on
    again.save_pretrained(tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


def test_only_layers_of_tapehead_are_saved(tmp_path):
    class Mine(NTM):
        pass

    class Other(nn.Module):
        output_size = 4

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

    for core in (Mine(D, 4), Other()):
        with pytest.raises(TypeError, match=f"expected a core of LSTM, MANN, NTM, got {type(core).__name__}"):
            SequenceModel(core, 2).save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_subclass_of_the_model_stays_one(tmp_path):
    class Mine(SequenceModel):
        pass

    SequenceModel(LSTM(D, 4), 2).save_pretrained(tmp_path / "model")
    assert type(Mine.from_pretrained(tmp_path / "model")) is Mine


def halved(model: SequenceModel) -> None:
    model.half()


def mixed(model: SequenceModel) -> None:
    model.core.double()


def normed(model: SequenceModel) -> None:
    parametrizations.weight_norm(model.core.cell.heads, "weight")


def pruned(model: SequenceModel) -> None:
    prune.random_unstructured(model.readout, "weight", 0.5)


def grown(model: SequenceModel) -> None:
    model.extra = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (halved, "expected dtype torch.float32 or torch.float64, got torch.float16"),
        (mixed, r"expected core\.\S+ \(.*\) of torch.float32, .* of torch.float64"),
        (normed, "expected core.cell.heads.weight .* got no such tensor. Make parametrizations and pruning permanent"),
        (pruned, "expected readout.weight .* got no such tensor"),
        (grown, "expected extra.weight not to be there"),
    ],
)
def test_what_could_not_be_made_again_is_not_saved(change, said, tmp_path):
    model = SequenceModel(NTM(D, 4, memory_size=5, word_size=2), 2)
    change(model)
    with pytest.raises(ValueError, match=f"save_pretrained: {said}"):
        model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_is_made_permanent_is_saved(tmp_path):
    model = SequenceModel(NTM(D, 4, memory_size=5, word_size=2), 2)
    pruned(model), normed(model)
    prune.remove(model.readout, "weight")
    parametrize.remove_parametrizations(model.core.cell.heads, "weight")
    model.save_pretrained(tmp_path / "model")
    again = tapehead.from_pretrained(tmp_path / "model")
    assert_equal(again.state_dict(), dict(sorted(model.state_dict().items())))


def test_tied_weights_are_not_saved_as_two(tmp_path):
    model = SequenceModel(NTM(3, 4, num_layers=3), 2)
    layers = model.core.cell.controller.layers
    layers[2].weight_hidden = layers[1].weight_hidden
    with pytest.raises(ValueError, match=r"layers.1.weight_hidden and .*layers.2.weight_hidden, which are one"):
        model.save_pretrained(tmp_path / "model")
    layers[2].weight_hidden = nn.Parameter(layers[1].weight_hidden.detach().clone())
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(model.parameters()), model.parameters())  # views of one
    model.save_pretrained(tmp_path / "model")
    input = torch.randn(5, 2, 3)
    assert torch.equal(tapehead.from_pretrained(tmp_path / "model")(input)[0], model(input)[0])


def test_a_model_with_another_readout_is_refused_in_words(tmp_path):
    model = SequenceModel(LSTM(3, 4), 2)
    model.readout = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    with pytest.raises(ValueError, match=r"^save_pretrained: expected readout.weight .*, got no such tensor"):
        model.save_pretrained(tmp_path / "model")
