"""Real kernels in ordinary NumPy: in-place updates through slices, buffers from ``np.zeros``, helpers that change their arguments.

``KERNELS`` names each with small arguments.  The bodies know nothing of fx; those that make buffers of their own run as
``fx.numpy_program``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any


# ------------------------------------------------------------------------------------------ stencils


def heat_3d(a: Array, b: Array) -> Array:
    """Explicit heat equation on a cube, between two buffers."""
    for _ in range(2):
        for src, dst in ((a, b), (b, a)):
            c = src[1:-1, 1:-1, 1:-1]
            dst[1:-1, 1:-1, 1:-1] = (
                0.125 * (src[2:, 1:-1, 1:-1] - 2.0 * c + src[:-2, 1:-1, 1:-1])
                + 0.125 * (src[1:-1, 2:, 1:-1] - 2.0 * c + src[1:-1, :-2, 1:-1])
                + 0.125 * (src[1:-1, 1:-1, 2:] - 2.0 * c + src[1:-1, 1:-1, :-2])
                + c
            )
    return a


def jacobi_2d(a: Array, b: Array) -> tuple[Array, Array]:
    for _ in range(3):
        b[1:-1, 1:-1] = 0.2 * (a[1:-1, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:] + a[2:, 1:-1] + a[:-2, 1:-1])
        a[1:-1, 1:-1] = 0.2 * (b[1:-1, 1:-1] + b[1:-1, :-2] + b[1:-1, 2:] + b[2:, 1:-1] + b[:-2, 1:-1])
    return a, b


def gauss_seidel(a: Array, rhs: Array) -> Array:
    """Point by point, each new value used at once."""
    n = a.shape[0]
    for _ in range(2):
        for i in range(1, n - 1):
            for j in range(1, n - 1):
                a[i, j] = 0.25 * (a[i - 1, j] + a[i + 1, j] + a[i, j - 1] + a[i, j + 1] - rhs[i, j])
    return a


def _advance(u: Array, flux: Array, dt: float) -> None:
    """Changes ``u`` and returns nothing, as NumPy helpers do."""
    flux[:] = 0.5 * u**2
    u[1:] -= dt * (flux[1:] - flux[:-1])
    u[0] = u[-1]


def upwind_advection(u: Array) -> Array:
    flux = np.zeros(u.shape)
    history = np.empty((5, len(u)))
    for step in range(5):
        _advance(u, flux, 0.1)
        history[step] = u
    return history


def _edges(field: Array) -> None:
    for axis in (0, 1):
        view = np.swapaxes(field, 0, axis)
        view[0], view[-1] = view[-2], view[1]


def shallow_water(h: Array, u: Array, v: Array) -> Array:
    """Lax-Friedrichs steps with periodic edges."""
    for _ in range(3):
        for field in (h, u, v):
            _edges(field)
        mid = 0.25 * (h[:-2, 1:-1] + h[2:, 1:-1] + h[1:-1, :-2] + h[1:-1, 2:])
        du = u[1:-1, 2:] - u[1:-1, :-2]
        dv = v[2:, 1:-1] - v[:-2, 1:-1]
        u[1:-1, 1:-1] -= 0.05 * (h[1:-1, 2:] - h[1:-1, :-2])
        v[1:-1, 1:-1] -= 0.05 * (h[2:, 1:-1] - h[:-2, 1:-1])
        h[1:-1, 1:-1] = mid - 0.05 * mid * (du + dv)
    return np.stack([h, u, v])


def finite_differences(ex: Array, ey: Array, hz: Array, source: Array) -> tuple[Array, Array, Array]:
    """Maxwell's equations in the plane, by finite differences on a staggered grid (Yee)."""
    for t in range(len(source)):
        ey[0, :] = source[t]
        ey[1:, :] -= 0.5 * (hz[1:, :] - hz[:-1, :])
        ex[:, 1:] -= 0.5 * (hz[:, 1:] - hz[:, :-1])
        hz[:-1, :-1] -= 0.7 * (ex[:-1, 1:] - ex[:-1, :-1] + ey[1:, :-1] - ey[:-1, :-1])
    return ex, ey, hz


def smoothing(image: Array) -> tuple[Array, Array]:
    """A box filter by shifted views, and a median filter of their stack."""
    n, m = image.shape
    padded = np.zeros((n + 2, m + 2))
    padded[1:-1, 1:-1] = image
    padded[0], padded[-1] = padded[1], padded[-2]
    padded[:, 0], padded[:, -1] = padded[:, 1], padded[:, -2]
    total = np.zeros_like(image)
    shifts = []
    for di in range(3):
        for dj in range(3):
            window = padded[di : di + n, dj : dj + m]
            total += window
            shifts.append(window)
    total /= 9
    return total, np.median(np.array(shifts), axis=0)


def conv2d(x: Array, w: Array, b: Array) -> Array:
    k, channels = w.shape[0], w.shape[3]
    rows, columns = x.shape[1] - k + 1, x.shape[2] - k + 1
    out = np.empty((x.shape[0], rows, columns, channels))
    for i in range(rows):
        for j in range(columns):
            out[:, i, j, :] = np.sum(x[:, i : i + k, j : j + k, :, np.newaxis] * w[np.newaxis], axis=(1, 2, 3))
    out += b
    np.maximum(out, 0.0, out=out)
    return out


