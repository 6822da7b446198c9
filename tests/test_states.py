"""States are data: named tuples that map, detach, and gain or lose a batch."""

import pytest
import torch

from tapehead import HeadTrace, LSTMState, NTMState, Trace
from tapehead.states import map_tensors
from tapehead.testing import named_tensors


def lstm_state(batch: tuple[int, ...] = (3,)) -> LSTMState:
    return LSTMState(torch.randn(2, *batch, 5), torch.randn(2, *batch, 5))


def ntm_state(batch: tuple[int, ...] = (3,), controller: bool = True) -> NTMState:
    shapes = [(7, 4), (2, 7), (1, 7), (2, 4)]
    return NTMState(*(torch.randn(*batch, *shape) for shape in shapes), lstm_state(batch) if controller else None)


STATES = {"lstm": lstm_state, "ntm": ntm_state, "ntm_feedforward": lambda batch=(3,): ntm_state(batch, False)}


@pytest.mark.parametrize("make", STATES.values(), ids=STATES)
def test_detach_cuts_the_graph_and_keeps_numbers_and_type(make):
    state = map_tensors(torch.Tensor.requires_grad_, make())
    detached = state.detach()
    assert type(detached) is type(state)
    for (name, tensor), (other, original) in zip(named_tensors(detached), named_tensors(state), strict=True):
        assert name == other
        assert not tensor.requires_grad
        assert original.requires_grad
        assert torch.equal(tensor, original)


@pytest.mark.parametrize("make", STATES.values(), ids=STATES)
def test_batch_of_one_comes_and_goes(make):
    state, batched = make(()), make((1,))
    assert [t.shape for _, t in named_tensors(state.add_batch())] == [t.shape for _, t in named_tensors(batched)]
    again = state.add_batch().remove_batch()
    for (_, tensor), (_, original) in zip(named_tensors(again), named_tensors(state), strict=True):
        assert torch.equal(tensor, original)


@pytest.mark.parametrize("make", STATES.values(), ids=STATES)
def test_a_batch_of_more_is_not_removed(make):
    with pytest.raises(ValueError, match="remove_batch: expected a batch of 1, got 4 rows"):
        make((4,)).remove_batch()


@pytest.mark.parametrize("make", STATES.values(), ids=STATES)
def test_states_are_immutable(make):
    state = make()
    with pytest.raises(AttributeError):
        setattr(state, state._fields[0], torch.zeros(1))


def test_map_tensors_keeps_types_and_none():
    head = HeadTrace(torch.ones(1), torch.ones(1), None, None, None, torch.ones(1), torch.ones(1))
    trace = Trace(head, head, *(torch.ones(2) for _ in range(4)))
    doubled = map_tensors(lambda tensor: tensor * 2, trace)
    assert type(doubled) is Trace
    assert type(doubled.read) is HeadTrace
    assert doubled.read.gamma is None
    assert all((tensor == 2).all() for _, tensor in named_tensors(doubled))
    assert map_tensors(torch.neg, None) is None
    assert isinstance(map_tensors(torch.neg, [torch.ones(1)]), list)


@pytest.mark.parametrize("other", [{"a": torch.ones(1)}, "a", 3], ids=str)
def test_map_tensors_refuses_what_is_no_tuple(other):
    with pytest.raises(TypeError, match=f"expected tensors, None, and tuples .* got {type(other).__name__}"):
        map_tensors(torch.neg, (torch.ones(1), other))
