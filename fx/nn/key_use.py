"""Keys as layers use them: once.  A second use in the same trace (or outside of any) warns."""

from __future__ import annotations

import warnings
from typing import Any
from weakref import ref

from .. import random
from ..errors import KeyReuseWarning, MissingKeyError
from ..trace import state, user_source

__all__ = ["need_key", "split_key", "use_key"]

_uses: dict[tuple[int, int], tuple[Any, Any, str]] = {}
"""(id of key, id of the trace) -> (weak reference to the key, to the trace, who used it)."""
_told: dict[Any, Any] = {}
"""What ``warnings`` remembers of the warnings that were given."""


def use_key(key: Any, who: str) -> Any:
    """``key``, noted as used up by ``who``; warns if it has been already.

    A key is known by its object: ``random.clone(key)`` is another one, for where the same numbers are wanted.

    Raises:
        MissingKeyError: it is no key.

    Warns:
        KeyReuseWarning: naming both users, at the user's line.
    """
    if not hasattr(key, "dtype"):
        seed = (
            f": key=fx.random.key({key})"
            if isinstance(key, int)
            else ": key=fx.random.key(0), or one that was split off"
        )
        raise MissingKeyError(f"{who} takes a key of fx.random; found {key!r}. Make one{seed}.")
    trace = state.current
    entry = (id(key), id(trace))
    old = _uses.get(entry)
    if old is not None and old[0]() is key and (old[1] is None or old[1]() is trace):
        source = user_source()
        warnings.warn_explicit(
            f"{who} is given a key that {old[2]} has used already: both draw the same numbers."
            " Split it: a, b = fx.random.split(key); or say that it is meant: fx.random.clone(key).",
            KeyReuseWarning,
            *((__file__, 1) if source is None else (source.file, source.line)),
            registry=_told,
        )
    else:
        source = user_source()
        place = f" ({source})" if source else ""
        forget = lambda _: _uses.pop(entry, None)
        _uses[entry] = (ref(key, forget), None if trace is None else ref(trace, forget), who + place)
    return key


def split_key(key: Any, num: int, who: str) -> list[Any]:
    """``num`` keys from a key that ``who`` uses up."""
    keys = random.split(use_key(key, who), num)
    return [keys[i] for i in range(num)]


def need_key(key: Any, layer: Any) -> Any:
    """``key``, used up by a layer that draws noise.

    Raises:
        MissingKeyError: there is none.
    """
    name = type(layer).__name__
    if key is None:
        raise MissingKeyError(
            f"{name} draws random numbers: pass key=..., a new one for every call (fx.random.split), or call"
            " nn.inference(model), whose layers draw none."
        )
    return use_key(key, name)