# ------------------------------------------------------------------------------------ linear algebra


def cholesky(a: Array) -> Array:
    n = a.shape[0]
    a[0, 0] = np.sqrt(a[0, 0])
    for i in range(1, n):
        for j in range(i):
            a[i, j] -= np.dot(a[i, :j], a[j, :j])
            a[i, j] /= a[j, j]
        a[i, i] -= np.dot(a[i, :i], a[i, :i])
        a[i, i] = np.sqrt(a[i, i])
    return np.tril(a)


def lu(a: Array) -> Array:
    """Without pivoting, in place."""
    n = len(a)
    for k in range(n - 1):
        column = a[k + 1 :, k]
        column /= a[k, k]
        a[k + 1 :, k + 1 :] -= np.outer(column, a[k, k + 1 :])
    return a


def gram_schmidt(a: Array) -> tuple[Array, Array]:
    q = np.zeros_like(a)
    r = np.zeros((a.shape[1], a.shape[1]))
    for k in range(a.shape[1]):
        r[k, k] = np.sqrt(np.dot(a[:, k], a[:, k]))
        q[:, k] = a[:, k] / r[k, k]
        for j in range(k + 1, a.shape[1]):
            r[k, j] = np.dot(q[:, k], a[:, j])
            a[:, j] -= q[:, k] * r[k, j]
    return q, r


def floyd_warshall(path: Array) -> Array:
    for k in range(path.shape[0]):
        path[:] = np.minimum(path[:], np.add.outer(path[:, k], path[k, :]))
    return path


def durbin(r: Array) -> Array:
    y = np.empty_like(r)
    alpha, beta = -r[0], 1.0
    y[0] = -r[0]
    for k in range(1, r.shape[0]):
        beta *= 1.0 - alpha * alpha
        alpha = -(r[k] + np.dot(np.flip(r[:k]), y[:k])) / beta
        y[:k] += alpha * np.flip(y[:k])
        y[k] = alpha
    return y


def covariance(data: Array) -> Array:
    data -= np.mean(data, axis=0)
    m = data.shape[1]
    cov = np.zeros((m, m), dtype=data.dtype)
    for i in range(m):
        cov[i, i:] = data[:, i] @ data[:, i:] / (len(data) - 1.0)
        cov[i:, i] = cov[i, i:]
    return cov


# ---------------------------------------------------------------------------------------- simulation


def _acceleration(position: Array, mass: Array, acc: Array) -> None:
    d = position[np.newaxis, :, :] - position[:, np.newaxis, :]
    inverse = (np.sum(d**2, axis=2) + 0.01) ** -1.5
    np.einsum("ij,ijk,j->ik", inverse, d, mass, out=acc)


def n_body(position: Array, velocity: Array, mass: Array) -> tuple[Array, Array]:
    """Leapfrog steps and the kinetic energy after each."""
    acc = np.zeros(position.shape)
    energy = np.empty(4)
    _acceleration(position, mass, acc)
    for step in range(4):
        velocity += acc * 0.005
        position += velocity * 0.01
        _acceleration(position, mass, acc)
        velocity += acc * 0.005
        energy[step] = 0.5 * np.sum(mass[:, None] * velocity**2)
    return position, energy


def k_means(points: Array, centers: Array) -> tuple[Array, Array]:
    labels = np.zeros(len(points), dtype=int)
    for _ in range(3):
        distance = ((points[:, None, :] - centers[None, :, :]) ** 2).sum(axis=2)
        labels[:] = np.argmin(distance, axis=1)
        sums = np.zeros(centers.shape)
        counts = np.zeros(len(centers))
        np.add.at(sums, labels, points)
        np.add.at(counts, labels, 1.0)
        centers[:] = sums / np.maximum(counts, 1.0)[:, None]
    return centers, labels


def mandelbrot(x: Array, y: Array) -> tuple[Array, Array]:
    c = x + 1j * y[:, None]
    z = np.zeros(c.shape, dtype=np.complex128)
    count = np.zeros(c.shape, dtype=np.int64)
    for _ in range(12):
        inside = np.less(np.abs(z), 2.0)
        count += inside
        np.multiply(z, z, out=z, where=inside)
        np.add(z, c, out=z, where=inside)
    return count, np.abs(z)


def black_scholes(price: Array, strike: Array, years: Array) -> tuple[Array, Array]:
    rate, volatility = 0.1, 0.2

    def normal_cdf(d: Array) -> Array:
        k = 1.0 / (1.0 + 0.2316419 * np.abs(d))
        series = k * (0.31938153 + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + 1.330274429 * k))))
        tail = 1.0 / np.sqrt(2.0 * np.pi) * np.exp(-0.5 * d * d) * series
        return np.where(d > 0, 1.0 - tail, tail)

    call, put = np.empty(len(price)), np.empty(len(price))
    root = volatility * np.sqrt(years)
    d1 = (np.log(price / strike) + (rate + 0.5 * volatility**2) * years) / root
    discounted = strike * np.exp(-rate * years)
    call[:] = price * normal_cdf(d1) - discounted * normal_cdf(d1 - root)
    put[:] = call - price + discounted
    return call, put


