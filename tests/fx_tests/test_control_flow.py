"""Loops and conditionals: the same as Python's own, as JAX's, and as their derivatives say."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from control_programs import PROGRAMS, ROWS, ControlProgram, W, X  # noqa: F401

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


def patterns(n: int) -> list[tuple[int, ...]]:
    """Every choice of arguments that are batched."""
    return [c for k in range(1, n + 1) for c in itertools.combinations(range(n), k)]


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
    close(f(*p.args), theirs(*p.args))
    if p.reverse:
        out, pull = fx.vjp(f, *p.args)
        their_out, their_pull = jax.vjp(theirs, *p.args)
        cts = jax.tree.map(lambda y: np.ones(y.shape, y.dtype), their_out)
        close(pull(fx.tree.unflatten(fx.tree.structure(out), jax.tree.leaves(cts))), their_pull(cts))


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
