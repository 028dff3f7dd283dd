"""Geometry: images, cameras, rotations, matrices, distances between points."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy import float32

from .program import Task, generator, normal, program, uniform


@program
def mandelbrot(lib: Any) -> Task:
    """The Mandelbrot set on a grid of 256 x 256, 50 iterations of complex numbers."""
    jnp, lax = lib.numpy, lib.lax
    y, x = np.mgrid[-1.2:1.2:256j, -2:0.6:256j]  # type: ignore[misc]
    plane = (x + 1j * y).astype(np.complex64)

    def run(c: Any) -> Any:
        def body(i: Any, state: Any) -> Any:
            z, n = state
            inside = z.real * z.real + z.imag * z.imag < 4
            return jnp.where(inside, z * z + c, z), n + inside

        return lax.fori_loop(0, 50, body, (jnp.zeros_like(c), jnp.zeros(c.shape, jnp.int32)))[1]

    return run, (plane,)


# A ray ends at the box to the last bit: inside it the norm of zeros is derived, which is NaN, and outside it is not.  Eager fx,
# jitted fx and eager JAX give 301 NaN each; jitted JAX fuses `t * ray - c` into one rounding, and 55 of the rays end outside.
@partial(program, strays=0.02)
def ray_marching(lib: Any) -> Task:
    """A picture of 128 x 128 of a ball, a box and a floor: 40 steps along each ray, shaded by the gradient."""
    jnp, lax = lib.numpy, lib.lax
    y, x = np.mgrid[-1:1:128j, -1:1:128j]  # type: ignore[misc]
    rays = np.stack([x, y, np.ones_like(x)], -1)
    rays = (rays / np.linalg.norm(rays, axis=-1, keepdims=True)).astype(float32)

    def distance(p: Any) -> Any:
        ball = jnp.linalg.norm(p - jnp.array([0.0, 0.0, 3.0], float32)) - 1.0
        floor = p[1] + 1.0
        q = jnp.abs(p - jnp.array([0.8, -0.5, 2.5], float32)) - 0.3
        box = jnp.linalg.norm(jnp.maximum(q, 0.0)) + jnp.minimum(jnp.max(q), 0.0)
        return jnp.minimum(jnp.minimum(ball, floor), box)

    def pixel(ray: Any) -> Any:
        t = lax.fori_loop(0, 40, lambda i, t: t + distance(t * ray), float32(0))
        surface = lib.grad(distance)(t * ray)
        return jnp.maximum(0.0, surface @ jnp.array([0.5, 0.7, -0.5], float32)) * (t < 20.0)

    return lib.vmap(lib.vmap(pixel)), (rays,)


@program
def soft_rasterizer(lib: Any) -> Task:
    """30 triangles drawn softly on a grid of 64 x 64, and the gradient by their corners."""
    jnp, nn = lib.numpy, lib.nn
    triangles = uniform(generator(), 30, 3, 2)
    side = np.linspace(0, 1, 64)
    grid = np.stack(np.meshgrid(side, side), -1).astype(float32)

    def edge(a: Any, b: Any, p: Any) -> Any:
        return (b[0] - a[0]) * (p[..., 1] - a[1]) - (b[1] - a[1]) * (p[..., 0] - a[0])

    def cover(t: Any) -> Any:
        return jnp.prod(jnp.stack([nn.sigmoid(20 * edge(t[i], t[(i + 1) % 3], grid)) for i in range(3)]), 0)

    def loss(triangles: Any) -> Any:
        return jnp.mean((1 - jnp.prod(1 - lib.vmap(cover)(triangles), 0) - 0.5) ** 2)

    return lib.value_and_grad(loss), (triangles,)


@program
def image_rotation(lib: Any) -> Task:
    """16 images of 64 x 64, each turned by its own angle with linear interpolation."""
    jnp = lib.numpy
    images = uniform(generator(), 16, 64, 64)
    angles = np.linspace(0, 1, 16).astype(float32)

    def one(image: Any, angle: Any) -> Any:
        y, x = jnp.mgrid[:64, :64]
        y, x = y - 31.5, x - 31.5
        c, s = jnp.cos(angle), jnp.sin(angle)
        places = [c * y - s * x + 31.5, s * y + c * x + 31.5]
        return lib.scipy.ndimage.map_coordinates(image, places, order=1)

    return lib.vmap(one), (images, angles)


@program
def camera_alignment(lib: Any) -> Task:
    """20000 points projected into an image, which is read bilinearly, and the gradient by the camera's place."""
    jnp = lib.numpy
    rng = generator()
    points = normal(rng, 20000, 3) + np.array([0, 0, 5], float32)
    image = uniform(rng, 128, 128)

    def loss(shift: Any, points: Any, image: Any) -> Any:
        q = points + shift
        u = q[:, :2] / q[:, 2:] * 50 + 64
        i = jnp.clip(jnp.floor(u), 0, 126).astype(jnp.int32)
        f = u - i
        a = image[i[:, 0], i[:, 1]]
        b = image[i[:, 0] + 1, i[:, 1]]
        c = image[i[:, 0], i[:, 1] + 1]
        d = image[i[:, 0] + 1, i[:, 1] + 1]
        near = a * (1 - f[:, 0]) + b * f[:, 0]
        far = c * (1 - f[:, 0]) + d * f[:, 0]
        return jnp.mean((near * (1 - f[:, 1]) + far * f[:, 1]) ** 2)

    return lib.value_and_grad(loss), (np.zeros(3, float32), points, image)


