"""`make bench` writes docs/performance.md: the measured parts anew, and what people wrote there stays."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_page
from benchmarks.marked import PAGE
from benchmarks.performance_page import write

MEASURED = re.compile(r"<!-- (\w+) -->\n\n(.*?)\n\n<!-- end of \1 -->", re.DOTALL)


@pytest.fixture
def result() -> dict[str, Any]:
    """What was measured for the page, and the MANN, which was measured apart."""
    found = json.loads((PAGE.parent / "results" / "performance.json").read_text("utf-8"))
    times = {"fused": {"forward": 1.0, "both": 2.0}, "reference": {"forward": 3.0, "both": 8.0}}
    one = {
        "threads": 2,
        "times": times,
        "core": {"forward": 0.5, "backward": 1.0},
        "products": {"ms": 1.0},
        "bound": 9.0,
    }
    return {"date": "2026-11-21", "mann": [one], **found}


def test_what_is_measured_is_written_anew_and_the_rest_stays(result, tmp_path):
    page = tmp_path / "performance.md"
    write(result, page)
    before, after = PAGE.read_text("utf-8"), page.read_text("utf-8")
    assert MEASURED.sub("", after) == MEASURED.sub("", before)
    old, new = dict(MEASURED.findall(before)), dict(MEASURED.findall(after))
    assert old.pop("mann") != new.pop("mann")
    assert old == new  # the page holds what performance.json does
    assert json.loads((tmp_path / "results" / "performance.json").read_text("utf-8")) == result
    assert {path.name for path in (tmp_path / "images").iterdir()} == {"performance.png", "performance-linear.png"}


def test_other_figures_make_another_page(result, tmp_path):
    result |= {"command": "python -m benchmarks.kernels --quick --no-parity", "parity": False, "linear": []}
    result["call"]["step"] = 12.345
    page = tmp_path / "performance.md"
    write(result, page)
    text = page.read_text("utf-8")
    assert "`python -m benchmarks.kernels --quick --no-parity` on 2026-11-21, without parity tests." in text
    assert "| 12.345 |" in text
    assert "| forward, 2 thr. | 1.0 | 3.0 | 3.0 |" in text


def test_a_page_without_a_part_is_refused(result, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text("utf-8").replace("<!-- end of table -->", ""), "utf-8")
    monkeypatch.setattr("benchmarks.performance_page.PAGE", Path(page))
    with pytest.raises(ValueError, match="expected one <!-- table --> and <!-- end of table --> after it, got 0"):
        write(result, tmp_path / "performance.md")


def numbers(page: Path) -> dict[str, Any] | None:
    """Those of a GPU that were measured for a page; None where there are none yet."""
    path = gpu_page.numbers_of(page)
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def part_of(page: Path) -> str:
    return dict(MEASURED.findall(page.read_text("utf-8")))["gpu"]


def test_the_part_about_gpus_is_what_was_measured_or_says_that_nothing_was():
    found = numbers(PAGE)
    assert part_of(PAGE) == gpu_page.gpu_part(found)
    assert found is None or found["kind"] == "cuda"
    assert gpu_page.gpu_part(None).startswith("Not measured: no GPU was available.")


@pytest.fixture
def of_a_gpu() -> dict[str, Any]:
    """Numbers that nobody measured."""
    point = {"machine": "ntm", "rows": 4096, "steps": 1000, "slots": 128, "word": 20, "hidden": 100}
    times = {"fused": 2.0, "fused, graph": 1.5, "reference": 3000.0, "reference, graph": 30.25, "lstm": 0.5}
    count = {"operations": 3_000_000_000, "bytes": {"caches": 8_000_000_000, "device": 400_000_000}}
    rows = [
        {"point": point, "milliseconds": times, **count},
        {"point": {**point, "machine": "mann"}, "milliseconds": {"fused": 4.0, "lstm": 0.75}, **count},
        {"point": {**point, "rows": 1}, "milliseconds": {"lstm": 0.25, "compiled": 7.0}, **count},
    ]
    return {
        "runs": [
            {"command": "python -m benchmarks.gpu --only ntm --out gpu.json", "date": "2026-11-21", "parity": True},
            {"command": "python -m benchmarks.gpu --no-parity", "date": "2026-11-22", "parity": False},
        ],
        "kind": "cuda",
        "device": "a GPU",
        "torch": "2.13.0",
        "cuda": "13.0",
        "triton": None,
        "product_gflops": 50_000.0,
        "copy_gbs": 2000.0,
        "rows": rows,
    }


def test_numbers_of_a_gpu_are_written_and_nothing_else_changes(of_a_gpu, tmp_path):
    page = tmp_path / "performance.md"
    gpu_page.write(of_a_gpu, page)
    assert numbers(page) == of_a_gpu
    assert part_of(page) == gpu_page.gpu_part(of_a_gpu) != part_of(PAGE)
    before, after = PAGE.read_text("utf-8"), page.read_text("utf-8")
    assert MEASURED.sub("", after) == MEASURED.sub("", before)
    old, new = dict(MEASURED.findall(before)), dict(MEASURED.findall(after))
    assert old | {"gpu": ""} == new | {"gpu": ""}
    lines = part_of(page).splitlines()
    assert lines[0] == (
        "`python -m benchmarks.gpu --only ntm --out gpu.json` on 2026-11-21, after green parity tests of the kernels "
        "in the same run. `python -m benchmarks.gpu --no-parity` on 2026-11-22, without parity tests."
    )
    assert lines[2] == (
        "a GPU; torch 2.13.0, cuda 13.0. torch's product of two float32 matrices: 50,000 GFLOP/s. A copy in the "
        "device's memory: 2,000 GB/s."
    )
    assert [line for line in lines if line.startswith(("|", "**"))] == [
        "**The NTM with an LSTM controller, for copy.**",
        "| forward + backward, ms | fused | in a graph | reference | in a graph | `torch.compile` | LSTM |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| B 4,096, T 1,000, 128 x 20, H 100 | 2.00 | 1.50 | 3,000.00 | 30.25 | - | 0.50 |",
        "| B 1, T 1,000, 128 x 20, H 100 | - | - | - | - | 7.00 | 0.25 |",
        "| fused | GFLOP/s | of the product | GB/s through the device's memory | of the copy | GB/s from the caches |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| B 4,096, T 1,000, 128 x 20, H 100 | 1,500 | 3.0% | 200 | 10.0% | 4,000 |",
        "| B 1, T 1,000, 128 x 20, H 100 | - | - | - | - | - |",
        "**The MANN with an LSTM controller and four heads, for Omniglot with five classes.**",
        "| forward + backward, ms | fused | LSTM |",
        "| --- | ---: | ---: |",
        "| B 4,096, T 1,000, 128 x 20, H 100 | 4.00 | 0.75 |",
        "| fused | GFLOP/s | of the product | GB/s through the device's memory | of the copy | GB/s from the caches |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| B 4,096, T 1,000, 128 x 20, H 100 | 750 | 1.5% | 100 | 5.0% | 2,000 |",
    ]
    assert "tried on a CPU" not in part_of(page)


def test_a_trial_on_a_cpu_gives_no_figures_of_a_gpu(of_a_gpu):
    part = gpu_page.gpu_part({**of_a_gpu, "kind": "cpu"})
    assert "No figures of a GPU: the program was tried on a CPU" in part
    assert "without parity tests" in part


def test_a_page_without_the_part_about_gpus_is_refused_and_nothing_is_written(of_a_gpu, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text("utf-8").replace("<!-- gpu -->", ""), "utf-8")
    monkeypatch.setattr(gpu_page, "PAGE", page)
    with pytest.raises(ValueError, match="expected one <!-- gpu --> and <!-- end of gpu --> after it, got 0"):
        gpu_page.write(of_a_gpu, tmp_path / "performance.md")
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]
