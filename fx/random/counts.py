"""Counts: Poisson, binomial and multinomial samples.

Few events are counted one by one; many are drawn by transformed rejection: Hormann, "The transformed rejection method for
generating Poisson random variables" and "The generation of binomial random variates", 1993.  A whole array is drawn at
once, again and again until every element has been accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes, lax
from .. import numpy as fnp
from ..array import Array
from ..config import config
from ..numpy.axes import static_shape
from ..numpy.core import as_type, as_typed, as_value, broadcast_value, promote_dtype, promote_inexact
from ..plans import planned
from ..primitives.elementwise import lgamma
from .continuous import float_dtype, sample_shape, uniform_in
from .discrete import integer_dtype
from .keys import check_key, check_method, split_key

__all__ = ["binomial", "multinomial", "poisson"]

Value = Any
_MANY = 10  # events on average: above, rejection is the faster


def _until_accepted(key: Value, like: Value, propose: Callable[[Value, Value], tuple[Value, Value]]) -> Value:
    """For every element the first proposal that is accepted; ``propose`` makes them of two uniform arrays."""

    def step(state: Any) -> Any:
        key, accepted, out = state
        keys = split_key(key, (3,))
        u, v = (uniform_in(keys[i], like.shape, like.dtype, 0, 1) for i in (1, 2))
        k, good = propose(u, v)
        return keys[0], accepted | good, fnp.where(good, k, out)

    state = key, fnp.zeros(like.shape, np.bool_), fnp.full(like.shape, -1, like.dtype)
    return lax.while_loop(lambda state: ~fnp.all(state[1]), step, state)[2]


# -------------------------------------------------------------------------------------------- poisson


def _poisson_counted(key: Value, rate: Value) -> Value:
    """How many uniform numbers can be multiplied before the product falls below exp(-rate) (Knuth)."""

    def step(state: Any) -> Any:
        key, count, log_product = state
        keys = split_key(key)
        u = uniform_in(keys[1], rate.shape, rate.dtype, 0, 1)
        return keys[0], fnp.where(log_product > -rate, count + 1, count), log_product + fnp.log(u)

    state = key, fnp.zeros(rate.shape, np.int32), fnp.zeros_like(rate)
    return lax.while_loop(lambda state: fnp.any(state[2] > -rate), step, state)[1] - 1


def _poisson_rejected(key: Value, rate: Value) -> Value:
    log_rate = fnp.log(rate)
    b = 0.931 + 2.53 * fnp.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2)

    def propose(u: Value, v: Value) -> tuple[Value, Value]:
        u = u - 0.5
        us = 0.5 - fnp.abs(u)
        k = fnp.floor((2 * a / us + b) * u + rate + 0.43)
        s = fnp.log(v * inverse_alpha / (a / (us * us) + b))
        inside = (us >= 0.07) & (v <= v_r)
        outside = (k < 0) | ((us < 0.013) & (v > us))
        return k, inside | (~outside & (s <= -rate + k * log_rate - lgamma(k + 1)))

    return _until_accepted(key, rate, propose)


@planned
def poisson(
    key: Any, lam: Any, shape: Any = None, dtype: Any = None, *, method: str = "exact", out_sharding: Any = None
) -> Value:
    """Poisson samples: P(k) = lam**k exp(-lam) / k!; -1 where ``lam`` is negative or NaN.

    Args:
        lam: the mean, at least 0; computed with in float32.
        shape: of the result; None means that of ``lam``.
        dtype: an integer dtype.
        method: "exact"; "approximate", where JAX trades bias for time, gives the same samples.

    >>> from fx import random
    >>> random.poisson(random.key(0), 3.0, (2,)).dtype
    dtype('int32')
    """
    check_method("poisson", method)
    key, d = check_key("poisson", key), integer_dtype("poisson", dtype)
    rate = broadcast_value(as_typed(lam, dtypes.float32, "lam of poisson"), sample_shape("poisson", shape, lam))
    few = fnp.isnan(rate) | (rate < _MANY)
    counted = _poisson_counted(key, fnp.where(few, rate, 0))
    drawn = _poisson_rejected(key, fnp.where(few, fnp.asarray(1e5, rate.dtype), rate))
    return fnp.where(rate == 0, 0, fnp.where(few, as_type(counted, d), as_type(drawn, d)))


# ------------------------------------------------------------------------------------------- binomial

_TAILS = Array(
    np.array(
        [
            0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.02079067210376509, 0.0166446911898211,
            0.0138761288230707, 0.0118967099458917, 0.0104112652619720, 0.00925546218271273, 0.00833056343336287,
        ]
    )
)  # fmt: skip
"""log(k!) less Stirling's approximation, for k from 0 to 9."""


