"""Static data of the nodes of pytrees: what a node type keeps beside its children, compared and hashed."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

__all__ = ["can_change", "hash_of_static", "keys_of_static", "same_aux"]

_NUMBERS = frozenset((bool, int, float, complex, *(np.dtype(c).type for c in "?bhilqBHILQefdFD")))
_CHANGEABLE = (dict, list, set)
keys_of_static: dict[type, Callable[[Any], Hashable]] = {}
"""Of types without a hash whose values never change: what they are."""


def same_aux(a: Any, b: Any) -> bool:
    """Equality that tells apart the numbers that Python calls equal (1, 1.0, True; 0.0, -0.0): static data is part of
    the programs that jit keeps."""
    if type(a) is tuple and type(b) is tuple:
        return len(a) == len(b) and all(same_aux(x, y) for x, y in zip(a, b))
    if type(a) in _NUMBERS and type(b) in _NUMBERS:
        return type(a) is type(b) and (a is b or repr(a) == repr(b))
    if type(a) is type(b) and type(a) in (list, dict):  # what they hold need not have a hash
        if type(a) is list:
            return len(a) == len(b) and all(same_aux(x, y) for x, y in zip(a, b))
        return a.keys() == b.keys() and all(same_aux(v, b[k]) for k, v in a.items())
    if type(a) in _CHANGEABLE or type(b) in _CHANGEABLE or type(a) in keys_of_static:
        return type(a) is type(b) and bool(frozen_aux(a) == frozen_aux(b))
    return bool(a == b)


def can_change(aux: Any) -> bool:
    """Whether static data holds a dict, list or set, or what else has no hash, as it may change."""
    if type(aux) is tuple:
        return not all(not can_change(v) for v in aux)
    try:
        hash(aux)
    except TypeError:
        return type(aux) not in keys_of_static
    return False


def frozen_aux(x: Any) -> Any:
    """Static data as something hashable that equals another one's where ``same_aux`` says so: dicts, lists and sets, which a
    node type may keep beside its children, can change, and have no hash; arrays have none either."""
    t = type(x)
    if t is tuple or t is list:
        return t, tuple([frozen_aux(v) for v in x])
    if t is dict:
        return t, frozenset([(frozen_aux(k), frozen_aux(v)) for k, v in x.items()])
    if t is set:
        return t, frozenset([frozen_aux(v) for v in x])
    if t in keys_of_static:
        return t, keys_of_static[t](x)
    return (t, repr(x)) if t in _NUMBERS else x


def hash_of_static(x: Any) -> int:
    """A hash that agrees with ``same_aux``.  What has none counts by its fields, or by its type and is told apart by ``==`` alone.

    Raises:
        TypeError: an array of NumPy's, whose ``==`` tells nothing, or another buffer, which may change.
    """
    for frozen in (lambda x: x, frozen_aux):
        try:
            return hash(frozen(x))
        except TypeError:
            pass
    t = type(x)
    if isinstance(x, (np.ndarray, bytearray)):
        raise TypeError(f"unhashable type: {t.__name__!r}")
    if t is tuple or t is list:
        return hash((t, *map(hash_of_static, x)))
    if t is dict:
        return hash((t, frozenset([(k, hash_of_static(v)) for k, v in x.items()])))
    if is_dataclass(x):
        return hash((t, *[hash_of_static(getattr(x, f.name)) for f in fields(x) if f.compare]))
    return hash(t)
