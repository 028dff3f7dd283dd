"""``fx.interpreters.ad``: the derivatives of primitives, in JAX's form.

``primitive_jvps[p] = rule`` with ``rule(primals, tangents, **params) -> (out, tangent)``, and
``primitive_transposes[p] = rule`` with ``rule(ct, *operands, **params) -> cotangents``, one for each operand: of what is not
linear (it is no ``UndefinedPrimal``) None.  A zero is a ``Zero(aval)``, unless it is made an array (``instantiate_zeros``).
With ``multiple_results`` outputs, their tangents and cotangents are lists.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import NonLinearError
from ..ir import Aval
from ..primitive import Primitive
from ..primitives.elementwise import add, add_p
from ..trace import Tracer
from ..transforms.custom_primitive import UndefinedPrimal, Zero, jvps, transposes

__all__ = [
    "JVPTracer", "UndefinedPrimal", "Zero", "add_jaxvals", "add_jaxvals_p", "add_tangents", "defbilinear", "defjvp", "defjvp2", "deflinear", "deflinear2",
    "get_primitive_transpose", "instantiate_zeros", "is_undefined_primal", "primitive_jvps", "primitive_transposes", "zeros_like_aval",
]  # fmt: skip

primitive_jvps = jvps
primitive_transposes = transposes
add_jaxvals = add
add_jaxvals_p = add_p
Rule = Callable[..., Any]


class _JVPTracerType(type):
    """What depends on an input that a derivative is taken of is an instance."""

    def __instancecheck__(cls, x: Any) -> bool:
        return type(x) is Tracer and x.is_active


class JVPTracer(metaclass=_JVPTracerType):
    """The kind of a traced value that may have a tangent: ``isinstance(x, JVPTracer)``."""


def is_undefined_primal(x: Any) -> bool:
    """Whether ``x`` stands for an operand that is transposed."""
    return type(x) is UndefinedPrimal


def get_primitive_transpose(p: Primitive) -> Rule:
    """The transpose rule of a primitive.

    Raises:
        NonLinearError: it has none.
    """
    try:
        return transposes[p]
    except KeyError:
        raise NonLinearError(f"primitive {p.name!r} has no transpose rule: it is not linear") from None


def zeros_like_aval(aval: Aval) -> Any:
    """Zeros of a type."""
    return Zero(aval).instantiate()


def instantiate_zeros(t: Any) -> Any:
    """A tangent, as an array if it is a ``Zero``."""
    return t.instantiate() if isinstance(t, Zero) else t


def add_tangents(x: Any, y: Any) -> Any:
    """The sum of two tangents, each of which may be a ``Zero``."""
    return y if isinstance(x, Zero) else x if isinstance(y, Zero) else add(x, y)


def defjvp(prim: Primitive, *rules: Rule | None) -> None:
    """Gives the derivative by each operand: ``rule(t, *operands, **params)``, or None where it is zero; they add up."""
    each = [None if r is None else functools.partial(_without_result, r) for r in rules]
    defjvp2(prim, *each)


def _without_result(rule: Rule, t: Any, _: Any, *operands: Any, **params: Any) -> Any:
    return rule(t, *operands, **params)


def defjvp2(prim: Primitive, *rules: Rule | None) -> None:
    """As ``defjvp``; the rules get the result too: ``rule(t, out, *operands, **params)``."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], /, **params: Any) -> tuple[Any, Any]:
        out = prim.bind(*primals, **params)
        terms = [
            rule(t, out, *primals, **params)
            for rule, t in zip(rules, tangents)
            if rule is not None and not isinstance(t, Zero)
        ]
        return out, functools.reduce(add_tangents, terms, Zero(out.aval))

    jvps[prim] = jvp


def deflinear2(prim: Primitive, transpose_rule: Rule) -> None:
    """Says that a primitive is linear in all of its operands; ``transpose_rule(ct, *operands, **params) -> cotangents``."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any], /, **params: Any) -> tuple[Any, Any]:
        return prim.bind(*primals, **params), prim.bind(*[instantiate_zeros(t) for t in tangents], **params)

    jvps[prim] = jvp
    transposes[prim] = transpose_rule


def deflinear(prim: Primitive, transpose_rule: Rule) -> None:
    """As ``deflinear2``, with ``transpose_rule(ct, **params)``."""
    deflinear2(prim, lambda ct, *_, **params: transpose_rule(ct, **params))


def defbilinear(prim: Primitive, lhs_rule: Rule, rhs_rule: Rule) -> None:
    """Says that a primitive is linear in each of its two operands: ``rule(ct, x, y, **params)`` is the cotangent of the first
    (``lhs_rule``), of the second (``rhs_rule``)."""
    defjvp(prim, lambda t, x, y, **kw: prim.bind(t, y, **kw), lambda t, x, y, **kw: prim.bind(x, t, **kw))

    def transpose(ct: Any, x: Any, y: Any, /, **params: Any) -> tuple[Any, Any]:
        if is_undefined_primal(x):
            return lhs_rule(ct, x, y, **params), None
        return None, rhs_rule(ct, x, y, **params)

    transposes[prim] = transpose
