"""Which gathers are read where their elements are wanted, and which are operations of their own.

A gather in a nest is a ``Fetch``: its operand lies in memory, and the arithmetic before it, the read and what follows are one
loop.  Its own kernels (``lower/indexing.py``) only copy, which is as good where there is nothing to join: indices that lie in
memory, or that serve a whole row of the result each, and a result that is to lie there too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fx.ir import Atom, Eqn, Literal, Var

from .lower.reductions import REDUCTIONS
from .lower.registry import POINTWISE
from .lower.shaping import SHAPING

__all__ = ["fetched", "moves_in_place", "only_indices", "wait_for_each_other", "why_apart"]


_WRITTEN_OUT, _SHORT = 4, 16  # elements of a row


def fetched(
    eqns: Sequence[Eqn], users: Mapping[Var, Sequence[Eqn]], producers: Mapping[Var, tuple[Eqn, int]]
) -> dict[int, str]:
    """By the id of each gather that becomes a part of nests, the reason."""
    found: dict[int, str] = {}
    for e in reversed(eqns):
        if e.prim.name != "gather" or isinstance(e.inputs[0], Literal):
            continue
        if not e.inputs[0].aval.size or not e.outputs[0].aval.size or _has_short_rows(e):
            continue
        if _is_used(e.outputs[0], users):
            found[id(e)] = "what reads the result reads each element where it lies"
        elif _is_by_points(e) and _is_computed(e.inputs[1], producers):
            found[id(e)] = "the indices are computed where they are read"
    return found


def why_apart(gather: Eqn) -> str:
    """Why a gather is not among those that were ``fetched``."""
    if _has_short_rows(gather):
        return f"its rows, of {_WRITTEN_OUT + 1} to {_SHORT} elements, are copied: such rows are too short for a loop of what follows"
    return "it only copies: nothing is computed before it or from it that would run in the same loop"


def _is_used(var: Var, users: Mapping[Var, Sequence[Eqn]]) -> bool:
    """Whether arithmetic reads the value, through whatever moves no data."""
    todo, seen = [var], {var}
    while todo:
        for user in users.get(todo.pop(), ()):
            if user.prim.name in POINTWISE or user.prim.name in REDUCTIONS:
                return True
            if user.prim.name in SHAPING:
                todo += [v for v in user.outputs if v not in seen]
                seen.update(user.outputs)
    return False


def _is_computed(index: Atom, producers: Mapping[Var, tuple[Eqn, int]]) -> bool:
    """Whether arithmetic makes the indices, or some components of them."""
    todo, seen = [index], {index}
    while todo:
        a = todo.pop()
        if not isinstance(a, Var) or a not in producers:
            continue
        eqn, _ = producers[a]
        if eqn.prim.name in POINTWISE:
            return True
        if eqn.prim.name in SHAPING:
            todo += [x for x in eqn.inputs if x not in seen]
            seen.update(eqn.inputs)
    return False


def _is_by_points(gather: Eqn) -> bool:
    """Whether neighbours in the result have indices of their own."""
    shape, offset_dims = gather.outputs[0].aval.shape, gather.params["dimension_numbers"][0]
    real = [d for d, n in enumerate(shape) if n != 1]
    return not real or real[-1] not in offset_dims


def wait_for_each_other(eqns: Iterable[Eqn]) -> bool:
    """Whether, among the equations of a nest in graph order, a gather's index depends on another gather.

    A core runs as many iterations of a loop side by side as it looks ahead; reads that wait for one another, as those of a
    binary search, fill that with waiting (a search in ten steps took 1.6 times as long in one loop as in ten, on Zen 4).
    """
    read: set[Atom] = set()
    for e in eqns:
        gather = e.prim.name == "gather"
        late = not read.isdisjoint([a for a in (e.inputs[1:] if gather else e.inputs) if isinstance(a, Var)])
        if gather and late:
            return True
        if gather or late:
            read.update(e.outputs)
    return False


def _has_short_rows(gather: Eqn) -> bool:
    """Whether an index serves a row that is too short for a loop, and too long to be written out with rows side by side: stores
    would have gaps.  (8 or 12 numbers a row, scaled and added to others, took twice as long as a copy and a map, on Zen 4.)
    """
    shape, offset_dims = gather.outputs[0].aval.shape, gather.params["dimension_numbers"][0]
    real = [d for d, n in enumerate(shape) if n != 1]
    row = 1
    for d in reversed(real):
        if d not in offset_dims:
            break
        row *= shape[d]
    return bool(_WRITTEN_OUT < row <= _SHORT)


def moves_in_place(gather: Eqn) -> bool:
    """Whether each element of the result is read by the index at the same place."""
    return (
        gather.inputs[1].aval.shape == (*gather.outputs[0].aval.shape, 1) and not gather.params["dimension_numbers"][0]
    )


def only_indices(concatenation: Eqn, users: Iterable[Eqn], found: dict[int, str]) -> bool:
    """Whether it joins the components of indices, which fetches read one by one."""
    (joined,), d = concatenation.outputs, concatenation.params["dimension"]
    if d != joined.aval.ndim - 1:
        return False
    users = list(users)
    return bool(users) and all(id(u) in found and u.inputs[1] is joined and u.inputs[0] is not joined for u in users)
