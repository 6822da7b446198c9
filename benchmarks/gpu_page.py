"""The part of docs/performance.md about GPUs, from what benchmarks/gpu.py measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.machines import MACHINES, Point
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
    versions = [f"torch {result['torch']}", *(f"{name} {result[name]}" for name in ("cuda", "triton") if result[name])]
    text = (
        f"{' '.join(map(_run, result['runs']))}\n\n{result['device']}; {', '.join(versions)}. torch's "
        f"product of two float32 matrices: {result['product_gflops']:,.0f} GFLOP/s. A copy in the device's memory: "
        f"{result['copy_gbs']:,.0f} GB/s."
    )
    if result["kind"] != "cuda":
        text += "\n\nNo figures of a GPU: the program was tried on a CPU, where the C++ core is the fused contestant."
    for name, machine in MACHINES.items():
        rows = [row for row in result["rows"] if row["point"]["machine"] == name]
        if rows:
            title = machine.text[0].upper() + machine.text[1:]
            text += f"\n\n**{title}.**\n\n{_times(rows)}\n\n{_limits(result, rows)}"
    return text


def _run(run: dict[str, Any]) -> str:
    parity = "after green parity tests of the kernels in the same run" if run["parity"] else "without parity tests"
    return f"`{run['command']}` on {run['date']}, {parity}."


def _name(row: dict[str, Any]) -> str:
    return Point(**row["point"]).sizes()


def _times(rows: list[dict[str, Any]]) -> str:
    names = [name for name in CONTESTANTS if any(name in row["milliseconds"] for row in rows)]
    lines = [["forward + backward, ms", *(CONTESTANTS[name] for name in names)]]
    for row in rows:
        times = row["milliseconds"]
        lines.append([_name(row), *(f"{times[name]:,.2f}" if name in times else "-" for name in names)])
    return table(lines)


def _limits(result: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    head = ["GFLOP/s", "of the product", "GB/s through the device's memory", "of the copy", "GB/s from the caches"]
    lines = [["fused", *head]]
    for row in rows:
        time = row["milliseconds"].get("fused")
        if time is None:
            lines.append([_name(row), *"-----"])
            continue
        counts = row["operations"], row["bytes"]["device"], row["bytes"]["caches"]
        rate, device, caches = (count / time / 1e6 for count in counts)
        product, copy = rate / result["product_gflops"], device / result["copy_gbs"]
        rates = [f"{rate:,.0f}", f"{product:.1%}", f"{device:,.0f}", f"{copy:.1%}", f"{caches:,.0f}"]
        lines.append([_name(row), *rates])
    return table(lines)
