"""The structure of a pytree as text, without making the objects that it is the structure of."""

from __future__ import annotations

import collections
import reprlib
from collections.abc import Sequence
from typing import Any

from .tree_nodes import is_namedtuple, registry

__all__ = ["node_text"]

_REPR = reprlib.Repr()  # shortened, and of any object: one that cannot show itself is named by its type
_REPR.maxlevel = 4
_REPR.maxdict = _REPR.maxlist = _REPR.maxtuple = _REPR.maxset = _REPR.maxfrozenset = 100
_REPR.maxstring = _REPR.maxother = 400
_shown = _REPR.repr


def node_text(kind: type, aux: Any, children: Sequence[str]) -> str:
    """A node of a type with the texts of its children, and what is static about it in brackets.

    Containers of Python's are shown as Python writes them.  Others are not made of ``*`` to be asked: their classes expect
    arrays, and may refuse strings.
    """
    if kind is type(None):
        return "None"
    if kind is tuple:
        return f"({children[0]},)" if len(children) == 1 else f"({', '.join(children)})"
    if kind is list:
        return f"[{', '.join(children)}]"
    if kind is dict:
        return _pairs(aux, children)
    if kind is collections.OrderedDict:
        return f"OrderedDict({_pairs(aux, children)})"
    if kind is collections.defaultdict:
        return f"defaultdict({_shown(aux[0])}, {_pairs(aux[1], children)})"
    if is_namedtuple(kind):
        names: Sequence[str] = kind._fields  # type: ignore[attr-defined]
    else:
        node = registry.get(kind)
        names = node.names() if node is not None and node.names is not None else ()
    if len(names) == len(children):
        children = [f"{name}={child}" for name, child in zip(names, children)]
    static = "" if aux is None or (type(aux) is tuple and not aux) else _shown(aux)
    return f"{kind.__name__}{f'[{static}]' if static else ''}({', '.join(children)})"


def _pairs(keys: Sequence[Any], values: Sequence[str]) -> str:
    return f"{{{', '.join([f'{_shown(k)}: {v}' for k, v in zip(keys, values)])}}}"
