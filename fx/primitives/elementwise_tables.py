"""How a line of the table of elementwise primitives becomes a primitive with all its rules, and its function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..ir import Aval
from ..primitive import Primitive
from ..trace import bind
from .checks import DTypeClass, check_dtype, check_same_types
from .helpers import Value, bind_stretched, def_jvp_each, elementwise_batch, match_scalars, quiet, unary_batch

__all__ = ["INTEGERS_ONLY", "NOT_LINEAR", "PIECEWISE_CONSTANT", "binary", "primitive", "to_bool", "unary"]

Rule = Callable[..., Any]
Unary = Callable[[Value], Value]
Binary = Callable[[Value, Value], Value]

PIECEWISE_CONSTANT = "it is piecewise constant"
INTEGERS_ONLY = "it takes integers, which carry no derivative"
NOT_LINEAR = "it is not linear; linearising it leaves only products with its derivative"


def _elementwise_abstract(name: str, allowed: DTypeClass, result: Callable[[np.dtype], np.dtype] | None) -> Rule:
    """Equal shapes and dtypes in, the same out (``result`` maps the dtype)."""

    def abstract(x: Aval, *rest: Aval, **params: Any) -> Aval:
        if rest:
            check_same_types(name, (x, *rest))
        check_dtype(name, x, allowed)
        return Aval(x.shape, x.dtype if result is None else result(x.dtype))

    return abstract


def primitive(
    name: str, allowed: DTypeClass, impl: Rule, derivatives: str | Sequence[Rule | None] | None,
    result: Callable[[np.dtype], np.dtype] | None, arity: int,
) -> Primitive:  # fmt: skip
    """``derivatives``: a rule for each operand, the reason why it is zero, or None where they are given later."""
    prim = Primitive(name)
    prim.is_elementwise = True
    prim.def_abstract(_elementwise_abstract(name, allowed, result))
    prim.def_impl(quiet(impl))
    prim.def_batch(unary_batch(prim) if arity == 1 else elementwise_batch(prim))
    if isinstance(derivatives, str):
        prim.no_gradient(derivatives)
    elif derivatives is not None:
        def_jvp_each(prim, *derivatives)
    return prim


def unary(
    name: str, allowed: DTypeClass, impl: Rule, derivative: str | Rule | None, doc: str,
    *, result: Callable[[np.dtype], np.dtype] | None = None,
) -> tuple[Primitive, Unary]:  # fmt: skip
    """The primitive of a function of one array, and the function.

    Args:
        allowed: the dtypes that it takes.
        impl: its NumPy reference.
        derivative: ``(t, out, x) -> contribution``, the reason why it is zero, or None where the rule is given later.
        result: the dtype of the result for that of x; the same without it.
    """
    rules = [derivative] if callable(derivative) else derivative
    prim = primitive(name, allowed, impl, rules, result, arity=1)
    if callable(derivative):
        prim.no_transpose(NOT_LINEAR)

    def f(x: Value) -> Value:
        return bind(prim, x)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = doc
    return prim, f


def binary(
    name: str, allowed: DTypeClass, impl: Rule, derivatives: str | Sequence[Rule] | None, doc: str,
    *, result: Callable[[np.dtype], np.dtype] | None = None,
) -> tuple[Primitive, Binary]:  # fmt: skip
    """``unary`` for two arrays of one shape and dtype, with a derivative for each."""
    prim = primitive(name, allowed, impl, derivatives, result, arity=2)

    def f(x: Value, y: Value) -> Value:
        return bind_stretched(prim, *match_scalars(x, y))

    f.__name__ = f.__qualname__ = name
    f.__doc__ = doc
    return prim, f


def to_bool(dtype: np.dtype) -> np.dtype:
    return dtypes.bool_
