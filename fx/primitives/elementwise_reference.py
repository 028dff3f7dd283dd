"""NumPy references of the elementwise primitives that are not one NumPy function.

Each takes ndarrays of equal shape and dtype and gives an ndarray of the dtype that the primitive promises.
float16 and bfloat16 formulas of several steps are computed in float32 and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import methodcaller
from typing import Any

import numpy as np

from .. import dtypes
from ..ir import Literal
from .special_cases import as_ufunc, dtype_of, for_types, is_narrow_float

__all__ = [
    "bitcast",
    "clz",
    "convert",
    "div",
    "exp2",
    "expm1",
    "in_float32",
    "integer_pow",
    "log1p",
    "logistic",
    "pow_",
    "population_count",
    "rem",
    "round_",
    "rsqrt",
    "select_n",
    "shift_left",
    "shift_right_arithmetic",
    "shift_right_logical",
    "sign",
    "tanh",
]


def in_float32(f: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """``f`` with 16-bit floats computed in float32 and rounded once at the end."""

    def g(x: np.ndarray, *rest: np.ndarray) -> np.ndarray:
        if dtypes.is_float(x.dtype) and x.dtype.itemsize == 2:
            return np.asarray(f(*[a.astype(np.float32) for a in (x, *rest)])).astype(x.dtype)
        return f(x, *rest)

    def as_it_is(operands: Sequence[Any]) -> Any:
        return None if any(is_narrow_float(dtype_of(a)) for a in operands) else f

    return for_types(as_it_is)(g)


# ------------------------------------------------------------------------------------- arithmetic


@as_ufunc(np.divide, "fcV")  # V: bfloat16
def div(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x / y; integers round towards zero, x / 0 has all bits set and min / -1 wraps, as in XLA."""
    if not dtypes.is_integer(x.dtype):
        return np.divide(x, y)
    quotient = np.floor_divide(np.subtract(x, np.fmod(x, y)), y)
    return np.where(y == 0, np.bitwise_not(np.zeros_like(y)), quotient)


def rem(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x - y trunc(x / y), with the sign of x; integer x rem 0 is x."""
    r = np.fmod(x, y)
    return np.where(y == 0, x, r) if dtypes.is_integer(x.dtype) else r


def _small_power(operands: Sequence[Any], y: int) -> Any:
    if is_narrow_float(dtype_of(operands[0])):
        return None
    if y == 2:
        return lambda x: np.multiply(x, x)
    return (lambda x: np.multiply(x, np.multiply(x, x))) if y == 3 else None


@for_types(_small_power)
def integer_pow(x: np.ndarray, y: int) -> np.ndarray:
    """x**y by repeated squaring."""
    if dtypes.is_float(x.dtype) and x.dtype.itemsize == 2:
        return integer_pow(x.astype(np.float32), y).astype(x.dtype)
    result, square, n = None, x, y if y >= 0 else -y
    while n:
        if n & 1:
            result = square if result is None else np.multiply(result, square)
        n >>= 1
        square = np.multiply(square, square) if n else square
    if y <= 0:
        return np.ones_like(x) if result is None else np.divide(np.ones_like(x), result)
    return x.copy() if result is x else result  # type: ignore[return-value]


def pow_(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x**y; a complex x to the power 0 is 1.  Integers to a negative power are 0, but for 1 and -1.

    Where one number 0.5 stands for a whole row of exponents NumPy takes the square root, which differs at -0.0 and -inf.
    """
    if x.dtype.kind == "i":
        inverse = np.less(y, 0)
        x = np.where(inverse & (x != 1) & (x != -1), x.dtype.type(0), x)
        y = np.where(inverse, 2 - (y & 1), y).astype(x.dtype)
    out = np.power(x, y)
    if dtypes.is_complex(x.dtype):
        return np.where(y == 0, np.ones_like(x), out)
    half = np.equal(y, 0.5)
    if half.any():
        out = np.where(half & (x == 0), np.abs(x), np.where(half & (x == -np.inf), -x, out))
    return out


def sign(x: np.ndarray) -> np.ndarray:
    """-1, 0 or 1, NaN where x is; x / |x| for complex numbers, NaN in both parts where one is NaN."""
    out = np.sign(x) + x.dtype.type(0)  # bfloat16 knows -0.0
    return (
        np.where(np.isnan(x), np.asarray(complex(np.nan, np.nan), x.dtype), out) if dtypes.is_complex(x.dtype) else out
    )


@in_float32
def round_half_away(x: np.ndarray) -> np.ndarray:
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.copysign(np.ones_like(x), x), whole)


