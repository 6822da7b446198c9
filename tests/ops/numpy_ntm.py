"""The NTM written once more, from the paper (arXiv 1410.5401, section 3), one number at a time.

It shares with tapehead the layout of the parameters and no line of code. Sums are loops over slots and words, a row of
a batch never sees another, and a row of a shorter length is a shorter loop.
"""

import math
from typing import Any

import numpy as np

NORM_EPSILON = 1e-6  # tapehead's norms are sqrt(|v|^2 + epsilon^2)

Row = dict[str, Any]


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def softmax(scores: list[float]) -> list[float]:
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def affine(weight: np.ndarray, vector: list[float], bias: np.ndarray | None = None) -> list[float]:
    sums = [sum(w * x for w, x in zip(row, vector, strict=True)) for row in weight]
    return sums if bias is None else [total + b for total, b in zip(sums, bias, strict=True)]


def plus(*vectors: list[float]) -> list[float]:
    return [sum(numbers) for numbers in zip(*vectors, strict=True)]


def control(x: list[float], row: Row, controller: Any, activation: str) -> tuple[list[float], list[Any], list[Any]]:
    """The controller's output for one input and the last reads, and its new hidden and cell states."""
    reads = [number for read in row["reads"] for number in read]
    hiddens, cells = [], []
    below = x
    for index, layer in enumerate(controller.layers):
        total = affine(layer.weight_input, below, layer.bias)
        if index == 0:
            total = plus(total, affine(controller.weight_reads, reads))
        if row["hidden"] is None:
            below = [max(number, 0.0) if activation == "relu" else math.tanh(number) for number in total]
            continue
        total = plus(total, affine(layer.weight_hidden, row["hidden"][index]))
        size = len(total) // 4
        hidden, cell = [], []
        for unit in range(size):
            write, keep, candidate, show = (total[gate * size + unit] for gate in range(4))
            cell.append(sigmoid(keep) * row["cell"][index][unit] + sigmoid(write) * math.tanh(candidate))
            hidden.append(sigmoid(show) * math.tanh(cell[unit]))
        hiddens.append(hidden)
        cells.append(cell)
        below = hidden
    return below, hiddens, cells


def speak(hidden: list[float], parameters: Any, settings: Any) -> tuple[list[Row], list[Row]]:
    """What each head, read heads first, and each write head besides, is told: section 3.3."""
    said = iter(affine(parameters.weight, hidden, parameters.bias))
    width, heads = settings.word_size, [{} for _ in range(settings.num_read_heads + settings.num_write_heads)]

    def vector(size: int, activation: str = "linear") -> list[float]:
        numbers = [next(said) for _ in range(size)]
        return [math.tanh(number) for number in numbers] if activation == "tanh" else numbers

    for head in heads:
        head["key"] = vector(width, settings.key_activation)
    for head in heads:
        head["key_strength"] = softplus(next(said))
    if settings.addressing == "content_and_location":
        for head in heads:
            head["interpolation_gate"] = sigmoid(next(said))
        for head in heads:
            head["shift_weights"] = softmax(vector(2 * settings.max_shift + 1))
        for head in heads:
            head["gamma"] = 1 + softplus(next(said))
    writers = heads[settings.num_read_heads :]
    for head in writers:
        head["erase"] = [sigmoid(number) for number in vector(width)]
    for head in writers:
        head["add"] = vector(width, settings.add_activation)
    assert next(said, None) is None
    return heads[: settings.num_read_heads], writers


def address(memory: list[list[float]], head: Row, previous: list[float], settings: Any) -> None:
    """Set a head's weights: figure 2 of the paper."""
    scores = []
    for slot in memory:
        dot = norm_key = norm_slot = 0.0
        for u, v in zip(head["key"], slot, strict=True):
            dot, norm_key, norm_slot = dot + u * v, norm_key + u * u, norm_slot + v * v
        norms = math.sqrt(norm_key + NORM_EPSILON**2) * math.sqrt(norm_slot + NORM_EPSILON**2)
        scores.append(head["key_strength"] * dot / norms)  # eq. 6
    content = softmax(scores)  # eq. 5
    head["content_weights"] = head["weights"] = content
    if settings.addressing == "content":
        return
    gate, size = head["interpolation_gate"], len(memory)
    gated = [gate * c + (1 - gate) * p for c, p in zip(content, previous, strict=True)]  # eq. 7
    shifted = [0.0] * size
    for start in range(size):
        for index, share in enumerate(head["shift_weights"]):
            shifted[(start + index - settings.max_shift) % size] += gated[start] * share  # eq. 8
    powers = [weight ** head["gamma"] for weight in shifted]
    head["weights"] = [power / sum(powers) for power in powers]  # eq. 9


