"""The MANN's whole sequence as a custom op of torch: what its schema is made of.

`fused.py` packs the named tuples around it, `cpu.py` runs it, `shapes.py` tells every shape.
README.md in this folder derives the backward and describes every array that passes from the forward to the backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from tapehead.ops.custom import SequenceOp
from tapehead.ops.mann.shapes import Shape

__all__ = ["OP", "Arguments", "BackwardArguments", "Results"]


class Arguments(NamedTuple):
    """What the forward takes. Without a state of the controller (feed-forward) or upper layers, theirs are None."""

    input: Tensor
    """(T, B, D)"""
    memory: Tensor
    """(B, N, M), and so on: a `MANNState`"""
    read_weights: Tensor
    usage: Tensor
    reads: Tensor
    hidden: Tensor | None
    cell: Tensor | None
    weight_input: Tensor
    """(G, D), of the lowest layer, as the next three; G = 4H or (feed-forward) H"""
    bias: Tensor
    """(G,)"""
    weight_reads: Tensor
    """(G, R*M)"""
    weight_hidden: Tensor | None
    """(G, H)"""
    upper_weight: Tensor | None
    """(L - 1, G, 2H), feed-forward (L - 1, G, H): of what is below, and of their own past"""
    upper_bias: Tensor | None
    """(L - 1, G)"""
    heads_weight: Tensor
    """(P, H)"""
    heads_bias: Tensor
    """(P,)"""
    lengths: Tensor | None
    """(B,) int64"""
    sizes: Sequence[int]
    """a `Sizes`"""
    checkpoint_every: int
    """keep M_t for the backward after every so many steps, and make the others again"""
    save: bool
    """keep what the backward needs; without it, arrays of steps have one step"""
    trace: bool
    """return what traces show, of every step; only with `save` and `checkpoint_every` 1"""


class Results(NamedTuple):
    """What the forward returns; a tensor that there is no use for has no elements."""

    output: Tensor
    """(T, B, H + R*M)"""
    memory: Tensor
    """(B, N, M), and so on: the state after each row's last step"""
    read_weights: Tensor
    usage: Tensor
    """without a gradient"""
    reads: Tensor
    hidden: Tensor
    cell: Tensor
    traced: Tensor
    """one piece of all that a trace shows and `output` does not, and that has a gradient; see `Shape.traced`"""
    internals: Tensor
    """one piece of all else that the backward reads, with `Shape.noted` for traces; see `Shape.internals`"""


class BackwardArguments(NamedTuple):
    """What the backward takes: the gradients that there are, and what the forward was given and made."""

    grad_output: Tensor | None
    grad_last_memory: Tensor | None
    grad_last_read_weights: Tensor | None
    grad_last_reads: Tensor | None
    grad_last_hidden: Tensor | None
    grad_last_cell: Tensor | None
    grad_traced: Tensor | None
    input: Tensor
    read_weights: Tensor
    reads: Tensor
    hidden: Tensor | None
    cell: Tensor | None
    weight_input: Tensor
    weight_reads: Tensor
    weight_hidden: Tensor | None
    upper_weight: Tensor | None
    heads_weight: Tensor
    lengths: Tensor | None
    output: Tensor
    traced: Tensor
    internals: Tensor
    sizes: Sequence[int]
    checkpoint_every: int
    of_input: bool
    """whether the gradient of the input is wanted"""
    of_state: bool
    """whether those of the state that the sequence started from are"""


OP = SequenceOp("mann", "MANN", Shape, Arguments, Results, BackwardArguments)
