"""What each thread is in the middle of tracing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..ir import Source
from ..silence import quiet

if TYPE_CHECKING:
    from .builder import Builder

__all__ = ["state"]


class _State(threading.local):
    """Per thread: the absorbing builders, innermost last; the builder whose function is running (``current``); the scope;
    whether integers that follow from known ones are kept known (``constants``: inside of a ``numpy_program``);
    the source to use instead of the frame's; the axes of the surrounding vmaps that trace (``axes``) and the one that is
    being pushed through a graph (``mapped``)."""

    def __init__(self) -> None:
        self.absorbing: list[Builder] = []
        self.current: Builder | None = None
        self.constants = False
        self.scope: str = ""
        self.source: Source | None = None
        self.axes: list[Any] = []
        self.mapped: list[Any] = []
        self.run: Callable[..., Any] = quiet.run

    def __reduce__(self) -> str:
        """By name, for picklers that send a function with the globals that it reads."""
        return "state"


state = _State()
