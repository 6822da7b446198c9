"""Both directions: two layers of any kind, one of which reads every row from its end.

The task: find the symbols that come more than once in their row. A tagger that reads forwards knows of a symbol that
it has seen it before, but not that it will come again; of a new one it can only say what is likelier. How far that
leads at best can be worked out, and is printed beside what was learned. Rows differ in length.

    python examples/both_directions.py

prints 76.3% right for one direction, of at best 79.9%, and 97.9% for both (seed 0), after some 40 seconds.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from tapehead import LSTM, MANN, NTM

Core = NTM | MANN | LSTM


class BothDirections(nn.Module):
    """Two layers over the same rows, one of them from each row's end to its beginning; their outputs side by side.

    Args:
        ahead, back: the layers, neither with `batch_first`. They need not be of one kind
    """

    def __init__(self, ahead: Core, back: Core) -> None:
        super().__init__()
        self.ahead, self.back = ahead, back
        self.output_size = ahead.output_size + back.output_size

    def forward(self, input: Tensor, lengths: Tensor) -> Tensor:
        """(T, B, D) and (B,) give (T, B, output_size), zero past the end of a row."""
        ahead, _ = self.ahead(input, lengths=lengths)
        back, _ = self.back(reverse(input, lengths), lengths=lengths)
        return torch.cat([ahead, reverse(back, lengths)], -1)


class OneDirection(nn.Module):
    """The same for a single layer, which reads forwards."""

    def __init__(self, ahead: Core) -> None:
        super().__init__()
        self.ahead = ahead
        self.output_size = ahead.output_size

    def forward(self, input: Tensor, lengths: Tensor) -> Tensor:
        """(T, B, D) and (B,) give (T, B, output_size), zero past the end of a row."""
        output: Tensor = self.ahead(input, lengths=lengths)[0]
        return output


def reverse(input: Tensor, lengths: Tensor) -> Tensor:
    """(T, B, D) with the first `lengths` (B,) steps of each row in the opposite order; padding stays where it is."""
    steps = torch.arange(input.shape[0], device=input.device)[:, None]
    source = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return input.gather(0, source[:, :, None].expand_as(input))


def sample(rows: int, symbols: int, longest: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Symbols (T, B), lengths (B,), which symbols come more than once (T, B), which steps are in their row (T, B)."""
    lengths = torch.randint(1, longest + 1, (rows,))
    inside = torch.arange(longest)[:, None] < lengths
    row = torch.randint(symbols, (longest, rows))
    same = (row[:, None] == row[None]) & inside[None]  # (T, T, B): of each step, which others hold its symbol
    return row, lengths, same.sum(1) > 1, inside


def best_forwards(row: Tensor, inside: Tensor, symbols: int) -> float:
    """How often the best possible tagger is right that reads forwards, on average over these rows.

    It knows of symbols that have come before. Of a new one it knows how probable it is to come again in a row that has
    got so far, and answers what is likelier.
    """
    longest = row.shape[0]
    steps = torch.arange(longest)
    left = steps[None] - steps[:, None]  # (t, last): steps that a row has after t, if it ends with step `last`
    again = 1 - (1 - 1 / symbols) ** left.clamp(min=0)
    again = (again * (left >= 0)).sum(1) / (left >= 0).sum(1)
    before = ((row[:, None] == row[None]) & (left < 0)[:, :, None]).any(1)
    right = torch.where(before, 1.0, torch.maximum(again, 1 - again)[:, None])
    return float(right[inside].mean())


def layer(model: str, input_size: int) -> Core:
    """A new layer."""
    if model == "ntm":
        return NTM(input_size, 64, memory_size=32, gradient_limit=1e4)
    if model == "mann":
        return MANN(input_size, 64, memory_size=32, word_size=20, num_read_heads=1)
    return LSTM(input_size, 64)


def train(core: BothDirections | OneDirection, options: argparse.Namespace) -> tuple[float, float]:
    """Train a tagger with this core; how often it, and the best that reads forwards, is right on 2,000 new rows."""
    embedding, readout = nn.Embedding(options.symbols, 16), nn.Linear(core.output_size, 1)
    model = nn.ModuleList([embedding, core, readout])
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, options.steps)
    for _ in range(options.steps):
        row, lengths, repeated, inside = sample(32, options.symbols, options.longest)
        logits = readout(core(embedding(row), lengths))[:, :, 0]
        loss = binary_cross_entropy_with_logits(logits[inside], repeated[inside].float(), reduction="sum") / 32
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimiser.step()
        schedule.step()
    row, lengths, repeated, inside = sample(2000, options.symbols, options.longest)
    with torch.no_grad():
        logits = readout(core(embedding(row), lengths))[:, :, 0]
    right = (logits > 0) == repeated
    return float(right[inside].float().mean()), best_forwards(row, inside, options.symbols)


def main() -> None:
    """Train one direction and both, and print how often each is right."""
    parser = argparse.ArgumentParser(description="Train taggers that read in one direction and in both.")
    parser.add_argument("--model", choices=["ntm", "mann", "lstm"], default="ntm", help="%(default)s")
    parser.add_argument("--steps", type=int, default=800, help="updates of the weights (%(default)s)")
    parser.add_argument("--symbols", type=int, default=12, help="to choose from (%(default)s)")
    parser.add_argument("--longest", type=int, default=12, help="symbols of the longest row (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="%(default)s")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    one, best = train(OneDirection(layer(options.model, 16)), options)
    print(f"One direction:   {one:.1%} right; the best possible one: {best:.1%}.", flush=True)
    both, _ = train(BothDirections(layer(options.model, 16), layer(options.model, 16)), options)
    print(f"Both directions: {both:.1%} right.")


if __name__ == "__main__":
    main()
