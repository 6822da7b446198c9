"""exp, log, tanh, sigmoid and softplus of the C++ core: as exact as elementary.h says, on every instruction set.

The core takes numbers below the smallest normal one, `tiny`, for zero, given or made.
"""

import ctypes
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tapehead import core

FOLDER = Path(core.__file__).parent
pytestmark = pytest.mark.skipif(core.path() is None, reason="built without a C++ compiler")

Exact = np.longdouble
needs_more_digits = pytest.mark.skipif(
    np.finfo(Exact).nmant <= np.finfo(np.float64).nmant, reason="no number here is longer than float64"
)


class Function(NamedTuple):
    """A function of elementary.h, and the bound that stands beside it, in units of the last place."""

    name: str
    number: int
    ulp: float
    exact: Callable[[np.ndarray], np.ndarray]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


FUNCTIONS = [
    Function("exp", 0, 2, np.exp),
    Function("log", 1, 2, np.log),
    Function("tanh", 2, 3, np.tanh),
    Function("sigmoid", 3, 3, _sigmoid),
    Function("softplus", 4, 4, _softplus),
]
BY_NAME = {function.name: function for function in FUNCTIONS}
DTYPES = [np.float32, np.float64]

every_function = pytest.mark.parametrize("function", FUNCTIONS, ids=[function.name for function in FUNCTIONS])
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


@functools.cache
def _entry() -> Any:
    entry = core.library().tapehead_elementary
    pointer = ctypes.c_void_p
    entry.argtypes, entry.restype = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, pointer, pointer], ctypes.c_int
    return entry


def apply(number: int, values: np.ndarray) -> np.ndarray:
    """The core's function of every value."""
    values = np.ascontiguousarray(values)
    results = np.full_like(values, 123)
    assert _entry()(number, int(values.dtype == np.float64), values.size, values.ctypes.data, results.ctypes.data) == 0
    return results


def samples(name: str, dtype: type) -> np.ndarray:
    """Everywhere that something could happen: a grid, all magnitudes, and each side of every bound in elementary.h."""
    generator, info = np.random.default_rng(0), np.finfo(dtype)
    low, high = (-87.3, 88.3) if dtype is np.float32 else (-708.3, 709.0)
    magnitudes = np.exp(generator.uniform(np.log(info.tiny), np.log(info.max), 20_000))
    if name == "log":
        near_one = 1 + np.concatenate([2.0 ** -np.arange(1, info.nmant), -(2.0 ** -np.arange(2, info.nmant))])
        near_root = np.sqrt(0.5) * (1 + np.linspace(-1e-3, 1e-3, 1001))
        parts = [magnitudes, near_one, near_root, generator.uniform(0.4, 2.5, 100_000), [info.tiny, info.max, 1.0]]
    else:
        edges = np.array([0.0, np.log(2) / 2, 9.0, 10.0, 20.0, -low, high])
        near = (edges[:, None] * (1 + np.linspace(-1e-4, 1e-4, 101))).ravel()
        grid = np.linspace(low, high, 100_001)
        small = magnitudes[magnitudes < high]
        parts = [grid, generator.uniform(-3, 3, 100_000), generator.normal(size=50_000), small, -small, near, -near]
    values = np.concatenate(parts).astype(dtype)
    return values[(values >= info.tiny) & (values <= info.max)] if name == "log" else values[values <= high]


def worst(function: Function, dtype: type) -> float:
    """The largest error, in units of the last place; log in float64 as its comment says, near 1 in units of 1."""
    values, info = samples(function.name, dtype), np.finfo(dtype)
    with np.errstate(under="ignore", over="ignore"):
        exact = function.exact(values.astype(Exact))
    # Both sides of the flush to zero: below tiny, zero and the exact number are as good.
    normal = np.abs(exact) >= info.tiny
    found = apply(function.number, values)
    assert (np.abs(found[~normal]) <= info.tiny).all()
    unit = np.spacing(np.abs(exact[normal]).astype(dtype)).astype(Exact)
    if function.name == "log" and dtype is np.float64:
        unit = np.maximum(unit, np.where(np.abs(values[normal] - 1) < 0.5, info.eps, 0))
    return float(np.max(np.abs(found[normal] - exact[normal]) / unit))


@needs_more_digits
@every_function
@every_dtype
def test_errors_stay_below_the_stated_bounds(function: Function, dtype: type):
    assert worst(function, dtype) <= function.ulp


