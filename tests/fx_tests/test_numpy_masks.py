"""``x[mask]`` with masks that are not known while tracing: what needs no length works, what needs it says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy_harness import close

import fx
from fx.errors import ConcretizationError

X = np.array([[-1.0, 2.0, 0.25], [3.0, -4.0, 0.5]])
N = np.array([[1, 2, 3], [4, 5, 6]])


def in_place(x: Any) -> Any:
    x[x < 0] *= 2
    m = x > 0
    y = x + 0
    y[m] = np.log(y[m]) + np.sqrt(x[m])
    y[y < -3] = -y[y < -3]
    z = np.zeros_like(x)
    z[m] = 1 / x[m]
    z[x < 0] = np.arctan2(x[x < 0], 2.0) ** 2
    z[m] += y[m] * x[1, 0]
    return x, y, z


def numbers(x: Any) -> Any:
    m = x > 0.3
    count = x[m].size
    spread = x[m].std() + np.var(x[m], ddof=1)
    return x[m].sum(), np.mean(x[m]), x[m].max(), np.min(x[m]), np.prod(x[m]), count, np.sum(x[m] ** 2) / count, spread


def rows(x: Any) -> Any:
    m = x[:, 0] > 0
    y = x + 0
    y[m] = x[m] * x[0]
    y[m] -= [1.0, 2.0, 3.0]
    y[~m] = 7.0
    return y, x[m].sum(axis=0), np.mean(x[m], axis=0), x[m].max(axis=0), np.sum(x[m])


def comparisons(x: Any) -> Any:
    m = x > 0
    small = np.zeros_like(x, dtype=bool)
    small[m] = (x[m] < 1) & ~(x[m] == 0.5)
    return small, np.any(x[m] > 2.5), np.all(x[m] > 0.1), x[m].astype(np.float32).sum()


def boundaries(x: Any) -> Any:
    inner = x[:, 1:]
    inner[inner < 0] = 0
    inner[inner > 1] -= 1
    return x


def among_other_indices(x: Any) -> Any:
    m, n = x[0] > 1, x[:, 1] > 0
    x[:, m] = -1.25
    x[n, 0] += 1
    x[0, m] = -x[0, m] * x[1, m]
    y = x + 0
    y[:, m] = 0.5
    y[n, 1:] = [7.0, 8.0]
    return x, y, x[n, 2].sum(), x[1, m].max()


PROGRAMS = [among_other_indices, in_place, numbers, rows, comparisons, boundaries]


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_masks_are_numpy_s(f: Any) -> None:
    want = f(X.copy())
    close(fx.jit(f, backend="reference")(X), want, 1e-6)
    close(fx.vmap(f)(np.stack([X, X[::-1]])), fx.tree.map(lambda *v: np.stack(v), want, f(X[::-1].copy())), 1e-6)

    def loss(x: Any) -> Any:
        floats = [v for v in fx.tree.leaves(f(x)) if getattr(v, "dtype", None) == np.float64]
        return 0.0 * np.sum(x) + sum(np.sum(np.sin(v)) for v in floats)

    slopes = [(loss(X + h) - loss(X - h)) / 2e-6 for h in 1e-6 * np.eye(6).reshape(6, 2, 3)]
    for g in (fx.grad(loss), fx.jit(fx.grad(loss), backend="reference")):
        np.testing.assert_allclose(np.asarray(g(X)).ravel(), slopes, rtol=1e-6, atol=1e-7)


def test_integers_and_compiled_code() -> None:
    def f(n: Any) -> Any:
        even = n % 2 == 0
        n[even] //= 2
        n[~even] = 3 * n[~even] + 1
        return n, n[even].max(), n[even].sum(), np.sum(n[n > 100])

    close(fx.jit(f)(N), f(N.copy()))


def test_no_derivative_leaks_from_outside_the_mask() -> None:
    def f(x: Any, s: Any) -> Any:
        m = x > 0
        return np.sum(np.sqrt(x[m]) / x[m] + s / np.log(x[m]) + x[m] ** s)

    x = np.array([0.0, -1.0, 4.0, 0.0])
    want = fx.grad(lambda v, s: np.sum(np.sqrt(v) / v + s / np.log(v) + v**s), argnums=(0, 1))(np.array([4.0]), 2.0)
    dx, ds = fx.jit(fx.grad(f, argnums=(0, 1)), backend="reference")(x, 2.0)
    np.testing.assert_allclose(np.asarray(dx), [0, 0, np.asarray(want[0])[0], 0])
    np.testing.assert_allclose(np.asarray(ds), np.asarray(want[1]))


REFUSED = [
    "len(x[m])", "x[m][0]", "list(x[m])", "x[m].shape", "np.sort(x[m])", "x[m] + np.ones(4)", "x[m] * x[x > 1]", "np.concatenate([x[m], x[m]])", "x[m].median()",
    "x.__setitem__(x > 1, x[m])", "np.add.reduce(x[m])", "np.asarray(x[m])", "float(x[m])", "bool(x[m])", "x[m].reshape(-1)", "x[m].__setitem__(0, 1.0)",
]  # fmt: skip


@pytest.mark.parametrize("expression", REFUSED)
def test_what_needs_the_length_says_so(expression: str) -> None:
    space: dict[str, Any] = {"np": np}
    exec(f"def f(x):\n    m = x > 0\n    return {expression}", space)
    with pytest.raises(ConcretizationError, match=r"np\.where"):
        fx.jit(space["f"])(X)


def test_a_mask_of_another_moment_is_another_mask() -> None:
    def f(x: Any) -> Any:
        chosen = x[x > 0]
        x += 1
        x[x > 0] = chosen
        return x

    with pytest.raises(ConcretizationError, match="through another index"):
        fx.jit(f)(X)
