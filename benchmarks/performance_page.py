"""docs/performance.md and its pictures, from what benchmarks/kernels.py measured.

What is measured stands on the page between marks, and is written anew (`benchmarks/marked.py`). All else there is
written by hand, and stays; the part about GPUs is that of `benchmarks/gpu_page.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.marked import PAGE, replaced, table

__all__ = ["write"]

COLOURS = {"fused": "#1b6ca8", "reference": "#c1440e", "compiled": "#7a7a7a"}


def write(result: dict[str, Any], page: Path) -> None:
    """Write the figures themselves, the pictures and the page: docs/performance.md with its measured parts replaced.

    Args:
        result: what was measured
        page: where it goes, docs/performance.md or another file; the rest goes beside it

    Raises:
        ValueError: the page lacks a part.
    """
    images, results = page.parent / "images", page.parent / "results"
    for folder in (images, results):
        folder.mkdir(parents=True, exist_ok=True)
    (results / "performance.json").write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    _draw_steps(result, images / "performance.png")
    if result["linear"]:
        _draw_linear(result["linear"], images / "performance-linear.png")
    parts = {
        "machine": _machine(result),
        "table": _table(result),
        "summary": _summary(result),
        "call": _call(result["call"]),
        "parts": _parts(result["parts"]),
        "shortcuts": _shortcuts(result["shortcuts"]),
        "profile": _profile(result["profile"]),
        "linear": _linear(result["linear"]),
        "mann": _mann(result["mann"]),
    }
    page.write_text(replaced(PAGE, parts), "utf-8")


def _machine(result: dict[str, Any]) -> str:
    machine, peaks = result["machine"], result["peaks"]
    lines = [["", "1 thread", "2 threads"]]
    for kind, name in (("fma", "fused multiply-adds in registers"), ("product", "torch's product of 1,024 x 1,024")):
        lines.append([f"{name}, GFLOP/s", *(f"{peaks[threads][kind]:.0f}" for threads in ("1", "2"))])
    about = (
        f"{machine['processor']}; kernels of `{machine['isa']}`; torch {result['torch']}, Python {machine['python']}."
    )
    parity = "after green parity tests of the kernels in the same run" if result["parity"] else "without parity tests"
    return f"`{result['command']}` on {result['date']}, {parity}.\n\n{about}\n\n{table(lines)}"


def _name(point: dict[str, int]) -> str:
    return (
        f"B {point['rows']}, T {point['steps']:,}, {point['slots']:,} x {point['word']}, H {point['hidden']}, "
        f"{point['threads']} thr."
    )


def _table(result: dict[str, Any]) -> str:
    lines = [
        ["sizes", "fused: forward", "+ backward", "step", "reference step", "ratio", "GFLOP/s in the kernel", "of peak"]
    ]
    for row in result["rows"]:
        times, threads = row["times"], str(row["point"]["threads"])
        fused, reference = times["fused"], times.get("reference")
        lines.append(
            [
                _name(row["point"]),
                *(f"{fused[kind]:,.2f}" for kind in ("forward", "both", "step")),
                f"{reference['step']:,.1f}" if reference else "-",
                f"{reference['step'] / fused['step']:.0f}" if reference else "-",
                f"{row['gflops']:.0f}",
                f"{row['gflops'] / result['peaks'][threads]['fma']:.0%}",
            ]
        )
    return table(lines)


def _summary(result: dict[str, Any]) -> str:
    base = result["rows"][0]
    times, kernel = base["times"], base["kernel"]
    lines = [["milliseconds", "forward", "forward + backward", "training step", "step against fused"]]
    for key, name in (
        ("fused", "fused"),
        ("compiled", "reference under `torch.compile`"),
        ("reference", "reference"),
    ):
        if key in times:
            one = times[key]
            ratio = one["step"] / times["fused"]["step"]
            lines.append([name, *(f"{one[kind]:.2f}" for kind in ("forward", "both", "step")), f"{ratio:.1f}"])
    share = base["gflops"] / result["peaks"]["2"]["fma"]
    text = table(lines)
    if base["compile_seconds"]:
        text += f"\n\n`torch.compile` took {base['compile_seconds']:.0f} s for this one length."
    return (
        f"{text}\n\nOf a training step the kernels take {kernel['forward']:.2f} ms forward and "
        f"{kernel['backward']:.2f} ms backward: {base['gflops']:.0f} GFLOP/s, {share:.0%} of the peak."
    )


def _call(call: dict[str, float]) -> str:
    lines = [
        ["at batch 1, T 41", "ms"],
        ["training step: forward, loss, backward, clipping, update", f"{call['step']:.3f}"],
        ["the layer's forward and backward", f"{call['layer']:.3f}"],
        ["- inside the kernels (with packing the weights)", f"{call['kernels']:.3f}"],
        ["- rest: Python, allocation, autograd", f"{call['cost']:.3f}"],
        ["rest, of the training step", f"{call['share']:.1%}"],
    ]
    return table(lines)


def _parts(parts: dict[str, float]) -> str:
    return table([["along one call", "microseconds"], *([name, f"{time:.0f}"] for name, time in parts.items())])


def _shortcuts(shortcuts: dict[str, list[float]]) -> str:
    lines = [["microseconds", "as it is", "without"]]
    lines += [[name, *(f"{time:.0f}" for time in times)] for name, times in shortcuts.items()]
    return table(lines)


def _profile(profile: dict[str, float]) -> str:
    if not profile:
        return "Not measured: there was no `perf`."
    return table([["inside the core", "share"], *([name, f"{share:.0%}"] for name, share in profile.items())])


def _mann(runs: list[dict[str, Any]]) -> str:
    lines = [["", "fused", "reference", "ratio", "in the core", "products at torch's speed", "ratio at most"]]
    for run in runs:
        times, inside, products = run["times"], sum(run["core"].values()), run["products"]["ms"]
        for kind, name in (("forward", "forward"), ("both", "forward + backward")):
            line = [f"{name}, {run['threads']} thr."]
            line += [f"{times[backend][kind]:,.1f}" for backend in ("fused", "reference")]
            line.append(f"{times['reference'][kind] / times['fused'][kind]:.1f}")
            both = kind == "both"
            line += [f"{inside:.1f}", f"{products:.1f}", f"{run['bound']:.1f}"] if both else ["", "", ""]
            lines.append(line)
    return table(lines)


NAMES = {"steps": "T", "rows": "B", "slots": "N", "word": "M"}


def _linear(rows: list[dict[str, Any]]) -> str:
    lines = [["", "size", "ms", "ms a unit"]]
    lines += [[NAMES[r["name"]], f"{r['size']:,}", f"{r['ms']:.2f}", f"{r['ms'] / r['size']:.4f}"] for r in rows]
    return table(lines)


def _draw_steps(result: dict[str, Any], path: Path) -> None:
    rows = [row for row in result["rows"] if row["point"]["threads"] == 2]
    figure = Figure(figsize=(8.5, 0.42 * len(rows) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        for name, times in row["times"].items():
            axes.plot(times["step"], place, "o", color=COLOURS[name], markersize=7)
    axes.set_yticks(range(len(rows)), [_name(row["point"]).removesuffix(", 2 thr.") for row in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds a training step, two threads")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    labels = {"fused": "fused", "compiled": "torch.compile", "reference": "reference"}
    for name, label in labels.items():
        axes.plot([], [], "o", color=COLOURS[name], label=label)
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.savefig(path, dpi=110)


def _draw_linear(rows: list[dict[str, Any]], path: Path) -> None:
    figure = Figure(figsize=(8.5, 2.6), layout="constrained")
    for place, (name, label) in enumerate(NAMES.items(), 1):
        axes = figure.add_subplot(1, 4, place)
        points = [(row["size"], row["ms"]) for row in rows if row["name"] == name]
        axes.plot(*zip(*points, strict=True), "o-", color=COLOURS["fused"], markersize=4)
        axes.set_xlabel(label)
        axes.set_xlim(0)
        axes.set_ylim(0)
        axes.spines[["top", "right"]].set_visible(False)
        if place == 1:
            axes.set_ylabel("ms, forward + backward")
    figure.savefig(path, dpi=110)
