"""Products, convolutions, windows, indexing, sorting: one table of cases, and the laws that every case obeys.

A case is a function of arrays with a naive NumPy truth.  The laws: the reference equals the truth (and JAX), jvp
equals finite differences, <J v, w> = <v, J^T w>, the second derivative equals differences of the first, vmap equals
a loop for every set of batched operands, and the gradient of a vmap equals the loop's.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import structured_truths as truths
from op_values import conv_config, dot_config, index_config, update_shape, window_config

from fx import api
from fx.primitives import (
    conv,
    conv_variants,
    elementwise,
    gather_scatter,
    indexing,
    linalg,
    reductions,
    sorting,
    windows,
)
from fx.primitives.index_numbers import window_sizes


@dataclass(frozen=True)
class Case:
    """draw(rng) gives operands; ``wrt`` are the positions of those that have a derivative."""

    name: str
    draw: Callable[[np.random.Generator], tuple[np.ndarray, ...]]
    f: Callable[..., Any]
    truth: Callable[..., Any]
    wrt: tuple[int, ...] = (0,)
    jax: Callable[..., Any] | None = None  # jax(jax.lax, *operands)


def normal(*shapes):
    return lambda rng: tuple(rng.standard_normal(s) for s in shapes)


def distinct(*shape):
    """No two elements closer than 0.1, so that a finite difference changes no order."""
    return lambda rng: (rng.permutation(truths.size(shape)).reshape(shape) * 0.1 - 1.0,)


# ------------------------------------------------------------------------------------ the products


def dot_case(seed):
    x_shape, y_shape, numbers = dot_config(seed)
    return Case(
        f"dot{seed}-{x_shape}-{y_shape}-{numbers}",
        normal(x_shape, y_shape),
        lambda x, y: linalg.dot_general(x, y, numbers),
        lambda x, y: truths.dot_general(x, y, numbers),
        wrt=(0, 1),
        jax=lambda lax, x, y: lax.dot_general(x, y, numbers),
    )


def conv_case(seed):
    lhs, rhs, p = conv_config(seed)
    args = tuple(p[n] for n in ("window_strides", "padding", "lhs_dilation", "rhs_dilation"))
    specs = tuple(p[n] for n in ("lhs_spec", "rhs_spec", "out_spec"))
    groups = p["feature_group_count"], p["batch_group_count"]
    return Case(
        f"conv{seed}-{lhs}-{rhs}-f{groups[0]}-b{groups[1]}",
        normal(lhs, rhs),
        lambda x, w: conv.conv_general_dilated(x, w, *args, conv.ConvDimensionNumbers(*specs), *groups),
        lambda x, w: truths.conv(x, w, *args, *specs, *groups),
        wrt=(0, 1),
        jax=lambda lax, x, w: lax.conv_general_dilated(x, w, *args, lax.ConvDimensionNumbers(*specs), *groups),
    )


# ------------------------------------------------------------------------------------- the windows


def window_cases(seed):
    shape, window = window_config(seed)
    counts, _ = truths.windows(shape, *window)
    padded = all(p >= 0 for pair in window[2] for p in pair)  # XLA wants no negative padding here

    def draw_with_taps(first):
        return lambda rng: (rng.standard_normal(first), rng.integers(0, truths.size(window[0]), counts, dtype=np.int32))

    yield Case(
        f"window_sum{seed}-{shape}-{window}",
        normal(shape),
        lambda x: windows.reduce_window(x, 0.0, elementwise.add, *window),
        lambda x: truths.reduce_window(x, operator.add, 0.0, *window),
        jax=(lambda lax, x: lax.reduce_window(x, 0.0, lax.add, *window)) if padded else None,
    )
    for name, better, init in (("max", operator.gt, -np.inf), ("min", operator.lt, np.inf)):
        fold = {"max": np.maximum, "min": np.minimum}[name]
        yield Case(
            f"window_{name}{seed}-{shape}-{window}",
            distinct(*shape),
            lambda x, name=name, init=init: windows.reduce_window(x, init, getattr(elementwise, name), *window),
            lambda x, fold=fold, init=init: truths.reduce_window(x, fold, init, *window),
            jax=(lambda lax, x, n=name, i=init: lax.reduce_window(x, i, getattr(lax, n), *window)) if padded else None,
        )
        yield Case(
            f"window_arg{name}{seed}-{shape}-{window}",
            lambda rng: (rng.integers(0, 4, shape).astype(np.float64),),
            lambda x, name=name: getattr(windows, f"reduce_window_arg{name}")(x, *window),
            lambda x, better=better: truths.reduce_window_arg(x, better, *window),
            wrt=(),
        )
    yield Case(
        f"window_select{seed}-{shape}-{window}",
        draw_with_taps(shape),
        lambda x, taps: windows.window_select(x, taps, *window),
        lambda x, taps: truths.window_select(x, taps, *window),
    )
    yield Case(
        f"window_scatter_add{seed}-{shape}-{window}",
        draw_with_taps(counts),
        lambda ct, taps: windows.window_scatter_add(ct, taps, shape, *window),
        lambda ct, taps: truths.window_scatter_add(ct, taps, shape, *window),
    )


# ------------------------------------------------------------------------------------ the indexing


def gather_case(seed):
    shape, sizes, numbers, indices = index_config(seed)
    mode = ("fill", "clip")[seed % 2]
    fill = -7.5 if seed % 4 == 0 else None

    def on_jax(lax, x, i):
        dims = lax.GatherDimensionNumbers(*numbers)
        return lax.gather(x, i, dims, sizes, mode=mode, fill_value=fill)

    return Case(
        f"gather{seed}-{shape}-{sizes}-{numbers}-{mode}",
        lambda rng: (rng.standard_normal(shape), rng.integers(-1, 4, indices)),
        lambda x, i: gather_scatter.gather(
            x, i, gather_scatter.GatherDimensionNumbers(*numbers), sizes, mode=mode, fill_value=fill
        ),
        lambda x, i: truths.gather(x, i, numbers, sizes, mode, np.nan if fill is None else fill),
        jax=on_jax,
    )


SCATTERS = {
    "scatter": lambda old, new: new,
    "scatter_add": operator.add,
    "scatter_mul": operator.mul,
    "scatter_min": min,
    "scatter_max": max,
}


def scatter_case(seed, name):
    shape, sizes, numbers, indices = index_config(seed)
    mode = ("clip", "fill")[seed % 2]
    updates = update_shape(sizes, indices, numbers)
    assert window_sizes(shape, updates, numbers) == sizes

    def draw(rng):  # no two numbers closer than 0.1: finite differences change no winner
        n, m = truths.size(shape), truths.size(updates)
        values = rng.permutation(n + m) * 0.1 - 1.03
        return values[:n].reshape(shape), rng.integers(-1, 4, indices), values[n:].reshape(updates)

    def on_jax(lax, *args):
        return getattr(lax, name)(*args, lax.ScatterDimensionNumbers(*numbers), mode=mode)

    return Case(
        f"{name}{seed}-{shape}-{sizes}-{numbers}-{mode}",
        draw,
        lambda x, i, u: getattr(gather_scatter, name)(
            x, i, u, gather_scatter.ScatterDimensionNumbers(*numbers), mode=mode
        ),
        lambda x, i, u: truths.scatter(x, i, u, numbers, mode, SCATTERS[name]),
        wrt=(0,) if name == "scatter_mul" else (0, 2),
        # XLA leaves the order of repeated writes open, and its CPU backend mistakes empty index vectors
        jax=None if name == "scatter" or not numbers[2] else on_jax,
    )


def unique_scatter_case(name):
    """Rows written at most once each, some of them outside: derivative of the updates of scatter_mul, too."""
    numbers = gather_scatter.ScatterDimensionNumbers((1,), (0,), (0,))

    def draw(rng):
        return rng.standard_normal((6, 2)), rng.permutation(8)[:4, None], rng.standard_normal((4, 2))

    return Case(
        f"{name}-unique",
        draw,
        lambda x, i, u: getattr(gather_scatter, name)(x, i, u, numbers, unique_indices=True),
        lambda x, i, u: truths.scatter(x, i, u, (*numbers,), "fill", SCATTERS[name]),
        wrt=(0, 2),
        jax=lambda lax, *a: getattr(lax, name)(*a, lax.ScatterDimensionNumbers((1,), (0,), (0,)), unique_indices=True),
    )


def dynamic_cases(shape, sizes):
    ndim = len(shape)

    def starts(rng):
        return tuple(rng.integers(-7, 7, (), dtype=np.int32) for _ in shape)

    def wrapped(s):
        return [int(i) + n if i < 0 else int(i) for i, n in zip(s, shape)]

    def write(x, u, *s):
        out = x.copy()
        out[truths.dynamic_region(shape, wrapped(s), sizes)] = u
        return out

    yield Case(
        f"dynamic_slice-{shape}-{sizes}",
        lambda rng: (rng.standard_normal(shape), *starts(rng)),
        lambda x, *s: indexing.dynamic_slice(x, s, sizes),
        lambda x, *s: x[truths.dynamic_region(shape, wrapped(s), sizes)],
        jax=lambda lax, x, *s: lax.dynamic_slice(x, s, sizes),
    )
    yield Case(
        f"dynamic_update_slice-{shape}-{sizes}",
        lambda rng: (rng.standard_normal(shape), rng.standard_normal(sizes), *starts(rng)),
        lambda x, u, *s: indexing.dynamic_update_slice(x, u, s),
        write,
        wrt=(0, 1),
        jax=lambda lax, x, u, *s: lax.dynamic_update_slice(x, u, s),
    )
    if ndim:
        yield Case(
            f"dynamic_slice-vector-{shape}-{sizes}",
            lambda rng: (rng.standard_normal(shape), rng.integers(0, 7, ndim)),
            lambda x, s: indexing.dynamic_slice(x, s, sizes),
            lambda x, s: x[truths.dynamic_region(shape, s, sizes)],
            jax=lambda lax, x, s: lax.dynamic_slice(x, s, sizes),
        )


# ------------------------------------------------------------------------------------- the sorting


def sort_cases(shape, dimension):
    def keyed(rng):
        return rng.integers(0, 3, shape), *distinct(*shape)(rng), rng.standard_normal(shape)

    yield Case(
        f"sort-{shape}-{dimension}",
        distinct(*shape),
        lambda x: sorting.sort(x, dimension),
        lambda x: np.sort(x, dimension),
        jax=lambda lax, x: lax.sort(x, dimension),
    )
    for num_keys in (1, 2):
        yield Case(
            f"sort-{shape}-{dimension}-{num_keys}keys",
            keyed,
            lambda *xs, k=num_keys: sorting.sort(xs, dimension, num_keys=k),
            lambda *xs, k=num_keys: tuple(truths.sort(xs, dimension % len(shape), k)),
            wrt=(1, 2),
            jax=lambda lax, *xs, k=num_keys: lax.sort(xs, dimension, num_keys=k),
        )


def top_k_case(shape, k):
    return Case(
        f"top_k-{shape}-{k}",
        distinct(*shape),
        lambda x: sorting.top_k(x, k),
        lambda x: truths.top_k(x, k),
        jax=lambda lax, x: lax.top_k(x, k),
    )


CASES = [
    *(dot_case(s) for s in range(14)),
    *(conv_case(s) for s in range(26)),
    *(c for s in range(11) for c in window_cases(s)),
    *(gather_case(s) for s in range(24)),
    *(scatter_case(s, name) for i, name in enumerate(SCATTERS) for s in range(40 + 10 * i, 50 + 10 * i)),
    *(unique_scatter_case(name) for name in SCATTERS),
    *(c for args in (((), ()), ((5,), (2,)), ((4, 3), (4, 1)), ((3, 0, 2), (1, 0, 2))) for c in dynamic_cases(*args)),
    *(c for args in (((5,), 0), ((3, 4), 0), ((2, 3, 2), 1), ((0,), 0), ((2, 0), -2)) for c in sort_cases(*args)),
    *(top_k_case(*args) for args in (((5,), 3), ((2, 4), 4), ((3, 2), 0), ((0, 3), 2))),
]
SMOOTH = [c for c in CASES if c.wrt]

each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
each_smooth_case = pytest.mark.parametrize("case", SMOOTH, ids=lambda c: c.name)


# ----------------------------------------------------------------------------------------- the laws


def leaves(out):
    return [np.asarray(o) for o in out] if isinstance(out, (tuple, list)) else [np.asarray(out)]


def agree(got, want, tolerance=1e-9):
    got, want = leaves(got), leaves(want)
    assert len(got) == len(want)
    for g, w in zip(got, want):
        assert g.shape == w.shape
        assert g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance)


def real_outputs(f):
    """``f`` with its float results alone, as a tuple."""

    def g(*args):
        out = f(*args)
        outs = out if isinstance(out, (tuple, list)) else (out,)
        return tuple(o for o in outs if o.dtype.kind == "f")

    return g


def of_wrt(f, args, wrt):
    """``f`` as a function of the operands that have a derivative."""

    def g(*xs):
        full = list(args)
        for i, x in zip(wrt, xs):
            full[i] = x
        return f(*full)

    return g, [args[i] for i in wrt]


def differences(g, xs, vs, h=1e-6):
    """The central difference of g along v; 0 for results that are no numbers (fill values, empty windows)."""
    up, down = (leaves(g(*(x + s * h * v for x, v in zip(xs, vs)))) for s in (1, -1))
    return [np.subtract(u, d, out=np.zeros_like(u), where=np.isfinite(u)) / (2 * h) for u, d in zip(up, down)]


def inner(xs, ys):
    return sum(float(np.sum(np.asarray(x) * np.asarray(y))) for x, y in zip(xs, ys))


def check_jvp(g, xs, rng, tolerance=1e-7):
    vs = [rng.standard_normal(x.shape) for x in xs]
    out, tangents = api.jvp(g, tuple(xs), tuple(vs))
    agree(out, g(*xs))
    agree(tangents, differences(g, xs, vs), tolerance)


def check_transpose(g, xs, rng):
    vs = [rng.standard_normal(x.shape) for x in xs]
    _, tangents = api.jvp(g, tuple(xs), tuple(vs))
    outs, pull = api.vjp(g, *xs)
    ws = [rng.standard_normal(o.shape) for o in outs]
    assert inner(tangents, ws) == pytest.approx(inner(vs, pull(tuple(ws))), rel=1e-9, abs=1e-9)


def squares(g):
    """A scalar whose derivatives need those of ``g`` twice."""

    def loss(*xs):
        total = 0.0
        for o in g(*xs):
            finite = elementwise.select(elementwise.eq(o, o), o, elementwise.full_like(o, 0))
            total = elementwise.add(total, reductions.reduce_sum(elementwise.square(finite), tuple(range(o.ndim))))
        return total

    return loss


def check_second_order(g, xs, rng):
    gradient = api.grad(squares(g), argnums=tuple(range(len(xs))))
    vs, us = ([rng.standard_normal(x.shape) for x in xs] for _ in range(2))
    _, hessian_v = api.jvp(gradient, tuple(xs), tuple(vs))
    agree(hessian_v, differences(gradient, xs, vs), 1e-5)
    _, pull = api.vjp(gradient, *xs)
    assert inner(us, hessian_v) == pytest.approx(inner(vs, pull(tuple(us))), rel=1e-8, abs=1e-8)


@each_case
def test_reference_equals_naive_truth(case):
    args = case.draw(np.random.default_rng(1))
    agree(case.f(*args), case.truth(*args))


# every third case: each costs JAX a compilation, and the naive truth stands against all of them
@pytest.mark.parametrize("case", [c for c in CASES if c.jax][::3], ids=lambda c: c.name)
def test_reference_equals_jax(case, lax):
    args = case.draw(np.random.default_rng(2))
    agree(case.f(*args), case.jax(lax, *args))


@pytest.fixture(scope="module")
def lax():
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        yield jax.lax


@each_smooth_case
def test_derivatives(case):
    rng = np.random.default_rng(3)
    g, xs = of_wrt(real_outputs(case.f), case.draw(rng), case.wrt)
    check_jvp(g, xs, rng)
    check_transpose(g, xs, rng)
    for i in range(len(xs)):  # one operand at a time: the others are constants, their tangents symbolic zeros
        alone, x = of_wrt(g, xs, (i,))
        check_jvp(alone, x, rng)
        check_transpose(alone, x, rng)


@each_smooth_case
def test_second_order(case):
    rng = np.random.default_rng(4)
    g, xs = of_wrt(real_outputs(case.f), case.draw(rng), case.wrt)
    check_second_order(g, xs, rng)


def batched_draw(case, chosen, rng, size=3):
    """Operands with a batch axis for the chosen ones, their in_axes, and the operands of each example."""
    draws = [case.draw(rng) for _ in range(size)]
    axes = [int(rng.integers(0, x.ndim + 1)) if i in chosen else None for i, x in enumerate(draws[0])]
    args = [x if a is None else np.stack([d[i] for d in draws], a) for i, (x, a) in enumerate(zip(draws[0], axes))]
    examples = [[d[i] if a is not None else draws[0][i] for i, a in enumerate(axes)] for d in draws]
    return args, tuple(axes), examples


@each_case
def test_vmap_equals_loop(case):
    rng = np.random.default_rng(5)
    for chosen in truths.subsets(len(case.draw(rng))):
        args, axes, examples = batched_draw(case, chosen, rng)
        outs = [leaves(case.f(*e)) for e in examples]
        agree(api.vmap(case.f, in_axes=axes)(*args), [np.stack(o) for o in zip(*outs)])


@each_smooth_case
def test_gradient_of_vmap_equals_loop(case):
    rng = np.random.default_rng(6)
    args, axes, examples = batched_draw(case, range(len(case.draw(rng))), rng)
    f = real_outputs(case.f)
    got = api.grad(squares(lambda *a: api.vmap(f, in_axes=axes)(*a)), argnums=case.wrt)(*args)
    each = [leaves(api.grad(squares(f), argnums=case.wrt)(*e)) for e in examples]
    agree(got, [np.stack(o, axes[i]) for i, o in zip(case.wrt, zip(*each))])


# -------------------------------------------------------------- the checks themselves can fail


@pytest.mark.parametrize("check", [check_jvp, check_transpose, check_second_order])
def test_a_planted_error_of_a_thousandth_is_caught(check):
    def crooked(x, w):
        return (conv_variants.conv(x, w, (1,), "SAME"),)

    rng = np.random.default_rng(7)
    xs = [rng.standard_normal((1, 2, 5)), rng.standard_normal((2, 2, 3))]
    check(crooked, xs, rng)
    rule = conv.conv_general_dilated_p._rules["jvp" if check is check_jvp else "transpose"]
    kind = "jvp" if check is check_jvp else "transpose"

    def wrong(*args, **params):
        out = rule(*args, **params)
        grow = lambda x: None if x is None else elementwise.mul(x, 1.001)  # noqa: E731
        return tuple(map(grow, out)) if kind == "transpose" else grow(out)

    conv.conv_general_dilated_p._rules[kind] = wrong
    try:
        with pytest.raises(AssertionError):
            check(crooked, xs, rng)
    finally:
        conv.conv_general_dilated_p._rules[kind] = rule