@program
def quaternion_rotation(lib: Any) -> Task:
    """20000 vectors, each turned by a quaternion of its own."""
    jnp = lib.numpy
    rng = generator()
    quaternions, vectors = normal(rng, 20000, 4), normal(rng, 20000, 3)

    def turned(q: Any, v: Any) -> Any:
        q = q / jnp.linalg.norm(q)
        t = 2 * jnp.cross(q[1:], v)
        return v + q[0] * t + jnp.cross(q[1:], t)

    return lib.vmap(turned), (quaternions, vectors)


# A few of the matrices are nearly singular (a condition of 3e5), and float32 knows their inverses to a hundredth.
@partial(program, strays=0.001)
def small_matrices(lib: Any) -> Task:
    """Products, determinants and inverses of 5000 matrices of 3 x 3."""
    jnp = lib.numpy
    rng = generator()
    first, second, vectors = normal(rng, 5000, 3, 3), normal(rng, 5000, 3, 3), normal(rng, 5000, 3)

    def run(a: Any, b: Any, x: Any) -> Any:
        c = a @ b
        return jnp.einsum("nij,nj->ni", c, x), jnp.linalg.det(c), jnp.linalg.inv(c)

    return run, (first, second, vectors)


@program
def singular_values(lib: Any) -> Task:
    """A function of the singular values of a matrix of 64 x 48 and of its Gram matrix's eigenvalues, and the gradient."""
    jnp = lib.numpy
    matrix = normal(generator(), 64, 48)

    def value(a: Any) -> Any:
        _, s, _ = jnp.linalg.svd(a, full_matrices=False)
        return jnp.sum(jnp.log1p(s)) + jnp.sum(jnp.linalg.eigh(a.T @ a)[0] ** 0.5)

    return lib.value_and_grad(value), (matrix,)


@program
def nearest_neighbours(lib: Any) -> Task:
    """The eight nearest of 1000 points for each of them, and their centre."""
    jnp, lax = lib.numpy, lib.lax
    points = normal(generator(), 1000, 3)

    def run(x: Any) -> Any:
        d = jnp.sum((x[:, None] - x[None]) ** 2, -1)
        values, i = lax.top_k(-d, 8)
        return values, jnp.mean(x[i], 1)

    return run, (points,)


@program
def optimal_transport(lib: Any) -> Task:
    """Sinkhorn's distance of two clouds of 200 points, 30 iterations, and its gradient."""
    jnp, lax, logsumexp = lib.numpy, lib.lax, lib.scipy.special.logsumexp
    rng = generator()
    first, second = normal(rng, 200, 2), normal(rng, 200, 2) + 1

    def distance(x: Any, y: Any) -> Any:
        costs = jnp.sum((x[:, None] - y[None]) ** 2, -1)

        def step(carry: Any, _: Any) -> Any:
            _, g = carry
            f = -0.1 * logsumexp((g[None] - costs) / 0.1, axis=1)
            g = -0.1 * logsumexp((f[:, None] - costs) / 0.1, axis=0)
            return (f, g), None

        start = jnp.zeros(200, float32), jnp.zeros(200, float32)
        (f, g), _ = lax.scan(step, start, None, length=30)
        return jnp.sum(jnp.exp((f[:, None] + g[None] - costs) / 0.1) * costs)

    return lib.value_and_grad(distance), (first, second)
