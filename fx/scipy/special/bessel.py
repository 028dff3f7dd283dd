"""Bessel functions, and spherical harmonics."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ... import numpy as fnp
from ...errors import DTypeError, ShapeError, UnsupportedArgumentError
from ...lax.control_flow import scan
from ...numpy import bessel as scaled
from ...primitives import elementwise as p
from ...trace import concrete_value
from ...transforms.custom_jvp import custom_jvp
from .core import Value, floats, repeat, special

__all__ = ["bessel_jn", "i0", "i0e", "i1", "i1e", "lpmn_values", "sph_harm_y"]


def _over_x(order_one: Value, x: Value) -> Value:
    """I1(x) / x from I1(x), 1/2 at 0."""
    zero = x == 0
    return fnp.where(zero, 0.5, order_one / fnp.where(zero, 1, x))


@special(lambda out, x: i1(x))
def i0(x: Any) -> Value:
    """Modified Bessel function of the first kind of order 0."""
    return scaled.unscaled(scaled.i0e, x)


@special(lambda out, x: i1e(x) - fnp.sign(x) * out)
def i0e(x: Any) -> Value:
    """exp(-|x|) i0(x)"""
    return scaled.i0e(x)


@special(lambda out, x: i0(x) - _over_x(out, x))
def i1(x: Any) -> Value:
    """Modified Bessel function of the first kind of order 1."""
    return scaled.unscaled(scaled.i1e, x)


@special(lambda out, x: i0e(x) - _over_x(out, x) - fnp.sign(x) * out)
def i1e(x: Any) -> Value:
    """exp(-|x|) i1(x)"""
    return scaled.i1e(x)


def bessel_jn(z: Any, *, v: int, n_iter: int = 50) -> Value:
    """Bessel functions of the first kind of the orders 0 ... v.

    Miller's algorithm: the recurrence J_{k-1} = (2 k / z) J_k - J_{k+1} downwards from far above, normalised by
    J_0 + 2 (J_2 + J_4 + ...) = 1 (Abramowitz and Stegun 9.12).

    Args:
        z: real array.
        v: the highest order, a Python integer >= 0.
        n_iter: how far up the recurrence begins, at least; it must be well above |z|.

    Returns:
        Array of shape ``(v + 1, *z.shape)``; 0 at infinities, the limit.

    Raises:
        DTypeError: v is not an integer, or ``z`` is not real.
    """
    if not isinstance(v, (int, np.integer)) or v < 0:
        raise DTypeError(f"bessel_jn: v must be an integer >= 0; found {v!r}")
    (z,) = floats("bessel_jn", z)
    return _orders(z, int(v), n_iter)


@functools.partial(custom_jvp, nondiff_argnums=(1, 2))
def _orders(z: Value, v: int, n_iter: int) -> Value:
    """J_0 ... J_v. What the recurrence carries is divided by its size as soon as that is above 1, so that no z is too small."""
    start = 2 * ((max(n_iter, v + 20) + 1) // 2)
    small = fnp.abs(z) < float(np.finfo(z.dtype).tiny) * 1e4
    endless = fnp.isinf(z)
    inverse = 2 / fnp.where(small | endless, 1, z)

    def step(carry: tuple[Value, ...], k: Value) -> tuple[tuple[Value, ...], Value]:
        above, here, total = carry
        below = k * inverse * here - above
        rescale = 1 / fnp.maximum(fnp.abs(below), 1)
        even = 1 - 2 * fnp.abs(0.5 * (k - 1) - fnp.floor(0.5 * (k - 1)))
        total = (total + 2 * even * below) * rescale
        return (here * rescale, below * rescale, total), (here * rescale, rescale)

    orders = np.arange(start, 0, -1).astype(z.dtype)
    one = fnp.ones_like(z)
    (_, first, total), (values, scales) = scan(step, (fnp.zeros_like(z), one, 2 * one), orders)
    total = total - first
    later = fnp.flip(fnp.cumprod(fnp.flip(fnp.concatenate([scales[1:], fnp.ones_like(scales[:1])]), 0), axis=0), 0)
    rows = fnp.concatenate([first[None], fnp.flip(values * later, 0)[:v]]) / total
    series = fnp.stack([one, z / 2, *[fnp.zeros_like(z)] * (v - 1)][: v + 1])  # the others are no numbers of the dtype
    return fnp.where(small, series, fnp.where(endless, 0, rows))


@_orders.defjvp
def _orders_jvp(v: int, n_iter: int, primals: tuple[Value], tangents: tuple[Value]) -> tuple[Value, Value]:
    """2 J_k' = J_{k-1} - J_{k+1}, where J_{-1} = -J_1 (Abramowitz and Stegun 9.1.27)."""
    rows = _orders(*primals, v + 1, n_iter)
    below = fnp.concatenate([-rows[1:2], rows[:v]])
    return rows[:-1], 0.5 * (below - rows[1:]) * tangents[0]


def _highest_degree(n: Any, n_max: int | None) -> int:
    if n_max is not None:
        return int(n_max)
    known = concrete_value(n)
    if known is None:
        raise DTypeError("sph_harm_y: n is a traced value; give n_max, the greatest degree, as a Python integer")
    return int(np.max(known, initial=0))


