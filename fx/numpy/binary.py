"""Elementwise functions of two arrays: NumPy's binary ufuncs."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..array import Array
from ..errors import DTypeError
from ..primitive import Primitive
from ..primitives import elementwise as p
from ..trace import state
from .core import (
    Value,
    as_type,
    as_value,
    aval_of,
    broadcast_shapes,
    broadcast_value,
    filled,
    out_of_reach,
    promote_dtype,
    promote_operands,
    result_dtype,
)
from .ufunc_class import Ufunc, define, registered
from .ufunc_quick import FLOATS, INEXACT, INTEGERS, LOGIC, NUMBERS, ORDERED, SINGLE_AND_DOUBLE
from .unary import (
    as_number,
    constant,
    exact_only,
    float_fields,
    is_bool,
    is_complex,
    is_exact,
    isinf,
    isnan,
    no_complex,
    rounded_once,
    signbit,
    truth,
    with_sign_of,
)

__all__ = [
    "add", "arctan2", "atan2", "bitwise_and", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "copysign", "divide",
    "divmod", "equal", "float_power", "floor_divide", "fmax", "fmin", "fmod", "gcd", "greater", "greater_equal", "heaviside", "hypot", "lcm",
    "ldexp", "left_shift", "less", "less_equal", "logaddexp", "logaddexp2", "logical_and", "logical_or", "logical_xor", "maximum", "minimum",
    "mod", "multiply", "nextafter", "not_equal", "pow", "power", "remainder", "right_shift", "subtract", "true_divide",
]  # fmt: skip

Binary = Callable[[Value, Value], Value]


def _promoted(f: Binary, numbers: bool = False) -> Binary:
    """``f`` on operands of one dtype and shape; ``numbers``: booleans as int32."""

    def g(x: Value, y: Value) -> Value:
        if numbers and is_bool(x) and is_bool(y):
            x, y = as_number(x), as_number(y)
        return f(*promote_operands(x, y))

    return g


def _float(name: str, f: Binary, real: bool = True) -> Binary:
    """``f`` on operands of one inexact dtype and shape."""

    def g(x: Value, y: Value) -> Value:
        x, y = promote_operands(x, y, to_float=True)
        if real:
            no_complex(name, x)
        return f(x, y)

    return g


# ------------------------------------------------------------------------------------- arithmetic


def _or_logical(f: Binary, logical: Binary) -> Binary:
    """``f``, or a logical operation on booleans."""
    return _promoted(lambda x, y: logical(x, y) if is_bool(x) else f(x, y))


def _subtract(x: Value, y: Value) -> Value:
    if is_bool(x):
        raise DTypeError("the difference of boolean arrays is not defined; use logical_xor (x ^ y)")
    return p.sub(x, y)


add = define("add", 2, _or_logical(p.add, p.bitwise_or), "x + y; or for booleans.", 0, eager=(p.add_p, NUMBERS))
subtract = define("subtract", 2, _promoted(_subtract), "x - y.", eager=(p.sub_p, NUMBERS))
multiply = define(
    "multiply", 2, _or_logical(p.mul, p.bitwise_and), "x * y; and for booleans.", 1, eager=(p.mul_p, NUMBERS)
)
divide = true_divide = define(
    "divide",
    2,
    _float("divide", p.div, real=False),
    "x / y, always a float.",
    eager=(p.div_p, INEXACT),
    aliases=("true_divide",),
)


def _is_zero(x: Value) -> Value:
    return p.eq(x, constant(x, 0))


def _nonzero(y: Value) -> Value:
    """y with 1 in place of 0."""
    return p.select(_is_zero(y), constant(y, 1), y)


def _signs_differ(r: Value, y: Value) -> Value:
    """A remainder that is not 0 and does not have the divisor's sign."""
    zero = constant(r, 0)
    return p.bitwise_and(p.ne(r, zero), p.ne(p.lt(r, zero), p.lt(y, zero)))


def _exact_floor_divide(x: Value, y: Value) -> Value:
    """Integers: rounded down; x / 0 is 0, as in NumPy."""
    safe = _nonzero(y)
    q = p.div(x, safe)
    d = aval_of(x).dtype
    if d.kind == "i":
        q = p.sub(q, as_type(_signs_differ(p.rem(x, safe), y), d))
    return p.select(_is_zero(y), constant(q, 0), q)


def _floor_divide(x: Value, y: Value) -> Value:
    no_complex("floor_divide", x)
    return _exact_floor_divide(x, y) if is_exact(x) else _float_floor_divide(x, y)


