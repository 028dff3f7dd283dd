"""Elementwise functions of one array: NumPy's unary ufuncs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..config import in_full_width
from ..errors import DTypeError
from ..primitive import Primitive
from ..primitives import elementwise as p
from ..primitives import helpers
from . import bessel
from .core import Value, as_type, as_value, aval_of, filled, inexact, promote_inexact
from .ufunc_class import Ufunc, define
from .ufunc_quick import FLOATS, INEXACT, LOGIC, NUMBERS, SINGLE_AND_DOUBLE

__all__ = [
    "abs", "absolute", "acos", "acosh", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "asin", "asinh", "atan", "atanh",
    "bitwise_count", "bitwise_invert", "bitwise_not", "cbrt", "ceil", "conj", "conjugate", "cos", "cosh", "deg2rad", "degrees", "exp",
    "exp2", "expm1", "fabs", "fix", "floor", "frexp", "i0", "imag", "invert", "isfinite", "isinf", "isnan", "log", "log10", "log1p", "log2",
    "logical_not", "modf", "negative", "positive", "rad2deg", "radians", "real", "reciprocal", "rint", "sign", "signbit", "sin", "sinc",
    "sinh", "spacing", "sqrt", "square", "tan", "tanh", "trunc",
]  # fmt: skip


def constant(x: Value, number: float) -> Value:
    """A Python number in the type of ``x``."""
    return helpers.full_like(x, number)


def is_exact(x: Value) -> bool:
    return not dtypes.is_inexact(aval_of(x).dtype)


def is_bool(x: Value) -> bool:
    return aval_of(x).dtype == dtypes.bool_


def is_complex(x: Value) -> bool:
    return dtypes.is_complex(aval_of(x).dtype)


def no_complex(name: str, x: Value) -> None:
    """Raises DTypeError for a complex array."""
    if is_complex(x):
        raise DTypeError(f"{name} is not defined for complex arrays; found {aval_of(x)}. Take the real part, or abs.")


# ----------------------------------------------------------------------------- floats out of any number


def _float(
    name: str, prim: Primitive | None, f: Callable[..., Value], doc: str, alias: str = "", takes: frozenset[np.dtype] = INEXACT
) -> Ufunc:  # fmt: skip
    """A function that turns integers into floats first."""

    def g(x: Value) -> Value:
        (v,) = promote_inexact(x)
        if takes is FLOATS:
            no_complex(name, v)
        return f(v)

    return define(name, 1, g, doc, eager=None if prim is None else (prim, takes), aliases=(alias,) if alias else ())


exp = _float("exp", p.exp_p, p.exp, "e to the power x.")
exp2 = _float("exp2", p.exp2_p, p.exp2, "2 to the power x.")
expm1 = _float("expm1", p.expm1_p, p.expm1, "exp(x) - 1, exact for small x.")
log = _float("log", p.log_p, p.log, "The natural logarithm.")
log2 = _float("log2", p.log2_p, p.log2, "The logarithm to base 2, exact where x is a power of two.")
log1p = _float("log1p", p.log1p_p, p.log1p, "log(1 + x), exact for small x.")
sqrt = _float("sqrt", p.sqrt_p, p.sqrt, "The square root; NaN for negative x.")
cbrt = _float("cbrt", p.cbrt_p, p.cbrt, "The cube root.", takes=FLOATS)
sin = _float("sin", p.sin_p, p.sin, "The sine of x in radians.")
cos = _float("cos", p.cos_p, p.cos, "The cosine of x in radians.")
tan = _float("tan", p.tan_p, p.tan, "The tangent of x in radians.")
arcsin = asin = _float("arcsin", p.asin_p, p.asin, "The inverse sine, in radians.", "asin")
arccos = acos = _float("arccos", p.acos_p, p.acos, "The inverse cosine, in radians.", "acos")
arctan = atan = _float("arctan", p.atan_p, p.atan, "The inverse tangent, in radians.", "atan")
sinh = _float("sinh", p.sinh_p, p.sinh, "The hyperbolic sine.")
cosh = _float("cosh", p.cosh_p, p.cosh, "The hyperbolic cosine.")
tanh = _float("tanh", p.tanh_p, p.tanh, "The hyperbolic tangent.")
arcsinh = asinh = _float("arcsinh", p.asinh_p, p.asinh, "The inverse hyperbolic sine.", "asinh")
arccosh = acosh = _float("arccosh", p.acosh_p, p.acosh, "The inverse hyperbolic cosine.", "acosh")
arctanh = atanh = _float("arctanh", p.atanh_p, p.atanh, "The inverse hyperbolic tangent.", "atanh")


def rounded_once(f: Callable[..., Value]) -> Callable[..., Value]:
    """``f`` of several steps with 16-bit floats computed in float32 and rounded at the end, as NumPy does."""

    def g(*xs: Value) -> Value:
        d = aval_of(xs[0]).dtype
        if not (dtypes.is_float(d) and d.itemsize == 2):
            return f(*xs)
        return as_type(f(*[as_type(x, dtypes.float32) for x in xs]), d)

    return g


def _composed(
    name: str, f: Callable[[Value], Value], doc: str, alias: str = "", real: bool = False, known: np.ufunc | None = None
) -> Ufunc:
    """``_float`` of several primitives; ``known``: the ufunc of NumPy that gives the same."""
    compute = rounded_once(f)

    def g(x: Value) -> Value:
        (v,) = promote_inexact(x)
        if real:
            no_complex(name, v)
        return compute(v)

    eager = None if known is None else (known, SINGLE_AND_DOUBLE)
    return define(name, 1, g, doc, eager=eager, aliases=(alias,) if alias else ())


def _sinc(x: Value) -> Value:
    """sin(pi x) / (pi x), and near 0 its Taylor series, so that derivatives are right there.

    The series sees 0 elsewhere: what overflows in a branch that is not taken makes derivatives NaN.
    """
    y = p.mul(x, constant(x, np.pi))
    size = p.abs(y)
    near = p.lt(size, constant(size, 0.1))
    safe, small = p.select(near, constant(y, 1), y), p.select(near, y, constant(y, 0))
    z = p.mul(small, small)
    series = constant(x, 1 / math.factorial(9))
    for k in (7, 5, 3, 1):
        series = p.add(p.mul(series, z), constant(x, (-1) ** (k // 2) / math.factorial(k)))
    return p.select(near, series, p.div(p.sin(safe), safe))


def _rint(x: Value) -> Value:
    return p.complex(_rint(p.real(x)), _rint(p.imag(x))) if is_complex(x) else p.round(x, "to_even")


def _spacing(x: Value) -> Value:
    size = p.abs(x)
    step = p.sub(p.nextafter(size, constant(x, np.inf)), size)
    return p.select(_signbit(x), p.neg(step), step)


@in_full_width
def _log10(x: Value) -> Value:
    """log(x) / log(10), a whole number where x is 10 to a whole power, as in NumPy: floor and ceil of it count.

    The parts of a complex logarithm are divided by the real number one by one, as infinities need.
    """
    if aval_of(x).dtype == dtypes.float32:  # in float64 it is so without looking for the whole powers
        y = p.log(p.convert_element_type(x, dtypes.float64))
        y = p.convert_element_type(p.div(y, constant(y, np.log(10))), dtypes.float32)
        return p.weakened(y) if aval_of(x).weak else y
    y = p.log(x)
    if is_complex(y):
        return p.complex(*[p.div(part(y), constant(part(y), np.log(10))) for part in (p.real, p.imag)])
    y = p.div(y, constant(y, np.log(10)))
    whole = p.round(y, "to_even")
    off = p.sub(whole, y)
    exact = p.bitwise_and(p.eq(p.pow(constant(y, 10), whole), x), p.is_finite(off))
    # added to y, so that the derivative stays that of y
    return p.add(y, p.stop_gradient(p.select(exact, off, constant(off, 0))))


log10 = _composed("log10", _log10, "The logarithm to base 10.", known=np.log10)
deg2rad = radians = _composed("deg2rad", lambda x: p.mul(x, constant(x, np.pi / 180)), "Degrees to radians.", "radians")
rad2deg = degrees = _composed("rad2deg", lambda x: p.mul(x, constant(x, 180 / np.pi)), "Radians to degrees.", "degrees")
sinc = _composed("sinc", _sinc, "sin(pi x) / (pi x), 1 at 0.")
rint = _composed("rint", _rint, "The nearest integer, halves to even.", known=np.rint)
fabs = _composed("fabs", p.abs, "|x| as a float.", real=True, known=np.fabs)
reciprocal = _composed("reciprocal", lambda x: p.div(constant(x, 1), x), "1 / x, always a float.", known=np.reciprocal)
spacing = _float(
    "spacing", None, lambda x: _spacing(x), "The distance from x to the next float away from 0.", takes=FLOATS
)
i0 = _composed(
    "i0",
    lambda x: p.mul(p.exp(p.abs(x)), bessel.i0e(x)),
    "The modified Bessel function of the first kind, of order 0.",
    real=True,
)

# --------------------------------------------------------------------------------- the dtype of the operand


def _rounding(name: str, prim: Primitive | None, f: Callable[[Value], Value], doc: str, alias: str = "") -> Ufunc:
    """A function that leaves integers as they are."""

    def g(x: Value) -> Value:
        no_complex(name, x)
        return x if is_exact(x) else f(x)

    return define(name, 1, g, doc, eager=None if prim is None else (prim, FLOATS), aliases=(alias,) if alias else ())


def _negative(x: Value) -> Value:
    if is_bool(x):
        raise DTypeError("the negative of a boolean array is not defined; use logical_not (~x)")
    return p.neg(x)


def _trunc(x: Value) -> Value:
    return p.select(p.lt(x, constant(x, 0)), p.ceil(x), p.floor(x))


floor = _rounding("floor", p.floor_p, p.floor, "The greatest integer that is at most x.")
ceil = _rounding("ceil", p.ceil_p, p.ceil, "The least integer that is at least x.")
trunc = fix = _rounding("trunc", None, _trunc, "The integer part: rounded towards 0.", "fix")
negative = define("negative", 1, _negative, "-x.", eager=(p.neg_p, NUMBERS))
positive = define("positive", 1, lambda x: x, "+x.")
absolute = abs = define(
    "absolute",
    1,
    lambda x: x if is_bool(x) else p.abs(x),
    "|x|; real for complex x.",
    eager=(p.abs_p, NUMBERS),
    aliases=("abs",),
)
sign = define("sign", 1, p.sign, "-1, 0 or 1; x / |x| for complex x.", eager=(p.sign_p, NUMBERS))
square = define("square", 1, lambda x: p.square(as_number(x)), "x * x.", eager=(p.square_p, NUMBERS))
conjugate = conj = define(
    "conjugate", 1, lambda x: p.conj(x) if is_complex(x) else x, "The complex conjugate.", aliases=("conj",)
)
real = define("real", 1, lambda x: p.real(x) if is_complex(x) else x, "The real part.")
imag = define(
    "imag", 1, lambda x: p.imag(x) if is_complex(x) else filled(x.shape, False, x.dtype), "The imaginary part."
)


def as_number(x: Value) -> Value:
    """Booleans as int32, for arithmetic that has no boolean form."""
    return as_type(x, np.int32) if is_bool(x) else x


# -------------------------------------------------------------------------------------- questions


def _answer(x: Value, yes: bool) -> Value:
    return filled(x.shape, yes, dtypes.bool_)


def _isfinite(x: Value) -> Value:
    if is_complex(x):
        return p.bitwise_and(p.is_finite(p.real(x)), p.is_finite(p.imag(x)))
    return _answer(x, True) if is_exact(x) else p.is_finite(x)


def _isnan(x: Value) -> Value:
    return _answer(x, False) if is_exact(x) else p.ne(x, x)


def _isinf(x: Value) -> Value:
    if is_complex(x):
        return p.bitwise_or(_isinf(p.real(x)), _isinf(p.imag(x)))
    return _answer(x, False) if is_exact(x) else p.eq(p.abs(x), constant(x, np.inf))


def _signbit(x: Value) -> Value:
    no_complex("signbit", x)
    if is_bool(x):
        return _answer(x, False)
    if not is_exact(x):
        x = p.bitcast_convert_type(x, np.dtype(f"int{8 * aval_of(x).dtype.itemsize}"))
    return p.lt(x, constant(x, 0))


isfinite = define("isfinite", 1, _isfinite, "Neither NaN nor infinite.", eager=(p.is_finite_p, FLOATS))
isnan = define("isnan", 1, _isnan, "Is NaN.", eager=(np.isnan, SINGLE_AND_DOUBLE))
isinf = define("isinf", 1, _isinf, "Is inf or -inf.", eager=(np.isinf, SINGLE_AND_DOUBLE))
signbit = define("signbit", 1, _signbit, "The sign bit is set (true for -0.0).", eager=(np.signbit, SINGLE_AND_DOUBLE))

# ------------------------------------------------------------------------------------------- bits


def exact_only(name: str, *xs: Value) -> None:
    """Raises DTypeError unless the operands are integers or booleans."""
    for x in xs:
        if not is_exact(x):
            raise DTypeError(f"{name} needs integer or boolean operands; found {aval_of(x)}")


def truth(x: Value) -> Value:
    """x != 0, as a boolean array."""
    x = as_value(x)
    return x if is_bool(x) else p.ne(x, constant(x, 0))


def _invert(x: Value) -> Value:
    exact_only("invert", x)
    return p.bitwise_not(x)


def _bitwise_count(x: Value) -> Value:
    exact_only("bitwise_count", x)
    x = as_type(x, np.uint8) if is_bool(x) else p.abs(x)
    return as_type(p.population_count(x), np.uint8)


invert = bitwise_not = bitwise_invert = define(
    "invert",
    1,
    _invert,
    "Bitwise not; logical not for booleans.",
    eager=(p.not_p, LOGIC),
    aliases=("bitwise_not", "bitwise_invert"),
)
bitwise_count = define("bitwise_count", 1, _bitwise_count, "The number of bits set in |x|.")
logical_not = define(
    "logical_not", 1, lambda x: p.bitwise_not(truth(x)), "not x.", eager=(p.not_p, frozenset({dtypes.bool_}))
)


# --------------------------------------------------------------------------------- two results


def modf(x: Any, /, out: Any = None) -> tuple[Value, Value]:
    """The fractional and the integral part, both with the sign of x."""
    (v,) = promote_inexact(as_value(x))
    no_complex("modf", v)
    whole = _trunc(v)
    infinite = _isinf(v)
    fraction = p.select(infinite, constant(v, 0), p.sub(v, p.select(infinite, constant(v, 0), whole)))
    return with_sign_of(fraction, v), with_sign_of(whole, v)


def with_sign_of(x: Value, y: Value) -> Value:
    """|x| with the sign of y, of one type."""
    return p.select(p.eq(_signbit(x), _signbit(y)), x, p.neg(x))


def float_fields(d: np.dtype) -> tuple[np.dtype, int, int]:
    """(the integer dtype of its size, mantissa bits, exponent bias) of float32 or float64."""
    return (np.dtype(np.int64), 52, 1023) if d == dtypes.float64 else (np.dtype(np.int32), 23, 127)


def frexp(x: Any, /, out: Any = None) -> tuple[Value, Value]:
    """``(m, e)`` with x = m 2**e and 0.5 <= |m| < 1 (m = x, e = 0 for zeros, infinities and NaN)."""
    v = as_value(x)
    v = as_type(v, inexact(v.dtype))
    no_complex("frexp", v)
    d = aval_of(v).dtype
    if d.itemsize == 2:
        m, e = frexp(as_type(v, np.float32))
        return as_type(m, d), e
    int_d, mantissa, bias = float_fields(d)
    tiny = p.lt(p.abs(v), constant(v, float(np.finfo(d).tiny)))
    normal = p.select(tiny, p.mul(v, constant(v, 2.0**mantissa)), v)
    bits = p.bitcast_convert_type(normal, int_d)
    mask = 2 * bias + 1
    e = p.bitwise_and(p.shift_right_logical(bits, constant(bits, mantissa)), constant(bits, mask))
    e = p.sub(e, constant(e, bias - 1))
    scale = p.bitcast_convert_type(p.shift_left(p.sub(constant(e, bias + 2), e), constant(e, mantissa)), d)  # 2^(2 - e)
    m = p.mul(p.mul(normal, scale), constant(v, 0.25))  # a product, exact, that has a derivative
    e = p.select(tiny, p.sub(e, constant(e, mantissa)), e)
    special = p.bitwise_or(p.eq(v, constant(v, 0)), p.bitwise_not(p.is_finite(v)))
    return p.select(special, v, m), as_type(p.select(special, constant(e, 0), e), np.int32)
