"""Elementwise primitives: arithmetic, transcendental functions, comparisons, bits, clamping; those of selection and
conversion, which their rules are written with, are found here too.

All operands of one equation have equal shapes and dtypes (``select_n``'s selector aside).  The functions are
as strict, but give a Python scalar the type of the array beside it.

A line of the tables is one primitive: its name, the dtypes that it takes, its NumPy reference, and its
derivative with respect to each operand as ``(t, out, *primals) -> contribution``, linear in ``t``.  Derivative
factors are computed from primals first and multiplied by ``t`` once, so the tangent graph stays small.
"""

# mypy: disable-error-code="has-type"
# (rules of derivatives name functions that the same line, or a later one, makes)
from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError
from ..primitive import Linear
from ..trace import aval_of, bind, is_python_scalar
from . import elementwise_reference as reference
from . import special_math
from .checks import ANY, BITS, COMPLEX, FLOAT, INEXACT, INTEGER, NUMBER, ORDERED, REAL, DTypeClass
from .conversion import (
    bitcast_convert_type,
    bitcast_convert_type_p,
    convert_element_type,
    convert_element_type_p,
    copy,
    copy_p,
    optimization_barrier,
    optimization_barrier_p,
    stop_gradient,
    stop_gradient_p,
    weakened,
)
from .elementwise_tables import INTEGERS_ONLY, NOT_LINEAR, PIECEWISE_CONSTANT, binary, primitive, to_bool, unary
from .helpers import Value, bind_stretched, def_linear, full_like, match_scalars, zeros_like
from .selection import broadcast_scalar, select, select_n, select_n_p

__all__ = [
    "RoundingMethod", "abs", "abs_p", "acos", "acos_p", "acosh",
    "acosh_p", "add", "add_p", "and_p", "asin", "asin_p", "asinh", "asinh_p", "atan", "atan2", "atan2_p", "atan_p",
    "atanh", "atanh_p", "bitcast_convert_type", "bitcast_convert_type_p", "bitwise_and", "bitwise_not", "bitwise_or",
    "bitwise_xor", "cbrt", "cbrt_p", "ceil", "ceil_p", "clamp", "clamp_p", "clz", "clz_p", "complex", "complex_p",
    "conj", "conj_p", "convert_element_type", "convert_element_type_p", "copy", "copy_p", "cos", "cos_p", "cosh",
    "cosh_p", "digamma", "digamma_p", "div", "div_p", "eq", "eq_p", "erf", "erf_inv", "erf_inv_p", "erf_p", "erfc",
    "erfc_p", "exp", "exp2", "exp2_p", "exp_p", "expm1", "expm1_p", "floor", "floor_p", "gcd", "gcd_p", "ge", "ge_p", "gt", "gt_p",
    "imag", "imag_p", "integer_pow", "integer_pow_p", "is_finite", "is_finite_p", "le", "le_p", "lgamma", "lgamma_p",
    "log", "log1p", "log1p_p", "log2", "log2_p", "log_p", "logistic", "logistic_p", "lt", "lt_p", "max", "max_p", "min", "min_p", "mul",
    "mul_p", "ne", "ne_p", "neg", "neg_p", "nextafter", "nextafter_p", "not_p", "optimization_barrier",
    "optimization_barrier_p", "or_p", "population_count", "population_count_p", "pow", "pow_p", "real", "real_p", "rem",
    "rem_p", "round", "round_p", "rsqrt", "rsqrt_p", "select", "select_n", "select_n_p", "shift_left", "shift_left_p",
    "shift_right_arithmetic", "shift_right_arithmetic_p", "shift_right_logical", "shift_right_logical_p", "sign",
    "sign_p", "sin", "sin_p", "sinh", "sinh_p", "sqrt", "sqrt_p", "square", "square_p", "stop_gradient",
    "stop_gradient_p", "sub", "sub_p", "tan", "tan_p", "tanh", "tanh_p", "trigamma", "weakened", "xor_p",
]  # fmt: skip