def round_(x: np.ndarray, rounding_method: str) -> np.ndarray:
    return np.rint(x) if rounding_method == "to_even" else round_half_away(x)


# ---------------------------------------------------------------------------------- transcendental


@as_ufunc(np.exp2, "fV")
def exp2(x: np.ndarray) -> np.ndarray:
    return np.exp(x * np.log(np.asarray(2, x.dtype))) if dtypes.is_complex(x.dtype) else np.exp2(x)


@as_ufunc(np.expm1, "fV")
def expm1(x: np.ndarray) -> np.ndarray:
    """e**x - 1.  NumPy's own gives NaN for complex numbers with infinite parts, which C99 (annex G.6.3.1) defines."""
    if not dtypes.is_complex(x.dtype):
        return np.expm1(x)
    whole, out = np.exp(x), np.empty_like(x)
    near = np.expm1(x.real) * np.cos(x.imag) - 2 * np.square(np.sin(x.imag / 2))
    out.real = np.where(np.abs(x.real) < 40, near, whole.real - 1)
    out.imag = whole.imag
    return out


@as_ufunc(np.tanh, "fV")
def tanh(x: np.ndarray) -> np.ndarray:
    """The hyperbolic tangent.  At inf + bj it is 1 + 0j with the sign of b, as the array API has it; C's has that of sin(2b)."""
    whole = np.tanh(x)
    if not dtypes.is_complex(x.dtype):
        return whole
    out = np.empty_like(x)
    out.real, out.imag = whole.real, np.where(np.isinf(x.real), np.copysign(0.0, x.imag), whole.imag)
    return out


@as_ufunc(np.log1p, "fV")
def log1p(x: np.ndarray) -> np.ndarray:
    """log(1 + x).  NumPy's own loses all digits of a small complex x: |1 + x|^2 - 1 = re (2 + re) + im^2 does not."""
    if not dtypes.is_complex(x.dtype):
        return np.log1p(x)
    re, im = x.real, x.imag
    near = np.abs(x) < 0.5
    squared = np.where(near, re * (2 + re) + im * im, 0)
    out = np.empty_like(x)
    out.real = np.where(near, np.log1p(squared) / 2, np.log(np.abs(1 + x)))
    out.imag = np.arctan2(im, 1 + re)
    return out


@in_float32
def rsqrt(x: np.ndarray) -> np.ndarray:
    return np.divide(x.dtype.type(1), np.sqrt(x))


def _real_logistic(x: np.ndarray, zero: np.ndarray, one: np.ndarray) -> np.ndarray:
    e = np.exp(np.negative(np.abs(x)))
    return np.divide(np.where(np.greater_equal(x, zero), one, e), np.add(one, e))


def _logistic_of(operands: Sequence[Any]) -> Any:
    d = dtype_of(operands[0])
    if dtypes.is_complex(d) or is_narrow_float(d):
        return None
    return partial(_real_logistic, zero=np.zeros((), d), one=np.ones((), d))


