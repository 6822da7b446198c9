"""The convolutional embedding, alone and in a `SequenceModel`."""

import copy
import json

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional
from torch.nn.utils.rnn import pack_sequence

import tapehead
from tapehead import LSTM, MANN, SequenceModel
from tapehead.errors import PretrainedError
from tapehead.nn.embedding import ImageEmbedding


def make(**options):
    torch.manual_seed(0)
    return ImageEmbedding(input_size=70, image_size=8, **{"channels": 3, "features": 5, **options})


def seen(embedding):
    """One that has been trained on a few pictures, whose means are therefore not those of a new one."""
    for _ in range(3):
        embedding(torch.randn(20, embedding.input_size, dtype=embedding.layers[0].weight.dtype))
    return embedding


def test_every_picture_on_its_own_and_the_rest_as_it_is():
    embedding, input = seen(make()).eval(), torch.randn(4, 2, 70)
    output = embedding(input)
    assert output.shape == (4, 2, embedding.output_size) == (4, 2, 5 + 6)
    assert torch.equal(output[..., 5:], input[..., 64:])
    torch.testing.assert_close(embedding(input[2, 1]), output[2, 1])


def test_the_layers_by_hand():
    embedding, input = seen(make(dtype=torch.float64)).eval(), torch.randn(70, dtype=torch.float64)
    parameters = [parameter.detach() for parameter in embedding.parameters()]
    picture = input[:64].view(1, 8, 8)  # row by row
    for layer, pooled in enumerate((True, True, False)):
        weight, bias = parameters[2 * layer], parameters[2 * layer + 1]
        padded, size = functional.pad(picture, (1, 1, 1, 1)), picture.shape[-1]
        shifted = torch.stack(
            [padded[:, down : down + size, across : across + size] for down in range(3) for across in range(3)], 1
        )  # (channels, 9, height, width)
        convolved = (torch.einsum("oik,ikhw->ohw", weight.flatten(2), shifted) + bias[:, None, None]).clamp(min=0)
        picture = convolved.unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).amax((2, 4)) if pooled else convolved
    features = parameters[6] @ picture.flatten() + parameters[7]
    mean, variance = embedding.normalisation.running_mean, embedding.normalisation.running_var
    assert mean.abs().min() > 0
    normed = (features - mean) / (variance + 1e-5).sqrt()
    torch.testing.assert_close(embedding(input)[:5], normed * parameters[8] + parameters[9])


def test_normalised_over_the_pictures_in_training():
    embedding = make()
    features = embedding(30 * torch.randn(50, 2, 70))[..., :5].flatten(0, 1)
    torch.testing.assert_close(features.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.std(0, correction=0), torch.full((5,), 0.35), atol=1e-3, rtol=0)


def test_a_single_picture_in_training():
    with pytest.raises(ValueError, match=r"expected two pictures or more in training.*got 1. Call eval\(\)"):
        make()(torch.randn(70))
    assert make().eval()(torch.randn(70)).shape == (11,)


@pytest.mark.parametrize(
    ("sizes", "error", "said"),
    [
        ({"image_size": 9, "input_size": 81}, ValueError, "expected image_size to be a multiple of 4, got 9"),
        ({"image_size": 12}, ValueError, "expected input_size >= 144, the pixels of image_size=12, got 70"),
        ({"channels": 0}, ValueError, "channels"),
        ({"features": 1.5}, TypeError, "features"),
        ({"dtype": torch.float16}, ValueError, "dtype"),
    ],
)
def test_sizes_that_do_not_fit(sizes, error, said):
    with pytest.raises(error, match=said):
        ImageEmbedding(**{"input_size": 70, "image_size": 8, **sizes})


def test_an_input_of_another_width():
    with pytest.raises(ValueError, match=r"expected input \(\.\.\., 70\), got \(2, 3\)"):
        make()(torch.randn(2, 3))


