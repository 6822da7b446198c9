"""What every layer over time promises: state goes in and comes out, rows are alone, and every form is the same run."""

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from tapehead import LSTM, LSTMState, MANNCell, NTMCell, SequenceModel
from tapehead.states import map_tensors
from tapehead.testing import named_tensors
from tests.cases import by_name
from tests.nn.layers import LAYERS, ROWS, STEPS, any_state, assert_same, batch, row_of

LENGTHS = torch.tensor([4, 0, 6, 1])

every_layer = pytest.mark.parametrize("kind", **by_name(LAYERS))


@every_layer
@pytest.mark.parametrize("calls", [2, 3, STEPS])
def test_one_call_is_as_good_as_many(kind, calls):
    layer, input = kind.make(), batch()
    expected = layer(input)
    state, outputs = None, []
    for part in input.chunk(calls):
        output, state = layer(part, state)
        outputs.append(output)
    assert len(outputs) == calls
    assert_same((torch.cat(outputs), state), expected)


@every_layer
def test_sizes_of_output_and_state(kind):
    layer = kind.make()
    output, state = layer(batch())
    assert output.shape == (STEPS, ROWS, layer.output_size)
    start = layer.initial_state(ROWS)
    assert type(state) is type(start)
    assert [t.shape for _, t in named_tensors(state)] == [t.shape for _, t in named_tensors(start)]


@every_layer
def test_without_a_state_it_starts_from_the_initial_one(kind):
    layer, input = kind.make(), batch()
    assert_same(layer(input), layer(input, layer.initial_state(ROWS)))
    assert_same(layer(input[:, 0]), layer(input[:, 0], layer.initial_state()))


@every_layer
def test_a_row_of_a_batch_is_that_row_alone(kind):
    layer, input = kind.make(), batch()
    state = any_state(layer)
    output, new_state = layer(input, state)
    for row in range(ROWS):
        assert_same(layer(input[:, row], row_of(state, row)), (output[:, row], row_of(new_state, row)))


@every_layer
def test_batch_first_turns_input_and_output_but_no_state(kind):
    layer, turned, input = kind.make(), kind.make(batch_first=True), batch()
    turned.load_state_dict(layer.state_dict())
    state = any_state(layer)
    output, new_state = layer(input, state, LENGTHS)
    assert_same(turned(input.transpose(0, 1), state, LENGTHS), (output.transpose(0, 1), new_state))
    assert_same(turned(input[:, 0], row_of(state, 0)), layer(input[:, 0], row_of(state, 0)))


@every_layer
def test_ragged_rows_equal_each_row_at_its_own_length(kind):
    layer, input = kind.make(), batch()
    state = any_state(layer)
    output, new_state = layer(input, state, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        assert (output[length:, row] == 0).all()
        alone = (output[:0, row], row_of(state, row)) if length == 0 else layer(input[:length, row], row_of(state, row))
        assert_same((output[:length, row], row_of(new_state, row)), alone)


@every_layer
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_row_of_no_steps_has_its_state_back_and_no_say_in_the_gradients(kind, value):
    layer, input = kind.make(), batch()
    good = any_state(layer)
    lost = torch.arange(ROWS) == LENGTHS.tolist().index(0)
    bad = good.replace_rows(lost, map_tensors(lambda tensor: torch.full_like(tensor, value), good))
    results = []
    for state in (good, bad):
        output, new_state = layer(input, state, lengths=LENGTHS)
        gradients = torch.autograd.grad(output.square().sum(), [*layer.parameters()], materialize_grads=True)
        results.append((output, new_state.rows(~lost), gradients))
    assert_same(*results)
    for _, tensor in named_tensors(new_state.rows(lost)):
        assert torch.equal(tensor, torch.full_like(tensor, value)) or (value != value and tensor.isnan().all())


@every_layer
def test_full_lengths_are_no_lengths(kind):
    layer, input = kind.make(), batch()
    assert_same(layer(input, lengths=torch.full((ROWS,), STEPS)), layer(input))
    assert_same(layer(input[:, 0], lengths=torch.tensor(STEPS)), layer(input[:, 0]))


@every_layer
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32, torch.int64])
def test_lengths_of_any_integer_dtype_and_of_nothing(kind, dtype):
    layer, input = kind.make(), batch()
    assert_same(layer(input, lengths=LENGTHS.to(dtype)), layer(input, lengths=LENGTHS))
    state = any_state(layer)
    output, new_state = layer(input, state, torch.zeros(ROWS, dtype=dtype))
    assert (output == 0).all()
    assert_same(new_state, state)


