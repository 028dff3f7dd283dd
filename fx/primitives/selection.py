"""Choosing between arrays element by element: ``select_n``, on which ``select`` (``where``) stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir import Aval
from ..primitive import Linear, Primitive
from ..trace import aval_of, bind
from . import elementwise_reference as reference
from .checks import check_same_types
from .helpers import Value, bind_named, elementwise_batch, instantiate, match_scalars, quiet, zeros_like

__all__ = ["broadcast_scalar", "select", "select_n", "select_n_p"]

select_n_p = Primitive("select_n", typed_by="rest")
select_n_p.is_elementwise = True
select_n_p.def_impl(quiet(reference.select_n))
select_n_p.def_batch(elementwise_batch(select_n_p))


@select_n_p.def_abstract
def _select_n_abstract(which: Aval, *cases: Aval) -> Aval:
    if not cases:
        raise ShapeError("select_n takes a selector and at least one case; it got no case.")
    check_same_types("select_n (its cases)", cases)
    if which.shape != cases[0].shape:
        raise ShapeError(
            f"select_n: the selector has shape {which.shape}, the cases have {cases[0].shape}."
            " They must be equal; broadcast the selector first."
        )
    if which.dtype not in (dtypes.bool_, dtypes.int32):
        raise DTypeError(f"select_n: the selector has dtype {which.dtype}. It must be bool (two cases) or int32.")
    if which.dtype == dtypes.bool_ and len(cases) != 2:
        raise ShapeError(f"select_n: a bool selector chooses between 2 cases; there are {len(cases)}. Use int32.")
    return cases[0]


@select_n_p.def_jvp
def _select_n_jvp(primals: Sequence[Value], tangents: Sequence[Value | None], out: Value) -> Value:
    which, *cases = primals
    return select_n(which, *[instantiate(t, c) for t, c in zip(tangents[1:], cases)])


@select_n_p.def_transpose
def _select_n_transpose(ct: Value, inputs: Sequence[Any]) -> tuple[Value | None, ...]:
    which, *cases = inputs
    zero = zeros_like(ct)

    def to_case(i: int) -> Value:
        return select_n(which, *[ct if j == i else zero for j in range(len(cases))])

    return (None, *[to_case(i) if isinstance(c, Linear) else None for i, c in enumerate(cases)])


def broadcast_scalar(x: Value, like: Value) -> Value:
    """A 0-d operand broadcast to the shape of ``like``; any other stays as it is."""
    shape = aval_of(like).shape
    if not shape or aval_of(x).shape:
        return x
    return bind_named("broadcast_in_dim", x, shape=shape, broadcast_dimensions=())


def select_n(which: Value, *cases: Value) -> Value:
    """cases[which], element by element.

    Args:
        which: bool (False takes the first of two cases) or int32, of the cases' shape or a scalar; an index
            outside is clamped.
        cases: arrays of one shape and dtype; Python scalars beside an array are broadcast.
    """
    cases = match_scalars(*cases)
    return bind(select_n_p, broadcast_scalar(which, cases[0]) if cases else which, *cases)


def select(pred: Value, on_true: Value, on_false: Value) -> Value:
    """on_true where pred, else on_false."""
    on_true, on_false = match_scalars(on_true, on_false)
    return select_n(pred, on_false, on_true)
