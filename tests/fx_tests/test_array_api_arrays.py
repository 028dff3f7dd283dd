"""The array object as the array API standard has it: conversion to numbers, copies, DLPack, indexing, broadcasting."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from array_api_standard import COMPLEX, DTYPES, FLOATING, KINDS, SIGNED, UNSIGNED
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.array_api import make_strategies_namespace

import fx
import fx.numpy as fnp

inf, nan = math.inf, math.nan
draws = make_strategies_namespace(fnp)  # Hypothesis makes arrays of any namespace that conforms

# ------------------------------------------------------------------------------------------- numbers


def test_conversion_to_numbers() -> None:
    for d in ("bool", *SIGNED, *UNSIGNED, *FLOATING):
        x = fnp.asarray(1).astype(d)
        assert (bool(x), int(x), float(x), complex(x)) == (True, 1, 1.0, 1 + 0j)
        assert [type(v) for v in (bool(x), int(x), float(x), complex(x))] == [bool, int, float, complex]
        if d in KINDS["integral"]:
            assert type(x.__index__()) is int and [5, 6][x] == 6
    for number in (nan, inf, -inf, 2.5):
        for d in FLOATING:
            x = fnp.asarray(number, dtype=d)
            assert bool(x) and str(float(x)) == str(number)
            assert str(complex(x)) == str(complex(number, nan if number != number else 0.0))
    assert not bool(fnp.asarray(-0.0)) and int(fnp.asarray(-0.0)) == 0 and int(fnp.asarray(-2.7)) == -2
    for z, truth in ((0j, False), (1j, True), (complex(0, nan), True), (complex(-0.0, -0.0), False)):
        assert bool(fnp.asarray(z)) is truth and str(complex(fnp.asarray(z))) == str(z)
    for call, x, error in (
        (int, fnp.asarray(inf), OverflowError), (int, fnp.asarray(nan), ValueError), (int, fnp.asarray(1j), TypeError),
        (float, fnp.asarray(1j), TypeError), (lambda v: v.__index__(), fnp.asarray(1.0), TypeError), (bool, fnp.ones(2), ValueError),
    ):  # fmt: skip
        with pytest.raises(error):
            call(x)


@pytest.mark.parametrize("convert", [bool, int, float, complex, lambda v: v.__index__()])
def test_a_traced_array_is_no_number(convert: Callable[[Any], Any]) -> None:
    """A ValueError, as the standard asks of lazy arrays (and a TypeError, as in JAX)."""
    for error in (ValueError, TypeError):
        with pytest.raises(error):
            fx.jit(convert)(fnp.asarray(1))


# -------------------------------------------------------------------------------------------- copies


def _share(x: Any, y: Any) -> bool:
    return np.shares_memory(np.asarray(x), np.asarray(y))


@pytest.mark.parametrize("d", DTYPES)
def test_copies(d: str) -> None:
    x = fnp.asarray(np.ones((2, 3), d))
    assert not _share(fnp.astype(x, x.dtype), x) and not _share(fnp.astype(x, x.dtype, copy=True), x)
    assert fnp.astype(x, x.dtype, copy=False) is x
    assert not _share(x.astype(d), x) and x.astype(d, copy=False) is x
    assert (
        not _share(fnp.asarray(x, copy=True), x) and _share(fnp.asarray(x, copy=False), x) and _share(fnp.asarray(x), x)
    )
    assert not _share(fnp.reshape(x, (3, 2), copy=True), x) and not _share(fnp.reshape(x, (2, 3), copy=True), x)
    assert _share(fnp.reshape(x, (3, -1), copy=False), x) and _share(fnp.reshape(x, (6,)), x)
    with pytest.raises(ValueError, match="without a copy"):
        fnp.reshape(x.T, (6,), copy=False)
    np.testing.assert_array_equal(fnp.reshape(x.T, (6,)), np.ones(6, d))


def test_casts() -> None:
    """Booleans are 0 and 1; what is not zero is true; a complex number does not become a real one."""
    for d in DTYPES:
        for source in DTYPES:
            x = np.array([0, 1, 3], source)
            if source in COMPLEX and d not in (*COMPLEX, "bool"):
                with pytest.raises(TypeError, match=r"real\(x\) or imag\(x\)"):
                    fnp.astype(fnp.asarray(x), getattr(fnp, d))
                continue
            got = fnp.astype(fnp.asarray(x), getattr(fnp, d))
            assert got.dtype == d
            np.testing.assert_array_equal(got, x.astype(d))
    np.testing.assert_array_equal(fnp.astype(fnp.asarray([0j, 1j, nan, -0.0]), fnp.bool), [False, True, True, False])


# -------------------------------------------------------------------------------------------- dlpack


@pytest.mark.parametrize("d", DTYPES)
def test_dlpack(d: str) -> None:
    known = np.arange(6).reshape(2, 3).astype(d)
    read_only = np.broadcast_to(known, known.shape)
    for x, memory in ((fnp.asarray(known), known), (fnp.asarray(read_only), read_only), (fnp.asarray(known).T, known)):
        assert x.__dlpack_device__() == (1, 0)
        got = np.from_dlpack(x)
        assert got.dtype == d and np.shares_memory(got, memory)
        np.testing.assert_array_equal(got, np.asarray(x))
        assert not np.shares_memory(np.from_dlpack(x, copy=True), memory)
        assert np.shares_memory(np.from_dlpack(x, copy=False, device="cpu"), memory)
        for options in (
            {},
            {"max_version": (1, 0)},
            {"max_version": (1, 0), "dl_device": (1, 0), "copy": True},
            {"stream": None},
        ):
            assert type(x.__dlpack__(**options)).__name__ == "PyCapsule"
        with pytest.raises(BufferError):
            x.__dlpack__(dl_device=(2, 0))
        ours = fnp.from_dlpack(x)
        assert ours.dtype == d and type(ours) is fx.Array
        for source in (x, np.asarray(x)):
            assert not _share(fnp.from_dlpack(source, copy=True), memory)
            assert _share(fnp.from_dlpack(source, copy=False, device=x.device), memory)
    with pytest.raises(BufferError, match="read-only"):
        fnp.asarray(read_only).__dlpack__(copy=False)
    with pytest.raises(AttributeError):
        fnp.from_dlpack([1.0])


# ------------------------------------------------------------------------------------------ indexing


def test_slices() -> None:
    """All bounds and steps that the standard names, against a list."""
    for n in (0, 1, 3):
        items = list(range(n))
        x = fnp.asarray(items, dtype=fnp.int64)
        keys = [
            slice(i, j, k)
            for k in (None, 1, 2, -1, -2)
            for i in (None, *range(-n, n + 1))
            for j in (None, *range(-n - (k is not None and k < 0), n + (k is None or k > 0)))
        ]
        for key in keys:
            assert x[key].tolist() == x[key,].tolist() == x[..., key].tolist() == items[key], (n, key)
        some = keys[:: 1 + len(keys) // 40]
        with fx.config.using(backend="reference"):
            for got, key in zip(fx.jit(lambda v: [v[key] for key in some])(x), some):
                assert np.asarray(got).tolist() == items[key], (n, key)


KEYS: list[Any] = [
    0, -1, (0, 1), (..., 0), (0, ...), (slice(1, None), ...), (None, ..., None), (None, 0), (..., None, slice(None)), (1, slice(None), -1),
    (slice(None, None, -1), 0, slice(0, 0)), ..., (), (1, 2, 3), (slice(1, 2), -1, ...), (np.int64(1), slice(None), np.int8(0)),
    (np.array([0, 1]), np.array([[2], [0]]), np.array(-1)), (1, np.array([0, 2, -1]), np.array([3, 0, 0])), (np.array([[0], [1]]), 2, np.array([0, 3])),
    np.array([1, 0, -1]), np.array([], np.int64), np.array(1), np.array(-1),
]  # fmt: skip


@pytest.mark.parametrize("d", DTYPES)
def test_keys_of_many_axes(d: str) -> None:
    known = (np.arange(24) % 7).reshape(2, 3, 4).astype(d)
    x = fnp.asarray(known)

    def calls(v: Any) -> list[Any]:
        return [v[key] for key in KEYS]

    with fx.config.using(backend="reference"):
        traced = fx.jit(calls)(x)
    for got, same, key in zip(calls(x), traced, KEYS):
        want = np.asarray(known[key])
        for value in (got, same):
            assert type(value) is fx.Array and value.dtype == d and value.shape == want.shape, key
            np.testing.assert_array_equal(value, want)
    ours = tuple([fnp.asarray(k) if isinstance(k, np.ndarray) else k for k in KEYS[16]])
    np.testing.assert_array_equal(x[ours], known[KEYS[16]])
    with pytest.raises(IndexError):
        x[..., 0, ...]
    with pytest.raises(IndexError):
        x[0, 0, 0, 0]
    zero = x[1, 2, 3]
    assert type(zero) is fx.Array and zero.shape == zero[()].shape == zero[...].shape == ()
    assert [type(v) for v in x[0, 0]] == [fx.Array] * 4 and [v.shape for v in x[0, 0]] == [()] * 4


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_drawn_keys(data: st.DataObject) -> None:
    x = data.draw(
        draws.arrays(draws.scalar_dtypes(), draws.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4))
    )
    key = data.draw(draws.indices(x.shape, allow_newaxis=True))
    assert type(x) is fx.Array and type(x[key]) is fx.Array and x[key].dtype == x.dtype
    np.testing.assert_array_equal(x[key], np.asarray(x)[key])
    pattern = data.draw(draws.mutually_broadcastable_shapes(2, max_dims=3, max_side=3))
    a, b = (data.draw(draws.arrays(x.dtype, s)) for s in pattern.input_shapes)
    assert fnp.equal(a, b).shape == pattern.result_shape == fnp.broadcast_arrays(a, b)[0].shape


def test_masks() -> None:
    """As the sole index; sizes are those of the array, or 0; a mask without dimensions adds an axis."""
    rng = np.random.default_rng(1)
    for shape in ((), (3,), (2, 3), (2, 0, 3), (2, 3, 2)):
        known = rng.normal(size=shape)
        x = fnp.asarray(known)
        for m in range(len(shape) + 1):
            for sizes in itertools.product(*[{n, 0} for n in shape[:m]]):
                mask = rng.random(sizes) < 0.5
                got = x[fnp.asarray(mask)]
                assert type(got) is fx.Array and got.shape == (int(mask.sum()), *shape[m:])
                if sizes == shape[:m]:
                    np.testing.assert_array_equal(got, known[mask])
        for sizes in ((*shape, 1), (5, *shape[1:])):
            with pytest.raises(IndexError):
                x[fnp.asarray(np.ones(sizes, bool))]


# ----------------------------------------------------------------- where the standard is followed alone


@pytest.fixture
def standard_alone() -> Iterator[None]:
    with fx.config.using(array_api=True):
        yield


def test_arrays_are_immutable_without_the_option() -> None:
    x = fnp.zeros(3)
    with pytest.raises(TypeError, match=r"immutable.*x\.at\[index\].*array_api=True"):
        x[0] = 1.0
    with pytest.raises(TypeError, match="immutable"):
        x.fill(1.0)
    assert x.tolist() == [0, 0, 0]


@pytest.mark.parametrize("transpose", [lambda x: x.T, fx.jit(lambda x: x.T)], ids=["eager", "jit"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 3), (2, 3, 4), (1, 2, 3, 4)], ids=str)
def test_the_transpose_is_of_two_axes(transpose: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
    """Of any number without the option, as NumPy's and JAX's; neither lingers in the other."""
    known = np.arange(math.prod(shape)).reshape(shape)
    for _ in range(2):
        np.testing.assert_array_equal(transpose(fnp.asarray(known)), known.T)
        with fx.config.using(array_api=True):
            if len(shape) == 2:
                np.testing.assert_array_equal(transpose(fnp.asarray(known)), known.T)
            else:
                with pytest.raises(ValueError, match=r"two axes.*x\.mT.*permute_dims"):
                    transpose(fnp.asarray(known))


def test_numbers_made_arrays_are_not_weak() -> None:
    def dtypes_of(v: Any) -> list[str]:
        made = [
            fnp.asarray(1),
            fnp.asarray(1.5),
            fnp.asarray(2j),
            fnp.asarray(True),
            fnp.full((2,), 1),
            fnp.full((), 2.5),
        ]
        return [str((v + m).dtype) for m in made]

    small, half = fnp.asarray(np.ones(2, "int8")), fnp.asarray(np.ones(2, "float16"))
    as_jax = ["int8", "float32", "complex64", "int8", "int8", "float32"]
    alone = ["int32", "float32", "complex64", "int8", "int32", "float32"]
    assert dtypes_of(small) == as_jax and dtypes_of(half)[1] == "float16"
    add = fx.jit(lambda v: v + fnp.asarray(1))
    assert [add(small).dtype for _ in range(3)] == ["int8"] * 3
    with fx.config.using(array_api=True):
        assert dtypes_of(small) == alone and dtypes_of(half)[1] == "float32"
        assert [add(small).dtype for _ in range(3)] == ["int32"] * 3
        assert (small + 1).dtype == "int8" and (
            half * 2.5
        ).dtype == "float16"  # Python numbers are as the standard has them
        assert fnp.asarray([1, 2]).dtype == "int32" and fnp.asarray(1, dtype="int8").dtype == "int8"
    assert add(small).dtype == "int8"


@pytest.mark.usefixtures("standard_alone")
@pytest.mark.parametrize("d", DTYPES)
def test_item_assignment(d: str) -> None:
    """NumPy's contents afterwards; the dtype stays."""
    known = (np.arange(24) % 7).reshape(2, 3, 4).astype(d)
    mask = known != known.flat[1]
    number = {"bool": True, **dict.fromkeys(FLOATING, 2.5), **dict.fromkeys(COMPLEX, 2 + 1j)}.get(d, 2)
    for key in (*KEYS, mask, mask[:, 0, 0], np.array(True), [1, 0]):
        for value in (number, fnp.asarray(number, dtype=d), known[key] * 0):
            x, want = fnp.asarray(known, copy=True), known.copy()
            x[key], want[key] = value, np.asarray(value)
            ours = fnp.asarray(known, copy=True)
            ours[fnp.asarray(key) if isinstance(key, np.ndarray) else key] = value
            for got in (x, ours):
                assert got.dtype == d
                np.testing.assert_array_equal(got, want)


