"""Samplers of vectors and matrices: normal vectors of a given covariance, orthogonal matrices."""

from __future__ import annotations

from typing import Any

from .. import numpy as fnp
from ..errors import ShapeError
from ..numpy.axes import plain_ints, static_shape
from ..numpy.core import as_value, promote_dtype
from ..plans import planned
from .continuous import fitting_shape, float_dtype, normal
from .keys import check_key

__all__ = ["multivariate_normal", "orthogonal"]

Value = Any


def _factor(cov: Value, method: str) -> Value:
    """A matrix L with L L^T = cov."""
    if method == "cholesky":
        return fnp.linalg.cholesky(cov)
    if method == "eigh":
        values, vectors = fnp.linalg.eigh(cov)
        return vectors * fnp.sqrt(values[..., None, :])
    if method == "svd":
        vectors, values, _ = fnp.linalg.svd(cov)
        return vectors * fnp.sqrt(values[..., None, :])
    raise ShapeError(f"multivariate_normal has the methods 'cholesky', 'eigh' and 'svd'; found {method!r}")


@planned
def multivariate_normal(
    key: Any,
    mean: Any,
    cov: Any,
    shape: Any = None,
    dtype: Any = None,
    method: str = "cholesky",
    *,
    out_sharding: Any = None,
) -> Value:
    """Normal vectors: mean + L z, where L L^T = cov and z is a vector of independent standard normal numbers.

    Args:
        key: a key.
        mean: (..., n).
        cov: (..., n, n), symmetric and positive (semi-)definite.
        shape: of the batch of vectors; the batch axes of ``mean`` and ``cov`` broadcast to it, and None means to that.
        dtype: of z; None means that of ``mean`` and ``cov``.
        method: how L is found: "cholesky" (fast), "eigh" or "svd" (for a singular ``cov`` too).

    Returns:
        Array of shape ``(*shape, n)``.

    >>> from fx import random
    >>> import fx.numpy as fnp
    >>> random.multivariate_normal(random.key(0), fnp.zeros(2), fnp.eye(2), (5,)).shape
    (5, 2)
    """
    key = check_key("multivariate_normal", key)
    mean, cov = promote_dtype(
        as_value(mean, "mean of multivariate_normal"), as_value(cov, "cov of multivariate_normal"), to_float=True
    )
    d = float_dtype("multivariate_normal", mean.dtype if dtype is None else dtype)
    if mean.ndim < 1 or cov.ndim < 2 or cov.shape[-2:] != (mean.shape[-1],) * 2:
        raise ShapeError(
            f"multivariate_normal takes mean of shape (..., n) and cov of shape (..., n, n);"
            f" found {mean.shape} and {cov.shape}"
        )
    shape = fitting_shape("multivariate_normal", shape, mean.shape[:-1], cov.shape[:-2])
    z = normal(key, shape + mean.shape[-1:], d)
    return mean + fnp.einsum("...ij,...j->...i", _factor(cov, method), z)


@planned
def orthogonal(
    key: Any, n: int, shape: Any = (), dtype: Any = None, m: int | None = None, *, out_sharding: Any = None
) -> Value:
    """Matrices drawn uniformly from the orthogonal group; unitary ones of a complex dtype.

    The Q of a QR decomposition of a matrix of normal numbers, its columns with the signs that make R's diagonal positive.

    Args:
        n, m: rows and columns (m is n by default); of the shorter side the vectors are orthonormal.
        shape: of the batch of matrices.

    Returns:
        Array of shape ``(*shape, n, m)``.

    Source: Mezzadri, "How to generate random matrices from the classical compact groups", 2007.
    """
    key, d = check_key("orthogonal", key), float_dtype("orthogonal", dtype, complex_too=True)
    rows, columns = plain_ints((n, n if m is None else m), "n and m of orthogonal")
    z = normal(key, (*static_shape(shape), max(rows, columns), min(rows, columns)), d)
    q, r = fnp.linalg.qr(z)
    x = q * fnp.expand_dims(fnp.sign(fnp.diagonal(r, axis1=-2, axis2=-1)), -2)
    return fnp.matrix_transpose(x) if rows < columns else x
