"""Simulation: particles, fields, fluids, and gradients through them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import float32

from .program import Task, generator, normal, program, uniform


@program
def n_body(lib: Any) -> Task:
    """256 bodies under gravity, 50 leapfrog steps with the kinetic energy of each."""
    jnp, lax = lib.numpy, lib.lax
    rng = generator()
    position = normal(rng, 256, 3)
    velocity = np.zeros((256, 3), float32)
    mass = uniform(rng, 256)

    def acceleration(x: Any) -> Any:
        d = x[None] - x[:, None]
        r2 = jnp.sum(d * d, -1) + 1e-2
        return jnp.sum(mass[None, :, None] * d / (r2**1.5)[..., None], 1)

    def run(x: Any, v: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            x, v = carry
            v = v + 0.5e-3 * acceleration(x)
            x = x + 1e-3 * v
            v = v + 0.5e-3 * acceleration(x)
            return (x, v), jnp.sum(v * v)

        return lax.scan(step, (x, v), None, length=50)

    return run, (position, velocity)


@program
def lorenz(lib: Any) -> Task:
    """1000 paths of the Lorenz system, 100 Runge-Kutta steps of fourth order."""
    jnp, lax = lib.numpy, lib.lax
    start = normal(generator(), 1000, 3)

    def slope(x: Any) -> Any:
        a, b, c = x
        return jnp.stack([10.0 * (b - a), a * (28.0 - c) - b, a * b - 8.0 / 3.0 * c])

    def step(x: Any, _: Any) -> Any:
        h = 0.01
        k1 = slope(x)
        k2 = slope(x + h / 2 * k1)
        k3 = slope(x + h / 2 * k2)
        k4 = slope(x + h * k3)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return x, x[2]

    return lib.vmap(lambda x: lax.scan(step, x, None, length=100)), (start,)


@program
def heat(lib: Any) -> Task:
    """The heat equation on a periodic grid of 256 x 256, 100 explicit steps."""
    jnp, lax = lib.numpy, lib.lax
    start = normal(generator(), 256, 256)

    def step(i: Any, u: Any) -> Any:
        neighbours = jnp.roll(u, 1, 0) + jnp.roll(u, -1, 0) + jnp.roll(u, 1, 1) + jnp.roll(u, -1, 1)
        return u + 0.2 * (neighbours - 4 * u)

    return (lambda u: lax.fori_loop(0, 100, step, u)), (start,)


@program
def gray_scott(lib: Any) -> Task:
    """The reaction and diffusion of Gray and Scott on a periodic grid of 200 x 200, 100 steps."""
    jnp, lax = lib.numpy, lib.lax
    rng = generator()
    start = uniform(rng, 200, 200), uniform(rng, 200, 200)

    def laplacian(a: Any) -> Any:
        p = jnp.pad(a, 1, mode="wrap")
        return p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * a

    def step(carry: Any, _: Any) -> Any:
        u, v = carry
        uvv = u * v * v
        return (u + 0.16 * laplacian(u) - uvv + 0.035 * (1 - u), v + 0.08 * laplacian(v) + uvv - 0.1 * v), None

    return (lambda u, v: lax.scan(step, (u, v), None, length=100)[0]), start


@program
def navier_stokes(lib: Any) -> Task:
    """Two-dimensional turbulence by Fourier transforms on a grid of 128 x 128, 20 steps of the vorticity."""
    jnp, lax = lib.numpy, lib.lax
    n = 128
    vorticity = normal(generator(), n, n)
    kx = np.fft.fftfreq(n, 1 / n).astype(float32)[:, None]
    ky = np.fft.rfftfreq(n, 1 / n).astype(float32)[None]
    k2 = kx**2 + ky**2
    inverse = np.where(k2 == 0, 0, 1 / np.where(k2 == 0, 1, k2)).astype(float32)

    def real(a: Any) -> Any:
        return jnp.fft.irfft2(a, s=(n, n))

    def step(w: Any, _: Any) -> Any:
        psi = w * inverse
        u, v = real(1j * ky * psi), real(-1j * kx * psi)
        advection = u * real(1j * kx * w) + v * real(1j * ky * w)
        return (w - 1e-3 * jnp.fft.rfft2(advection)) / (1 + 1e-3 * 0.01 * k2), None

    def run(w: Any) -> Any:
        return real(lax.scan(step, jnp.fft.rfft2(w), None, length=20)[0])

    return run, (vorticity,)


@program
def lattice_boltzmann(lib: Any) -> Task:
    """A fluid on a lattice of 100 x 200 with nine velocities, 20 steps of streaming and relaxation."""
    jnp, lax = lib.numpy, lib.lax
    start = (1 + 0.1 * generator().uniform(size=(9, 100, 200))).astype(float32)
    cx = np.array([0, 1, 0, -1, 0, 1, -1, -1, 1])
    cy = np.array([0, 0, 1, 0, -1, 1, 1, -1, -1])
    weights = np.array([4 / 9] + [1 / 9] * 4 + [1 / 36] * 4, float32)

    def step(f: Any, _: Any) -> Any:
        f = jnp.stack([jnp.roll(jnp.roll(f[i], cx[i], 1), cy[i], 0) for i in range(9)])
        density = f.sum(0)
        ux = jnp.tensordot(cx.astype(float32), f, 1) / density
        uy = jnp.tensordot(cy.astype(float32), f, 1) / density
        cu = cx.astype(float32)[:, None, None] * ux + cy.astype(float32)[:, None, None] * uy
        equilibrium = density * weights[:, None, None] * (1 + 3 * cu + 4.5 * cu**2 - 1.5 * (ux**2 + uy**2))
        return f + (equilibrium - f) / 0.6, None

    return (lambda f: lax.scan(step, f, None, length=20)[0]), (start,)


@program
def lennard_jones(lib: Any) -> Task:
    """Energy and forces of 512 atoms in a periodic box with the potential of Lennard and Jones."""
    jnp = lib.numpy
    position = (generator().uniform(size=(512, 3)) * 8).astype(float32)

    def energy(x: Any) -> Any:
        d = x[:, None] - x[None]
        d = d - 8 * jnp.round(d / 8)
        r2 = jnp.sum(d * d, -1) + jnp.eye(len(x), dtype=float32) * 100
        i6 = (1 / r2) ** 3
        return 2 * jnp.sum(jnp.where(r2 < 9, i6 * i6 - i6, 0.0))

    return lib.value_and_grad(energy), (position,)


@program
def smoothed_particles(lib: Any) -> Task:
    """One step of 600 smoothed particles (SPH): density, pressure and viscosity."""
    jnp = lib.numpy
    rng = generator()
    position = uniform(rng, 600, 2)
    velocity = normal(rng, 600, 2)

    def run(x: Any, v: Any) -> Any:
        d = x[:, None] - x[None]
        r2 = jnp.sum(d * d, -1)
        q = jnp.sqrt(r2 + 1e-9) / 0.1
        w = jnp.where(q < 1, (1 - q) ** 3, 0.0)
        density = jnp.sum(w, 1)
        p = density - 1.0
        force = jnp.where(q < 1, (p[:, None] + p[None]) * (1 - q) ** 2 / (q + 1e-6), 0.0)
        a = jnp.sum(force[..., None] * d, 1) + 0.1 * jnp.sum(w[..., None] * (v[None] - v[:, None]), 1)
        return x + 0.01 * v, v + 0.01 * a

    return run, (position, velocity)


@program
def wave_gradient(lib: Any) -> Task:
    """The gradient, by the speed at each place of 96 x 96, of what a receiver hears of a wave in 100 steps."""
    jnp, lax = lib.numpy, lib.lax
    speed = np.ones((96, 96), float32)
    source = np.zeros((96, 96), float32)
    source[48, 48] = 1

    def loss(c: Any) -> Any:
        def step(state: Any, _: Any) -> Any:
            u, v = state
            laplacian = jnp.roll(u, 1, 0) + jnp.roll(u, -1, 0) + jnp.roll(u, 1, 1) + jnp.roll(u, -1, 1) - 4 * u
            v = v + 0.1 * c * laplacian
            return (u + 0.1 * v, v), u[10, 10]

        return jnp.sum(lax.scan(step, (jnp.asarray(source), jnp.zeros_like(c)), None, length=100)[1] ** 2)

    return lib.value_and_grad(loss), (speed,)


@program
def conjugate_gradients(lib: Any) -> Task:
    """Conjugate gradients for a five-point operator on a grid of 128 x 128, at most 40 iterations."""
    jnp, lax = lib.numpy, lib.lax
    right_side = normal(generator(), 128, 128)

    def operator(x: Any) -> Any:
        p = jnp.pad(x, 1)
        return 4.1 * x - p[:-2, 1:-1] - p[2:, 1:-1] - p[1:-1, :-2] - p[1:-1, 2:]

    def run(b: Any) -> Any:
        def goes_on(state: Any) -> Any:
            return (state[3] > 1e-4) & (state[4] < 40)

        def body(state: Any) -> Any:
            x, r, p, rs, i = state
            ap = operator(p)
            a = rs / jnp.sum(p * ap)
            x = x + a * p
            r = r - a * ap
            n = jnp.sum(r * r)
            return x, r, r + n / rs * p, n, i + 1

        return lax.while_loop(goes_on, body, (jnp.zeros_like(b), b, b, jnp.sum(b * b), 0))[0]

    return run, (right_side,)
