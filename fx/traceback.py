"""Tracebacks that show the user's frames.

The public entry points are wrapped in ``user_frames``: an exception that passes through loses the frames of
the library's own files.  ``fx.config.traceback = "full"`` keeps them.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from types import FrameType, FunctionType, TracebackType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from .config import config
from .errors import FxError

__all__ = ["behind", "hide_frames", "include_frame", "register_exclusion", "shorten", "user_frames"]

F = TypeVar("F", bound=Callable[..., Any])

_HERE = os.path.dirname(sys._getframe().f_code.co_filename) + os.sep  # as code names its files
_OWN = (_HERE, os.path.join(os.path.dirname(os.path.dirname(_HERE)), "jit") + os.sep)
_NUMPY_WRAPPER = "setting an array element"  # NumPy's ValueError around what the element itself raised
_USER_LIKE = os.path.join(_HERE, "examples") + os.sep
_excluded: tuple[str, ...] = ()


def register_exclusion(path: str) -> None:
    """Leaves the frames of a file, or of a folder's files, out of the tracebacks of errors, as the library's own are: for
    packages that stand between fx and the user."""
    global _excluded
    path = os.path.abspath(path)
    _excluded = (*_excluded, path + os.sep if os.path.isdir(path) else path)


def include_frame(frame: FrameType) -> bool:
    """Whether tracebacks show a frame: it is neither the library's own, nor left out by ``register_exclusion``."""
    name = frame.f_code.co_filename
    return not name.startswith((*_OWN, *_excluded)) or name.startswith(_USER_LIKE)


def _filtered(tb: TracebackType | None) -> TracebackType | None:
    kept = []
    while tb is not None:
        if include_frame(tb.tb_frame):
            kept.append(tb)
        tb = tb.tb_next
    out: TracebackType | None = None
    for t in reversed(kept):
        out = TracebackType(out, t.tb_frame, t.tb_lasti, t.tb_lineno)
    return out


def shorten(e: BaseException) -> None:
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
        except BaseException as e:
            shorten(e)
            raise

    return wrapper  # type: ignore[return-value]


_WRAPPER = user_frames(len).__code__
_wrapped: WeakKeyDictionary[FunctionType, FunctionType] = WeakKeyDictionary()


def behind(f: Any) -> Any:
    """The function that ``user_frames`` has wrapped, where ``f`` is what it made; any other as it is."""
    return getattr(f, "__wrapped__", f) if type(f) is FunctionType and f.__code__ is _WRAPPER else f


def hide_frames(namespace: dict[str, Any]) -> None:
    """Wraps the functions in a package's ``__all__`` in ``user_frames``, each once.

    What is wrapped belongs to the package: that is where ``pickle`` looks for it.
    """
    for name in namespace["__all__"]:
        f: Any = namespace.get(name)
        if type(f) is not FunctionType or f.__code__ is _WRAPPER or not f.__module__.startswith("fx."):
            continue
        if f not in _wrapped:
            inner = inspect.unwrap(f)
            if "<locals>" in f.__qualname__:  # made by a function: messages call it by the name that users know
                inner.__name__ = inner.__qualname__ = name
            out = _wrapped[f] = f if hasattr(f, "hides_frames") else user_frames(f)
            out.__module__ = namespace["__name__"]
            if namespace.get(f.__qualname__) is not f:
                out.__name__ = out.__qualname__ = name
        namespace[name] = _wrapped[f]
