"""Functions of a complex number, given and returned as a pair (re, im) of real expressions.

Formulas with cancellations are computed in float64 for complex64 as well (``in_double``).
"""

from __future__ import annotations

from collections.abc import Callable

from ..kernels import vector_math as vm
from ..kernels.vector_math_base import copysign, fabs, named
from ..kernels.vector_math_exp import exp_parts
from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, f64, fma, lift, op_, select

__all__ = [
    "Pair", "absolute", "acos", "acosh", "add", "asin", "asinh", "atan", "atanh", "cos", "cosh", "divide", "equal", "exp",
    "exp2", "expm1", "greatest", "integer_pow", "least", "log", "log1p", "log2", "logistic", "multiply", "negative", "pow", "rsqrt",
    "sign", "sin", "sinh", "sqrt", "square", "subtract", "tan", "tanh",
]  # fmt: skip

Pair = tuple[Expr, Expr]
INF, NAN = float("inf"), float("nan")
HALF_PI, LOG_2 = 1.5707963267948966, 0.6931471805599453

_WHOLE = (*range(-8, 0), *range(1, 9))  # exponents


def let(b: KernelBuilder, name: str, z: Pair) -> Pair:
    return named(b, name + "_re", z[0]), named(b, name + "_im", z[1])


def choose(condition: Expr, yes: Pair, no: Pair) -> Pair:
    return select(condition, yes[0], no[0]), select(condition, yes[1], no[1])


def in_double(function: Callable[..., Pair]) -> Callable[..., Pair]:
    """``function`` computed in float64 and rounded."""

    def f(b: KernelBuilder, *operands: Pair) -> Pair:
        ty = operands[0][0].ty
        wide = f64.vector(ty.lanes)
        re, im = function(b, *[let(b, "wide", (z[0].cast(wide), z[1].cast(wide))) for z in operands])
        return re.cast(ty), im.cast(ty)

    return f


# -------------------------------------------------------------------------------------- arithmetic


def negative(b: KernelBuilder, z: Pair) -> Pair:
    return -z[0], -z[1]


def add(b: KernelBuilder, z: Pair, w: Pair) -> Pair:
    return z[0] + w[0], z[1] + w[1]


def subtract(b: KernelBuilder, z: Pair, w: Pair) -> Pair:
    return z[0] - w[0], z[1] - w[1]


def multiply(b: KernelBuilder, z: Pair, w: Pair) -> Pair:
    (x, y), (u, v) = let(b, "z", z), let(b, "w", w)
    return x * u - y * v, x * v + y * u


def square(b: KernelBuilder, z: Pair) -> Pair:
    return multiply(b, z, z)


def divide(b: KernelBuilder, z: Pair, w: Pair) -> Pair:
    """R. L. Smith's division: by the larger part of the divisor first.  Division by zero divides both parts."""
    (x, y), (u, v) = let(b, "z", z), let(b, "w", w)
    steep = b.let("steep", fabs(u) < fabs(v))
    large, small = b.let("large", select(steep, v, u)), b.let("small", select(steep, u, v))
    zero = b.let("zero", large.eq(0.0))
    ratio = b.let("ratio", select(zero, lift(0.0, u.ty), small / large))
    divisor = b.let("divisor", select(zero, lift(0.0, u.ty), large + small * ratio))
    first, second = b.let("first", select(steep, y, x)), b.let("second", select(steep, x, y))
    re, im = first + second * ratio, select(steep, y * ratio - x, y - x * ratio)
    return select(zero, x, re) / divisor, select(zero, y, im) / divisor


def integer_pow(b: KernelBuilder, z: Pair, y: int) -> Pair:
    """Repeated squaring."""
    one = Const(1.0, z[0].ty), Const(0.0, z[0].ty)
    result: Pair | None = None
    power, n = let(b, "power", z), abs(y)
    while n:
        if n & 1:
            result = power if result is None else let(b, "product", multiply(b, result, power))
        n >>= 1
        power = let(b, "power", square(b, power)) if n else power
    if result is None:
        return one
    return divide(b, one, result) if y < 0 else result


def absolute(b: KernelBuilder, z: Pair) -> Expr:
    return vm.hypot(b, *z)


