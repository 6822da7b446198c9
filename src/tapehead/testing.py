"""How two implementations of the same thing are compared: for tests of tapehead and of what is built on it.

A fast implementation need not give the reference's numbers, only numbers as good. Both are held against the reference
computed in float64, and the fast one may be at most `factor` times as far from it as the reference is in the fast
one's own precision:

    error(fast, exact) <= factor * max(error(reference, exact), eps * max |exact|)

where eps is that precision's unit of rounding: nobody can do better than one rounding of the
largest number. What is infinite or NaN must be the same in all three; the rest is held to the rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["assert_parity", "error", "named_tensors"]


def named_tensors(nested: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of nested tuples, named tuples and dicts, with the path that leads to it; None is left out.

    Raises:
        TypeError: something else is among them.

    >>> from tapehead import LSTMState
    >>> [name for name, _ in named_tensors({"state": LSTMState(torch.ones(1), torch.ones(1)), "none": None})]
    ['state.hidden', 'state.cell']
    """
    if nested is None:
        return
    if isinstance(nested, Tensor):
        yield name, nested
        return
    if isinstance(nested, Mapping):
        items = list(nested.items())
    elif isinstance(nested, (tuple, list)):
        items = list(zip(getattr(nested, "_fields", range(len(nested))), nested, strict=True))
    else:
        raise TypeError(
            f"named_tensors: expected tensors, None, and tuples, lists and dicts of them, got {type(nested).__name__}"
            + (f" as {name}." if name else ".")
        )
    for key, value in items:
        yield from named_tensors(value, f"{name}.{key}" if name else str(key))


def error(value: Tensor, exact: Tensor) -> float:
    """Return the largest difference between two tensors, taken in float64; infinite where one is NaN.

    Raises:
        ValueError: their shapes differ.

    >>> error(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5], dtype=torch.float64))
    0.5
    """
    if value.shape != exact.shape:
        raise ValueError(f"error: expected tensors of one shape, got {tuple(value.shape)} and {tuple(exact.shape)}.")
    if exact.numel() == 0:
        return 0.0
    difference = (value.detach().cpu().double() - exact.detach().cpu().double()).abs()
    return float(difference.nan_to_num(nan=torch.inf).max())


def assert_parity(fast: Any, reference: Any, exact: Any, *, factor: float = 2.0) -> None:
    """Raise AssertionError unless `fast` is as good as `reference`, tensor by tensor, by the rule above.

    Args:
        fast: nested tensors of the implementation under test
        reference: the same of the reference, computed in the precision of `fast`
        exact: the same of the reference, computed in float64
        factor: how many times the reference's own error is allowed

    Raises:
        AssertionError: a tensor of `fast` breaks the rule, has another dtype than the reference's, or is infinite or
            NaN elsewhere; there is no tensor, or not the same ones in each. The message names every tensor that fails.
        ValueError: a tensor's shape is not the same in each.
        TypeError: something else than tensors, None, and tuples, lists and dicts of them.

    >>> exact = {"sum": torch.tensor([1 / 3], dtype=torch.float64)}
    >>> reference = {"sum": torch.tensor([1 / 3])}
    >>> assert_parity(reference, reference, exact)
    >>> assert_parity({"sum": torch.tensor([0.3334])}, reference, exact)
    Traceback (most recent call last):
        ...
    AssertionError: sum: error 6.67e-05, allowed 7.95e-08 = 2 x max(reference's error 9.93e-09, one rounding 3.97e-08)

    """
    tables = [dict(named_tensors(nested)) for nested in (fast, reference, exact)]
    if not tables[0].keys() == tables[1].keys() == tables[2].keys():
        raise AssertionError(f"expected the same tensors in each, got {[sorted(table) for table in tables]}")
    if not tables[0]:
        raise AssertionError("expected at least one tensor in each, got none")
    failures = []
    for name in tables[0]:
        failure = _failure(*(table[name].detach().cpu() for table in tables), factor=factor)
        if failure is not None:
            failures.append(f"{name}: {failure}")
    if failures:
        raise AssertionError("\n".join(failures))


def _failure(fast: Tensor, reference: Tensor, exact: Tensor, *, factor: float) -> str | None:
    """What is wrong with a tensor; None where nothing is."""
    if fast.dtype != reference.dtype:
        return f"expected {reference.dtype}, as the reference has, got {fast.dtype}"
    error(fast, exact), error(reference, exact)  # of one shape
    finite = exact.isfinite()
    for whose, value in (("fast", fast), ("reference", reference)):
        special, expected = (tensor.double().masked_fill(finite & tensor.isfinite(), 0) for tensor in (value, exact))
        if not torch.allclose(special, expected, rtol=0, atol=0, equal_nan=True):
            return f"expected inf and NaN where exact has them and nowhere else, got others in {whose}"
    fast, reference, exact = fast[finite], reference[finite], exact[finite]
    own = error(reference, exact)
    rounding = torch.finfo(reference.dtype).eps * float(exact.abs().max()) if exact.numel() else 0.0
    found, allowed = error(fast, exact), factor * max(own, rounding)
    if found <= allowed:
        return None
    return (
        f"error {found:.3g}, allowed {allowed:.3g} = {factor:g} x max(reference's error {own:.3g}, "
        f"one rounding {rounding:.3g})"
    )