@every_layer
@pytest.mark.parametrize("garbage", [1e30, torch.inf, torch.nan])
def test_what_pads_a_row_reaches_neither_output_nor_gradients(kind, garbage):
    layer, clean = kind.make(), batch()
    padded = torch.arange(STEPS).unsqueeze(1) >= LENGTHS
    results = []
    for input in (clean.masked_fill(padded.unsqueeze(-1), value).requires_grad_() for value in (0.0, garbage)):
        run = layer(input, lengths=LENGTHS)
        total = sum(tensor.square().sum() for _, tensor in named_tensors(run))
        parameters = dict(layer.named_parameters())
        names, leaves = ["input", *parameters], [input, *parameters.values()]
        gradients = torch.autograd.grad(total, leaves, materialize_grads=True)
        results.append((run, dict(zip(names, gradients, strict=True))))
    assert_same(results[1], results[0])


@every_layer
@pytest.mark.parametrize("enforce_sorted", [True, False])
def test_packed_sequence_is_lengths(kind, enforce_sorted):
    layer, input = kind.make(), batch()
    lengths = torch.tensor([6, 5, 5, 1] if enforce_sorted else [2, 6, 1, 5])
    state = any_state(layer)
    output, new_state = layer(pack_padded_sequence(input, lengths, enforce_sorted=enforce_sorted), state)
    assert isinstance(output, PackedSequence)
    padded, own_lengths = pad_packed_sequence(output)
    assert torch.equal(own_lengths, lengths)
    assert_same((padded, new_state), layer(input, state, lengths))


@every_layer
def test_packed_sequence_is_what_torch_gives(kind):
    layer, input = kind.make(), batch()
    packed = pack_padded_sequence(input, torch.tensor([2, 6, 1, 5]), enforce_sorted=False)
    theirs, _ = torch.nn.LSTM(input.shape[-1], 2, dtype=input.dtype)(packed)
    ours, _ = layer(packed)
    for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        assert torch.equal(getattr(ours, field), getattr(theirs, field))


@every_layer
def test_input_is_not_changed(kind):
    layer, input = kind.make(), batch()
    state = any_state(layer)
    before = {name: tensor.clone() for name, tensor in named_tensors((input, state))}
    layer(input, state, LENGTHS)
    assert all(torch.equal(before[name], tensor) for name, tensor in named_tensors((input, state)))


@every_layer
def test_model_is_a_layer_and_a_readout(kind):
    core, input = kind.make(), batch()
    model = SequenceModel(core, 2)
    state = any_state(core)
    output, new_state = core(input, state, LENGTHS)
    assert_same(model(input, state, LENGTHS), (model.readout(output), new_state))
    packed = pack_padded_sequence(input, torch.tensor([6, 5, 5, 1]))
    logits, _ = model(packed)
    assert_same(logits.data, model.readout(core(packed)[0].data))


@pytest.mark.parametrize("kind", **by_name([layer for layer in LAYERS if not layer.name.startswith("LSTM")]))
def test_cell_stepped_is_the_layer(kind):
    layer, input = kind.make(), batch()
    cell = layer.cell
    assert isinstance(cell, (NTMCell, MANNCell))
    state = any_state(layer)
    expected = layer(input, state)
    unbatched, outputs = row_of(state, 1), []
    for step in input:
        output, state = cell(step, state)
        output_alone, unbatched = cell(step[1], unbatched)
        assert_same((output_alone, unbatched), (output[1], row_of(state, 1)))
        outputs.append(output)
    assert_same((torch.stack(outputs), state), expected)


@pytest.mark.parametrize("fixed", [{}, {"num_layers": 2}, {"batch_first": True}], ids=str)
def test_lstm_is_torchs(fixed):
    layer, theirs = LSTM(3, 5, **fixed), torch.nn.LSTM(3, 5, **fixed)
    theirs.load_state_dict({name.removeprefix("lstm."): value for name, value in layer.state_dict().items()})
    rows = 6 if layer.batch_first else 4
    input, state = torch.randn(6, 4, 3), LSTMState(*torch.randn(2, layer.lstm.num_layers, rows, 5))
    for given in ((input,), (input, state)):
        output, (hidden, cell) = theirs(*given)
        assert_same(layer(*given), (output, LSTMState(hidden, cell)))
    assert_same(layer(input, tuple(state)), layer(input, state))
