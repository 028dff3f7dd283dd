"""Elementwise functions: NumPy's ufuncs.

Each is a ``Ufunc``: called, it promotes and broadcasts its operands; it also has NumPy's methods ``reduce``,
``accumulate``, ``outer`` and ``at``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import DTypeError, UnsupportedFunctionError
from ..primitives import elementwise as p
from ..primitives import helpers, shaping
from ..trace import aval_of
from .core import as_type, as_value, broadcast_value, inexact, promote, promote_inexact

Value = Any

__all__ = ["Ufunc", "registered"]

registered: dict[str, Ufunc] = {}


class Ufunc:
    """An elementwise function of ``nin`` arrays.

    where: a boolean array; elements where it is False keep the value of ``out`` (or are zero without one).
    """

    def __init__(self, name: str, nin: int, f: Callable[..., Value], doc: str, identity: Any = None) -> None:
        self.__name__ = self.__qualname__ = name
        self.__doc__ = doc
        self.nin, self.nout, self.identity = nin, 1, identity
        self.nargs = nin + 1
        self._f = f
        self.__wrapped__ = f

    def __call__(self, *args: Any, out: Any = None, where: Any = True, dtype: Any = None) -> Value:
        if len(args) != self.nin:
            raise TypeError(f"{self.__name__} takes {self.nin} array{'s' * (self.nin > 1)}; {len(args)} given")
        if out is not None:
            raise UnsupportedFunctionError(
                f"fx.numpy.{self.__name__} has no out=: arrays are immutable. Use the returned array"
                " (NumPy's own functions accept out= with a traced array and rebind it)."
            )
        xs = [as_value(a, f"argument {i + 1} of {self.__name__}") for i, a in enumerate(args)]
        if dtype is not None:
            xs = [as_type(x, dtype) for x in xs]
        result = self._f(*xs)
        if where is not True:
            zeros = helpers.zeros_like(result)
            result, zeros = promote(result, zeros)
            result = p.select(broadcast_value(as_value(where), result.shape), result, zeros)
        return result

    def __repr__(self) -> str:
        return f"<fx.numpy ufunc {self.__name__!r}>"

    # ------------------------------------------------------------------ NumPy's ufunc methods

    def outer(self, a: Any, b: Any, /) -> Value:
        """``self(a[i], b[j])`` for all pairs of indices i, j."""
        a, b = as_value(a), as_value(b)
        return self(shaping.reshape(a, a.shape + (1,) * b.ndim), b)

    def reduce(self, a: Any, axis: Any = 0, dtype: Any = None, keepdims: bool = False, initial: Any = None) -> Value:
        """Combines the elements along ``axis`` with the function (``add.reduce`` is sum)."""
        from .reductions import ufunc_reduce  # reductions are built on these functions

        return ufunc_reduce(self, as_value(a), axis, dtype, keepdims, initial)

    def accumulate(self, a: Any, axis: int = 0, dtype: Any = None) -> Value:
        """All partial reductions along ``axis`` (``add.accumulate`` is cumsum)."""
        from .reductions import ufunc_accumulate

        return ufunc_accumulate(self, as_value(a), axis, dtype)

    def at(self, a: Any, indices: Any, b: Any = None, /) -> Value:
        """``a`` with the function applied at ``indices``, repeatedly where they repeat; returns the new array."""
        at = as_value(a).at[indices]
        methods = {"add": "add", "multiply": "multiply", "minimum": "min", "maximum": "max"}
        if self.nin == 1:
            return at.apply(self)
        if self.__name__ == "subtract":
            return at.add(negative(b))
        if self.__name__ not in methods:
            raise UnsupportedFunctionError(f"{self.__name__}.at is not there; x.at[i] has set, add, multiply, min, max, apply")
        return getattr(at, methods[self.__name__])(b)


def _define(name: str, nin: int, f: Callable[..., Value], doc: str, identity: Any = None, aliases: tuple[str, ...] = ()) -> Ufunc:
    u = Ufunc(name, nin, f, doc, identity)
    for n in (name, *aliases):
        registered[n] = u
        globals()[n] = u
        __all__.append(n)
    return u


def _float(f: Callable[..., Value]) -> Callable[..., Value]:
    return lambda *xs: f(*promote_inexact(*xs))


def _same(f: Callable[..., Value]) -> Callable[..., Value]:
    return lambda *xs: f(*promote(*xs))


def _int_only(name: str, f: Callable[..., Value]) -> Callable[..., Value]:
    def g(*xs: Value) -> Value:
        xs = tuple(promote(*xs))
        d = aval_of(xs[0]).dtype
        if dtypes.is_inexact(d):
            raise DTypeError(f"{name} needs integer or boolean operands; found {d}")
        return f(*xs)

    return g


def _bool(x: Value) -> Value:
    a = aval_of(x)
    return x if a.dtype == dtypes.bool_ else p.ne(x, helpers.zeros_like(a.strong()))


def _logical(f: Callable[..., Value]) -> Callable[..., Value]:
    return lambda *xs: f(*promote(*map(_bool, xs)))


# -------------------------------------------------------------------------------- floats: one operand

for _name, _f, _doc, _alias in [
    ("exp", p.exp, "e to the power x.", ()),
    ("exp2", p.exp2, "2 to the power x.", ()),
    ("expm1", p.expm1, "exp(x) - 1, exact for small x.", ()),
    ("log", p.log, "Natural logarithm.", ()),
    ("log1p", p.log1p, "log(1 + x), exact for small x.", ()),
    ("sqrt", p.sqrt, "Square root.", ()),
    ("cbrt", p.cbrt, "Cube root.", ()),
    ("sin", p.sin, "Sine of x in radians.", ()),
    ("cos", p.cos, "Cosine of x in radians.", ()),
    ("tan", p.tan, "Tangent of x in radians.", ()),
    ("arcsin", p.asin, "Inverse sine, in radians.", ("asin",)),
    ("arccos", p.acos, "Inverse cosine, in radians.", ("acos",)),
    ("arctan", p.atan, "Inverse tangent, in radians.", ("atan",)),
    ("sinh", p.sinh, "Hyperbolic sine.", ()),
    ("cosh", p.cosh, "Hyperbolic cosine.", ()),
    ("tanh", p.tanh, "Hyperbolic tangent.", ()),
    ("arcsinh", p.asinh, "Inverse hyperbolic sine.", ("asinh",)),
    ("arccosh", p.acosh, "Inverse hyperbolic cosine.", ("acosh",)),
    ("arctanh", p.atanh, "Inverse hyperbolic tangent.", ("atanh",)),
]:
    _define(_name, 1, _float(_f), _doc, aliases=_alias)


def _const(x: Value, value: float) -> Value:
    return helpers.full_like(aval_of(x).strong(), value)


_define("log2", 1, _float(lambda x: p.mul(p.log(x), _const(x, 1 / np.log(2)))), "Base-2 logarithm.")
_define("log10", 1, _float(lambda x: p.mul(p.log(x), _const(x, 1 / np.log(10)))), "Base-10 logarithm.")
_define("deg2rad", 1, _float(lambda x: p.mul(x, _const(x, np.pi / 180))), "Degrees to radians.", aliases=("radians",))
_define("rad2deg", 1, _float(lambda x: p.mul(x, _const(x, 180 / np.pi))), "Radians to degrees.", aliases=("degrees",))


def _sinc(x: Value) -> Value:
    """sin(pi x) / (pi x), and its Taylor series near 0 so that derivatives are right there."""
    y = p.mul(x, _const(x, np.pi))
    zero = p.eq(y, helpers.zeros_like(y))
    safe = p.select(zero, helpers.ones_like(y), y)
    y2 = p.mul(y, y)
    series = p.add(_const(x, 1.0), p.mul(y2, p.add(_const(x, -1 / 6), p.mul(y2, _const(x, 1 / 120)))))
    return p.select(zero, series, p.div(p.sin(safe), safe))


_define("sinc", 1, _float(_sinc), "sin(pi x) / (pi x).")


# ------------------------------------------------------------------------------- numbers: one operand


def _is_int(x: Value) -> bool:
    return not dtypes.is_inexact(aval_of(x).dtype)


def _is_bool_(x: Value) -> bool:
    return aval_of(x).dtype == dtypes.bool_


def _is_complex(x: Value) -> bool:
    return dtypes.is_complex(aval_of(x).dtype)


def _negative(x: Value) -> Value:
    if _is_bool_(x):
        raise DTypeError("the negative of a boolean array is not defined; use logical_not (~x)")
    return p.neg(x)


def _absolute(x: Value) -> Value:
    return x if _is_bool_(x) else p.abs(x)


def _rounding(f: Callable[[Value], Value], name: str) -> Callable[[Value], Value]:
    def g(x: Value) -> Value:
        if _is_complex(x):
            raise DTypeError(f"{name} of a complex array is not defined")
        return x if _is_int(x) else f(x)

    return g


_define("negative", 1, _negative, "-x.")
_define("positive", 1, lambda x: x, "+x.")
_define("absolute", 1, _absolute, "|x|.", aliases=("abs",))
_define("fabs", 1, _float(lambda x: p.abs(x)), "|x| as a float.")
_define("sign", 1, lambda x: x if _is_bool_(x) else p.sign(x), "-1, 0 or 1; x / |x| for complex x.")
_define("square", 1, lambda x: p.square(x) if not _is_bool_(x) else x, "x * x.")
_define("floor", 1, _rounding(p.floor, "floor"), "The greatest integer not above x.")
_define("ceil", 1, _rounding(p.ceil, "ceil"), "The least integer not below x.")
_define(
    "trunc", 1, _rounding(lambda x: p.select(p.lt(x, helpers.zeros_like(x)), p.ceil(x), p.floor(x)), "trunc"),
    "Towards zero.", aliases=("fix",),
)  # fmt: skip


def _rint(x: Value) -> Value:
    if _is_complex(x):
        return p.complex(_rint(p.real(x)), _rint(p.imag(x)))
    return p.round(x, "to_even")


_define("rint", 1, _float(_rint), "The nearest integer, halves to even.")
_define("reciprocal", 1, lambda x: p.div(helpers.ones_like(x), x) if not _is_int(x) else p.div(helpers.ones_like(x), x), "1 / x.")
_define("conjugate", 1, lambda x: p.conj(x) if _is_complex(x) else x, "Complex conjugate.", aliases=("conj",))
_define("real", 1, lambda x: p.real(x) if _is_complex(x) else x, "Real part.")
_define("imag", 1, lambda x: p.imag(x) if _is_complex(x) else helpers.zeros_like(x), "Imaginary part.")


def _isfinite(x: Value) -> Value:
    if _is_int(x):
        return helpers.full(x.shape, True, dtypes.bool_)
    if _is_complex(x):
        return p.bitwise_and(p.is_finite(p.real(x)), p.is_finite(p.imag(x)))
    return p.is_finite(x)


def _isnan(x: Value) -> Value:
    return helpers.full(x.shape, False, dtypes.bool_) if _is_int(x) else p.ne(x, x)


def _isinf(x: Value) -> Value:
    if _is_int(x):
        return helpers.full(x.shape, False, dtypes.bool_)
    if _is_complex(x):
        return p.bitwise_or(_isinf(p.real(x)), _isinf(p.imag(x)))
    return p.eq(p.abs(x), helpers.full_like(x, np.inf))


def _signbit(x: Value) -> Value:
    if _is_int(x):
        return p.lt(x, helpers.zeros_like(x)) if not _is_bool_(x) else helpers.full(x.shape, False, dtypes.bool_)
    d = aval_of(x).dtype
    bits = p.bitcast_convert_type(x, np.dtype(f"int{d.itemsize * 8}"))
    return p.lt(bits, helpers.zeros_like(bits))


_define("isfinite", 1, _isfinite, "Neither NaN nor infinite.")
_define("isnan", 1, _isnan, "Is NaN.")
_define("isinf", 1, _isinf, "Is +inf or -inf.")
_define("signbit", 1, _signbit, "The sign bit is set (true for -0.0).")
_define("invert", 1, _int_only("invert", p.bitwise_not), "Bitwise not.", aliases=("bitwise_not", "bitwise_invert"))
_define(
    "bitwise_count", 1,
    _int_only("bitwise_count", lambda x: as_type(p.population_count(p.abs(x) if aval_of(x).dtype.kind == "i" else x), np.uint8)),
    "The number of bits set in |x|.",
)  # fmt: skip
_define("logical_not", 1, _logical(p.bitwise_not), "not x.")


# ---------------------------------------------------------------------------------------- arithmetic


def _add(x: Value, y: Value) -> Value:
    x, y = promote(x, y)
    return p.bitwise_or(x, y) if _is_bool_(x) else p.add(x, y)


def _multiply(x: Value, y: Value) -> Value:
    x, y = promote(x, y)
    return p.bitwise_and(x, y) if _is_bool_(x) else p.mul(x, y)


def _subtract(x: Value, y: Value) -> Value:
    x, y = promote(x, y)
    if _is_bool_(x):
        raise DTypeError("the difference of boolean arrays is not defined; use logical_xor (x ^ y)")
    return p.sub(x, y)


_define("add", 2, _add, "x + y.", 0)
_define("subtract", 2, _subtract, "x - y.")
_define("multiply", 2, _multiply, "x * y.", 1)
_define("divide", 2, _float(p.div), "x / y, always a float.", aliases=("true_divide",))


def _select_nonzero(y: Value) -> Value:
    return p.select(p.eq(y, helpers.zeros_like(y)), helpers.ones_like(y), y)


def _number(x: Value) -> Value:
    """Booleans as int8, for arithmetic that has no boolean form."""
    return as_type(x, np.int8) if _is_bool_(x) else x


def _floor_divide(x: Value, y: Value) -> Value:
    x, y = map(_number, promote(x, y))
    if _is_complex(x):
        raise DTypeError("floor_divide of complex arrays is not defined")
    if _is_int(x):
        q = p.div(x, _select_nonzero(y))
        if aval_of(x).dtype.kind == "i":
            r = p.rem(x, _select_nonzero(y))
            zero = helpers.zeros_like(x)
            down = p.bitwise_and(p.ne(r, zero), p.ne(p.lt(r, zero), p.lt(y, zero)))
            q = p.sub(q, as_type(down, aval_of(x).dtype))
        return p.select(p.eq(y, helpers.zeros_like(y)), helpers.zeros_like(q), q)
    return _float_divmod(x, y)[0]


def _float_divmod(x: Value, y: Value) -> tuple[Value, Value]:
    """NumPy's: the remainder has the divisor's sign, the quotient is the rounded (x - remainder) / y."""
    zero = helpers.zeros_like(x)
    mod = p.rem(x, y)
    off = p.bitwise_and(p.ne(mod, zero), p.ne(p.lt(y, zero), p.lt(mod, zero)))
    q = p.div(p.sub(x, mod), y)
    q = p.select(off, p.sub(q, helpers.ones_like(q)), q)
    mod = p.select(off, p.add(mod, y), mod)
    copysign = p.select(_signbit(y), p.neg(zero), zero)
    mod = p.select(p.eq(mod, zero), copysign, mod)
    quotient = p.div(x, y)
    fl = p.floor(q)
    fl = p.select(p.gt(p.sub(q, fl), helpers.full_like(q, 0.5)), p.add(fl, helpers.ones_like(q)), fl)
    signed_zero = p.select(_signbit(quotient), p.neg(zero), zero)
    fl = p.select(p.eq(q, zero), signed_zero, fl)
    by_zero = p.eq(y, zero)
    return p.select(by_zero, quotient, fl), p.select(by_zero, p.rem(x, y), mod)


def _remainder(x: Value, y: Value) -> Value:
    x, y = map(_number, promote(x, y))
    if _is_complex(x):
        raise DTypeError("remainder of complex arrays is not defined")
    if not _is_int(x):
        r = p.rem(x, y)
        zero = helpers.zeros_like(x)
        off = p.bitwise_and(p.ne(r, zero), p.ne(p.lt(r, zero), p.lt(y, zero)))
        return p.select(off, p.add(r, y), r)
    safe = _select_nonzero(y)
    r = p.rem(x, safe)
    zero = helpers.zeros_like(x)
    if aval_of(x).dtype.kind == "i":
        off = p.bitwise_and(p.ne(r, zero), p.ne(p.lt(r, zero), p.lt(y, zero)))
        r = p.select(off, p.add(r, y), r)
    return p.select(p.eq(y, zero), zero, r)


def _fmod(x: Value, y: Value) -> Value:
    x, y = map(_number, promote(x, y))
    if _is_int(x):
        return p.select(p.eq(y, helpers.zeros_like(y)), helpers.zeros_like(x), p.rem(x, _select_nonzero(y)))
    return p.rem(x, y)


_define("floor_divide", 2, _floor_divide, "The greatest integer not above x / y; integers by 0 give 0, as in NumPy.")
_define("remainder", 2, _remainder, "x - y floor(x / y), with the sign of y.", aliases=("mod",))
_define("fmod", 2, _fmod, "x - y trunc(x / y), with the sign of x.")


def _int_power(x: Value, y: Value) -> Value:
    """Integer arrays by repeated squaring over the bits of the exponent; negative exponents give 0 (1, -1 for |x| = 1)."""
    x, y = map(_number, promote(x, y))
    d = aval_of(x).dtype
    zero, one = helpers.zeros_like(x), helpers.ones_like(x)
    acc, base, bits = one, x, y
    for _ in range(d.itemsize * 8 - (d.kind == "i")):
        odd = p.ne(p.bitwise_and(bits, one), zero)
        acc = p.select(odd, p.mul(acc, base), acc)
        base = p.mul(base, base)
        bits = p.shift_right_logical(bits, one)
    if d.kind == "i":
        minus = helpers.full_like(x, -1)
        parity = p.ne(p.bitwise_and(y, one), zero)
        unit = p.select(p.eq(x, minus), p.select(parity, minus, one), p.select(p.eq(x, one), one, zero))
        acc = p.select(p.lt(y, zero), unit, acc)
    return acc


def power_static(x: Value, y: int) -> Value:
    """x to the power of a Python int."""
    x = _number(as_value(x))
    if _is_int(x) and y < 0:
        raise DTypeError("integers to a negative integer power are not integers; convert the base to float first")
    return p.integer_pow(x, y)


def _power(x: Value, y: Value) -> Value:
    a, b = aval_of(x), aval_of(y)
    d = dtypes.promote((a.dtype, a.weak), (b.dtype, b.weak))[0]
    if not dtypes.is_inexact(d):
        return _int_power(x, y)
    x, y = promote_inexact(x, y)
    return p.pow(x, y)


class _Power(Ufunc):
    """``power`` with a Python int as exponent is repeated multiplication, whose derivative is right at 0."""

    def __call__(self, *args: Any, **kwargs: Any) -> Value:
        if len(args) == 2 and type(args[1]) is int and not kwargs and -(2**31) < args[1] < 2**31:
            x = as_value(args[0], "argument 1 of power")
            if args[1] >= 0 or not _is_int(x):
                return power_static(x, args[1])
        return super().__call__(*args, **kwargs)


power = registered["power"] = globals()["pow"] = registered["pow"] = _Power("power", 2, _power, "x to the power y.")
__all__ += ["power", "pow", "power_static"]
_define("float_power", 2, lambda x, y: p.pow(*promote(*[as_type(v, dtypes.promote_types(inexact(aval_of(v).dtype), np.float64)) for v in (x, y)])), "x to the power y, in float64 or complex128.")


def _extreme(f: Callable[..., Value], logical: Callable[..., Value]) -> Callable[..., Value]:
    def g(x: Value, y: Value) -> Value:
        x, y = promote(x, y)
        return logical(x, y) if _is_bool_(x) else f(x, y)

    return g


def _nan_ignoring(f: Callable[..., Value]) -> Callable[..., Value]:
    def g(x: Value, y: Value) -> Value:
        x, y = promote(x, y)
        both = f(x, y)
        return both if _is_int(x) else p.select(_isnan(x), y, p.select(_isnan(y), x, both))

    return g


_define("maximum", 2, _extreme(p.max, p.bitwise_or), "The greater; NaN if either is NaN.")
_define("minimum", 2, _extreme(p.min, p.bitwise_and), "The smaller; NaN if either is NaN.")
_define("fmax", 2, _nan_ignoring(_extreme(p.max, p.bitwise_or)), "The greater, ignoring NaN.")
_define("fmin", 2, _nan_ignoring(_extreme(p.min, p.bitwise_and)), "The smaller, ignoring NaN.")
_define("arctan2", 2, _float(p.atan2), "The angle of the point (y, x).", aliases=("atan2",))
_define("nextafter", 2, _float(p.nextafter), "The next float after x towards y.")


def _copysign(x: Value, y: Value) -> Value:
    x, y = promote_inexact(x, y)
    return p.select(p.eq(_signbit(x), _signbit(y)), x, p.neg(x))


def _hypot(x: Value, y: Value) -> Value:
    """Scaled so that squares neither overflow nor underflow; infinite if either is, even beside NaN."""
    x, y = promote_inexact(x, y)
    a, b = p.abs(x), p.abs(y)
    big, small = p.max(a, b), p.min(a, b)
    safe = p.select(p.eq(big, helpers.zeros_like(big)), helpers.ones_like(big), big)
    r = p.div(small, safe)
    out = p.mul(big, p.sqrt(p.add(helpers.ones_like(r), p.mul(r, r))))
    return p.select(p.bitwise_or(_isinf(a), _isinf(b)), helpers.full_like(out, np.inf), out)


def _logaddexp(x: Value, y: Value) -> Value:
    """max + log1p(exp(-|x - y|)), with infinities of equal sign kept."""
    x, y = promote_inexact(x, y)
    if _is_complex(x):
        return p.log(p.add(p.exp(x), p.exp(y)))
    big = p.max(x, y)
    delta = p.sub(x, y)
    same = p.bitwise_or(_isnan(delta), p.eq(x, y))
    safe = p.select(same, helpers.zeros_like(delta), delta)
    out = p.add(big, p.log1p(p.exp(p.neg(p.abs(safe)))))
    either_nan = p.bitwise_or(_isnan(x), _isnan(y))
    stuck = p.bitwise_and(_isnan(delta), p.bitwise_not(either_nan))
    return p.select(stuck, big, out)


def _logaddexp2(x: Value, y: Value) -> Value:
    x, y = promote_inexact(x, y)
    log2 = _const(x, float(np.log(2)))
    return p.div(_logaddexp(p.mul(x, log2), p.mul(y, log2)), log2)


def _heaviside(x: Value, y: Value) -> Value:
    x, y = promote_inexact(x, y)
    zero, one = helpers.zeros_like(x), helpers.ones_like(x)
    return p.select(_isnan(x), x, p.select(p.lt(x, zero), zero, p.select(p.gt(x, zero), one, y)))


def _ldexp(x: Value, y: Value) -> Value:
    """x 2**y in two steps, so that neither power of two leaves the range too early."""
    x = promote_inexact(x)[0]
    x, y = broadcast_pair(x, y)
    d = aval_of(x).dtype
    half = p.div(y, helpers.full_like(y, 2))
    rest = p.sub(y, half)
    return p.mul(p.mul(x, p.exp2(as_type(half, d))), p.exp2(as_type(rest, d)))


def broadcast_pair(x: Value, y: Value) -> tuple[Value, Value]:
    """Two operands of one shape, dtypes untouched."""
    shape = np.broadcast_shapes(x.shape, y.shape)
    return broadcast_value(x, shape), broadcast_value(y, shape)


_define("copysign", 2, _copysign, "|x| with the sign of y.")
_define("hypot", 2, _hypot, "sqrt(x**2 + y**2) without overflow.")
_define("logaddexp", 2, _logaddexp, "log(exp(x) + exp(y)).")
_define("logaddexp2", 2, _logaddexp2, "log2(2**x + 2**y).")
_define("heaviside", 2, _heaviside, "0 for x < 0, 1 for x > 0, y at 0.")
_define("ldexp", 2, _ldexp, "x * 2**y.")

# ----------------------------------------------------------------------------------- bits and logic

_define("bitwise_and", 2, _int_only("bitwise_and", p.bitwise_and), "x & y.", -1)
_define("bitwise_or", 2, _int_only("bitwise_or", p.bitwise_or), "x | y.", 0)
_define("bitwise_xor", 2, _int_only("bitwise_xor", p.bitwise_xor), "x ^ y.", 0)
_define("left_shift", 2, _int_only("left_shift", lambda x, y: p.shift_left(_number(x), _number(y))), "x << y.", aliases=("bitwise_left_shift",))


def _right_shift(x: Value, y: Value) -> Value:
    x, y = _number(x), _number(y)
    return p.shift_right_arithmetic(x, y) if aval_of(x).dtype.kind == "i" else p.shift_right_logical(x, y)


_define("right_shift", 2, _int_only("right_shift", _right_shift), "x >> y.", aliases=("bitwise_right_shift",))
_define("logical_and", 2, _logical(p.bitwise_and), "x and y.", True)
_define("logical_or", 2, _logical(p.bitwise_or), "x or y.", False)
_define("logical_xor", 2, _logical(p.bitwise_xor), "x xor y.", False)


def _ordered(f: Callable[..., Value], strict: bool) -> Callable[..., Value]:
    """Comparisons; complex numbers are ordered by real, then imaginary part, as in NumPy."""

    def g(x: Value, y: Value) -> Value:
        x, y = promote(x, y)
        if not _is_complex(x):
            return f(x, y)
        xr, yr, xi, yi = p.real(x), p.real(y), p.imag(x), p.imag(y)
        return p.select(p.eq(xr, yr), f(xi, yi), f(xr, yr))

    return g


_define("equal", 2, _same(p.eq), "x == y.")
_define("not_equal", 2, _same(p.ne), "x != y.")
_define("less", 2, _ordered(p.lt, True), "x < y.")
_define("less_equal", 2, _ordered(p.le, False), "x <= y.")
_define("greater", 2, _ordered(p.gt, True), "x > y.")
_define("greater_equal", 2, _ordered(p.ge, False), "x >= y.")


def _gcd(x: Value, y: Value) -> Value:
    """Euclid's algorithm, unrolled for the width of the dtype (1.44 log2 steps at most)."""
    x, y = p.abs(x), p.abs(y)
    bits = aval_of(x).dtype.itemsize * 8
    for _ in range(int(1.45 * bits) + 2):
        zero = helpers.zeros_like(y)
        done = p.eq(y, zero)
        x, y = p.select(done, x, y), p.select(done, zero, p.rem(x, _select_nonzero(y)))
    return x