def sph_harm_y(n: Any, m: Any, theta: Any, phi: Any, diff_n: int | None = None, n_max: int | None = None) -> Value:
    """Spherical harmonics Y_n^m(theta, phi), orthonormal on the sphere, with the Condon-Shortley phase.

    The normalised associated Legendre functions by their recurrence in the degree, from that of degree |m|
    (DLMF 14.10.3).

    Args:
        n, m: integer arrays, degree and order, |m| <= n.
        theta: polar angle in [0, pi].
        phi: azimuth in [0, 2 pi].
        diff_n: must be None.
        n_max: greatest degree, a Python integer; needed where n is traced.  Greater n are taken as n_max.

    Returns:
        Complex array of the shape to which all broadcast.

    Raises:
        DTypeError: n is traced and there is no n_max, or ``diff_n`` is given.
    """
    if diff_n is not None:
        raise DTypeError(f"sph_harm_y computes no derivatives itself (diff_n={diff_n}); use fx.grad")
    top = _highest_degree(n, n_max)
    theta, phi = floats("sph_harm_y", theta, phi)
    n, m, theta, phi = fnp.broadcast_arrays(n, m, theta, phi)
    degree, signed = fnp.minimum(n, top).astype(theta.dtype), m.astype(theta.dtype)
    order, x, sine = fnp.abs(signed), fnp.cos(theta), fnp.abs(fnp.sin(theta))

    def body(k: Value, before: Value, here: Value, found: Value) -> tuple[Value, ...]:
        diagonal = -here * sine * fnp.sqrt((2 * k + 1) / (2 * k))
        gap = fnp.maximum(k * k - order * order, 1)
        last = fnp.maximum((k - 1) * (k - 1) - order * order, 0)
        rise = fnp.sqrt((4 * k * k - 1) / gap)
        fall = fnp.sqrt((2 * k + 1) / fnp.abs(2 * k - 3) * last / gap)
        upper = rise * x * here - fall * before
        new = fnp.where(k <= order, diagonal, upper)
        return fnp.where(k <= order, 0, here), new, fnp.where(k == degree, new, found)

    start = fnp.full_like(theta, math.sqrt(0.25 / math.pi))
    legendre = repeat(top, body, fnp.zeros_like(theta), start, start)[2] if top else start
    negative = signed < 0
    legendre = fnp.where(negative & (fnp.remainder(order, 2) == 1), -legendre, legendre)
    return p.complex(legendre * fnp.cos(signed * phi), legendre * fnp.sin(signed * phi))


def lpmn_values(m: int, n: int, z: Any, is_normalized: bool) -> Value:
    """The associated Legendre functions P_l^k(z) of all degrees l and orders k up to n, with the Condon-Shortley phase.

    By the recurrence in the degree (DLMF 14.10.3), for all orders at once.

    Args:
        m, n: the greatest order and degree, Python integers, which must be equal.
        z: vector of numbers in [-1, 1].
        is_normalized: times sqrt((2l + 1) / 4pi (l - k)! / (l + k)!): as spherical harmonics need them.

    Returns:
        Array of shape (order, degree, z); zeros where the order is greater than the degree.

    Raises:
        UnsupportedArgumentError: ``m`` is not ``n``.
        ShapeError: ``z`` is no vector.

    >>> import numpy as np
    >>> lpmn_values(1, 1, np.array([0.6]), False)[..., 0]
    Array([[ 1. ,  0.6],
           [ 0. , -0.8]], dtype=float64)
    """
    if m != n:
        raise UnsupportedArgumentError(f"lpmn_values computes as many orders as degrees; found m={m}, n={n}")
    (z,) = floats("lpmn_values", z)
    if z.ndim != 1:
        raise ShapeError(f"lpmn_values takes a vector z; found shape {z.shape}")
    sine, order = fnp.sqrt(1 - z * z), np.arange(n + 1)[:, None]
    first = np.zeros((n + 1, 1))
    first[0] = math.sqrt(0.25 / math.pi) if is_normalized else 1
    before, here = fnp.zeros((n + 1, z.size), z.dtype), fnp.broadcast_to(first.astype(z.dtype), (n + 1, z.size))
    degrees = [here]
    for k in range(1, n + 1):
        below = order < k
        if is_normalized:
            gap = np.where(below, k * k - order * order, 1)
            diagonal, rise = math.sqrt((2 * k + 1) / (2 * k)), np.sqrt((4 * k * k - 1) / gap)
            fall = np.sqrt((2 * k + 1) / abs(2 * k - 3) * np.maximum((k - 1) ** 2 - order * order, 0) / gap)
        else:
            gap = np.where(below, k - order, 1)
            diagonal, rise, fall = 2 * k - 1, (2 * k - 1) / gap, (k + order - 1) / gap
        rise, fall = ((below * c).astype(z.dtype) for c in (rise, fall))
        top = (-diagonal * (order == k)).astype(z.dtype) * sine * here[k - 1]
        before, here = here, rise * z * here - fall * before + top
        degrees.append(here)
    return fnp.stack(degrees, 1)
