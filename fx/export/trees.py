"""Structures of arguments and results as plain data."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .. import tree
from ..errors import ExportError
from ..version import __version__

__all__ = ["describe", "rebuild", "register_namedtuple_serialization", "register_pytree_node_serialization"]

_PLAIN: dict[type, str] = {tuple: "tuple", list: "list", dict: "dict"}
_KEYS = (str, int, bool)
_OWN = "fx."


class _Node(NamedTuple):
    kind: type
    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]


_by_name: dict[str, _Node] = {}
_name_of: dict[type, str] = {}


def register_pytree_node_serialization(
    nodetype: type,
    *,
    serialized_name: str,
    serialize_auxdata: Callable[[Any], bytes],
    deserialize_auxdata: Callable[[bytes], Any],
    from_children: Callable[[Any, Sequence[Any]], Any] | None = None,
) -> type:
    """Says how a registered kind of node is written: its name, and its static data as bytes and back.

    ``from_children`` is JAX's: here nodes are made as they were registered to be.

    Raises:
        ExportError: the name, or the class, has been given before.
    """
    _register(nodetype, serialized_name, serialize_auxdata, deserialize_auxdata)
    return nodetype


def register_namedtuple_serialization(nodetype: type, *, serialized_name: str) -> type:
    """Says under what name a class of named tuples is written."""
    _register(nodetype, serialized_name, lambda aux: b"", lambda data: None)
    return nodetype


def _register(kind: type, name: str, write: Callable[[Any], bytes], read: Callable[[bytes], Any]) -> None:
    if name in _by_name or kind in _name_of:
        raise ExportError(f"{kind.__name__} as {name!r}: that class or that name has been registered for export")
    _by_name[name], _name_of[kind] = _Node(kind, write, read), name


def describe(d: tree.TreeDef) -> Any:
    """Plain data: "leaf", None, or a list: kind, children, and what else is known of the node.

    Raises:
        ExportError: it holds a kind of node that was not registered for export.
    """
    if d.kind is None:
        return "leaf"
    children = [describe(c) for c in d.subtrees]
    if d.kind is type(None):
        return None
    if d.kind in (tuple, list):
        return [_PLAIN[d.kind], children]
    if d.kind is dict:
        keys = list(d.aux)
        if not all(type(k) in _KEYS for k in keys):
            raise ExportError(f"a dict with keys {keys} cannot be exported: strings and numbers can")
        return ["dict", children, keys]
    if d.kind.__module__.startswith(_OWN) and d.aux is None:  # EighResult and its kin, keys of random numbers
        return ["own", children, d.kind.__module__, d.kind.__qualname__]
    if d.kind not in _name_of:
        how = (
            "register_namedtuple_serialization" if hasattr(d.kind, "_fields") else "register_pytree_node_serialization"
        )
        raise ExportError(f"the arguments or results hold a {d.kind.__name__}; fx.export.{how} says how it is written")
    name = _name_of[d.kind]
    return ["node", children, name, _by_name[name].write(d.aux).hex()]


def rebuild(x: Any) -> tree.TreeDef:
    """The structure that ``describe`` described.

    Raises:
        ExportError: it holds a kind of node that is not known here.
    """
    if x == "leaf":
        return tree.structure(0)
    if x is None:
        return tree.structure(None)
    kind, children = x[0], tuple([rebuild(c) for c in x[1]])
    if kind == "dict":
        return tree.TreeDef(dict, tuple(x[2]), children)
    if kind == "own":
        return tree.TreeDef(_own(x[2], x[3]), None, children)
    if kind == "node":
        if x[2] not in _by_name:
            raise ExportError(f"the structure holds a node {x[2]!r}, which nobody has registered with fx.export")
        node = _by_name[x[2]]
        return tree.TreeDef(node.kind, node.read(bytes.fromhex(x[3])), children)
    return tree.TreeDef(tuple if kind == "tuple" else list, None, children)


def _own(module: str, name: str) -> type:
    """One of the library's own kinds of nodes."""
    try:
        found = getattr(importlib.import_module(module), name) if module.startswith(_OWN) else None
    except (ImportError, AttributeError):
        found = None
    if not isinstance(found, type) or not tree.is_tree_node(found):
        raise ExportError(f"the structure holds a {name} of {module}, which fx {__version__} does not know")
    return found
