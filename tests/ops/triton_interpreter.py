"""Triton's interpreter without most of its own work, which is about half of the time of the kernels' tests.

For as long as a kernel runs, the interpreter puts functions of its own in the place of those of `triton.language`. It
looks through the whole language for them again at every call of a function that a kernel calls.
"""

import functools
from typing import Any

from triton.runtime import interpreter


@functools.cache
def hasten() -> None:
    """From now on, it looks once in a launch for each module that functions of the kernel are from.

    A Triton whose interpreter has other parts, which are private, stays as slow as it is.
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
