"""Programs with control flow, as functions of a pair (lax, numpy): of fx, or of JAX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

RNG = np.random.default_rng(7)
W = RNG.normal(size=(3, 3)) * 0.5
X = RNG.normal(size=3)
ROWS = RNG.normal(size=(4, 3))


@dataclass(frozen=True)
class ControlProgram:
    """``make(lax, numpy)`` is the program, a function of ``args``.

    Attributes:
        reverse: it can be differentiated in reverse mode.
        second: and twice.
    """

    make: Callable[[Any, Any], Callable[..., Any]]
    args: tuple[np.ndarray, ...]
    reverse: bool = True
    second: bool = True


PROGRAMS: dict[str, ControlProgram] = {}


def program(*args: Any, **options: bool) -> Callable[[Any], Any]:
    def add(make: Callable[[Any, Any], Callable[..., Any]]) -> Any:
        PROGRAMS[make.__name__] = ControlProgram(make, tuple(np.asarray(a) for a in args), **options)
        return make

    return add


# -------------------------------------------------------------------------------------------- scan


@program(W, X, ROWS)
def recurrent(lax: Any, np: Any) -> Any:
    def f(w: Any, c: Any, xs: Any) -> Any:
        def body(c: Any, x: Any) -> Any:
            c = np.tanh(np.dot(w, c) + x)
            return c, (c * x).sum()

        return lax.scan(body, c, xs)

    return f


@program(X, ROWS)
def reversed_with_products(lax: Any, np: Any) -> Any:
    return lambda c, xs: lax.scan(lambda c, x: (np.sin(c) * x, c + x), c, xs, reverse=True)


@program(X)
def without_xs(lax: Any, np: Any) -> Any:
    return lambda x: lax.scan(lambda c, _: (c * c * 0.5 + x, c.sum()), np.sin(x), None, length=3)


@program(ROWS)
def without_carry(lax: Any, np: Any) -> Any:
    return lambda xs: lax.scan(lambda c, x: (c, {"y": np.exp(x), "n": None}), (), xs)[1]["y"]


@program(ROWS)
def carry_moved_by_xs_alone(lax: Any, np: Any) -> Any:
    return lambda xs: lax.scan(lambda c, x: (np.cos(c) + x, c * x), np.ones(3, "float64"), xs)


@program(X, ROWS)
def carry_that_is_reset(lax: Any, np: Any) -> Any:
    return lambda c, xs: lax.scan(lambda c, x: ((np.ones(3, "float64"), c[1] + c[0] * x), c[0] * x), (c, c), xs)


@program(X, ROWS)
def counter_and_flags(lax: Any, np: Any) -> Any:
    def body(c: Any, x: Any) -> Any:
        i, flag, v = c
        v = np.where(flag, v * x, v + i * x)
        return (i + 1, ~flag, v), (i, v)

    def f(c: Any, xs: Any) -> Any:
        out = lax.scan(body, (np.int32(0), np.asarray(True), c), xs)
        return out[0][2], out[1][1], out[0][0]

    return f


@program(X, np.zeros((0, 3)))
def no_iteration(lax: Any, np: Any) -> Any:
    return lambda c, xs: lax.scan(lambda c, x: (np.sin(c) * x, c), c, xs)


@program(X, ROWS)
def no_iteration_inside(lax: Any, np: Any) -> Any:
    def f(c: Any, xs: Any) -> Any:
        def body(c: Any, x: Any) -> Any:
            inner = lax.scan(lambda d, v: (d * v, d + v), np.tanh(x), xs[:0])
            return c * inner[0], (c, np.sin(x) * inner[0] + inner[1].sum(0))

        return lax.scan(body, c, xs)

    return f


@program(X, ROWS)
def ys_that_are_there_already(lax: Any, np: Any) -> Any:
    def f(c: Any, xs: Any) -> Any:
        fixed = np.exp(c)
        last, ys = lax.scan(lambda s, x: ((s[0] * x, s[1]), (x, fixed, s[0], s[0], s[1])), (c, c), xs)
        return last, ys

    return f


@program(X, ROWS)
def unused_results(lax: Any, np: Any) -> Any:
    def f(c: Any, xs: Any) -> Any:
        (a, b, d), (y, z) = lax.scan(
            lambda s, x: ((s[0] + x, s[1] * s[2], np.sin(s[2])), (s[0] * x, s[1])), (c, c, c), xs
        )
        return a, y

    return f


@program(W, ROWS)
def products_of_slices(lax: Any, np: Any) -> Any:
    def f(w: Any, xs: Any) -> Any:
        wide = np.concatenate([w, w, w], 1)  # 3 x 9
        rows = np.concatenate([xs, xs * 2, xs], 1)[:, None]  # 4 x 1 x 9
        return lax.scan(
            lambda c, x: (np.tanh(c + np.dot(np.sin(x), wide.T)), np.dot(wide, np.exp(w).sum() * x[0])),
            np.ones((1, 3), "float64"),
            rows,
        )

    return f


@program(X + 1j * X[::-1], ROWS + 1j)
def complex_numbers(lax: Any, np: Any) -> Any:
    return lambda c, xs: lax.scan(lambda c, x: (c * x * 0.5, np.real(c)), c, xs)


@program(W, X, ROWS)
def loop_in_a_loop(lax: Any, np: Any) -> Any:
    def f(w: Any, c: Any, xs: Any) -> Any:
        def outer(c: Any, x: Any) -> Any:
            inner = lax.scan(lambda d, y: (np.tanh(d * y + c), d.sum()), x, w)
            return c + inner[0], inner[1]

        return lax.scan(outer, c, xs)

    return f


@program(X, ROWS)
def through_map(lax: Any, np: Any) -> Any:
    return lambda c, xs: lax.map(lambda x: (np.sin(x * c), x.sum()), xs)


@program(X, ROWS)
def through_map_in_batches(lax: Any, np: Any) -> Any:
    return lambda c, xs: lax.map(lambda x: np.sin(x * c), xs, batch_size=3)


# ------------------------------------------------------------------------------------- fori and while


@program(X)
def counted(lax: Any, np: Any) -> Any:
    return lambda x: lax.fori_loop(1, 4, lambda i, v: np.sin(v) * i + x, x)


@program(ROWS, X)
def counted_with_updates(lax: Any, np: Any) -> Any:
    return lambda rows, x: lax.fori_loop(0, 4, lambda i, v: v.at[i].set(np.cos(v[i - 1]) * x), rows)


@program(X, reverse=False)
def doubling(lax: Any, np: Any) -> Any:
    def f(x: Any) -> Any:
        return lax.while_loop(lambda s: s[0].sum() < 40, lambda s: (s[0] * 2, np.sin(s[1]) + x), (np.abs(x) + 1, x))

    return f


@program(X, reverse=False)
def newton(lax: Any, np: Any) -> Any:
    def root(a: Any) -> Any:
        return lax.while_loop(lambda x: np.abs(x * x - a) > 1e-9, lambda x: 0.5 * (x + a / x), a + 1.0)

    return lambda x: root(np.abs(x[0])) + root(np.abs(x[1]) + 1)


@program(X, reverse=False)
def counted_to_a_traced_bound(lax: Any, np: Any) -> Any:
    return lambda x: lax.fori_loop(0, (np.abs(x).sum() * 2).astype("int32"), lambda i, v: np.sin(v) * (i + 1.0), x)


# -------------------------------------------------------------------------------------- cond and switch


@program(X)
def either(lax: Any, np: Any) -> Any:
    def f(x: Any) -> Any:
        return lax.cond(x[0] > 0, lambda v: (np.sin(v) * x, v.sum()), lambda v: (v**2, np.exp(v[1])), x)

    return f


@program(X)
def one_of_three(lax: Any, np: Any) -> Any:
    def f(x: Any) -> Any:
        i = np.floor(x[0] * 3).astype("int32")
        branches = [lambda v: np.sin(v), lambda v: np.ones(3, "float64"), lambda v: v * x[1] * v]
        return lax.switch(i, branches, x * 2)

    return f


@program(X)
def a_branch_that_is_the_identity(lax: Any, np: Any) -> Any:
    return lambda x: lax.cond(x[1] > 0, lambda v, w: (v, w), lambda v, w: (np.cos(w), w), x, x[::-1])


@program(X, ROWS)
def branches_in_a_loop(lax: Any, np: Any) -> Any:
    def body(c: Any, x: Any) -> Any:
        c = lax.cond(x[0] > 0, lambda c: np.sin(c) * x, lambda c: c + x, c)
        return c, lax.cond(c[0] > x[1], lambda: c[0], lambda: 0.0)

    return lambda c, xs: lax.scan(body, c, xs)


@program(X, ROWS)
def a_loop_in_a_branch_in_a_loop(lax: Any, np: Any) -> Any:
    def f(c: Any, xs: Any) -> Any:
        def summed(c: Any) -> Any:
            return lax.scan(lambda a, x: (a * x * c, None), c, xs)[0]

        return lax.fori_loop(0, 2, lambda i, c: lax.cond(c.sum() > i - 1.0, summed, lambda c: c + 1.0, c), c)

    return f


@program(X, ROWS, reverse=False)
def until_in_a_loop(lax: Any, np: Any) -> Any:
    def body(c: Any, x: Any) -> Any:
        c = lax.while_loop(lambda c: np.abs(c).sum() < 4, lambda c: c * 1.5 + x * 0.01 * c, c)
        return np.sin(c), c

    return lambda c, xs: lax.scan(body, c, xs)
