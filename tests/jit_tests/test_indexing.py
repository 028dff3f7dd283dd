"""Gather, scatter and dynamic slices against Python loops over single elements (and against JAX)."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from graph_harness import check, graph_of
from lower_harness import lower
from ml_dtypes import bfloat16

import fx
import jit
import jit.lower.indexing
import jit.lower.scatter
from fx.primitives import elementwise as E
from fx.primitives import joining as J
from fx.primitives import reductions as R
from fx.primitives import shaping as S
from fx.primitives.gather_scatter import gather_p
from fx.trace import bind
from jit.target import host

DTYPES = [
    "float32", "float64", "float16", bfloat16, "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool",
    "complex64", "complex128",
]  # fmt: skip
INDEX_DTYPES = ["int32", "int64", "uint8", "int8", "uint64", "int16", "uint32", "uint16"]
MODES = ["fill", "clip", "promise_in_bounds"]


def sample(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        return np.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    return rng.integers(0 if dtype.kind == "u" else -20, 20, shape).astype(dtype)


def strided(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """The same array in another layout: permuted, reversed or with gaps."""
    if x.ndim == 0 or rng.random() < 0.5:
        return x
    order = rng.permutation(x.ndim)
    y = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
    if rng.random() < 0.3:
        y = np.repeat(y, 2, axis=-1)[..., ::2]
    if rng.random() < 0.3:
        y = np.ascontiguousarray(y[..., ::-1])[..., ::-1]
    return y


def index_array(rng: np.random.Generator, shape: tuple[int, ...], largest: int, dtype: Any) -> np.ndarray:
    """Mostly valid indices, some beyond either end, some extreme."""
    dtype = np.dtype(dtype)
    info = np.iinfo(dtype)
    x = rng.integers(-2, largest + 3, shape).astype(object)
    x = np.where(rng.random(shape) < 0.05, info.max, x)
    x = np.where(rng.random(shape) < 0.05, info.min, x)
    return np.asarray(np.clip(x, info.min, info.max)).astype(dtype)


def same_bits(found: np.ndarray, true: np.ndarray) -> None:
    """Equal, NaN by NaN (NumPy's own comparison knows no NaN of bfloat16)."""
    np.testing.assert_array_equal(found.view(f"V{found.itemsize}").tolist(), true.view(f"V{true.itemsize}").tolist())


def default_fill(dtype: np.dtype) -> Any:
    if dtype.kind == "b":
        return True
    if dtype.kind in "iu":
        return np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max
    return np.nan


# ------------------------------------------------------------------------------------ dynamic slices


@pytest.mark.parametrize("case", range(30))
def test_dynamic_slices(case: int) -> None:
    rng = np.random.default_rng(case)
    rank = int(rng.integers(0, 5))
    shape = tuple(int(n) for n in rng.integers(1, 7, rank)) if case % 9 else (3, 0, 4)
    rank = len(shape)
    sizes = tuple(int(rng.integers(0 if case % 5 == 0 else 1, n + 1)) if n else 0 for n in shape)
    x = sample(rng, shape, DTYPES[case % len(DTYPES)])
    starts = [index_array(rng, (), n, INDEX_DTYPES[case % len(INDEX_DTYPES)]) for n in shape]
    region = tuple(slice(b := min(max(int(s), 0), n - size), b + size) for s, n, size in zip(starts, shape, sizes))
    (found,) = lower("dynamic_slice", [strided(rng, x), *starts], {"slice_sizes": sizes}, [(sizes, x.dtype)])
    np.testing.assert_array_equal(found, x[region])
    update = sample(rng, sizes, x.dtype)
    true = x.copy()
    true[region] = update
    (found,) = lower("dynamic_update_slice", [strided(rng, x), strided(rng, update), *starts], {}, [(shape, x.dtype)])
    np.testing.assert_array_equal(found, true)


def test_copies_of_long_rows() -> None:
    x = np.arange(5 * 100_003, dtype=np.int16).reshape(5, 100_003)
    start = [np.array(1, np.int32), np.array(2, np.int32)]
    (found,) = lower("dynamic_slice", [x, *start], {"slice_sizes": (3, 100_000)}, [((3, 100_000), x.dtype)])
    np.testing.assert_array_equal(found, x[1:4, 2:100_002])


# ------------------------------------------------------------------------------------ gather and scatter

Numbers = tuple[tuple[int, ...], ...]


def configuration(rng: np.random.Generator, like_jax: bool = False) -> tuple[tuple, tuple, Numbers, tuple]:
    """Operand shape, indices shape, dimension numbers, window sizes."""
    rank = int(rng.integers(1, 5))
    shape = [int(n) for n in rng.integers(1, 6, rank)]
    roles = rng.choice(["whole", "window", "collapsed", "batching"], rank, p=[0.3, 0.25, 0.3, 0.15])
    batching = tuple(d for d in range(rank) if roles[d] == "batching")
    collapsed = tuple(d for d in range(rank) if roles[d] == "collapsed")
    moved = [d for d in range(rank) if roles[d] == "collapsed" or (roles[d] == "window" and rng.random() < 0.8)]
    index_map = tuple(int(d) for d in rng.permutation(moved))
    sizes = tuple(
        1 if roles[d] in ("collapsed", "batching") else n if roles[d] == "whole" else int(rng.integers(1, n + 1))
        for d, n in enumerate(shape)
    )
    outer = [int(n) for n in rng.integers(1, 5, int(rng.integers(0, 3)))]
    places = []
    for d in batching:
        at = int(rng.integers(0, len(outer) + 1))
        outer.insert(at, shape[d])
        places = [p + (p >= at) for p in places] + [at]
    window_rank = rank - len(batching) - len(collapsed)
    offset = tuple(sorted(int(d) for d in rng.permutation(window_rank + len(outer))[:window_rank]))
    if rng.random() < 0.5:
        offset = tuple(range(len(outer), len(outer) + window_rank))
    numbers = (offset, collapsed, index_map, batching, tuple(places))
    return tuple(shape), (*outer, len(index_map)), numbers, sizes


def positions(shape: tuple, indices: np.ndarray, numbers: Numbers, sizes: tuple, mode: str) -> Any:
    """(position in result or updates, position in the operand or None) in row-major order of the former."""
    offset, collapsed, index_map, batching, places = numbers
    window = [d for d in range(len(shape)) if d not in collapsed and d not in batching]
    outer = iter(indices.shape[:-1])
    inside = iter(sizes[d] for d in window)
    result_shape = [next(inside) if d in offset else next(outer) for d in range(len(offset) + indices.ndim - 1)]
    for o in itertools.product(*map(range, result_shape)):
        g = tuple(i for d, i in enumerate(o) if d not in offset)
        at = [0] * len(shape)
        ok = True
        for component, d in enumerate(index_map):
            start, limit = int(indices[(*g, component)]), shape[d] - sizes[d]
            ok &= mode != "fill" or 0 <= start <= limit
            at[d] = min(max(start, 0), limit)
        for d, place in zip(batching, places):
            at[d] = g[place]
        for d, i in zip(window, [i for k, i in enumerate(o) if k in offset]):
            at[d] += i
        yield o, tuple(at) if ok else None


def result_shape(indices: np.ndarray, numbers: Numbers, sizes: tuple) -> tuple[int, ...]:
    offset, collapsed, _, batching, _ = numbers
    inside = iter(s for d, s in enumerate(sizes) if d not in collapsed and d not in batching)
    outer = iter(indices.shape[:-1])
    return tuple(next(inside) if d in offset else next(outer) for d in range(len(offset) + indices.ndim - 1))


@pytest.mark.parametrize("case", range(48))
def test_gather(case: int) -> None:
    rng = np.random.default_rng(case)
    shape, index_shape, numbers, sizes = configuration(rng)
    x = sample(rng, shape, DTYPES[case % len(DTYPES)])
    indices = index_array(rng, index_shape, max(shape), INDEX_DTYPES[case // 2 % len(INDEX_DTYPES)])
    mode = MODES[case % 3]
    fill = 3 if case % 4 == 0 and x.dtype.kind != "b" else None
    true = np.full(result_shape(indices, numbers, sizes), default_fill(x.dtype) if fill is None else fill, x.dtype)
    for o, at in positions(shape, indices, numbers, sizes, mode):
        if at is not None:
            true[o] = x[at]
    params = {"dimension_numbers": numbers, "slice_sizes": sizes, "mode": mode, "fill_value": fill}
    (found,) = lower("gather", [strided(rng, x), strided(rng, indices)], params, [(true.shape, x.dtype)])
    same_bits(found, true)


@pytest.mark.parametrize("dtype", ["float32", "complex64", "int8", "float64"])
@pytest.mark.parametrize("width", [1, 2, 3, 8, 9, 15, 16, 17, 33, 70])
def test_gather_of_rows_of_any_width(width: int, dtype: str) -> None:
    """Short rows are written out, longer ones are loops; with indices outside, of one component and of two, and of any layout."""
    rng = np.random.default_rng(width)
    for k, mode in itertools.product((1, 2), MODES):
        shape = (30, 4, width)[2 - k :]
        x, indices = sample(rng, shape, dtype), index_array(rng, (275, k), 30, "int32")
        at = [np.clip(indices[:, j], 0, n - 1) for j, n in enumerate(shape[:k])]
        inside = np.all([indices[:, j] == a for j, a in enumerate(at)], axis=0) | (mode != "fill")
        true = np.where(inside[:, None], x[tuple(at)], np.asarray(7, dtype))
        numbers = ((1,), tuple(range(k)), tuple(range(k)), (), ())
        params = {"dimension_numbers": numbers, "slice_sizes": (1,) * k + (width,), "mode": mode, "fill_value": 7}
        for layout in (x, np.asfortranarray(x), np.ascontiguousarray(x[..., ::-1])[..., ::-1]):
            (found,) = lower("gather", [layout, strided(rng, indices)], params, [(true.shape, x.dtype)])
            same_bits(found, true)


# ------------------------------------------------------------------------------------ gathers inside of loops


def _with(g: Any, w: Any) -> Any:
    return E.bitwise_or(g, w) if g.dtype == np.bool_ else E.add(g, w)


def _summed(g: Any, w: Any, *axes: int) -> Any:
    return (R.reduce_or if g.dtype == np.bool_ else R.reduce_sum)(_with(g, w), axes)


def _turned(g: Any) -> Any:
    return S.transpose(g, tuple(reversed(range(g.ndim))))


# What is done with a gathered array g of some dimensions, and an array w like it.
AFTER = {
    "combined": lambda g, w: [_with(g, w)],
    "kept as well": lambda g, w: [g, _with(g, w)],
    "summed": lambda g, w: [_summed(g, w, *range(g.ndim))],
    "summed by rows": lambda g, w: [_summed(g, w, g.ndim - 1)],
    "summed by columns": lambda g, w: [_summed(g, w, 0)],
    "turned": lambda g, w: [_with(_turned(g), _turned(w))],
    "padded": lambda g, w: [J.pad(_with(g, w), S.reshape(J.slice(S.reshape(w, (w.size,)), (0,), (1,)), ()), ((1, 2, 1),) * g.ndim)],
}  # fmt: skip


def _worked_out(i: Any) -> Any:
    """The same index vectors, by arithmetic on each component, which wraps."""
    last = i.ndim - 1
    parts = [J.slice_in_dim(i, k, k + 1, axis=last) for k in range(i.shape[last])]
    return J.concatenate([E.sub(E.add(E.mul(c, 3), 1), E.add(E.add(c, c), 1)) for c in parts], last)


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("case", range(6))
def test_gathers_inside_of_loops(case: int, after: str) -> None:
    """With index arithmetic before, other arithmetic and sums after, operands that are views, and whatever dtypes and modes."""
    case = 6 * list(AFTER).index(after) + case
    rng = np.random.default_rng(case)
    shape, index_shape, numbers, sizes = configuration(rng)
    dtype = np.dtype(DTYPES[case % len(DTYPES)])
    indices = index_array(rng, index_shape, max(shape), INDEX_DTYPES[case // 2 % len(INDEX_DTYPES)])
    fill = 3 if case % 4 == 0 and dtype.kind != "b" else None
    params = {"dimension_numbers": numbers, "slice_sizes": sizes, "mode": MODES[case % 3], "fill_value": fill}
    reversed_axes = tuple(d for d in range(len(shape)) if rng.random() < 0.3)

    def f(x: Any, i: Any, w: Any) -> list[Any]:
        i = _worked_out(i) if case // 3 % 2 and i.shape[-1] else i
        g = bind(gather_p, S.rev(_turned(x), reversed_axes), i, **params)
        return AFTER[after](g, w) if g.ndim else [_with(g, w)]

    out = result_shape(indices, numbers, sizes)
    x, w = sample(rng, shape[::-1], dtype), sample(rng, out, dtype)
    e = check(f, x, indices, w)
    inner = itertools.takewhile(lambda d: d in numbers[0], (d for d in reversed(range(len(out))) if out[d] != 1))
    copied = 4 < math.prod([out[d] for d in inner]) <= 16  # short rows
    assert ("gather has a loop structure of its own" in e.explain()) == copied
    if case == 0:
        check(f, x, indices, w, engine="numba")


@pytest.mark.parametrize(
    ("dtype", "index"),
    [("float32", "int32"), ("int16", "int64"), ("complex64", "int32"), ("float64", "uint64"), ("bool", "uint8")],
)
def test_gathers_in_vectors(dtype: str, index: str) -> None:
    """Enough elements for whole vectors and what is left of them; negative indices that count from the end; many readers."""
    rng = np.random.default_rng(len(dtype) + len(index))
    n, m = 211, 1037
    x, w = sample(rng, (n,), dtype), sample(rng, (m,), dtype)
    i = index_array(rng, (m,), n, index)

    def f(x: Any, i: Any, w: Any) -> list[Any]:
        results = []
        for mode in MODES:
            zero, length = S.full(i.shape, 0, i.dtype), S.full(i.shape, n, i.dtype)
            params = {
                "dimension_numbers": ((), (0,), (0,), (), ()),
                "slice_sizes": (1,),
                "mode": mode,
                "fill_value": None,
            }
            wrapped = E.select(E.lt(i, zero), E.add(i, length), i)
            moved = E.min(E.add(i, S.full(i.shape, 5, i.dtype)), E.mul(wrapped, wrapped))
            for at in (i, wrapped, moved):
                g = bind(gather_p, x, S.expand_dims(at, (1,)), **params)
                results += [_with(g, w), _summed(g, w, 0)]
        return results

    check(f, x, i, w)


@pytest.mark.parametrize("shape", [(17, 2, 1), (1, 3, 2)], ids=str)
def test_dear_values_of_a_gather_are_kept_by_the_loops_they_depend_on(shape: tuple[int, ...]) -> None:
    """A clipped index into an axis of one element says nothing: what is read there depends on the other loops alone."""
    rng = np.random.default_rng(9)
    x, i = sample(rng, shape, "float64"), rng.integers(-3, 3, (40,)).astype(np.uint8)
    window = {"dimension_numbers": ((0, 1), (2,), (2,), (), ()), "slice_sizes": (*shape[:2], 1), "mode": "clip"}

    def f(x: Any, i: Any) -> list[Any]:
        g = E.tanh(E.exp(bind(gather_p, x, S.expand_dims(i, (1,)), fill_value=None, **window)))
        hit = E.convert_element_type(E.eq(g, S.broadcast_in_dim(R.reduce_max(g, (0, 1, 2)), g.shape, ())), g.dtype)
        return [E.div(E.mul(hit, g), S.broadcast_in_dim(R.reduce_sum(hit, (0, 1, 2)), g.shape, ()))]

    check(f, x, i)


def test_what_is_read_through_a_gather_is_not_written_over() -> None:
    """Neither by the loop that reads it nor before; a gather of a gather, and one from what the same loop could compute."""
    rng = np.random.default_rng(8)
    x, i = sample(rng, (700,), "float32"), rng.integers(-9, 709, 700).astype(np.int32)
    params = {"dimension_numbers": ((), (0,), (0,), (), ()), "slice_sizes": (1,), "mode": "clip", "fill_value": None}

    def f(x: Any, i: Any) -> list[Any]:
        y = E.exp(E.mul(x, 0.01))
        g = E.add(bind(gather_p, y, S.expand_dims(i, (1,)), **params), 1.0)
        j = bind(gather_p, E.mul(i, 2), S.expand_dims(E.add(i, 1), (1,)), **params)
        h = E.mul(bind(gather_p, g, S.expand_dims(j, (1,)), **params), y)
        return [E.sub(bind(gather_p, h, S.expand_dims(i, (1,)), **params), h)]

    e = check(f, x, i)
    (found,) = jit.compile(graph_of(f, x, i), jit.Options(donate=(0, 1)))(x.copy(), i.copy())
    np.testing.assert_array_equal(found, e(x, i)[0])


def combine(op: str, old: Any, new: Any, dtype: np.dtype) -> Any:
    if op == "scatter":
        return new
    if dtype.kind == "b":
        return old or new if op in ("scatter_add", "scatter_max") else old and new
    with np.errstate(over="ignore", invalid="ignore"):
        return {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}[op[8:]](old, new)


@pytest.mark.parametrize("op", ["scatter", "scatter_add", "scatter_mul", "scatter_min", "scatter_max"])
@pytest.mark.parametrize("case", range(15))
def test_scatter(case: int, op: str) -> None:
    rng = np.random.default_rng(1000 + case)
    shape, index_shape, numbers, sizes = configuration(rng)
    dtype = np.dtype(DTYPES[case % len(DTYPES)])
    if op in ("scatter_min", "scatter_max") and dtype.kind == "c":
        dtype = np.dtype("float32")
    x = sample(rng, shape, dtype)
    indices = index_array(rng, index_shape, max(shape), INDEX_DTYPES[case // 2 % len(INDEX_DTYPES)])
    mode = MODES[case % 2]
    updates = sample(rng, result_shape(indices, numbers, sizes), dtype)
    wide = np.float32 if dtype.itemsize == 2 and dtype.kind not in "iu" else dtype
    true = x.astype(wide)
    for o, at in positions(shape, indices, numbers, sizes, mode):
        if at is not None:
            true[at] = combine(op, true[at], updates[o].astype(wide), dtype)
    params = {"dimension_numbers": numbers, "mode": mode, "indices_are_sorted": False, "unique_indices": False}
    (found,) = lower(op, [strided(rng, x), strided(rng, indices), strided(rng, updates)], params, [(shape, dtype)])
    rtol = 1e-5 if dtype == np.complex64 else 1e-13 if dtype.kind == "c" else 0
    np.testing.assert_allclose(found.astype(complex), true.astype(dtype).astype(complex), rtol=rtol)


@pytest.mark.parametrize("op", ["scatter", "scatter_add"])
@pytest.mark.parametrize("width", [0, 1, 37, 64])
@pytest.mark.parametrize("count", [100, 275])
def test_unique_rows(op: str, width: int, count: int) -> None:
    rng = np.random.default_rng(3)
    x = sample(rng, (300, width) if width else (300,), "float32")
    rows = rng.permutation(300)[:count].astype(np.int32)[:, None]
    updates = sample(rng, (count, width) if width else (count,), "float32")
    numbers = ((1,) if width else (), (0,), (0,), (), ())
    params = {"dimension_numbers": numbers, "mode": "fill", "indices_are_sorted": False, "unique_indices": True}
    true = x.copy()
    true[rows[:, 0]] = updates if op == "scatter" else true[rows[:, 0]] + updates
    (found,) = lower(op, [x, rows, updates], params, [(x.shape, x.dtype)])
    np.testing.assert_array_equal(found, true)


def test_broken_promises_do_not_crash() -> None:
    rng = np.random.default_rng(4)
    x = sample(rng, (50, 9), "float32")
    rows = rng.integers(-(2**62), 2**62, (40, 1))
    numbers = ((1,), (0,), (0,), (), ())
    params = {"dimension_numbers": numbers, "slice_sizes": (1, 9), "mode": "promise_in_bounds", "fill_value": None}
    (found,) = lower("gather", [x, rows], params, [((40, 9), x.dtype)])
    np.testing.assert_array_equal(found, x[np.clip(rows[:, 0], 0, 49)])
    params = {
        "dimension_numbers": numbers,
        "mode": "promise_in_bounds",
        "indices_are_sorted": True,
        "unique_indices": True,
    }
    (found,) = lower("scatter_add", [x, rows, found], params, [(x.shape, x.dtype)])
    np.testing.assert_array_equal(found, x)


def test_updates_of_one_element_apply_in_order() -> None:
    """Floating-point sums depend on their order; the last of several assignments wins."""
    rng = np.random.default_rng(5)
    x = np.zeros((4, 33), np.float32)
    rows = rng.integers(0, 4, (200, 1))
    updates = (rng.normal(size=(200, 33)) * 10.0 ** rng.integers(-6, 6, (200, 1))).astype(np.float32)
    numbers = ((1,), (0,), (0,), (), ())
    params = {"dimension_numbers": numbers, "mode": "clip", "indices_are_sorted": False, "unique_indices": False}
    true = x.copy()
    np.add.at(true, rows[:, 0], updates)
    (found,) = lower("scatter_add", [x, rows, updates], params, [(x.shape, x.dtype)])
    np.testing.assert_array_equal(found, true)
    true[rows[:, 0]] = updates
    (found,) = lower("scatter", [x, rows, updates], params, [(x.shape, x.dtype)])
    np.testing.assert_array_equal(found, true)


@pytest.mark.parametrize("index", INDEX_DTYPES)
@pytest.mark.parametrize("mode", ["fill", "clip"])
def test_many_single_elements(index: str, mode: str) -> None:
    """As many as make less than a block of offsets, one, and more; with duplicates, in order, and indices far outside."""
    rng = np.random.default_rng(6)
    for k, n in enumerate([*range(1, 68, 3), 511, 512, 513, 1030]):
        m = (1, 5, 40)[k % 3]
        i = index_array(rng, (n, 1), m, index)
        at = np.clip(i[:, 0].astype(object), 0, m - 1).astype(np.intp)
        ok = (i[:, 0] == at) | (mode == "clip")
        x, updates = (
            sample(rng, (m,), "float32"),
            (rng.normal(size=n) * 10.0 ** rng.integers(-6, 6, n)).astype(np.float32),
        )
        spread = np.stack([updates, updates], 1)[:, 0] if k % 2 else updates
        numbers = ((), (0,), (0,), (), ())
        params = {"dimension_numbers": numbers, "slice_sizes": (1,), "mode": mode, "fill_value": None}
        (found,) = lower("gather", [x, i], params, [((n,), x.dtype)])
        np.testing.assert_array_equal(found, np.where(ok, x[at], np.nan))
        params = {"dimension_numbers": numbers, "mode": mode, "indices_are_sorted": False, "unique_indices": False}
        true = x.copy()
        np.add.at(true, at[ok], updates[ok])
        (found,) = lower("scatter_add", [x, i, spread], params, [(x.shape, x.dtype)])
        same_bits(found, true)
        true = x.copy()
        true[at[ok]] = updates[ok]
        (found,) = lower("scatter", [x, i, spread], params, [(x.shape, x.dtype)])
        same_bits(found, true)


@pytest.mark.parametrize("index", INDEX_DTYPES)
@pytest.mark.parametrize("mode", ["fill", "clip"])
@pytest.mark.parametrize("level", [None, "avx2"])
def test_single_elements_in_shares(index: str, mode: str, level: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that have some of the elements apply the updates that are for those, in order; the harness cuts anywhere."""
    monkeypatch.setattr(jit.lower.scatter, "_SHARED_FROM", 1)
    target = host().restricted(level) if level else host()
    rng = np.random.default_rng(7)
    for n in (16, 33, 511, 512, 513, 1030):
        for k, shape in ((1, (40,)), (2, (5, 9))):
            i = np.stack([index_array(rng, (n,), m, index) for m in shape], 1)
            at = tuple(np.clip(c.astype(object), 0, m - 1).astype(np.intp) for c, m in zip(i.T, shape))
            ok = np.all(i == np.stack(at, 1), axis=1) | (mode == "clip")
            updates = (rng.normal(size=n) * 10.0 ** rng.integers(-6, 6, n)).astype(np.float32)
            to, of = tuple(c[ok] for c in at), updates[ok]
            x = sample(rng, shape, "float32")
            summed, last = x.copy(), x.copy()
            np.add.at(summed, to, of)
            last[to] = of
            numbers = ((), tuple(range(k)), tuple(range(k)), (), ())
            params = {"dimension_numbers": numbers, "mode": mode, "indices_are_sorted": False, "unique_indices": False}
            for op, true in (("scatter_add", summed), ("scatter", last)):
                for source in (updates, np.stack([updates, updates], 1)[:, 0]):
                    (found,) = lower(op, [x, i, source], params, [(shape, x.dtype)], target)
                    same_bits(found, true)


@pytest.mark.parametrize("op", ["scatter", "scatter_add", "scatter_mul", "scatter_min", "scatter_max"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int16", "uint64", "bool"])
def test_very_many_updates_of_few_elements(op: str, dtype: str) -> None:
    """By tables of their own, which the harness fills wherever it cuts; elements without updates keep their bits."""
    rng = np.random.default_rng(9)
    n, m = 65_536 + 5, 70
    i = rng.integers(-2, m + 2, (n, 1)).astype(np.int32)
    i[i == 3] = 4  # no updates of element 3
    x, updates = sample(rng, (m,), dtype), sample(rng, (n,), dtype)
    if op == "scatter_mul":
        updates = np.where(rng.random(n) < 0.5, 1, -1 if np.dtype(dtype).kind not in "ub" else 1).astype(dtype)
    if x.dtype.kind == "f":
        x[3] = -0.0
        updates[[50, 60_000]] = np.nan, np.inf
    ok = (i[:, 0] >= 0) & (i[:, 0] < m)
    numbers = ((), (0,), (0,), (), ())
    params = {"dimension_numbers": numbers, "mode": "fill", "indices_are_sorted": False, "unique_indices": False}
    true = x.astype({"float32": "float64", "float16": "float64"}.get(dtype, dtype))
    if op == "scatter":
        true[i[ok, 0]] = updates[ok]
    else:
        both = {"scatter_add": np.add, "scatter_mul": np.multiply, "scatter_min": np.minimum, "scatter_max": np.maximum}
        both[op].at(true, i[ok, 0], updates[ok])
    (found,) = lower(op, [x, i, updates], params, [(x.shape, x.dtype)])
    np.testing.assert_allclose(found.astype(float), true.astype(dtype).astype(float), rtol=1e-6)
    same_bits(found[3:4], x[3:4])


def test_slices_that_overlap_apply_in_row_major_order_of_the_updates() -> None:
    """Here the slice's dimension stands before that of the indices in the updates."""
    x = np.zeros(8, np.float32)
    starts = np.array([[0], [1], [2]], np.int32)
    updates = np.arange(1.0, 13.0, dtype=np.float32).reshape(4, 3)
    params = {
        "dimension_numbers": ((0,), (), (0,), (), ()), "mode": "clip", "indices_are_sorted": False, "unique_indices": False
    }  # fmt: skip
    true = x.copy()
    for w, g in itertools.product(range(4), range(3)):
        true[starts[g, 0] + w] = updates[w, g]
    (found,) = lower("scatter", [x, starts, updates], params, [(x.shape, x.dtype)])
    np.testing.assert_array_equal(found, true)


@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0)])
def test_empty(shape: tuple[int, ...]) -> None:
    x = np.zeros(shape, np.float32)
    window = shape[1:]
    numbers = (tuple(range(1, 1 + len(window))), (0,), (0,), (), ())
    indices = np.zeros((3, 1), np.int32)
    params = {
        "dimension_numbers": numbers, "slice_sizes": (min(1, shape[0]), *window), "mode": "fill", "fill_value": None
    }  # fmt: skip
    (found,) = lower("gather", [x, indices], params, [((3, *window), np.float32)])
    assert found.shape == (3, *window) and np.isnan(found).all()
    params = {"dimension_numbers": numbers, "mode": "fill", "indices_are_sorted": False, "unique_indices": False}
    (found,) = lower("scatter_add", [x, indices, np.ones((3, *window), np.float32)], params, [(shape, np.float32)])
    assert found.shape == shape
    x = np.ones((3, 2), np.float32)
    none = np.zeros((0, 1), np.int32)
    numbers = ((1,), (0,), (0,), (), ())
    (found,) = lower(
        "scatter",
        [x, none, np.ones((0, 2), np.float32)],
        {**params, "dimension_numbers": numbers},
        [((3, 2), np.float32)],
    )
    np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize("level", ["scalar", "sse2"])
def test_other_machines(level: str) -> None:
    if level == "sse2" and host().arch != "x86_64":
        pytest.skip("sse2 is a level of x86-64")
    rng = np.random.default_rng(6)
    x, rows = sample(rng, (40, 21), "float32"), rng.integers(-3, 44, (30, 1))
    numbers = ((1,), (0,), (0,), (), ())
    params = {"dimension_numbers": numbers, "slice_sizes": (1, 21), "mode": "fill", "fill_value": 0}
    target = host().restricted(level)
    inside = (rows >= 0) & (rows < 40)
    true = np.where(inside, x[np.clip(rows[:, 0], 0, 39)], 0)
    (found,) = lower("gather", [x, rows], params, [((30, 21), x.dtype)], target=target)
    np.testing.assert_array_equal(found, true)


def test_against_jax() -> None:
    lax = pytest.importorskip("jax.lax")
    rng = np.random.default_rng(7)
    for case in range(6):
        shape, index_shape, numbers, sizes = configuration(np.random.default_rng(500 + case))
        x = sample(rng, shape, "float32")
        indices = index_array(rng, index_shape, max(shape), "int32")
        batching = dict(zip(("operand_batching_dims", "start_indices_batching_dims"), numbers[3:]))
        theirs = lax.GatherDimensionNumbers(numbers[0], numbers[1], numbers[2], **batching)
        for mode in ("fill", "clip"):
            params = {"dimension_numbers": numbers, "slice_sizes": sizes, "mode": mode, "fill_value": None}
            shape_out = result_shape(indices, numbers, sizes)
            (found,) = lower("gather", [x, indices], params, [(shape_out, x.dtype)])
            np.testing.assert_array_equal(found, np.asarray(lax.gather(x, indices, theirs, sizes, mode=mode)))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_rows_of_every_length_are_copied_whole_and_nothing_beside(dtype: str) -> None:
    """Whole vectors, one that ends with the row, and shorter ones in rows that are shorter."""
    rng = np.random.default_rng(5)
    for n in (*range(17, 36), 47, 63, 64, 65, 100, 127, 129, 191, 257):
        x, i = sample(rng, (9, n), dtype), np.array([[8], [0], [3], [3], [7]], np.int32)
        params = {
            "dimension_numbers": ((1,), (0,), (0,), (), ()), "slice_sizes": (1, n), "mode": "clip", "fill_value": None,
        }  # fmt: skip
        (found,) = lower("gather", [x, i], params, [((5, n), x.dtype)])
        np.testing.assert_array_equal(found, x[i[:, 0]])
        cut = rng.integers(1, n)
        moved = fx.jit(lambda x, k, w=n - cut: fx.lax.dynamic_slice(x, (0, k), (9, w)))(x, cut)
        np.testing.assert_array_equal(moved, x[:, cut:])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "float16", "float32"])
def test_maps_that_only_move_rows(dtype: str) -> None:
    """Of every width, in whole vectors and less, into results and into what is computed with further."""
    for n in (1, 2, 3, 17, 31, 33, 50, 63, 65, 100, 127, 200, 600):
        x = sample(np.random.default_rng(n), (6, n + 2), dtype)
        moved = fx.jit(lambda x: (x[1:-1, 1:-1], fx.numpy.tile(x, (3, 2)), fx.numpy.repeat(x[:, 2:], 3, axis=0)[::-2]))(
            x
        )
        for got, want in zip(moved, (x[1:-1, 1:-1], np.tile(x, (3, 2)), np.repeat(x[:, 2:], 3, axis=0)[::-2])):
            np.testing.assert_array_equal(got, want)
        y = np.stack([x] * 4)
        got = fx.jit(lambda y: fx.numpy.cumsum(fx.numpy.transpose(y[:, :, 1:], (1, 0, 2)), 0))(y.astype("float32"))
        np.testing.assert_allclose(got, np.cumsum(np.transpose(y[:, :, 1:], (1, 0, 2)).astype("float32"), 0), rtol=1e-6)


def test_short_rows_of_bytes_are_copied_by_vectors_that_overlap() -> None:
    lowered = fx.jit(lambda x: fx.numpy.tile(x, (3, 2))).lower(np.zeros((20, 50), np.uint8))
    assert ("copy_slice" in str(lowered.loops())) == (host().vector_bits >= 256)
