"""A primitive applied to operands of certain types: what follows from the types alone, and its reference values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ..config import config
from ..dtypes import bool_, is_inexact
from ..ir import Aval, Eqn, subgraphs
from ..nans import check_results
from ..primitive import Primitive
from ..sizes import Size, is_sized
from .source import user_source
from .thread_state import state

__all__ = ["Applied", "TapeEntry", "abstract_of", "apply_types", "evaluate", "is_plain", "reference_of"]

_applied: dict[Any, Applied] = {}
_MEMO_LIMIT = 8192
_MEMO_LIMIT_OF_A_TYPE = 512
_PLAIN = frozenset(
    (int, bool, str, float, Aval, type(None), np.dtype, *(type(np.dtype(c)) for c in "?bhilqBHILQefdFD"))
)


class Applied:
    """A primitive applied to operands of certain types.

    out: what the abstract rule says.       outs: the same as a tuple.      inexact: some of them may carry a derivative.
    run: the NumPy reference with the parameters, for callers that have turned the warnings off.
    is_simple: it has one result, no effect, holds no function and no sizes.
    pulls: the functions that pull cotangents back through it, kept by ``transforms.eager``; None where it holds functions or
        graphs, or has a derivative of another kind.
    """

    __slots__ = ("holds_sizes", "inexact", "is_simple", "out", "outs", "pulls", "run")

    def __init__(
        self, prim: Primitive, avals: Sequence[Aval], params: dict[str, Any], out: Any, plain: bool
    ) -> None:  # fmt: skip
        self.out = out
        self.outs: tuple[Aval, ...] = tuple(out) if prim.multiple_results else (out,)
        self.holds_sizes = any(isinstance(n, Size) for a in self.outs for n in a.shape)
        self.inexact = any(is_inexact(a.dtype) for a in self.outs)
        self.pulls: dict[Any, Any] | None = (
            {} if plain and not prim.has("jvp_call") and not prim.has("forward") else None
        )
        self.is_simple = not (self.pulls is None or self.holds_sizes or prim.multiple_results or prim.effect)
        self.run: Any = reference_of(prim, avals, params) if prim.has("impl") else None


def reference_of(prim: Primitive, operands: Sequence[Any], params: dict[str, Any] | None = None) -> Any:
    """The NumPy reference with its parameters, for callers that have turned the warnings off: a function of the arrays.

    Args:
        operands: for each its type, its dtype alone, or the literal that it is: of some the reference is one function of
            NumPy's (``primitives.special_cases``).
    """
    reference: Any = prim.rule("impl")
    reference = getattr(reference, "loud", reference)
    special = getattr(reference, "special", None)
    found = None if special is None else special(operands, **(params or {}))
    return found or (partial(reference, **params) if params else reference)


TapeEntry = tuple[Eqn, Applied, tuple[bool, ...], Sequence[Any], Sequence[Any]]  # with mask, operands and results


def is_plain(v: Any) -> bool:
    if type(v) is tuple:
        return _PLAIN.issuperset(map(type, v)) or all(map(is_plain, v))
    return type(v) in _PLAIN


def _holds_sizes(v: Any) -> bool:
    """Whether types or parameters hold sizes."""
    if type(v) is tuple:
        return any(map(_holds_sizes, v))
    return _holds_sizes(v.shape) if type(v) is Aval else is_sized(v)


def apply_types(prim: Primitive, avals: tuple[Aval, ...], params: dict[str, Any]) -> Applied:
    """What is known of an operation by its types alone, remembered: a program applies the same one many times."""
    one = avals[0] if avals and (len(avals) == 1 or (len(avals) == 2 and avals[1] is avals[0])) else None
    try:
        if one is not None:  # the common case: kept with the type itself, which need not be hashed then
            return one.memo()[(prim, len(avals), *params.items()) if params else (prim, len(avals))]
    except (KeyError, TypeError):
        pass
    key: Any = (prim, avals, *params.items()) if params else (prim, avals)
    try:
        found = _applied.get(key)
        plain = found is not None or all(type(v) in _PLAIN or is_plain(v) for v in params.values())
    except TypeError:  # an unhashable parameter
        found, plain = None, False
    if found is not None and one is None:
        return found
    if found is None:
        found = Applied(prim, avals, params, _abstract(prim, avals, params), plain)
    if plain and not _holds_sizes((avals, *params.values())):
        # a graph or a function must not be kept alive, and sizes are those of one trace
        _keep(_applied, _MEMO_LIMIT, key, found)
        if one is not None:
            _keep(one.memo(), _MEMO_LIMIT_OF_A_TYPE, (prim, len(avals), *params.items()), found)
    return found


def _keep(memo: dict[Any, Applied], limit: int, key: Any, found: Applied) -> None:
    if len(memo) > limit:
        memo.clear()
    memo[key] = found


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
