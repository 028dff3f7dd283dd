"""Reading and writing by index against NumPy: a large table, random indices, derivatives, vmap, modes, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_harness import close, same

import fx
import fx.numpy as fnp
from fx.errors import (
    ConcretizationError,
    DTypeError,
    ItemAssignmentError,
    OutOfBoundsIndexError,
    ShapeError,
)

A = np.arange(2 * 3 * 4 * 5, dtype=np.float64).reshape(2, 3, 4, 5)
S = np.s_
I = np.array  # noqa: E741

INDICES: list[Any] = [
    # ints, slices, None, Ellipsis
    S[0], S[-1], S[1, 2], S[1, 2, 3, 4], S[()], S[...], S[None], S[..., None], S[None, ..., None], S[0, ..., 1], S[..., 0, :], S[:, None, 1],
    S[1:], S[:, ::2], S[:, ::-1], S[..., ::-2], S[:, 2:0:-1], S[:, 5:], S[:, -100:100], S[:, 3:1], S[::-1, :, 1:-1:2], S[:, :, -1:-4:-1],
    S[0:0], S[:, None, None, 1:3], S[1, None, ..., None, 0], S[..., 4:1:-2], S[:, 1, ::-3, None], S[np.int32(1)], S[np.uint8(0), np.int64(-1)],
    S[I(1)], S[:, I(-1), 0],
    # index arrays
    S[I([0, 1, 1])], S[[0, 1, 0]], S[:, [2, 0]], S[[[0, 1], [1, 0]]], S[I([0, 1]), I([1, 2])], S[I([[0], [1]]), I([0, 2])], S[..., I([0, 4, -1])],
    S[I([0, 1]), :, I([1, 2])], S[I([0, 1]), 1, I([1, 2])], S[0, :, I([1, 2])], S[:, 0, I([1, 2])], S[:, I([0, 1]), 0], S[:, I([0, 1]), :, 0],
    S[:, 0, :, I([1, 2, 3])], S[0, I([1, 2])], S[I([0, 1]), None, I([1, 2])], S[:, I([0, 1]), None, I([1, 2])], S[None, I([0, 1]), I([1, 2])],
    S[:, I([0, 1]), I([1, 2]), ::-1], S[I([1, 0]), ..., I([1, 2])], S[..., I([1, 0]), I([1, 2])], S[I([0, 1]), 1:3, 2, I([0, 0])],
    S[:, :, I([[0, 1], [2, 3]])], S[1, I([[0, 1], [2, 0]]), :, 1], S[I([-1, -2]), I([-3, 2])], S[:, I([], np.int64)], S[[]], S[:, [], 0],
    S[I(0), I([1, 2])], S[:, I([1]), I(2)], S[I([[[1]]])], S[::-1, I([0, 2, 1]), 1:3], S[None, :, None, I([1, 1])], S[I([0, 1], np.uint8)],
    S[I([0, 1], np.int8), I([2, 1], np.int64)], S[1, ..., I([0, 3]), None], S[I([0, 1]), I([0, 1]), I([0, 1]), I([0, 1])],
    S[I([[0, 1]]), I([[1], [2]]), None, :, I([[3, 4]])], S[0, 0, I([1, 2])], S[I([1]), 0, 0, 0], S[0, I([1, 2]), 0, I([3, 4])],
    # booleans
    S[I([True, False])], S[[False, True]], S[:, I([True, False, True])], S[A[..., 0] > 20], S[A > 50], S[:, A[0] % 2 == 0], S[I([True, True]), I([0, 2])],
    S[I([True, False]), 1], S[:, I([True, False, True]), :, I([1])], S[I([False, False])], S[True], S[False], S[None, True], S[True, 0], S[0, True],
    S[:, True], S[True, I([0, 1])], S[True, None, 1], S[..., True], S[np.bool_(True), ..., 0], S[0, True, :, 1], S[True, True],
    S[1, ..., I([True, False, True, True, False])], S[I([[True, False, True], [False, False, True]])], S[I([[True, False, True], [False, False, True]]), 1],
    S[0, I(True), I([0, 1])], S[:, :, I([True, False, True, True]), ::2],
]  # fmt: skip


def show(index: Any) -> str:
    return (
        str(index)
        .replace("\n", "")
        .replace(" ", "")
        .replace("array", "")
        .replace("None", "N")
        .replace("slice", "s")[:60]
    )


each_index = pytest.mark.parametrize("index", INDICES, ids=show)


def traced_parts(index: Any) -> tuple[list[np.ndarray], Any]:
    """The integer index arrays of an index, and how to put others in their place."""
    items = index if isinstance(index, tuple) else (index,)
    where = [k for k, it in enumerate(items) if isinstance(it, np.ndarray) and it.dtype.kind in "iu"]

    def rebuild(arrays: Any) -> Any:
        full = list(items)
        for k, a in zip(where, arrays):
            full[k] = a
        return tuple(full)

    return [items[k] for k in where], rebuild


def jitted(f: Any, *args: Any) -> Any:
    with fx.config.using(backend="reference"):
        return fx.jit(f)(*args)


# ----------------------------------------------------------------------------------------- reading


@each_index
def test_reading(index: Any) -> None:
    want = A[index]
    x = fnp.asarray(A)
    ours = (
        tuple(fnp.asarray(i) if isinstance(i, np.ndarray) else i for i in index) if isinstance(index, tuple) else index
    )
    same(x[index], want)
    same(x[ours], want)
    same(jitted(lambda v: v[index], A), want)
    parts, rebuild = traced_parts(index)
    if parts:
        same(jitted(lambda v, *ps: v[rebuild(ps)], A, *parts), want)
        same(jitted(lambda *ps: fnp.asarray(A)[rebuild(ps)], *parts), want)
    same(fx.vmap(lambda v: v[index])(np.stack([A, A + 1])), np.stack([want, (A + 1)[index]]))


@each_index
def test_derivatives_of_reading(index: Any) -> None:
    out, pull = fx.vjp(lambda v: v[index], A)
    ct = np.arange(1.0, out.size + 1).reshape(out.shape)
    want = np.zeros_like(A)
    np.add.at(want, index, ct)
    same(pull(ct)[0], want)
    same(fx.jvp(lambda v: v[index], (A,), (A * 2,))[1], 2 * A[index])


# ----------------------------------------------------------------------------------------- writing


def written(x: np.ndarray, index: Any, value: Any, kind: str) -> np.ndarray:
    out = x.copy()
    if kind == "set":
        out[index] = value
    else:
        ufunc = {
            "add": np.add,
            "subtract": np.subtract,
            "multiply": np.multiply,
            "min": np.minimum,
            "max": np.maximum,
            "divide": np.divide,
            "power": np.power,
        }
        ufunc[kind].at(out, index, value)
    return out


@each_index
def test_writing(index: Any) -> None:
    for kind in ("set", "add", "multiply", "max"):
        check_writing(index, kind)


def check_writing(index: Any, kind: str) -> None:
    shape = A[index].shape
    values = [2.0, np.arange(1.0, np.prod(shape) + 1).reshape(shape)]
    if shape:
        values.append(np.full(shape[-1:], 3.0))
    for value in values:
        want = written(A, index, value, kind)
        same(getattr(fnp.asarray(A).at[index], kind)(value), want)
        same(jitted(lambda v, u: getattr(v.at[index], kind)(u), A, value), want)
    parts, rebuild = traced_parts(index)
    if parts:
        same(jitted(lambda v, *ps: getattr(v.at[rebuild(ps)], kind)(value), A, *parts), want)
    batched = fx.vmap(lambda v, u: getattr(v.at[index], kind)(u))(np.stack([A, A + 1]), np.stack([value, value]))
    same(batched, np.stack([want, written(A + 1, index, value, kind)]))


@pytest.mark.parametrize("index", [S[1], S[:, ::2], S[..., I([0, 2])], S[I([0, 1]), :, I([1, 1])], S[A > 50]], ids=show)
@pytest.mark.parametrize("kind", ["subtract", "min", "divide", "power"])
def test_the_other_ways_to_write(index: Any, kind: str) -> None:
    x = A + 1
    same(getattr(fnp.asarray(x).at[index], kind)(2.0), written(x, index, 2.0, kind))
    same(jitted(lambda v: getattr(v.at[index], kind)(2.0), x), written(x, index, 2.0, kind))


@pytest.mark.parametrize(
    "index",
    [S[1], S[:, ::2, 1], S[..., ::-1], S[I([0, 1]), :, I([1, 3])], S[:, I([0, 2])], S[A > 50], S[None, 0]],
    ids=show,
)
def test_derivatives_of_writing(index: Any) -> None:
    shape = A[index].shape
    value = np.arange(1.0, np.prod(shape) + 1).reshape(shape)
    ct = np.sqrt(A + 1)
    for kind in ("set", "add"):
        _, pull = fx.vjp(lambda v, u: getattr(v.at[index], kind)(u), A, value)
        to_x, to_u = pull(ct)
        same(to_x, written(ct, index, 0.0, "set") if kind == "set" else ct)
        same(to_u, ct[index])
    _, pull = fx.vjp(lambda v, u: v.at[index].multiply(u), A, value)
    same(pull(ct)[0], written(ct, index, value, "multiply"))


def test_repeated_indices() -> None:
    x = np.zeros(4)
    i = I([1, 1, 3, 1])
    v = np.array([1.0, 2.0, 3.0, 4.0])
    for kind in ("set", "add", "multiply", "min", "max", "subtract"):
        same(getattr(fnp.asarray(x + 1).at[i], kind)(v), written(x + 1, i, v, kind))
        same(jitted(lambda a, j, u: getattr(a.at[j], kind)(u), x + 1, i, v), written(x + 1, i, v, kind))
    _, pull = fx.vjp(lambda u: fnp.asarray(x).at[i].set(u), v)
    same(pull(np.array([1.0, 2.0, 3.0, 4.0]))[0], np.array([0.0, 0.0, 4.0, 2.0]))
    same(fnp.asarray(x + 1).at[i].apply(lambda a: a * 3), np.array([1.0, 27.0, 1.0, 3.0]))
    same(fnp.asarray(x + 1).at[1:3].apply(fnp.negative), np.array([1.0, -1.0, -1.0, 1.0]))


def test_apply_of_repeated_indices() -> None:
    """As often as an element is indexed, known or traced; an index outside is dropped."""
    x = np.array([1.0, 2.0, 3.0, 0.5])
    i = I([1, 0, 3, 0, -4, 9, 0])

    def applied(a: Any, j: Any, **flags: Any) -> Any:
        return fnp.asarray(a).at[j].apply(fnp.sin, **flags)

    want, slope = x.copy(), np.ones(4)
    for k in (1, 0, 3, 0, 0, 0):
        want[k], slope[k] = np.sin(want[k]), slope[k] * np.cos(want[k])
    close(applied(x, i), want)
    close(jitted(applied, x, i), want)
    close(fx.vmap(applied)(np.stack([x, x]), np.stack([i, 0 * i + 2])), np.stack([want, applied(x, I([2] * 7))]))
    for transform in (lambda f: f, fx.jit):
        close(transform(fx.grad(lambda a, j: fnp.sum(applied(a, j))))(x, i), slope)
    once = np.where(np.isin(np.arange(4), i), np.sin(x), x)
    close(jitted(lambda a, j: applied(a, j, unique_indices=True), x, i), once)
    close(jitted(lambda a, j: applied(a, j), x, x < 3), np.where(x < 3, np.sin(x), x))
    rows = np.stack([x, x + 1])
    close(jitted(applied, rows, np.array([False, True])), np.stack([x, np.sin(x + 1)]))
    close(jitted(lambda a, j: a.at[:, j].apply(fnp.square), rows, I([2, 2])), rows ** [1, 1, 4, 1])


@pytest.mark.parametrize("d", ["bool", "int8", "uint8", "int64", "float16", "float32", "complex64"])
def test_dtypes(d: str) -> None:
    x = np.array([[0, 1, 2], [3, 4, 5]]).astype(d)
    for index in (S[0], S[:, 1], S[I([1, 0]), I([2, 2])], S[:, I([True, False, True])], S[..., ::-1]):
        same(fnp.asarray(x)[index], x[index])
        same(fnp.asarray(x).at[index].set(1), written(x, index, 1, "set"))
        for kind in ("add", "multiply", "max"):
            if not (d == "complex64" and kind == "max"):
                same(
                    jitted(lambda v, i=index, k=kind: getattr(v.at[i], k)(1), x),
                    written(x, index, np.ones((), d), kind),
                )
    assert fnp.asarray(x).at[0].set(1).dtype == d


def test_python_numbers_keep_their_precision() -> None:
    x = np.ones(3)
    assert fnp.asarray(x).at[0].set(0.1)[0] == 0.1 and fx.jit(lambda v: v.at[0].add(0.1))(x)[0] == 1.1
    assert fnp.asarray(x).at[I([0])].set([0.1])[0] == 0.1


# ------------------------------------------------------------------------------ random indices

sizes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))


@st.composite
def indices(draw: Any, shape: tuple[int, ...]) -> Any:
    """Any index that fits: ints, slices of any sign, None, Ellipsis, integer and boolean arrays that broadcast together."""
    batch = draw(st.sampled_from([(), (2,), (1, 2), (3, 1), (0,)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    items: list[Any] = []
    axis = 0
    while axis < len(shape):
        n = shape[axis]
        kind = draw(st.sampled_from(["int", "slice", "slice", "array", "array", "mask", "none", "stop", "dots"]))
        if kind == "int":
            items.append(int(rng.integers(-n, n)))
        elif kind == "slice":
            bound = st.one_of(st.none(), st.integers(-n - 1, n + 1))
            items.append(slice(draw(bound), draw(bound), draw(st.sampled_from([None, 1, 2, -1, -2]))))
        elif kind == "array":
            own = tuple(m if rng.integers(3) else 1 for m in batch)[int(rng.integers(2)) if batch else 0 :]
            items.append(rng.integers(-n, n, own))
        elif kind == "mask" and batch in ((), (2,)) and n >= 2:
            mask = np.zeros(n, bool)
            mask[rng.choice(n, 2, replace=False)] = True
            items.append(mask)
        elif kind == "mask":
            items.append(slice(None))
        elif kind == "none":
            items.append(None)
            continue
        elif kind == "dots":
            if not any(it is Ellipsis for it in items):
                items.append(Ellipsis)
            break
        elif kind == "stop":
            break
        axis += 1
    return tuple(items)


@st.composite
def arrays_and_indices(draw: Any) -> tuple[np.ndarray, Any]:
    shape = draw(sizes)
    return np.arange(1.0, np.prod(shape) + 1).reshape(shape), draw(indices(shape))


@settings(max_examples=150, deadline=None)
@given(arrays_and_indices())
def test_random_indices(case: tuple[np.ndarray, Any]) -> None:
    x, index = case
    try:
        want = x[index]
    except IndexError:
        with pytest.raises((IndexError, ShapeError)):
            fnp.asarray(x)[index]
        return
    same(fnp.asarray(x)[index], want)
    graph = fx.make_graph(lambda v: v[index])(x)
    same(fx.vmap(lambda v: v[index])(x[None]), want[None])
    assert graph.out_avals[0].shape == want.shape
    for kind in ("set", "add"):
        value = np.arange(float(want.size)).reshape(want.shape)
        same(getattr(fnp.asarray(x).at[index], kind)(value), written(x, index, value, kind))
        same(
            fx.vmap(lambda v, u, k=kind: getattr(v.at[index], k)(u))(x[None], value[None]),
            written(x, index, value, kind)[None],
        )


# ------------------------------------------------------------------------ out of range, modes, errors


def test_index_arrays_out_of_range_are_clamped_and_their_updates_dropped() -> None:
    x = np.arange(4.0)
    i = I([-6, -1, 0, 4, 9])
    for f in (lambda v, j: v[j], lambda v, j: jitted(lambda a, k: a[k], v, j)):
        same(f(fnp.asarray(x), i), np.array([0.0, 3.0, 0.0, 3.0, 3.0]))
    for f in (lambda v, j: v.at[j].set(7.0), lambda v, j: jitted(lambda a, k: a.at[k].set(7.0), v, j)):
        same(f(fnp.asarray(x), i), np.array([7.0, 1.0, 2.0, 7.0]))
    same(fnp.asarray(x)[np.array([2**40, -(2**40)])], np.array([3.0, 0.0]))
    same(jitted(lambda a, k: a[k], x, np.array([2**40, -(2**40)])), np.array([3.0, 0.0]))
    same(jitted(lambda a, k: a[k], x, np.array([3, 200], np.uint8)), np.array([3.0, 3.0]))


def test_modes() -> None:
    x = fnp.arange(4.0)
    i = I([-6, -1, 0, 4, 9])
    nan = np.nan
    table = {
        "fill": [nan, 3, 0, nan, nan], "drop": [nan, 3, 0, nan, nan], "clip": [0, 3, 0, 3, 3], "wrap": [2, 3, 0, 0, 1],
    }  # fmt: skip
    for mode, want in table.items():
        same(x.at[i].get(mode=mode), np.array(want, np.float32))
        same(jitted(lambda v, j, m=mode: v.at[j].get(mode=m), x, i), np.array(want, np.float32))
    same(x.at[i].get(fill_value=-1.0), np.array([-1, 3, 0, -1, -1], np.float32))
    same(x.at[9].get(mode="fill", fill_value=5), np.float32(5))
    same(x.at[9].get(mode="clip"), np.float32(3))
    same(x.at[-1, None].get(mode="wrap"), np.float32([3]))
    same(x.at[i].add(1.0, mode="clip"), np.array([2, 1, 2, 6], np.float32))
    same(x.at[i].add(1.0, mode="wrap"), np.array([2, 2, 3, 4], np.float32))
    same(x.at[i].add(1.0, mode="drop"), np.array([1, 1, 2, 4], np.float32))
    same(x.at[9].add(1.0, mode="drop"), x)
    same(x.at[I([-1])].get(mode="fill", wrap_negative_indices=False), np.float32([nan]))
    same(x.at[I([-1])].set(9.0, wrap_negative_indices=False), x)
    same(x.at[I([1, 2])].get(mode="promise_in_bounds"), np.float32([1, 2]))
    same(x.at[I([0, 1])].add(1.0, unique_indices=True, indices_are_sorted=True), np.float32([1, 2, 2, 3]))
    same(fnp.arange(3).at[I([5])].get(mode="fill"), np.array([np.iinfo(np.int32).min], np.int32))
    for mode in (fx.lax.GatherScatterMode.CLIP, "CLIP"):
        same(x.at[I([9])].get(mode=mode), np.float32([3]))


def test_masks() -> None:
    x = np.array([-1.0, 2.0, -3.0, 4.0])
    f = lambda v: v.at[v < 0].set(0.0)  # noqa: E731
    same(f(fnp.asarray(x)), np.maximum(x, 0))
    same(jitted(f, x), np.maximum(x, 0))
    same(jitted(lambda v: v.at[v < 0].multiply(-2.0), x), np.where(x < 0, -2 * x, x))
    y = np.stack([x, x + 2])
    same(fx.vmap(f)(y), np.maximum(y, 0))
    same(jitted(lambda v: v.at[v[:, 0] < 0].add(1.0), y), np.where(y[:, :1] < 0, y + 1, y))
    same(fx.grad(lambda v: (v.at[v < 0].set(0.0) * 3).sum())(x), 3.0 * (x >= 0))
    same(fx.grad(lambda v: (v[v > 0] ** 2).sum())(x), np.where(x > 0, 2 * x, 0.0))  # under plain grad the mask is known
    with pytest.raises(ConcretizationError, match=r"traced boolean mask of shape \(4,\).*where\(mask, x, other\)"):
        fx.jit(lambda v: v[v > 0])(x)
    with pytest.raises(ConcretizationError):
        fx.jit(lambda v: v.at[v > 0].set(v[:2]))(x)


@pytest.mark.parametrize(
    ("index", "error", "words"),
    [
        (S[2], OutOfBoundsIndexError, "index 2 is out of bounds for axis 0 with size 2"),
        (S[:, -4], OutOfBoundsIndexError, "index -4 is out of bounds for axis 1 with size 3"),
        (S[0, 0, 0], OutOfBoundsIndexError, r"too many indices: 3 for an array with 2 dimensions \(shape \(2, 3\)\)"),
        (S[..., 0, ...], OutOfBoundsIndexError, "only one Ellipsis"),
        (
            S[I([True, False, True])],
            OutOfBoundsIndexError,
            r"boolean index of shape \(3,\) does not fit the dimensions \(2,\)",
        ),
        (S[1.0], DTypeError, "found float"),
        (S["a"], DTypeError, "found str"),
        (S[I([0.5])], DTypeError, r"found f64\[1\]"),
        (S[0.5:2], DTypeError, "slice bounds of axis 0"),
        (S[::0], ValueError, "zero"),
        (S[I([0, 1]), I([0, 1, 2])], ShapeError, r"\(2,\), \(3,\) cannot be broadcast"),
        (S[{}], DTypeError, "found dict"),
    ],
)
def test_errors(index: Any, error: type, words: str) -> None:
    x = np.ones((2, 3))
    for f in (lambda v: v[index], lambda v: v.at[index].set(1.0), lambda v: v.at[index].add(1.0)):
        for call in (
            lambda f=f: f(fnp.asarray(x)),
            lambda f=f: fx.jit(f)(x),
            lambda f=f: fx.grad(lambda v: f(v).sum())(x),
        ):
            with pytest.raises(error, match=words):
                call()


def test_errors_of_writing() -> None:
    x = fnp.ones((2, 3))
    with pytest.raises(ItemAssignmentError, match=r"x = x.at\[index\].set\(value\)"):
        x[0] = 1
    with pytest.raises(
        ShapeError, match=r"a value of shape \(4,\) cannot be written where the index selects shape \(3,\)"
    ):
        x.at[0].set(np.ones(4))
    with pytest.raises(ShapeError):
        fx.jit(lambda v: v.at[I([0, 1])].add(np.ones((3, 3))))(x)
    with pytest.raises(DTypeError, match="would lose information"):
        fnp.arange(3).at[0].set(2.5)
    with pytest.raises(DTypeError, match="would lose information"):
        x.at[0].set(np.ones(3, complex))
    with pytest.raises(TypeError, match=r"x.at\[index\].set"):
        x.at.set(1)
    with pytest.raises(TypeError, match="no option wrap"):
        x.at[0].set(1, wrap=True)
    with pytest.raises(ValueError, match="mode must be"):
        x.at[0].set(1, mode="raise")
    with pytest.raises(OutOfBoundsIndexError):
        fnp.zeros((0, 2))[I([0])]
    assert "At(" in repr(x.at[0]) and fnp.zeros((0, 2))[I([], int)].shape == (0, 2)
    same(fnp.zeros((0, 2)).at[I([0])].set(1.0), np.zeros((0, 2), np.float32))


def test_iteration_and_membership() -> None:
    x = fnp.arange(6).reshape(3, 2)
    assert [r.tolist() for r in x] == [[0, 1], [2, 3], [4, 5]] and len(x) == 3
    a, b, c = jitted(lambda v: tuple(r.sum() for r in v), x)
    assert (a, b, c) == (1, 5, 9)
    with pytest.raises(TypeError, match="0-d"):
        iter(fnp.array(1))
    with pytest.raises(TypeError, match="0-d"):
        fx.jit(lambda v: list(v))(1.0)


def test_constants_of_an_index_are_not_recorded_step_by_step() -> None:
    """A known index array is one input of the graph, and needs no wrapping."""
    g = fx.make_graph(lambda v: v[I([0, -1]), I([1, 2])])(np.ones((3, 4)))
    assert [e.prim.name for e in g.eqns] == ["gather"]
    g = fx.make_graph(lambda v: v[1:, None, ::-1])(np.ones((3, 4)))
    assert [e.prim.name for e in g.eqns] == ["slice", "rev", "expand_dims"]


@pytest.mark.parametrize("method", ["set", "add", "multiply", "min", "max"])
def test_booleans_are_scattered_as_they_are(method: str) -> None:
    """No round trip through bytes, which would write out a broadcast update and copy the array twice."""
    x, row = np.array([[True, False, True]] * 4), np.array([False, True, True])
    i = np.array([2, 0, 2])
    f = lambda x, i, row: getattr(x.at[i], method)(row)  # noqa: E731
    names = [e.prim.name for e in fx.make_graph(f)(x, i, row).eqns]
    assert "convert_element_type" not in names
    join = {"add": np.logical_or, "max": np.logical_or, "set": lambda a, b: b}.get(method, np.logical_and)
    want = x.copy()
    want[[0, 2]] = join(x[[0, 2]], row)
    same(f(fnp.asarray(x), i, row), want)
    same(fx.jit(f)(x, i, row), want)


# ----------------------------------------------------------------------------- indices that count from the end

_TABLE = np.arange(15, dtype=np.float32).reshape(5, 3) + 1
_WRAPPING: dict[str, Callable[[Any, Any], Any]] = {
    "rows": lambda x, i: x[i],
    "elements": lambda x, i: x[:, 0][i],
    "columns": lambda x, i: x[:, i],
    "clipped": lambda x, i: x.at[i].get(mode="clip"),
    "filled": lambda x, i: x.at[i].get(mode="fill", fill_value=-7),
    "set": lambda x, i: x.at[i].set(9.0),
    "added": lambda x, i: x.at[:, 1].add(0.5)[:, 1].at[i].add(1.0),
    "rows multiplied": lambda x, i: x.at[i].mul(2.0, mode="clip"),
    "a gradient": lambda x, i: fx.grad(lambda x: (x[i] ** 2).sum())(x),
}


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8"])
@pytest.mark.parametrize("name", _WRAPPING)
def test_negative_indices_need_no_pass_of_their_own(name: str, dtype: str) -> None:
    """They are wrapped where they are read; those out of bounds are clipped, filled or dropped as before."""
    f = _WRAPPING[name]
    low, high = (0, 9) if dtype == "uint8" else (-9, 9)
    for i in (np.arange(low, high), np.arange(low, high).reshape(-1, 3), np.full(70, high - 1), np.zeros(0, int)):
        i = i.astype(dtype)
        jitted = fx.jit(f)
        expect = np.asarray(f(fnp.asarray(_TABLE), fnp.asarray(i)))
        np.testing.assert_array_equal(np.asarray(jitted(_TABLE, i)), expect, strict=True)
        names = [s.name for s in jitted.lower(_TABLE, i).executable.program.steps]
        assert not any("lt" in n and "select_n" in n for n in names), names


def test_other_choices_of_indices_stay() -> None:
    """What only looks like counting from the end: another length, another bound, another axis."""
    x, i = _TABLE, np.array([-2, -1, 0, 3, 7], np.int32)
    for length, bound in ((4, 0), (5, 1), (5, -1), (3, 0)):
        f = lambda x, i, n=length, b=bound: x.at[fnp.where(i < b, i + n, i)].get(
            mode="clip", wrap_negative_indices=False
        )
        np.testing.assert_array_equal(np.asarray(fx.jit(f)(x, i)), x[np.clip(np.where(i < bound, i + length, i), 0, 4)])


@pytest.mark.parametrize("dtype", ["uint8", "float32", "complex64", "complex128"])
def test_short_rows_behind_several_axes(dtype: str) -> None:
    """A few elements for each index, in a batch: neighbours, every other one, or the two halves of complex numbers."""
    rng = np.random.default_rng(3)
    x, i = rng.integers(0, 100, (4, 9, 5)).astype(dtype), rng.integers(-3, 12, (4, 6))
    inside = np.clip(i, -9, 8)
    rows = np.stack([a[b] for a, b in zip(x, inside)])
    same(fx.jit(fx.vmap(lambda a, b: a[b]))(x, inside), rows)
    same(fx.jit(fx.vmap(lambda a, b: a[b, ::2]))(x, inside), rows[..., ::2])
    same(fx.jit(lambda x, i: x[:, i, 1])(x, inside), x[:, inside, 1])
    same(fx.jit(lambda x, i: x[:, :, i])(x, inside % 5), x[:, :, inside % 5])
    filled = np.where(((i >= -9) & (i < 9))[..., None], rows, np.array(7, dtype))
    take = fx.vmap(lambda a, b: a.at[b].get(mode="fill", fill_value=7))
    same(fx.jit(take)(x, i), filled)
