"""Kernels in ordinary NumPy: the same body plain, compiled, differentiated and mapped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy_harness import close
from numpy_kernels import KERNELS, Kernel

import fx


def fresh(k: Kernel) -> list[np.ndarray]:
    return [a.copy() for a in k.args]


def body(k: Kernel) -> Any:
    return fx.numpy_program(k.f) if k.program else k.f


def total(out: Any) -> Any:
    """A number that depends smoothly on every float of the result."""
    floats = [v for v in fx.tree.leaves(out) if getattr(v, "dtype", np.dtype(float)).kind == "f"]
    return sum((k + 1.0) * np.sum(np.sin(v)) for k, v in enumerate(floats))


@pytest.mark.parametrize("name", KERNELS)
def test_compiled_is_plain(name: str) -> None:
    k = KERNELS[name]
    want = k.f(*fresh(k))
    args = fresh(k)
    close(fx.jit(body(k))(*args), want, 1e-12)
    for a, b in zip(args, k.args):
        np.testing.assert_array_equal(a, b)  # the caller's arrays are not touched


@pytest.mark.parametrize("name", KERNELS)
def test_gradient_is_the_difference_quotient(name: str) -> None:
    k = KERNELS[name]
    f = body(k)
    grads = fx.grad(lambda *args: total(f(*args)), argnums=k.wrt)(*k.args)
    rng = np.random.default_rng(0)
    directions = {i: rng.standard_normal(k.args[i].shape) for i in k.wrt}

    def plain(h: float) -> float:
        moved = [a + h * directions[i] if i in directions else a.copy() for i, a in enumerate(k.args)]
        return float(total(k.f(*moved)))

    slope = sum(float(np.sum(np.asarray(g) * directions[i])) for g, i in zip(grads, k.wrt))
    assert slope == pytest.approx((plain(1e-6) - plain(-1e-6)) / 2e-6, rel=2e-6, abs=1e-8)
    compiled = fx.jit(fx.grad(lambda *args: total(f(*args)), argnums=k.wrt), backend="reference")(*k.args)
    close(compiled, grads, 1e-10)


@pytest.mark.parametrize("name", KERNELS)
def test_mapped_is_a_loop(name: str) -> None:
    k = KERNELS[name]
    twice = [np.stack([a, a * 1.01]) for a in k.args]
    one, two = k.f(*fresh(k)), k.f(*[a * 1.01 for a in k.args])
    close(fx.vmap(body(k))(*twice), fx.tree.map(lambda *v: np.stack(v), one, two), 1e-10)
