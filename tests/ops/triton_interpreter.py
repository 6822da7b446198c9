"""Triton's interpreter without most of its own work, which is three quarters of the time of the kernels' tests."""

import dataclasses
import functools
import math
from typing import Any

from triton.language import core
from triton.runtime import interpreter

TENSORS_MADE_OF = ("super", "__init__", "handle", "is_block", "shape", "constexpr", "math", "prod", "numel", "type")
"""The names that make a tensor of the language, up to those of its shape's type."""


@functools.cache
def hasten() -> None:
    """From now on, a launch does what it computes with, and little else.

    All of it is in private parts. A Triton whose interpreter has other parts stays as slow as it is.
    """
    _replace_the_language_once()
    _sanitize_nothing_in_vain()
    _find_dtypes_once()
    _make_shapes_once()


def _replace_the_language_once() -> None:
    """For as long as a kernel runs, functions of the interpreter's are in the place of those of `triton.language`.

    It looks through the whole language for them again at every call of a function that a kernel calls; and now once in
    a launch for each module that functions of the kernel are from.
    """
    if not hasattr(interpreter, "_patch_lang") or not hasattr(interpreter, "GridExecutor"):
        return
    replace, launch = interpreter._patch_lang, interpreter.GridExecutor.__call__
    done: set[str] = set()

    def replace_once(function: Any) -> Any:
        if function.__module__ in done:
            return None
        done.add(function.__module__)
        return replace(function)

    def begin(executor: Any, *arguments: Any, **options: Any) -> Any:
        done.clear()
        return launch(executor, *arguments, **options)

    interpreter._patch_lang, interpreter.GridExecutor.__call__ = replace_once, begin


def _sanitize_nothing_in_vain() -> None:
    """Every sum and product of integers is computed once more in 64 bits, for an assertion that only debugging makes.

    When Triton compiles without debugging, it leaves all of it out.
    """
    builder = getattr(interpreter, "interpreter_builder", None)
    options = getattr(builder, "options", None)
    if getattr(options, "debug", True) or not hasattr(options, "sanitize_overflow"):
        return
    builder.options = dataclasses.replace(options, sanitize_overflow=False)


def _find_dtypes_once() -> None:
    """NumPy's dtype for one of Triton's comes out of a dictionary that is made again each time."""
    find = getattr(interpreter, "_get_np_dtype", None)
    if find is None:
        return
    of_scalar = functools.cache(find)

    def find_once(kind: Any) -> Any:
        scalar = kind.scalar  # which is what counts of a block
        return find(scalar) if scalar.is_ptr() else of_scalar(scalar)

    interpreter._get_np_dtype = find_once


def _make_shapes_once() -> None:
    """A tensor's shape and size are values of the language, made again for every tensor."""
    if core.tensor.__init__.__code__.co_names[: len(TENSORS_MADE_OF)] != TENSORS_MADE_OF:
        return

    @functools.cache
    def make(*shape: int) -> tuple[Any, Any]:
        return core.constexpr(math.prod(shape)), core.tuple([core.constexpr(size) for size in shape])

    def begin(tensor: Any, handle: Any, type: Any) -> None:
        tensor.handle, tensor.type, tensor.dtype = handle, type, type.scalar
        tensor.numel, tensor.shape = make(*type.shape) if type.is_block() else make()

    core.tensor.__init__ = begin
