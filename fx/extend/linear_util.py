"""``fx.extend.linear_util``: functions that are transformed step by step, as ``fx.api_util`` and ``partial_eval`` take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["WrappedFun", "wrap_init"]


class WrappedFun:
    """A function of flat values: ``call_wrapped(*args)``."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f = self.call_wrapped = f

    @property
    def __name__(self) -> str:
        return str(getattr(self.f, "__name__", type(self.f).__name__))


def wrap_init(f: Callable[..., Any], params: dict[str, Any] | None = None, *, debug_info: Any = None) -> WrappedFun:
    """``f`` with keyword arguments ``params``, to be transformed."""
    return WrappedFun((lambda *args: f(*args, **params)) if params else f)