def sign(b: KernelBuilder, z: Pair) -> Pair:
    """z/|z|; 0 of any zero; an infinite part alone gives a unit, two of them NaN."""
    x, y = let(b, "z", z)
    larger = b.let("larger", op_("max", fabs(x), fabs(y)))
    shrunk = let(b, "shrunk", (x / larger, y / larger))
    length = b.let("length", op_("sqrt", shrunk[0] * shrunk[0] + shrunk[1] * shrunk[1]))
    x_inf, y_inf = b.let("x_inf", fabs(x).eq(INF)), b.let("y_inf", fabs(y).eq(INF))
    one_inf = b.let("one_inf", (x_inf ^ y_inf) & x.eq(x) & y.eq(y))
    unit = [copysign(select(here, lift(1.0, x.ty), 0.0), p) for here, p in ((x_inf, x), (y_inf, y))]
    regular = shrunk[0] / length, shrunk[1] / length
    zero = lift(0.0, x.ty)
    return choose(b.let("zero", larger.eq(0.0)), (zero, zero), choose(one_inf, (unit[0], unit[1]), regular))


# -------------------------------------------------------------------------------------- comparisons


def equal(b: KernelBuilder, z: Pair, w: Pair) -> Expr:
    return z[0].eq(w[0]) & z[1].eq(w[1])


def _has_nan(z: Pair) -> Expr:
    return z[0].ne(z[0]) | z[1].ne(z[1])


def _extreme(operation: str) -> Callable[[KernelBuilder, Pair, Pair], Pair]:
    """Lexicographic; a number with a NaN part wins, the first of two."""

    def f(b: KernelBuilder, z: Pair, w: Pair) -> Pair:
        z, w = let(b, "z", z), let(b, "w", w)
        before = op_(operation, z[0], w[0]) | (z[0].eq(w[0]) & op_(operation[0] + "e", z[1], w[1]))
        return choose(b.let("first", _has_nan(z) | (before & ~_has_nan(w))), z, w)

    return f


greatest, least = _extreme("gt"), _extreme("lt")

# ------------------------------------------------------------------------- roots, exponentials, logs


@in_double
def sqrt(b: KernelBuilder, z: Pair) -> Pair:
    """The root in the right half plane.  Infinities as C99 (annex G.6.4.2)."""
    x, y = z
    larger = b.let("larger", op_("max", fabs(x), fabs(y)))
    big, tiny = b.let("big", larger > 2.0**1000), b.let("tiny", larger < 2.0**-900)
    scale = b.let("scale", select(big, lift(2.0**-4, x.ty), select(tiny, lift(2.0**200, x.ty), 1.0)))
    back = b.let("back", select(big, lift(2.0**2, x.ty), select(tiny, lift(2.0**-100, x.ty), 1.0)))
    u, v = let(b, "scaled", (x * scale, y * scale))
    long = b.let("long", op_("sqrt", 0.5 * (fabs(u) + vm.hypot(b, u, v))))
    short = b.let("short", 0.5 * fabs(v) / long)
    left = b.let("left", u < 0.0)
    re, im = select(left, short, long) * back, select(left, long, short) * back
    finite = choose(larger.eq(0.0), (Const(0.0, x.ty), y), (re, copysign(im, y)))
    flat = let(b, "flat", (select(left, Const(0.0, x.ty), fabs(x)), copysign(select(left, fabs(x), 0.0), y)))
    on_axis = fabs(x).eq(INF) & y.eq(y)
    return choose(fabs(y).eq(INF), (fabs(y), y), choose(on_axis, flat, finite))


def rsqrt(b: KernelBuilder, z: Pair) -> Pair:
    return divide(b, (Const(1.0, z[0].ty), Const(0.0, z[0].ty)), sqrt(b, z))


