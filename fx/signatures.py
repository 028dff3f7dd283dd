"""What parameters a function has, and functions that have those of another."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["signature_of", "wraps"]

_OPTIONS: dict[str, Any] = {}
if sys.version_info >= (3, 14):
    import annotationlib

    _OPTIONS["annotation_format"] = annotationlib.Format.FORWARDREF


def signature_of(f: Callable[..., Any]) -> inspect.Signature:
    """``inspect.signature``, also where annotations name what is not there.

    From Python 3.14 on annotations are evaluated when somebody asks for them, and may name what only a type checker sees
    (``if TYPE_CHECKING: ...``).
    """
    return inspect.signature(f, **_OPTIONS)


def wraps(f: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """``functools.wraps``, also of a callable object that has attributes of its own under the names of those of functions."""
    taken = [n for n in functools.WRAPPER_ASSIGNMENTS if isinstance(getattr(f, n, None), _KINDS.get(n, object))]
    return functools.wraps(f, taken)


_KINDS = {"__name__": str, "__qualname__": str, "__annotations__": dict, "__type_params__": tuple}