@rounded_once
def _float_floor_divide(x: Value, y: Value) -> Value:
    """As NumPy and Python: (x - remainder) / y, rounded to the integer it is up to an error of rounding."""
    zero, one = constant(x, 0), constant(x, 1)
    mod = p.rem(x, y)
    q = p.div(p.sub(x, mod), y)
    q = p.select(_signs_differ(mod, y), p.sub(q, one), q)
    whole = p.floor(q)
    whole = p.select(p.gt(p.sub(q, whole), constant(q, 0.5)), p.add(whole, one), whole)
    quotient = p.stop_gradient(p.div(x, y))  # of the result, too, only the sign and what is infinite or NaN
    whole = p.select(_is_zero(q), with_sign_of(zero, quotient), whole)
    return p.select(_is_zero(y), quotient, whole)


def _remainder(x: Value, y: Value) -> Value:
    """With the sign of y; integers modulo 0 are 0, as in NumPy."""
    no_complex("remainder", x)
    if is_exact(x):
        r = p.rem(x, _nonzero(y))
        if aval_of(x).dtype.kind == "i":
            r = p.select(_signs_differ(r, y), p.add(r, y), r)
        return p.select(_is_zero(y), constant(r, 0), r)
    r, zero = p.rem(x, y), constant(x, 0)
    r = p.select(_signs_differ(r, y), p.add(r, y), r)
    # r + 0 turns -0.0 into 0.0 and -(-r + 0) turns 0.0 into -0.0: a zero takes the sign of y, and dr/dx stays 1
    return p.select(signbit(y), p.neg(p.add(p.neg(r), zero)), p.add(r, zero))


def _fmod(x: Value, y: Value) -> Value:
    no_complex("fmod", x)
    if is_exact(x):
        return p.select(_is_zero(y), constant(x, 0), p.rem(x, _nonzero(y)))
    return p.rem(x, y)


_WHOLE = INTEGERS | SINGLE_AND_DOUBLE

floor_divide = define(
    "floor_divide",
    2,
    _promoted(_floor_divide, numbers=True),
    "The greatest integer that is at most x / y; integers by 0 give 0.",
    eager=(np.floor_divide, _WHOLE),
)
remainder = mod = define(
    "remainder",
    2,
    _promoted(_remainder, numbers=True),
    "x - y floor(x / y), with the sign of y.",
    eager=(np.remainder, _WHOLE),
    aliases=("mod",),
)
fmod = define(
    "fmod", 2, _promoted(_fmod, numbers=True), "x - y trunc(x / y), with the sign of x.", eager=(np.fmod, _WHOLE)
)


def divmod(x: Any, y: Any, /) -> tuple[Value, Value]:
    """``(floor_divide(x, y), remainder(x, y))``."""
    return floor_divide(x, y), remainder(x, y)


# ------------------------------------------------------------------------------------------ powers


def _power(x: Value, y: Value) -> Value:
    if dtypes.is_inexact(result_dtype(x, y)):
        return p.pow(*promote_operands(x, y, to_float=True))
    return _promoted(p.pow, numbers=True)(x, y)


_integer_pow_reference = p.integer_pow_p.rule("impl")


