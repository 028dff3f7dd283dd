"""NumPy's floating point warnings off for a moment: ``token = off()`` ... ``back(token)``, or ``quiet.run(f, *args)``.

``np.errstate`` builds its setting anew each time, which costs more than an operation on a few elements.  Where NumPy has
the setting in a context variable (from 2.0 on), one that was built once is put there instead.  Cheaper still is a context of
one's own that has it: ``quiet.run`` calls a function in there.  It is meant for NumPy's functions alone.  A context cannot be
entered twice, so code that runs in the middle of such a call (a finaliser) gets a RuntimeError, and takes the other way.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["back", "off", "quiet", "silent_context"]


def _by_errstate() -> tuple[Any, Any, Callable[[], Any]]:
    def off() -> Any:
        silent = np.errstate(all="ignore")
        silent.__enter__()
        return silent

    return off, lambda silent: silent.__exit__(None, None, None), lambda: None


def _by_variable() -> tuple[Any, Any, Callable[[], Any]]:
    umath = np._core.umath  # type: ignore[attr-defined]
    variable, setting = umath._extobj_contextvar, umath._make_extobj(all="ignore")
    token = variable.set(setting)
    silent = set(np.geterr().values()) == {"ignore"}
    variable.reset(token)
    if not silent:
        raise AttributeError("this NumPy keeps its setting elsewhere")

    def silent_context() -> contextvars.Context:
        context = contextvars.Context()
        context.run(variable.set, setting)
        return context

    return lambda: variable.set(setting), variable.reset, silent_context


try:
    off, back, silent_context = _by_variable()
except (AttributeError, TypeError):
    off, back, silent_context = _by_errstate()


def _run_with_errstate(f: Any, *args: Any, **options: Any) -> Any:
    with np.errstate(all="ignore"):
        return f(*args, **options)


class _Quiet(threading.local):
    """``run(f, *args)``: the result of ``f`` with the warnings off; of each thread its own."""

    def __init__(self) -> None:
        context = silent_context()  # None where NumPy keeps its setting elsewhere
        self.run: Callable[..., Any] = _run_with_errstate if context is None else context.run


quiet = _Quiet()
