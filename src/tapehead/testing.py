"""How two implementations of the same thing are compared: for tests of tapehead and of what is built on it.

A fast implementation need not give the reference's numbers, only numbers as good. Both are held against the reference
computed in float64, and the fast one may be at most `factor` times as far from it as the reference is in the fast
one's own precision:

    error(fast, exact) <= factor * max(error(reference, exact), eps * max |exact|)

where eps is that precision's unit of rounding: nobody can do better than one rounding of the
largest number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["assert_parity", "error", "named_tensors"]


def named_tensors(nested: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of nested tuples, named tuples and dicts, with the path that leads to it; None is left out.

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
    else:
        items = list(zip(getattr(nested, "_fields", range(len(nested))), nested, strict=True))
    for key, value in items:
        yield from named_tensors(value, f"{name}.{key}" if name else str(key))


def error(value: Tensor, exact: Tensor) -> float:
    """Return the largest difference between two tensors, taken in float64; infinite where one is NaN.

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
    failures = []
    for name, value in tables[0].items():
        best = tables[2][name]
        own = error(tables[1][name], best)
        rounding = torch.finfo(value.dtype).eps * float(best.detach().abs().max()) if best.numel() else 0.0
        found, allowed = error(value, best), factor * max(own, rounding)
        if not found <= allowed:
            failures.append(
                f"{name}: error {found:.3g}, allowed {allowed:.3g} = {factor:g} x max(reference's error {own:.3g}, "
                f"one rounding {rounding:.3g})"
            )
    if failures:
        raise AssertionError("\n".join(failures))
