"""``fx.profiler``: the marks that programs set for JAX's profiler; here they name scopes.

What a program does in which step, and how long each takes, ``fx.jit(f).lower(x).compile().profile(x)`` says.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from .api import named_scope
from .errors import UnsupportedArgumentError
from .transforms.flat import function_name

__all__ = ["StepTraceAnnotation", "TraceAnnotation", "annotate_function", "start_trace", "stop_trace", "trace"]


def TraceAnnotation(name: str, **kwargs: Any) -> AbstractContextManager[Any]:
    """Context manager: what is traced in its block bears the name (``fx.named_scope``).

    >>> import fx, numpy as np
    >>> with TraceAnnotation("loss"):
    ...     _ = np.sin(fx.numpy.ones(2))
    """
    return named_scope(name)


def StepTraceAnnotation(name: str, **kwargs: Any) -> AbstractContextManager[Any]:
    """Context manager for one step of a training loop (``step_num=...``)."""
    return named_scope(name)


def annotate_function(func: Callable[..., Any], name: str | None = None, **decorator_kwargs: Any) -> Callable[..., Any]:
    """``func`` in the scope of its name."""

    scope: str = name or function_name(func)

    @functools.wraps(func)
    def annotated(*args: Any, **kwargs: Any) -> Any:
        with named_scope(scope):
            return func(*args, **kwargs)

    return annotated


def _no_file(what: str) -> UnsupportedArgumentError:
    return UnsupportedArgumentError(
        f"{what} writes a trace of XLA's, which fx does not run. Time a program with fx.jit(f).lower(x).compile().profile(x)."
    )


def trace(log_dir: Any, **options: Any) -> AbstractContextManager[Any]:
    """There is no trace of XLA's to write.

    Raises:
        UnsupportedArgumentError: always; it names what measures here.
    """
    raise _no_file("profiler.trace")


def start_trace(log_dir: Any, **options: Any) -> None:
    """See ``trace``."""
    raise _no_file("profiler.start_trace")


def stop_trace() -> None:
    """See ``trace``."""
    raise _no_file("profiler.stop_trace")
