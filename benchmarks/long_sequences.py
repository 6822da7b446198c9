"""How much memory long sequences take: training over 10,000 steps, inference over 1,000,000; each in its own process.

    python -m benchmarks.long_sequences

Prints the peak of the process's memory, torch included, and the seconds.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import torch

from tapehead import NTM


def train(**options: int) -> None:
    """A forward and backward over 10,000 steps."""
    rows = options.pop("rows")
    output, _ = NTM(9, 100, **options)(torch.rand(10_000, rows, 9))  # type: ignore[arg-type]
    output.square().mean().backward()


def infer(parts: int) -> None:
    """A forward over 1,000,000 steps, in one call or with the state handed on."""
    layer, state = NTM(9, 100), None
    with torch.no_grad():
        for _ in range(parts):
            _, state = layer(torch.rand(1_000_000 // parts, 1, 9), state)


CASES = {
    "training, T 10,000, B 8, 128 x 20": lambda: train(rows=8),
    "training, T 10,000, B 1, 1,024 x 64": lambda: train(rows=1, memory_size=1024, word_size=64),
    "inference, T 1,000,000 in one call": lambda: infer(1),
    "inference, T 1,000,000 in 100 calls": lambda: infer(100),
}


def main() -> None:
    """Run one case, or every one in a process of its own."""
    if len(sys.argv) > 1:
        start = time.perf_counter()
        CASES[sys.argv[1]]()
        gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{sys.argv[1]}: peak {gib:.2f} GiB, {time.perf_counter() - start:.1f} s", flush=True)
        return
    for case in CASES:
        subprocess.run([sys.executable, "-m", "benchmarks.long_sequences", case], check=True)


if __name__ == "__main__":
    main()
