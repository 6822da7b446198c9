"""A trace shows the same run that `forward` makes, in the form of its input."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from tapehead.states import map_tensors
from tapehead.testing import named_tensors
from tests.cases import CASES, Case, by_name, make_input, make_layer, random_state
from tests.nn.layers import assert_same, row_of

every_case = pytest.mark.parametrize("case", **by_name(CASES))


@every_case
def test_trace_agrees_with_forward(case: Case):
    layer, input = make_layer(case), make_input(case)
    state = random_state(layer, case.rows)
    output, new_state, trace = layer.trace(input, state)
    assert_same((output, new_state), layer(input, state))
    assert_same(trace.reads.flatten(2), output[..., layer.cell.hidden_size :])
    last = (trace.memory[-1], trace.read.weights[-1], trace.write.weights[-1], trace.reads[-1])
    assert_same(last, tuple(new_state[:4]))


@every_case
def test_shapes_are_those_of_the_docs(case: Case):
    layer = make_layer(case)
    settings, time = layer.cell.settings, (case.steps, case.rows)
    slots, words, shifts = layer.memory_size, settings.word_size, 2 * settings.max_shift + 1
    _, _, trace = layer.trace(make_input(case))
    shapes = {name: tensor.shape for name, tensor in named_tensors(trace)}
    expected = {}
    for side, heads in (("read", settings.num_read_heads), ("write", settings.num_write_heads)):
        tails = {"key": (words,), "key_strength": (), "content_weights": (slots,), "weights": (slots,)}
        if settings.addressing == "content_and_location":
            tails |= {"interpolation_gate": (), "shift_weights": (shifts,), "gamma": ()}
        expected |= {f"{side}.{name}": (*time, heads, *tail) for name, tail in tails.items()}
    writers = settings.num_write_heads
    expected |= {"erase": (*time, writers, words), "add": (*time, writers, words)}
    expected |= {"reads": (*time, settings.num_read_heads, words), "memory": (*time, slots, words)}
    assert shapes == expected


@every_case
def test_values_are_in_their_ranges(case: Case):
    layer = make_layer(case)
    _, _, trace = layer.trace(make_input(case), random_state(layer, case.rows))
    for head in (trace.read, trace.write):
        assert (head.key_strength >= 0).all()
        for weights in (head.weights, head.content_weights, head.shift_weights):
            if weights is not None:
                assert (weights >= 0).all()
                assert ((weights.sum(-1) - 1).abs() < 1e-14).all()
        if head.gamma is not None:
            assert (head.gamma >= 1).all()
            assert ((head.interpolation_gate >= 0) & (head.interpolation_gate <= 1)).all()
    assert ((trace.erase >= 0) & (trace.erase <= 1)).all()


def test_trace_of_ragged_rows_is_each_rows_own_and_zero_past_its_end():
    case = CASES[0]
    layer, input, lengths = make_layer(case), make_input(case), torch.tensor([2, 0, 5])
    _, _, trace = layer.trace(input, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        assert all((tensor[length:, row] == 0).all() for _, tensor in named_tensors(trace))
        if length:
            _, _, alone = layer.trace(input[:length, row])
            assert_same(map_tensors(lambda tensor: tensor[:length, row], trace), alone)  # noqa: B023


def test_trace_takes_the_form_of_its_input():
    case = CASES[0]
    layer, turned, input = make_layer(case), make_layer(case, batch_first=True), make_input(case)
    turned.load_state_dict(layer.state_dict())
    output, state, trace = layer.trace(input)
    by_batch = map_tensors(lambda tensor: tensor.transpose(0, 1), (output, trace))
    assert_same(turned.trace(input.transpose(0, 1)), (by_batch[0], state, by_batch[1]))
    alone = map_tensors(lambda tensor: tensor[:, 1], (output, trace))
    assert_same(layer.trace(input[:, 1]), (alone[0], row_of(state, 1), alone[1]))


def test_trace_of_a_packed_sequence_is_padded():
    case = CASES[0]
    layer, input, lengths = make_layer(case), make_input(case), torch.tensor([2, 5, 3])
    packed = pack_padded_sequence(input, lengths, enforce_sorted=False)
    for either in (layer, make_layer(case, batch_first=True)):
        either.load_state_dict(layer.state_dict())
        assert_same(either.trace(packed)[1:], layer.trace(input, lengths=lengths)[1:])
