"""``fx.debug``: looking at values inside traced and compiled functions."""

from __future__ import annotations

import code
import logging
import sys
from typing import Any

from .array import Array
from .primitives.callbacks import debug_callback as callback
from .primitives.callbacks import debug_print as print
from .trace import Tracer, source_of

__all__ = ["breakpoint", "callback", "log", "print"]


def log(fmt: str, *args: Any, ordered: bool = True, **kwargs: Any) -> None:
    """``fmt.format(*args, **kwargs)`` with the values to the logger "fx", at level INFO."""
    callback(lambda *a, **k: logging.getLogger("fx").info(fmt.format(*a, **k)), *args, **kwargs)


def breakpoint(
    *, backend: str | None = None, filter_frames: bool = True, num_frames: int | None = None, ordered: bool = False,
    token: Any = None, **kwargs: Any,
) -> None:  # fmt: skip
    """Opens a Python prompt, each time the program reaches this point, with the values of the caller's local arrays.

    End it with Ctrl-D.  The arguments are JAX's, and accepted.
    """
    caller = sys._getframe(1)
    arrays: dict[str, Any] = {
        k: v for k, v in caller.f_locals.items() if isinstance(v, (Array, Tracer)) and k.isidentifier()
    }
    where = source_of(caller)

    def stop(**values: Any) -> None:
        code.interact(banner=f"breakpoint at {where}: {', '.join(values)}", local=values, exitmsg="")

    callback(stop, **arrays)
