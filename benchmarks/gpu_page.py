"""The part of docs/performance.md about GPUs, from what benchmarks/gpu.py measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.marked import PAGE, replaced, table

__all__ = ["gpu_part", "numbers_of", "write"]

NOT_MEASURED = "Not measured: no GPU was available. `make bench` writes this part where torch sees a CUDA device."

CONTESTANTS = {
    "fused": "fused",
    "fused, graph": "in a graph",
    "ten models": "ten models",
    "reference": "reference",
    "reference, graph": "in a graph",
    "compiled": "`torch.compile`",
    "lstm": "LSTM",
}
"""What the columns are called, by the contestants' names."""


def numbers_of(page: Path) -> Path:
    """The file with the numbers of a page."""
    return page.parent / "results" / "performance-gpu.json"


def write(result: dict[str, Any], page: Path) -> None:
    """Write the numbers, and the page: docs/performance.md with its part about GPUs replaced.

    Args:
        result: what `benchmarks.gpu.main` returns
        page: where it goes, docs/performance.md or another file; the numbers go beside it (`numbers_of`)

    Raises:
        ValueError: the page lacks the part.
    """
    text = replaced(PAGE, {"gpu": gpu_part(result)})
    numbers_of(page).parent.mkdir(parents=True, exist_ok=True)
    numbers_of(page).write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    page.write_text(text, "utf-8")


def gpu_part(result: dict[str, Any] | None) -> str:
    """What stands on the page; None where nothing was measured yet."""
    if result is None:
        return NOT_MEASURED
    parity = "after green parity tests of the kernels in the same run" if result["parity"] else "without parity tests"
    versions = [f"torch {result['torch']}", *(f"{name} {result[name]}" for name in ("cuda", "triton") if result[name])]
    text = (
        f"`{result['command']}` on {result['date']}, {parity}.\n\n{result['device']}; {', '.join(versions)}. torch's "
        f"product of two float32 matrices: {result['product_gflops']:,.0f} GFLOP/s. A copy in the device's memory: "
        f"{result['copy_gbs']:,.0f} GB/s."
    )
    if result["kind"] != "cuda":
        text += "\n\nNo figures of a GPU: the program was tried on a CPU, where the C++ core is the fused contestant."
    return f"{text}\n\n{_times(result['rows'])}\n\n{_limits(result)}"


def _name(point: dict[str, int]) -> str:
    return f"B {point['rows']:,}, T {point['steps']:,}, {point['slots']:,} x {point['word']}, H {point['hidden']}"


def _times(rows: list[dict[str, Any]]) -> str:
    names = [name for name in CONTESTANTS if any(name in row["milliseconds"] for row in rows)]
    lines = [["forward + backward, ms", *(CONTESTANTS[name] for name in names)]]
    for row in rows:
        times = row["milliseconds"]
        lines.append([_name(row["point"]), *(f"{times[name]:,.2f}" if name in times else "-" for name in names)])
    return table(lines)


def _limits(result: dict[str, Any]) -> str:
    head = ["GFLOP/s", "of the product", "GB/s through the device's memory", "of the copy", "GB/s from the caches"]
    lines = [["fused", *head]]
    for row in result["rows"]:
        time = row["milliseconds"].get("fused")
        if time is None:
            lines.append([_name(row["point"]), *"-----"])
            continue
        counts = row["operations"], row["bytes"]["device"], row["bytes"]["caches"]
        rate, device, caches = (count / time / 1e6 for count in counts)
        product, copy = rate / result["product_gflops"], device / result["copy_gbs"]
        rates = [f"{rate:,.0f}", f"{product:.1%}", f"{device:,.0f}", f"{copy:.1%}", f"{caches:,.0f}"]
        lines.append([_name(row["point"]), *rates])
    return table(lines)
