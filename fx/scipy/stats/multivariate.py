"""The distributions of vectors: dirichlet, multinomial, multivariate_normal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import numpy as fnp
from ...errors import (
    ShapeError,
    UnsupportedArgumentError,
)
from ...lax import linalg
from ...numpy.core import operand, promote_dtype
from ...primitives import elementwise as p
from .. import special as sp
from ..special.core import Value
from .distribution import Distribution

__all__ = ["dirichlet", "multinomial", "multivariate_normal"]


def _vectors(name: str, *xs: Any) -> list[Value]:
    """Operands as floats of one dtype, each in its own shape."""
    return promote_dtype(*[operand(x, f"an argument of {name}") for x in xs], to_float=True)


def _with_density(name: str, doc: str, log: Callable[..., Value], log_name: str) -> Distribution:
    def density(*args: Any, **kwargs: Any) -> Value:
        return fnp.exp(log(*args, **kwargs))

    density.__name__ = log_name[3:]
    density.__doc__ = f"exp of ``{name}.{log_name}``, with its arguments."
    density.__wrapped__ = log  # type: ignore[attr-defined]
    return Distribution(name, doc, {log_name: log, log_name[3:]: density})


def _dirichlet_logpdf(x: Any, alpha: Any) -> Value:
    """The logarithm of the Dirichlet density, the product of x_i**(alpha_i - 1) divided by B(alpha), on the simplex.

    Args:
        x: shape (n, ...): the components stand along the first axis; or (n - 1, ...), without the last, which is
            1 less the others.
        alpha: shape (n,), positive.

    Returns:
        Array of the shape of x without its first axis; -inf where x is not on the simplex.

    Raises:
        ShapeError: the shapes do not fit.
    """
    x, alpha = _vectors("dirichlet.logpdf", x, alpha)
    if alpha.ndim != 1 or x.ndim == 0 or x.shape[0] not in (alpha.shape[0], alpha.shape[0] - 1):
        raise ShapeError(
            f"dirichlet: alpha must have one axis and x as many components along its first, or one less;"
            f" found shapes {alpha.shape} and {x.shape}"
        )
    if x.shape[0] < alpha.shape[0]:
        x = fnp.concatenate([x, 1 - fnp.sum(x, axis=0, keepdims=True)], axis=0)
    inside = fnp.all(x >= 0, axis=0) & (fnp.abs(fnp.sum(x, axis=0) - 1) < 1e-6)
    normaliser = fnp.sum(p.lgamma(alpha)) - p.lgamma(fnp.sum(alpha))
    powers = alpha.reshape(-1, *(1,) * (x.ndim - 1)) - 1
    return fnp.where(inside, fnp.sum(sp.xlogy(powers, fnp.maximum(x, 0)), axis=0) - normaliser, -np.inf)


dirichlet = _with_density("dirichlet", "Dirichlet distribution on the simplex.", _dirichlet_logpdf, "logpdf")


def _multinomial_logpmf(x: Any, n: Any, p: Any) -> Value:
    """The logarithm of the multinomial probability n! prod_i p_i**x_i / x_i!.

    Args:
        x: counts, shape (..., k).
        n: their sum, shape (...).
        p: probabilities, shape (..., k).

    Returns:
        Array of shape (...); -inf where x does not add up to n.
    """
    counts, total, chance = _vectors("multinomial.logpmf", x, n, p)
    terms = sp.xlogy(counts, chance) - sp.gammaln(counts + 1)
    valid = (fnp.sum(counts, axis=-1) == total) & fnp.all((counts >= 0) & (counts == fnp.floor(counts)), axis=-1)
    return fnp.where(valid, sp.gammaln(total + 1) + fnp.sum(terms, axis=-1), -np.inf)


multinomial = _with_density(
    "multinomial", "How often each of k outcomes occurs in n trials.", _multinomial_logpmf, "logpmf"
)


def _multivariate_normal_logpdf(x: Any, mean: Any, cov: Any, allow_singular: None = None) -> Value:
    """The logarithm of the normal density of vectors.

    -((x - mean)^T cov^-1 (x - mean) + log det(2 pi cov)) / 2, by a Cholesky factor of cov.

    Args:
        x: shape (..., n), or anything for a mean without axes.
        mean: shape (..., n) or ().
        cov: shape (..., n, n); () for the same variance in every direction.
        allow_singular: must be None.

    Returns:
        Array of shape (...).

    Raises:
        NotImplementedError: ``allow_singular`` is given.
        ShapeError: the shapes do not fit.
    """
    if allow_singular is not None:
        raise UnsupportedArgumentError(
            "multivariate_normal: allow_singular must be None; cov must be positive definite"
        )
    x, mean, cov = _vectors("multivariate_normal.logpdf", x, mean, cov)
    off = x - mean
    if not mean.shape:
        return -0.5 * (off * off / cov + fnp.log(2 * math.pi * cov))
    n = mean.shape[-1]
    if not cov.shape:
        return -0.5 * (fnp.sum(off * off, axis=-1) / cov + n * fnp.log(2 * math.pi * cov))
    if cov.ndim < 2 or cov.shape[-2:] != (n, n):
        raise ShapeError(
            f"multivariate_normal: a mean of shape {mean.shape} needs a cov of shape (..., {n}, {n}) or (); found {cov.shape}"
        )
    factor = linalg.cholesky(cov)
    batch = fnp.broadcast_shapes(off.shape[:-1], cov.shape[:-2])
    column = fnp.broadcast_to(off, (*batch, n))[..., None]
    scaled = linalg.triangular_solve(fnp.broadcast_to(factor, (*batch, n, n)), column, left_side=True, lower=True)[
        ..., 0
    ]
    log_det = 2 * fnp.sum(fnp.log(fnp.diagonal(factor, axis1=-2, axis2=-1)), axis=-1)
    return -0.5 * (fnp.sum(scaled * scaled, axis=-1) + log_det + n * math.log(2 * math.pi))


multivariate_normal = _with_density(
    "multivariate_normal", "Normal distribution of vectors.", _multivariate_normal_logpdf, "logpdf"
)
