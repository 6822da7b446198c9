"""What `tapehead train` costs around the model: its whole step against the bare loop, in one run.

Both train the default copy recipe, without the mean of the weights, on the same batches. The bare loop is forward,
loss, backward, clipping and update on batches drawn beforehand; the other side is the command itself, bar and logs on,
drawing its batches. They alternate, and the medians are compared. Printed: milliseconds an update, and their ratio.

    python -m benchmarks.training_loop [--updates 100] [--rounds 5] [--model lstm] [more options of train]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from tapehead.cli import main as tapehead
from tapehead.tasks import Stream
from tapehead.training.optimisers import build_optimiser, clip_gradients
from tapehead.training.runs import Run


def command(folder: Path, updates: int, model: str, extra: list[str]) -> float:
    """Seconds an update inside `tapehead train`, without its set-up and without validation."""
    options = [
        "--trainer.accelerator=cpu",
        f"--trainer.max_steps={updates}",
        "--trainer.limit_val_batches=0",
        "--optimiser.average=0",
        *extra,
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        if tapehead(["train", "copy", "--model", model, "--out", str(folder), *options]):
            raise SystemExit("tapehead train failed")
    return json.loads((folder / "summary.json").read_text())["seconds"] / updates


def bare(folder: Path, updates: int) -> float:
    """Seconds an update of the same run's loop without anything around it."""
    config = Run.open(folder).config()
    torch.manual_seed(config.seed)
    model = config.build_model()
    parameters = list(model.parameters())
    optimiser = build_optimiser(config.optimiser, parameters)
    stream = Stream(config.task, config.training.batch_size, config.seed)
    batches = [stream.draw() for _ in range(updates)]
    start = time.perf_counter()
    for batch in batches:
        optimiser.zero_grad()
        logits, _ = model(batch.input)
        config.task.loss(logits, batch).backward()
        clip_gradients(parameters, config.optimiser)
        optimiser.step()
    return (time.perf_counter() - start) / updates


def main() -> None:
    """Time both, alternating, and print the medians."""
    parser = argparse.ArgumentParser(description="What `tapehead train` costs around the model.")
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="ntm")
    arguments, extra = parser.parse_known_args()
    inside, alone = [], []
    with tempfile.TemporaryDirectory() as folder:
        for index in range(arguments.rounds):
            run = Path(folder) / str(index)
            inside.append(command(run, arguments.updates, arguments.model, extra))
            alone.append(bare(run, arguments.updates))
            print(f"round {index + 1}: train {inside[-1] * 1e3:.2f} ms, bare {alone[-1] * 1e3:.2f} ms", flush=True)
    train, loop = statistics.median(inside), statistics.median(alone)
    print(f"median of {arguments.rounds}: tapehead train {train * 1e3:.2f} ms, bare loop {loop * 1e3:.2f} ms an update")
    print(f"tapehead train costs {train / loop - 1:+.1%}, or {(train - loop) * 1e3:+.2f} ms, over the bare loop")


if __name__ == "__main__":
    main()
