"""Equal graphs as one object, so that what is derived from a graph (programs, derivatives) is made once.

A loop that is called eagerly is traced on every call, from functions that are often written anew each time (a lambda in a
training loop).  Two traces that come from the same lines and hold the same equations are the same program.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any

from .ir import Atom, Graph, Literal, Var

__all__ = ["equal_graphs", "forget", "interned"]

_MOST = 256
_known: OrderedDict[Any, Graph] = OrderedDict()
_lock = threading.RLock()  # a handler of a signal may call what was interrupted here


def interned(graph: Graph) -> Graph:
    """The graph, or one that was given before and computes the same by the same equations; the latest 256 are kept."""
    try:
        key = _graph_key(graph)
        hash(key)
    except TypeError:  # a parameter that cannot be compared, or must not be kept alive
        return graph
    with _lock:
        found = _known.setdefault(key, graph)
        _known.move_to_end(key)
        if len(_known) > _MOST:
            _known.popitem(last=False)
    return found


def equal_graphs(a: Graph, b: Graph) -> bool:
    """Whether two graphs compute the same by the same equations, wherever they were written.  Functions that equations hold
    are not compared: they are rules of derivatives."""
    return bool(_graph_key(a, alike=True) == _graph_key(b, alike=True))


def forget() -> None:
    """Lets all graphs go, with what was derived from them: a rule that has changed since is asked again."""
    with _lock:
        _known.clear()


def _after_fork() -> None:
    """The thread of the parent that held the lock is gone, and so may be what it was about to write."""
    global _lock
    _lock = threading.RLock()
    _known.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _graph_key(graph: Graph, alike: bool = False) -> Any:
    number: dict[Var, int] = {v: i for i, v in enumerate(graph.inputs)}

    def of(a: Atom) -> Any:
        return (a.aval, a.bits) if isinstance(a, Literal) else number[a]

    eqns = []
    for e in graph.eqns:
        operands = tuple([of(a) for a in e.inputs])
        for v in e.outputs:
            number[v] = len(number)
        params = tuple([(k, _param_key(v, alike)) for k, v in e.params.items()])
        where = () if alike else (e.source, e.scope)
        eqns.append((e.prim, operands, params, tuple([v.aval for v in e.outputs]), *where, e.effect))
    return graph.name, graph.in_avals, tuple(eqns), tuple([of(a) for a in graph.outputs])


def _param_key(v: Any, alike: bool) -> Any:
    """A parameter by its value, and by its kind: Python calls 0.0 and -0.0, and 1, 1.0 and True, equal."""
    if isinstance(v, Graph):
        return _graph_key(v, alike)
    if callable(v) and alike:
        return None
    if callable(v):
        raise TypeError("a function that was written for this trace, and holds what it closes over")
    if isinstance(v, tuple):
        return type(v), tuple([_param_key(x, alike) for x in v])
    return type(v), repr(v) if isinstance(v, (float, complex)) else v
