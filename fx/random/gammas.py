"""Gamma samples, and the distributions that are made of them.

Every element has a key of its own, and is drawn by rejection: Marsaglia, Tsang, "A simple method for generating gamma
variables", 2000.  All elements are drawn side by side; those that are accepted wait for the rest.

The derivative with respect to the parameter is that of the sample as a quantile (implicit reparameterisation): Figurnov,
Mohamed, Mnih, "Implicit reparameterization gradients", 2018.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import lax
from .. import numpy as fnp
from ..errors import ShapeError
from ..numpy.axes import plain_ints, static_shape
from ..numpy.core import as_typed, as_value, broadcast_value, filled
from ..primitives import elementwise as p
from ..primitives import shaping
from ..primitives.random_bits import threefry2x32
from ..scipy.special import softmax
from ..scipy.special.incomplete import random_gamma_grad
from ..transforms.custom_jvp import custom_jvp
from .continuous import (
    drawn_bits,
    exponential,
    fitting_shape,
    float_dtype,
    normal,
    normal_of,
    sample_shape,
    unit_of,
)
from .discrete import rademacher
from .keys import bits_of, check_key, check_method, split_key

__all__ = ["ball", "beta", "chisquare", "dirichlet", "f", "gamma", "generalized_normal", "loggamma", "t"]

Value = Any
Words = tuple[Value, Value]


# ------------------------------------------------------------------------ many keys at once, as their words


def _children(words: Words, n: int) -> list[Words]:
    """``split(key, n)`` of every key: a list of ``n`` arrays of keys."""
    shape = words[0].shape
    k0, k1 = (broadcast_value(w, (n, *shape)) for w in words)
    counter = shaping.broadcasted_iota(np.dtype("uint32"), (n, *shape), 0)
    first, second = threefry2x32(k0, k1, filled((n, *shape), 0, np.dtype("uint32")), counter)
    return [(first[i], second[i]) for i in range(n)]


def _unit(words: Words, d: np.dtype) -> Value:
    """``uniform(key, ())`` of every key."""
    (drawn,) = _children(words, 1)  # the bits of the first element of any shape
    return unit_of(bits_of(drawn, drawn_bits(d)), d)


def _chosen(which: Value, a: Words, b: Words) -> Words:
    return fnp.where(which, a[0], b[0]), fnp.where(which, a[1], b[1])


# --------------------------------------------------------------------------------------------- gamma


def _accepted_cube(keys: Words, d: Value, c: Value) -> Value:
    """(1 + c x)**3 for the first normal number x that is accepted, for every key."""

    def step(state: Any) -> Any:
        todo, fresh, keys, x_keys, u_keys, cube = state
        following, new_x, new_u = _children(
            keys, 3
        )  # of a key: the next one, one for normal numbers, one for a uniform
        keys, x_keys, u_keys = (
            _chosen(fresh, following, keys),
            _chosen(fresh, new_x, x_keys),
            _chosen(fresh, new_u, u_keys),
        )
        x_keys, drawn = _children(x_keys, 2)
        x, u = normal_of(_unit(drawn, d.dtype)), _unit(u_keys, d.dtype)
        v = 1 + x * c
        fresh = ~(v <= 0)  # else another x is drawn under the same keys
        square, v = x * x, v * v * v
        rejected = (u >= 1 - 0.0331 * square * square) & (fnp.log(u) >= square * 0.5 + d * (1 - v + fnp.log(v)))
        accepted = todo & fresh & ~rejected
        return todo & ~accepted, fresh, keys, x_keys, u_keys, fnp.where(accepted, v, cube)

    todo = fnp.ones(d.shape, np.bool_)
    state = todo, todo, keys, keys, keys, fnp.ones(d.shape, d.dtype)
    return lax.while_loop(lambda state: fnp.any(state[0]), step, state)[-1]


def _draw(key: Value, a: Value, log_space: bool) -> Value:
    """Gamma samples of parameters ``a``, or their logarithms.

    Below 1 a sample is one of a + 1, times a power of a uniform number.
    """
    words = split_key(key, a.shape)
    keys, boost_keys = _children((words[..., 0], words[..., 1]), 2)
    large = a >= 1
    d = fnp.where(large, a, a + 1) - fnp.asarray(1 / 3, a.dtype)
    cube = _accepted_cube(keys, d, fnp.asarray(1 / 3, a.dtype) / fnp.sqrt(d))
    u = _unit(boost_keys, a.dtype)
    if not log_space:
        return d * cube * fnp.where(large, 1, fnp.power(1 - u, 1 / a))
    log_u = fnp.log1p(-u)
    return fnp.log(d) + fnp.log(cube) + fnp.where(large | (log_u == 0), 0, log_u * (1 / a))


@custom_jvp
def _gamma(key: Value, a: Value) -> Value:
    return _draw(key, a, False)


@_gamma.defjvp
def _gamma_jvp(primals: Any, tangents: Any) -> Any:
    key, a = primals
    x = _gamma(key, a)
    return x, tangents[1] * random_gamma_grad(a, x)


@custom_jvp
def _log_gamma(key: Value, a: Value) -> Value:
    return _draw(key, a, True)


@_log_gamma.defjvp
def _log_gamma_jvp(primals: Any, tangents: Any) -> Any:
    key, a = primals
    log_x = _log_gamma(key, a)
    x = fnp.maximum(fnp.exp(log_x), fnp.finfo(a.dtype).tiny)
    return log_x, tangents[1] * (random_gamma_grad(a, x) / x)


def _parameter(name: str, key: Any, a: Any, shape: Any, dtype: Any) -> tuple[Value, Value]:
    """(key, parameter in the dtype and shape of the samples)."""
    key, d = check_key(name, key), float_dtype(name, dtype)
    return key, broadcast_value(as_typed(a, d, f"a parameter of {name}"), sample_shape(name, shape, a))


def gamma(
    key: Any, a: Any, shape: Any = None, dtype: Any = None, *, method: str = "exact", out_sharding: Any = None
) -> Value:
    """Gamma samples: density proportional to x**(a - 1) exp(-x).

    Args:
        a: positive, broadcasts to ``shape``.
        shape: of the result; None means that of ``a``.
        method: "exact"; "approximate", where JAX trades bias for time, gives the same samples.

    >>> from fx import random
    >>> random.gamma(random.key(0), 2.0, (3,)).shape
    (3,)
    """
    check_method("gamma", method)
    return _gamma(*_parameter("gamma", key, a, shape, dtype))


def loggamma(
    key: Any, a: Any, shape: Any = None, dtype: Any = None, *, method: str = "exact", out_sharding: Any = None
) -> Value:
    """Logarithms of gamma samples, accurate where small ``a`` make these too small for a float (``method``: as of ``gamma``)."""
    check_method("loggamma", method)
    return _log_gamma(*_parameter("loggamma", key, a, shape, dtype))


# ------------------------------------------------------------------------------------ made of gammas


def beta(
    key: Any, a: Any, b: Any, shape: Any = None, dtype: Any = None, *, method: str = "exact", out_sharding: Any = None
) -> Value:
    """Beta samples: density proportional to x**(a - 1) (1 - x)**(b - 1) for 0 < x < 1 (``method``: as of ``gamma``).

    >>> import fx
    >>> x = fx.random.beta(fx.random.key(0), 2.0, 6.0, (10_000,))
    >>> round(float(x.mean()), 2)
    0.25
    """
    check_method("beta", method)
    shape = sample_shape("beta", shape, a, b)
    keys = split_key(check_key("beta", key))
    logs = [loggamma(keys[i], x, shape, dtype) for i, x in enumerate((a, b))]
    greatest = p.max(*logs)
    x, y = (fnp.exp(v - greatest) for v in logs)
    return x / (x + y)


def dirichlet(key: Any, alpha: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """Dirichlet samples, vectors of positive numbers that add up to 1: density proportional to the product of x_i**(alpha_i - 1).

    Args:
        alpha: (..., n), positive.
        shape: of the batch of vectors; the batch axes of ``alpha`` broadcast to it.

    Returns:
        Array of shape ``(*shape, n)``.

    >>> import fx, numpy as np
    >>> p = fx.random.dirichlet(fx.random.key(0), np.ones(3), shape=(4,))
    >>> p.shape, np.allclose(p.sum(-1), 1)
    ((4, 3), Array(True, dtype=bool))
    """
    d, alpha = float_dtype("dirichlet", dtype), as_value(alpha, "alpha of dirichlet")
    if not alpha.ndim:
        raise ShapeError("dirichlet takes alpha of shape (..., n); found a number")
    batch = fitting_shape("dirichlet", shape, alpha.shape[:-1])
    return softmax(loggamma(key, alpha, batch + alpha.shape[-1:], d), axis=-1)


def chisquare(
    key: Any, df: Any, shape: Any = None, dtype: Any = None, *, method: str = "exact", out_sharding: Any = None
) -> Value:
    """Chi-square samples: the sum of the squares of ``df`` normal numbers (``method``: as of ``gamma``)."""
    check_method("chisquare", method)
    d = float_dtype("chisquare", dtype)
    return fnp.exp(loggamma(key, as_typed(df, d) / 2, shape, d)) * 2


def t(key: Any, df: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """Samples of Student's t: density proportional to (1 + x**2 / df) ** (-(df + 1) / 2)."""
    d = float_dtype("t", dtype)
    shape, keys = sample_shape("t", shape, df), split_key(check_key("t", key))
    half = as_typed(df, d) / 2
    return normal(keys[0], shape, d) * fnp.sqrt(half / gamma(keys[1], half, shape, d))


