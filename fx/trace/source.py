"""Where in the user's program an operation stands: its line, its scope."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from ..errors import FxError
from ..ir import Source
from .thread_state import state

__all__ = ["is_library", "locate", "named_scope", "source_of", "source_override", "user_source"]

# as code names its files: in a frozen program, and it alone, not as modules do
_LIBRARY = os.path.dirname(os.path.dirname(sys._getframe().f_code.co_filename)) + os.sep
_USER_LIKE = tuple(_LIBRARY + d + os.sep for d in ("examples",))
_MEMO_LIMIT = 8192
_ours: dict[str, bool] = {}  # by file
_sources: dict[tuple[int, int], tuple[CodeType, Source]] = {}  # by the code's identity and the instruction


def locate(error: FxError, source: Source | None) -> FxError:
    """Adds the user's line to an error's message, once."""
    if source is not None and error.args and "\n  at " not in str(error.args[0]):
        error.args = (f"{error.args[0]}\n  at {source}", *error.args[1:])
    return error


def is_library(file: str) -> bool:
    """True for the library's own files (its examples are a user's)."""
    known = _ours.get(file)
    if known is None:
        known = _ours[file] = file.startswith(_LIBRARY) and not file.startswith(_USER_LIKE)
    return known


def user_source(depth: int = 1) -> Source | None:
    """The innermost frame that is not the library's own; the first ``depth`` frames are known to be."""
    f: Any = sys._getframe(depth)
    while f is not None:
        code = f.f_code
        own = _ours.get(code.co_filename)
        if own is None:
            own = is_library(code.co_filename)
        if not own:
            found = _sources.get((id(code), f.f_lasti))
            return found[1] if found is not None and found[0] is code else source_of(f)
        f = f.f_back
    return None


def source_of(f: FrameType) -> Source:
    """The line that a frame is at; finding it in the code's table takes long, and the same places come again and again."""
    if len(_sources) > _MEMO_LIMIT:
        _sources.clear()
    code = f.f_code
    _, source = _sources[id(code), f.f_lasti] = code, Source(_shown(code.co_filename), f.f_lineno, code.co_name)
    return source


def _shown(file: str) -> str:
    """A file's name, or what a notebook calls the cell (``In[3]``) for which IPython has made the name of a file."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    known = getattr(getattr(shell, "compile", None), "format_code_name", lambda _: None)(file)
    return known[1] if known else file


@contextmanager
def source_override(source: Source | None) -> Iterator[None]:
    """Equations recorded inside carry ``source`` instead of the current user frame."""
    old, state.source = state.source, source or state.source
    try:
        yield
    finally:
        state.source = old


@contextmanager
def named_scope(name: str) -> Iterator[None]:
    """Equations recorded inside carry ``name`` in their scope, shown by printed graphs and ``explain()``.

    >>> import fx, numpy as np
    >>> def f(x):
    ...     with fx.named_scope("encoder"):
    ...         return np.exp(x)
    >>> [eqn.scope for eqn in fx.make_graph(f)(1.0).eqns]
    ['encoder']
    """
    old = state.scope
    state.scope = f"{old}/{name}" if old else name
    try:
        yield
    finally:
        state.scope = old
