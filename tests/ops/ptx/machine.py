"""Runs a kernel's PTX thread by thread, on the processor: all threads of all programs side by side, as NumPy's lanes.

Threads that part at a branch go on in groups, the one furthest behind first, so that most meet again; the others wait
where the threads of a warp, or of a program, come together. What a program's threads share is watched (`memory.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from tests.ops.ptx.memory import GLOBAL_BASE, Device, Lanes, Words, shared
from tests.ops.ptx.operations import TYPES, operation
from tests.ops.ptx.parse import Address, Bits, Instruction, Kernel, Operand, Register, Symbol

WARP = 32
_TOGETHER = ("shfl", "redux", "ldmatrix", "stmatrix")
"""Instructions that the threads of a warp run together."""
_UNSIGNED = {1: np.bool_, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def run(kernel: Kernel, programs: int, given: Sequence[torch.Tensor | int], shared_size: int = 0) -> Machine:
    """A launch on CPU tensors, which hold afterwards what the kernel stored."""
    device = Device([value for value in given if isinstance(value, torch.Tensor)], kernel.constants)
    numbers = [device.address(value) if isinstance(value, torch.Tensor) else value for value in given]
    machine = Machine(kernel, programs, device, numbers, shared_size)
    machine.run()
    device.copy_back()
    return machine


class Machine:
    """A launch of a kernel.

    Args:
        kernel: what `parse` gave
        programs: how many
        device: global memory
        arguments: of the kernel, an integer each
        shared_size: bytes of a program's shared memory
    """

    def __init__(
        self, kernel: Kernel, programs: int, device: Device, arguments: Sequence[int], shared_size: int
    ) -> None:
        self.kernel, self.device, self.programs = kernel, device, programs
        self.lanes = np.arange(programs * kernel.threads)
        self.arguments = dict(zip(kernel.parameters, arguments, strict=True))
        self.global_words = Words("global", device.values, device.allocated, kernel.threads, programs)
        self.shared_words = shared(programs, shared_size, kernel.threads)
        self.shared_size = shared_size
        self.registers: dict[str, Lanes] = {
            "%tid.x": (self.lanes % kernel.threads).astype(np.uint32),
            "%ctaid.x": (self.lanes // kernel.threads).astype(np.uint32),
            "%laneid": (self.lanes % WARP).astype(np.uint32),
        }
        self.counts: Counter[str] = Counter()
        """of each kind of instruction, how often a thread group ran one"""
        self._steps = [self._step(instruction) for instruction in kernel.instructions]

    @property
    def hazards(self) -> list[str]:
        """What lacked a barrier."""
        return sorted(self.global_words.hazards | self.shared_words.hazards)

    def run(self) -> None:
        """All threads to their end."""
        waiting: list[tuple[int, Lanes]] = []  # at a barrier that others of their program have not reached
        parked: dict[int, Lanes] = {}  # at an instruction that others of their warp have not reached
        groups: list[tuple[int, Lanes]] = [(0, np.ones(len(self.lanes), bool))]
        while groups or waiting or parked:
            if not groups:
                at = max(parked, default=waiting[0][0] if waiting else 0)
                raise RuntimeError(f"threads wait for others that never come: {self.kernel.instructions[at].text}")
            groups.sort(key=lambda group: -group[0])
            at, here = groups.pop()
            while groups and groups[-1][0] == at:
                here = here | groups.pop()[1]
            until = groups[-1][0] if groups else len(self._steps)
            groups += self._run_group(at, here, until, waiting, parked)

    def _run_group(
        self, at: int, here: Lanes, until: int, waiting: list[tuple[int, Lanes]], parked: dict[int, Lanes]
    ) -> list[tuple[int, Lanes]]:
        """From an instruction on up to another, or to a branch that parts the group; where it is then."""
        mask = None if here.all() else here
        while at < until:
            instruction = self.kernel.instructions[at]
            name = instruction.opcode[0]
            if name == "ret":
                if instruction.guard is not None:
                    raise NotImplementedError(instruction.text)
                return []
            if name in ("bar", "barrier"):
                self._check_barrier(instruction)
                self.counts["bar"] += 1
                if mask is not None:
                    return self._wait(at, here, waiting)
                self._pass_barrier(self.lanes)
            elif name == "bra":
                target = self._target(instruction)
                taken = here if instruction.guard is None else here & self._predicate(instruction.guard)
                if taken.any():
                    rest = here & ~taken
                    return [(target, taken)] + ([(at + 1, rest)] if rest.any() else [])
            else:
                if name in _TOGETHER and mask is not None and not self._of_whole_warps(here).all():
                    return self._park(at, here, parked)
                self.counts[name] += 1
                self._steps[at](mask)
            at += 1
        return [(at, here)]

    def _check_barrier(self, instruction: Instruction) -> None:
        """It is one of the whole program, as that of a warp is where the program is one."""
        whole = instruction.opcode[1:] == ("sync",) and instruction.operands == (Bits(0),)
        if instruction.guard is not None or not (
            whole or ("warp" in instruction.opcode and self.kernel.threads == WARP)
        ):
            raise NotImplementedError(instruction.text)

    def _target(self, instruction: Instruction) -> int:
        (label,) = instruction.operands
        assert isinstance(label, Symbol)
        return self.kernel.labels[label.name]

    def _wait(self, at: int, here: Lanes, waiting: list[tuple[int, Lanes]]) -> list[tuple[int, Lanes]]:
        """The groups that pass, of programs all of whose threads have come; the others join those that wait."""
        waiting.append((at, here))
        arrived = np.zeros_like(here)
        for _, lanes in waiting:
            arrived |= lanes
        complete = np.repeat(arrived.reshape(self.programs, -1).all(1), self.kernel.threads)
        passing = [(place + 1, lanes & complete) for place, lanes in waiting if (lanes & complete).any()]
        waiting[:] = [(place, lanes & ~complete) for place, lanes in waiting if (lanes & ~complete).any()]
        self._pass_barrier(np.flatnonzero(arrived & complete))
        return passing

    def _of_whole_warps(self, here: Lanes) -> Lanes:
        """Of the threads that are here, those whose warps are here; True for the others."""
        return ~here | np.repeat(here.reshape(-1, WARP).all(1), WARP)

    def _park(self, at: int, here: Lanes, parked: dict[int, Lanes]) -> list[tuple[int, Lanes]]:
        """The group of those whose warps are now complete; the others wait."""
        arrived = here | parked.pop(at, np.zeros_like(here))
        complete = arrived & self._of_whole_warps(arrived)
        if (arrived & ~complete).any():
            parked[at] = arrived & ~complete
        return [(at, complete)] if complete.any() else []

    def _pass_barrier(self, lanes: Lanes) -> None:
        programs = np.unique(lanes // self.kernel.threads)
        for words in (self.global_words, self.shared_words):
            words.epochs[programs] += 1

    # Instructions

    def _step(self, instruction: Instruction) -> Callable[[Lanes | None], None]:
        """What an instruction does to the threads of a mask, None for all."""
        name = instruction.opcode[0]
        special = {
            "ld": self._load,
            "st": self._store,
            "shfl": self._shuffle,
            "redux": self._reduce,
            "ldmatrix": self._load_matrices,
            "stmatrix": self._store_matrices,
        }.get(name)
        if special is not None:
            return lambda mask: special(instruction, self._guarded(instruction, mask))
        if name in ("bar", "barrier", "bra", "ret"):
            return lambda mask: None
        return self._computation(instruction)

    def _computation(self, instruction: Instruction) -> Callable[[Lanes | None], None]:
        if instruction.opcode[0] == "mov" and any(isinstance(one, list) for one in instruction.operands):
            return lambda mask: self._repack(instruction, self._guarded(instruction, mask))
        found = operation(instruction.opcode)
        if found is None:
            raise NotImplementedError(instruction.text)
        target, *sources = instruction.operands
        readers = [self._reader(source, kind) for source, kind in zip(sources, found.sources, strict=True)]

        def run(mask: Lanes | None) -> None:
            with np.errstate(all="ignore"):
                value = found.compute(*(read() for read in readers))
            self._put(target, value, found.result, self._guarded(instruction, mask))

        return run

    def _reader(self, operand: Operand, kind: str) -> Callable[[], Lanes]:
        """Gives a number of each thread, of a type."""
        dtype = TYPES[kind]
        if isinstance(operand, Register):
            name, negated = operand
            if negated:
                return lambda: ~self.registers[name]
            return lambda: self._register(name, dtype)
        value = self._constant(operand)
        if kind == "pred":
            return lambda: np.full(len(self.lanes), bool(value))
        size = np.dtype(dtype).itemsize
        bits = np.array(value % (1 << 8 * size), _UNSIGNED[size]).view(dtype)
        full = np.full(len(self.lanes), bits)
        return lambda: full

    def _register(self, name: str, dtype: type) -> Lanes:
        bits = self.registers[name]
        if bits.dtype.itemsize != np.dtype(dtype).itemsize:
            raise TypeError(f"{name} is {bits.dtype}, not {dtype}")
        return bits.view(dtype)

    def _constant(self, operand: Operand) -> int:
        if isinstance(operand, Bits):
            return operand.value
        if isinstance(operand, Symbol):
            return 0 if operand.name == "global_smem" else self.device.address_of(operand.name)
        raise NotImplementedError(str(operand))

    def _put(self, target: Operand, value: Any, kind: str, mask: Lanes | None) -> None:
        assert isinstance(target, Register)
        value = np.broadcast_to(np.asarray(value, TYPES[kind]), self.lanes.shape)
        bits = np.ascontiguousarray(value).view(_UNSIGNED[value.dtype.itemsize])
        if mask is not None:
            before = self.registers.get(target.name)
            bits = np.where(mask, bits, np.zeros_like(bits) if before is None else before)
        self.registers[target.name] = bits

    def _predicate(self, guard: Register) -> Lanes:
        value = self.registers[guard.name]
        return ~value if guard.negated else value

    def _guarded(self, instruction: Instruction, mask: Lanes | None) -> Lanes | None:
        if instruction.guard is None:
            return mask
        guard = self._predicate(instruction.guard)
        return guard if mask is None else guard & mask

    def _repack(self, instruction: Instruction, mask: Lanes | None) -> None:
        """Between a number of 64 bits and its two halves."""
        target, source = instruction.operands
        if isinstance(target, list):
            whole = self._reader(source, "b64")()
            for part, shift in zip(target, (0, 32), strict=True):
                if part == Symbol("_"):
                    continue
                self._put(part, (whole >> np.uint64(shift)).astype(np.uint32), "b32", mask)
        else:
            assert isinstance(source, list)
            low, high = (self._reader(part, "b32")().astype(np.uint64) for part in source)
            self._put(target, low | high << np.uint64(32), "b64", mask)

    # Memory

    def _load(self, instruction: Instruction, mask: Lanes | None) -> None:
        target, address = instruction.operands
        kind = instruction.opcode[-1]
        assert isinstance(address, Address)
        if "param" in instruction.opcode:
            assert isinstance(address.base, Symbol)
            assert isinstance(target, Register)
            wide = self.kernel.registers[target.name.rstrip("0123456789")]  # which may be wider than what is loaded
            value = self._reader(Bits(self.arguments[address.base.name]), kind)()
            self._put(target, value, kind[0] + wide[1:] if wide != "pred" else kind, mask)
            return
        targets = target if isinstance(target, list) else [target]
        memory, first, lanes = self._place(instruction, address, mask)
        each = int(kind[1:]) // 32
        for index, register in enumerate(targets):
            words = [memory.load(first + index * each + part, lanes, instruction.text) for part in range(each)]
            value = words[0] if each == 1 else words[0].astype(np.uint64) | words[1].astype(np.uint64) << np.uint64(32)
            found = np.zeros(len(self.lanes), value.dtype)
            found[lanes] = value
            self._put(register, found, f"b{32 * each}", mask)

    def _store(self, instruction: Instruction, mask: Lanes | None) -> None:
        address, source = instruction.operands
        kind = instruction.opcode[-1]
        assert isinstance(address, Address)
        memory, first, lanes = self._place(instruction, address, mask)
        each = int(kind[1:]) // 32
        for index, register in enumerate(source if isinstance(source, list) else [source]):
            value = self._reader(register, f"b{32 * each}")()[lanes]
            for part in range(each):
                word = (value >> value.dtype.type(32 * part)).astype(np.uint32)
                memory.store(first + index * each + part, word, lanes, instruction.text)

    def _place(self, instruction: Instruction, address: Address, mask: Lanes | None) -> tuple[Words, Lanes, Lanes]:
        """The memory of an access, the first word of each thread that takes part, and these threads."""
        lanes = self.lanes if mask is None else np.flatnonzero(mask)
        kind = "b32" if "shared" in instruction.opcode else "b64"
        base = self._reader(address.base, kind)()[lanes].astype(np.int64) + address.offset
        count = next((int(part[1:]) for part in instruction.opcode if part in ("v2", "v4")), 1)
        size = count * int(instruction.opcode[-1][1:]) // 8 if instruction.opcode[0] in ("ld", "st") else 16
        if (base % size).any():
            raise IndexError(f"not at a multiple of {size} bytes: {instruction.text}")
        if kind == "b64":
            return self.global_words, (base - GLOBAL_BASE) >> 2, lanes
        if ((base < 0) | (base + size > self.shared_size)).any():
            raise IndexError(f"outside shared memory: {instruction.text}")
        return self.shared_words, (base >> 2) + lanes // self.kernel.threads * -(-self.shared_size // 4), lanes

    # Threads of a warp

    def _shuffle(self, instruction: Instruction, mask: Lanes | None) -> None:
        target, source, which, clamp, members = instruction.operands
        if clamp != Bits(31) or self._constant(members) & 0xFFFF_FFFF != 0xFFFF_FFFF:
            raise NotImplementedError(instruction.text)
        by, own = self._reader(which, "b32")() % WARP, self.lanes % WARP
        from_lane = {"bfly": own ^ by, "idx": by}[instruction.opcode[2]]
        self._put(target, self._reader(source, "b32")()[self.lanes - own + from_lane], "b32", mask)

    def _reduce(self, instruction: Instruction, mask: Lanes | None) -> None:
        target, source, _ = instruction.operands
        how, kind = {"min": np.min, "max": np.max, "add": np.sum}[instruction.opcode[2]], instruction.opcode[3]
        found = how(self._reader(source, kind)().reshape(-1, WARP), axis=1)
        self._put(target, np.repeat(found, WARP), kind, mask)

    def _matrix_words(
        self, instruction: Instruction, address: Operand, mask: Lanes | None, index: int
    ) -> tuple[Lanes, Lanes]:
        """Of each thread that takes part its word of the index-th matrix, and these threads.

        A matrix is eight rows of 16 bytes, whose addresses eight threads give.
        """
        if "trans" in instruction.opcode or not isinstance(address, Address):
            raise NotImplementedError(instruction.text)
        _, given, lanes = self._place(instruction, address, mask)
        first, own = np.zeros_like(self.lanes), lanes % WARP
        first[lanes] = given
        return first[lanes - own + 8 * index + own // 4] + own % 4, lanes

    def _load_matrices(self, instruction: Instruction, mask: Lanes | None) -> None:
        targets, address = instruction.operands
        for index, target in enumerate(targets if isinstance(targets, list) else [targets]):
            words, lanes = self._matrix_words(instruction, address, mask, index)
            found = np.zeros(len(self.lanes), np.uint32)
            found[lanes] = self.shared_words.load(words, lanes, instruction.text)
            self._put(target, found, "b32", mask)

    def _store_matrices(self, instruction: Instruction, mask: Lanes | None) -> None:
        address, sources = instruction.operands
        for index, source in enumerate(sources if isinstance(sources, list) else [sources]):
            words, lanes = self._matrix_words(instruction, address, mask, index)
            self.shared_words.store(words, self._reader(source, "b32")()[lanes], lanes, instruction.text)
