"""The copy recipe for many seeds: trained, evaluated at lengths 10 to 120, and written as a table.

Every seed is a run of the ordinary commands, `tapehead train copy` and `tapehead evaluate`, two at a time with one
thread each. A seed whose run is already in the folder is not trained again, so the script goes on where it stopped.

    python -m benchmarks.copy_seeds [--seeds 10] [--model ntm] [--folder runs/copy-seeds] [more options of train]

Writes FOLDER/table.md, and prints it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LENGTHS = [10, 20, 30, 50, 80, 120]
TAPEHEAD = [sys.executable, "-m", "tapehead"]


def run(command: list[str], log: Path) -> None:
    """Run a command with one thread, its output going to a log."""
    with log.open("a") as file:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=True)


def train(folder: Path, seed: int, model: str, options: list[str]) -> Path:
    """Train and evaluate one seed, as far as that is not done yet."""
    path, log = folder / f"seed{seed}", folder / f"seed{seed}.log"
    if not (path / "summary.json").is_file():
        start = ["--resume", str(path)] if list(path.glob("checkpoints/sequences-*")) else None
        fresh = ["copy", "--model", model, "--seed", str(seed), "--out", str(path), *options]
        run([*TAPEHEAD, "train", *(start or fresh)], log)
    if not (path / "evaluation.json").is_file():
        run([*TAPEHEAD, "evaluate", str(path), "--lengths", *map(str, LENGTHS)], log)
    print(f"seed {seed} done", flush=True)
    return path


def table(paths: list[Path]) -> str:
    """All runs as a Markdown table, with the medians below."""
    head = ["seed", "solved at sequences", "solved at seconds", "trained on", "seconds"]
    head += [f"length {length}" for length in LENGTHS]
    rows, columns = [], []
    for path in paths:
        summary = json.loads((path / "summary.json").read_text())
        lengths = json.loads((path / "evaluation.json").read_text())["lengths"]
        errors = [lengths[str(length)]["bit_errors"] for length in LENGTHS]
        keys = ("solved_at_sequences", "solved_at_seconds", "sequences", "seconds")
        columns.append([*(summary[key] for key in keys), *errors])
        rows.append([f"{summary['seed']}", *map(cell, columns[-1])])
    medians = [cell(statistics.median(values)) if None not in values else "-" for values in zip(*columns, strict=True)]
    lines = [head, ["---:"] * len(head), *rows, ["median", *medians]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def cell(value: float | None) -> str:
    """A number for people."""
    if value is None:
        return "not"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def main() -> None:
    """Train, evaluate, tabulate."""
    parser = argparse.ArgumentParser(description="The copy recipe for many seeds.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--model", default="ntm")
    parser.add_argument("--folder", type=Path, default=Path("runs/copy-seeds"))
    parser.add_argument("--workers", type=int, default=2)
    arguments, options = parser.parse_known_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    with ThreadPoolExecutor(arguments.workers) as pool:
        paths = list(pool.map(lambda seed: train(arguments.folder, seed, arguments.model, options), seeds))
    text = table(paths)
    (arguments.folder / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