@pytest.mark.usefixtures("standard_alone")
def test_item_assignment_changes_one_array() -> None:
    """No view, no array that it is a view of, no result of an operation that had nothing to do, nothing that was recorded."""
    known = np.arange(6.0).reshape(2, 3)
    x = fnp.asarray(known)
    name, others = (
        x,
        [x[0:], x.T, np.asarray(x), +x, fnp.conj(x), fnp.reshape(x, (2, 3)), fnp.clip(x), copy.copy(x), known],
    )
    whole = fnp.asarray([1, 2])
    unchanged = [getattr(fnp, f)(whole) for f in ("round", "floor", "ceil", "trunc", "real", "nan_to_num", "positive")]
    before = [np.array(o) for o in others]
    x[...] = -1.0
    whole[0] = 9
    assert name is x and (np.asarray(x) == -1).all()
    for o, b in zip(others, before):
        np.testing.assert_array_equal(o, b)
    assert all(u.tolist() == [1, 2] for u in unchanged)
    part = x[0]
    x[0, 0] = 5.0
    assert part.tolist() == [-1, -1, -1] and x[0].tolist() == [5, -1, -1]

    def f(v: Any) -> Any:
        w = fnp.asarray(np.array([1.0, 2.0]))
        out = fnp.sum(v * w)
        w[0] = 100.0
        return out

    np.testing.assert_array_equal(fx.grad(f)(np.ones(2)), [1.0, 2.0])
    donated = fx.jit(lambda v: v + 1, donate_argnums=0)(x)
    donated[0, 0] = 0.0
    assert donated[0].tolist() == [0, 0, 0]


