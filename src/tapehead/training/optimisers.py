"""Optimisers and learning rates, from their options."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from tapehead import core
from tapehead.training.options.config import OptimiserConfig, ScheduleConfig

__all__ = [
    "GravesRMSprop",
    "averaged_tensors",
    "build_optimiser",
    "clip_gradients",
    "in_rows",
    "rate_factor",
    "solved_factor",
]


class GravesRMSprop(torch.optim.Optimizer):
    r"""RMSprop as Graves 2013 (arXiv 1308.0850, eq. 38-41) writes it, which the NTM paper trains with.

    .. math::
        n &= \aleph n + (1 - \aleph) g^2 \qquad \bar g = \aleph \bar g + (1 - \aleph) g \\
        \Delta &= \mu \Delta - \eta\, g / \sqrt{n - \bar g^2 + \epsilon} \qquad w = w + \Delta

    `torch.optim.RMSprop(centered=True)` adds epsilon to the root instead of under it, which leaves the root of a
    difference of nearly equal numbers, and with rounding of a negative one: NaN.

    Args:
        parameters: to train
        learning_rate: eta
        decay: aleph, of the running means
        momentum: mu
        eps: epsilon, under the root
        weight_decay: times the parameter, added to its gradient

    A group of parameters with a rate of its own has it as `lr`: `[{"params": parameters, "lr": 1e-5}]`.
    A group's `lr` and `weight_decay` may be tensors (models,) where each of its parameters is those of several models,
    (models, ...).

    Raises:
        ValueError: an option below 0, a decay above 1, a group with a `learning_rate`; in `step`, a sparse gradient.

    >>> weight = torch.nn.Parameter(torch.ones(1))
    >>> weight.grad = torch.ones(1)
    >>> GravesRMSprop([weight], learning_rate=0.1).step()
    >>> weight
    Parameter containing:
    tensor([0.5417], requires_grad=True)
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        learning_rate: float = 1e-4,
        decay: float = 0.95,
        momentum: float = 0.9,
        eps: float = 1e-4,
        weight_decay: float = 0.0,
    ) -> None:
        options = {"learning_rate": learning_rate, "decay": decay, "momentum": momentum, "eps": eps}
        for name, value in {**options, "weight_decay": weight_decay}.items():
            if not isinstance(value, Tensor) and not value >= 0:
                raise ValueError(f"GravesRMSprop: expected {name} >= 0, got {value}.")
        if decay > 1:
            raise ValueError(f"GravesRMSprop: expected decay <= 1, of running means, got {decay}.")
        defaults = {
            "lr": learning_rate,
            "decay": decay,
            "momentum": momentum,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        super().__init__(parameters, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own, named as in `defaults`: a group's rate is its `lr`."""
        if "learning_rate" in param_group:
            raise ValueError(
                "GravesRMSprop: expected a group's learning rate as lr, as schedulers have it, got learning_rate."
            )
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    raise ValueError(
                        "GravesRMSprop: expected dense gradients, got a sparse one of a parameter "
                        f"{tuple(parameter.shape)}. Make an embedding with sparse=False."
                    )
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            gradients: Any = [parameter.grad for parameter in parameters]
            for parameter in parameters:
                if not self.state[parameter]:
                    for name in ("square", "mean", "delta"):
                        self.state[parameter][name] = torch.zeros_like(parameter)
            states = [self.state[parameter] for parameter in parameters]
            lists = [[state[name] for state in states] for name in ("square", "mean", "delta")]
            alike = not any(isinstance(group[name], Tensor) for name in ("lr", "weight_decay"))
            update = _update_in_core if alike and _fits_the_core(parameters, gradients, *lists) else _update
            update(group, parameters, gradients, *lists)
        return result


def _update(
    group: dict[str, Any],
    parameters: list[Tensor],
    gradients: Any,
    square: list[Tensor],
    mean: list[Tensor],
    delta: list[Tensor],
) -> None:
    rate, weight_decay = group["lr"], group["weight_decay"]
    if isinstance(weight_decay, Tensor):
        gradients = torch._foreach_add(gradients, torch._foreach_mul(parameters, in_rows(weight_decay, parameters)))
    elif weight_decay:
        gradients = torch._foreach_add(gradients, parameters, alpha=weight_decay)
    torch._foreach_mul_(square, group["decay"])
    torch._foreach_addcmul_(square, gradients, gradients, 1 - group["decay"])
    torch._foreach_lerp_(mean, gradients, 1 - group["decay"])
    root = torch._foreach_addcmul(square, mean, mean, -1)
    torch._foreach_clamp_min_(root, 0)
    torch._foreach_add_(root, group["eps"])
    torch._foreach_sqrt_(root)
    torch._foreach_mul_(delta, group["momentum"])
    if isinstance(rate, Tensor):
        torch._foreach_sub_(delta, torch._foreach_mul(torch._foreach_div(gradients, root), in_rows(rate, parameters)))
    else:
        torch._foreach_addcdiv_(delta, gradients, root, -rate)
    torch._foreach_add_(parameters, delta)


def in_rows(numbers: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    """Numbers (models,) as factors of parameters (models, ...), or one number as that of any."""
    if not numbers.dim():
        return [numbers] * len(parameters)
    return [numbers.view(-1, *[1] * (parameter.dim() - 1)) for parameter in parameters]


_KIND = attrgetter("dtype", "is_cpu")
_PLAIN = {Tensor, nn.Parameter}


def _fits_the_core(*lists: list[Tensor]) -> bool:
    """Whether the C++ core can work on these tensors; torch would make ten small operations for each of them.

    The core is told their addresses alone: those that belong together must be alike in all that it takes for granted.
    """
    dtype, tensors = lists[0][0].dtype, [*chain(*lists)]
    return (
        dtype in (torch.float32, torch.float64)
        and not torch.compiler.is_compiling()
        and _PLAIN.issuperset(map(type, tensors))
        and {*map(_KIND, tensors)} == {(dtype, True)}
        and all(map(Tensor.is_contiguous, tensors))
        and not any(map(Tensor.is_neg, tensors))
        and not any(map(Tensor._is_zerotensor, tensors))
        and [*map(Tensor.size, tensors)] == [*map(Tensor.size, lists[0])] * len(lists)
        and not core.why_not()
    )


class _RMSpropFields(ctypes.Structure):
    """`RMSpropFields` of csrc/optimiser.h."""

    _fields_ = (
        ("count", ctypes.c_int64),
        ("table", ctypes.c_void_p),
        ("double_precision", ctypes.c_int64),
        ("threads", ctypes.c_int64),
        *((name, ctypes.c_double) for name in ("learning_rate", "decay", "momentum", "eps", "weight_decay")),
    )


class _ClipFields(ctypes.Structure):
    """`ClipFields` of csrc/optimiser.h."""

    _fields_ = (
        ("count", ctypes.c_int64),
        ("table", ctypes.c_void_p),
        ("double_precision", ctypes.c_int64),
        ("limit", ctypes.c_double),
        ("norm", ctypes.c_double),
    )


@lru_cache(64)
def _array(length: int) -> Any:
    return ctypes.c_int64 * length


def _table(*lists: list[Tensor]) -> Any:
    """Rows of the addresses of tensors that belong together, and of how many numbers they have."""
    columns = (map(Tensor.data_ptr, tensors) for tensors in lists)
    values = [*chain(*zip(*columns, map(Tensor.numel, lists[0]), strict=True))]
    return _array(len(values))(*values)


def _update_in_core(group: dict[str, Any], *lists: list[Tensor]) -> None:
    table = _table(*lists)
    numbers = [float(group[name]) for name in ("lr", "decay", "momentum", "eps", "weight_decay")]
    double = lists[0][0].dtype == torch.float64
    fields = _RMSpropFields(len(lists[0]), ctypes.addressof(table), double, torch.get_num_threads(), *numbers)
    core.library().tapehead_rmsprop(ctypes.byref(fields))
    for changed in (lists[0], *lists[2:]):
        torch.autograd.graph.increment_version(changed)


def _clip_in_core(gradients: list[Tensor], limit: float) -> Tensor:
    """Clip the norm of all together at `limit`; returns it from before."""
    table = _table(gradients)
    double = gradients[0].dtype == torch.float64
    fields = _ClipFields(len(gradients), ctypes.addressof(table), double, limit, 0.0)
    core.library().tapehead_clip(ctypes.byref(fields))
    if not fields.norm <= limit:
        torch.autograd.graph.increment_version(gradients)
    return torch.tensor(fields.norm, dtype=gradients[0].dtype)


def build_optimiser(config: OptimiserConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser that the options name."""
    if config.name in ("adam", "adamw"):
        kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
        eps = 1e-8 if config.eps is None else config.eps
        return kind(parameters, config.learning_rate, config.betas, eps, config.weight_decay)
    eps = 1e-4 if config.eps is None else config.eps
    if config.name == "rmsprop":
        return torch.optim.RMSprop(
            parameters,
            lr=config.learning_rate,
            alpha=config.decay,
            eps=eps,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            centered=True,
        )
    return GravesRMSprop(parameters, config.learning_rate, config.decay, config.momentum, eps, config.weight_decay)


def clip_gradients(parameters: list[nn.Parameter], config: OptimiserConfig) -> Tensor:
    """Clip the gradients as the options say; returns their norm from before, 0 when there is none."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if gradients and _fits_the_core(gradients):
        norm = _clip_in_core(gradients, config.clip_limit if config.clip == "norm" else math.inf)
    else:
        norm = torch.nn.utils.get_total_norm(gradients)
        if config.clip == "norm":
            torch.nn.utils.clip_grads_with_norm_(parameters, config.clip_limit, norm)
    if config.clip == "value":
        torch._foreach_clamp_min_(gradients, -config.clip_limit)
        torch._foreach_clamp_max_(gradients, config.clip_limit)
    return norm


def rate_factor(config: ScheduleConfig, seen: int, sequences: int) -> float:
    """What the learning rate is multiplied with after `seen` of `sequences` sequences.

    >>> config = ScheduleConfig("linear", warmup_sequences=10, final_fraction=0.0)
    >>> [rate_factor(config, seen, 110) for seen in (0, 5, 10, 60, 110)]
    [0.1, 0.5, 1.0, 0.5, 0.0]
    """
    if seen < config.warmup_sequences:
        return max(seen, 1) / config.warmup_sequences
    start = config.warmup_sequences + config.hold_sequences
    if config.kind == "constant" or seen <= start:
        return 1.0
    done = min(1.0, (seen - start) / max(1, sequences - start))
    shape = 1 - done if config.kind == "linear" else (1 + math.cos(math.pi * done)) / 2
    return config.final_fraction + (1 - config.final_fraction) * shape


def solved_factor(config: ScheduleConfig, seen: int, sequences: int) -> float:
    """What it is multiplied with besides, `seen` of `sequences` sequences after the task was solved.

    >>> [round(solved_factor(ScheduleConfig(solved_kind="cosine"), seen, 100), 3) for seen in (0, 50, 100)]
    [0.1, 0.05, 0.0]
    """
    if config.solved_kind == "constant" or sequences == 0:
        return config.solved_fraction
    return config.solved_fraction * (1 + math.cos(math.pi * min(1.0, seen / sequences))) / 2


def averaged_tensors(model: nn.Module | None) -> list[Any]:
    """What a mean of a model's weights is a mean of: its parameters, and the means that an embedding keeps."""
    return [] if model is None else [*model.parameters(), *model.buffers()]