def f(key: Any, dfnum: Any, dfden: Any, shape: Any = None, dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """Samples of the F distribution: the ratio of two chi-square samples, each divided by its degrees of freedom."""
    d = float_dtype("f", dtype)
    shape, keys = sample_shape("f", shape, dfnum, dfden), split_key(check_key("f", key))
    below, above = (chisquare(keys[i], df, shape, d) / as_typed(df, d) for i, df in enumerate((dfden, dfnum)))
    return above / below


def generalized_normal(key: Any, p: Any, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """Samples of density proportional to exp(-|x|**p)."""
    d, shape = float_dtype("generalized_normal", dtype), static_shape(shape)
    keys = split_key(check_key("generalized_normal", key))
    g = gamma(keys[0], 1 / as_typed(p, d), shape, d)
    return rademacher(keys[1], shape, d) * g ** (1 / as_typed(p, d))


def ball(key: Any, d: int, p: Any = 2, shape: Any = (), dtype: Any = None, *, out_sharding: Any = None) -> Value:
    """Points drawn uniformly from the unit ball of the p-norm in ``d`` dimensions.

    Returns:
        Array of shape ``(*shape, d)``.

    Source: Barthe, Guedon, Mendelson, Naor, "A probabilistic approach to the geometry of the l_p^n-ball", 2005.
    """
    dt, shape, (size,) = float_dtype("ball", dtype), static_shape(shape), plain_ints(d, "d of ball")
    keys, power = split_key(check_key("ball", key)), as_typed(p, dt)
    g = generalized_normal(keys[0], power, (*shape, size), dt)
    e = exponential(keys[1], shape, dt)
    return g / ((fnp.sum(fnp.abs(g) ** power, -1) + e) ** (1 / power))[..., None]