def read(memory: list[list[float]], head: Row) -> list[float]:
    width = len(memory[0])
    return [
        sum(w * slot[word] for w, slot in zip(head["weights"], memory, strict=True)) for word in range(width)
    ]  # eq. 2


def write(memory: list[list[float]], writers: list[Row]) -> list[list[float]]:
    new = []
    for index, slot in enumerate(memory):
        numbers = []
        for word, number in enumerate(slot):
            for head in writers:
                number *= 1 - head["weights"][index] * head["erase"][word]  # eq. 3
            for head in writers:
                number += head["weights"][index] * head["add"][word]  # eq. 4
            numbers.append(number)
        new.append(numbers)
    return new


def step(x: list[float], row: Row, parameters: Any, settings: Any) -> tuple[list[float], Row, Row]:
    hidden, hiddens, cells = control(x, row, parameters.controller, settings.controller_activation)
    readers, writers = speak(hidden, parameters.heads, settings)
    memory = row["memory"]
    for head, previous in zip(writers, row["write_weights"], strict=True):
        address(memory, head, previous, settings)
    written = write(memory, writers)
    if settings.order == "write_read":
        memory = written
    for head, previous in zip(readers, row["read_weights"], strict=True):
        address(memory, head, previous, settings)
    reads = [read(memory, head) for head in readers]
    new_row = {
        "memory": written,
        "read_weights": [head["weights"] for head in readers],
        "write_weights": [head["weights"] for head in writers],
        "reads": reads,
        "hidden": hiddens if row["hidden"] is not None else None,
        "cell": cells if row["hidden"] is not None else None,
    }
    trace = {"reads": reads, "memory": written}
    for side, heads in (("read", readers), ("write", writers)):
        for name in heads[0]:
            path = name if name in ("erase", "add") else f"{side}.{name}"
            trace[path] = [head[name] for head in heads]
    return hidden + [number for vector in reads for number in vector], new_row, trace


def run(input: np.ndarray, state: Any, parameters: Any, settings: Any, lengths: Any = None) -> dict[str, np.ndarray]:
    """Run a batch (T, B, D), row after row; every result by the path it has in tapehead's output, state and trace."""
    return run_rows(step, input, state, parameters, settings, lengths)


def run_rows(
    step: Any, input: np.ndarray, state: Any, parameters: Any, settings: Any, lengths: Any
) -> dict[str, np.ndarray]:
    """The loops over rows and time, of a step of any model."""
    steps, rows = input.shape[:2]
    columns: list[dict[str, np.ndarray]] = []
    for index in range(rows):
        row: Row = {name: getattr(state, name)[index].tolist() for name in state._fields[:4]}
        for name in ("hidden", "cell"):
            row[name] = None if state.controller is None else getattr(state.controller, name)[:, index].tolist()
        shown: dict[str, list[Any]] = {}
        length = steps if lengths is None else int(lengths[index])
        for time in range(steps):
            if time < length:
                output, row, trace = step(input[time, index].tolist(), row, parameters, settings)
            else:  # only for the shapes: all of it becomes zero
                output, _, trace = step([0.0] * input.shape[2], row, parameters, settings)
            for name, value in {"output": output, **{f"trace.{key}": value for key, value in trace.items()}}.items():
                shown.setdefault(name, []).append(np.array(value) * (time < length))
        column = {name: np.stack(values) for name, values in shown.items()}
        column |= {f"state.{name}": np.array(row[name]) for name in state._fields[:4]}
        if state.controller is not None:
            column |= {f"state.controller.{name}": np.array(row[name]) for name in ("hidden", "cell")}
        columns.append(column)
    batch_dim = {name: 0 if name.startswith("state.") and "controller" not in name else 1 for name in columns[0]}
    return {name: np.stack([column[name] for column in columns], dim) for name, dim in batch_dim.items()}