# ------------------------------------------------------------------------------- linear arithmetic

neg_p, neg = unary("neg", NUMBER, np.negative, None, "-x; unsigned integers wrap.")
add_p, add = binary("add", NUMBER, np.add, [lambda t, o, x, y: t, lambda t, o, x, y: t], "x + y")
sub_p, sub = binary("sub", NUMBER, np.subtract, [lambda t, o, x, y: t, lambda t, o, x, y: neg(t)], "x - y")
mul_p, mul = binary("mul", NUMBER, np.multiply, [lambda t, o, x, y: mul(t, y), lambda t, o, x, y: mul(x, t)], "x * y")
div_p, div = binary(
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

real_p, real = unary("real", COMPLEX, np.real, None, "The real part.", result=dtypes.real_dtype)
imag_p, imag = unary("imag", COMPLEX, np.imag, None, "The imaginary part.", result=dtypes.real_dtype)
conj_p, _conj = unary("conj", COMPLEX, np.conjugate, None, "The complex conjugate.")


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
complex_p, complex = binary(
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


sign_p, sign = unary(
    "sign", NUMBER, reference.sign, _sign_jvp, "-1, 0 (of -0.0, too) or 1; NaN stays; x / |x| for complex numbers."
)
abs_p, abs = unary("abs", NUMBER, np.abs, _abs_jvp, "|x|, real for complex numbers.", result=dtypes.real_dtype)
floor_p, floor = unary("floor", FLOAT, np.floor, PIECEWISE_CONSTANT, "The greatest integer that is at most x.")
ceil_p, ceil = unary("ceil", FLOAT, np.ceil, PIECEWISE_CONSTANT, "The least integer that is at least x.")
round_p = primitive("round", FLOAT, reference.round_, PIECEWISE_CONSTANT, None, arity=1)
is_finite_p, is_finite = unary(
    "is_finite", FLOAT, np.isfinite, PIECEWISE_CONSTANT, "False for NaN and infinities.", result=to_bool
)
nextafter_p, nextafter = binary(
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


square_p, square = unary("square", NUMBER, np.square, lambda t, o, x: mul(t, mul(x, 2)), "x * x")
sqrt_p, sqrt = unary("sqrt", INEXACT, np.sqrt, lambda t, o, x: mul(t, div(0.5, o)), "The square root.")
rsqrt_p, rsqrt = unary("rsqrt", INEXACT, reference.rsqrt, lambda t, o, x: mul(t, mul(div(o, x), -0.5)), "1 / sqrt(x)")
cbrt_p, cbrt = unary("cbrt", FLOAT, np.cbrt, _cbrt_jvp, "The real cube root.")


def _integer_pow_jvp(t: Value, out: Value, x: Value, *, y: int) -> Value | None:
    """y x**(y - 1), which is 0 (not NaN) at x = 0 for y = 0."""
    if y == 0:
        return None
    return t if y == 1 else mul(t, mul(integer_pow(x, y - 1), y))


integer_pow_p = primitive("integer_pow", NUMBER, reference.integer_pow, [_integer_pow_jvp], None, arity=1)
integer_pow_p.no_transpose(NOT_LINEAR)


def integer_pow(x: Value, y: int) -> Value:
    """x to the power of a Python integer.

    Raises:
        DTypeError: an integer array to a negative power; an exponent that is no integer.
    """
    if not hasattr(y, "__index__") or aval_of(y).shape:
        raise DTypeError(f"integer_pow: the exponent must be a Python integer; found {y!r}. For other exponents: pow.")
    if y < 0 and dtypes.is_integer(aval_of(x).dtype):
        raise DTypeError(f"integer_pow: integers have no power {y}. Convert to a float dtype first.")
    return bind(integer_pow_p, x, y=int(y))


def _pow_jvp_base(t: Value, out: Value, x: Value, y: Value) -> Value:
    """y x**(y - 1), and 0 where y is 0 even at x = 0 (only there is the exponent another: y may be differentiated next)."""
    exponent = sub(y, 1)
    exponent = select(eq(y, 0), select(eq(x, 0), full_like(y, 1), exponent), exponent)
    return mul(t, mul(y, pow(x, exponent)))


def _pow_jvp_exponent(t: Value, out: Value, x: Value, y: Value) -> Value:
    """log(x) x**y, with the limit 0 at x = 0."""
    return mul(t, mul(log(_replace_zero(x)), out))


pow_p = primitive("pow", NUMBER, reference.pow_, [_pow_jvp_base, _pow_jvp_exponent], None, arity=2)
pow_p.no_transpose(NOT_LINEAR)


def pow(x: Value, y: Value) -> Value:
    """x to the power y, both of one dtype; a Python int as y makes it ``integer_pow``.  Integers wrap, and to a negative
    power they are 0 (1 and -1 are what they are)."""
    if type(y) is int and not is_python_scalar(x):
        return integer_pow(x, y)
    x, y = match_scalars(x, y)
    d = aval_of(x).dtype
    if dtypes.is_integer(aval_of(y).dtype) and dtypes.is_inexact(d):
        y = convert_element_type(y, d)
    return bind_stretched(pow_p, x, y)


# --------------------------------------------------------------------- exponentials and logarithms

_SQRT_PI = math.sqrt(math.pi)


def _acosh_jvp(t: Value, out: Value, x: Value) -> Value:
    """1 / (sqrt(x - 1) sqrt(x + 1)): one root each, for the branch cut of complex x."""
    return mul(t, mul(rsqrt(sub(x, 1)), rsqrt(add(x, 1))))


def _scaled(t: Value, by: float) -> Value:
    """A product with a real number, which of a complex infinity is none with a complex one of no imaginary part: that is NaN."""
    return complex(mul(real(t), by), mul(imag(t), by)) if dtypes.is_complex(aval_of(t).dtype) else mul(t, by)


def _erf_slope(x: Value) -> Value:
    return mul(exp(neg(square(x))), 2.0 / _SQRT_PI)


exp_p, exp = unary("exp", INEXACT, np.exp, lambda t, o, x: mul(t, o), "e**x")
exp2_p, exp2 = unary("exp2", INEXACT, reference.exp2, lambda t, o, x: mul(t, mul(o, math.log(2.0))), "2**x")
expm1_p, expm1 = unary(
    "expm1", INEXACT, reference.expm1, lambda t, o, x: mul(t, add(o, 1)), "e**x - 1, accurate near 0."
)
log_p, log = unary("log", INEXACT, np.log, lambda t, o, x: div(t, x), "The natural logarithm.")
log1p_p, log1p = unary(
    "log1p", INEXACT, reference.log1p, lambda t, o, x: div(t, add(x, 1)), "log(1 + x), accurate near 0."
)
log2_p, log2 = unary(
    "log2", INEXACT, np.log2, lambda t, o, x: div(_scaled(t, 1 / math.log(2.0)), x), "The logarithm to base 2."
)
logistic_p, logistic = unary(
    "logistic", INEXACT, reference.logistic, lambda t, o, x: mul(t, mul(o, sub(1, o))), "1 / (1 + exp(-x))"
)

# ------------------------------------------------------------------ trigonometric, hyperbolic functions

sin_p, sin = unary("sin", INEXACT, np.sin, lambda t, o, x: mul(t, cos(x)), "The sine.")
cos_p, cos = unary("cos", INEXACT, np.cos, lambda t, o, x: mul(t, neg(sin(x))), "The cosine.")
tan_p, tan = unary("tan", INEXACT, np.tan, lambda t, o, x: mul(t, add(square(o), 1)), "The tangent.")
asin_p, asin = unary("asin", INEXACT, np.arcsin, lambda t, o, x: mul(t, rsqrt(sub(1, square(x)))), "The inverse sine.")
acos_p, acos = unary(
    "acos", INEXACT, np.arccos, lambda t, o, x: mul(t, neg(rsqrt(sub(1, square(x))))), "The inverse cosine."
)
atan_p, atan = unary("atan", INEXACT, np.arctan, lambda t, o, x: div(t, add(square(x), 1)), "The inverse tangent.")
sinh_p, sinh = unary("sinh", INEXACT, np.sinh, lambda t, o, x: mul(t, cosh(x)), "The hyperbolic sine.")
cosh_p, cosh = unary("cosh", INEXACT, np.cosh, lambda t, o, x: mul(t, sinh(x)), "The hyperbolic cosine.")
tanh_p, tanh = unary(
    "tanh", INEXACT, reference.tanh, lambda t, o, x: mul(t, mul(add(o, 1), sub(1, o))), "The hyperbolic tangent."
)


def _times(slope: Callable[..., Value]) -> Callable[..., Value]:
    """The rule of a derivative that has squares in it, which leave the range of float16 early: 16-bit floats in float32."""

    def rule(t: Value, out: Value, *xs: Value) -> Value:
        d = aval_of(xs[0]).dtype
        if not (dtypes.is_float(d) and d.itemsize == 2):
            return mul(t, slope(*xs))
        wide = [convert_element_type(x, dtypes.float32) for x in xs]
        return mul(t, convert_element_type(slope(*wide), d))

    return rule


asinh_p, asinh = unary(
    "asinh", INEXACT, np.arcsinh, _times(lambda x: rsqrt(add(square(x), 1))), "The inverse hyperbolic sine."
)
acosh_p, acosh = unary("acosh", INEXACT, np.arccosh, _acosh_jvp, "The inverse hyperbolic cosine.")
atanh_p, atanh = unary(
    "atanh", INEXACT, np.arctanh, lambda t, o, x: div(t, mul(sub(1, x), add(x, 1))), "The inverse hyperbolic tangent."
)
atan2_p, atan2 = binary(
    "atan2", FLOAT, np.arctan2,
    [
        _times(lambda x, y: div(y, add(square(x), square(y)))),
        _times(lambda x, y: neg(div(x, add(square(x), square(y))))),
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


erf_p, erf = unary("erf", FLOAT, special_math.erf, lambda t, o, x: mul(t, _erf_slope(x)), "The error function.")
erfc_p, erfc = unary("erfc", FLOAT, special_math.erfc, lambda t, o, x: mul(t, neg(_erf_slope(x))), "1 - erf(x)")
erf_inv_p, erf_inv = unary(
    "erf_inv",
    FLOAT,
    special_math.erf_inv,
    lambda t, o, x: mul(t, mul(exp(square(o)), _SQRT_PI / 2.0)),
    "The inverse of erf.",
)
lgamma_p, lgamma = unary("lgamma", FLOAT, special_math.lgamma, lambda t, o, x: mul(t, digamma(x)), "log |Gamma(x)|")
digamma_p, digamma = unary(
    "digamma", FLOAT, special_math.digamma, lambda t, o, x: mul(t, trigamma(x)), "The derivative of lgamma."
)

# ------------------------------------------------------------------------------- order and remainder


def _share(x: Value, out: Value, y: Value) -> Value:
    """1 where x is the extreme of x and y, 1/2 where both are, else 0."""
    half_or_one = select(eq(y, out), full_like(x, 0.5), full_like(x, 1))
    return select(eq(x, out), half_or_one, zeros_like(x))


_EXTREME_DERIVATIVES = [lambda t, o, x, y: mul(t, _share(x, o, y)), lambda t, o, x, y: mul(t, _share(y, o, x))]
max_p, max = binary(
    "max", ANY, np.maximum, _EXTREME_DERIVATIVES, "The greater; NaN if either is; complex numbers lexicographically."
)
min_p, min = binary(
    "min", ANY, np.minimum, _EXTREME_DERIVATIVES, "The smaller; NaN if either is; complex numbers lexicographically."
)
max_p.no_transpose(NOT_LINEAR)
min_p.no_transpose(NOT_LINEAR)


def _rem_jvp_divisor(t: Value, out: Value, x: Value, y: Value) -> Value:
    """-trunc(x / y), as the whole number that (x - out) / y is: x / y may round up to the next one."""
    return mul(t, neg(round(div(sub(x, out), y))))


rem_p, rem = binary(
    "rem", REAL, reference.rem, [lambda t, o, x, y: t, _rem_jvp_divisor],
    "x - y trunc(x / y), with the sign of x; an integer rem 0 is itself.",
)  # fmt: skip
rem_p.no_transpose(NOT_LINEAR)

_BOOLEAN = "its result is boolean"
eq_p, eq = binary("eq", ANY, np.equal, _BOOLEAN, "x == y", result=to_bool)
ne_p, ne = binary("ne", ANY, np.not_equal, _BOOLEAN, "x != y", result=to_bool)
lt_p, lt = binary("lt", ORDERED, np.less, _BOOLEAN, "x < y", result=to_bool)
le_p, le = binary("le", ORDERED, np.less_equal, _BOOLEAN, "x <= y", result=to_bool)
gt_p, gt = binary("gt", ORDERED, np.greater, _BOOLEAN, "x > y", result=to_bool)
ge_p, ge = binary("ge", ORDERED, np.greater_equal, _BOOLEAN, "x >= y", result=to_bool)

# -------------------------------------------------------------------------------------------- bits

not_p, bitwise_not = unary("not", BITS, np.bitwise_not, INTEGERS_ONLY, "~x; logical for bool.")
and_p, bitwise_and = binary("and", BITS, np.bitwise_and, INTEGERS_ONLY, "x & y; logical for bool.")
or_p, bitwise_or = binary("or", BITS, np.bitwise_or, INTEGERS_ONLY, "x | y; logical for bool.")
xor_p, bitwise_xor = binary("xor", BITS, np.bitwise_xor, INTEGERS_ONLY, "x ^ y; logical for bool.")
shift_left_p, shift_left = binary(
    "shift_left", INTEGER, reference.shift_left, INTEGERS_ONLY, "x << y, and 0 where y is the width of x or more."
)
shift_right_logical_p, shift_right_logical = binary(
    "shift_right_logical", INTEGER, reference.shift_right_logical, INTEGERS_ONLY, "x >> y with zeros moving in."
)
shift_right_arithmetic_p, shift_right_arithmetic = binary(
    "shift_right_arithmetic",
    INTEGER,
    reference.shift_right_arithmetic,
    INTEGERS_ONLY,
    "x >> y with the top bit moving in.",
)
population_count_p, population_count = unary(
    "population_count", INTEGER, reference.population_count, INTEGERS_ONLY, "The number of bits set."
)
clz_p, clz = unary("clz", INTEGER, reference.clz, INTEGERS_ONLY, "The number of leading zero bits.")
gcd_p, gcd = binary("gcd", INTEGER, np.gcd, INTEGERS_ONLY, "The greatest common divisor of |x| and |y|.")

# ---------------------------------------------------------------------------------------- clamping


def _clamp_impl(low: np.ndarray, x: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(low, x), high)


def _where(condition: Value, t: Value) -> Value:
    return select(condition, t, zeros_like(t))


clamp_p = primitive(
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
    """min(max(min, x), max).  The bounds may be scalars; at a bound the derivative is 0.

    >>> import fx, numpy as np
    >>> fx.lax.clamp(0.0, np.array([-1.0, 0.5, 2.0]), 1.0)
    Array([0. , 0.5, 1. ], dtype=float64)
    """
    low, x, high = match_scalars(min, x, max)
    return bind(clamp_p, broadcast_scalar(low, x), x, broadcast_scalar(high, x))
