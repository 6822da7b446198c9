"""`tapehead info`: what is installed, what devices there are, and which backends run on them."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

import tapehead
from tapehead import backends, core
from tapehead.ops import tunings_file

__all__ = ["describe"]

PACKAGES = ("torch", "lightning", "jsonargparse", "tensorboard", "rich", "matplotlib", "numpy")


def describe() -> str:
    """The report as text."""
    lines = [f"tapehead      {tapehead.__version__}", f"python        {platform.python_version()}"]
    lines += [f"{name:<13} {_version(name)}" for name in PACKAGES]
    lines.append(f"triton        {backends.triton_version() or 'not installed'}")
    lines.append(f"cpu           {platform.machine()}, {torch.get_num_threads()} threads")
    lines.append(f"core          {_core()}")
    devices = [torch.device("cpu")]
    for index in range(torch.cuda.device_count()):
        lines.append(f"cuda:{index}        {torch.cuda.get_device_name(index)}")
        devices.append(torch.device("cuda", index))
    if len(devices) == 1:
        lines.append("cuda          no device")
    lines.append(f"tunings       {_tunings(devices[1:])}")
    for op in backends.ops():
        for device in devices:
            lines += ["", f"backends of {op} on {device}:"]
            for backend in backends.AUTO_ORDER:
                request = backends.Request(op, device, torch.float32)
                lines.append(f"  {backend:<11} {_answer(backend, request)}")
    return "\n".join(lines)


def _answer(backend: str, request: backends.Request) -> str:
    """Whether a backend can run, and whether "auto" takes it."""
    reasons, passed_over = backends.why_not(backend, request), backends.passed_over(backend, request)
    if reasons:
        return f"no: {' '.join(reasons)}"
    if passed_over:
        return f'yes, but not by "auto": {" ".join(passed_over)}'
    return "yes (auto)" if backends.choose("auto", request) == backend else "yes"


def _tunings(devices: list[torch.device]) -> str:
    """Where what `tapehead tune` found is kept, and how much of it holds for each GPU."""
    counts = [f"{tunings_file.count(device, backends.ops()) or 'none'} for {device}" for device in devices]
    return f"{tunings_file.path()}" + (f" ({', '.join(counts)})" if counts else "")


def _core() -> str:
    reasons = core.why_not()
    if not reasons:
        return f"{core.isa()} (built: {', '.join(core.isas_built())})"
    return f"{'not built' if core.path() is None else 'not usable'}: {' '.join(reasons)}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