@pytest.mark.usefixtures("standard_alone")
def test_item_assignment_is_traced_where_the_array_is() -> None:
    def f(v: Any) -> Any:
        out = fnp.zeros_like(v)
        out[1:] = v[1:] * 2
        out[v > 2] = 7.0
        return out

    x = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(f(fnp.asarray(x)), [0, 4, 7])
    with fx.config.using(backend="reference"):
        np.testing.assert_array_equal(fx.jit(f)(x), [0, 4, 7])
    np.testing.assert_array_equal(fx.jacfwd(f)(x), np.diag([0.0, 2.0, 0.0]))
    w = fnp.zeros(2)
    for transform in (fx.jit, fx.grad):
        with pytest.raises(TypeError, match=r"x\.at\[index\]\.set"):
            transform(lambda v: w.__setitem__(0, v))(1.0)
    with pytest.raises(IndexError):
        w[5] = 1.0


# ------------------------------------------------------------------------------------------- shapes


def test_what_must_raise() -> None:
    x, m = fnp.asarray([1.0, 2.0, 3.0]), fnp.ones((2, 3))
    for call, error in (
        (lambda: fnp.nonzero(fnp.asarray(1)), ValueError), (lambda: fnp.expand_dims(x, axis=2), IndexError), (lambda: fnp.expand_dims(x, axis=-3), IndexError),
        (lambda: fnp.squeeze(m, axis=0), ValueError), (lambda: fnp.broadcast_to(x, (2, 2)), ValueError), (lambda: fnp.stack([x, x], axis=2), ValueError),
        (lambda: fnp.unstack(x, axis=1), ValueError), (lambda: fnp.sum(x, axis=1), ValueError), (lambda: fnp.all(x, axis=-2), ValueError),
        (lambda: fnp.any(x, axis=(0, 1)), ValueError), (lambda: fnp.diff(x, axis=1), ValueError), (lambda: fnp.concat([x, x], axis=1), ValueError),
        (lambda: fnp.concat([m, x]), ValueError), (lambda: fnp.matmul(x, fnp.asarray(2.0)), ValueError), (lambda: fnp.asarray(2.0) @ x, ValueError),
        (lambda: x @ fnp.ones(2), ValueError), (lambda: m @ fnp.ones(2), ValueError), (lambda: fnp.ones(3) @ fnp.ones((2, 3)), ValueError),
        (lambda: m @ m, ValueError), (lambda: x.mT, ValueError), (lambda: fnp.add(x, fnp.ones(2)), ValueError), (lambda: fnp.cumulative_sum(m), ValueError),
        (lambda: fnp.vecdot(x, fnp.ones(1)), ValueError), (lambda: fnp.flip(x, axis=1), ValueError), (lambda: fnp.argmax(x, axis=1), ValueError),
        (lambda: x.__array_namespace__(api_version="1999.01"), ValueError), (lambda: fnp.reshape(x, (2, -1)), ValueError),
    ):  # fmt: skip
        with pytest.raises(error):
            call()