@every_dtype
def test_special_values(dtype: type):
    info = np.finfo(dtype)
    inf, nan, tiny, top = np.inf, np.nan, info.tiny, info.max
    highest = dtype(88.3) if dtype is np.float32 else dtype(709.0)
    expected = {
        # Above `highest`, exp counts its argument as that: large and finite.
        "exp": [(0.0, 1), (-0.0, 1), (-inf, 0), (-top, 0), (-1e4, 0), (tiny, 1), (inf, None), (top, None)],
        "log": [(1.0, 0)],
        "tanh": [(0.0, 0), (-0.0, -0.0), (inf, 1), (-inf, -1), (top, 1), (-top, -1), (30.0, 1), (-30.0, -1)],
        "sigmoid": [(0.0, 0.5), (-0.0, 0.5), (inf, 1), (top, 1), (1e4, 1)],
        "softplus": [(inf, inf), (top, top), (1e4, 1e4), (-top, 0), (-inf, 0), (-1e4, 0)],
    }
    for name, rows in expected.items():
        given = np.array([*(value for value, _ in rows), nan, -nan], dtype)
        found = apply(BY_NAME[name].number, given)
        if name != "log":
            assert np.isnan(found[-2:]).all(), name  # NaN stays NaN
        for (value, want), result in zip(rows, found, strict=False):
            if want is None:
                assert abs(result / np.exp(Exact(highest)) - 1) < 1e-4, (name, value)
            else:
                assert result == want, (name, value, result)
                assert np.signbit(result) == np.signbit(dtype(want)), (name, value, result)


@every_dtype
def test_sigmoid_far_below_zero_is_as_good_as_zero(dtype: type):
    # 1 / (1 + e^-x) with an e^-x that is capped: about tiny, where the exact number is less.
    values = np.array([-1e3, -1e4, -np.finfo(dtype).max, -np.inf], dtype)
    found = apply(BY_NAME["sigmoid"].number, values)
    assert ((found >= 0) & (found <= 4 * np.finfo(dtype).tiny)).all()


@every_dtype
def test_numbers_below_the_smallest_normal_count_as_zero(dtype: type):
    info = np.finfo(dtype)
    below = np.array([info.smallest_subnormal, info.tiny / 2, info.tiny * (1 - info.eps)], dtype)
    for sign in (1, -1):
        for name, want in {"exp": 1, "tanh": 0, "sigmoid": 0.5, "softplus": np.log(dtype(2))}.items():
            found = apply(BY_NAME[name].number, sign * below)
            assert np.allclose(found, want, rtol=4 * info.eps, atol=0 if want else info.tiny), name
    edge = np.log(Exact(info.tiny))
    results = apply(0, np.array([edge - 1, edge - 1e-2, edge + 1e-2], dtype))
    assert (results[:2] == 0).all()
    assert results[2] > info.tiny


@every_function
@every_dtype
def test_it_rises_and_keeps_its_range(function: Function, dtype: type):
    values = np.sort(samples(function.name, dtype))
    found = apply(function.number, values)
    assert np.isfinite(found).all()
    # What rounding may take back: twice the bound.
    falls = found[:-1] - found[1:]
    assert (
        falls <= 2 * function.ulp * np.spacing(np.abs(found[:-1])) + np.finfo(dtype).eps * (function.name == "log")
    ).all()
    bounds = {"exp": (0, np.inf), "tanh": (-1, 1), "sigmoid": (0, 1), "softplus": (0, np.inf)}
    low, high = bounds.get(function.name, (-np.inf, np.inf))
    assert ((found >= low) & (found <= high)).all()


@every_dtype
def test_tanh_is_odd(dtype: type):
    values = samples("tanh", dtype)
    assert np.array_equal(apply(2, -values), -apply(2, values))


@every_function
@every_dtype
@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33])
def test_every_length_gives_the_same_numbers_and_writes_nothing_else(function: Function, dtype: type, count: int):
    values = np.linspace(0.1, 3, 64).astype(dtype)
    room = np.full(80, 77, dtype)
    assert _entry()(function.number, int(dtype is np.float64), count, values.ctypes.data, room.ctypes.data) == 0
    assert np.array_equal(room[:count], apply(function.number, values)[:count])
    assert (room[count:] == 77).all()


def processor_has(isa: str) -> bool:
    if isa == "baseline":
        return True
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return {"avx512": " avx512bw", "avx2": " avx2"}[isa] in flags


# What another process measures: this module's `worst`, without the package's import of torch.
SCRIPT = f"""
import sys, types
package = types.ModuleType("tapehead"); package.__path__ = [{str(FOLDER)!r}]; sys.modules["tapehead"] = package
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import json
from tapehead import core
from tests.ops import test_elementary as t
errors = {{f"{{f.name}} {{d.__name__}}": t.worst(f, d) for f in t.FUNCTIONS for d in t.DTYPES}}
print(json.dumps([core.isa(), errors]))
"""


@needs_more_digits
@pytest.mark.parametrize("isa", ["avx512", "avx2", "baseline"])
def test_every_instruction_set_is_as_exact(isa: str):
    if isa not in core.isas_built():
        pytest.skip(f"{isa} is not built")
    if not processor_has(isa):
        pytest.skip(f"this processor has no {isa}")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "TAPEHEAD_ISA": isa},
    )
    assert done.returncode == 0, done.stderr
    ran, errors = json.loads(done.stdout)
    assert ran == isa
    for key, found in errors.items():
        assert found <= BY_NAME[key.split()[0]].ulp, key
