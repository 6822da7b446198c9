"""Rows of a batch that end before others, and steps that become one tensor: what every plain loop over time needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from tapehead.states import map_tensors

__all__ = ["run_steps", "select_state", "stack_steps", "where_active", "zero_inactive"]

Nested = TypeVar("Nested")


def run_steps(
    step: Callable[[Tensor, Any], tuple[Tensor, Any, Any]], projected: Tensor, state: Any, lengths: Tensor | None
) -> tuple[Tensor, Any, Any]:
    """A step after the other, each row as far as its own length.

    Args:
        step: what it makes of one time of `projected` and a state: output (B, ...), the new state, a trace or None
        projected: (T, B, ...)
        state: what the sequence starts from
        lengths: (B,) integers in 0..T; None means T for every row

    Returns:
        outputs (T, B, ...), zero past a row's length; the state after each row's own last step; the traces, stacked
    """
    start, outputs, traces = state, [], []
    if lengths is not None:  # what a row without steps brings may be NaN, which would reach gradients as 0 * NaN
        state = select_state(lengths > 0, state, map_tensors(torch.zeros_like, state))
    for time in range(projected.shape[0]):
        output, new_state, trace = step(projected[time], state)
        if lengths is not None:
            active = time < lengths
            output, trace = zero_inactive(active, (output, trace))
            new_state = select_state(active, new_state, state)
        state = new_state
        outputs.append(output)
        traces.append(trace)
    if lengths is not None:
        state = select_state(lengths > 0, state, start)
    return torch.stack(outputs), state, stack_steps(traces)


def where_active(active: Tensor, new: Tensor, old: Tensor, dim: int = 0) -> Tensor:
    """Rows of `new` where `active` (B,) is true, of `old` elsewhere; the batch is dimension `dim`."""
    shape = (*(1,) * dim, -1, *(1,) * (new.dim() - dim - 1))
    return torch.where(active.view(shape), new, old)


def zero_inactive(active: Tensor, nested: Nested) -> Nested:
    """Every tensor of nested tuples with zeros in the rows that have ended; the batch comes first."""
    return map_tensors(lambda tensor: where_active(active, tensor, torch.zeros_like(tensor)), nested)


def select_state(active: Tensor, new: Any, old: Any) -> Any:
    """Each row's new state where it still runs, its old one where it has ended.

    Args:
        active: (B,) bool
        new: a named tuple of tensors (B, ...), of which `controller` is None or one of tensors (L, B, ...)
        old: likewise
    """
    fields = {}
    for name, value, before in zip(new._fields, new, old, strict=True):
        if name == "controller":
            pairs = () if value is None else zip(value, before, strict=True)
            parts = [where_active(active, left, right, dim=1) for left, right in pairs]
            fields[name] = None if value is None else type(value)(*parts)
        else:
            fields[name] = where_active(active, value, before)
    return type(new)(**fields)


def stack_steps(steps: Sequence[Any]) -> Any:
    """One nest of tensors with a leading time dimension out of one nest a step; what is None stays None."""
    first = steps[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.stack(list(steps))
    return type(first)(*(stack_steps(fields) for fields in zip(*steps, strict=True)))
