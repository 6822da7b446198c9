"""What every public module can do that a torch module can; one list of modules drives all of it."""

import copy
import inspect
import io
import pickle

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

import tapehead
import tapehead.nn
from tapehead.testing import assert_parity, error, named_tensors
from tests.cases import by_name
from tests.nn.modules import PUBLIC, Public, without_running_means

every_module = pytest.mark.parametrize("public", **by_name(PUBLIC))


def results(module: nn.Module, *arguments) -> dict[str, torch.Tensor]:
    return dict(named_tensors(module(*arguments)))


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_no_public_module_is_missing_from_the_list():
    names = {(home, name) for home in (tapehead, tapehead.nn) for name in home.__all__}
    values = {getattr(home, name) for home, name in names}
    modules = {value for value in values if inspect.isclass(value) and issubclass(value, nn.Module)}
    # The embedding is no recurrent layer, and has tests of its own.
    assert modules - {tapehead.ImageEmbedding} == {public.type for public in PUBLIC}


@every_module
def test_copies_give_the_same_answer_and_are_independent(public: Public):
    module, input = public.make(), public.input()
    expected = results(module, input)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    for copied in (
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        torch.load(buffer, weights_only=False),
    ):
        assert_equal(results(copied, input), expected)
        with torch.no_grad():
            for parameter in copied.parameters():
                parameter.add_(1)
        assert_equal(results(module, input), expected)


@every_module
def test_state_dict_goes_round(public: Public):
    module, other, input = public.make(), public.make(), public.input()
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert_equal(results(other, input), results(module, input))


@every_module
def test_reset_parameters_of_its_parts_draw_new_ones(public: Public):
    module = public.make()
    before = copy.deepcopy(module.state_dict())
    for part in module.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    # The scales of a normalisation start at 1 and are not drawn.
    drawn = {name for name, value in before.items() if "weight" in name and "initial" not in name and value.dim() > 1}
    assert drawn <= changed


@every_module
def test_reset_parameters_makes_it_a_new_one(public: Public):
    torch.manual_seed(5)
    new = public.make()
    module = public.make()
    torch.manual_seed(5)
    module.reset_parameters()
    assert_equal(module.state_dict(), new.state_dict())


@every_module
def test_repr_tells_the_sizes(public: Public):
    text = repr(public.make())
    assert text.startswith(public.type.__name__)
    assert "3, 4" in text


@every_module
@pytest.mark.parametrize("convert", [nn.Module.double, lambda module: module.to(torch.float64)], ids=["double", "to"])
def test_converted_to_float64(public: Public, convert):
    module, input = public.make(), public.input()
    without_running_means(module)
    single = results(module, input)
    double = results(convert(module), input.double())
    for name, tensor in double.items():
        assert tensor.dtype == torch.float64
        assert error(single[name], tensor) < 1e-5, name  # a few roundings of 6e-8 of numbers around 1
    assert_equal(results(module.float(), input), single)


@every_module
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # checks of an input look at its sizes
@pytest.mark.filterwarnings("ignore:.torch.jit")  # deprecated, and a FutureWarning since torch 2.15
@pytest.mark.parametrize("gradients", [False, True], ids=["without_gradients", "with_gradients"])
def test_traced_by_jit(public: Public, gradients: bool):
    if "random" in public.name:
        pytest.skip("torch traces nothing that draws, and no output that holds None")
    module, input, other = public.make(), public.input(), public.input()
    without_running_means(module)
    with torch.set_grad_enabled(gradients):
        traced = torch.jit.trace(module, input)

    def found(function) -> tuple[torch.Tensor, ...]:
        output = function(other)[0]
        used = [parameter for parameter in module.parameters() if parameter.requires_grad]
        return output, *torch.autograd.grad(output.sum(), used, materialize_grads=True)

    torch.testing.assert_close(found(traced), found(module))


@every_module
def test_made_in_float64(public: Public):
    module = public.make(dtype=torch.float64)
    assert {tensor.dtype for tensor in module.state_dict().values()} == {torch.float64}
    found = results(module, public.input(torch.float64))
    assert {tensor.dtype for tensor in found.values()} == {torch.float64}


@every_module
def test_follows_the_default_dtype(public: Public):
    torch.set_default_dtype(torch.float64)
    try:
        module = public.make()
        found = results(module, public.input(torch.float64))
    finally:
        torch.set_default_dtype(torch.float32)
    assert {tensor.dtype for tensor in [*module.state_dict().values(), *found.values()]} == {torch.float64}


