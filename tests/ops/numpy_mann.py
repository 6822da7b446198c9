"""The MANN written once more, from its paper (arXiv 1605.06065, section 3.2), one number at a time.

It shares with tapehead the layout of the parameters and no line of code.
"""

import math
from typing import Any

import numpy as np

from tests.ops.numpy_ntm import Row, affine, control, read, run_rows, sigmoid, softmax, softplus

NORM_EPSILON = 1e-6  # tapehead's norms are sqrt(|v|^2 + epsilon^2)
USAGE_TOLERANCE = 1e-6  # closer than this, slots are used equally little


def speak(hidden: list[float], parameters: Any, settings: Any) -> list[Row]:
    said = iter(affine(parameters.weight, hidden, parameters.bias))
    heads: list[Row] = [{} for _ in range(settings.num_read_heads)]

    def vector(activation: str) -> list[float]:
        numbers = [next(said) for _ in range(settings.word_size)]
        return [math.tanh(number) for number in numbers] if activation == "tanh" else numbers

    for head in heads:
        head["key"] = vector(settings.key_activation)
    for head in heads:
        head["key_strength"] = softplus(next(said)) if settings.key_strength == "learned" else 1.0
    for head in heads:
        head["write_gate"] = sigmoid(next(said))
    for head in heads:
        head["add"] = vector(settings.add_activation) if settings.write == "add" else head["key"]
    assert next(said, None) is None
    return heads


def least_used(usage: list[float], count: int) -> list[int]:
    """The slots of least usage, eq. 21; of those as little used the lowest."""
    slots: list[int] = []
    for _ in range(count):
        left = [slot for slot in range(len(usage)) if slot not in slots]
        least = min(usage[slot] for slot in left)
        slots.append(next(slot for slot in left if usage[slot] <= least + USAGE_TOLERANCE))
    return slots


def address(memory: list[list[float]], head: Row) -> list[float]:
    scores = []
    for slot in memory:
        dot = norm_key = norm_slot = 0.0
        for u, v in zip(head["key"], slot, strict=True):
            dot, norm_key, norm_slot = dot + u * v, norm_key + u * u, norm_slot + v * v
        norms = math.sqrt(norm_key + NORM_EPSILON**2) * math.sqrt(norm_slot + NORM_EPSILON**2)
        scores.append(head["key_strength"] * dot / norms)  # eq. 17
    return softmax(scores)  # eq. 18


def step(x: list[float], row: Row, parameters: Any, settings: Any) -> tuple[list[float], Row, Row]:
    hidden, hiddens, cells = control(x, row, parameters.controller, settings.controller_activation)
    heads, memory, size = speak(hidden, parameters.heads, settings), row["memory"], len(row["memory"])
    slots = least_used(row["usage"], 1 if settings.least_used == "one" else len(heads))
    for index, (head, previous) in enumerate(zip(heads, row["read_weights"], strict=True)):
        own = {"one": slots, "each": slots[index : index + 1], "all": slots}[settings.least_used]
        gate, head["least_used"] = head["write_gate"], [float(slot in own) for slot in range(size)]
        pairs = zip(previous, head["least_used"], strict=True)
        head["write_weights"] = [gate * p + (1 - gate) * unused for p, unused in pairs]  # eq. 22
    written = [[0.0] * settings.word_size if slot in slots else list(memory[slot]) for slot in range(size)]
    for slot in range(size):
        for word in range(settings.word_size):
            for head in heads:
                written[slot][word] += head["write_weights"][slot] * head["add"][word]  # eq. 23
    seen = written if settings.order == "write_read" else memory
    for head in heads:
        head["weights"] = address(seen, head)
    reads = [read(seen, head) for head in heads]  # eq. 19
    usage = [
        settings.usage_decay * row["usage"][slot] + sum(h["weights"][slot] + h["write_weights"][slot] for h in heads)
        for slot in range(size)
    ]  # eq. 20
    new_row = {
        "memory": written,
        "read_weights": [head["weights"] for head in heads],
        "usage": usage,
        "reads": reads,
        "hidden": hiddens if row["hidden"] is not None else None,
        "cell": cells if row["hidden"] is not None else None,
    }
    shown = {
        "read.key": "key", "read.key_strength": "key_strength", "read.content_weights": "weights",
        "read.weights": "weights", "write.write_gate": "write_gate", "write.least_used_weights": "least_used",
        "write.weights": "write_weights", "add": "add",
    }  # fmt: skip
    trace = {path: [head[name] for head in heads] for path, name in shown.items()}
    trace |= {"usage": usage, "reads": reads, "memory": written}
    return hidden + [number for vector in reads for number in vector], new_row, trace


def run(input: np.ndarray, state: Any, parameters: Any, settings: Any, lengths: Any = None) -> dict[str, np.ndarray]:
    """Run a batch (T, B, D), row after row; every result by the path it has in tapehead's output, state and trace."""
    return run_rows(step, input, state, parameters, settings, lengths)