@for_types(_logistic_of)
def logistic(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow, accurate in both tails."""
    real: Any = _logistic_of((x.dtype,))
    if real is not None:
        return real(x)  # type: ignore[no-any-return]
    if dtypes.is_complex(x.dtype):
        left, one = np.less(x.real, 0), np.ones((), x.dtype)
        e = np.exp(np.where(left, x, np.negative(x)))
        return np.divide(np.where(left, e, one), np.add(one, e))
    return np.asarray(logistic(x.astype(np.float32))).astype(x.dtype)


# -------------------------------------------------------------------------------------------- bits


def _unsigned(x: np.ndarray) -> np.ndarray:
    return x.view(f"u{x.dtype.itemsize}")


def _signed(x: np.ndarray) -> np.ndarray:
    return x.view(f"i{x.dtype.itemsize}")


def _bits(x: np.ndarray) -> int:
    return 8 * x.dtype.itemsize


def _too_far(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where the shift is by the width or more; a negative amount counts as a huge one."""
    return _unsigned(y) >= _bits(x)


def _by_known(shift: np.ufunc, kinds: str) -> Callable[[Sequence[Any]], Any]:
    """A shift by a known number of bits, which is less than there are."""

    def rule(operands: Sequence[Any]) -> Any:
        x, y = operands
        d = dtype_of(x)
        if d.kind not in kinds or type(y) is not Literal or not 0 <= y.value < 8 * d.itemsize:
            return None
        return shift

    return rule


@for_types(_by_known(np.left_shift, "iu"))
def shift_left(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    far = _too_far(x, y)
    return np.where(far, np.zeros_like(x), np.left_shift(x, np.where(far, np.zeros_like(y), y)))


@for_types(_by_known(np.right_shift, "u"))
def shift_right_logical(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    far, u = _too_far(x, y), _unsigned(x)
    shifted = np.right_shift(u, np.where(far, np.zeros_like(u), _unsigned(y)))
    return np.asarray(np.where(far, np.zeros_like(u), shifted)).view(x.dtype)


@for_types(_by_known(np.right_shift, "i"))
def shift_right_arithmetic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The top bit fills in, for unsigned dtypes too."""
    s = _signed(x)
    amount = np.where(_too_far(x, y), np.asarray(_bits(x) - 1, s.dtype), _signed(y))
    return np.asarray(np.right_shift(s, amount)).view(x.dtype)


def population_count(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.bitwise_count(_unsigned(x))).astype(x.dtype)


def clz(x: np.ndarray) -> np.ndarray:
    """The number of leading zero bits, by bisection."""
    u = _unsigned(x)
    left = np.full_like(u, _bits(x))
    shift = _bits(x) // 2
    while shift:
        top = np.right_shift(u, np.asarray(shift, u.dtype))
        left = np.where(top != 0, left - np.asarray(shift, u.dtype), left)
        u = np.where(top != 0, top, u)
        shift //= 2
    return (left - u).astype(x.dtype)


# ------------------------------------------------------------------------ selection and conversion


def _of_two(operands: Sequence[Any]) -> Any:
    where = np.where
    return (lambda which, a, b: where(which, b, a)) if dtype_of(operands[0]) == np.bool_ else None


@for_types(_of_two)
def select_n(which: np.ndarray, *cases: np.ndarray) -> np.ndarray:
    """cases[which], element by element; an index outside is clamped."""
    if which.dtype == np.bool_:
        return np.where(which, cases[1], cases[0])
    out = cases[0]
    for i, case in enumerate(cases[1:], 1):
        out = np.where(which >= i, case, out)
    return out


def _float_to_integer(x: np.ndarray, new: np.dtype) -> np.ndarray:
    """Truncates; saturates outside the range; NaN becomes 0."""
    info = np.iinfo(new)
    x = x.astype(np.float64)
    if x.size and float(info.min) - 1 < x.min() and x.max() < float(info.max) + 1:  # not so beside a NaN
        return x.astype(new)
    high, low = x >= float(info.max), x <= float(info.min)
    inside = np.where(high | low | np.isnan(x), 0.0, x).astype(new)
    return np.where(high, np.asarray(info.max, new), np.where(low, np.asarray(info.min, new), inside))


def _by_astype(operands: Sequence[Any], new_dtype: np.dtype) -> Any:
    d = dtype_of(operands[0])
    lossy = dtypes.is_complex(d) and not dtypes.is_complex(new_dtype)
    if dtypes.is_bool(new_dtype) or lossy or (dtypes.is_float(d) and dtypes.is_integer(new_dtype)):
        return None
    return methodcaller("astype", new_dtype)


@for_types(_by_astype)
def convert(x: np.ndarray, new_dtype: np.dtype) -> np.ndarray:
    """``astype``, but for floats to integers, which saturate; complex numbers drop their imaginary part."""
    if dtypes.is_bool(new_dtype):
        return x != 0
    if dtypes.is_complex(x.dtype) and not dtypes.is_complex(new_dtype):
        x = x.real
    if dtypes.is_float(x.dtype) and dtypes.is_integer(new_dtype):
        return _float_to_integer(x, new_dtype)
    return x.astype(new_dtype)


@for_types(lambda operands, new_dtype: methodcaller("view", new_dtype))
def bitcast(x: np.ndarray, new_dtype: np.dtype) -> np.ndarray:
    return x.view(new_dtype)
