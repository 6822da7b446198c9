"""A study on a cluster of two machines, which here are two nodes of a Ray cluster on this one."""

from __future__ import annotations

import builtins
import json
import sys
import warnings

import pytest

from tapehead.cli import main
from tests.studies.tiny_study import study


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    sizes = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = Cluster(initialize_head=True, head_node_args=sizes)
        cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    yield cluster.address
    cluster.shutdown()


def test_a_study_uses_every_node_of_a_cluster(cluster, tmp_path):
    folder = tmp_path / "study"
    words = ["--models", "ntm", "--seeds", "2", "--no-evaluation", "--backend", "ray", "--address", cluster]
    assert study(folder, *words) == 0
    runs = json.loads((folder / "results.json").read_text())["runs"]
    assert [run["state"] for run in runs] == ["done", "done"]
    assert len({run["node"] for run in runs}) == 2
    assert "| ntm | 1 | not solved |" in (folder / "table.md").read_text()


def test_no_cluster_at_the_address_is_one_line_and_leaves_nothing(tmp_path, capsys):
    assert study(tmp_path / "study", "--seeds", "1", "--backend", "ray", "--address", "127.0.0.1:1") == 1
    error = capsys.readouterr().err
    assert "--address" in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "study").exists()


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch, capsys):
    importing = builtins.__import__

    def without_ray(name, *arguments, **keywords):
        if name.split(".")[0] == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
        return importing(name, *arguments, **keywords)

    monkeypatch.delitem(sys.modules, "tapehead.studies.cluster", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_ray)
    assert main(["study", "copy", "--backend", "ray", "--out", str(tmp_path / "study")]) == 1
    assert 'pip install "tapehead[ray]"' in capsys.readouterr().err
    assert not (tmp_path / "study").exists()
