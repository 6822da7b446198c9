"""Gradients of every backend against finite differences, in float64: of the input, every parameter, every state."""

import pytest
import torch
from torch.func import functional_call

from tapehead import LSTM, Initial
from tapehead.states import map_tensors
from tapehead.testing import named_tensors
from tests.cases import Case, by_name, make_input, make_layer, random_state

SMALL = {"memory_size": 4, "word_size": 2}
CASES = [
    Case("lstm_read_write", SMALL),
    Case("lstm_write_read", {**SMALL, "order": "write_read", "num_layers": 2}),
    Case("feedforward", {**SMALL, "controller": "feedforward", "num_layers": 2}),
    Case("relu", {**SMALL, "controller": "feedforward", "controller_activation": "relu", "num_layers": 2}),
    Case("feedforward_write_read", {**SMALL, "controller": "feedforward", "order": "write_read"}),
    Case("content", {**SMALL, "addressing": "content", "order": "write_read"}),
    Case("content_read_write", {**SMALL, "addressing": "content", "controller": "feedforward"}),
    Case("many_heads", {**SMALL, "num_read_heads": 2, "num_write_heads": 2}),
    Case("tanh_and_far_shifts", {"memory_size": 5, "word_size": 2, "max_shift": 2, "key_activation": "tanh"}),
    Case("tanh_add", {**SMALL, "add_activation": "tanh", "max_shift": 0}),
]
CASES = [case._replace(steps=3, rows=2) for case in CASES]

every_backend = pytest.mark.parametrize("backend", ["reference", "fused"])


def leaves_and_template(nested):
    """The tensors of a nest, and a function that puts others in their places."""
    leaves = [tensor.detach().requires_grad_() for _, tensor in named_tensors(nested)]

    def fill(values):
        rest = iter(values)
        return map_tensors(lambda _: next(rest), nested)

    return leaves, fill


@pytest.mark.parametrize("case", **by_name(CASES))
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@every_backend
def test_layer_with_a_given_state(case: Case, ragged: bool, backend: str):
    layer, lengths = make_layer(case, backend=backend), torch.tensor([3, 1]) if ragged else None
    names = [name for name, _ in layer.named_parameters()]
    parameters = [parameter.detach().requires_grad_() for parameter in layer.parameters()]
    state_leaves, fill = leaves_and_template(random_state(layer, case.rows))

    def run(input, *tensors):
        named = dict(zip(names, tensors[: len(names)], strict=True))
        results = functional_call(layer, named, (input, fill(tensors[len(names) :]), lengths))
        return tuple(tensor for _, tensor in named_tensors(results))

    # The fast mode compares random projections of the Jacobian of every output, final state included.
    arguments = (make_input(case).requires_grad_(), *parameters, *state_leaves)
    assert torch.autograd.gradcheck(run, arguments, fast_mode=True)


@every_backend
def test_whole_jacobian_entry_by_entry(backend: str):
    case = CASES[0]._replace(rows=1, steps=2)
    layer = make_layer(case, backend=backend)
    state_leaves, fill = leaves_and_template(random_state(layer, 1))

    def run(input, weight, bias, reads, *state):
        named = {"cell.heads.weight": weight, "cell.heads.bias": bias, "cell.controller.weight_reads": reads}
        return tuple(tensor for _, tensor in named_tensors(functional_call(layer, named, (input, fill(state)))))

    own = [layer.cell.heads.weight, layer.cell.heads.bias, layer.cell.controller.weight_reads]
    own = [parameter.detach().requires_grad_() for parameter in own]
    assert torch.autograd.gradcheck(run, (make_input(case).requires_grad_(), *own, *state_leaves))


LEARNED = Initial(memory="learned", weights="learned", reads="learned", controller="learned", std=1.0)


@pytest.mark.parametrize("order", ["read_write", "write_read"])
@every_backend
def test_learned_initial_state(order: str, backend: str):
    case = Case("learned", {**SMALL, "initial": LEARNED, "order": order}, steps=2, rows=2)
    layer, input = make_layer(case, backend=backend), make_input(case)
    names = [name for name, _ in layer.named_parameters() if "initial" in name]
    assert len(names) == 6

    def run(*tensors):
        results = functional_call(layer, dict(zip(names, tensors, strict=True)), (input,))
        return tuple(tensor for _, tensor in named_tensors(results))

    parameters = dict(layer.named_parameters())
    assert torch.autograd.gradcheck(run, [parameters[name].detach().requires_grad_() for name in names], fast_mode=True)


def test_lstm_with_learned_initial_state_and_empty_rows():
    layer, input = LSTM(3, 4, 2, initial="learned", dtype=torch.float64), torch.randn(3, 3, 3, dtype=torch.float64)
    names, parameters = zip(*layer.named_parameters(), strict=True)

    def run(input, *tensors):
        named = dict(zip(names, tensors, strict=True))
        results = functional_call(layer, named, (input, None, torch.tensor([2, 0, 3])))
        return tuple(tensor for _, tensor in named_tensors(results))

    leaves = [parameter.detach().requires_grad_() for parameter in parameters]
    assert torch.autograd.gradcheck(run, (input.requires_grad_(), *leaves), fast_mode=True)


@pytest.mark.parametrize("case", **by_name(CASES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every_backend
def test_zero_memory_has_finite_gradients_everywhere(case: Case, dtype: torch.dtype, backend: str):
    layer = make_layer(case, dtype, initial=Initial(constant=0.0), backend=backend)
    input = make_input(case, dtype).requires_grad_()
    state = map_tensors(lambda tensor: tensor.clone().requires_grad_(), layer.initial_state(case.rows))
    total = sum(tensor.square().sum() for _, tensor in named_tensors(layer(input, state)))
    parameters = [parameter for name, parameter in layer.named_parameters() if "initial" not in name]
    leaves = [input, *parameters, *(tensor for _, tensor in named_tensors(state))]
    for gradient in torch.autograd.grad(total, leaves, materialize_grads=True):
        assert gradient.isfinite().all()


@every_backend
def test_detached_state_cuts_the_graph(backend: str):
    case = CASES[0]
    layer, input = make_layer(case, backend=backend), make_input(case).requires_grad_()
    _, state = layer(input)
    output, _ = layer(make_input(case), state.detach())
    assert torch.autograd.grad(output.sum(), input, allow_unused=True) == (None,)
