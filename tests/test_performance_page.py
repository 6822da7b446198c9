"""`make bench` writes docs/performance.md: the measured parts anew, and what people wrote there stays."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.performance_page import PAGE, write

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
