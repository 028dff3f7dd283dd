"""Kernel density estimation with Gaussian kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import numpy as fnp
from ... import random
from ...errors import (
    ArgumentError,
    ShapeError,
    UnsupportedArgumentError,
)
from ...lax import linalg
from ...numpy.core import as_value, promote_dtype, promote_inexact
from ...tree import register_pytree_node_class
from .. import special as sp
from ..special.core import Value

__all__ = ["gaussian_kde"]


def _squares(factor: Value, off: Value) -> Value:
    """Along the first axis, v^T cov^-1 v for the columns v, by the Cholesky factor of cov."""
    columns = off.reshape(off.shape[0], -1)
    scaled = linalg.triangular_solve(factor, columns, left_side=True, lower=True)
    return fnp.sum(scaled * scaled, axis=0).reshape(off.shape[1:])


def _log_normaliser(factor: Value) -> Value:
    """log sqrt(det(2 pi cov)) by the Cholesky factor of cov."""
    return fnp.sum(fnp.log(fnp.diagonal(factor))) + 0.5 * factor.shape[0] * math.log(2 * math.pi)


@register_pytree_node_class
class gaussian_kde:
    """Estimate of a density from samples: a normal density around each of them, with the covariance of all, scaled down.

    Args:
        dataset: samples, shape (n,) or (d, n).
        bw_method: factor by which the standard deviation is scaled: 'scott' (the default, n**(-1 / (d + 4))),
            'silverman', a number, or a function of the estimate that gives one.
        weights: shape (n,), or None for equal ones.

    Raises:
        ShapeError: the shapes do not fit.

    Source: Scott, "Multivariate density estimation" (1992).

    >>> from fx.scipy import stats
    >>> stats.gaussian_kde(fnp.array([-1.0, 0.0, 1.0])).pdf(0.0).round(4)
    Array([0.3182], dtype=float32)
    """

    neff: Any
    dataset: Any
    weights: Any
    covariance: Any
    inv_cov: Any

    def __init__(self, dataset: Any, bw_method: Any = None, weights: Any = None) -> None:
        (data,) = promote_inexact(fnp.atleast_2d(as_value(dataset, "dataset of gaussian_kde")))
        if data.ndim != 2 or data.shape[1] < 2:
            raise ShapeError(
                f"gaussian_kde: dataset must have shape (n,) or (d, n) with n > 1 samples; found {np.shape(dataset)}"
            )
        self.dataset = data
        if weights is None:
            self.weights = fnp.full((self.n,), 1 / self.n, data.dtype)
        else:
            w = fnp.atleast_1d(as_value(weights, "weights of gaussian_kde")).astype(data.dtype)
            if w.shape != (self.n,):
                raise ShapeError(
                    f"gaussian_kde: weights must have shape ({self.n},), one for each sample; found {w.shape}"
                )
            self.weights = w / fnp.sum(w)
        self.neff = 1 / fnp.sum(self.weights**2)
        factor = self._bandwidth(bw_method)
        spread = fnp.atleast_2d(fnp.cov(data, rowvar=True, bias=False, aweights=self.weights)).astype(data.dtype)
        self.covariance = spread * factor**2
        root = linalg.cholesky(self.covariance)
        inverse = linalg.triangular_solve(root, fnp.eye(self.d, dtype=data.dtype), left_side=True, lower=True)
        self.inv_cov = inverse.T @ inverse

    def _bandwidth(self, bw_method: Any) -> Value:
        if bw_method is None or bw_method == "scott":
            return fnp.power(self.neff, -1 / (self.d + 4))
        if isinstance(bw_method, str):
            if bw_method != "silverman":
                raise ArgumentError(
                    f"gaussian_kde: bw_method {bw_method!r} is not 'scott', 'silverman', a number or a function"
                )
            return fnp.power(self.neff * (self.d + 2) / 4, -1 / (self.d + 4))
        return bw_method(self) if isinstance(bw_method, Callable) else bw_method  # type: ignore[arg-type]

    def tree_flatten(self) -> tuple[tuple[Any, ...], None]:
        return (self.neff, self.dataset, self.weights, self.covariance, self.inv_cov), None

    @classmethod
    def tree_unflatten(cls, aux: None, children: Any) -> gaussian_kde:
        out = object.__new__(cls)
        out.neff, out.dataset, out.weights, out.covariance, out.inv_cov = children
        return out

    @property
    def d(self) -> int:
        """The number of dimensions."""
        return self.dataset.shape[0]

    @property
    def n(self) -> int:
        """The number of samples."""
        return self.dataset.shape[1]

    def _points(self, points: Any) -> Value:
        x = fnp.atleast_2d(as_value(points, "points of gaussian_kde"))
        if x.shape[0] == 1 and self.d > 1 and x.shape[1] == self.d:
            x = x.reshape(self.d, 1)
        if x.ndim != 2 or x.shape[0] != self.d:
            raise ShapeError(f"gaussian_kde: points of {self.d} dimensions have shape ({self.d}, m); found {x.shape}")
        return promote_dtype(x, self.dataset)[0]

    def logpdf(self, x: Any) -> Value:
        """The logarithm of the estimated density at points of shape (d, m), or (m,) in one dimension."""
        points = self._points(x)
        factor = linalg.cholesky(self.covariance)
        off = points[:, :, None] - self.dataset[:, None, :]
        log = -0.5 * _squares(factor, off)
        return sp.logsumexp(log, axis=-1, b=self.weights) - _log_normaliser(factor)

    def evaluate(self, points: Any) -> Value:
        """The estimated density at points of shape (d, m), or (m,) in one dimension."""
        return fnp.exp(self.logpdf(points))

    def pdf(self, x: Any) -> Value:
        """The estimated density: ``evaluate``."""
        return self.evaluate(x)

    def __call__(self, points: Any) -> Value:
        return self.evaluate(points)

    def integrate_gaussian(self, mean: Any, cov: Any) -> Value:
        """The integral of the estimate times a normal density of that mean, shape (d,), and covariance, shape (d, d)."""
        mean, cov = fnp.atleast_1d(as_value(mean)), fnp.atleast_2d(as_value(cov))
        if mean.shape != (self.d,) or cov.shape != (self.d, self.d):
            raise ShapeError(
                f"gaussian_kde: mean must have shape ({self.d},), cov ({self.d}, {self.d}); found {mean.shape}, {cov.shape}"
            )
        factor = linalg.cholesky(self.covariance + cov.astype(self.dataset.dtype))
        log = -0.5 * _squares(factor, self.dataset - mean[:, None].astype(self.dataset.dtype))
        return fnp.exp(sp.logsumexp(log, b=self.weights) - _log_normaliser(factor))

    def integrate_box_1d(self, low: Any, high: Any) -> Value:
        """The integral of an estimate of one dimension between two numbers."""
        if self.d != 1:
            raise ShapeError(f"gaussian_kde: integrate_box_1d is of one dimension; this estimate has {self.d}")
        deviation = fnp.sqrt(self.covariance[0, 0])
        at = [(bound - self.dataset[0]) / deviation for bound in (low, high)]
        return fnp.sum(self.weights * (sp.ndtr(at[1]) - sp.ndtr(at[0])))

    def integrate_kde(self, other: gaussian_kde) -> Value:
        """The integral of the product of two estimates of one number of dimensions."""
        if other.d != self.d:
            raise ShapeError(f"gaussian_kde: the estimates have {self.d} and {other.d} dimensions")
        factor = linalg.cholesky(self.covariance + other.covariance)
        log = -0.5 * _squares(factor, self.dataset[:, :, None] - other.dataset[:, None, :])
        return fnp.exp(sp.logsumexp(log, b=self.weights[:, None] * other.weights) - _log_normaliser(factor))

    def resample(self, key: Any, shape: Any = ()) -> Value:
        """Random numbers from the estimate, of shape (d, *shape)."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        which, noise = random.split(key)
        index = random.choice(which, self.n, shape=shape, p=self.weights)
        normal = random.normal(noise, (self.d, *shape), self.dataset.dtype)
        spread = fnp.tensordot(linalg.cholesky(self.covariance), normal, axes=1)
        return self.dataset[:, index] + spread

    def integrate_box(self, low_bounds: Any, high_bounds: Any, maxpts: Any = None) -> Value:
        """There is none, as in JAX: it takes an adaptive quadrature."""
        raise UnsupportedArgumentError(
            "gaussian_kde.integrate_box needs adaptive quadrature; in one dimension take integrate_box_1d"
        )

    def set_bandwidth(self, bw_method: Any = None) -> None:
        """There is none, as in JAX: an estimate does not change; make another with that ``bw_method``."""
        raise UnsupportedArgumentError(
            "gaussian_kde.set_bandwidth: an estimate does not change; give bw_method to gaussian_kde"
        )