def exp(b: KernelBuilder, z: Pair) -> Pair:
    """The last power of two is multiplied in last: |exp z| may overflow where its parts do not."""
    x, y = let(b, "exp", z)
    m, s, t = exp_parts(b, x)
    beyond = x > (90.0 if x.ty.bits == 32 else 711.0)  # where exp_parts clamps
    e, t = b.let("exp_head", select(beyond, lift(INF, x.ty), (m + 1.0) * s)), b.let("exp_tail", t)
    real, endless = y.eq(0.0), b.let("exp_endless", x.eq(INF) & ~(fabs(y) < INF))
    vanishes = b.let("exp_vanishes", x.eq(-INF))
    zero, sine, cosine = Const(0.0, x.ty), b.let("sine", vm.sin(b, y)), b.let("cosine", vm.cos(b, y))
    re = select(vanishes, copysign(zero, cosine), select(real, e, e * cosine) * t)
    return select(endless, x, re), select(vanishes, copysign(zero, sine), select(real, y, e * sine * t))


def exp2(b: KernelBuilder, z: Pair) -> Pair:
    return exp(b, (z[0] * LOG_2, z[1] * LOG_2))


@in_double
def expm1(b: KernelBuilder, z: Pair) -> Pair:
    """expm1(x) cos(y) - 2 sin(y/2)^2 + i exp(x) sin(y).  Of infinite x also where y is no number."""
    x, y = z
    half = b.let("half_sin", vm.sin(b, 0.5 * y))
    aimless = b.let("aimless", ~(fabs(y) < INF))
    re = select(x.eq(-INF), Const(-1.0, x.ty), vm.expm1(b, x) * vm.cos(b, y) - 2.0 * half * half)
    im = select(y.eq(0.0), y, vm.exp(b, x) * vm.sin(b, y))
    return select(aimless & x.eq(INF), x, re), select(aimless & x.eq(-INF), Const(0.0, x.ty), im)


def logistic(b: KernelBuilder, z: Pair) -> Pair:
    """1/(1 + e) or e/(1 + e) with the exponential that does not overflow."""
    one, z = (Const(1.0, z[0].ty), Const(0.0, z[0].ty)), let(b, "logistic", z)
    left = b.let("logistic_left", z[0] < 0.0)
    e = let(b, "logistic_exp", exp(b, choose(left, z, negative(b, z))))
    return divide(b, choose(left, e, one), add(b, one, e))


@in_double
def log(b: KernelBuilder, z: Pair) -> Pair:
    """Where |z| is near 1: log1p((x - 1)(x + 1) + y^2)/2 for |x| >= |y|."""
    x, y = z
    u, v = b.let("log_u", fabs(x)), b.let("log_v", fabs(y))
    large, small = b.let("log_large", op_("max", u, v)), b.let("log_small", op_("min", u, v))
    near = b.let("log_near", (large > 0.5) & (large < 1.5))
    close = 0.5 * vm.log1p(b, fma(small, small, (large - 1.0) * (large + 1.0)))
    return select(near, close, vm.log(b, vm.hypot(b, x, y))), vm.atan2(b, y, x)


@in_double
def log1p(b: KernelBuilder, z: Pair) -> Pair:
    """log1p(x (2 + x) + y^2)/2 near zero."""
    x, y = z
    near = (fabs(x) < 0.5) & (fabs(y) < 0.5)
    close = 0.5 * vm.log1p(b, fma(y, y, x * (x + 2.0)))
    u = b.let("log_u", x + 1.0)
    return select(near, close, vm.log(b, vm.hypot(b, u, y))), vm.atan2(b, y, u)


@in_double
def log2(b: KernelBuilder, z: Pair) -> Pair:
    """The parts are divided one by one, as infinities need."""
    re, im = log(b, z)
    return re / LOG_2, im / LOG_2


def pow(b: KernelBuilder, z: Pair, w: Pair) -> Pair:
    """z**w; of a whole number that stands in the code by products, as NumPy does."""
    if not all(isinstance(part, Const) for part in w) or w[1].value != 0 or w[0].value not in _WHOLE:  # type: ignore[union-attr]
        return _general_pow(b, z, w)
    value = _whole_pow(b, z, int(w[0].value))  # type: ignore[union-attr]
    if w[0].value > 0:  # type: ignore[union-attr]
        return value
    zero, nan = b.let("pow_zero", z[0].eq(0.0) & z[1].eq(0.0)), Const(NAN, z[0].ty)
    return choose(zero, (nan, nan), value)


def _whole_pow(b: KernelBuilder, z: Pair, y: int) -> Pair:
    return in_double(lambda b, z: integer_pow(b, z, y))(b, z)