def _lcm(x: Value, y: Value) -> Value:
    x, y = p.abs(x), p.abs(y)
    g = _select_nonzero(_gcd(x, y))
    return p.mul(p.div(x, g), y)


_define("gcd", 2, _int_only("gcd", _gcd), "Greatest common divisor of |x| and |y|.", 0)
_define("lcm", 2, _int_only("lcm", _lcm), "Least common multiple of |x| and |y|.")


def divmod(x: Any, y: Any, /) -> tuple[Value, Value]:
    """``(floor_divide(x, y), remainder(x, y))``."""
    return registered["floor_divide"](x, y), registered["remainder"](x, y)


def modf(x: Any, /) -> tuple[Value, Value]:
    """Fractional and integral part, both with the sign of x."""
    (v,) = promote_inexact(as_value(x))
    whole = registered["trunc"](v)
    fraction = p.select(_isinf(v), helpers.zeros_like(v), p.sub(v, p.select(_isinf(v), helpers.zeros_like(v), whole)))
    return _copysign(fraction, v), _copysign(whole, v)


def frexp(x: Any, /) -> tuple[Value, Value]:
    """``(m, e)`` with x = m 2**e and 0.5 <= |m| < 1 (m = x, e = 0 for zeros, infinities and NaN)."""
    (v,) = promote_inexact(as_value(x))
    d = aval_of(v).dtype
    if d.itemsize < 4:
        m, e = frexp(as_type(v, np.float32))
        return as_type(m, d), e
    wide = d == dtypes.float64
    int_d, mant, bias = (np.dtype(np.int64), 52, 1022) if wide else (np.dtype(np.int32), 23, 126)
    tiny = p.lt(p.abs(v), helpers.full_like(v, float(np.finfo(d).tiny)))
    scaled = p.select(tiny, p.mul(v, helpers.full_like(v, 2.0**mant)), v)
    bits = p.bitcast_convert_type(scaled, int_d)
    mask = (1 << (11 if wide else 8)) - 1
    e = p.bitwise_and(p.shift_right_logical(bits, helpers.full_like(bits, mant)), helpers.full_like(bits, mask))
    m_bits = p.bitwise_and(bits, helpers.full_like(bits, ~(mask << mant)))
    m = p.bitcast_convert_type(p.bitwise_or(m_bits, helpers.full_like(bits, bias << mant)), d)
    e = p.sub(e, helpers.full_like(e, bias))
    e = p.select(tiny, p.sub(e, helpers.full_like(e, mant)), e)
    special = p.bitwise_or(p.eq(v, helpers.zeros_like(v)), p.bitwise_not(p.is_finite(v)))
    return p.select(special, v, m), as_type(p.select(special, helpers.zeros_like(e), e), np.int32)


__all__ += ["divmod", "frexp", "modf"]
negative = registered["negative"]
