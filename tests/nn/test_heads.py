"""What new heads begin with, seen in the trace of a layer whose head weights say nothing."""

import json
import math

import pytest
import torch

from tapehead import MANN, NTM


def begin(layer):
    with torch.no_grad():
        layer.cell.heads.weight.zero_()
        return layer.trace(torch.randn(1, 1, layer.input_size))[2]


@pytest.mark.parametrize(("options", "strength"), [({}, math.log(2)), ({"key_strength_bias": 7.0}, 7.000911)])
@pytest.mark.parametrize("addressing", ["content", "content_and_location"])
def test_an_ntms_keys(options, strength, addressing):
    trace = begin(NTM(2, 3, num_read_heads=2, addressing=addressing, **options))
    torch.testing.assert_close(trace.read.key_strength, torch.full((1, 1, 2), strength))
    torch.testing.assert_close(trace.write.key_strength, torch.full((1, 1, 1), strength))


def test_an_ntms_gates_and_shifts():
    options = {"read_interpolation_bias": 2.0, "write_interpolation_bias": -3.0}
    shifts = {"read_shift_bias": [0, 1, 2, 3, 4], "write_shift_bias": (math.log(4), 0.0, 0.0, 0.0, math.log(2))}
    layer = NTM(2, 3, num_read_heads=2, num_write_heads=3, max_shift=2, **options, **shifts)
    trace = begin(layer)
    torch.testing.assert_close(trace.read.interpolation_gate, torch.full((1, 1, 2), 1 / (1 + math.exp(-2))))
    torch.testing.assert_close(trace.write.interpolation_gate, torch.full((1, 1, 3), 1 / (1 + math.exp(3))))
    parts = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]).exp()
    torch.testing.assert_close(trace.read.shift_weights, (parts / parts.sum()).expand(1, 1, 2, 5))
    parts = torch.tensor([4.0, 1.0, 1.0, 1.0, 2.0])
    torch.testing.assert_close(trace.write.shift_weights, (parts / 9).expand(1, 1, 3, 5))
    for head in (trace.read, trace.write):
        torch.testing.assert_close(head.gamma, torch.full_like(head.gamma, 1 + math.log(2)))
    assert layer.arguments()["read_shift_bias"] == (0.0, 1.0, 2.0, 3.0, 4.0)


def test_heads_that_walk_from_the_start():
    walking = NTM(2, 3, write_interpolation_bias=-9.0, write_shift_bias=(0.0, 7.0, 9.0))
    weights = walking.trace(torch.randn(40, 1, 2))[2].write.weights[:, 0, 0]
    assert weights.argmax(-1).tolist() == list(range(1, 41))
    assert weights.amax(-1).min() > 0.7


def test_each_head_may_begin_its_own_way():
    """One write head walks, the other looks for its slot by content and stays there."""
    gates, shifts = [-9, 4.0], [(0.0, 7.0, 9.0), [0, 4, 0]]
    layer = NTM(2, 3, num_write_heads=2, write_interpolation_bias=gates, write_shift_bias=shifts, backend="reference")
    trace = begin(layer)
    torch.testing.assert_close(trace.write.interpolation_gate, torch.tensor([[gates]], dtype=torch.float32).sigmoid())
    torch.testing.assert_close(trace.write.shift_weights, torch.tensor([[shifts]], dtype=torch.float32).softmax(-1))
    assert layer.arguments()["write_interpolation_bias"] == (-9.0, 4.0)
    assert layer.arguments()["write_shift_bias"] == ((0.0, 7.0, 9.0), (0.0, 4.0, 0.0))
    stored = json.loads(json.dumps({**layer.arguments(), "initial": None}))
    again = NTM(**stored)
    assert again.arguments()["write_shift_bias"] == layer.arguments()["write_shift_bias"]
    torch.testing.assert_close(again.cell.heads.bias, layer.cell.heads.bias)
    read = NTM(2, 3, num_read_heads=2, read_interpolation_bias=(1, 2), read_shift_bias=shifts)
    torch.testing.assert_close(begin(read).read.shift_weights, torch.tensor([[shifts]]).softmax(-1))


