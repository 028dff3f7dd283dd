"""Views of traced arrays: ``y = x[2:5]; y[:] = 0`` changes ``x``, as in NumPy.

A traced array stands for a variable, and a write makes it stand for another one.  A view of it knows its array
(``base``) and how it is read from it and written to it.  Whoever is written to, the contents of all the other views
of the same array are let go, and a view that is looked at again is read from its array then (``Tracer.__getattr__``).
So views cost one small object each while nobody writes, and no equation.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from operator import index
from typing import Any
from weakref import ref

import numpy as np

from .array import Array
from .errors import ReadOnlyArrayError, SideEffectError
from .ir import Literal
from .primitives.elementwise import copy_p
from .trace import Tracer, is_plain, recording_builder, state, user_source

__all__ = ["View", "attach", "lineage", "same_value", "strided", "strided_like", "write"]

_PRUNE_FROM = 32  # views of one array, from which on those that are gone are looked for


class View:
    """How a traced array is a view of another one.

    base: that array.      root: the array at the end of the chain, which is a view of none.
    """

    __slots__ = ("base", "root")
    name = "view"
    writeable = True
    copies = False  # True: a part of this view is a copy (ndarray.flat)

    def __init__(self, base: Tracer) -> None:
        self.base = base
        self.root: Tracer = base if base.view_of is None else base.view_of.root

    def read(self, base: Tracer) -> Any:
        """The view's contents, from those of its array."""
        raise NotImplementedError

    def write(self, base: Tracer, new: Any) -> Any:
        """The array's contents, once the view's are ``new``."""
        raise NotImplementedError

    def strided(self, base: np.ndarray) -> np.ndarray:
        """The same view of a NumPy array, for its strides."""
        raise NotImplementedError


def attach(t: Any, view: View) -> Any:
    """Makes ``t``, which was read through ``view``, a view."""
    if type(t) is not Tracer:
        return t
    if t is view.base or t.view_of is not None:
        t = t.alias()
    t.view_of = view
    views = view.root.views
    if views is None:
        view.root.views = [ref(t)]
        return t
    views.append(ref(t))
    n = len(views)
    if n >= _PRUNE_FROM and not n & (n - 1):
        views[:] = [r for r in views if r() is not None]
    return t


def write(t: Tracer, new: Any) -> None:
    """Gives a traced array new contents (a value of its shape and dtype); the arrays that share its memory see them.

    Raises:
        ReadOnlyArrayError: a view that NumPy makes read-only.
        SideEffectError: an array of the function around, which would outlive the trace that computed ``new``.
    """
    if type(new) is not Tracer:  # all of it was overwritten with known values
        new = recording_builder((t,)).record(copy_p, (new,), {})  # type: ignore[union-attr]
    elif new.view_of is not None:  # ``x[...] = x[::-1]``: what is written must not change with the writing
        new = new.alias()
    view = t.view_of
    if view is None:
        _check_reach(t, new)
        t.rebind(new)
        _empty(t.views)
        return
    if not view.writeable:
        raise ReadOnlyArrayError(
            f"this array is a read-only view, as NumPy's {view.name} makes it: write to the array itself, or to a copy"
            f" (x.copy()).\n  at {user_source()}"
        )
    write(view.base, view.write(view.base, new))
    t.rebind(new)


def _empty(views: list[Any] | None) -> None:
    """Lets go of the contents of views whose array has been written to."""
    for r in views or ():
        v = r()
        if v is not None:
            with suppress(AttributeError):  # empty already
                del v.builder, v.variable, v.value


def _check_reach(root: Tracer, new: Tracer) -> None:
    """Refuses a value of an inner trace in an array of the function around it."""
    here, home = state.current, root.home
    if home is here:
        return
    if new.builder.level > (root.builder if home is None else home).level:
        raise SideEffectError(
            f"a value of {new.builder.kind} {new.builder.name!r} was written into an array ({root.aval}) of the function"
            " around it, which outlives it: the write would be lost. Return the value and write it outside, make the"
            " buffer inside (np.zeros_like), or hand it in and out (the carry of a scan or fori_loop)."
            f"\n  at {user_source()}"
        )


def same_value(a: Tracer, b: Tracer) -> bool:
    """True if two traced values are computed alike (``x < 0`` written twice), so that they are equal."""
    if a.builder is not b.builder:
        return False
    if a.variable is b.variable:
        return True
    made = {v: e for e in a.builder.eqns for v in e.outputs}
    captured = {v: x for x, v in a.builder.captures.values()}

    def alike(u: Any, v: Any) -> bool:
        if u is v:
            return True
        if isinstance(u, Literal) or isinstance(v, Literal):
            return isinstance(u, Literal) and isinstance(v, Literal) and u.aval == v.aval and bool(u.value == v.value)
        if u in captured and v in captured:
            x, y = captured[u], captured[v]
            if type(x) is Tracer and type(y) is Tracer:
                return same_value(x, y)
            return (
                type(x) is Array
                and type(y) is Array
                and x.aval == y.aval
                and x.size < 99
                and np.array_equal(x._data, y._data)
            )
        e, g = made.get(u), made.get(v)
        if e is None or g is None or e.prim is not g.prim or e.effect or e.outputs.index(u) != g.outputs.index(v):
            return False
        same = len(e.inputs) == len(g.inputs) and e.params.keys() == g.params.keys()
        return (
            same
            and all(is_plain(x) and x == g.params[k] for k, x in e.params.items())
            and all(map(alike, e.inputs, g.inputs))
        )

    return alike(a.variable, b.variable)


def strided(t: Tracer) -> np.ndarray:
    """An array with the shape and strides that NumPy's array would have here, and no memory behind it to read."""
    return strided_like(*lineage(t))


def lineage(t: Tracer) -> tuple[tuple[int, ...], np.dtype, list[View]]:
    """How a traced array is read from the array that it is a view of in the end: that one's type, and the views, which
    no longer hold their arrays."""
    views: list[View] = []
    while t.view_of is not None:
        view = copy(t.view_of)
        t = view.base
        del view.base, view.root
        views.append(view)
    return t.shape, t.dtype, views[::-1]


def strided_like(shape: tuple[int, ...], d: np.dtype, views: Sequence[View]) -> np.ndarray:
    """``strided`` of an array with this lineage."""
    shape = tuple([index(n) for n in shape])
    strides = [d.itemsize] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    found = np.lib.stride_tricks.as_strided(np.empty(1, d), shape, strides)
    for view in views:
        found = view.strided(found)
    return found