class _Power(Ufunc):
    """``power``: a Python int as exponent means repeated multiplication, whose derivative is right at 0.

    Raises:
        DTypeError: integers to a negative Python int.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Value:
        if len(args) == 2 and type(args[1]) is int and not kwargs and -(2**31) < args[1] < 2**31:
            x, n = args
            if type(x) is Array and not state.absorbing and x._data.dtype in (NUMBERS if n >= 0 else INEXACT):
                return Array(_integer_pow_reference(x._data, y=n), x.weak_type)
            return p.integer_pow(as_number(as_value(x, "argument 1 of power")), n)
        return super().__call__(*args, **kwargs)


power = pow = registered["power"] = registered["pow"] = _Power(
    "power", 2, _power, "x to the power y.", eager=(p.pow_p, FLOATS)
)
float_power = define("float_power", 2, _float("float_power", p.pow, real=False), "x to the power y, as floats.")

# --------------------------------------------------------------------------------------- extremes


def _nan_ignoring(f: Binary, logical: Binary) -> Binary:
    def g(x: Value, y: Value) -> Value:
        if is_exact(x):
            return logical(x, y) if is_bool(x) else f(x, y)
        return p.select(isnan(x), y, p.select(isnan(y), x, f(x, y)))

    return _promoted(g)


maximum = define(
    "maximum", 2, _or_logical(p.max, p.bitwise_or), "The greater; NaN if either is NaN.", eager=(p.max_p, NUMBERS)
)
minimum = define(
    "minimum", 2, _or_logical(p.min, p.bitwise_and), "The smaller; NaN if either is NaN.", eager=(p.min_p, NUMBERS)
)
fmax = define("fmax", 2, _nan_ignoring(p.max, p.bitwise_or), "The greater, ignoring NaN.")
fmin = define("fmin", 2, _nan_ignoring(p.min, p.bitwise_and), "The smaller, ignoring NaN.")

# ------------------------------------------------------------------------------------------ floats


@rounded_once
def _hypot(x: Value, y: Value) -> Value:
    """Scaled so that squares neither overflow nor underflow; infinite if either is, even beside NaN."""
    a, b = p.abs(x), p.abs(y)
    first = p.ge(a, b)  # max, min and |small| have the same values, and kinks that lose second derivatives
    big, small = p.select(first, a, b), p.select(first, y, x)
    infinite = p.bitwise_or(isinf(a), isinf(b))
    r = p.div(small, p.select(infinite, constant(big, 1), _nonzero(big)))
    out = p.mul(big, p.sqrt(p.add(constant(r, 1), p.mul(r, r))))
    return p.select(infinite, constant(out, np.inf), out)


@rounded_once
def _logaddexp(x: Value, y: Value) -> Value:
    """The greater + log1p(exp(-|x - y|)); the maximum where x - y is NaN (infinities of equal sign).

    Written with selects for max and abs, whose kinks at x = y would lose the second derivative there.
    """
    if is_complex(x):
        return p.log(p.add(p.exp(x), p.exp(y)))
    delta = p.sub(x, y)
    unknown = isnan(delta)
    safe = p.select(unknown, constant(delta, 0), delta)
    first = p.ge(safe, constant(delta, 0))
    out = p.add(p.select(first, x, y), p.log1p(p.exp(p.select(first, p.neg(safe), safe))))
    return p.select(unknown, p.max(x, y), out)


@rounded_once
def _logaddexp2(x: Value, y: Value) -> Value:
    scale = constant(x, float(np.log(2)))
    return p.div(_logaddexp(p.mul(x, scale), p.mul(y, scale)), scale)


def _heaviside(x: Value, y: Value) -> Value:
    zero, one = constant(x, 0), constant(x, 1)
    return p.select(isnan(x), x, p.select(p.lt(x, zero), zero, p.select(p.gt(x, zero), one, y)))


def _ldexp(x: Value, n: Value) -> Value:
    """x times three powers of two, the smallest first, so that a result below the normal range is rounded once."""
    exact_only("ldexp (the exponent)", n)
    (x,) = promote_dtype(x, to_float=True)
    n = as_value(n)
    no_complex("ldexp", x)
    d = aval_of(x).dtype
    if d.itemsize == 2:
        return as_type(_ldexp(as_type(x, np.float32), n), d)
    shape = broadcast_shapes(x.shape, n.shape)
    int_d, mantissa, bias = float_fields(d)
    x, n = broadcast_value(x, shape), broadcast_value(as_type(n, int_d), shape)
    limit = constant(n, bias - 1)
    factors = []
    for _ in range(3):
        step = p.clamp(p.neg(limit), n, limit)
        factors.append(p.bitcast_convert_type(p.shift_left(p.add(step, constant(n, bias)), constant(n, mantissa)), d))
        n = p.sub(n, step)
    for factor in reversed(factors):
        x = p.mul(x, factor)
    return x


arctan2 = atan2 = define(
    "arctan2",
    2,
    _float("arctan2", p.atan2),
    "The angle of the point (y, x), first y, then x.",
    eager=(p.atan2_p, FLOATS),
    aliases=("atan2",),
)
nextafter = define(
    "nextafter", 2, _float("nextafter", p.nextafter), "The next float after x towards y.", eager=(p.nextafter_p, FLOATS)
)
copysign = define("copysign", 2, _float("copysign", with_sign_of), "|x| with the sign of y.")
hypot = define("hypot", 2, _float("hypot", _hypot), "sqrt(x**2 + y**2) without overflow.", 0)
logaddexp = define("logaddexp", 2, _float("logaddexp", _logaddexp, real=False), "log(exp(x) + exp(y)).", -np.inf)
logaddexp2 = define("logaddexp2", 2, _float("logaddexp2", _logaddexp2, real=False), "log2(2**x + 2**y).", -np.inf)
heaviside = define("heaviside", 2, _float("heaviside", _heaviside), "0 for x < 0, 1 for x > 0, y at 0.")
ldexp = define("ldexp", 2, _ldexp, "x * 2**y, y an integer.")

# ----------------------------------------------------------------------------------- bits and logic


def _bits(name: str, f: Binary, numbers: bool = False) -> Binary:
    def g(x: Value, y: Value) -> Value:
        exact_only(name, x, y)
        return _promoted(f, numbers)(x, y)

    return g


def _right_shift(x: Value, y: Value) -> Value:
    return p.shift_right_arithmetic(x, y) if aval_of(x).dtype.kind == "i" else p.shift_right_logical(x, y)


bitwise_and = define("bitwise_and", 2, _bits("bitwise_and", p.bitwise_and), "x & y.", -1, eager=(p.and_p, LOGIC))
bitwise_or = define("bitwise_or", 2, _bits("bitwise_or", p.bitwise_or), "x | y.", 0, eager=(p.or_p, LOGIC))
bitwise_xor = define("bitwise_xor", 2, _bits("bitwise_xor", p.bitwise_xor), "x ^ y.", 0, eager=(p.xor_p, LOGIC))
left_shift = bitwise_left_shift = define(
    "left_shift",
    2,
    _bits("left_shift", p.shift_left, numbers=True),
    "x << y.",
    eager=(p.shift_left_p, INTEGERS),
    aliases=("bitwise_left_shift",),
)
right_shift = bitwise_right_shift = define(
    "right_shift",
    2,
    _bits("right_shift", _right_shift, numbers=True),
    "x >> y; the sign moves in.",
    aliases=("bitwise_right_shift",),
)


def _logical(f: Binary) -> Binary:
    return lambda x, y: f(*promote_operands(truth(x), truth(y)))


_BOOLEAN = frozenset({dtypes.bool_})
logical_and = define("logical_and", 2, _logical(p.bitwise_and), "x and y.", True, eager=(p.and_p, _BOOLEAN))
logical_or = define("logical_or", 2, _logical(p.bitwise_or), "x or y.", False, eager=(p.or_p, _BOOLEAN))
logical_xor = define("logical_xor", 2, _logical(p.bitwise_xor), "x xor y.", False, eager=(p.xor_p, _BOOLEAN))

# ------------------------------------------------------------------------------------ comparisons


def _compared(f: Binary, compare: Callable[[int, int], bool]) -> Binary:
    """``f`` on operands of one dtype and shape.  An integer of Python that the dtype beside it does not reach is beyond all
    numbers of that dtype, as in NumPy."""

    def g(x: Value, y: Value) -> Value:
        if out_of_reach(x, y):
            return filled(y.shape, compare(int(x.data), 0), dtypes.bool_)
        if out_of_reach(y, x):
            return filled(x.shape, compare(0, int(y.data)), dtypes.bool_)
        return f(*promote_operands(x, y))

    return g


def _order(name: str, f: Binary, prim: Primitive, doc: str) -> Ufunc:
    """Complex numbers are ordered by real, then imaginary part, as in NumPy."""

    def g(x: Value, y: Value) -> Value:
        if not is_complex(x):
            return f(x, y)
        re, im = (p.real(x), p.real(y)), (p.imag(x), p.imag(y))
        return p.select(p.eq(*re), f(*im), f(*re))

    compare = getattr(operator, prim.name)
    return define(name, 2, _compared(g, compare), doc, eager=(prim, ORDERED))


_ANY = ORDERED | NUMBERS
equal = define("equal", 2, _compared(p.eq, operator.eq), "x == y.", eager=(p.eq_p, _ANY))
not_equal = define("not_equal", 2, _compared(p.ne, operator.ne), "x != y.", eager=(p.ne_p, _ANY))
less = _order("less", p.lt, p.lt_p, "x < y.")
less_equal = _order("less_equal", p.le, p.le_p, "x <= y.")
greater = _order("greater", p.gt, p.gt_p, "x > y.")
greater_equal = _order("greater_equal", p.ge, p.ge_p, "x >= y.")

# ------------------------------------------------------------------------------------ number theory


def _lcm(x: Value, y: Value) -> Value:
    g = p.gcd(x, y)
    return p.mul(p.div(p.abs(x), _nonzero(g)), p.abs(y))


gcd = define("gcd", 2, _bits("gcd", p.gcd, numbers=True), "The greatest common divisor of |x| and |y|.", 0)
lcm = define("lcm", 2, _bits("lcm", _lcm, numbers=True), "The least common multiple of |x| and |y|.")