def test_biases_without_effect_where_heads_address_by_content_alone():
    options = {"read_interpolation_bias": 2.0, "write_interpolation_bias": -3.0, "write_shift_bias": (1, 2, 3)}
    bias = NTM(2, 3, addressing="content", key_strength_bias=5.0, **options).cell.heads.bias
    assert sorted(bias.tolist()) == [0.0] * (len(bias) - 2) + [5.0, 5.0]


def test_a_shift_bias_has_a_number_for_each_offset():
    with pytest.raises(
        ValueError, match=r"write_shift_bias of length 5, one for .* max_shift=2, from -2 to 2, got 3: \[0, 1, 2\]"
    ):
        NTM(2, 3, max_shift=2, write_shift_bias=[0, 1, 2])
    with pytest.raises(
        TypeError, match=r"NTM: expected read_shift_bias to be None or a list of floats, one .* got 1.0"
    ):
        NTM(2, 3, read_shift_bias=1.0)
    with pytest.raises(TypeError, match=r"expected write_shift_bias to be None or a list of floats.*of type bytes"):
        NTM(2, 3, write_shift_bias=b"abc")
    with pytest.raises(ValueError, match=r"expected read_shift_bias\[2\] to be finite, got nan"):
        NTM(2, 3, read_shift_bias=(0.0, 0.0, math.nan))


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (
            {"write_interpolation_bias": [1]},
            ValueError,
            r"write_interpolation_bias of length 2, one for each of num_write_heads=2",
        ),
        ({"write_interpolation_bias": [1, "2"]}, TypeError, r"write_interpolation_bias\[1\] to be a float, got '2'"),
        ({"write_interpolation_bias": "2"}, TypeError, r"write_interpolation_bias to be a float, got '2' of type str"),
        ({"write_shift_bias": [[1, 2, 3]]}, ValueError, r"write_shift_bias to be a list of floats, or 2 such lists"),
        ({"write_shift_bias": [[1, 2, 3], [1]]}, ValueError, r"write_shift_bias\[1\] of length 3, one for each offset"),
        ({"write_shift_bias": [[1, 2, 3], None]}, TypeError, r"write_shift_bias\[1\] to be a list of floats, one for"),
        ({"write_shift_bias": [[1, 2, 3], 1.0]}, TypeError, r"write_shift_bias\[1\] to be None or a list of floats"),
    ],
)
def test_biases_of_each_head_are_as_many_as_heads(options, kind, message):
    with pytest.raises(kind, match=message):
        NTM(2, 3, num_write_heads=2, **options)


@pytest.mark.parametrize(("options", "strength"), [({}, 15.0), ({"key_strength_bias": 0}, math.log(2))])
@pytest.mark.parametrize("write", ["add", "key"])
def test_a_manns_keys_and_gates(options, strength, write):
    trace = begin(MANN(2, 3, write=write, **options))
    torch.testing.assert_close(trace.read.key_strength, torch.full((1, 1, 4), strength))
    torch.testing.assert_close(trace.write.write_gate, torch.full((1, 1, 4), 1 / (1 + math.exp(2))))


def test_gates_alone_where_keys_have_no_strength():
    trace = begin(MANN(2, 3, key_strength="one", write_gate_bias=0.0))
    torch.testing.assert_close(trace.write.write_gate, torch.full((1, 1, 4), 0.5))


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (NTM, "key_strength_bias"),
        (NTM, "read_interpolation_bias"),
        (NTM, "write_interpolation_bias"),
        (MANN, "key_strength_bias"),
        (MANN, "write_gate_bias"),
    ],
)
def test_biases_are_finite_numbers(layer, name):
    with pytest.raises(ValueError, match=f"{layer.__name__}: expected {name} to be finite, got inf"):
        layer(2, 3, **{name: math.inf})
    with pytest.raises(TypeError, match=f"{layer.__name__}: expected {name} to be a float, got '1' of type str"):
        layer(2, 3, **{name: "1"})


@pytest.mark.parametrize("layer", [NTM, MANN])
def test_heads_on_a_device_of_their_own(layer):
    with torch.device("meta"):
        bias = layer(2, 3, key_strength_bias=7.0, device="cpu").cell.heads.bias
    assert bias.max() == 7
