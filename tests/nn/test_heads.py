"""What new heads begin with, seen in the trace of a layer whose head weights say nothing."""

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
    ("layer", "name"), [(NTM, "key_strength_bias"), (MANN, "key_strength_bias"), (MANN, "write_gate_bias")]
)
def test_biases_are_finite_numbers(layer, name):
    with pytest.raises(ValueError, match=f"{layer.__name__}Cell: expected {name} to be finite, got inf"):
        layer(2, 3, **{name: math.inf})
    with pytest.raises(TypeError, match=f"{layer.__name__}Cell: expected {name} to be a float, got '1' of type str"):
        layer(2, 3, **{name: "1"})
