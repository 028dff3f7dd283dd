"""associative_scan, custom_root, custom_linear_solve: against NumPy, and the derivatives against JAX's of the closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx import lax
from fx.errors import AxisError, CarryTypeError, CustomRuleError, MissingRuleError, ShapeError

RNG = np.random.default_rng(0)
A = RNG.normal(size=(4, 4)) + 5 * np.eye(4)
B = np.arange(4.0) + 1


@pytest.fixture(autouse=True)
def reference() -> Iterator[None]:
    with fx.config.using(backend="reference", verify=True):
        yield


def close(got: Any, want: Any) -> None:
    for g, w in zip(fx.tree.leaves(got), fx.tree.leaves(want), strict=True):
        assert g.shape == w.shape and g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=1e-8, atol=1e-9)


# -------------------------------------------------------------------------------- associative_scan


@pytest.mark.parametrize("n", [0, 1, 2, 3, 6, 9])
def test_partial_products_of_matrices(n: int) -> None:
    x = RNG.normal(size=(n, 2, 2))
    ahead, back = [np.eye(2)], [np.eye(2)]
    for i in range(n):
        ahead.append(ahead[-1] @ x[i])
        back.append(back[-1] @ x[n - 1 - i])
    close(lax.associative_scan(np.matmul, x), np.array(ahead[1:]).reshape(x.shape))
    close(lax.associative_scan(np.matmul, x, reverse=True), np.array(back[:0:-1]).reshape(x.shape))


def test_a_linear_recurrence_along_another_axis() -> None:
    """h = a h + b, as composition of affine maps; its derivative is that of the loop."""
    a, b = RNG.normal(size=(3, 7)), RNG.normal(size=(3, 7))

    def by_scan(a: Any, b: Any) -> Any:
        return lax.associative_scan(lambda p, q: (q[0] * p[0], q[0] * p[1] + q[1]), (a, b), axis=-1)[1]

    def by_loop(a: Any, b: Any) -> Any:
        return lax.scan(lambda h, ab: (ab[0] * h + ab[1],) * 2, fnp.zeros(3, np.float64), (a.T, b.T))[1].T

    close(by_scan(a, b), by_loop(a, b))
    gradient = lambda f: fx.grad(lambda a, b: (f(a, b) ** 2).sum(), (0, 1))  # noqa: E731
    close(gradient(by_scan)(a, b), gradient(by_loop)(a, b))
    close(fx.jit(fx.vmap(by_scan))(a[None], b[None]), by_loop(a, b)[None])


def test_what_is_joined_keeps_its_type() -> None:
    close(
        lax.associative_scan(np.logical_xor, np.array([True, True, False, True])), np.array([True, False, False, True])
    )
    close(lax.associative_scan(np.maximum, np.int8([3, 1, 5])), np.int8([3, 3, 5]))
    for f, kind in (
        (lambda: lax.associative_scan(lambda a, b: a[:1], B), CarryTypeError),
        (lambda: lax.associative_scan(np.add, (B, A[:2])), ShapeError),
        (lambda: lax.associative_scan(np.add, B, axis=1), AxisError),
    ):
        with pytest.raises(kind):
            f()


# ------------------------------------------------------------------------------ custom_linear_solve


def jacobi(bounded: bool, matrix: Any) -> Callable[..., Any]:
    """Solves by iteration, until it converges or 200 times."""

    def solve(matvec: Any, b: Any) -> Any:
        d = fnp.diag(matrix) * 1.5
        if bounded:
            return lax.fori_loop(0, 200, lambda _, x: x + (b - matvec(x)) / d, b * 0)
        return lax.while_loop(lambda x: abs(matvec(x) - b).max() > 1e-13, lambda x: x + (b - matvec(x)) / d, b * 0)

    return solve


def solved(a: Any, b: Any) -> Any:
    return lax.custom_linear_solve(lambda x: a @ x, b, jacobi(False, a), jacobi(True, a))


def total(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: (f(*args) ** 2 * np.float64([1, -2, 3, 1])).sum()


def test_linear_solve_and_its_derivatives() -> None:
    jax = pytest.importorskip("jax")
    truth = jax.numpy.linalg.solve
    close(solved(A, B), np.linalg.solve(A, B))
    close(fx.jvp(solved, (A, B), (A.T, B[::-1].copy())), jax.jvp(truth, (A, B), (A.T, B[::-1].copy())))
    for f in (fx.grad(total(solved), (0, 1)), fx.jit(fx.grad(total(solved), (0, 1)))):
        close(f(A, B), jax.grad(total(truth), (0, 1))(A, B))
    close(fx.hessian(total(solved), 1)(A, B), jax.hessian(total(truth), 1)(A, B))
    rows = np.stack([B, B * 2, -B])
    for axes, args in (
        ((None, 0), (A, rows)),
        ((0, None), (np.stack([A, A.T]), B)),
        ((0, 0), (np.stack([A, A.T]), rows[:2])),
    ):
        want = [[a if d is None else a[i] for a, d in zip(args, axes)] for i in range(3 - (axes[0] == 0))]
        close(fx.vmap(solved, axes)(*args), np.stack([np.linalg.solve(*w) for w in want]))
        grads = [fx.grad(total(solved), (0, 1))(*w) for w in want]
        close(
            fx.vmap(fx.grad(total(solved), (0, 1)), axes)(*args),
            [np.stack([np.asarray(g[k]) for g in grads]) for k in (0, 1)],
        )


def test_linear_solve_of_pytrees_symmetric_with_auxiliary_results() -> None:
    def f(s: Any, b: Any) -> Any:
        def solve(_: Any, b: Any) -> Any:
            return {k: v / s for k, v in b.items()}, {"steps": fnp.asarray(3)}

        x, aux = lax.custom_linear_solve(
            lambda x: {k: v * s for k, v in x.items()}, b, solve, symmetric=True, has_aux=True
        )
        return x["p"] * x["q"], aux["steps"]

    b = {"p": np.float64(6), "q": np.float64(9)}
    assert f(3.0, b) == (6.0, 3)
    close(
        fx.grad(lambda s, b: f(s, b)[0], (0, 1))(np.float64(3), b),
        (np.float64(-4), {"p": np.float64(1), "q": np.float64(2 / 3)}),
    )


def test_linear_solve_refuses() -> None:
    with pytest.raises(CustomRuleError, match="one type"):
        lax.custom_linear_solve(lambda x: x[:2], B, lambda _, b: b)
    with pytest.raises(CustomRuleError, match="solve returned"):
        lax.custom_linear_solve(lambda x: x, B, lambda _, b: (b, b))
    one_way = lambda b: lax.custom_linear_solve(lambda x: 2 * x, b, lambda _, b: b / 2).sum()  # noqa: E731
    assert fx.jvp(one_way, (B,), (B,))[1] == 5
    with pytest.raises(MissingRuleError, match="transpose_solve"):
        fx.grad(one_way)(B)


# ------------------------------------------------------------------------------------- custom_root


def newton(f: Any, x: Any) -> Any:
    """Tells nothing of its derivative: while_loop has no reverse mode."""
    return lax.while_loop(lambda x: abs(f(x)) > 1e-12, lambda x: x - f(x) / fx.grad(f)(x), x)


def cube_root(a: Any) -> Any:
    return lax.custom_root(lambda x: x**3 - a, fnp.ones_like(a), newton, lambda g, y: y / g(fnp.ones_like(a)))


def test_a_root_and_its_derivatives() -> None:
    jax = pytest.importorskip("jax")
    a, rows = np.float64(3), np.float64([1, 2, 5])
    truth = jax.numpy.cbrt
    close(cube_root(a), np.cbrt(a))
    close(fx.grad(cube_root)(a), jax.grad(truth)(a))
    close(fx.jit(fx.grad(fx.grad(cube_root)))(a), jax.grad(jax.grad(truth))(a))
    close(fx.jvp(cube_root, (a,), (a,)), jax.jvp(truth, (a,), (a,)))
    close(fx.vmap(fx.grad(cube_root))(rows), jax.vmap(jax.grad(truth))(rows))
    close(fx.jit(fx.vmap(cube_root))(rows), np.cbrt(rows))


def test_a_root_of_several_equations_with_auxiliary_results() -> None:
    """The fixed point of tanh(W x + b), by iteration, and its Jacobian by the implicit function theorem."""

    def fixed(w: Any, b: Any) -> Any:
        def f(x: Any) -> Any:
            return fnp.tanh(w @ x + b) - x

        def solve(f: Any, x: Any) -> Any:
            return lax.fori_loop(0, 100, lambda _, x: x + f(x), x), 100

        def tangent_solve(g: Any, y: Any) -> Any:
            return lax.fori_loop(0, 100, lambda _, v: v + g(v) - y, y * 0)

        return lax.custom_root(f, fnp.zeros(3, np.float64), solve, tangent_solve, has_aux=True)

    w, b = RNG.normal(size=(3, 3)) * 0.3, RNG.normal(size=3)
    x, steps = fixed(w, b)
    close(np.tanh(w @ np.asarray(x) + b), np.asarray(x))
    assert steps == 100
    slope = np.diag(1 - np.asarray(x) ** 2)
    close(fx.jacrev(lambda b: fixed(w, b)[0])(b), np.linalg.solve(np.eye(3) - slope @ w, slope))
    close(fx.jacfwd(lambda b: fixed(w, b)[0])(b), np.linalg.solve(np.eye(3) - slope @ w, slope))


# -------------------------------------------------------------------------------------- linear_call


def _scaled(lib: Any, r: Any, x: Any) -> Any:
    """Linear in x, a pair; the transpose is told by a factor of 3."""
    f = lambda r, v: {"y": r["a"] * v[0] + v[1], "z": v[1] * 2.0}
    back = lambda r, ct: (3.0 * r["a"] * ct["y"], 3.0 * (ct["y"] + 2.0 * ct["z"]))
    return lib.custom_derivatives.linear_call(f, back, {"a": r}, x)


def test_a_linear_call_is_transposed_as_it_is_told() -> None:
    jax = pytest.importorskip("jax")
    r, x = B, (np.sin(B), np.cos(B))
    value = lambda lib: lambda x: sum((v * np.arange(4.0)).sum() for v in lib.tree.leaves(_scaled(lib, r, x)))
    with jax.enable_x64(True):
        want = _scaled(jax, r, x), jax.grad(value(jax))(x)
        (back,) = jax.linear_transpose(lambda x: _scaled(jax, r, x), x)(want[0])
    for wrap in (lambda f: f, fx.jit):
        close(wrap(lambda x: _scaled(fx, r, x))(x), want[0])
        close(wrap(fx.grad(value(fx)))(x), want[1])
        close(wrap(lambda ct: fx.linear_transpose(lambda x: _scaled(fx, r, x), x)(ct)[0])(want[0]), back)
        close(wrap(lambda x, t: fx.jvp(lambda x: _scaled(fx, r, x), (x,), (t,))[1])(x, x), want[0])
    rows = tuple(np.stack([v, 2 * v]) for v in x)
    batched = fx.vmap(fx.grad(lambda x, r: _scaled(fx, r, x)["y"].sum()), in_axes=(0, None))(rows, r)
    close(batched, (np.stack([3 * r] * 2), np.full((2, 4), 3.0)))
    along = fx.vmap(lambda r: fx.grad(lambda x: _scaled(fx, r, x)["y"].sum())(x)[0])(np.stack([r, -r]))
    close(along, np.stack([3 * r, -3 * r]))
    twice = fx.linear_transpose(lambda ct: fx.linear_transpose(lambda x: _scaled(fx, r, x), x)(ct)[0], want[0])
    close(twice(x)[0], want[0])
    close(fx.jvp(lambda r: _scaled(fx, r, x)["y"], (r,), (np.ones(4),))[1], x[0])
    narrow = fx.grad(lambda v: _scaled(fx, r, (v, v))["y"].sum())(np.float32(x[0]))
    assert narrow.dtype == np.float32
    close(narrow, np.float32(3 * r + 3))
    assert _scaled(fx, np.zeros(0), (np.zeros(0), np.zeros(0)))["y"].shape == (0,)


def test_a_linear_call_says_what_its_transpose_returned() -> None:
    with pytest.raises(CustomRuleError, match="The transpose gives back what fun is linear in"):
        fx.custom_derivatives.linear_call(lambda r, x: r * x, lambda r, ct: (ct, ct), 2.0, B)
