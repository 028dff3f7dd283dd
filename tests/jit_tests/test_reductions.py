"""Reductions: every kind of loop nest, every dtype, NaN, nothing to reduce, accuracy, determinism."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from graph_harness import agree, check, graph_of, numbers
from thorough import part

import fx
import fx.numpy as fnp
import jit
from fx import dtypes
from fx.primitives import elementwise as E
from fx.primitives import joining as J
from fx.primitives import reductions as R
from fx.primitives import shaping as S
from jit.target import host

OPS = {"sum": R.reduce_sum, "prod": R.reduce_prod, "max": R.reduce_max, "min": R.reduce_min}
SHAPES = [
    ((), ()), ((7,), (0,)), ((1,), (0,)), ((5, 9), (1,)), ((5, 9), (0,)), ((5, 9), (0, 1)), ((3, 4, 5), (1,)),
    ((3, 4, 5), (0, 2)), ((3, 4, 5), (2,)), ((2, 1, 3, 4), (1, 2)), ((2, 3, 2, 600), (0, 2)), ((4, 3), ()),
]  # fmt: skip


DTYPES = ["float32", "float16", "float64", "int8", "uint32", "int64", "bool", "complex64"]


# the front end converts booleans before it adds or multiplies them
@pytest.mark.parametrize(
    ("dtype", "op"), [(d, op) for d in DTYPES for op in OPS if (d, op) not in (("bool", "sum"), ("bool", "prod"))]
)
def test_every_nest_and_dtype(op, dtype):
    """Every nest in float32; of the others each dtype and operation meet half."""
    position = DTYPES.index(dtype) + list(OPS).index(op)
    nests = SHAPES if dtype == "float32" else part(SHAPES, position, 2)

    def f(*xs):
        return [OPS[op](x, axes) for x, (_, axes) in zip(xs, nests)]

    check(f, *(numbers(shape, dtype, k) for k, (shape, _) in enumerate(nests)), scale=10)


def test_bfloat16_accumulates_in_float32():
    if dtypes.bfloat16 is None:
        pytest.skip("needs ml_dtypes")
    x = np.full((4, 1000), 1.0078125, dtypes.bfloat16)
    e = check(lambda x: [R.reduce_sum(x, (1,)), R.reduce_sum(x, (0,))], x)
    assert float(e(x)[0][0]) == 1008.0  # adding in bfloat16 would stop at 256


@pytest.mark.parametrize("op", [R.reduce_and, R.reduce_or])
@pytest.mark.parametrize("dtype", ["bool", "int32", "uint8"])
def test_bits(op, dtype):
    x = numbers((6, 5), dtype)
    check(lambda x: [op(x, (0,)), op(x, (1,)), op(x, (0, 1))], x)


@pytest.mark.parametrize("op", OPS)
def test_nothing_to_reduce(op):
    x, y = np.zeros((3, 0), "f4"), np.zeros((0, 3), "f4")
    check(lambda x, y: [OPS[op](x, (1,)), OPS[op](x, (0,)), OPS[op](x, (0, 1)), OPS[op](y, (0,))], x, y)


@pytest.mark.parametrize("shape,axis", [((5, 40), 1), ((40, 5), 0), ((3, 8, 70), 1), ((9,), 0), ((1, 4), 0)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "uint8"])
def test_argmax_takes_the_first(shape, axis, dtype):
    x = numbers(shape, dtype)
    check(lambda x: [R.argmax(x, axis, np.dtype("int32")), R.argmin(x, axis, np.dtype("int64"))], x)


@pytest.mark.parametrize("shape", [(3, 9000), (9000, 3), (70, 300), (60, 10), (2, 40_000)])
def test_positions_of_extremes_in_every_kind_of_row(shape):
    """Long rows go block by block, few long rows in pieces, short ones are written out; equal values, NaN, -inf."""
    x = numbers(shape, "f4")
    rows, columns = shape
    x[0, columns // 2 :] = 1e9  # the first of many equals
    x[1, :] = -np.inf
    x[-1, columns - 1] = np.nan

    def f(x):
        return [op(x, axis, np.dtype("int32")) for op in (R.argmax, R.argmin) for axis in (0, 1)]

    check(f, x)
    check(lambda x: [R.argmax(E.neg(x), 0, np.dtype("int64")), R.argmin(x, 0, np.dtype("uint32"))], x.ravel())
    check(f, np.full(shape, np.iinfo("i4").min, "i4"))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_positions_of_extremes_that_have_close_neighbours(dtype):
    """Zeros of both signs are equal, subnormal numbers are not; infinities, the largest numbers, and those next to 1."""
    kind = np.finfo(dtype)
    tiny, one = kind.smallest_subnormal, np.ones((), dtype)
    extremes = [
        0.0,
        -0.0,
        tiny,
        -tiny,
        kind.tiny,
        kind.max,
        -kind.max,
        np.inf,
        -np.inf,
        np.nan,
        one,
        np.nextafter(one, 2 * one),
        -one,
    ]
    x = np.array([[a] * 50 + [b, a, b] for a in extremes for b in extremes], dtype)
    for v in (x, x[:, ::-1].copy()):
        check(lambda x: [R.argmax(x, 1, np.dtype("int32")), R.argmin(x, 1, np.dtype("int32"))], v)


@pytest.mark.parametrize("shape", [(300, 530), (300, 128), (120, 2500), (3, 90, 700), (20, 40, 130), (2, 3, 1)])
def test_columns_that_pieces_share(shape):
    """Pieces begin and end within a row of columns; what they are changes no bit of a column's sum."""
    x = (numbers(shape, "f4") / 3).astype("f4")
    sums = lambda x: [R.reduce_sum(x, (x.ndim - 2,)), R.reduce_max(E.exp(x), (x.ndim - 2,))]
    part = np.ascontiguousarray(x[..., : -(-shape[-1] // 3)])
    for whole, few in zip(check(sums, x, scale=10)(x), jit.compile(graph_of(sums, part))(part), strict=True):
        assert whole[..., : part.shape[-1]].tobytes() == few.tobytes()


def test_the_gradient_of_a_bias_needs_no_kernel_at_another_batch_size():
    """Columns are shared out by a number that is known when the kernel runs."""
    f = fx.jit(lambda d: fnp.sum(fnp.where(d > 0, d, 0), axis=0))
    compiled = []
    for batch in (128, 154, 65, 233):
        d = numbers((batch, 512), "f4")
        agree(np.asarray(f(d)), np.where(d > 0, d, 0).sum(0))
        compiled.append(jit.cache_info().misses)
    assert len(set(compiled)) == 1


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_positions_in_few_tall_columns_are_sought_in_parts(dtype):
    """The first of equals in several parts, of nothing but the least number, of all equal ones; the first NaN of several."""
    x = numbers((30_000, 40), dtype)
    least = np.array(-np.inf if dtype == "float32" else np.iinfo(dtype).min, dtype)
    x[[100, 20_000, 29_999], 3] = 10**9
    x[:, 4], x[:, 5], x[:15_000, 6], x[15_000:, 7] = least, 3, least, least
    if dtype == "float32":
        x[[25_000, 29_000], 8] = np.nan
    e = check(lambda x: [op(x, 0, np.dtype("int32")) for op in (R.argmax, R.argmin)], x)
    assert "def partial_arg" in e.loops() and "def combine_arg" in e.loops()


def test_a_position_fits_its_dtype():
    x = np.arange(200, dtype="f4")
    check(lambda x: [R.argmax(x, 0, np.dtype("uint8"))], x)


@pytest.mark.parametrize("axis", [0, 1])
def test_nan_wins(axis):
    x = numbers((6, 33), "f4")
    x[2, 5], x[4, 5], x[2, 30], x[5, :] = np.nan, np.nan, np.nan, -np.inf

    def f(x):
        return [
            R.reduce_max(x, (axis,)),
            R.reduce_min(x, (axis,)),
            R.argmax(x, axis, np.dtype("int32")),
            R.argmin(x, axis, np.dtype("int32")),
        ]

    check(f, x)


def test_long_float_sums_stay_accurate():
    x = np.random.default_rng(0).random(3_000_000).astype("f4")
    (total,) = check(lambda x: [R.reduce_sum(x, (0,))], x, scale=1)(x)
    assert abs(float(total) / x.sum(dtype="f8") - 1) < 5e-7


def test_few_rows_are_cut_into_partial_results():
    x = numbers((3, 400_000), "f4")
    e = check(lambda x: [E.mul(R.reduce_sum(x, (1,)), R.reduce_max(x, (1,)))], x)
    assert "def partial_" in e.loops() and "def combine_" in e.loops()
    tall = numbers((400_000, 3), "f4")
    e = check(lambda x: [E.neg(R.reduce_sum(x, (0,)))], tall)
    assert "def partial_" in e.loops()


def test_a_partial_reduction_may_store_what_it_reduces():
    x, y = numbers((2000, 300), "f4"), numbers((2000, 300), "f4", 1)

    def f(x, y):
        z = E.mul(x, y)
        return [z, R.reduce_sum(z, (0,))]

    e = check(f, x, y)
    assert len(e.plan.groups) == 1, e.explain()


def test_the_same_bits_whatever_the_threads():
    x = np.random.default_rng(1).standard_normal((700, 901)).astype("f4")
    graph = graph_of(lambda x: [R.reduce_sum(x, (0,)), R.reduce_sum(x, (1,)), R.reduce_sum(x, (0, 1)), E.exp(x)], x)
    results = []
    for n in (1, 2, 3):
        with jit.using_threads(n):
            results.append(jit.compile(graph, jit.Options(num_threads=n))(x))
    for other in results[1:]:
        for a, b in zip(results[0], other):
            assert a.tobytes() == b.tobytes()


SMALL_CACHE = dataclasses.replace(host(), l3_bytes=4)  # no array fits it
LARGE = [(600, 33), (515, 40), (1, 900_001), (3, 66_000), (130_000, 2), (1100, 37)]


WIDE = ["float32", "float64", "float16", "complex64", "int64", "uint8", "bool"]


@pytest.mark.parametrize("dtype", WIDE)
def test_what_the_caches_do_not_hold_is_read_at_several_places(dtype):
    """Rows side by side, a long row at several places, columns of rows far apart; remainders, NaN, infinities."""
    for k, shape in enumerate(LARGE if dtype == "float32" else part(LARGE, WIDE.index(dtype), 3)):
        x, w = numbers(shape, dtype, k), numbers(shape[1:], dtype, k + 1)
        if dtype.startswith("float"):
            x[0, ::7], x[-1, -1], x[shape[0] // 2, 0] = np.inf, np.nan, -np.inf

        def f(x, w):
            y = E.min(x, S.broadcast_in_dim(w, x.shape, (1,))) if x.dtype.kind in "uib" else x
            found = [R.reduce_max(y, (0,)), R.reduce_min(y, (1,)), R.reduce_min(x, (0, 1))]
            if x.dtype.kind != "b":
                found += [R.reduce_sum(x, (axis,)) for axis in (0, 1)] + [R.reduce_sum(x, (0, 1))]
                found += [R.reduce_sum(E.mul(x, S.broadcast_in_dim(w, x.shape, (1,))), (1,))]
            return found if x.shape[0] > 1 else found[-2:-1]

        for level in ("", "avx2", "scalar") if k == 0 else ("",):
            target = dataclasses.replace(host().restricted(level), l3_bytes=4) if level else SMALL_CACHE
            e = check(f, x, w, scale=20, target=target)
            assert "each = " in e.loops()


def test_several_places_give_the_same_bits_whatever_the_threads():
    x = np.random.default_rng(1).standard_normal((700, 901)).astype("f4")
    graph = graph_of(lambda x: [R.reduce_sum(x, axes) for axes in ((0,), (1,), (0, 1))], x)
    results = []
    for n in (1, 2, 3, 7):
        with jit.using_threads(n):
            results.append(jit.compile(graph, jit.Options(num_threads=n, target=SMALL_CACHE))(x))
    for other in results[1:]:
        for a, b in zip(results[0], other):
            assert a.tobytes() == b.tobytes()
    for found, axes in zip(results[0], (0, 1, (0, 1))):
        np.testing.assert_allclose(found, x.sum(axes, dtype="f8"), rtol=2e-6, atol=2e-4)


def test_reduction_of_views_and_padding():
    x = numbers((6, 8, 5), "f4")

    def f(x):
        t = S.transpose(x, (2, 0, 1))
        p = J.pad(x, 1.0, [(1, 0, 0), (0, 2, 1), (-1, 0, 0)])
        return [
            R.reduce_sum(t, (0,)),
            R.reduce_max(t, (1, 2)),
            R.reduce_sum(S.reshape(t, (5, 48)), (1,)),
            R.reduce_sum(p, (0,)),
            R.reduce_min(S.rev(x, (2,)), (1,)),
        ]

    check(f, x)


def test_complex_extremes_are_lexicographic():
    x = np.array([[1 + 2j, 1 + 3j, 0 + 9j], [2 - 1j, np.nan + 0j, 5 + 5j], [-1j, 1j, 0]], "c8")
    found = jit.compile(graph_of(lambda x: [R.reduce_max(x, (1,)), R.reduce_min(x, (0,))], x))(x)
    agree(found[0], np.max(x, axis=1))
    agree(found[1], np.min(x, axis=0))


@pytest.mark.parametrize("shape", list(itertools.product([1, 7], [1, 5000], [1, 9])))
def test_sizes_around_the_blocks(shape):
    x = numbers(shape, "f4")
    check(lambda x: [R.reduce_sum(x, (1,)), R.reduce_sum(x, (0, 1)), R.reduce_max(x, (1, 2))], x)


def _of_pairs(x: Any, y: Any) -> Any:
    """The forces between points: much that is computed once a row, little for each coordinate."""
    off = x - y
    square = fnp.sum(off * off, axis=-1, keepdims=True)
    power = (1.0 / square) ** 3
    slope = fnp.where(square < 9.0, 24.0 * (2.0 * power * power - power) / square, fnp.exp(-square) * fnp.tanh(square))
    return off * slope * fnp.sqrt(square)


@pytest.mark.parametrize("width", [1, 2, 3, 8, 16, 17])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_short_rows_with_much_to_compute_for_each(width: int, dtype: str) -> None:
    rng = np.random.default_rng(width)
    x, y = (rng.normal(size=(77, width)).astype(dtype) for _ in range(2))
    want = _of_pairs(fnp.asarray(x), fnp.asarray(y))
    np.testing.assert_allclose(fx.jit(_of_pairs)(x, y), want, rtol=1e-5 if dtype == "float32" else 1e-13)


def test_what_is_computed_once_a_row_counts_once() -> None:
    """Rows of three are written out, whatever stands between the passes over them: no loop inside of the loop over rows."""
    x = np.ones((77, 3), np.float32)
    text = fx.jit(_of_pairs).lower(x, x).compile().as_text()
    assert "for i1" not in text and text.count("sqrt(") == 1


def _normalised(x: Any, w: Any) -> Any:
    off = x - x.mean(-1, keepdims=True)
    return w * off / fnp.sqrt((off * off).mean(-1, keepdims=True) + 1e-5)


def _softmax(x: Any, axis: int) -> Any:
    power = fnp.exp(x - x.max(axis, keepdims=True))
    return power / power.sum(axis, keepdims=True)


STAGED = {
    "softmax": lambda x, w: _softmax(x, -1),
    "its logarithm": lambda x, w: fx.nn.log_softmax(x, -1),
    "the logarithm of its sum": lambda x, w: fx.nn.logsumexp(x, -1),
    "weights": _normalised,
    "its gradient": lambda x, w: fx.grad(lambda w: (fnp.tanh(_normalised(x, w)) ** 2).sum())(w),
    "deviation": lambda x, w: (fnp.std(x, -1), fnp.exp(x.max(-1)) * w[0]),
    "two axes": lambda x, w: x.reshape(-1, 3, 7) - fnp.log1p(fnp.abs(x.reshape(-1, 3, 7)).sum((1, 2), keepdims=True)),
    "columns": lambda x, w: _softmax(x.T.reshape(7, 3, -1), 1),
    "positions": lambda x, w: fnp.argmax(fnp.abs(x - x.mean(-1, keepdims=True)), -1),
    "at a position": lambda x, w: fnp.take_along_axis(x, fnp.argmax(w * x, -1)[:, None], -1) - fx.nn.logsumexp(x, -1, keepdims=True),
    "whole numbers": lambda x, w: (n := (4 * x).astype(fnp.int32)) // (1 + (n - n.min(-1, keepdims=True)).max(-1, keepdims=True)),
}  # fmt: skip


@pytest.mark.parametrize("of", STAGED.values(), ids=STAGED)
def test_rows_of_a_block_go_through_their_stages_together(of: Any) -> None:
    """The numbers of the reference whatever is left over of a block, and the same bits wherever it begins."""
    for dtype, level in (("float32", None), ("float64", "avx2")):
        x = np.random.default_rng(0).normal(size=(67, 21)).astype(dtype)
        w = x[3].copy()
        target = None if level is None else host().restricted(level)
        for rows in (1, 16, 35, 67) if level is None else (35,):
            check(lambda x, w: fx.tree.leaves(of(fnp.asarray(x), fnp.asarray(w))), x[:rows], w, scale=50, target=target)
    jitted = fx.jit(of)
    whole, part_of_it = (fx.tree.leaves(jitted(a, w)) for a in (x, x[5:40]))
    for a, b in zip(whole, part_of_it):
        if a.shape[0] == len(x):
            assert np.asarray(a)[5:40].tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize(("shape", "blocks"), [((40, 100), 1), ((40, 5000), 0)])
def test_short_rows_are_staged_in_blocks(shape: tuple[int, int], blocks: int) -> None:
    text = fx.jit(lambda x: fx.nn.log_softmax(x, -1)).lower(np.ones(shape, np.float32)).loops()
    assert text.count("for block in range(lo, hi, 16)") == blocks
    between = text.split("for place in range(0, block_stop - block):  # vectorize")
    assert len(between) == 1 + blocks and between[-1].count("log_k = ") == 1  # the logarithms of a block, in vectors


PAIRWISE = {
    "distances": lambda x, y: fnp.sum((x[..., :, None, :] - y[..., None, :, :]) ** 2, -1),
    "forces": lambda x, y: _of_pairs(x[..., :, None, :], y[..., None, :, :]),
    "argmax": lambda x, y: fnp.argmax(x[..., :, None, :] - y[..., None, :, :], -1),
    "softmax": lambda x, y: fx.nn.softmax(x[..., :, None, :] * y[..., None, :, :], -1),
    "a map": lambda x, y: fnp.sin(x[..., :, None, :]) + y[..., None, :, ::-1],
    "padding": lambda x, y: (
        fnp.sum(fnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(1, 2)])[..., :, None, :], -1) + fnp.sum(y, -1)[..., None, :]
    ),
    "positions": lambda x, y: fnp.sum(
        fnp.where(fnp.arange(x.shape[-1]) > 1, x[..., :, None, :], y[..., None, :, :]), -1
    ),
}


@pytest.mark.parametrize("of", PAIRWISE.values(), ids=PAIRWISE)
@pytest.mark.parametrize("lead", [(), (2,)], ids=str)
def test_short_rows_of_all_pairs(of: Any, lead: tuple[int, ...]) -> None:
    """Loops around the one that is vectorised: a pair of points each, of few coordinates."""
    rng = np.random.default_rng(0)
    for a, b, width, dtype in [
        (1, 1, 3, "float64"), (5, 7, 3, "float32"), (4, 8, 1, "float64"), (9, 33, 2, "float32"), (6, 40, 4, "float64"),
        (3, 65, 16, "float32"), (3, 65, 17, "float64"), (0, 9, 3, "float32"), (9, 0, 3, "float32"),
    ]:  # fmt: skip
        x, y = (rng.normal(size=(*lead, n, width)).astype(dtype) for n in (a, b))
        for u, v in ((x, y), (x[..., ::-1, :], np.asfortranarray(y)), (x[..., ::-1], y[..., ::-1, :])):
            want = of(fnp.asarray(u), fnp.asarray(v))
            np.testing.assert_allclose(
                fx.jit(of)(u, v),
                want,
                rtol=2e-5 if dtype == "float32" else 1e-12,
                atol=1e-6 if dtype == "float32" else 1e-13,
            )


def test_pairs_of_points_are_vectorised_over_points() -> None:
    """Coordinates are written out: the innermost loop is that over the second points."""
    x = np.ones((77, 3), np.float32)
    text = fx.jit(PAIRWISE["distances"]).lower(x, x).compile().as_text()
    assert "for i2" not in text and "for i1" in text


def test_pieces_of_all_pairs_give_the_same_bits() -> None:
    x = numbers((300, 3), "f4")
    graph, results = fx.make_graph(PAIRWISE["forces"])(x, x).graph, []
    for n in (1, 2, 3, 7):
        with jit.using_threads(n):
            results.append(jit.compile(graph, jit.Options(num_threads=n))(x, x)[0])
    assert len({np.asarray(r).tobytes() for r in results}) == 1
