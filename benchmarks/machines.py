"""The networks whose kernels are timed on a GPU, each at the sizes of a task that it is for."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from tapehead import LSTM, MANN, NTM, SequenceModel
from tapehead.backends import Backend
from tapehead.ops.mann.shapes import Shape as MANNShape
from tapehead.ops.ntm.shapes import Shape as NTMShape
from tapehead.ops.packing import chosen_every
from tapehead.ops.shapes import padded

__all__ = ["MACHINES", "SIZES", "Machine", "Point"]


class Machine(NamedTuple):
    """A network but for its sizes, and the task that it is for."""

    text: str
    core: type[NTM] | type[MANN]
    input_size: int
    target_size: int
    layers: int = 1
    options: dict[str, Any] = {}  # noqa: RUF012
    """arguments of the core that are not its defaults"""

    @property
    def op(self) -> str:
        """Whose kernels it takes: "ntm" or "mann"."""
        return "ntm" if self.core is NTM else "mann"


MACHINES = {
    "ntm": Machine("the NTM with an LSTM controller, for copy", NTM, 9, 8),
    "ntm-feedforward": Machine(
        "the NTM with a feed-forward controller, for copy", NTM, 9, 8, options={"controller": "feedforward"}
    ),
    "ntm-priority-sort": Machine(
        "the NTM with an LSTM controller of two layers and five heads of each kind, for priority sort",
        NTM,
        10,
        8,
        layers=2,
        options={"num_read_heads": 5, "num_write_heads": 5},
    ),
    "mann": Machine("the MANN with an LSTM controller and four heads, for Omniglot with five classes", MANN, 405, 5),
}
"""By the names that `--only` takes."""


class Point(NamedTuple):
    """One measurement: a machine and its sizes."""

    machine: str = "ntm"
    rows: int = 8
    steps: int = 41
    slots: int = 128
    word: int = 20
    hidden: int = 100

    def __str__(self) -> str:
        return f"{self.machine}: {self.sizes()}"

    def sizes(self) -> str:
        """The sizes in words."""
        return f"B {self.rows:,}, T {self.steps:,}, {self.slots:,} x {self.word}, H {self.hidden}"

    def core(self, backend: Backend, device: torch.device) -> NTM | MANN:
        """The machine as a layer."""
        machine = MACHINES[self.machine]
        return machine.core(
            machine.input_size,
            self.hidden,
            memory_size=self.slots,
            word_size=self.word,
            num_layers=machine.layers,
            backend=backend,
            device=device,
            **machine.options,
        )

    def model(self, backend: Backend, device: torch.device) -> SequenceModel:
        """The machine with a readout."""
        return SequenceModel(self.core(backend, device), MACHINES[self.machine].target_size)

    def lstm(self, device: torch.device) -> SequenceModel:
        """In the machine's place torch's LSTM, as wide and as deep as its controller."""
        machine = MACHINES[self.machine]
        core = LSTM(machine.input_size, self.hidden, num_layers=machine.layers, device=device)
        return SequenceModel(core, machine.target_size)

    def input(self, device: torch.device) -> torch.Tensor:
        """Random bits (T, B, D)."""
        width = MACHINES[self.machine].input_size
        return (torch.rand(self.steps, self.rows, width, device=device) < 0.5).float()

    def shape(self) -> NTMShape | MANNShape:
        """All sizes of a call of the machine's op."""
        machine = MACHINES[self.machine]
        settings: Any = self.core("auto", torch.device("meta")).cell.settings
        shape = NTMShape if machine.op == "ntm" else MANNShape
        lstm = machine.options.get("controller", "lstm") == "lstm"
        sizes = (self.steps, self.rows, machine.input_size, self.hidden, machine.layers)
        return shape(*sizes, self.slots, padded(self.slots), self.word, int(lstm), shape.Sizes.of(settings))

    def kept_every(self) -> int:
        """Steps from one memory that is kept for the backward to the next, as the layer chooses them."""
        input = torch.empty(self.steps, self.rows, MACHINES[self.machine].input_size, device="meta")
        return chosen_every(input, torch.empty(self.rows, self.slots, self.word, device="meta"), None)


_COPY, _FEEDFORWARD = Point(), Point("ntm-feedforward")
_SORT = Point("ntm-priority-sort", steps=37)
_OMNIGLOT = Point("mann", rows=16, steps=50, word=40, hidden=200)

SIZES = {
    "ntm": [
        _COPY,
        *(_COPY._replace(rows=rows) for rows in (1, 64, 512, 4096)),
        *(_COPY._replace(steps=steps) for steps in (200, 1000)),
        *(_COPY._replace(slots=slots) for slots in (512, 1024, 4096)),
        _COPY._replace(rows=512, slots=1024),
    ],
    **{
        base.machine: [base._replace(rows=rows) for rows in (base.rows, 1, 64, 512)]
        for base in (_FEEDFORWARD, _SORT, _OMNIGLOT)
    },
}
"""Of each machine; first those that it is trained with."""
