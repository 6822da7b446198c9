"""The tasks once more, as their docs draw them: one sequence at a time, one step after the other, in plain lists."""

import math

Steps = list[list[float]]


def copy_sequence(vectors: Steps) -> tuple[Steps, Steps, list[bool]]:
    """Input, target and mask of one sequence that shows these vectors."""
    bits = len(vectors[0])
    input = [[*vector, 0.0] for vector in vectors] + [[0.0] * bits + [1.0]]
    target, mask = [[0.0] * bits for _ in input], [False for _ in input]
    for vector in vectors:
        input.append([0.0] * (bits + 1))
        target.append(list(vector))
        mask.append(True)
    return input, target, mask


def repeat_copy_sequence(vectors: Steps, repeats: int, low: int, high: int) -> tuple[Steps, Steps, list[bool]]:
    """The same for repeat copy, trained on low..high repeats."""
    bits, counts = len(vectors[0]), range(low, high + 1)
    mean = sum(counts) / len(counts)
    deviation = math.sqrt(sum((count - mean) ** 2 for count in counts) / len(counts)) or 1.0
    shown = (repeats - mean) / deviation
    input = [[*vector, 0.0, 0.0] for vector in vectors] + [[0.0] * bits + [1.0, shown]]
    target, mask = [[0.0] * (bits + 1) for _ in input], [False for _ in input]
    answer = [[*vector, 0.0] for _ in range(repeats) for vector in vectors] + [[0.0] * bits + [1.0]]
    for vector in answer:
        input.append([0.0] * (bits + 2))
        target.append(vector)
        mask.append(True)
    return input, target, mask


def associative_recall_sequence(items: list[Steps], query: int) -> tuple[Steps, Steps, list[bool]]:
    """The same for a list of items and the place of the one asked for."""
    bits = len(items[0][0])
    silence, item_delimiter, query_delimiter = [0.0] * (bits + 2), [0.0] * bits + [1.0, 0.0], [0.0] * bits + [0.0, 1.0]
    input = []
    for item in items:
        input.append(item_delimiter)
        input += [[*vector, 0.0, 0.0] for vector in item]
    input.append(query_delimiter)
    input += [[*vector, 0.0, 0.0] for vector in items[query]]
    input.append(query_delimiter)
    target, mask = [[0.0] * bits for _ in input], [False for _ in input]
    for vector in items[query + 1]:
        input.append(silence)
        target.append(list(vector))
        mask.append(True)
    return input, target, mask


def priority_sort_sequence(vectors: Steps, priorities: list[float], highest: int) -> tuple[Steps, Steps, list[bool]]:
    """The same for vectors with their priorities, of which so many are asked for."""
    bits, left = len(vectors[0]), list(zip(priorities, vectors, strict=True))
    input = [[*vector, priority, 0.0] for priority, vector in left] + [[0.0] * (bits + 1) + [1.0]]
    target, mask = [[0.0] * bits for _ in input], [False for _ in input]
    for _ in range(highest):
        if not left:
            break
        first = left[0]
        for pair in left:
            if pair[0] > first[0]:
                first = pair
        left.remove(first)
        input.append([0.0] * (bits + 2))
        target.append(list(first[1]))
        mask.append(True)
    return input, target, mask


def optimal_prediction(earlier: list[int], n: int) -> float:
    """The chance of a 1 after these bits, from what came after the same context before."""
    if len(earlier) < n - 1:
        return 0.5
    context = earlier[len(earlier) - (n - 1) :]
    ones = zeros = 0
    for place in range(n - 1, len(earlier)):
        if earlier[place - (n - 1) : place] == context:
            if earlier[place]:
                ones += 1
            else:
                zeros += 1
    return (ones + 0.5) / (ones + zeros + 1)
