"""The special functions of ``fx.lax``: those of ``fx.scipy.special`` without broadcasting and promotion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..primitives.checks import FLOAT, check_dtype, check_same_types
from ..primitives.helpers import match_scalars
from ..scipy.special import i0e as _i0e
from ..scipy.special import i1e as _i1e
from ..scipy.special import incomplete, zeta_functions
from ..trace import aval_of

__all__ = [
    "bessel_i0e", "bessel_i1e", "betainc", "igamma", "igamma_grad_a", "igammac", "polygamma", "random_gamma_grad", "zeta",
]  # fmt: skip

Value = Any


def _strict(name: str, f: Callable[..., Value], *xs: Value) -> Value:
    """``f`` of floats of one type; Python numbers take that of the arrays beside them.

    Raises:
        DTypeError, ShapeError: the operands differ in type, or are no floats.
    """
    xs = match_scalars(*xs)
    avals = [aval_of(x) for x in xs]
    check_same_types(name, avals)
    check_dtype(name, avals[0], FLOAT)
    return f(*xs)


def bessel_i0e(x: Value) -> Value:
    """exp(-|x|) I0(x), the modified Bessel function of order 0."""
    return _strict("bessel_i0e", _i0e, x)


def bessel_i1e(x: Value) -> Value:
    """exp(-|x|) I1(x), the modified Bessel function of order 1."""
    return _strict("bessel_i1e", _i1e, x)


def betainc(a: Value, b: Value, x: Value) -> Value:
    """The regularised incomplete beta function."""
    return _strict("betainc", incomplete.betainc, a, b, x)


def igamma(a: Value, x: Value) -> Value:
    """The regularised lower incomplete gamma function."""
    return _strict("igamma", incomplete.gammainc, a, x)


def igammac(a: Value, x: Value) -> Value:
    """The regularised upper incomplete gamma function."""
    return _strict("igammac", incomplete.gammaincc, a, x)


def igamma_grad_a(a: Value, x: Value) -> Value:
    """The derivative of ``igamma`` with respect to a."""
    return _strict("igamma_grad_a", incomplete.gammainc_grad_a, a, x)


def random_gamma_grad(a: Value, x: Value) -> Value:
    """The derivative of a gamma-distributed sample x with respect to its parameter a."""
    return _strict("random_gamma_grad", incomplete.random_gamma_grad, a, x)


def polygamma(m: Value, x: Value) -> Value:
    """The m-th derivative of ``digamma``."""
    return _strict("polygamma", zeta_functions.polygamma, m, x)


def zeta(x: Value, q: Value) -> Value:
    """Hurwitz's zeta function, sum_{n >= 0} (n + q)**-x."""
    return _strict("zeta", zeta_functions.zeta, x, q)
