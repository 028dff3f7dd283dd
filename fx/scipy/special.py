"""``fx.scipy.special``: special functions, under the names of ``scipy.special``.

All are elementwise and differentiable, but ``logsumexp``, ``softmax`` and ``log_softmax``, which reduce.  Integers
become floats.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from .. import dtypes
from .. import numpy as fnp
from ..api import stop_gradient
from ..errors import DTypeError
from ..numpy.axes import canonical_axes
from ..numpy.core import as_value, promote_inexact
from ..primitives import elementwise as p
from ..primitives.reductions import reduce_max
from ..primitives.shaping import expand_dims, squeeze
from ..transforms.custom_rules import custom_jvp

__all__ = [
    "betaln", "digamma", "entr", "erf", "erfc", "erfinv", "expit", "factorial", "gamma", "gammaln", "gammasgn", "kl_div",
    "log_ndtr", "log_softmax", "logit", "logsumexp", "multigammaln", "ndtr", "ndtri", "rel_entr", "softmax", "xlog1py",
    "xlogy",
]  # fmt: skip

Value = Any


def _floats(name: str, *xs: Any, complex_too: bool = False) -> list[Value]:
    """Operands as floats of one dtype and shape."""
    values = promote_inexact(*[as_value(x, f"an argument of {name}") for x in xs])
    if dtypes.is_complex(values[0].dtype) and not complex_too:
        raise DTypeError(f"{name} takes real numbers; found {values[0].dtype}")
    return values


# --------------------------------------------------------------------- error function, normal distribution


def erf(x: Any) -> Value:
    """Error function: 2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x."""
    return p.erf(*_floats("erf", x))


def erfc(x: Any) -> Value:
    """1 - erf(x), accurate where erf(x) is close to 1."""
    return p.erfc(*_floats("erfc", x))


def erfinv(x: Any) -> Value:
    """Inverse of erf, for -1 <= x <= 1."""
    return p.erf_inv(*_floats("erfinv", x))


def ndtr(x: Any) -> Value:
    """Distribution function of the standard normal distribution: the probability of a value below x.

    >>> ndtr(fnp.array([-1000.0, 0.0]))
    Array([0. , 0.5], dtype=float32)
    """
    (x,) = _floats("ndtr", x)
    return 0.5 * p.erfc(-x * math.sqrt(0.5))


# Stephen Moshier, Cephes Mathematical Library, ndtri.c: rational approximations on three ranges of p, highest power first
_CENTRE = (
    (-5.99633501014107895267e1, 9.80010754185999661536e1, -5.66762857469070293439e1, 1.39312609387279679503e1,
     -1.23916583867381258016e0),
    (1.0, 1.95448858338141759834e0, 4.67627912898881538453e0, 8.63602421390890590575e1, -2.25462687854119370527e2,
     2.00260212380060660359e2, -8.20372256168333339912e1, 1.59056225126211695515e1, -1.18331621121330003142e0),
)  # fmt: skip
_TAIL = (
    (4.05544892305962419923e0, 3.15251094599893866154e1, 5.71628192246421288162e1, 4.40805073893200834700e1,
     1.46849561928858024014e1, 2.18663306850790267539e0, -1.40256079171354495875e-1, -3.50424626827848203418e-2,
     -8.57456785154685413611e-4),
    (1.0, 1.57799883256466749731e1, 4.53907635128879210584e1, 4.13172038254672030440e1, 1.50425385692907503408e1,
     2.50464946208309415979e0, -1.42182922854787788574e-1, -3.80806407691578277194e-2, -9.33259480895457427372e-4),
)  # fmt: skip
_FAR_TAIL = (
    (3.23774891776946035970e0, 6.91522889068984211695e0, 3.93881025292474443415e0, 1.33303460815807542389e0,
     2.01485389549179081538e-1, 1.23716634817820021358e-2, 3.01581553508235416007e-4, 2.65806974686737550832e-6,
     6.23974539184983293730e-9),
    (1.0, 6.02427039364742014255e0, 3.67983563856160859403e0, 1.37702099489081330271e0, 2.16236993594496635890e-1,
     1.34204006088543189037e-2, 3.28014464682127739104e-4, 2.89247864745380683936e-6, 6.79019408009981274425e-9),
)  # fmt: skip


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Value) -> Value:
    above, below = (sum_horner(c, x) for c in coefficients)
    return above / below


def sum_horner(coefficients: tuple[float, ...], x: Value) -> Value:
    """The polynomial with these coefficients, highest power first."""
    total = fnp.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        total = total * x + c
    return total


@custom_jvp
def ndtri(p: Any) -> Value:
    """Inverse of ``ndtr``: the value below which a standard normal number falls with probability p.

    Source: Cephes, ``ndtri.c``.
    """
    (p,) = _floats("ndtri", p)
    lower = p <= 0.5
    tail = fnp.where(lower, p, 1 - p)
    safe = fnp.where((tail > 0) & (tail < 1), tail, 0.25)
    w = safe - 0.5
    ww = w * w
    centre = -math.sqrt(2 * math.pi) * (w + w * ww * _ratio(_CENTRE, ww))
    z = fnp.sqrt(-2 * fnp.log(fnp.minimum(safe, math.exp(-2))))
    rational = fnp.where(z >= 8, _ratio(_FAR_TAIL, 1 / z), _ratio(_TAIL, 1 / z))
    outer = z - fnp.log(z) / z - rational / z
    x = fnp.where(safe > math.exp(-2), centre, outer)
    x = fnp.where(lower, -x, x)
    limits = fnp.where(p == 0, -np.inf, fnp.where(p == 1, np.inf, np.nan))
    return fnp.where((p > 0) & (p < 1), x, limits.astype(x.dtype))


@ndtri.defjvp
def _ndtri_jvp(primals: tuple[Value], tangents: tuple[Value]) -> tuple[Value, Value]:
    x = ndtri(*primals)
    return x, tangents[0] * (math.sqrt(2 * math.pi) * fnp.exp(0.5 * x * x))


@custom_jvp
def log_ndtr(x: Any) -> Value:
    """log(ndtr(x)), accurate in both tails.

    log1p(-ndtr(-x)) right of 0, and left of -5 an asymptotic expansion of Mills' ratio (Abramowitz and Stegun, 26.2.12)
    as a continued fraction (26.2.14).
    """
    (x,) = _floats("log_ndtr", x)
    tail = fnp.minimum(x, -_TAIL_START)
    fraction = fnp.ones_like(tail) * -tail
    for k in range(_TAIL_TERMS, 0, -1):
        fraction = k / fraction - tail
    far = -0.5 * tail * tail - 0.5 * math.log(2 * math.pi) - fnp.log(fraction)
    near = fnp.log(ndtr(fnp.clip(x, -_TAIL_START, 0)))
    return fnp.where(x < -_TAIL_START, far, fnp.where(x < 0, near, fnp.log1p(-ndtr(-fnp.maximum(x, 0)))))


_TAIL_START, _TAIL_TERMS = 5.0, 20


@log_ndtr.defjvp
def _log_ndtr_jvp(primals: tuple[Value], tangents: tuple[Value]) -> tuple[Value, Value]:
    (x,) = _floats("log_ndtr", *primals)
    out = log_ndtr(x)
    return out, tangents[0] * fnp.exp(-0.5 * x * x - 0.5 * math.log(2 * math.pi) - out)


# ------------------------------------------------------------------------------------ gamma function


def gammaln(x: Any) -> Value:
    """log(|gamma(x)|)."""
    return p.lgamma(*_floats("gammaln", x))


def gammasgn(x: Any) -> Value:
    """Sign of gamma(x): NaN at the negative integers, where it has none."""
    (x,) = _floats("gammasgn", x)
    below = fnp.floor(x)
    odd = (x < 0) & (fnp.remainder(below, 2) != 0)
    minus = odd | ((x == 0) & fnp.signbit(x))
    none = fnp.isnan(x) | ((x < 0) & (x == below))
    return fnp.where(none, np.nan, fnp.where(minus, -1.0, 1.0)).astype(x.dtype)


def gamma(x: Any) -> Value:
    """Gamma function: (n - 1)! at the positive integers n."""
    (x,) = _floats("gamma", x)
    return gammasgn(x) * fnp.exp(p.lgamma(x))


def factorial(n: Any) -> Value:
    """n!, as a float; 0 for negative n."""
    (n,) = _floats("factorial", n)
    return fnp.where(n < 0, 0, fnp.exp(p.lgamma(n + 1)))


def betaln(a: Any, b: Any) -> Value:
    """log of the beta function gamma(a) gamma(b) / gamma(a + b), for positive a and b."""
    a, b = _floats("betaln", a, b)
    return p.lgamma(a) + p.lgamma(b) - p.lgamma(a + b)


def multigammaln(a: Any, d: int) -> Value:
    """log of the multivariate gamma function of dimension d."""
    (a,) = _floats("multigammaln", a)
    halves = fnp.arange(d, dtype=a.dtype) / 2
    return fnp.sum(p.lgamma(a[..., None] - halves), axis=-1) + 0.25 * d * (d - 1) * math.log(math.pi)


def digamma(x: Any) -> Value:
    """Derivative of gammaln."""
    return p.digamma(*_floats("digamma", x))


# -------------------------------------------------------------------------------- logarithms, entropies


def expit(x: Any) -> Value:
    """Logistic function 1 / (1 + exp(-x))."""
    return p.logistic(*_floats("expit", x, complex_too=True))


def logit(x: Any) -> Value:
    """log(x / (1 - x)), the inverse of ``expit``."""
    (x,) = _floats("logit", x)
    return fnp.log(x) - fnp.log1p(-x)


def _product(x: Value, log: Value, y: Value) -> Value:
    """x * log, and 0 where x is 0 (unless y is NaN)."""
    zero = (x == 0) & ~fnp.isnan(y)
    return fnp.where(zero, 0, x * fnp.where(zero, 1, log))


@custom_jvp
def xlogy(x: Any, y: Any) -> Value:
    """x log(y), and 0 for x = 0."""
    x, y = _floats("xlogy", x, y, complex_too=True)
    return _product(x, fnp.log(y), y)


@xlogy.defjvp
def _xlogy_jvp(primals: tuple[Value, Value], tangents: tuple[Value, Value]) -> tuple[Value, Value]:
    out, (x, y), (dx, dy) = xlogy(*primals), primals, tangents
    return out, (dx * fnp.log(y) + dy * (x / y)).astype(out.dtype)


@custom_jvp
def xlog1py(x: Any, y: Any) -> Value:
    """x log(1 + y), and 0 for x = 0."""
    x, y = _floats("xlog1py", x, y, complex_too=True)
    return _product(x, fnp.log1p(y), y)


@xlog1py.defjvp
def _xlog1py_jvp(primals: tuple[Value, Value], tangents: tuple[Value, Value]) -> tuple[Value, Value]:
    out, (x, y), (dx, dy) = xlog1py(*primals), primals, tangents
    return out, (dx * fnp.log1p(y) + dy * (x / (1 + y))).astype(out.dtype)


def entr(x: Any) -> Value:
    """-x log(x); 0 for x = 0 and -inf for x < 0."""
    (x,) = _floats("entr", x)
    return fnp.where(x < 0, -np.inf, -xlogy(x, fnp.where(x < 0, 1, x)))


def rel_entr(p: Any, q: Any) -> Value:
    """p log(p / q); 0 for p = 0 and q >= 0, and inf outside."""
    p, q = _floats("rel_entr", p, q)
    inside = (p > 0) & (q > 0)
    safe_p, safe_q = fnp.where(inside, p, 1), fnp.where(inside, q, 1)
    outside = fnp.where((p == 0) & (q >= 0), 0.0, np.inf).astype(p.dtype)
    return fnp.where(inside, safe_p * (fnp.log(safe_p) - fnp.log(safe_q)), outside)


def kl_div(p: Any, q: Any) -> Value:
    """p log(p / q) - p + q."""
    p, q = _floats("kl_div", p, q)
    return rel_entr(p, q) - p + q


def _greatest(x: Value, axis: Any) -> Value:
    """The maximum along axes, which stay with size 1; -inf along empty ones.  No derivative goes through it."""
    axes = canonical_axes(axis, x.ndim)
    return stop_gradient(expand_dims(reduce_max(x, axes), axes))


def logsumexp(
    a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False, where: Any = None
) -> Any:
    """log(sum(b * exp(a))), without overflow.

    Args:
        a: exponents.
        axis: int, tuple of ints, or None for all.
        b: factors, broadcast against ``a``; negative ones may give NaN, or a sign with ``return_sign``.
        keepdims: keep reduced axes with size 1.
        return_sign: return ``(log of the absolute value, sign)``.
        where: which elements count; broadcast against ``a``.

    >>> logsumexp(fnp.array([1000.0, 1000.0]))
    Array(1000.6932, dtype=float32)
    """
    a = as_value(a, "a of logsumexp")
    a, b = promote_inexact(a, as_value(b, "b of logsumexp")) if b is not None else (*promote_inexact(a), None)
    if where is not None:
        a = fnp.where(where, a, -np.inf)
    if b is not None:
        a = fnp.where(b == 0, -np.inf, a)
    axes = canonical_axes(axis, a.ndim)
    top = _greatest(a.real if dtypes.is_complex(a.dtype) else a, axes)
    top = fnp.where(fnp.isfinite(top), top, 0)
    terms = fnp.exp(a - top)
    total = fnp.sum(terms if b is None else b * terms, axis=axes, keepdims=True)
    sign = fnp.sign(total)
    out = fnp.log(fnp.abs(total) if return_sign or (b is not None and not dtypes.is_complex(a.dtype)) else total) + top
    if b is not None and not return_sign and not dtypes.is_complex(a.dtype):
        out = fnp.where(sign < 0, np.nan, out)
    out, sign = (out, sign) if keepdims else (squeeze(out, axes), squeeze(sign, axes))
    return (out, sign) if return_sign else out


@functools.partial(custom_jvp, nondiff_argnums=(1,))
def _softmax(x: Value, axis: Any, where: Any) -> Value:
    masked = x if where is None else fnp.where(where, x, -np.inf)
    unnormalised = fnp.exp(masked - _greatest(masked, axis))
    out = unnormalised / fnp.sum(unnormalised, axis=axis, keepdims=True)
    return out if where is None else fnp.where(where, out, 0)


def _softmax_jvp(axis: Any, primals: Any, tangents: Any) -> tuple[Value, Value]:
    """y * (t - sum(y * t)): the result alone is kept for the backward pass."""
    y, t = _softmax(primals[0], axis, primals[1]), tangents[0]
    return y, y * (t - fnp.sum(y * t, axis=axis, keepdims=True))


_softmax.defjvp(_softmax_jvp, symbolic_zeros=True)  # ``where`` is boolean: it has no tangent, not even a zero


def softmax(x: Any, /, *, axis: Any = None, where: Any = None) -> Value:
    """exp(x) divided by its sum along ``axis``, without overflow.

    Args:
        axis: int, tuple of ints, or None for all.
        where: which elements take part; the others become 0. Broadcast against ``x``.
    """
    (x,) = _floats("softmax", x)
    return _softmax(x, axis, None if where is None else fnp.broadcast_to(where, x.shape))


def log_softmax(x: Any, /, *, axis: Any = None, where: Any = None) -> Value:
    """log(softmax(x)), computed as x - logsumexp(x); the elements not in ``where`` become -inf."""
    (x,) = _floats("log_softmax", x)
    x = x if where is None else fnp.where(where, x, -np.inf)
    shifted = x - _greatest(x, axis)
    out = shifted - fnp.log(fnp.sum(fnp.exp(shifted), axis=axis, keepdims=True))
    return out if where is None else fnp.where(where, out, -np.inf)