def go_fast(a: Array) -> Array:
    trace = 0.0
    for i in range(a.shape[0]):
        trace += np.tanh(a[i, i])
    return a + trace


# -------------------------------------------------------------------------------------- recurrent nets


def _sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def lstm(inputs: Array, weights: Array, bias: Array) -> Array:
    """Four gates from one product; every hidden state is kept."""
    hidden = len(bias) // 4
    h, c = np.zeros(hidden), np.zeros(hidden)
    states = np.zeros((len(inputs), hidden))
    for t in range(len(inputs)):
        gates = np.concatenate([inputs[t], h]) @ weights + bias
        i, f, o, g = np.split(gates, 4)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        states[t] = h
    return states


def scan_with_masks(x: Array) -> tuple[Array, Array]:
    """Clipping and thresholding in place, running extremes by loops."""
    x[x < 0.2] = 0.0
    x[x > 0.9] = 0.9 + 0.1 * np.tanh(1.0)
    best = np.full(len(x), -np.inf)
    where = np.zeros(len(x), dtype=np.int64)
    best[0] = x[0]
    for i in range(1, len(x)):
        larger = x[i] > best[i - 1]
        best[i] = np.where(larger, x[i], best[i - 1])
        where[i] = np.where(larger, i, where[i - 1])
    return best, where


# ----------------------------------------------------------------------------------------- the table


@dataclass(frozen=True)
class Kernel:
    """A kernel and small arguments for it.

    wrt: the arguments that it is differentiated by.
    program: it makes buffers of its own.
    """

    f: Callable[..., Any]
    args: tuple[np.ndarray, ...]
    wrt: tuple[int, ...] = (0,)
    program: bool = True


def _wave(*shape: int, shift: float = 0.0) -> np.ndarray:
    return np.sin(np.arange(float(np.prod(shape))).reshape(shape) * 0.7 + shift)


_SPD = _wave(5, 5) @ _wave(5, 5).T + 4.0 * np.eye(5)

KERNELS: dict[str, Kernel] = {
    "heat_3d": Kernel(heat_3d, (_wave(5, 5, 5), _wave(5, 5, 5)), (0, 1), program=False),
    "jacobi_2d": Kernel(jacobi_2d, (_wave(6, 6), _wave(6, 6)), (0, 1), program=False),
    "gauss_seidel": Kernel(gauss_seidel, (_wave(5, 5), _wave(5, 5, shift=1.0)), (0, 1), program=False),
    "upwind_advection": Kernel(upwind_advection, (1.5 + 0.3 * _wave(8),)),
    "shallow_water": Kernel(
        shallow_water, (1 + 0.1 * _wave(6, 7), 0.1 * _wave(6, 7), 0.1 * _wave(6, 7)), (0, 1, 2), False
    ),
    "finite_differences": Kernel(
        finite_differences,
        (_wave(4, 5), _wave(4, 5, shift=1.0), _wave(4, 5, shift=2.0), _wave(3)),
        (0, 1, 2, 3),
        program=False,
    ),
    "smoothing": Kernel(smoothing, (_wave(5, 6),)),
    "conv2d": Kernel(conv2d, (_wave(2, 5, 5, 2), _wave(3, 3, 2, 3), _wave(3)), (0, 1, 2)),
    "cholesky": Kernel(cholesky, (_SPD,), program=False),
    "lu": Kernel(lu, (_SPD,), program=False),
    "gram_schmidt": Kernel(gram_schmidt, (_SPD[:, :4].copy(),)),
    "floyd_warshall": Kernel(floyd_warshall, (np.abs(_wave(6, 6)) + 0.1,), program=False),
    "durbin": Kernel(durbin, (0.3 * _wave(6),), program=False),
    "covariance": Kernel(covariance, (_wave(7, 4),)),
    "n_body": Kernel(n_body, (_wave(5, 3), 0.1 * _wave(5, 3), 1 + 0.5 * np.abs(_wave(5))), (0, 1, 2)),
    "k_means": Kernel(k_means, (_wave(12, 2), _wave(3, 2, shift=0.5)), (0,)),
    "mandelbrot": Kernel(mandelbrot, (np.linspace(-1.4, 0.4, 9), np.linspace(-1.2, 1.2, 7)), (0, 1)),
    "black_scholes": Kernel(
        black_scholes, (20 + 3 * _wave(6), 21 + 2 * _wave(6, shift=1.0), 1 + 0.5 * np.abs(_wave(6))), (0, 1, 2)
    ),
    "go_fast": Kernel(go_fast, (_wave(6, 6),), program=False),
    "lstm": Kernel(lstm, (_wave(4, 3), 0.5 * _wave(6, 12), 0.1 * _wave(12)), (0, 1, 2)),
    "scan_with_masks": Kernel(scan_with_masks, (0.6 + 0.5 * _wave(9),)),
}
