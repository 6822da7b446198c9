"""The rule by which a fast implementation is judged."""

import pytest
import torch

from tapehead import HeadTrace, LSTMState
from tapehead.testing import assert_parity, error, named_tensors

EXACT = torch.tensor([1.0, 2.0], dtype=torch.float64)


def off_by(difference: float) -> dict[str, torch.Tensor]:
    return {"x": EXACT.float() + torch.tensor([0.0, difference])}


def test_error_is_the_largest_difference():
    assert error(torch.tensor([1.5, 2.0]), EXACT) == 0.5
    assert error(torch.tensor([1.5, torch.nan]), EXACT) == torch.inf
    assert error(torch.zeros(0), torch.zeros(0)) == 0


def test_error_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"expected tensors of one shape, got \(1,\) and \(2,\)"):
        error(torch.zeros(1), EXACT)


def test_named_tensors_follow_fields_and_indices_and_leave_out_none():
    key = torch.zeros(1)
    trace = HeadTrace(key, key, None, None, None, key, key)
    names = [name for name, _ in named_tensors((LSTMState(key, key), {"head": trace, "none": None}))]
    head = [f"1.head.{name}" for name in ("key", "key_strength", "content_weights", "weights")]
    assert names == ["0.hidden", "0.cell", *head]


def test_parity_allows_a_multiple_of_the_references_error():
    assert_parity(off_by(0.018), off_by(-0.01), {"x": EXACT})
    assert_parity(off_by(0.028), off_by(-0.01), {"x": EXACT}, factor=3)


def test_parity_refuses_more_and_names_the_tensor():
    with pytest.raises(AssertionError, match=r"^x: error .* allowed 0.02 = 2 x max"):
        assert_parity(off_by(0.022), off_by(0.01), {"x": EXACT})


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_parity_wants_inf_and_nan_in_the_same_places(value: float):
    special, exact = off_by(value), {"x": torch.tensor([1.0, value], dtype=torch.float64)}
    assert_parity(special, special, exact)
    other = off_by(-torch.inf if value == torch.inf else torch.inf)
    for fast, reference, best in [
        (special, off_by(0.01), {"x": EXACT}),
        (off_by(123.0), special, exact),
        (other, special, exact),
        (off_by(0), special, {"x": EXACT}),
        ({"x": special["x"] + 1e-3}, special, exact),
    ]:
        with pytest.raises(AssertionError, match=r"^x: "):
            assert_parity(fast, reference, best)


def test_parity_wants_the_references_dtype():
    exact = {"x": torch.tensor([1 / 3], dtype=torch.float64)}
    fast, reference = {"x": exact["x"].half()}, {"x": exact["x"].float()}
    with pytest.raises(AssertionError, match=r"^x: expected torch.float32, as the reference has, got torch.float16"):
        assert_parity(fast, reference, exact)


@pytest.mark.parametrize("nothing", [{}, (), None], ids=str)
def test_parity_wants_a_tensor(nothing):
    with pytest.raises(AssertionError, match="at least one tensor"):
        assert_parity(nothing, nothing, nothing)


def test_parity_of_what_has_no_elements():
    assert_parity({"x": torch.zeros(0)}, {"x": torch.zeros(0)}, {"x": torch.zeros(0).double()})


def test_parity_refuses_other_shapes():
    with pytest.raises(ValueError, match="of one shape"):
        assert_parity({"x": torch.ones(1)}, off_by(0), {"x": EXACT})


def test_named_tensors_refuse_what_is_none():
    with pytest.raises(TypeError, match=r"got str as 0\.name"):
        list(named_tensors(({"name": "x"},)))


def test_parity_with_a_reference_that_happens_to_be_exact_allows_roundings():
    one = 2 * torch.finfo(torch.float32).eps  # one rounding of the largest number, 2
    assert_parity(off_by(2 * one), off_by(0), {"x": EXACT})
    with pytest.raises(AssertionError):
        assert_parity(off_by(4 * one), off_by(0), {"x": EXACT})


def test_parity_refuses_missing_tensors():
    with pytest.raises(AssertionError, match="same tensors"):
        assert_parity({}, off_by(0), {"x": EXACT})
