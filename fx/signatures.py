"""What parameters a function has, and functions that have those of another."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

__all__ = ["position_of", "signature_of", "wraps"]

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


def position_of(name: str, f: Callable[..., Any]) -> int | None:
    """Which argument of a function has a name, ``sys.maxsize`` where it is given by name alone; None if there is none.

    Of a plain function it is read off the code, which takes a tenth of the time of making a signature: hundreds are asked when
    ``fx.numpy`` is imported.
    """
    plain = inspect.unwrap(f, stop=lambda g: hasattr(g, "__signature__"))
    if type(plain) is FunctionType and not hasattr(plain, "__signature__"):
        code = plain.__code__
        names: list[str] | tuple[str, ...] = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        positional = code.co_argcount
    else:
        parameters = signature_of(f).parameters
        names = list(parameters)
        positional = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters.values())
    if name not in names:
        return None
    at = names.index(name)
    return at if at < positional else sys.maxsize


def wraps(f: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """``functools.wraps``, also of a callable object that has attributes of its own under the names of those of functions."""
    taken = [n for n in functools.WRAPPER_ASSIGNMENTS if isinstance(getattr(f, n, None), _KINDS.get(n, object))]
    return functools.wraps(f, taken)


_KINDS = {"__name__": str, "__qualname__": str, "__annotations__": dict, "__type_params__": tuple}