@in_double
def _general_pow(b: KernelBuilder, z: Pair, w: Pair) -> Pair:
    """exp(w log z); z**0 is 1, 0**w is 0 for Re w > 0."""
    w = let(b, "pow_w", w)
    ty = z[0].ty
    zero_base = b.let("pow_zero", z[0].eq(0.0) & z[1].eq(0.0))
    value = exp(b, multiply(b, w, log(b, z)))
    of_zero = select((w[0] > 0.0), Const(0.0, ty), Const(NAN, ty))
    value = choose(zero_base, (of_zero, of_zero), value)
    one = Const(1.0, ty), Const(0.0, ty)
    return choose(b.let("pow_one", w[0].eq(0.0) & w[1].eq(0.0)), one, value)


# ---------------------------------------------------------------- trigonometric, hyperbolic functions


def _times(zero: Expr, infinite: Expr) -> Expr:
    """A product in which 0 * infinity is 0."""
    return select(zero.eq(0.0), zero, zero * infinite)


def _aimless(z: Pair) -> Expr:
    """An infinite real part, and an imaginary part that is infinite or NaN."""
    return fabs(z[0]).eq(INF) & ~(fabs(z[1]) < INF)


@in_double
def sinh(b: KernelBuilder, z: Pair) -> Pair:
    """sinh(x) cos(y) + i cosh(x) sin(y)."""
    x, y = z
    sine = b.let("sine", vm.sin(b, y))
    s = b.let("sinh", vm.sinh(b, x))
    re = select(_aimless(z), x, _times(s, vm.cos(b, y)))
    return re, _times(sine, vm.cosh(b, x))


@in_double
def cosh(b: KernelBuilder, z: Pair) -> Pair:
    """cosh(x) cos(y) + i sinh(x) sin(y)."""
    x, y = z
    sine = b.let("sine", vm.sin(b, y))
    s = b.let("sinh", vm.sinh(b, x))
    zero = s.eq(0.0) | sine.eq(0.0)
    signed_zero = copysign(Const(0.0, x.ty), s) * copysign(lift(1.0, x.ty), sine)
    return select(_aimless(z), fabs(x), vm.cosh(b, x) * vm.cos(b, y)), select(zero, signed_zero, s * sine)


def sin(b: KernelBuilder, z: Pair) -> Pair:
    """-i sinh(i z)."""
    re, im = sinh(b, (-z[1], z[0]))
    return im, -re


def cos(b: KernelBuilder, z: Pair) -> Pair:
    """cosh(i z)."""
    return cosh(b, (-z[1], z[0]))


@in_double
def tanh(b: KernelBuilder, z: Pair) -> Pair:
    """W. Kahan, "Branch cuts for complex elementary functions" (1987); beyond |x| = 22 the real part is 1.

    The imaginary part at infinity is a zero of y's sign, as in the array API standard.
    """
    x, y = z
    t = b.let("tan", vm.tan(b, y))
    beta = b.let("beta", fma(t, t, 1.0))
    s = b.let("sinh", vm.sinh(b, b.let("tanh_x", op_("min", op_("max", x, Const(-22.0, x.ty)), Const(22.0, x.ty)))))
    rho = op_("sqrt", fma(s, s, 1.0))
    divisor = b.let("divisor", fma(beta, s * s, 1.0))
    vertical = b.let("vertical", fabs(t).eq(INF))
    inside = select(vertical, rho / s, beta * rho * s / divisor), select(vertical, 1.0 / t, t / divisor)
    decay = b.let("decay", vm.exp(b, -fabs(x)))
    endless = b.let("endless", fabs(x).eq(INF))
    turning = b.let("turning", fabs(y) < INF)
    one = select(turning | endless, lift(1.0, x.ty), NAN)
    tiny = 4.0 * vm.sin(b, y) * vm.cos(b, y) * decay * decay
    vanishing = select(endless, copysign(Const(0.0, x.ty), y), tiny)
    re, im = choose(b.let("far", fabs(x) > 22.0), (copysign(one, x), vanishing), inside)
    return select(x.eq(0.0) & ~turning, x, re), select(y.eq(0.0), y, im)


