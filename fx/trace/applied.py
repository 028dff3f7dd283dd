"""A primitive applied to operands of certain types: what follows from the types alone, and its reference values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..config import config
from ..dtypes import bool_, is_inexact
from ..ir import Aval, Eqn, subgraphs
from ..nans import check_results
from ..primitive import Primitive
from ..sizes import Size
from .source import user_source
from .thread_state import state

__all__ = ["Applied", "TapeEntry", "abstract_of", "apply_types", "evaluate", "is_plain"]

_applied: dict[Any, Applied] = {}
_MEMO_LIMIT = 8192
_PLAIN = frozenset(
    (int, bool, str, float, Aval, type(None), np.dtype, *(type(np.dtype(c)) for c in "?bhilqBHILQefdFD"))
)


class Applied:
    """A primitive applied to operands of certain types.

    out: what the abstract rule says.       outs: the same as a tuple.      inexact: some of them may carry a derivative.
    run: the NumPy reference, for callers that have turned the warnings off.
    pulls: the functions that pull cotangents back through it, kept by ``transforms.eager``; None where it holds functions or
        graphs, or has a derivative of another kind.
    """

    __slots__ = ("holds_sizes", "inexact", "out", "outs", "pulls", "run")

    def __init__(self, prim: Primitive, out: Any, plain: bool) -> None:
        self.out = out
        self.outs: tuple[Aval, ...] = tuple(out) if prim.multiple_results else (out,)
        self.holds_sizes = any(type(n) is Size for a in self.outs for n in a.shape)
        self.inexact = any(is_inexact(a.dtype) for a in self.outs)
        self.pulls: dict[Any, Any] | None = (
            {} if plain and not prim.has("jvp_call") and not prim.has("forward") else None
        )
        reference = prim.rule("impl") if prim.has("impl") else None
        self.run: Any = getattr(reference, "loud", reference)


TapeEntry = tuple[Eqn, Applied, tuple[bool, ...], Sequence[Any], Sequence[Any]]  # with mask, operands and results


def is_plain(v: Any) -> bool:
    if type(v) is tuple:
        return _PLAIN.issuperset(map(type, v)) or all(map(is_plain, v))
    return type(v) in _PLAIN


def apply_types(prim: Primitive, avals: tuple[Aval, ...], params: dict[str, Any]) -> Applied:
    """What is known of an operation by its types alone, remembered: a program applies the same one many times."""
    if not params:
        key: Any = (prim, avals)
    else:
        for v in params.values():
            if type(v) not in _PLAIN and not is_plain(v):  # a graph or a function must not be kept alive
                return Applied(prim, _abstract(prim, avals, params), False)
        key = (prim, avals, *params.items())
    try:
        return _applied[key]
    except KeyError:
        if len(_applied) > _MEMO_LIMIT:
            _applied.clear()
        found = Applied(prim, _abstract(prim, avals, params), True)
        if not found.holds_sizes:  # sizes are those of one trace
            _applied[key] = found
        return found
    except TypeError:  # an unhashable parameter
        return Applied(prim, _abstract(prim, avals, params), False)


def abstract_of(prim: Primitive, avals: tuple[Aval, ...], params: dict[str, Any]) -> Any:
    """What the primitive's abstract rule says, and whether it is weak."""
    return apply_types(prim, avals, params).out


def _abstract(prim: Primitive, avals: tuple[Aval, ...], params: dict[str, Any]) -> Any:
    out = prim.rule("abstract")(*avals, **params)
    if prim.typed_by is None:
        return out
    weak = out.dtype != bool_ and prim.is_weak([a.weak for a in avals])
    return out if out.weak == weak else out.with_(weak=weak)


def evaluate(prim: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> list[np.ndarray]:
    """Runs a primitive's NumPy reference; always a list of ndarrays."""
    found = prim.rule("impl")(*arrays, **params)
    outs = [o if type(o) is np.ndarray else np.asarray(o) for o in (found if prim.multiple_results else (found,))]
    if config.watching and not subgraphs(params):  # what stands in a graph is checked there
        check_results(prim.name, arrays, outs, state.source or user_source())
    return outs
