"""What drawing a batch of Omniglot costs, beside the training step that it is for; alternating, medians.

    TAPEHEAD_OMNIGLOT=PATH python -m benchmarks.omniglot [--rounds R] [--threads 1 2]

Sampling is the episodes with their augmentation, as training draws them; the step is forward, loss, backward, clipping
and update, with the options of the recipes. Nothing else may run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import statistics

import torch

from benchmarks.clock import once
from benchmarks.peaks import cpu_name
from tapehead import MANN, SequenceModel, core
from tapehead.tasks import Omniglot
from tapehead.training.optimisers import build_optimiser, clip_gradients
from tapehead.training.options.config import OptimiserConfig

CASES = {
    "5 classes, numbers, 50 drawings": Omniglot(split="1200/423"),
    "15 classes, strings, 100 drawings": Omniglot(split="1200/423", way=15, length=100, labels="strings"),
}


def measure(task: Omniglot, batch_size: int, rounds: int) -> tuple[float, float]:
    """Medians of sampling and of a training step."""
    torch.manual_seed(0)
    model = SequenceModel(MANN(task.input_size, 200), task.target_size)
    config = OptimiserConfig(name="adam", learning_rate=1e-3)
    optimiser, parameters = build_optimiser(config, model.parameters()), list(model.parameters())
    generator = torch.Generator().manual_seed(0)
    batch = task.sample(batch_size, generator)

    def step() -> None:
        optimiser.zero_grad()
        task.loss(model(batch.input)[0], batch).backward()
        clip_gradients(parameters, config)
        optimiser.step()

    def sample() -> None:
        nonlocal batch
        batch = task.sample(batch_size, generator)

    step()
    found = [(once(sample), once(step)) for _ in range(rounds)]
    sampling, training = (statistics.median(times) for times in zip(*found, strict=True))
    return sampling, training


def main() -> None:
    """A table."""
    parser = argparse.ArgumentParser(description="Time the episodes of Omniglot.")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    print(f"{cpu_name()}, {core.isa()}, torch {torch.__version__}")
    print("| episodes | batch | threads | sampling, ms | training step, ms | share |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for name, task in CASES.items():
            for batch_size in (8, 16):
                sampling, step = measure(task, batch_size, arguments.rounds)
                print(f"| {name} | {batch_size} | {threads} | {sampling:.1f} | {step:.1f} | {sampling / step:.0%} |")


if __name__ == "__main__":
    main()
