"""Data parallel training: every parameter takes part, and two processes make the step that one makes."""

import copy
import os
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from tapehead import NTM, Initial
from tapehead.testing import error, named_tensors
from tests.cases import by_name
from tests.nn.modules import PUBLIC, Public


def join(folder: Path, rank: int, processes: int) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'rendezvous'}",
        rank=rank,
        world_size=processes,
        timeout=timedelta(seconds=60),
    )


@pytest.fixture
def group_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    join(tmp_path, 0, 1)
    yield
    distributed.destroy_process_group()


# Content addressing never looks at the weights a sequence starts with, so they must not be learned with it.
@pytest.mark.parametrize("public", **by_name(PUBLIC))
@pytest.mark.usefixtures("group_of_one")
def test_every_parameter_takes_part_in_a_step(public: Public):
    parallel = DistributedDataParallel(public.make())
    for _ in range(2):  # the second call raises when a parameter of the first had no gradient
        found = parallel(public.input())
        sum(tensor.square().sum() for _, tensor in named_tensors(found)).backward()
    assert all(parameter.grad is not None for parameter in parallel.parameters())


shards_on_cpus = pytest.mark.skipif(
    not hasattr(torch.cpu.Stream, "record_event"), reason="the fully_shard of this torch, as of 2.6, wants a GPU"
)


@shards_on_cpus
@pytest.mark.parametrize(
    "public", **by_name([public for public in PUBLIC if public.name in ("LSTM", "MANN-learned", "NTM", "NTM-learned")])
)
@pytest.mark.usefixtures("group_of_one")
def test_a_layer_can_be_sharded(public: Public):
    layer, input = public.make(dtype=torch.float64), public.input(torch.float64)
    sharded = fully_shard(copy.deepcopy(layer), mesh=init_device_mesh("cpu", (1,)))
    for module in (layer, sharded):
        module(input)[0].square().sum().backward()
    for (name, one), other in zip(layer.named_parameters(), sharded.parameters(), strict=True):
        torch.testing.assert_close(other.grad.full_tensor(), one.grad, msg=name)


@shards_on_cpus
@pytest.mark.parametrize(("part", "kind"), [("cell.heads", ValueError), ("cell", RuntimeError)])
@pytest.mark.usefixtures("group_of_one")
def test_a_part_of_a_layer_cannot_be_sharded(part: str, kind: type[Exception]):
    layer = NTM(3, 4, backend="fused")
    mesh = init_device_mesh("cpu", (1,))
    fully_shard(layer.get_submodule(part), mesh=mesh)
    with pytest.raises(kind, match=r"memory was given back|mixed torch\.Tensor and DTensor"):
        fully_shard(layer, mesh=mesh)(torch.randn(5, 2, 3))


def _layer() -> NTM:
    torch.manual_seed(0)
    initial = Initial(memory="learned", weights="random")
    return NTM(3, 4, memory_size=5, word_size=2, initial=initial, dtype=torch.float64)


def _gradients(module: torch.nn.Module, input: torch.Tensor) -> list[torch.Tensor]:
    output, _ = module(input)
    output.square().mean().backward()
    return [parameter.grad for parameter in module.parameters()]


def _process(index: int, folder: Path, rank: int) -> None:
    """One of two processes; `index` is what `spawn` counts."""
    torch.set_num_threads(1)
    join(folder, rank, 2)
    layer = _layer()
    if rank == 1:
        for tensor in layer.state_dict().values():
            tensor.zero_()  # what rank 0 sends must replace it
    rows = slice(2 * rank, 2 * rank + 2)
    gradients = _gradients(DistributedDataParallel(layer), torch.load(folder / "input.pt")[:, rows])
    torch.save(gradients, folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow_start
def test_two_processes_make_the_gradients_of_one(tmp_path: Path):
    input = torch.randn(3, 4, 3, dtype=torch.float64)
    torch.save(input, tmp_path / "input.pt")
    other = multiprocessing.spawn(_process, (tmp_path, 1), nprocs=1, join=False)
    _process(0, tmp_path, 0)
    while not other.join():
        pass
    expected = _gradients(_layer(), input)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert all(error(mine, theirs) < 1e-14 for mine, theirs in zip(found, expected, strict=True))