def tan(b: KernelBuilder, z: Pair) -> Pair:
    """-i tanh(i z)."""
    re, im = tanh(b, (-z[1], z[0]))
    return im, -re


# ---------------------------------------------- inverses: Kahan's formulas, exact about the branch cuts


def _is_infinite(z: Pair) -> Expr:
    return fabs(z[0]).eq(INF) | fabs(z[1]).eq(INF)


def _roots(b: KernelBuilder, x: Expr, y: Expr) -> tuple[Pair, Pair]:
    """``sqrt(1 - z)`` and ``sqrt(1 + z)``."""
    minus = let(b, "root_minus", sqrt(b, (1.0 - x, -y)))
    return minus, let(b, "root_plus", sqrt(b, (1.0 + x, y)))


@in_double
def asin(b: KernelBuilder, z: Pair) -> Pair:
    x, y = z
    (a, c), (d, e) = _roots(b, x, y)
    infinite = b.let("infinite", _is_infinite(z))
    re = vm.atan2(b, x, select(infinite, fabs(y), a * d - c * e))
    return select(x.eq(0.0), x, re), copysign(select(infinite, lift(INF, x.ty), vm.asinh(b, a * e - c * d)), y)


@in_double
def acos(b: KernelBuilder, z: Pair) -> Pair:
    x, y = z
    (a, c), (d, e) = _roots(b, x, y)
    infinite = b.let("infinite", _is_infinite(z))
    re = select(infinite, lift(1.0, x.ty), 2.0) * vm.atan2(b, select(infinite, fabs(y), a), select(infinite, x, d))
    im = select(_aimless(z), lift(INF, x.ty), vm.asinh(b, d * c - e * a))
    return select(x.eq(0.0) & y.ne(y), lift(HALF_PI, x.ty), re), copysign(im, -y)


@in_double
def acosh(b: KernelBuilder, z: Pair) -> Pair:
    x, y = z
    a, c = let(b, "root_minus", sqrt(b, (x - 1.0, y)))
    d, e = let(b, "root_plus", sqrt(b, (x + 1.0, y)))
    infinite = b.let("infinite", _is_infinite(z))
    im = select(infinite, lift(1.0, x.ty), 2.0) * vm.atan2(b, select(infinite, y, c), select(infinite, x, d))
    re = select(_aimless(z), fabs(x), vm.asinh(b, a * d + c * e))
    return re, select(x.eq(0.0) & y.ne(y), lift(HALF_PI, x.ty), im)


def asinh(b: KernelBuilder, z: Pair) -> Pair:
    """-i asin(i z)."""
    re, im = asin(b, (-z[1], z[0]))
    return im, -re


@in_double
def atanh(b: KernelBuilder, z: Pair) -> Pair:
    """log1p(4 x/((1 - x)^2 + y^2))/4 + i atan2(2 y, (1 - x)(1 + x) - y^2)/2; 1/z + i pi/2 for huge z."""
    x, y = z
    u, v = b.let("atanh_u", fabs(x)), b.let("atanh_v", fabs(y))
    gap = b.let("gap", 1.0 - u)
    re = 0.25 * vm.log1p(b, b.let("ratio", 4.0 * u / fma(v, v, gap * gap)))
    im = 0.5 * vm.atan2(b, 2.0 * y, gap * (1.0 + u) - v * v)
    flat = b.let("flat", v <= u)
    large, small = b.let("large", select(flat, u, v)), b.let("small", select(flat, v, u))
    ratio = b.let("ratio", small / large)
    part = select(flat, lift(1.0, x.ty), ratio) / fma(large * ratio, ratio, large)
    inverse = select(large.eq(INF), Const(0.0, x.ty), part)
    far = copysign(inverse, x), copysign(lift(HALF_PI, x.ty), y)
    re, im = choose(b.let("huge", large > 2.0**400), far, (copysign(re, x), im))
    return select(y.ne(y) & (x.eq(0.0) | fabs(x).eq(INF)), copysign(Const(0.0, x.ty), x), re), im


def atan(b: KernelBuilder, z: Pair) -> Pair:
    """-i atanh(i z)."""
    re, im = atanh(b, (-z[1], z[0]))
    return im, -re