def test_a_model_looks_through_it():
    embedding = seen(make())
    model = SequenceModel(MANN(11, 6, memory_size=8, word_size=4), 2, embedding).eval()
    assert (model.input_size, model.core.input_size) == (70, 11)
    input = torch.randn(5, 2, 70)
    logits, _ = model(input)
    hidden, _ = model.core(embedding(input))
    torch.testing.assert_close(logits, model.readout(hidden))
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in embedding.parameters())

    packed, _ = model(pack_sequence([input[:, 0], input[:3, 1]]))
    torch.testing.assert_close(packed.data[:2], logits[0])


def test_what_pads_a_row_reaches_neither_logits_nor_gradients():
    model, lengths = SequenceModel(LSTM(11, 4), 2, make()), torch.tensor([5, 2])
    clean = torch.randn(5, 2, 70)
    dirty, past = clean.clone(), torch.arange(5).unsqueeze(1) >= lengths
    dirty[past] = torch.nan
    gradients = []
    for input in (clean, dirty):
        logits, _ = model(input, None, lengths)
        gradients.append(torch.autograd.grad(logits[~past].square().sum(), tuple(model.parameters())))
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right)


def test_what_pads_a_row_has_no_part_in_the_means():
    lengths, input = torch.tensor([5, 2]), torch.randn(5, 2, 70)
    packed = pack_sequence([input[:, 0], input[:2, 1]])
    model, other = SequenceModel(LSTM(11, 4), 2, make()), SequenceModel(LSTM(11, 4), 2, make())
    other.load_state_dict(model.state_dict())
    model(input, None, lengths)
    other(packed)
    alone = make()
    alone(packed.data)
    for name, expected in alone.normalisation.named_buffers():
        torch.testing.assert_close(model.embedding.normalisation.get_buffer(name), expected)
        torch.testing.assert_close(other.embedding.normalisation.get_buffer(name), expected)


@pytest.mark.parametrize("lengths", [[0, 0], [0, 1]], ids=str)
def test_fewer_than_two_pictures_among_padding_teach_it_nothing(lengths):
    model, input = SequenceModel(LSTM(11, 4), 2, seen(make())), torch.randn(5, 2, 70)
    expected, before = copy.deepcopy(model).eval(), copy.deepcopy(model.embedding.state_dict())
    logits, _ = model(input, None, torch.tensor(lengths))
    assert all(torch.equal(value, before[name]) for name, value in model.embedding.state_dict().items())
    torch.testing.assert_close(logits, expected(input, None, torch.tensor(lengths))[0])
    logits.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_the_means_are_those_of_torch():
    embedding, theirs = make(dtype=torch.float64), torch.nn.BatchNorm1d(5, dtype=torch.float64)
    torch.nn.init.constant_(theirs.weight, 0.35)
    for mode in (True, True, False):
        embedding.train(mode), theirs.train(mode)
        input = torch.randn(20, 70, dtype=torch.float64)
        expected = theirs(embedding.layers(input[:, :64].view(-1, 1, 8, 8)))
        torch.testing.assert_close(embedding(input)[:, :5], expected)
    torch.testing.assert_close(embedding.normalisation.running_var, theirs.running_var)


@pytest.mark.parametrize("mode", [True, False])
def test_ragged_batches_in_one_graph_and_mapped(mode):
    model = SequenceModel(MANN(11, 4, memory_size=8, word_size=4), 2, seen(make())).train(mode)
    input, lengths = torch.randn(3, 5, 4, 70), torch.tensor([[5, 2, 1, 0]] * 3)
    expected = copy.deepcopy(model)(input[0], None, lengths[0])[0]
    compiled = torch.compile(copy.deepcopy(model), fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(input[0], None, lengths[0])[0], expected)

    models = [copy.deepcopy(model) for _ in range(3)]
    stacked = stack_module_state(models)

    def call(parameters, buffers, input, lengths):
        return functional_call(model, (parameters, buffers), (input, None, lengths))[0]

    mapped = vmap(call)(*stacked, input, lengths)
    for place, alone in enumerate(models):
        torch.testing.assert_close(mapped[place], alone(input[place], None, lengths[place])[0])


