"""Which implementation runs; an explicit choice never falls back, and a refusal gives its reasons."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError

import pytest
import torch

from tapehead import NTM, BackendError, NTMCell, backends, core
from tapehead.backends import Request

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("op", backends.ops())
def test_reference_runs_everywhere(op: str, dtype: torch.dtype):
    for device in ("cpu", "meta", "cuda"):
        request = Request(op, torch.device(device), dtype)
        assert backends.why_not("reference", request) == ()
        assert backends.choose("reference", request) == "reference"
        assert backends.choose("auto", request) in backends.AUTO_ORDER


@pytest.mark.parametrize("op", backends.ops())
def test_auto_takes_the_first_that_can(op: str, monkeypatch: pytest.MonkeyPatch):
    implementations = dict.fromkeys(backends.AUTO_ORDER, lambda request: ())
    monkeypatch.setitem(backends._IMPLEMENTATIONS, op, implementations)
    assert backends.choose("auto", Request(op, CPU, torch.float32)) == backends.AUTO_ORDER[0]


@pytest.mark.parametrize("op", backends.ops())
@pytest.mark.parametrize("backend", ["auto", *backends.AUTO_ORDER])
def test_refusal_holds_every_reason(op: str, backend: str, monkeypatch: pytest.MonkeyPatch):
    refusals = {name: lambda request, n=name: (f"{n} one.", f"{n} two.") for name in backends.AUTO_ORDER}
    monkeypatch.setitem(backends._IMPLEMENTATIONS, op, refusals)
    with pytest.raises(BackendError) as caught:
        backends.choose(backend, Request(op, CPU, torch.float32))
    for name in backends.AUTO_ORDER:
        for reason in refusals[name](None):
            assert (reason in str(caught.value)) == (backend in ("auto", name))


def test_explicit_choice_of_a_layer_never_falls_back(monkeypatch: pytest.MonkeyPatch):
    refuse = {"fused": lambda request: ("no such kernel here.",)}
    monkeypatch.setitem(backends._IMPLEMENTATIONS, "ntm", backends._IMPLEMENTATIONS["ntm"] | refuse)
    input = torch.zeros(2, 1, 3)
    for module, given in ((NTM, input), (NTMCell, input[0])):
        with pytest.raises(BackendError, match=r"'fused' cannot run ntm: no such kernel here. backend='auto'"):
            module(3, 4, backend="fused")(given)
        module(3, 4, backend="auto")(given)


def test_dtype_that_nothing_computes_in():
    layer = NTM(3, 4).bfloat16()
    with pytest.raises(BackendError, match=r"float32 or float64, not torch.bfloat16: convert the module and its input"):
        layer(torch.zeros(2, 1, 3, dtype=torch.bfloat16))


@pytest.mark.parametrize("missing", [(), ("there is no core.",)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_fused_on_the_cpu_takes_the_core_and_a_dtype(dtype, missing, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(core, "why_not", lambda: missing)
    request = Request("ntm", CPU, dtype)
    assert backends._fused(request) == missing + backends.why_not("reference", request)


@pytest.mark.parametrize("op", backends.ops())
def test_fused_is_for_devices_with_kernels(op: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(core, "why_not", lambda: pytest.fail("the core is not asked"))
    reasons = backends._fused(Request(op, torch.device("meta"), torch.float32))
    assert reasons == (f"this version of tapehead has no fused kernel of {op} for meta tensors.",)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test installs is gone after it."""
    yield
    backends._version.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, distributions: dict[str, str]) -> None:
    """Let these be installed, by name and version, and no others."""

    def version(name: str) -> str:
        if name not in distributions:
            raise PackageNotFoundError(name)
        return distributions[name]

    monkeypatch.setattr(backends, "version", version)
    backends._version.cache_clear()


