"""Loops and conditionals: the same as Python's own, as JAX's, and as their derivatives say."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from control_programs import PROGRAMS, ROWS, ControlProgram, X

import fx
import fx.numpy as fnp
from fx import lax
from fx.errors import (
    BranchTypeError,
    CarryTypeError,
    ConcretizationError,
    DTypeError,
    FxError,
    ShapeError,
    TreeError,
    WhileTransposeError,
)
from fx.passes.simplify import simplify

IN_REVERSE = [name for name, p in PROGRAMS.items() if p.reverse]


@pytest.fixture(autouse=True)
def reference() -> Iterator[None]:
    """The reference backend, and every graph verified; test_control_flow_native holds the machine to it."""
    with fx.config.using(backend="reference", verify=True):
        yield


def close(got: Any, want: Any, rtol: float = 1e-9) -> None:
    got, want = fx.tree.leaves(got), fx.tree.leaves(want)
    assert len(got) == len(want)
    for g, w in zip(got, want):
        g, w = np.asarray(g), np.asarray(w)
        assert g.shape == w.shape and g.dtype == w.dtype
        if g.dtype == fx.float0:
            continue
        np.testing.assert_allclose(g, w, rtol=rtol, atol=rtol)


def scalar(f: Callable[..., Any]) -> Callable[..., Any]:
    """A real number made of all inexact results, no two of which can be exchanged."""

    def g(*args: Any) -> Any:
        total = 0.0
        for k, y in enumerate(fx.tree.leaves(f(*args))):
            if y.dtype.kind in "fc":
                weights = np.cos(np.arange(y.size) + k).reshape(y.shape)
                total = total + (fnp.real(y) * weights).sum() + (fnp.imag(y) * weights).sum() * 2
        return total

    return g


def directions(args: tuple[Any, ...]) -> tuple[Any, ...]:
    rng = np.random.default_rng(3)
    return tuple(rng.normal(size=a.shape).astype(a.dtype) for a in args)


def gradient(f: Callable[..., Any], n: int) -> Callable[..., Any]:
    return fx.grad(scalar(f), tuple(range(n)))


def push(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: fx.jvp(f, args, directions(args))


def second(f: Callable[..., Any], n: int) -> Callable[..., Any]:
    """Reverse over reverse."""
    return gradient(lambda *args: fx.tree.leaves(gradient(f, n)(*args)), n)


def program(name: str) -> tuple[Callable[..., Any], ControlProgram]:
    p = PROGRAMS[name]
    return p.make(lax, fnp), p


# ----------------------------------------------------------------------------------- against Python


@pytest.mark.parametrize("name", PROGRAMS)
def test_values_are_those_of_python_loops(name: str) -> None:
    f, p = program(name)
    with fx.disable_jit():
        want = f(*p.args)
    close(f(*p.args), want)
    close(fx.jit(f)(*p.args), want)


@pytest.mark.parametrize("name", PROGRAMS)
def test_forward_mode_is_that_of_python_loops(name: str) -> None:
    f, p = program(name)
    with fx.disable_jit():
        want = push(f)(*p.args)
    close(push(f)(*p.args), want)
    close(fx.jit(push(f))(*p.args), want)
    out, linear = fx.linearize(f, *p.args)
    close((out, linear(*directions(p.args))), want)


@pytest.mark.parametrize("name", IN_REVERSE)
def test_reverse_mode_is_that_of_python_loops(name: str) -> None:
    f, p = program(name)
    with fx.disable_jit():
        want = gradient(f, len(p.args))(*p.args)
    close(gradient(f, len(p.args))(*p.args), want)
    close(fx.jit(gradient(f, len(p.args)))(*p.args), want)
    close(gradient(fx.jit(f), len(p.args))(*p.args), want)
    close(gradient(fx.checkpoint(f), len(p.args))(*p.args), want)


@pytest.mark.parametrize("name", IN_REVERSE)
def test_second_order_is_that_of_python_loops(name: str) -> None:
    f, p = program(name)
    n = len(p.args)
    with fx.disable_jit():
        want, want_push = second(f, n)(*p.args), push(gradient(f, n))(*p.args)
    close(fx.jit(second(f, n))(*p.args), want)
    close(push(gradient(f, n))(*p.args), want_push)
    close(fx.jit(gradient(push(f), n))(*p.args), _python(gradient(push(f), n), p))


def _python(f: Callable[..., Any], p: ControlProgram) -> Any:
    with fx.disable_jit():
        return f(*p.args)


@pytest.mark.parametrize("name", PROGRAMS)
def test_compiled_values_and_gradients(name: str) -> None:
    f, p = program(name)
    both = (lambda *args: (f(*args), gradient(f, len(p.args))(*args))) if p.reverse else push(f)
    with fx.config.using(backend="native"):
        close(fx.jit(both)(*p.args), _python(both, p))


def patterns(n: int) -> list[tuple[int, ...]]:
    """Which arguments are batched: each alone or, of three, all but one; and all."""
    return [c for k in (max(n - 1, 1), n) for c in itertools.combinations(range(n), k)][: -1 if n == 1 else None]


def examples(p: ControlProgram, which: tuple[int, ...], size: int) -> tuple[list[Any], list[Any], list[list[Any]]]:
    """Batched arguments, their axes, and the arguments of each example."""
    rng = np.random.default_rng(5)
    rows = [[a * rng.uniform(-1.5, 1.5) + 0.1 if i in which else a for i, a in enumerate(p.args)] for _ in range(size)]
    axes = [(k % (a.ndim + 1) if k in which else None) for k, a in enumerate(p.args)]
    args = [a if d is None else np.stack([r[k] for r in rows], d) for k, (a, d) in enumerate(zip(p.args, axes))]
    return args, axes, rows


@pytest.mark.parametrize("name", PROGRAMS)
def test_vmap_is_a_loop_over_examples(name: str) -> None:
    f, p = program(name)
    n = len(p.args)
    for which in patterns(n):
        args, axes, rows = examples(p, which, 3)
        want = fx.tree.map(lambda *r: np.stack(r), *[_python(f, ControlProgram(p.make, tuple(r))) for r in rows])
        close(fx.vmap(f, tuple(axes))(*args), want)
        close(fx.jit(fx.vmap(f, tuple(axes)))(*args), want)
        if p.reverse:
            of_each = [_python(gradient(f, n), ControlProgram(p.make, tuple(r))) for r in rows]
            close(fx.vmap(gradient(f, n), tuple(axes))(*args), fx.tree.map(lambda *r: np.stack(r), *of_each))
            total = [scalar(fx.vmap(f, tuple(axes))), lambda *a, t=tuple(axes): scalar(_loop(f, t, 3))(*a)]
            got, by_hand = [fx.grad(t, tuple(range(n)))(*args) for t in total]
            close(got, by_hand)


def _loop(f: Callable[..., Any], axes: tuple[int | None, ...], size: int) -> Callable[..., Any]:
    def g(*args: Any) -> Any:
        with fx.disable_jit():
            rows = [f(*[a if d is None else fnp.take(a, i, axis=d) for a, d in zip(args, axes)]) for i in range(size)]
        return fx.tree.map(lambda *r: fnp.stack(r), *rows)

    return g


def test_no_example() -> None:
    for name in ("recurrent", "doubling", "either"):
        f, p = program(name)
        none = [np.zeros((0, *a.shape)) for a in p.args]
        for y, one in zip(fx.tree.leaves(fx.vmap(f)(*none)), fx.tree.leaves(f(*p.args))):
            assert y.shape == (0, *one.shape) and y.dtype == one.dtype


@pytest.mark.parametrize("name", PROGRAMS)
def test_values_and_derivatives_are_jax_s(name: str) -> None:
    jax = pytest.importorskip("jax")
    f, p = program(name)
    theirs = p.make(jax.lax, jax.numpy)
    out = f(*p.args)
    if not p.reverse:
        return close(out, jax.jit(theirs)(*p.args))
    cts = fx.tree.map(lambda y: np.ones(y.shape, y.dtype), out)

    @jax.jit
    def both(*args: Any) -> Any:
        their_out, pull = jax.vjp(theirs, *args)
        zeros = [np.ones(c.shape, c.dtype if c.dtype.kind in "fc" else fx.float0) for c in fx.tree.leaves(cts)]
        return their_out, pull(jax.tree.unflatten(jax.tree.structure(their_out), zeros))

    close((out, fx.vjp(f, *p.args)[1](cts)), both(*p.args))


@pytest.mark.parametrize("name", IN_REVERSE)
def test_derivatives_are_finite_differences(name: str) -> None:
    f, p = program(name)
    vs, h = directions(p.args), 1e-5
    ends = [scalar(f)(*[a + s * h * v for a, v in zip(p.args, vs)]) for s in (1, -1)]
    quotient = float(ends[0] - ends[1]) / (2 * h)
    _, slope = fx.jvp(scalar(f), p.args, vs)
    grads = gradient(f, len(p.args))(*p.args)
    inner = sum(float(fnp.real((g * v).sum())) for g, v in zip(grads, vs))
    assert np.isclose(slope, quotient, rtol=1e-5, atol=1e-7) and np.isclose(inner, quotient, rtol=1e-5, atol=1e-7)


def test_forward_mode_transposed_is_reverse_mode() -> None:
    """The joint loops of forward mode hold values that are not linear; transposing must tell them apart."""
    for name in IN_REVERSE:
        f, p = program(name)

        def smooth(*args: Any, f: Any = f) -> list[Any]:
            return [y for y in fx.tree.leaves(f(*args)) if y.dtype.kind in "fc"]

        def moved(*ts: Any, smooth: Any = smooth, p: Any = p) -> Any:
            return fx.jvp(smooth, p.args, ts)[1]

        out, pull = fx.vjp(smooth, *p.args)
        cts = list(directions(tuple(out)))
        close(fx.linear_transpose(moved, *p.args)(cts), pull(cts))


def test_a_linear_loop_with_a_counter_is_transposed() -> None:
    def f(t: Any) -> Any:
        (_, c), (i, ys) = lax.scan(lambda s, x: ((s[0] + 1.0, s[1] * s[0] + x), s), (np.float64(1), t[0]), t)
        return c, ys

    (back,) = fx.linear_transpose(f, X)((np.float64(1), np.ones(3)))
    jac = fx.jacfwd(lambda t: fnp.concatenate([f(t)[0][None], f(t)[1]]))(X)
    close(back, np.ones(4) @ np.asarray(jac))


@pytest.mark.parametrize("unroll", [2, 3, 5, 9, True])
def test_unrolling_changes_no_bit(unroll: int | bool) -> None:
    """... of values, slices and derivatives, whether or not the number divides the length, or is greater."""

    def f(how: Any, c: Any, xs: Any, reverse: bool) -> Any:
        body = lambda c, x: (np.sin(c["a"]) * x[0] + x[1], {"y": c["a"] + x[1]})  # noqa: E731
        step = lambda c, x: ({"a": body(c, x)[0]}, body(c, x)[1])  # noqa: E731
        return lax.scan(step, {"a": c}, (xs, xs[::-1]), reverse=reverse, unroll=how)

    xs = np.linspace(-1, 1.5, 10).reshape(5, 2)
    for reverse in (False, True):
        for c, rows in ((X[:2], xs), (X[:2], xs[:0]), (X[:2], xs[:1])):
            close(f(unroll, c, rows, reverse), f(1, c, rows, reverse), 0)
        both = []
        for how in (unroll, 1):
            loss = scalar(lambda c, rows, how=how, reverse=reverse: f(how, c, rows, reverse))
            slope = fx.grad(loss, (0, 1))
            both.append([slope(X[:2], xs), fx.jit(fx.vmap(slope, (0, None)))(np.stack([X[:2], X[1:]]), xs)])
        close(*both, 1e-14)


# -------------------------------------------------------------------------------- bounded while loops


def doubled(x: Any, **options: Any) -> Any:
    return lax.while_loop(
        lambda s: s[0].sum() < 40, lambda s: (s[0] * 2, np.sin(s[1]) + x), (np.abs(x) + 1, x), **options
    )


@pytest.mark.parametrize("most", [0, 1, 3, 4, 7, 30])
def test_max_steps_bounds_the_loop_and_gives_it_a_gradient(most: int) -> None:
    with fx.disable_jit():
        want = fx.vjp(lambda x: doubled(x, max_steps=most), X)
        want_grad = want[1]((X, X))
    close(doubled(X, max_steps=most), want[0])
    close(fx.vjp(lambda x: doubled(x, max_steps=most), X)[1]((X, X)), want_grad)
    f = lambda x: doubled(x, max_steps=most)[1].sum()  # noqa: E731
    rows = np.stack([X, X * 10, -X])
    close(fx.vmap(fx.grad(f))(rows), np.stack([fx.grad(f)(r) for r in rows]))
    close(fx.grad(lambda r: fx.vmap(f)(r).sum())(rows), np.stack([fx.grad(f)(r) for r in rows]))
    close(fx.jit(fx.hessian(f))(X), _of_python(fx.hessian(f), X))
    slope = fx.grad(lambda x: fx.jvp(f, (x,), (X,))[1])  # reverse over forward
    close(fx.jit(slope)(X), _of_python(slope, X))


def _of_python(f: Callable[..., Any], *args: Any) -> Any:
    with fx.disable_jit():
        return f(*args)


def test_a_finished_example_keeps_its_bits() -> None:
    """The body would turn what has finished into NaN."""
    out = fx.vmap(lambda x: lax.while_loop(lambda v: v > 1e-3, lambda v: np.log(v + 1) * 0.5, x))(
        np.float64([-0.0, -5.0, 9.0])
    )
    assert np.signbit(np.asarray(out[0])) and out[0] == 0 and out[1] == -5 and 0 < out[2] <= 1e-3


# ----------------------------------------------------------------------- what a batch does not differentiate

STEEP: dict[str, Callable[[Any], Any]] = {
    "cond": lambda v: lax.cond(v > 0, fnp.sqrt, lambda v: 3 * v, v),
    "the other branch": lambda v: lax.cond(v <= 0, lambda v: 3 * v, fnp.sqrt, v),
    "switch": lambda v: lax.switch((v > 0) * 1 + (v > 2), [lambda v: 3 * v, fnp.sqrt, lambda v: fnp.log(v - 2)], v),
    "closed over": lambda v: lax.cond(v > 0, lambda: fnp.sqrt(v) * v, lambda: 3 * v),
    "while": lambda v: lax.while_loop(lambda c: c > 1, lambda c: fnp.sqrt(c - 1), v, max_steps=4),
    "while, closed over": lambda v: lax.while_loop(
        lambda c: c > 1, lambda c: c / 2 + fnp.sqrt(v - 1), v + 0, max_steps=4
    ),
}


@pytest.mark.parametrize("name", STEEP)
def test_a_branch_not_taken_leaves_no_nan_in_a_gradient(name: str) -> None:
    """It is computed for the whole batch, where its derivative may be infinite; alone, an example does not run it."""
    xs = np.array([0.0, 1.0, 2.0, 2.5, 4.0])
    want = np.array([fx.grad(STEEP[name])(x) for x in xs])
    assert np.isfinite(want).all()
    for g in (fx.vmap(fx.grad(STEEP[name])), fx.grad(lambda x: fx.vmap(STEEP[name])(x).sum())):
        close(g(xs), want)
        close(fx.jit(g)(xs), want)
    with_scale = lambda s: fx.vmap(lambda v: lax.cond(v > 0, lambda v, s: fnp.sqrt(s * v), lambda v, s: s * v, v, s))(xs).sum()  # noqa: E731  # fmt: skip
    close(fx.grad(with_scale)(np.float64(1)), np.sqrt(xs[1:]).sum() / 2)


def test_piecewise_is_differentiated_where_a_piece_counts() -> None:
    x = np.array([0.0, 1.0, 4.0])
    f = lambda x: np.piecewise(x, [x <= 0, x > 0, x > 3], [lambda x: 2 * x, np.sqrt, lambda x: np.log(x - 3)]).sum()  # noqa: E731  # fmt: skip
    for g in (fx.grad(f), fx.jit(fx.grad(f))):
        close(g(x), np.array([2.0, 0.5, 1.0]))


def test_what_is_not_differentiated_costs_nothing_more() -> None:
    """The constants that the derivative would see are the arguments themselves once the program is compiled."""
    g = simplify(fx.make_graph(fx.vmap(STEEP["cond"]))(np.ones(3)).graph)
    assert "stop_gradient" not in str(g) and str(g).count("select_n") == 1


# ------------------------------------------------------------------------------------------- effects


def printed(capsys: Any, f: Callable[..., Any], *args: Any) -> list[str]:
    capsys.readouterr()
    f(*args)
    return capsys.readouterr().out.split()


TRANSFORMS: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda f: f,
    "grad": lambda f: fx.grad(f),
    "jit of grad": lambda f: fx.jit(fx.grad(f)),
    "grad of jit": lambda f: fx.grad(fx.jit(f)),
    "hessian": lambda f: fx.hessian(f),
    "jvp": lambda f: lambda x: fx.jvp(f, (x,), (x,)),
    "jit of jvp": lambda f: fx.jit(lambda x: fx.jvp(f, (x,), (x,))),
    "vjp of checkpoint": lambda f: fx.grad(fx.checkpoint(f)),
}


def chatty_scan(x: Any) -> Any:
    def body(c: Any, v: Any) -> Any:
        fx.debug.print("{}", c)
        return c * v, None

    return lax.scan(body, 1.0, x)[0]


def chatty_while(x: Any) -> Any:
    def body(c: Any) -> Any:
        fx.debug.print("{}", c)
        return c * x[0]

    return lax.while_loop(lambda c: c < 3, body, np.float64(1), max_steps=9)


def chatty_cond(x: Any) -> Any:
    def loud(v: Any) -> Any:
        fx.debug.print("{}", v)
        return v * v

    return lax.cond(x[0] > 0, loud, lambda v: v, x[0]) + lax.cond(x[0] > 0, lambda v: v, loud, x[0])


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("f", [chatty_scan, chatty_while, chatty_cond])
def test_effects_happen_once_an_iteration_in_order(f: Any, transform: str, capsys: Any) -> None:
    want = {chatty_scan: ["1.0", "2.0", "6.0"], chatty_while: ["1.0", "2.0"], chatty_cond: ["2.0"]}[f]
    assert printed(capsys, TRANSFORMS[transform](f), np.float64([2, 3, 4])) == want


def test_effects_of_a_batch(capsys: Any) -> None:
    rows = np.float64([[2, 3, 4], [5, 6, 7], [-1, 0, 0]])
    assert printed(capsys, fx.vmap(chatty_scan), rows) == "1.0 1.0 1.0 2.0 5.0 -1.0 6.0 30.0 -0.0".split()
    assert printed(capsys, fx.vmap(chatty_while), rows[:2]) == "1.0 2.0 1.0".split()
    assert printed(capsys, fx.vmap(chatty_cond), rows) == "2.0 5.0 -1.0".split()


# -------------------------------------------------------------------------------------- collectives


def test_collectives_inside_bodies() -> None:
    def f(x: Any) -> Any:
        def body(c: Any, _: Any) -> Any:
            c = c / lax.psum(c, "i") + lax.axis_index("i")
            return c, lax.pmean(c, "i")

        c, ys = lax.scan(body, x, None, length=2)
        c = lax.while_loop(lambda c: lax.pmax(c, "i") < 9, lambda c: c + lax.psum(c, "i"), c)
        return lax.cond(lax.psum(x, "i") > 0, lambda c: c - lax.pmean(c, "i"), lambda c: c, c), ys

    x = np.float64([1, 2, 4])
    c = x
    for _ in range(2):
        c = c / c.sum() + np.arange(3)
    while c.max() < 9:
        c = c + c.sum()
    for t in (lambda f: f, fx.jit):
        got, ys = t(fx.vmap(f, axis_name="i"))(x)
        close(got, c - c.mean())
        assert ys.shape == (3, 2)
    slope = fx.grad(lambda x: fx.vmap(lambda v: f(v)[1].sum(), axis_name="i")(x).sum())(x)
    h = 1e-6
    ends = [
        float(fx.vmap(lambda v: f(v)[1].sum(), axis_name="i")(x + s * np.float64([h, 0, 0])).sum()) for s in (1, -1)
    ]
    assert np.isclose(slope[0], (ends[0] - ends[1]) / (2 * h), rtol=1e-6)


# -------------------------------------------------------------------------- types, calling forms, errors


def kinds(x: Any) -> list[tuple[str, bool]]:
    return [(str(v.dtype), v.weak_type) for v in fx.tree.leaves(x)]


def test_python_numbers_take_the_type_that_the_body_gives_them() -> None:
    half = np.ones(2, np.float16)
    assert kinds(lax.scan(lambda c, x: (c + x, c), 0.0, half)) == [("float16", False), ("float16", False)]
    assert kinds(lax.scan(lambda c, x: (c * 2, c), 1, half)) == [("int32", True), ("int32", True)]
    assert kinds(lax.scan(lambda c, x: (c + x.astype(int), x), 1, half))[0] == ("int64", False)
    assert kinds(lax.while_loop(lambda c: c < 3, lambda c: c + np.float64(1), 0)) == [("float64", False)]
    assert kinds(lax.fori_loop(0, 3, lambda i, x: x + i, np.int8(0))) == [("int8", False)]
    assert kinds(lax.fori_loop(np.int64(0), 3, lambda i, x: i, 1)) == [("int64", False)]
    assert kinds(lax.cond(True, lambda: 1, lambda: np.float32(2))) == [("float32", False)]
    assert kinds(lax.cond(True, lambda: 1, lambda: 2.0)) == [("float32", False)]
    assert (
        kinds(lax.scan(lambda c, _: ((c[1], c[0]), None), (1, np.float64(2)), None, 3)[0]) == [("float64", False)] * 2
    )


def test_calling_forms_of_cond_and_switch() -> None:
    for f in (
        lambda p: lax.cond(p, lambda x: x + 1, lambda x: x - 1, 10.0),
        lambda p: lax.cond(p, lambda x: x + 1, lambda x: x - 1, operand=10.0),
        lambda p: lax.cond(p, true_fun=lambda: 11.0, false_fun=lambda: 9.0),
        lambda p: lax.cond(p, 10.0, lambda x: x + 1, 8.0, lambda x: x + 1),
        lambda p: lax.cond(
            p, true_operand=10.0, true_fun=lambda x: x + 1, false_operand=8.0, false_fun=lambda x: x + 1
        ),
    ):
        for p in (True, 1, 0.5, np.bool_(1), np.int8(-1)):
            assert f(p) == 11
        for p in (False, 0, 0.0, np.float64(0)):
            assert f(p) == 9
    branches = [lambda x: x, lambda x: -x, lambda x: x * 0]
    for i, want in (
        (-(2**40), 5),
        (0, 5),
        (1, -5),
        (2, 0),
        (np.uint8(200), 0),
        (np.uint64(2**63), 0),
        (np.int64(2**40), 0),
    ):
        assert lax.switch(i, branches, 5.0) == want
        assert fx.jit(lambda i: lax.switch(i, branches, operand=5.0))(i) == want
    assert lax.switch(7, [lambda: 3]) == 3


def test_what_takes_the_arguments_in_another_way_is_no_error() -> None:
    """Defaults, partial functions, objects, and decorators that hand on an argument of their own."""

    def with_noise(f):
        return functools.wraps(f)(lambda c, x: f(c, x, 1))

    body = with_noise(lambda c, x, noise: (c + x + noise, noise))
    bodies = [lambda c, x, y=0: (c + x + 1, y), lambda *both: (both[0] + both[1] + 1, 0), body, functools.partial(body)]
    for f in [*bodies, functools.partial(lambda k, c, x: (c + x + k, k), 1), fx.jit(lambda c, x: (c + x + 1, c))]:
        assert lax.scan(f, 0.0, X)[0] == np.sum(X) + len(X)
    assert lax.cond(True, np.negative, np.positive, 1.0) == -1.0


ERRORS: dict[str, tuple[Callable[[], Any], type[FxError], str]] = {
    "carry shape": (lambda: lax.scan(lambda c, x: ({"w": c["w"][None]}, x), {"w": X[0]}, X), CarryTypeError, r"c\['w'\] comes in as f64\[\] and goes out as f64\[1\]"),
    "carry dtype": (lambda: lax.scan(lambda c, x: (c + x, x), np.float32(0), X), CarryTypeError, r"f32\[\] and goes out as f64"),
    "carry structure": (lambda: lax.scan(lambda c, x: ((c[0],), x), (0, 1), X), CarryTypeError, r"missing: carry\[1\]"),
    "no pair": (lambda: lax.scan(lambda c, x: c, 0, X), CarryTypeError, "must return a pair"),
    "three": (lambda: lax.scan(lambda c, x: (c, x, x), 0, X), CarryTypeError, "must return a pair"),
    "arguments of scan's body": (lambda: lax.scan(lambda c: (c, c), 0, X), CarryTypeError, r"scan calls its body with \(carry, x\); '<lambda>' does not fit: it takes 1 argument \(c\)"),
    "arguments of fori's body": (lambda: lax.fori_loop(0, 3, lambda x: x, 0), CarryTypeError, r"\(i, carry\); .* takes 1 argument \(x\)"),
    "arguments of a condition": (lambda: lax.while_loop(lambda i, x: i < 3, lambda v: v, 0), CarryTypeError, "condition with .carry.;.* takes 2 arguments"),
    "arguments of a body": (lambda: lax.while_loop(lambda v: v < 3, lambda: 0, 0), CarryTypeError, "body with .carry.; .* takes no arguments"),
    "arguments of a branch": (lambda: lax.cond(True, lambda: 1, lambda: 2, 3), BranchTypeError, "each branch with its 1 operand; .* takes no arguments"),
    "branches that are none": (lambda: lax.switch(0, lambda x: x, 1.0), BranchTypeError, "switch takes a list of branches"),
    "predicate last": (lambda: lax.cond(lambda x: x, True, lambda x: x, 1.0), BranchTypeError, "the predicate first"),
    "too few for a branch": (lambda: lax.switch(0, [lambda a, b, *more: a], 3), BranchTypeError, r"1 operand; .* takes 2 or more arguments \(a, b\)"),
    "line": (lambda: lax.scan(lambda c, x: (c[None], x), X, X), CarryTypeError, "test_control_flow.py:"),
    "no length": (lambda: lax.scan(lambda c, x: (c, x), 0, None), ShapeError, "length=n"),
    "length": (lambda: lax.scan(lambda c, x: (c, x), 0, X, length=4), ShapeError, "xs: 3, length: 4"),
    "two lengths": (lambda: lax.scan(lambda c, x: (c, x), 0, (X, ROWS)), ShapeError, r"xs\[0\]: 3, xs\[1\]: 4"),
    "scalar xs": (lambda: lax.scan(lambda c, x: (c, x), 0, 1.0), ShapeError, "scalar"),
    "traced length": (lambda: fx.jit(lambda n: lax.scan(lambda c, x: (c, x), 0, None, n))(3), ConcretizationError, "index"),
    "no array": (lambda: lax.scan(lambda c, x: (c, x), "text", X), TreeError, "init"),
    "branch on a carry": (lambda: lax.scan(lambda c, x: (c if c > 0 else x, x), 0.0, X), ConcretizationError, "scan traces '<lambda>'.*depends on 'c'"),
    "while on a carry": (lambda: lax.while_loop(lambda v: v < 3, lambda v: v + int(v), 0), ConcretizationError, "while_loop traces"),
    "predicate shape": (lambda: lax.while_loop(lambda v: v < 3, lambda v: v, X), CarryTypeError, "one boolean scalar"),
    "predicate dtype": (lambda: lax.while_loop(lambda v: v, lambda v: v, 1), CarryTypeError, "one boolean scalar"),
    "predicate of a bounded loop": (lambda: lax.while_loop(lambda v: v, lambda v: v, 1, max_steps=3), CarryTypeError, "one boolean scalar"),
    "body of while": (lambda: lax.while_loop(lambda v: v[0] < 3, lambda v: [v[0], v[0]], (1, 2)), CarryTypeError, "structure"),
    "negative max_steps": (lambda: lax.while_loop(lambda v: v < 3, lambda v: v, 1, max_steps=-1), ShapeError, "negative"),
    "float bounds": (lambda: lax.fori_loop(0, 2.0, lambda i, v: v, 1), DTypeError, "integer"),
    "unrolled while": (lambda: fx.jit(lambda n: lax.fori_loop(0, n, lambda i, v: v, 1, unroll=2))(3), DTypeError, "unroll"),
    "branch structures": (lambda: lax.cond(True, lambda: 1, lambda: (1,)), BranchTypeError, "one structure"),
    "branch types": (lambda: lax.cond(True, lambda: {"a": X}, lambda: {"a": ROWS}), BranchTypeError, r"output\['a'\].*f64\[4,3\]"),
    "branch dtypes": (lambda: lax.switch(0, [lambda: np.float32(1), lambda: np.float64(1)]), BranchTypeError, "Convert"),
    "array predicate": (lambda: lax.cond(X > 0, lambda: 1, lambda: 2), BranchTypeError, "scalar"),
    "no branch": (lambda: lax.switch(0, []), BranchTypeError, "no branch"),
    "float index": (lambda: lax.switch(0.5, [lambda: 1, lambda: 2]), DTypeError, "integer scalar"),
    "not a function": (lambda: lax.cond(True, lambda: 1, 3), BranchTypeError, "function"),
    "reverse through while": (lambda: fx.grad(lambda x: doubled(x)[1].sum())(X), WhileTransposeError, r"fori_loop.*max_steps"),
    "sizes of elems": (lambda: lax.associative_scan(lambda a, b: a, (X, ROWS)), ShapeError, r"\[3, 4\]"),
    "batch size": (lambda: lax.map(lambda x: x, X, batch_size=0), ShapeError, "batch_size"),
}  # fmt: skip


@pytest.mark.parametrize("what", ERRORS)
def test_errors_say_what_was_found_and_what_to_do(what: str) -> None:
    f, kind, message = ERRORS[what]
    with pytest.raises(kind, match=f"(?s){message}"):
        f()


def test_a_body_is_traced_once_and_never_run() -> None:
    seen: list[Any] = []

    def body(c: Any, x: Any) -> Any:
        seen.append(type(x))
        return c + x, None

    lax.scan(body, np.float64(0), X)
    assert seen == [fx.trace.Tracer]


def test_closures_over_arrays_tracers_and_numbers() -> None:
    k, w = 2.0, np.arange(3.0)

    def f(a: Any) -> Any:
        return lax.fori_loop(0, 3, lambda i, c: np.sin(c) * w * k + a[i], a)

    close(fx.jit(fx.jacrev(f))(X), _of_python(fx.jacrev(f), X))
    close(
        fx.vmap(lambda v: fx.grad(lambda a: f(a * v).sum())(X))(w),
        np.stack([fx.grad(lambda a, s=s: f(a * s).sum())(X) for s in w]),
    )