def test_batch_first_and_one_row():
    torch.manual_seed(0)
    model, embedding = SequenceModel(LSTM(11, 4, batch_first=True), 2, seen(make())).eval(), make().eval()
    embedding.load_state_dict(model.embedding.state_dict())
    input = torch.randn(2, 5, 70)
    logits, _ = model(input)
    torch.testing.assert_close(model(input[1])[0], logits[1])
    torch.testing.assert_close(model.core(embedding(input))[0], model.core(model.embed(input))[0])


def test_an_input_of_another_dtype_is_told_what_to_do():
    model = SequenceModel(LSTM(11, 4), 2, make())
    with pytest.raises(ValueError, match=r"SequenceModel: expected input of torch.float32.*Convert one of them"):
        model(torch.randn(5, 2, 70, dtype=torch.float64))


def test_gradients_in_float64():
    embedding = make(channels=2, features=3, dtype=torch.float64)
    assert torch.autograd.gradcheck(embedding, (torch.randn(2, 70, dtype=torch.float64, requires_grad=True),))


@pytest.mark.parametrize(
    ("core", "embedding", "error", "said"),
    [
        (LSTM(11, 4), torch.nn.Linear(70, 11), TypeError, "expected embedding to be an ImageEmbedding or None"),
        (LSTM(11, 4, dtype=torch.float64), make(), ValueError, "expected an embedding of torch.float64 on cpu"),
    ],
)
def test_what_is_no_embedding_for_this_core(core, embedding, error, said):
    with pytest.raises(error, match=said):
        SequenceModel(core, 2, embedding)


def test_a_core_of_a_users_own_says_how_wide_it_is():
    class Own(torch.nn.Module):
        output_size = 3

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

    assert SequenceModel(Own(), 2).embedding is None
    with pytest.raises(TypeError, match="expected a core with an input_size behind an embedding, got Own"):
        SequenceModel(Own(), 2, make())


def test_an_embedding_of_a_users_own_is_not_saved(tmp_path):
    class Mine(ImageEmbedding):
        pass

    with pytest.raises(TypeError, match="expected an embedding of type ImageEmbedding, got Mine"):
        SequenceModel(LSTM(11, 4), 2, Mine(70, 8, features=5)).save_pretrained(tmp_path / "model")


def test_a_core_of_another_width():
    with pytest.raises(ValueError, match="expected a core of input_size=11, as wide as the embedding's output, got 12"):
        SequenceModel(LSTM(12, 4), 2, make())


def test_saved_and_loaded_to_the_bit(tmp_path):
    model = SequenceModel(LSTM(11, 4), 2, seen(make())).eval()
    model.save_pretrained(tmp_path / "model")
    again = tapehead.from_pretrained(tmp_path / "model")
    input = torch.randn(5, 2, 70)
    with torch.no_grad():
        assert torch.equal(again(input)[0], model(input)[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"embedding": 3}, "expected model.embedding to be an object, got 3"),
        ({"embedding": {"depth": 3}}, "got depth"),
        ({"embedding": {"input_size": 70, "image_size": 9}}, "model.embedding that makes a layer"),
        ({"embedding": {"input_size": 70, "image_size": 8, "features": 6}}, "as wide as the embedding's output"),
        ({"embedding": None}, "not to be there"),
    ],
)
def test_a_description_that_is_not_one(tmp_path, change, said):
    SequenceModel(LSTM(69, 4), 2, make(features=63)).save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    config["model"].update(change)
    path.write_text(json.dumps(config))
    with pytest.raises(PretrainedError, match=said):
        tapehead.from_pretrained(tmp_path / "model")


def test_another_readout_behind_an_embedding():
    embedding = ImageEmbedding(18, 4, channels=2, features=3)
    model = SequenceModel(LSTM(embedding.output_size, 4), 2, embedding).eval()
    input = torch.randn(5, 2, 18)
    expected, _ = model(input)
    model.readout = torch.nn.Sequential(model.readout, torch.nn.Identity())
    assert torch.equal(model(input)[0], expected)