@pytest.fixture(params=backends.ops())
def gpu(request, monkeypatch: pytest.MonkeyPatch) -> Request:
    """A request that the Triton kernels can run, on a device that seems to be there."""
    install(monkeypatch, {"triton": "3.7.1"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    return Request(request.param, torch.device("cuda"), torch.float32, False, 128, 20)


def test_fused_on_a_gpu_runs_when_asked_and_auto_passes_over_it(gpu: Request):
    assert backends.why_not("fused", gpu) == ()
    assert backends.choose("fused", gpu) == "fused"
    (sentence,) = backends.passed_over("fused", gpu)
    assert "have not run on a GPU yet" in sentence
    assert backends.choose("auto", gpu) == "reference"


def test_fused_on_a_gpu_says_what_is_missing(gpu: Request, monkeypatch: pytest.MonkeyPatch):
    def reason(request: Request = gpu) -> str:
        (sentence,) = backends.why_not("fused", request)
        return sentence

    assert reason(gpu._replace(dtype=torch.bfloat16)).startswith("it computes in float32 or float64")
    assert "first derivatives in reverse mode only" in reason(gpu._replace(without_rule=True))
    assert reason(gpu._replace(memory_size=20000)) == "on CUDA it takes at most 16,384 slots, not 20,000."
    assert reason(gpu._replace(word_size=2000)) == "on CUDA it takes at most 1,024 numbers in a slot, not 2,000."
    with monkeypatch.context() as changed:
        changed.setattr(torch.cuda, "get_device_capability", lambda index: (7, 5))
        assert reason() == "it needs a device of compute capability 8.0 or higher, and this one has 7.5."
        changed.setattr(torch.cuda, "is_available", lambda: False)
        assert reason() == "torch sees no CUDA device here."
    install(monkeypatch, {"triton": "3.3.1"})
    assert 'needs Triton 3.4 or later, and 3.3.1 is installed: pip install "tapehead[gpu]"' in reason()
    install(monkeypatch, {})
    assert 'Triton is not installed, which compiles the kernels: pip install "tapehead[gpu]"' in reason()


@pytest.mark.parametrize(
    ("installed", "version"),
    [
        ({"triton": "3.7.1"}, "3.7.1"),
        ({"pytorch-triton": "3.5.0+git7416ffcb"}, "3.5.0+git7416ffcb"),
        ({"pytorch-triton": "3.5.0", "triton": "3.6rc1"}, "3.6rc1"),
        ({"pytorch-triton": "3.5.0", "pytorch-triton-rocm": "3.4.0"}, "3.5.0"),
    ],
)
def test_triton_is_found_under_each_of_its_names(
    gpu: Request, monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], version: str
):
    install(monkeypatch, installed)
    assert backends.triton_version() == version
    assert backends.why_not("fused", gpu) == ()


@pytest.mark.parametrize("name", ["pytorch-triton-rocm", "triton-rocm"])
def test_triton_for_rocm_is_none_for_cuda(gpu: Request, monkeypatch: pytest.MonkeyPatch, name: str):
    install(monkeypatch, {name: "3.7.1"})
    assert backends.triton_version() is None
    expected = f"it needs Triton for CUDA, and {name} is installed, which is for ROCm."
    assert backends.why_not("fused", gpu) == (expected,)


def test_an_old_nightly_triton_is_too_old(gpu: Request, monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch, {"pytorch-triton": "3.0.0+dedb7bdf33"})
    (sentence,) = backends.why_not("fused", gpu)
    assert "needs Triton 3.4 or later, and 3.0.0+dedb7bdf33 is installed" in sentence


def test_unknown_names():
    request = Request("ntm", CPU, torch.float32)
    with pytest.raises(ValueError, match=r"expected one of .*'fused'.*, got 'quick'"):
        backends.choose("quick", request)
    with pytest.raises(ValueError, match=r"expected one of .*, got 'auto'"):
        backends.why_not("auto", request)
    with pytest.raises(ValueError, match=r"expected an op of .*, got 'gru'"):
        backends.why_not("reference", request._replace(op="gru"))
