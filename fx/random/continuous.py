"""Samplers of continuous distributions.

Each is a smooth function of uniform numbers (of normal ones for ``maxwell`` and ``wald``), so the derivative with
respect to its parameters is that of the sample itself.  The order of operations is JAX's: the same bits where only
exact operations are involved.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from .. import numpy as fnp
from ..api import stop_gradient
from ..config import config, in_full_width
from ..errors import DTypeError, ShapeError
from ..numpy.axes import static_shape
from ..numpy.core import as_type, broadcast_shapes, filled, shape_of
from ..plans import planned
from ..primitives import elementwise as p
from .keys import check_key, random_bits, split_key

__all__ = [
    "cauchy", "exponential", "gumbel", "laplace", "logistic", "lognormal", "maxwell", "normal", "pareto", "rayleigh",
    "triangular", "truncated_normal", "uniform", "wald", "weibull_min",
]  # fmt: skip

Value = Any
Shape = tuple[int, ...]


# ------------------------------------------------------------------------------------------- checks


def float_dtype(name: str, dtype: Any, complex_too: bool = False) -> np.dtype:
    """The dtype of the samples.

    Raises:
        DTypeError: it is no float (or complex) dtype.
    """
    if isinstance(dtype, (int, float)):
        raise DTypeError(
            f"{name}: {dtype!r} stands where the dtype belongs. What comes behind the shape is given by name, as in"
            " uniform(key, (3,), minval=-1.0, maxval=1.0)."
        )
    d = config.default_float if dtype is None else dtypes.canonical(dtype)
    if not (dtypes.is_float(d) or (complex_too and dtypes.is_complex(d))):
        raise DTypeError(
            f"{name} makes floats{' or complex numbers' * complex_too}; found dtype {d}. Take e.g. dtype='float32'."
        )
    return d


def sample_shape(name: str, shape: Any, *params: Any) -> Shape:
    """The shape of the samples: ``shape``, or for None that of the parameters broadcast together.

    Raises:
        ShapeError: the parameters do not broadcast to ``shape``.
    """
    return fitting_shape(name, shape, *[shape_of(x) for x in params])


def fitting_shape(name: str, shape: Any, *shapes: Shape) -> Shape:
    """``sample_shape`` for the shapes of the parameters."""
    if shape is None:
        return broadcast_shapes(*shapes)
    shape = static_shape(shape)
    if broadcast_shapes(shape, *shapes) != shape:
        raise ShapeError(
            f"{name}: parameters of shapes {', '.join(map(str, shapes))} do not broadcast to shape={shape}"
        )
    return shape


def _as(x: Any, d: np.dtype) -> Value:
    """A parameter (number, list, array) in the dtype of the samples."""
    return fnp.asarray(x, d)


# ---------------------------------------------------------------------------------- uniform numbers


def drawn_bits(d: np.dtype) -> int:
    """How many random bits a uniform number of a dtype is made of."""
    return 8 if fnp.finfo(d).nmant < 8 else 8 * d.itemsize


def unit_of(bits: Value, d: np.dtype) -> Value:
    """Uniform numbers in [0, 1) from ``drawn_bits``: random mantissa bits under the exponent of 1, less 1."""
    shape, unsigned = shape_of(bits), np.dtype(f"uint{8 * d.itemsize}")
    one = int(np.ones((), d).view(unsigned))
    mantissa = p.shift_right_logical(as_type(bits, unsigned), drawn_bits(d) - fnp.finfo(d).nmant)
    ones = p.bitwise_or(mantissa, filled(shape, one, unsigned))
    return p.sub(p.bitcast_convert_type(ones, d), filled(shape, 1, d))


def _unit(key: Value, shape: Shape, d: np.dtype) -> Value:
    return unit_of(random_bits(key, drawn_bits(d), shape), d)


def uniform_in(key: Value, shape: Shape, d: np.dtype, minval: Any, maxval: Any) -> Value:
    """``uniform`` for a checked key, shape and dtype."""
    return between(_unit(key, shape, d), minval, maxval)


def between(u: Value, minval: Any, maxval: Any) -> Value:
    """Uniform numbers in [minval, maxval) from such in [0, 1)."""
    d = u.dtype
    if type(minval) in (int, float) and type(maxval) in (int, float) and (minval, maxval) == (0, 1):
        return u
    low, high = _as(minval, d), _as(maxval, d)
    return fnp.maximum(low, u * (high - low) + low)


@planned
def uniform(
    key: Any, shape: Any = (), dtype: Any = None, minval: Any = 0.0, maxval: Any = 1.0, *, out_sharding: Any = None
) -> Value:
    """Uniform numbers in [minval, maxval).

    Args:
        key: a key.
        shape: of the result.
        dtype: a float dtype.
        minval, maxval: numbers or arrays that broadcast to ``shape``.

    >>> from fx import random
    >>> bool((random.uniform(random.key(0), (100,)) < 1).all())
    True
    """
    key, d = check_key("uniform", key), float_dtype("uniform", dtype)
    return uniform_in(key, sample_shape("uniform", shape, minval, maxval), d, minval, maxval)


@planned
def exponential(key: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """Exponential samples: density exp(-x) for x >= 0.

    >>> import fx
    >>> round(float(fx.random.exponential(fx.random.key(0), (10_000,)).mean()), 1)
    1.0
    """
    key, d = check_key("exponential", key), float_dtype("exponential", dtype)
    return -fnp.log1p(-_unit(key, static_shape(shape), d))


@planned
def cauchy(key: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """Cauchy samples: density 1 / (pi (1 + x**2))."""
    key, d = check_key("cauchy", key), float_dtype("cauchy", dtype)
    u = uniform_in(key, static_shape(shape), d, float(fnp.finfo(d).eps), 1.0)
    return fnp.tan(np.pi * (u - 0.5))


@planned
def laplace(key: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """Laplace samples: density exp(-|x|) / 2."""
    key, d = check_key("laplace", key), float_dtype("laplace", dtype)
    u = uniform_in(key, static_shape(shape), d, -1.0 + float(fnp.finfo(d).epsneg), 1.0)
    return fnp.sign(u) * fnp.log1p(-fnp.abs(u))


@planned
def logistic(key: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """Logistic samples: their distribution function is the sigmoid."""
    key, d = check_key("logistic", key), float_dtype("logistic", dtype)
    u = uniform_in(key, static_shape(shape), d, float(fnp.finfo(d).tiny), 1.0)
    return fnp.log(u) - fnp.log1p(-u)


@planned
def gumbel(key: Any, shape: Any = (), dtype: Any = None, mode: str | None = None, *, out_sharding: Any = None) -> Value:
    """Gumbel samples: distribution function exp(-exp(-x)).

    Args:
        mode: "low" (default); "high", which draws twice the bits and so reaches rarer, larger values; "highest", which
            in float32 rounds none of these bits away (in other dtypes it is "high").

    >>> import fx, numpy as np
    >>> logits = np.log([0.1, 0.9])  # the place of the maximum is drawn with these probabilities
    >>> draws = (logits + fx.random.gumbel(fx.random.key(0), (10_000, 2))).argmax(1)
    >>> round(float(draws.mean()), 1)
    0.9
    """
    key, d, shape = check_key("gumbel", key), float_dtype("gumbel", dtype), static_shape(shape)
    info = fnp.finfo(d)
    if mode in (None, "low"):
        return -fnp.log(-fnp.log(uniform_in(key, shape, d, float(info.tiny), 1.0)))
    if mode not in ("high", "highest"):
        raise ShapeError(f"gumbel has the modes 'low', 'high' and 'highest'; found mode={mode!r}")
    if mode == "highest" and d == dtypes.float32:
        return _gumbel_of_words(random_bits(key, 32, (2, *shape)))
    high, low = _unit(key, (2, *shape), d)
    u = fnp.where(high >= 0.5, high, high + 2.0 ** -int(info.nmant) * low + float(info.tiny))
    return -fnp.log(-fnp.log1p(-u))


@in_full_width
def _gumbel_of_words(words: Value) -> Value:
    """Gumbel samples in float32 from (2, ...) words of 32 bits: u of 64 bits, or 1 - u if that is the smaller one, keeps
    its 24 leading bits."""
    high, low = (as_type(words[i], dtypes.uint64) for i in (0, 1))
    u = p.bitwise_or(p.shift_left(high, 32), low)
    small = u < 1 << 63
    rest = fnp.where(small, u, 0 - u)
    zeros = p.clz(rest)
    mantissa = p.shift_right_logical(p.shift_left(rest, fnp.minimum(zeros, 63)), 40) & (1 << 23) - 1
    float_bits = as_type(p.bitwise_or(p.shift_left(126 - zeros, 23), mantissa), dtypes.uint32)
    x = p.bitcast_convert_type(float_bits, dtypes.float32)
    return -fnp.log(fnp.where(small, -fnp.log1p(-x), -fnp.log(x)))


@planned
def pareto(key: Any, b: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """Pareto samples: density b / x**(b + 1) for x >= 1."""
    d = float_dtype("pareto", dtype)
    return fnp.exp(exponential(key, sample_shape("pareto", shape, b), d) / _as(b, d))


@planned
def rayleigh(key: Any, scale: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """Rayleigh samples: density x / scale**2 * exp(-x**2 / (2 scale**2)) for x >= 0."""
    d = float_dtype("rayleigh", dtype)
    u = uniform(key, sample_shape("rayleigh", shape, scale), d)
    return _as(scale, d) * fnp.sqrt(-2 * fnp.log(u))


@planned
def triangular(
    key: Any, left: Any, mode: Any, right: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None
) -> Value:
    """Samples with a triangular density: 0 at ``left`` and ``right``, greatest at ``mode``."""
    d = float_dtype("triangular", dtype)
    u = uniform(key, sample_shape("triangular", shape, left, mode, right), d)
    left, mode, right = _as(left, d), _as(mode, d), _as(right, d)
    rising = left + fnp.sqrt(u * (right - left) * (mode - left))
    falling = right - fnp.sqrt((1 - u) * (right - left) * (right - mode))
    return fnp.where(u < (mode - left) / (right - left), rising, falling)


@planned
def weibull_min(key: Any, scale: Any, concentration: Any, shape: Any = (), dtype: Any = None) -> Value:
    """Weibull samples: distribution function 1 - exp(-(x / scale)**concentration) for x >= 0."""
    d = float_dtype("weibull_min", dtype)
    e = exponential(key, shape, d)
    return fnp.power(e, 1 / _as(concentration, d)) * _as(scale, d)


# ----------------------------------------------------------------------------------- normal numbers


def _normal(key: Value, shape: Shape, d: np.dtype) -> Value:
    return normal_of(_unit(key, shape, d))


def normal_of(u: Value) -> Value:
    """Normal numbers from uniform ones in [0, 1), by the inverse of their distribution function."""
    low = float(np.nextafter(np.array(-1, u.dtype), np.array(0, u.dtype), dtype=u.dtype))
    return p.mul(filled(shape_of(u), np.sqrt(2.0), u.dtype), p.erf_inv(between(u, low, 1.0)))


@planned
def normal(key: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """Normal samples of mean 0 and variance 1; of a complex dtype: real and imaginary part of variance 1/2 each.

    >>> from fx import random
    >>> random.normal(random.key(0), (2, 3)).shape
    (2, 3)
    """
    key, d, shape = check_key("normal", key), float_dtype("normal", dtype, complex_too=True), static_shape(shape)
    if not dtypes.is_complex(d):
        return _normal(key, shape, d)
    keys, half = split_key(key), dtypes.real_dtype(d)
    return p.complex(*[_normal(keys[i], shape, half) / np.sqrt(2.0).astype(half) for i in (0, 1)])


@planned
def truncated_normal(
    key: Any, lower: Any, upper: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None
) -> Value:
    """Samples of the standard normal distribution conditioned on lower < x < upper.

    >>> import fx
    >>> x = fx.random.truncated_normal(fx.random.key(0), -2.0, 2.0, (1000,))
    >>> bool((abs(x) < 2).all())
    True
    """
    key, d = check_key("truncated_normal", key), float_dtype("truncated_normal", dtype)
    shape = sample_shape("truncated_normal", shape, lower, upper)
    lower, upper, root2 = _as(lower, d), _as(upper, d), np.sqrt(2.0).astype(d)
    u = uniform_in(key, shape, d, p.erf(lower / root2), p.erf(upper / root2))
    inside = [fnp.nextafter(stop_gradient(bound), to) for bound, to in ((lower, np.inf), (upper, -np.inf))]
    return fnp.clip(root2 * p.erf_inv(u), *inside)


@planned
def lognormal(key: Any, sigma: Any = 1.0, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """exp(sigma * normal)."""
    d = float_dtype("lognormal", dtype, complex_too=True)
    return fnp.exp(normal(key, sample_shape("lognormal", shape, sigma), d) * _as(sigma, d))


@planned
def maxwell(key: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """Maxwell samples: the length of a vector of three independent normal numbers."""
    d = float_dtype("maxwell", dtype)
    return fnp.linalg.norm(normal(key, (*static_shape(shape), 3), d), axis=-1)


@planned
def wald(key: Any, mean: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """Wald (inverse Gaussian) samples of the given mean and of scale 1.

    Source: Michael, Schucany, Haas, "Generating random variates using transformations with multiple roots", 1976.
    """
    key, d = check_key("wald", key), float_dtype("wald", dtype)
    shape = sample_shape("wald", shape, mean)
    keys, mean = split_key(key), _as(mean, d)
    y = fnp.square(_normal(keys[0], shape, d))
    x = mean + mean * mean * y / 2 - mean / 2 * fnp.sqrt(4 * mean * y + mean * mean * (y * y))
    return fnp.where(_unit(keys[1], shape, d) <= mean / (mean + x), x, mean * mean / x)
