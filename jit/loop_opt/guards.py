"""Loads under a condition, as expressions: what a loop reads of an array that is padded, shifted or joined to others.

    v = 0                                   v = x[i] where ok, else 0
    if ok:                      ->
        v = x[i]

In a loop over vectors the right side is one load that leaves lanes out; a branch would keep the loop from being vectorised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ..loop_ir import Assign, Const, For, If, Let, Load, Stmt
from ..loop_walk import assigned, is_any

__all__ = ["with_guarded_loads"]


def with_guarded_loads(loop: For) -> For:
    """The loop, whose loads have their conditions as masks where that is all that a branch is for.

    Such a mask has no lanes yet: it is meant for ``vectorize``.
    """
    times = Counter(assigned(loop.body))
    body: list[Stmt] = []
    for s in loop.body:
        found = _guarded(s, body, times)
        if found:
            del body[-len(found) :]
            body += found
        else:
            body.append(s)
    return replace(loop, body=tuple(body)) if len(body) < len(loop.body) else loop


def _guarded(s: Stmt, before: Sequence[Stmt], times: Counter[str]) -> list[Let]:
    """What a branch that reads the locals declared right in front of it is, with these; nothing if it is another."""
    if not isinstance(s, If) or s.orelse or is_any(s.cond):
        return []
    zeros = [d.name for d in before[-len(s.then) :] if isinstance(d, Let) and d.mutable and _is_zero(d)]
    found = [
        Let(a.name, replace(a.value, mask=s.cond))
        for a in s.then
        if isinstance(a, Assign) and isinstance(a.value, Load) and a.value.mask is None and times[a.name] == 1
    ]
    return found if [d.name for d in found] == zeros and len(found) == len(s.then) else []


def _is_zero(d: Let) -> bool:
    return isinstance(d.value, Const) and not d.value.value and str(d.value.value) != "-0.0"
