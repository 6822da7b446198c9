"""Reads PTX, the text that Triton's compiler hands to NVIDIA's assembler: instructions and their operands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

_STATEMENT = re.compile(r"(?:@(!?)([%\w$]+)\s+)?([\w.:]+)\s*(.*)", re.DOTALL)
_ADDRESS = re.compile(r"\[\s*([%\w$.]+)\s*(?:\+\s*(-?\w+))?\s*\]")
_FLOAT = re.compile(r"0[fFdD]([0-9a-fA-F]+)")
_INTEGER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|\d+)U?")


class Register(NamedTuple):
    """A register, or one of the special ones, as `%tid.x`; a predicate may be taken the other way round."""

    name: str
    negated: bool = False


class Bits(NamedTuple):
    """A number written into the code, as its bits: those of an integer, or of a float32 or float64."""

    value: int


class Symbol(NamedTuple):
    """A parameter, an array or a label."""

    name: str


class Address(NamedTuple):
    base: Register | Symbol
    offset: int


Operand = Register | Bits | Symbol | Address | list


class Instruction(NamedTuple):
    """One instruction; its guard is the predicate without which a thread passes it."""

    guard: Register | None
    opcode: tuple[str, ...]
    operands: tuple[Operand, ...]
    text: str
    """with its place in the kernel's source, innermost function first"""


@dataclass
class Kernel:
    """A kernel's code."""

    name: str
    threads: int
    """of a program"""
    parameters: list[str] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    """index of the instruction behind each"""
    constants: dict[str, bytes] = field(default_factory=dict)
    """arrays that are written into the code"""
    registers: dict[str, str] = field(default_factory=dict)
    """type of those with a name before their number"""


def parse(text: str) -> Kernel:
    """The one kernel of a module."""
    (name,) = re.findall(r"\.visible\s+\.entry\s+(\w+)\s*\(", text)
    (threads,) = re.findall(r"\.reqntid\s+(\d+)", text)
    head, body = re.split(r"\.reqntid[^{]*\{\n", text, maxsplit=1)
    kernel = Kernel(name, int(threads), re.findall(rf"\b({name}_param_\d+)\b", head))
    for array, numbers in re.findall(r"\.global[^;]*\.b8\s+([\w$]+)\[\d+\]\s*=\s*\{([^}]*)\}", head):
        kernel.constants[array] = bytes(int(number) for number in numbers.split(","))
    kernel.registers.update((name, kind) for kind, name in re.findall(r"\.reg\s+\.(\w+)\s+(%\w+)<", body))
    place = ""
    for line in body[: body.index("\n}")].splitlines():
        code, _, comment = line.partition("//")
        if re.match(r"\s*\.loc\b", code):
            place = comment.strip()
        else:
            _add_line(kernel, code.strip(), place)
    return kernel


def _add_line(kernel: Kernel, line: str, place: str) -> None:
    if line.endswith(":"):
        kernel.labels[line[:-1]] = len(kernel.instructions)
        return
    for statement in line.split(";"):
        statement = statement.strip().lstrip("{} ")  # of a block with names of its own
        own = re.fullmatch(r"\.reg\s+\.(\w+)\s+(\w+)", statement)
        if own:
            kernel.registers[own[2]] = own[1]
        elif statement and not re.match(r"\.(reg|file|pragma)\b", statement):
            kernel.instructions.append(_instruction(statement, place, kernel.registers))


def _instruction(statement: str, place: str, registers: dict[str, str]) -> Instruction:
    found = _STATEMENT.fullmatch(statement)
    if found is None:
        raise ValueError(f"not an instruction: {statement!r}")
    negated, guard, opcode, rest = found.groups()
    operands = tuple(_operand(part, registers) for part in _parts(rest))
    return Instruction(
        Register(guard, bool(negated)) if guard else None, tuple(opcode.split(".")), operands, f"{statement} at {place}"
    )


def _parts(text: str) -> list[str]:
    """Operands, cut at the commas that no bracket holds."""
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(text):
        depth += (letter in "{[") - (letter in "}]")
        if letter == "," and not depth:
            parts.append(text[start:index])
            start = index + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def _operand(text: str, registers: dict[str, str]) -> Operand:
    if text.startswith("{"):
        return [_operand(part, registers) for part in _parts(text.strip("{} "))]
    if text.startswith("["):
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise ValueError(f"not an address: {text!r}")
        base = Register(found[1]) if found[1].startswith("%") else Symbol(found[1])
        return Address(base, int(found[2] or "0", 0))
    if text.startswith(("%", "!%")) or text in registers:
        return Register(text.lstrip("!"), text.startswith("!"))
    number = _FLOAT.fullmatch(text)
    if number:
        return Bits(int(number[1], 16))
    if _INTEGER.fullmatch(text):
        return Bits(int(text.rstrip("U"), 0))
    return Symbol(text)