def _stirling_tail(k: Value) -> Value:
    """log(k!) less Stirling's approximation."""
    low = fnp.clip(k, 0, 9)
    square = (low + 1) * (low + 1)
    series = (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (low + 1)
    return fnp.where(k <= 9, as_type(_TAILS, k.dtype)[as_type(fnp.floor(low), dtypes.int32)], series)


def _binomial_counted(key: Value, count: Value, prob: Value) -> Value:
    """How many waits for a success fit into ``count`` trials."""
    log_failure = fnp.log1p(-prob)

    def step(state: Any) -> Any:
        key, number, waited = state
        keys = split_key(key)
        number = fnp.where(waited <= count, number + 1, number)
        u = uniform_in(keys[0], prob.shape, prob.dtype, 0, 1)
        return keys[1], number, waited + fnp.ceil(fnp.log(u) / log_failure)

    state = key, fnp.zeros_like(prob), fnp.zeros_like(prob)
    return lax.while_loop(lambda state: fnp.any(state[2] <= count), step, state)[1] - 1


def _binomial_rejected(key: Value, count: Value, prob: Value) -> Value:
    deviation = fnp.sqrt(count * prob * (1 - prob))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * prob
    c = count * prob + 0.5
    v_r = 0.92 - 4.2 / b
    odds = prob / (1 - prob)
    alpha = (2.83 + 5.1 / b) * deviation
    mode = fnp.floor((count + 1) * prob)

    def propose(u: Value, v: Value) -> tuple[Value, Value]:
        u = u - 0.5
        us = 0.5 - fnp.abs(u)
        k = fnp.floor((2 * a / us + b) * u + c)
        inside = (us >= 0.07) & (v <= v_r)
        outside = (k < 0) | (k > count)
        bound = (
            (mode + 0.5) * fnp.log((mode + 1) / (odds * (count - mode + 1)))
            + (count + 1) * fnp.log((count - mode + 1) / (count - k + 1))
            + (k + 0.5) * fnp.log(odds * (count - k + 1) / (k + 1))
            + _stirling_tail(mode) + _stirling_tail(count - mode) - _stirling_tail(k) - _stirling_tail(count - k)
        )  # fmt: skip
        return k, inside | (~outside & (fnp.log(v * alpha / (a / (us * us) + b)) <= bound))

    return _until_accepted(key, prob, propose)


@planned
def binomial(key: Any, n: Any, p: Any, shape: Any = None, dtype: Any = None) -> Value:
    """The number of successes in ``n`` trials, each with probability ``p``, as floats; NaN where these have no meaning.

    Args:
        n: number of trials (a fraction is dropped), p: probability of success; they broadcast to ``shape``.
        dtype: a float dtype.

    >>> from fx import random
    >>> bool((random.binomial(random.key(0), 5, 0.5, (100,)) <= 5).all())
    True
    """
    key, d = check_key("binomial", key), float_dtype("binomial", dtype)
    shape = sample_shape("binomial", shape, n, p)
    (prob,) = promote_inexact(as_value(p, "p of binomial"))
    count = broadcast_value(as_typed(n, prob.dtype, "n of binomial"), shape)
    prob = broadcast_value(prob, shape)
    rare = prob < 0.5  # otherwise failures are counted
    q = fnp.where(rare, prob, 1 - prob)
    no_count, no_prob, endless = fnp.isnan(count) | (count < 0), fnp.isnan(q) | (q < 0), fnp.isinf(count)
    no_q = fnp.isnan(q)
    q = fnp.where(no_prob, fnp.asarray(0.01, q.dtype), q)
    count = fnp.floor(fnp.where(endless, 0, count))  # of an infinite count no proposal might ever be accepted
    few = no_count | (count * q <= _MANY)
    counted = _binomial_counted(key, fnp.where(few, count, 0), q)
    drawn = _binomial_rejected(
        key, fnp.where(few, fnp.asarray(1e4, q.dtype), count), fnp.where(few, fnp.asarray(0.5, q.dtype), q)
    )
    out = as_type(fnp.where(few, counted, drawn), d)
    out = fnp.where(no_prob | no_count, np.nan, fnp.where(endless, np.inf, out))
    return fnp.where(rare | no_count | no_q | endless, out, as_type(count, d) - out)


@planned
def multinomial(key: Any, n: Any, p: Any, *, shape: Any = None, dtype: Any = None, unroll: int | bool = 1) -> Value:
    """How often each outcome occurs in ``n`` trials, as floats.

    Args:
        n: number of trials, of a shape that broadcasts to the batch.
        p: (..., k): the probabilities of the outcomes.
        shape: of the result, ``(*batch, k)``; None means that of ``p``.
        dtype: of the result; None means ``fx.config.default_float``.
        unroll: of the loop over outcomes, as in ``fx.lax.scan``.

    >>> from fx import random
    >>> import fx.numpy as fnp
    >>> float(random.multinomial(random.key(0), 10, fnp.array([0.2, 0.3, 0.5])).sum())
    10.0
    """
    key = check_key("multinomial", key)
    n, p = promote_dtype(as_value(n, "n of multinomial"), as_value(p, "p of multinomial"), to_float=True)
    shape = p.shape if shape is None else static_shape(shape)
    n, p = broadcast_value(n, shape[:-1]), fnp.moveaxis(broadcast_value(p, shape), -1, 0)
    left = lax.cumsum(p, 0, reverse=True)
    ratios = p / fnp.where(left == 0, 1, left)

    def outcome(remaining: Value, ratio_and_key: Any) -> tuple[Value, Value]:
        ratio, key = ratio_and_key
        count = binomial(key, remaining, fnp.clip(ratio, 0, 1), dtype=remaining.dtype)
        return remaining - count, count

    counts = lax.scan(outcome, n, (ratios, split_key(key, ratios.shape[:1])), unroll=unroll)[1]
    return as_type(fnp.moveaxis(counts, 0, -1), config.default_float if dtype is None else dtype)
