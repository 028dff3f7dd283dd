"""What parameters a function has."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["signature_of"]

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