@every_module
def test_on_another_device(public: Public):
    expected = {name: tensor.shape for name, tensor in results(public.make(), public.input()).items()}
    with torch.device("meta"):
        under_context = public.make()
    for module in (public.make(device="meta"), public.make().to("meta"), under_context):
        assert {tensor.device.type for tensor in module.state_dict().values()} <= {"meta"}
        found = results(module, public.input(device="meta"))
        assert {tensor.device.type for tensor in found.values()} == {"meta"}
        assert {name: tensor.shape for name, tensor in found.items()} == expected


@every_module
def test_made_on_meta_then_filled(public: Public):
    source, module, input = public.make(), public.make(device="meta"), public.input()
    module.to_empty(device="cpu").load_state_dict(source.state_dict())
    assert_equal(results(module, input), results(source, input))


@every_module
def test_unbatched_is_the_batch_of_one(public: Public):
    module, input = public.make(), public.input()
    input = input[:1] if public.is_cell else input[:, :1]
    alone = module(input[0] if public.is_cell else input[:, 0])
    for (name, found), (_, batched) in zip(named_tensors(alone), named_tensors(module(input)), strict=True):
        assert found.dim() == batched.dim() - 1
        assert error(found.flatten(), batched.flatten()) < 1e-6, name


@every_module
def test_a_call_leaves_nothing_on_the_module(public: Public):
    module, input = public.make(), public.input()
    without_running_means(module)

    def held() -> dict[str, tuple[int, int]]:
        return {
            f"{path}.{name}": (id(value), getattr(value, "_version", 0))
            for path, part in module.named_modules()
            for name, value in [*vars(part).items(), *part._parameters.items(), *part._buffers.items()]
            if name not in ("_parameters", "_buffers", "_modules")
        }

    first = results(module, input)
    before = held()
    _, state = module(input)
    module(input, state)
    assert held() == before
    assert_equal(results(module, input), first)


@every_module
def test_is_the_same_in_training_and_evaluation(public: Public):
    module, input = public.make(), public.input()
    without_running_means(module)
    expected = results(module, input)
    with torch.inference_mode():
        found = results(module.eval(), input)
    for name, tensor in found.items():
        assert error(tensor, expected[name]) < 1e-6, name  # without gradients torch's LSTM takes another kernel


@every_module
def test_under_autocast(public: Public):
    module, input = public.make(), public.input()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = results(module, input)
    exact = results(copy.deepcopy(module).double(), input.double())
    for name, tensor in found.items():
        assert error(tensor.float(), exact[name]) < 0.05, name  # bfloat16 has 8 bits
    if public.type.__name__ != "SequenceModel":
        # It computes in its parameters' dtype: a memory in bfloat16 would forget.
        assert_parity(found, results(module, input), exact)
        assert {tensor.dtype for tensor in found.values()} == {torch.float32}
        # And takes what a module before it gives under autocast.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            module(input.bfloat16())


@every_module
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_compiled_gives_the_same_answer_and_gradients(public: Public):
    module, input = public.make(dtype=torch.float64), public.input(torch.float64)
    torch.compiler.reset()
    backend = "aot_eager" if public.name == "NTM" else "eager"  # which also traces the backward, and is slow
    compiled = torch.compile(module, backend=backend, fullgraph=public.fullgraph)
    gradients = []
    for run in (module, compiled):
        module.zero_grad()
        found = results(run, input)
        sum(tensor.square().sum() for tensor in found.values()).backward()
        gradients.append(found | {name: p.grad for name, p in module.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[0].items():
        assert error(gradients[1][name], expected) < 1e-12 * max(1, float(expected.detach().abs().max())), name


@every_module
def test_functional_gradients_of_one_and_of_an_ensemble(public: Public):
    members, input = [public.make(dtype=torch.float64) for _ in range(3)], public.input(torch.float64)

    def loss(parameters, buffers):
        return functional_call(members[0], (parameters, buffers), (input,))[0].square().sum()

    def parts(member):
        return dict(member.named_parameters()), dict(member.named_buffers())

    losses, gradients = [], []
    for member in members:
        results(member, input)
        value = member(input)[0].square().sum()
        names, leaves = zip(*member.named_parameters(), strict=True)
        expected = dict(zip(names, torch.autograd.grad(value, leaves, materialize_grads=True), strict=True))
        found = grad(loss)(*parts(member))
        assert all(error(found[name], expected[name]) < 1e-12 for name in names)
        losses.append(value.detach())
        gradients.append(expected)
    if not public.vmap:
        return
    stacked = stack_module_state(members)
    assert error(vmap(loss)(*stacked), torch.stack(losses)) < 1e-12
    for name, found in vmap(grad(loss))(*stacked).items():
        assert error(found, torch.stack([expected[name] for expected in gradients])) < 1e-12, name
