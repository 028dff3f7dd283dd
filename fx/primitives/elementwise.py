"""Elementwise primitives: arithmetic, transcendental functions, comparisons, bits, selection, conversion.

All operands of one equation have equal shapes and dtypes (``select_n``'s selector aside).  The functions are
as strict, but give a Python scalar the type of the array beside it.

A line of the tables is one primitive: its name, the dtypes that it takes, its NumPy reference, and its
derivative with respect to each operand as ``(t, out, *primals) -> contribution``, linear in ``t``.  Derivative
factors are computed from primals first and multiplied by ``t`` once, so the tangent graph stays small.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, ShapeError
from ..ir import Aval
from ..primitive import Linear, Primitive
from ..trace import aval_of, bind, is_python_scalar
from . import elementwise_reference as reference
from . import special_math
from .checks import (
    ANY,
    BITS,
    COMPLEX,
    FLOAT,
    INEXACT,
    INTEGER,
    NUMBER,
    ORDERED,
    REAL,
    DTypeClass,
    check_dtype,
    check_same_types,
)
from .helpers import (
    Value,
    bind_named,
    def_jvp_each,
    def_linear,
    elementwise_batch,
    full_like,
    instantiate,
    is_fx_value,
    match_scalars,
    quiet,
    unary_batch,
    zeros_like,
)

__all__ = [
    "INTEGERS_ONLY", "NOT_LINEAR", "PIECEWISE_CONSTANT", "RoundingMethod", "abs", "abs_p", "acos", "acos_p", "acosh",
    "acosh_p", "add", "add_p", "and_p", "asin", "asin_p", "asinh", "asinh_p", "atan", "atan2", "atan2_p", "atan_p",
    "atanh", "atanh_p", "bitcast_convert_type", "bitcast_convert_type_p", "bitwise_and", "bitwise_not", "bitwise_or",
    "bitwise_xor", "cbrt", "cbrt_p", "ceil", "ceil_p", "clamp", "clamp_p", "clz", "clz_p", "complex", "complex_p",
    "conj", "conj_p", "convert_element_type", "convert_element_type_p", "copy", "copy_p", "cos", "cos_p", "cosh",
    "cosh_p", "digamma", "digamma_p", "div", "div_p", "eq", "eq_p", "erf", "erf_inv", "erf_inv_p", "erf_p", "erfc",
    "erfc_p", "exp", "exp2", "exp2_p", "exp_p", "expm1", "expm1_p", "floor", "floor_p", "ge", "ge_p", "gt", "gt_p",
    "imag", "imag_p", "integer_pow", "integer_pow_p", "is_finite", "is_finite_p", "le", "le_p", "lgamma", "lgamma_p",
    "log", "log1p", "log1p_p", "log_p", "logistic", "logistic_p", "lt", "lt_p", "max", "max_p", "min", "min_p", "mul",
    "mul_p", "ne", "ne_p", "neg", "neg_p", "nextafter", "nextafter_p", "not_p", "optimization_barrier",
    "optimization_barrier_p", "or_p", "population_count", "population_count_p", "pow", "pow_p", "real", "real_p", "rem",
    "rem_p", "round", "round_p", "rsqrt", "rsqrt_p", "select", "select_n", "select_n_p", "shift_left", "shift_left_p",
    "shift_right_arithmetic", "shift_right_arithmetic_p", "shift_right_logical", "shift_right_logical_p", "sign",
    "sign_p", "sin", "sin_p", "sinh", "sinh_p", "sqrt", "sqrt_p", "square", "square_p", "stop_gradient",
    "stop_gradient_p", "sub", "sub_p", "tan", "tan_p", "tanh", "tanh_p", "trigamma", "weakened", "xor_p",
]  # fmt: skip

Rule = Callable[..., Any]
Unary = Callable[[Value], Value]
Binary = Callable[[Value, Value], Value]

PIECEWISE_CONSTANT = "it is piecewise constant"
INTEGERS_ONLY = "it takes integers, which carry no derivative"
NOT_LINEAR = "it is not linear; linearising it leaves only products with its derivative"


# ------------------------------------------------------------------------------------- the tables


def _elementwise_abstract(name: str, allowed: DTypeClass, result: Callable[[np.dtype], np.dtype] | None) -> Rule:
    """Equal shapes and dtypes in, the same out (``result`` maps the dtype)."""

    def abstract(x: Aval, *rest: Aval, **params: Any) -> Aval:
        if rest:
            check_same_types(name, (x, *rest))
        check_dtype(name, x, allowed)
        return Aval(x.shape, x.dtype if result is None else result(x.dtype))

    return abstract


def _primitive(
    name: str, allowed: DTypeClass, impl: Rule, derivatives: str | Sequence[Rule | None] | None,
    result: Callable[[np.dtype], np.dtype] | None, arity: int,
) -> Primitive:  # fmt: skip
    """``derivatives``: a rule for each operand, the reason why it is zero, or None where they are given later."""
    prim = Primitive(name)
    prim.def_abstract(_elementwise_abstract(name, allowed, result))
    prim.def_impl(quiet(impl))
    prim.def_batch(unary_batch(prim) if arity == 1 else elementwise_batch(prim))
    if isinstance(derivatives, str):
        prim.no_gradient(derivatives)
    elif derivatives is not None:
        def_jvp_each(prim, *derivatives)
    return prim


def _unary(
    name: str, allowed: DTypeClass, impl: Rule, derivative: str | Rule | None, doc: str,
    *, result: Callable[[np.dtype], np.dtype] | None = None,
) -> tuple[Primitive, Unary]:  # fmt: skip
    rules = [derivative] if callable(derivative) else derivative
    prim = _primitive(name, allowed, impl, rules, result, arity=1)
    if callable(derivative):
        prim.no_transpose(NOT_LINEAR)

    def f(x: Value) -> Value:
        return bind(prim, x)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = doc
    return prim, f


def _binary(
    name: str, allowed: DTypeClass, impl: Rule, derivatives: str | Sequence[Rule] | None, doc: str,
    *, result: Callable[[np.dtype], np.dtype] | None = None,
) -> tuple[Primitive, Binary]:  # fmt: skip
    prim = _primitive(name, allowed, impl, derivatives, result, arity=2)

    def f(x: Value, y: Value) -> Value:
        return bind(prim, *match_scalars(x, y))

    f.__name__ = f.__qualname__ = name
    f.__doc__ = doc
    return prim, f


def _to_bool(dtype: np.dtype) -> np.dtype:
    return dtypes.bool_


# ------------------------------------------------------------------------------- linear arithmetic

neg_p, neg = _unary("neg", NUMBER, np.negative, None, "-x; unsigned integers wrap.")
add_p, add = _binary("add", NUMBER, np.add, [lambda t, o, x, y: t, lambda t, o, x, y: t], "x + y")
sub_p, sub = _binary("sub", NUMBER, np.subtract, [lambda t, o, x, y: t, lambda t, o, x, y: neg(t)], "x - y")
mul_p, mul = _binary("mul", NUMBER, np.multiply, [lambda t, o, x, y: mul(t, y), lambda t, o, x, y: mul(x, t)], "x * y")
div_p, div = _binary(
    "div", NUMBER, reference.div,
    [lambda t, o, x, y: div(t, y), lambda t, o, x, y: mul(t, neg(div(o, y)))],
    "x / y.  Integers round towards zero; an integer divided by 0 gives all bits set.",
)  # fmt: skip

def_linear(neg_p, lambda ct, aval: neg(ct))
add_p.def_transpose(lambda ct, inputs: tuple([ct if isinstance(x, Linear) else None for x in inputs]))


@sub_p.def_transpose
def _sub_transpose(ct: Value, inputs: Sequence[Any]) -> tuple[Value | None, Value | None]:
    x, y = inputs
    return ct if isinstance(x, Linear) else None, neg(ct) if isinstance(y, Linear) else None


@mul_p.def_transpose
def _mul_transpose(ct: Value, inputs: Sequence[Any]) -> tuple[Value | None, Value | None]:
    """Linear in one factor at a time."""
    x, y = inputs
    return (mul(ct, y), None) if isinstance(x, Linear) else (None, mul(x, ct))


div_p.def_transpose(lambda ct, inputs: (div(ct, inputs[1]), None))

# ----------------------------------------------------------------------------------- real, complex

real_p, real = _unary("real", COMPLEX, np.real, None, "The real part.", result=dtypes.real_dtype)
imag_p, imag = _unary("imag", COMPLEX, np.imag, None, "The imaginary part.", result=dtypes.real_dtype)
conj_p, _conj = _unary("conj", COMPLEX, np.conjugate, None, "The complex conjugate.")


def conj(x: Value) -> Value:
    """The complex conjugate; of a float, the complex number."""
    return complex(x, zeros_like(x)) if dtypes.is_float(aval_of(x).dtype) else _conj(x)


def _complex_impl(re: np.ndarray, im: np.ndarray) -> np.ndarray:
    out = np.empty(re.shape, dtypes.complex_dtype(re.dtype))
    out.real, out.imag = re, im
    return out


_COMPLEX_PART = DTypeClass(
    "float32 or float64",
    frozenset({dtypes.float32, dtypes.float64}),
    "Convert it first: convert_element_type(x, 'float32').",
)
complex_p, complex = _binary(
    "complex", _COMPLEX_PART, _complex_impl,
    [lambda t, o, x, y: complex(t, zeros_like(t)), lambda t, o, x, y: complex(zeros_like(t), t)],
    "x + 1j * y", result=dtypes.complex_dtype,
)  # fmt: skip

# Transposes are with respect to the pairing Re(sum(ct * x)), without conjugation: grad of a real function of a
# complex z is then d/dx - i d/dy, as in JAX.
def_linear(real_p, lambda ct, aval: complex(ct, zeros_like(ct)))
def_linear(imag_p, lambda ct, aval: complex(zeros_like(ct), neg(ct)))
def_linear(conj_p, lambda ct, aval: conj(ct))


@complex_p.def_transpose
def _complex_transpose(ct: Value, inputs: Sequence[Any]) -> tuple[Value | None, Value | None]:
    re, im = inputs
    return real(ct) if isinstance(re, Linear) else None, neg(imag(ct)) if isinstance(im, Linear) else None


# ---------------------------------------------------------------------------------- sign, rounding


def _is_complex(x: Value) -> bool:
    return dtypes.is_complex(aval_of(x).dtype)


def _replace_zero(x: Value) -> Value:
    """x, with 1 where it is 0."""
    return select(eq(x, 0), full_like(x, 1), x)


def _sign_jvp(t: Value, out: Value, x: Value) -> Value | None:
    """Zero for floats.  d(z/|z|) = i s Im(conj(s) dz) / |z| with s = z/|z|: only the part across z turns it."""
    if not _is_complex(x):
        return None
    across = div(imag(mul(conj(out), t)), _replace_zero(abs(x)))
    return mul(out, complex(zeros_like(across), across))


def _abs_jvp(t: Value, out: Value, x: Value) -> Value:
    """sign(x) t, so 0 at 0; Re(conj(s) t) with s = z/|z| for complex numbers."""
    return real(mul(t, conj(sign(x)))) if _is_complex(x) else mul(t, sign(x))


sign_p, sign = _unary(
    "sign", NUMBER, reference.sign, _sign_jvp, "-1, 0 or 1 (NaN and -0.0 stay); x / |x| for complex numbers."
)
abs_p, abs = _unary("abs", NUMBER, np.abs, _abs_jvp, "|x|, real for complex numbers.", result=dtypes.real_dtype)
floor_p, floor = _unary("floor", FLOAT, np.floor, PIECEWISE_CONSTANT, "The greatest integer that is at most x.")
ceil_p, ceil = _unary("ceil", FLOAT, np.ceil, PIECEWISE_CONSTANT, "The least integer that is at least x.")
round_p = _primitive("round", FLOAT, reference.round_, PIECEWISE_CONSTANT, None, arity=1)
is_finite_p, is_finite = _unary(
    "is_finite", FLOAT, np.isfinite, PIECEWISE_CONSTANT, "False for NaN and infinities.", result=_to_bool
)
nextafter_p, nextafter = _binary(
    "nextafter", FLOAT, np.nextafter, "it is a step of one unit in the last place", "The next float after x towards y."
)


class RoundingMethod(enum.StrEnum):
    """What ``round`` does with values halfway between two integers."""

    AWAY_FROM_ZERO = "away_from_zero"
    TO_NEAREST_EVEN = "to_even"


def round(x: Value, rounding_method: RoundingMethod | str = RoundingMethod.AWAY_FROM_ZERO) -> Value:
    """The nearest integer, as a float."""
    return bind(round_p, x, rounding_method=RoundingMethod(rounding_method).value)


# ------------------------------------------------------------------------------------------ powers


def _cbrt_jvp(t: Value, out: Value, x: Value) -> Value:
    return mul(t, div(1.0 / 3.0, square(out)))


square_p, square = _unary("square", NUMBER, np.square, lambda t, o, x: mul(t, mul(x, 2)), "x * x")
sqrt_p, sqrt = _unary("sqrt", INEXACT, np.sqrt, lambda t, o, x: mul(t, div(0.5, o)), "The square root.")
rsqrt_p, rsqrt = _unary("rsqrt", INEXACT, reference.rsqrt, lambda t, o, x: mul(t, mul(div(o, x), -0.5)), "1 / sqrt(x)")
cbrt_p, cbrt = _unary("cbrt", FLOAT, np.cbrt, _cbrt_jvp, "The real cube root.")


def _integer_pow_jvp(t: Value, out: Value, x: Value, *, y: int) -> Value | None:
    """y x**(y - 1), which is 0 (not NaN) at x = 0 for y = 0."""
    if y == 0:
        return None
    return t if y == 1 else mul(t, mul(integer_pow(x, y - 1), y))


integer_pow_p = _primitive("integer_pow", NUMBER, reference.integer_pow, [_integer_pow_jvp], None, arity=1)
integer_pow_p.no_transpose(NOT_LINEAR)


def integer_pow(x: Value, y: int) -> Value:
    """x to the power of a Python integer.

    Raises:
        DTypeError: an integer array to a negative power.
    """
    if y < 0 and dtypes.is_integer(aval_of(x).dtype):
        raise DTypeError(f"integer_pow: integers have no power {y}. Convert to a float dtype first.")
    return bind(integer_pow_p, x, y=int(y))


def _pow_jvp_base(t: Value, out: Value, x: Value, y: Value) -> Value:
    """y x**(y - 1), and 0 where y is 0 even at x = 0."""
    exponent = select(eq(y, 0), full_like(y, 1), sub(y, 1))
    return mul(t, mul(y, pow(x, exponent)))


def _pow_jvp_exponent(t: Value, out: Value, x: Value, y: Value) -> Value:
    """log(x) x**y, with the limit 0 at x = 0."""
    return mul(t, mul(log(_replace_zero(x)), out))


pow_p = _primitive("pow", INEXACT, reference.pow_, [_pow_jvp_base, _pow_jvp_exponent], None, arity=2)
pow_p.no_transpose(NOT_LINEAR)


def pow(x: Value, y: Value) -> Value:
    """x to the power y, both of one inexact dtype; a Python int as y makes it ``integer_pow``."""
    if type(y) is int and not is_python_scalar(x):
        return integer_pow(x, y)
    x, y = match_scalars(x, y)
    d = aval_of(x).dtype
    if dtypes.is_integer(aval_of(y).dtype) and dtypes.is_inexact(d):
        y = convert_element_type(y, d)
    return bind(pow_p, x, y)


# --------------------------------------------------------------------- exponentials and logarithms

_SQRT_PI = math.sqrt(math.pi)


def _acosh_jvp(t: Value, out: Value, x: Value) -> Value:
    """1 / (sqrt(x - 1) sqrt(x + 1)): one root each, for the branch cut of complex x."""
    return mul(t, mul(rsqrt(sub(x, 1)), rsqrt(add(x, 1))))


def _erf_slope(x: Value) -> Value:
    return mul(exp(neg(square(x))), 2.0 / _SQRT_PI)


exp_p, exp = _unary("exp", INEXACT, np.exp, lambda t, o, x: mul(t, o), "e**x")
exp2_p, exp2 = _unary("exp2", INEXACT, reference.exp2, lambda t, o, x: mul(t, mul(o, math.log(2.0))), "2**x")
expm1_p, expm1 = _unary(
    "expm1", INEXACT, reference.expm1, lambda t, o, x: mul(t, add(o, 1)), "e**x - 1, accurate near 0."
)
log_p, log = _unary("log", INEXACT, np.log, lambda t, o, x: div(t, x), "The natural logarithm.")
log1p_p, log1p = _unary(
    "log1p", INEXACT, reference.log1p, lambda t, o, x: div(t, add(x, 1)), "log(1 + x), accurate near 0."
)
logistic_p, logistic = _unary(
    "logistic", INEXACT, reference.logistic, lambda t, o, x: mul(t, mul(o, sub(1, o))), "1 / (1 + exp(-x))"
)

# ------------------------------------------------------------------ trigonometric, hyperbolic functions

sin_p, sin = _unary("sin", INEXACT, np.sin, lambda t, o, x: mul(t, cos(x)), "The sine.")
cos_p, cos = _unary("cos", INEXACT, np.cos, lambda t, o, x: mul(t, neg(sin(x))), "The cosine.")
tan_p, tan = _unary("tan", INEXACT, np.tan, lambda t, o, x: mul(t, add(square(o), 1)), "The tangent.")
asin_p, asin = _unary("asin", INEXACT, np.arcsin, lambda t, o, x: mul(t, rsqrt(sub(1, square(x)))), "The inverse sine.")
acos_p, acos = _unary(
    "acos", INEXACT, np.arccos, lambda t, o, x: mul(t, neg(rsqrt(sub(1, square(x))))), "The inverse cosine."
)
atan_p, atan = _unary("atan", INEXACT, np.arctan, lambda t, o, x: div(t, add(square(x), 1)), "The inverse tangent.")
sinh_p, sinh = _unary("sinh", INEXACT, np.sinh, lambda t, o, x: mul(t, cosh(x)), "The hyperbolic sine.")
cosh_p, cosh = _unary("cosh", INEXACT, np.cosh, lambda t, o, x: mul(t, sinh(x)), "The hyperbolic cosine.")
tanh_p, tanh = _unary(
    "tanh", INEXACT, np.tanh, lambda t, o, x: mul(t, mul(add(o, 1), sub(1, o))), "The hyperbolic tangent."
)
asinh_p, asinh = _unary(
    "asinh", INEXACT, np.arcsinh, lambda t, o, x: mul(t, rsqrt(add(square(x), 1))), "The inverse hyperbolic sine."
)
acosh_p, acosh = _unary("acosh", INEXACT, np.arccosh, _acosh_jvp, "The inverse hyperbolic cosine.")
atanh_p, atanh = _unary(
    "atanh", INEXACT, np.arctanh, lambda t, o, x: div(t, mul(sub(1, x), add(x, 1))), "The inverse hyperbolic tangent."
)
atan2_p, atan2 = _binary(
    "atan2", FLOAT, np.arctan2,
    [
        lambda t, o, x, y: mul(t, div(y, add(square(x), square(y)))),
        lambda t, o, x, y: mul(t, neg(div(x, add(square(x), square(y))))),
    ],
    "The angle of the point (y, x): arctan(x / y) in the right quadrant.",
)  # fmt: skip
atan2_p.no_transpose(NOT_LINEAR)

# -------------------------------------------------------------------------------- special functions


def trigamma(x: Value) -> Value:
    """The second derivative of log Gamma(x), composed of primitives, so that it can be differentiated again.

    Recurrence up to x >= 8.5, then the asymptotic series 1/z + 1/(2 z^2) + sum B_2k / z^(2k+1); for x < 1/2 the
    reflection formula psi'(1 - x) + psi'(x) = (pi / sin(pi x))^2.
    """
    dtype = aval_of(x).dtype
    if dtype.itemsize == 2:
        return convert_element_type(trigamma(convert_element_type(x, dtypes.float32)), dtype)
    left = lt(x, 0.5)
    y = select(left, sub(1, x), x)
    total = integer_pow(y, -2)
    for k in range(1, 8):
        total = add(total, integer_pow(add(y, k), -2))
    z = div(1, add(y, 8))
    w = square(z)
    series = full_like(w, -3617.0 / 510.0)
    for bernoulli in (7.0 / 6.0, -691.0 / 2730.0, 5.0 / 66.0, -1.0 / 30.0, 1.0 / 42.0, -1.0 / 30.0, 1.0 / 6.0):
        series = add(mul(series, w), bernoulli)
    right = add(total, mul(z, add(add(mul(z, 0.5), 1), mul(w, series))))
    # The sine is taken of a harmless number on the right, where its poles would make the derivative NaN.
    u = select(left, x, full_like(x, 0.25))
    sine = sin(mul(sub(u, round(u)), math.pi))
    return select(left, sub(square(div(math.pi, sine)), right), right)


erf_p, erf = _unary("erf", FLOAT, special_math.erf, lambda t, o, x: mul(t, _erf_slope(x)), "The error function.")
erfc_p, erfc = _unary("erfc", FLOAT, special_math.erfc, lambda t, o, x: mul(t, neg(_erf_slope(x))), "1 - erf(x)")
erf_inv_p, erf_inv = _unary(
    "erf_inv",
    FLOAT,
    special_math.erf_inv,
    lambda t, o, x: mul(t, mul(exp(square(o)), _SQRT_PI / 2.0)),
    "The inverse of erf.",
)
lgamma_p, lgamma = _unary("lgamma", FLOAT, special_math.lgamma, lambda t, o, x: mul(t, digamma(x)), "log |Gamma(x)|")
digamma_p, digamma = _unary(
    "digamma", FLOAT, special_math.digamma, lambda t, o, x: mul(t, trigamma(x)), "The derivative of lgamma."
)

# ------------------------------------------------------------------------------- order and remainder


def _share(x: Value, out: Value, y: Value) -> Value:
    """1 where x is the extreme of x and y, 1/2 where both are, else 0."""
    half_or_one = select(eq(y, out), full_like(x, 0.5), full_like(x, 1))
    return select(eq(x, out), half_or_one, zeros_like(x))


_EXTREME_DERIVATIVES = [lambda t, o, x, y: mul(t, _share(x, o, y)), lambda t, o, x, y: mul(t, _share(y, o, x))]
max_p, max = _binary(
    "max", ANY, np.maximum, _EXTREME_DERIVATIVES, "The greater; NaN if either is; complex numbers lexicographically."
)
min_p, min = _binary(
    "min", ANY, np.minimum, _EXTREME_DERIVATIVES, "The smaller; NaN if either is; complex numbers lexicographically."
)
max_p.no_transpose(NOT_LINEAR)
min_p.no_transpose(NOT_LINEAR)


def _rem_jvp_divisor(t: Value, out: Value, x: Value, y: Value) -> Value:
    """-trunc(x / y)."""
    quotient = div(x, y)
    return mul(t, neg(mul(sign(quotient), floor(abs(quotient)))))


rem_p, rem = _binary(
    "rem", REAL, reference.rem, [lambda t, o, x, y: t, _rem_jvp_divisor],
    "x - y trunc(x / y), with the sign of x; an integer rem 0 is itself.",
)  # fmt: skip
rem_p.no_transpose(NOT_LINEAR)

_BOOLEAN = "its result is boolean"
eq_p, eq = _binary("eq", ANY, np.equal, _BOOLEAN, "x == y", result=_to_bool)
ne_p, ne = _binary("ne", ANY, np.not_equal, _BOOLEAN, "x != y", result=_to_bool)
lt_p, lt = _binary("lt", ORDERED, np.less, _BOOLEAN, "x < y", result=_to_bool)
le_p, le = _binary("le", ORDERED, np.less_equal, _BOOLEAN, "x <= y", result=_to_bool)
gt_p, gt = _binary("gt", ORDERED, np.greater, _BOOLEAN, "x > y", result=_to_bool)
ge_p, ge = _binary("ge", ORDERED, np.greater_equal, _BOOLEAN, "x >= y", result=_to_bool)

# -------------------------------------------------------------------------------------------- bits

not_p, bitwise_not = _unary("not", BITS, np.bitwise_not, INTEGERS_ONLY, "~x; logical for bool.")
and_p, bitwise_and = _binary("and", BITS, np.bitwise_and, INTEGERS_ONLY, "x & y; logical for bool.")
or_p, bitwise_or = _binary("or", BITS, np.bitwise_or, INTEGERS_ONLY, "x | y; logical for bool.")
xor_p, bitwise_xor = _binary("xor", BITS, np.bitwise_xor, INTEGERS_ONLY, "x ^ y; logical for bool.")
shift_left_p, shift_left = _binary(
    "shift_left", INTEGER, reference.shift_left, INTEGERS_ONLY, "x << y, and 0 where y is the width of x or more."
)
shift_right_logical_p, shift_right_logical = _binary(
    "shift_right_logical", INTEGER, reference.shift_right_logical, INTEGERS_ONLY, "x >> y with zeros moving in."
)
shift_right_arithmetic_p, shift_right_arithmetic = _binary(
    "shift_right_arithmetic",
    INTEGER,
    reference.shift_right_arithmetic,
    INTEGERS_ONLY,
    "x >> y with the top bit moving in.",
)
population_count_p, population_count = _unary(
    "population_count", INTEGER, reference.population_count, INTEGERS_ONLY, "The number of bits set."
)
clz_p, clz = _unary("clz", INTEGER, reference.clz, INTEGERS_ONLY, "The number of leading zero bits.")

# --------------------------------------------------------------------------------------- selection

select_n_p = Primitive("select_n", typed_by="rest")
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


def _broadcast_scalar(x: Value, like: Value) -> Value:
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
    return bind(select_n_p, _broadcast_scalar(which, cases[0]) if cases else which, *cases)


def select(pred: Value, on_true: Value, on_false: Value) -> Value:
    """on_true where pred, else on_false."""
    on_true, on_false = match_scalars(on_true, on_false)
    return select_n(pred, on_false, on_true)


def _clamp_impl(low: np.ndarray, x: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(low, x), high)


def _where(condition: Value, t: Value) -> Value:
    return select(condition, t, zeros_like(t))


clamp_p = _primitive(
    "clamp", ORDERED, _clamp_impl,
    [
        lambda t, o, low, x, high: _where(gt(low, x), t),
        lambda t, o, low, x, high: _where(bitwise_and(gt(x, low), lt(x, high)), t),
        lambda t, o, low, x, high: _where(lt(high, x), t),
    ],
    None, arity=3,
)  # fmt: skip
clamp_p.no_transpose(NOT_LINEAR)


def clamp(min: Value, x: Value, max: Value) -> Value:
    """min(max(min, x), max).  The bounds may be scalars; at a bound the derivative is 0."""
    low, x, high = match_scalars(min, x, max)
    return bind(clamp_p, _broadcast_scalar(low, x), x, _broadcast_scalar(high, x))


# -------------------------------------------------------------------------------------- conversion

convert_element_type_p = Primitive("convert_element_type", typed_by=None)
convert_element_type_p.def_abstract(lambda x, *, new_dtype, weak_type=False: Aval(x.shape, new_dtype, weak_type))
convert_element_type_p.def_impl(quiet(lambda x, *, new_dtype, weak_type=False: reference.convert(x, new_dtype)))
convert_element_type_p.def_batch(unary_batch(convert_element_type_p))
convert_element_type_p.def_transpose(
    lambda ct, inputs, *, new_dtype, weak_type=False: (convert_element_type(ct, inputs[0].aval.dtype),)
)


def _convert_jvp(t: Value, out: Value, x: Value, *, new_dtype: np.dtype, weak_type: bool = False) -> Value | None:
    return convert_element_type(t, new_dtype) if dtypes.is_inexact(new_dtype) else None


def_jvp_each(convert_element_type_p, _convert_jvp)


def convert_element_type(x: Value, new_dtype: Any) -> Value:
    """``x`` as another dtype.

    Floats to integers truncate and saturate, NaN becomes 0; complex to real drops the imaginary part; to bool is
    x != 0.
    """
    new = dtypes.canonical(new_dtype)
    aval = aval_of(x)
    if aval.dtype == new and not aval.weak and is_fx_value(x):
        return x
    return bind(convert_element_type_p, x, new_dtype=new)


def weakened(x: Value, dtype: np.dtype | None = None) -> Value:
    """``x`` in its own or another dtype, weak: as if it were made from Python numbers alone."""
    a = aval_of(x)
    d = a.dtype if dtype is None else dtype
    if dtypes.is_bool(d) or (a.weak and a.dtype == d and is_fx_value(x)):
        return x
    return bind(convert_element_type_p, x, new_dtype=d, weak_type=True)


bitcast_convert_type_p = Primitive("bitcast_convert_type", typed_by=())
bitcast_convert_type_p.def_impl(quiet(reference.bitcast))
bitcast_convert_type_p.no_gradient("the bits of a float are not a differentiable function of it")
bitcast_convert_type_p.def_batch(unary_batch(bitcast_convert_type_p))


@bitcast_convert_type_p.def_abstract
def _bitcast_abstract(x: Aval, *, new_dtype: np.dtype) -> Aval:
    for d in (x.dtype, new_dtype):
        if dtypes.is_bool(d) or dtypes.is_complex(d):
            raise DTypeError(f"bitcast_convert_type is between integers and floats, not {d}. Use convert_element_type.")
    if x.dtype.itemsize != new_dtype.itemsize:
        raise DTypeError(
            f"bitcast_convert_type needs dtypes of one size; {x.dtype} has {x.dtype.itemsize} bytes,"
            f" {new_dtype} has {new_dtype.itemsize}."
        )
    return Aval(x.shape, new_dtype)


def bitcast_convert_type(x: Value, new_dtype: Any) -> Value:
    """The same bits read as another dtype of the same size."""
    return bind(bitcast_convert_type_p, x, new_dtype=dtypes.canonical(new_dtype))


# ---------------------------------------------------------------------------------- identities

copy_p, copy = _unary("copy", ANY, np.array, None, "A copy in memory of its own.")
def_linear(copy_p, lambda ct, aval: ct)
stop_gradient_p, stop_gradient = _unary(
    "stop_gradient",
    ANY,
    np.asarray,
    "stopping derivatives is its purpose",
    "x, taken as a constant by every derivative.",
)

optimization_barrier_p = Primitive("optimization_barrier", multiple_results=True)
optimization_barrier_p.def_abstract(lambda *avals: avals)
optimization_barrier_p.def_impl(lambda *arrays: list(arrays))
optimization_barrier_p.def_batch(lambda size, args, dims: (bind(optimization_barrier_p, *args), list(dims)))


def _barrier_present(values: Sequence[Value | None]) -> list[Value | None]:
    """A barrier over those values that are not symbolic zeros."""
    present = iter(bind(optimization_barrier_p, *[v for v in values if v is not None]))
    return [None if v is None else next(present) for v in values]


optimization_barrier_p.def_jvp(lambda primals, tangents, out: _barrier_present(tangents))
optimization_barrier_p.def_transpose(lambda cts, inputs: tuple(_barrier_present(cts)))


def optimization_barrier(*operands: Value) -> list[Value]:
    """The operands; no pass moves or fuses operations across."""
    return bind(optimization_barrier_p, *operands)