def test_sequences_are_what_the_standard_names() -> None:
    x = fnp.asarray([1.0, 2.0])
    assert type(fnp.meshgrid(x, x)) is list and type(fnp.broadcast_arrays(x, x)) is list
    assert type(fnp.unstack(x)) is tuple and type(fnp.nonzero(x)) is tuple
    for xs in ((), (x,), (x, fnp.ones(3), fnp.ones(4))):
        for indexing in ("xy", "ij"):
            grids = fnp.meshgrid(*xs, indexing=indexing)
            wants = np.meshgrid(*map(np.asarray, xs), indexing=indexing)
            assert len(grids) == len(wants)
            for got, want in zip(grids, wants):
                np.testing.assert_array_equal(got, want)
    assert fnp.unique_all(x)._fields == ("values", "indices", "inverse_indices", "counts")
    assert fnp.unique_counts(x)._fields == ("values", "counts") and fnp.unique_inverse(x)._fields == (
        "values",
        "inverse_indices",
    )
    info = fnp.__array_namespace_info__()
    limit = info.capabilities()["max dimensions"]
    assert fnp.ones((1,) * limit).ndim == limit


@pytest.mark.parametrize(
    "f",
    [
        lambda x: fnp.rot90(x, 0), lambda x: fnp.broadcast_to(x, x.shape), lambda x: fnp.linalg.matrix_power(x, 1), lambda x: fnp.roll(x, 0),
        lambda x: fnp.squeeze(x), lambda x: fnp.moveaxis(x, 0, 0), lambda x: fnp.tile(x, 1), lambda x: x.sum(()),
    ],
)  # fmt: skip
def test_functions_that_have_nothing_to_do_give_arrays_of_their_own(f: Any) -> None:
    with fx.config.using(array_api=True):
        x = fnp.ones((2, 2))
        ys = [f(x) for _ in range(3)]
        x[0, 0] = 7
        assert [float(y[0, 0]) for y in ys] == [1.0] * 3 and float(x[0, 0]) == 7.0
