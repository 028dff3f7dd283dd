"""Writing through views of traced arrays: what NumPy does with one memory, the traces do with one variable."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import view_programs
from numpy_harness import close, same

import fx
from fx import lax
from fx.errors import LeakedTracerError, ReadOnlyArrayError, SideEffectError

X = np.arange(12.0).reshape(3, 4) / 5 + 0.3
C = X + 1j * X[::-1]


def program(*lines: str) -> Any:
    """A NumPy program that changes ``a`` and returns it with what else it has called ``out``."""
    space: dict[str, Any] = {"np": np}
    exec("def f(a):\n    out = None\n    " + "\n    ".join(lines) + "\n    return a, out", space)
    return space["f"]


# what is written, as a person would; ``a`` is (3, 4)
WRITES: list[tuple[str, ...]] = [
    ("y = a[1:3]", "y[:] = 0"), ("row = a[1]", "row += 1", "out = row"), ("row = a[1]", "a[1, 2] = 9", "out = row * 2"), ("a.T[0] = 5",), ("a.T[1:][0][2] = 5",),
    ("a.reshape(-1)[7] = 9",), ("a.reshape(4, 3)[1] *= 2",), ("a.reshape((2, 6))[:, ::2] -= 1",), ("b = a.ravel()", "b[::5] = -1", "out = b"), ("b = a[:, None]", "b[1] = a[2]"),
    ("np.swapaxes(a, 0, 1)[2] = 7",), ("a.swapaxes(0, 1)[2] += 7",), ("a.flat[5] = 1",), ("a.flat[2:9:3] = 1",), ("a.flat = [1.0, 2.0]",), ("a.T.flat[1] = 4",), ("y = a.flat[2:5]", "y[:] = 0"),
    ("b = np.transpose(a)", "b[0] += b[1]", "out = b"), ("b = np.moveaxis(a, 0, 1)", "b[3, 1] = 2"), ("b = np.rollaxis(a, 1)", "b[3, 1] = 2"), ("b = np.expand_dims(a, (0, 2))", "b[0, 1, 0, 2] = 3"),
    ("b = np.squeeze(a[:, None])", "b[1:, 1:] = 0"), ("b = np.flip(a)", "b[0] = 0", "out = b"), ("b = np.flipud(a)", "b[0] = 1"), ("b = np.fliplr(a)", "b[0] = [1, 2, 3, 4]"), ("b = np.rot90(a)", "b[0] = [1, 2, 3]"),
    ("b = np.rot90(a, 3)", "b[0] = [1, 2, 3]"), ("b = a[::-1, ::-2]", "b[0] = 8"), ("b, c = np.split(a, 2, axis=1)", "b[:] = c", "c += 1", "out = b"), ("b, c = np.array_split(a, 2)", "c[:] = b[0]"), ("b, c = np.hsplit(a, [1])", "c *= b"),
    ("b = np.vsplit(a, 3)[1]", "b += 1"), ("for row in a:", "    row /= row.sum()"), ("for i in range(3):", "    row = a[i]", "    row[1:] += row[:-1]"), ("p, q, r = a", "p += q", "r[:] = p"), ("b = a[...]", "b += 1"),
    ("b = a[:]", "b[0] = 1", "a[1] = 2", "out = b"), ("b = a[1, ...]", "b[:] = 3"), ("b = a[0, 1, ...]", "b += 5"), ("b = a[1]", "c = b[2:]", "d = c[None, ::-1]", "d[0, 0] = 77", "out = b + 1"),
    ("b = a.view()", "b[0] = 0"), ("b = a.T", "c = b.T", "c[1, 2] = 5", "b[0, 0] = 6", "out = c, b"), ("b = np.atleast_2d(a[0])", "b[0, 0] = 3"), ("b = np.atleast_3d(a)", "b[0, 0] = 3"), ("b = np.atleast_1d(a)", "b += 1"),
    ("b = np.reshape(a, (6, 2))", "b[1] = 0"), ("b = np.ravel(a.T, order='F')", "b[:3] = 0", "out = b"), ("b = a.T.reshape((2, 6), order='F')", "b[1] = 0", "out = b"), ("b = a[:, ::2].reshape(3, 1, 2)", "b[1] = 0"), ("b = a[:, ::2].reshape(2, 3)", "b[:] = 0", "b = a[0]", "b[0] = 8"),
    ("b = a.reshape(12)[2:8].reshape(2, 3)", "b[1] = 0"), ("b = a.T.T.ravel()", "b[1] = 0"), ("a[0], a[1] = a[1], a[0]",), ("a[[0, 1]] = a[[1, 0]]",), ("a[:, 1:] = a[:, :-1]",), ("a[1:-1, 1:-1] += a[:-2, :-2] + a[2:, 2:]",),
    ("np.add(a[0], 1, out=a[1])",), ("np.multiply(a, 2, a)",), ("np.copyto(a[:, 1], 0)",), ("np.add.at(a[0], [1, 1, 2], 1.0)",), ("np.fill_diagonal(a[:, :3], 0)",), ("np.put(a.ravel(), [1, 2], 7)",), ("a[1].fill(3)",), ("a[2, ::-1].sort()",), ("a[::-1, ::-1][0].sort()",),
    ("a *= -1", "a.sort(axis=0)",), ("a *= -1", "a.sort(0)", "out = a + 1"), ("a **= 2",), ("a -= a",), ("a //= 2",), ("a %= 0.69",), ("b = a", "b += 1"), ("b = a.real", "b[0] = 5"), ("b = np.unstack(a)[1]", "b[:] = 4"), ("b = a.astype(np.float64, copy=False)", "b[0] = 4"),
    ("i = np.argmax(a[:, 0])", "row = a[i]", "row[1:] = 0"), ("b = a[1:, 1:]", "b[b > 1.6] = 0"), ("b = a[1:, 1:]", "b[[0, 1], [1, 0]] = 0"), ("b = a[:, ::2]", "b[...] = b[:, ::-1]"), ("b = np.broadcast_to(a[0], (2, 4))", "a[0, 0] = 9", "out = b"),
    ("b = np.lib.stride_tricks.sliding_window_view(a, 2, 1)", "a[1, 1] = 9", "out = b"), ("b = np.einsum('ii->i', a[:, 1:])", "b += 9", "out = b"),
    ("np.einsum('jj->j', a[:, :3])[:] = 0", "b = np.einsum('ij->ji', a)", "out = b"), ("b = np.diagonal(a)", "a[1, 1] = 9", "out = b"), ("b = a.diagonal()", "a += 1", "out = b"), ("b = np.diag(a)", "a += 1", "out = b"),
]  # fmt: skip

# what copies in NumPy, and so does not change ``a``
COPIES: list[tuple[str, ...]] = [
    ("b = a[[0, 1]]", "b[:] = 0"), ("b = a[np.array([True, False, True])]", "b[:] = 0"), ("y = a.flat[2:5]", "y[:] = 0"), ("b = a[0, 1]", "b += 5", "out = b"), ("b = np.reshape(a, (6, 2), order='F')", "b[1] = 0", "out = b"), ("b = a + 0", "b[:] = 0"), ("b = a.copy()", "b += 1"), ("b = a.flatten()", "b[:] = 0"), ("b = np.copy(a)", "b[0] = 0"),
    ("b = a.T.reshape(-1)", "b[:] = 0"), ("b = a.T.ravel()", "b[:] = 0"), ("b = a[:, 1:3].ravel()", "b[:] = 0"), ("b = a[:, :3].reshape(9)", "b[:] = 0"), ("b = a[::2].reshape(-1)", "b[:] = 0"), ("b = np.ravel(a, order='F')", "b[:] = 0"),
    ("b = a.astype(np.float64)", "b[0] = 4"), ("b = +a", "b += 4"), ("b = np.sort(a)", "b[:] = 0"), ("b = np.roll(a, 1)", "b[:] = 0"), ("b = np.take(a, [0, 1], 0)", "b[:] = 0"), ("b = a[0, 1]", "b = b + 3"),
    ("b = np.where(a > 1, a, a)", "b[:] = 0"), ("b = np.concatenate([a])", "b[:] = 0"), ("b = a * 1", "b -= 1"), ("b = np.abs(a)", "b[:] = 3"), ("b = np.sum(a, axis=0)", "b += 3"), ("b = np.zeros_like(a)", "b += 3", "out = b"), ("b = a[0:1, [1, 2]]", "b += 1"),
]  # fmt: skip


@pytest.mark.parametrize("lines", WRITES + COPIES, ids="; ".join)
def test_views_are_numpy_s(lines: tuple[str, ...]) -> None:
    f = program(*lines)
    x = X.copy()
    want = f(x)
    if lines in COPIES:
        assert (x == X).all()
    else:
        assert (x != X).any()
    x = X.copy()
    with fx.config.using(backend="reference"):
        close(fx.jit(f)(x), want)
    close(fx.vmap(f)(np.stack([x, x])), fx.tree.map(lambda v: np.stack([v, v]), want))
    same(x, X)  # the caller's array is never touched

    def loss(x: Any) -> Any:
        return sum(np.sum(np.sin(v)) for v in fx.tree.leaves(f(x)) if v is not None)

    value, slope = fx.value_and_grad(loss)(x)
    direction = np.cos(np.arange(12.0)).reshape(3, 4)
    plain = [float(loss((X + h * direction).copy())) for h in (1e-6, -1e-6, 0)]
    assert float(value) == pytest.approx(plain[2], rel=1e-12)
    assert np.sum(np.asarray(slope) * direction) == pytest.approx((plain[0] - plain[1]) / 2e-6, rel=1e-5, abs=1e-7)


def test_real_and_imaginary_parts_and_other_dtypes() -> None:
    def f(c: Any) -> Any:
        c.real[0] = 3
        c.imag[:, 1] *= 2
        np.real(c)[1] = 4
        c.imag = c.imag + 1
        c.view(np.float64)[2, 0] = 8
        return c

    want = f(C.copy())
    close(fx.jit(f, backend="reference")(C), want)
    close(fx.vmap(f)(C[None]), want[None])

    def bits(x: Any) -> Any:
        x.view(np.int64)[0] = 0
        return x

    close(fx.jit(bits, backend="reference")(X), bits(X.copy()))


def test_read_only_views() -> None:
    for f in (
        lambda a: np.diagonal(a).__setitem__(0, 1.0),
        lambda a: np.diag(a).__setitem__(0, 1.0),
        lambda a: a.imag.__setitem__(0, 1.0),
        lambda a: np.lib.stride_tricks.sliding_window_view(a, 2, 0).__setitem__(0, 1.0),
        lambda a: np.broadcast_to(a, (2, 3, 4)).__setitem__(0, 1.0),
        lambda a: a.diagonal().__iadd__(1.0),
        lambda a: np.broadcast_to(a, (2, 3, 4))[0].__setitem__(0, 1.0),
    ):
        with pytest.raises((ReadOnlyArrayError, ValueError), match="read-only"):
            f(X.copy())
        with pytest.raises(ReadOnlyArrayError, match="read-only view"):
            fx.jit(f)(X)


# --------------------------------------------------------------------------------- nesting


def test_views_across_transforms() -> None:
    def f(x: Any) -> Any:
        row = x[1]
        scale = fx.grad(lambda s: np.sum(row * s**2))(np.float64(2.0))  # an inner trace looks at a view
        x[1] = x[1] * scale
        inner = fx.jit(lambda v: v + row)(x[0])  # a compiled one looks at it after the write
        row[:] += 1
        return x, inner, row

    def plain(x: Any) -> Any:
        row = x[1]
        x[1] = x[1] * 4.0 * np.sum(row)
        inner = x[0] + row
        row[:] += 1
        return x, inner, row

    want = plain(X.copy())
    with fx.config.using(backend="reference"):
        close(fx.jit(f)(X), want)
        close(fx.jit(fx.vmap(f))(X[None]), fx.tree.map(lambda v: v[None], want))
    g = fx.grad(lambda x: np.sum(f(x)[0]))(X)
    h = [(np.sum(plain(X + 1e-6 * e)[0]) - np.sum(plain(X - 1e-6 * e)[0])) / 2e-6 for e in _basis(X)]
    np.testing.assert_allclose(np.asarray(g).ravel(), h, rtol=1e-6)


def _basis(x: np.ndarray) -> list[np.ndarray]:
    return list(np.eye(x.size).reshape(-1, *x.shape))


def test_buffers_of_inner_functions_and_of_outer_ones() -> None:
    def local(x: Any) -> Any:
        def one(v: Any) -> Any:
            buffer = np.zeros_like(x)  # made inside, recorded outside
            buffer[0] = v
            part = buffer[1]
            part += v * 2
            return np.sum(buffer * x)

        return fx.vmap(one)(x), fx.vmap(fx.grad(one))(x), fx.jit(one)(x[0])

    rows = np.array([np.sum((v + 0) * X[0] + 2 * v * X[1]) for v in X])
    values, slopes, first = fx.jit(local, backend="reference")(X)
    close((values, slopes, first), (rows, np.stack([X[0] + 2 * X[1]] * 3), rows[0]))

    def outer(transform: Any) -> Any:
        def f(x: Any) -> Any:
            buffer = np.zeros_like(x)

            def one(v: Any) -> Any:
                buffer[0] = v
                return np.sum(v)

            transform(one)(x[0])
            return buffer

        return f

    for transform in (fx.grad, fx.jit, fx.checkpoint, lambda g: fx.vmap(lambda v: g(v * np.ones(4)))):
        with pytest.raises(SideEffectError, match="of the function around it"):
            fx.jit(outer(transform))(X)

    def log(x: Any) -> Any:
        seen = np.zeros_like(x[0])

        def one(v: Any) -> Any:
            seen[1] = 5.0  # depends on nothing inside: it is the outer function's own write
            return np.sum(v**2)

        return fx.grad(one)(x[0]) + seen

    close(fx.jit(log, backend="reference")(X), 2 * X[0] + np.array([0, 5.0, 0, 0]))


def test_a_view_that_leaks_says_so() -> None:
    kept: list[Any] = []
    fx.jit(lambda x: (kept.append(x[1:]), x.__setitem__(0, 1.0), x)[2])(X)
    with pytest.raises(LeakedTracerError, match="after jit had finished"):
        _ = kept[0] + 1


def test_views_cost_nothing_while_nobody_writes() -> None:
    def read(x: Any) -> Any:
        return sum(np.sum(x[i] * x[:, 1].reshape(3, 1)) for i in range(3)) + np.sum(x.T)

    names = [e.prim.name for e in fx.make_graph(read)(X).eqns]
    assert names.count("slice") == 6 and names.count("transpose") == 1 and "dynamic_update_slice" not in names

    def write_once(x: Any) -> Any:
        x[1:-1] += x[2:]
        return x

    def write_between(x: Any, a: int = 1, b: int = 1000) -> Any:
        x[a : b - 997] += x[2:]
        return x

    def write_back(x: Any) -> Any:
        here = slice(1, 3)
        x[here] += x[2:]
        x[here] = x[slice(here.start, here.stop)]  # what is there already
        return x

    for write, reads in ((write_once, 2), (write_between, 2), (write_back, 3)):
        names = [e.prim.name for e in fx.make_graph(write)(np.arange(4.0)).eqns]
        assert sorted(names) == ["add", "dynamic_update_slice", *["slice"] * reads], write


def test_views_that_are_gone_are_forgotten() -> None:
    def f(x: Any) -> Any:
        for _ in range(200):
            _ = x[1:]
        gc.collect()
        assert len(x.views) < 64
        return x

    fx.make_graph(f)(X)


def test_sort_is_in_place_as_a_statement_and_a_copy_as_a_value() -> None:
    def statement(x: Any) -> Any:
        x.sort()
        x[0].partition(1)
        return x

    def value(x: Any) -> Any:
        y = x.sort()
        return x, y

    close(fx.jit(statement, backend="reference")(-X), np.sort(-X))
    close(fx.jit(value, backend="reference")(-X), (-X, np.sort(-X)))


def test_in_place_operators_that_numpy_refuses_make_a_new_array() -> None:
    def f(n: Any, x: Any) -> Any:
        old = n
        n += 0.5
        wide = x
        wide += np.ones((2, 4))
        return old, n, x, wide

    old, n, x, wide = fx.jit(f, backend="reference")(np.arange(4), np.zeros(4))
    same(old, np.arange(4))
    close(n, np.arange(4) + 0.5)
    close((x, wide), (np.zeros(4), np.ones((2, 4))))
    close(
        fx.jit(lambda y: y.__iadd__(np.ones(4)), backend="reference")(np.zeros(4, np.float32)), np.ones(4, np.float32)
    )


def test_rules_may_write_to_their_arguments() -> None:
    @fx.custom_jvp
    def f(x: Any) -> Any:
        return x**2

    @f.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        y = f(x)
        x *= 2.0
        t *= x
        return y, t

    x = X[0]
    close(fx.grad(lambda v: np.sum(f(v) * v))(x), 3 * x**2)
    close(fx.jit(fx.grad(lambda v: np.sum(f(v) * v)))(x), 3 * x**2)


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_random_programs_of_views(first: int) -> None:
    a = np.sin(np.arange(24.0)).reshape(2, 3, 4)
    for seed in range(first, first + 20):
        want = view_programs.run(seed, a.copy())
        close(fx.jit(lambda x, s=seed: view_programs.run(s, x), backend="reference")(a), want, 1e-9)
        if seed % 4 == 0:
            mapped = fx.vmap(lambda x, s=seed: view_programs.run(s, x))(a[None])
            close(mapped, [w[None] for w in want], 1e-9)


def test_bodies_of_loops_and_branches_write_to_their_arguments() -> None:
    def step(i: Any, u: Any) -> Any:
        row = u[i]
        row += u[i - 1] * 0.5
        u[:, 0][i] = -1.0
        np.multiply(u[0], 1.1, out=u[0])
        return u

    def plain(u: Any) -> Any:
        for i in range(1, 3):
            u = step(i, u)
        return u

    want = plain(X.copy())
    loop = lambda u: lax.fori_loop(1, 3, step, u)  # noqa: E731
    close(fx.jit(loop)(X), want)
    close(fx.jit(lambda u: lax.scan(lambda c, i: (step(i, c), c[0] * 2), u, np.arange(1, 3))[0])(X), want)
    slopes = [(np.sum(np.sin(plain(X + e))) - np.sum(np.sin(plain(X - e)))) / 2e-6 for e in 1e-6 * np.array(_basis(X))]
    for f in (fx.grad, lambda g: fx.jit(fx.grad(g), backend="reference"), lambda g: fx.grad(fx.checkpoint(g))):
        np.testing.assert_allclose(np.asarray(f(lambda u: np.sum(np.sin(loop(u))))(X)).ravel(), slopes, rtol=1e-6)

    def branch(u: Any, flag: Any) -> Any:
        seen = u[0]

        def change(v: Any) -> Any:
            v[0] = 5.0
            return v

        out = lax.cond(flag, change, lambda v: v * 2, u)
        return out, seen, u

    x = X.copy()
    changed = X.copy()
    changed[0] = 5.0
    close(fx.jit(branch)(x, True), (changed, X[0], X))  # the branch's array is its own
    close(fx.jit(branch)(x, False), (X * 2, X[0], X))

    def captured(u: Any) -> Any:
        def change(v: Any) -> Any:
            u[0] = v[0]
            return v

        return lax.cond(True, change, change, u * 2)

    with pytest.raises(SideEffectError, match="of the function around it"):
        fx.jit(captured)(X)
    with pytest.raises(SideEffectError, match="carry"):
        fx.jit(lambda u: lax.fori_loop(0, 3, lambda i, c: (u.__setitem__(0, c), c * 2)[1], u[0]))(X)


def test_named_tuples_of_views_come_out_of_programs() -> None:
    def f(x: Any) -> Any:
        parts = {"rows": list(x), "columns": [x[:, j] for j in range(4)]}
        parts["rows"][1][:] = 0
        parts["columns"][0] += 1
        return parts, x

    close(fx.jit(f, backend="reference")(X), f(X.copy()))


def test_the_caller_s_arrays_stay_without_jit_too() -> None:
    def f(x: Any) -> Any:
        x[0] = 0.0
        x *= 2
        return x

    x = X.copy()
    with fx.disable_jit():
        close(fx.jit(f)(x), f(X.copy()))
    same(x, X)
