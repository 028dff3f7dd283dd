"""Tracebacks that show the user's frames.

The public entry points are wrapped in ``user_frames``: an exception that passes through loses the frames of
the library's own files.  ``fx.config.traceback = "full"`` keeps them.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from .config import config
from .errors import FxError

__all__ = ["user_frames"]

F = TypeVar("F", bound=Callable[..., Any])

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_OWN = (_HERE, os.path.join(os.path.dirname(os.path.dirname(_HERE)), "jit") + os.sep)
_NUMPY_WRAPPER = "setting an array element"  # NumPy's ValueError around what the element itself raised
_USER_LIKE = os.path.join(_HERE, "examples") + os.sep


def _is_own(tb: TracebackType) -> bool:
    name = tb.tb_frame.f_code.co_filename
    return name.startswith(_OWN) and not name.startswith(_USER_LIKE)


def _filtered(tb: TracebackType | None) -> TracebackType | None:
    kept = []
    while tb is not None:
        if not _is_own(tb):
            kept.append(tb)
        tb = tb.tb_next
    out: TracebackType | None = None
    for t in reversed(kept):
        out = TracebackType(out, t.tb_frame, t.tb_lasti, t.tb_lineno)
    return out


def shorten(e: Exception) -> None:
    """Takes the library's frames out of an exception that leaves it; raises the cause where NumPy has wrapped it."""
    full = config.traceback == "full"
    if isinstance(e.__cause__, FxError) and str(e).startswith(_NUMPY_WRAPPER):
        raise e.__cause__.with_traceback(e.__traceback__ if full else _filtered(e.__traceback__)) from None
    if not full:
        e.__traceback__ = _filtered(e.__traceback__)


def user_frames(f: F) -> F:
    """Decorator: exceptions leave ``f`` with the library's frames taken out of their traceback."""

    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return f(*args, **kwargs)
        except Exception as e:
            shorten(e)
            raise

    return wrapper  # type: ignore[return-value]
