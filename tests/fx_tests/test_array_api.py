"""``fx.numpy`` is a namespace of the Python array API standard 2024.12 (the tables of ``array_api_standard``).

Signatures, dtype promotion and special cases are the standard's own tables; values are NumPy's, whose main namespace
conforms.  Elementwise functions are checked eagerly and compiled.
"""

from __future__ import annotations

import array
import functools
import inspect
import itertools
import math
import operator
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_standard as standard
import numpy as np
import pytest
from array_api_standard import COMPLEX, DTYPES, FLOATING, KINDS, OPERANDS, SIGNATURES, SIGNED, UNSIGNED

import fx
import fx.numpy as fnp

inf, nan, pi = math.inf, math.nan, math.pi

# ---------------------------------------------------------------------------------------- signatures


def _accepts(f: Callable[..., Any], signature: str) -> list[str]:
    """What is wrong with a function's parameters, compared with the standard's."""
    wanted = inspect.signature(eval(f"lambda {signature}: None"))
    ours = list(inspect.signature(f).parameters.values())
    wrong = []
    for i, p in enumerate(wanted.parameters.values()):
        if p.kind == p.VAR_POSITIONAL:
            wrong += [] if any(q.kind == q.VAR_POSITIONAL for q in ours) else [f"*{p.name}"]
            continue
        if p.kind != p.KEYWORD_ONLY and not (
            i < len(ours) and ours[i].kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)
        ):
            wrong.append(f"{p.name} cannot be given by position")
        if p.kind == p.POSITIONAL_ONLY:
            continue
        same = [q for q in ours if q.name == p.name and q.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if not same:
            wrong.append(f"{p.name} cannot be given by keyword")
        elif p.default is not p.empty and same[0].default != p.default and not _means(same[0], p):
            wrong.append(f"{p.name} is {same[0].default!r} by default, not {p.default!r}")
    return wrong


def _means(ours: inspect.Parameter, theirs: inspect.Parameter) -> bool:
    """Defaults that say the same in other words."""
    same = {("step", 1, None), ("correction", 0.0, None), ("norm", "backward", None)}
    return (ours.name, theirs.default, ours.default) in same


@pytest.mark.parametrize(("space", "table"), [("", SIGNATURES), ("linalg", standard.LINALG), ("fft", standard.FFT)])
def test_signatures(space: str, table: dict[str, str]) -> None:
    module = getattr(fnp, space) if space else fnp
    wrong = {}
    for name, signature in table.items():
        f = getattr(module, name, None)
        if problems := ["absent"] if f is None else _accepts(f, signature):
            wrong[name] = problems
    assert wrong == {}


def test_constants_and_dtypes() -> None:
    for name in standard.CONSTANTS:
        want = {"newaxis": None, "e": math.e}.get(name, getattr(math, name, None))
        got = getattr(fnp, name)
        assert got is want or got == want or (name == "nan" and got != got)
    for name in DTYPES:
        assert fnp.asarray([1]).astype(getattr(fnp, name)).dtype == getattr(fnp, name)
    assert fnp.__array_api_version__ == "2024.12"


_OF_MEMORY = ("__dlpack__", "__dlpack_device__")  # a traced array has none


def test_array_object() -> None:
    def check(x: Any) -> Any:
        for name in (*standard.ATTRIBUTES, *standard.METHODS):
            assert hasattr(x, name) or (name in _OF_MEMORY and type(x) is not fx.Array), name
        for name in (*standard.OPERATORS, *standard.COMPARISONS):
            assert hasattr(x, f"__{name}__")
            assert name in standard.COMPARISONS or hasattr(x, f"__r{name}__")
        assert x.__array_namespace__() is fnp and x.__array_namespace__(api_version="2024.12") is fnp
        assert x.to_device(x.device) is x and x.to_device(x.device, stream=None) is x
        with pytest.raises(ValueError, match="one device"):
            x.to_device("gpu")
        return x

    check(fnp.ones((2, 3)))
    with fx.config.using(backend="reference"):
        fx.jit(check)(fnp.ones((2, 3)))
    x = fnp.arange(6, dtype=fnp.float64)
    assert np.shares_memory(np.from_dlpack(x), np.asarray(x)) and x.__dlpack_device__() == (1, 0)
    np.testing.assert_array_equal(fnp.from_dlpack(np.arange(3.0), device="cpu", copy=True), np.arange(3.0))
    assert x.mT is not None if x.ndim > 1 else x.size == 6


def test_what_asarray_takes() -> None:
    class Exporter:
        def __init__(self, x: np.ndarray) -> None:
            self.x = x

        def __dlpack__(self, **options: Any) -> Any:
            return self.x.__dlpack__(**options)

        def __dlpack_device__(self) -> tuple[int, int]:
            return self.x.__dlpack_device__()

    x = np.arange(4, dtype=np.float64)
    for source in (x, x.tolist(), memoryview(x), array.array("d", x), Exporter(x), fnp.asarray(x)):
        np.testing.assert_array_equal(fnp.asarray(source), x)
        np.testing.assert_array_equal(fnp.asarray(source, dtype=fnp.int16, copy=True), x)
    assert np.shares_memory(np.asarray(fnp.asarray(x, copy=False)), x)
    assert not np.shares_memory(np.asarray(fnp.asarray(x, copy=True)), x)
    for args in (([1.0],), (2,), (x, fnp.int8)):
        with pytest.raises(ValueError, match="without a copy"):
            fnp.asarray(*args, copy=False)


def test_devices() -> None:
    x = fnp.ones(2)
    makers = {
        "asarray": ([1],), "arange": (3,), "empty": (2,), "empty_like": (x,), "eye": (2,), "full": (2, 1), "full_like": (x, 1), "linspace": (0, 1, 3),
        "ones": (2,), "ones_like": (x,), "zeros": (2,), "zeros_like": (x,), "from_dlpack": (np.ones(2),), "astype": (x, fnp.int8),
    }  # fmt: skip
    assert {n for n, s in SIGNATURES.items() if "device" in s} == set(makers)
    for name, args in makers.items():
        assert getattr(fnp, name)(*args, device=x.device).device == "cpu"
        with pytest.raises(ValueError, match="there is one device"):
            getattr(fnp, name)(*args, device="gpu:3")


def test_inspection() -> None:
    info = fnp.__array_namespace_info__()
    assert set(info.capabilities()) == {"boolean indexing", "data-dependent shapes", "max dimensions"}
    assert info.default_device() in info.devices()
    d = info.default_dtypes(device="cpu")
    assert d == {
        "real floating": fnp.ones(1).dtype, "complex floating": fnp.asarray([1j]).dtype, "integral": fnp.asarray([1]).dtype,
        "indexing": fnp.argsort(fnp.ones(2)).dtype,
    }  # fmt: skip
    assert list(info.dtypes()) == [*DTYPES] and all(info.dtypes()[n] == getattr(fnp, n) for n in DTYPES)
    for kind, names in KINDS.items():
        assert tuple(info.dtypes(kind=kind)) == names or set(info.dtypes(kind=kind)) == set(names)
        for name in DTYPES:
            assert fnp.isdtype(getattr(fnp, name), kind) == (name in names)
    assert set(info.dtypes(kind=("bool", "real floating"))) == {"bool", *FLOATING}
    assert fnp.isdtype(fnp.int8, ("integral", fnp.float64)) and not fnp.isdtype(fnp.int8, fnp.int16)
    with pytest.raises(ValueError, match="kind"):
        info.dtypes(kind="quaternion")
    for d in (*FLOATING, *COMPLEX):
        ours, want = fnp.finfo(getattr(fnp, d)), np.finfo(d)
        assert (ours.bits, ours.dtype) == (want.bits, want.dtype)
        with fx.config.using(array_api=True):
            for name in ("eps", "max", "min", "smallest_normal"):
                assert type(getattr(ours, name)) is float and getattr(ours, name) == getattr(want, name)
    for d in (*SIGNED, *UNSIGNED):
        ours, want = fnp.iinfo(getattr(fnp, d)), np.iinfo(d)
        assert (ours.bits, ours.max, ours.min, ours.dtype) == (want.bits, want.max, want.min, want.dtype)


# ----------------------------------------------------------------------------------------- promotion

PAIRS = [(a, b) for a, b in itertools.product(DTYPES, DTYPES) if standard.promoted(a, b) is not None]


def _kind_of(result: str, d: str) -> str:
    return (
        d
        if result == "same"
        else result
        if result == "bool"
        else {"complex64": "float32", "complex128": "float64"}.get(d, d)
    )


def test_promotion_table() -> None:
    for a, b in PAIRS:
        want = standard.promoted(a, b)
        assert (
            fnp.result_type(getattr(fnp, a), getattr(fnp, b))
            == want
            == fnp.result_type(fnp.ones(2, dtype=a), getattr(fnp, b))
        )
        assert fnp.result_type(np.dtype(a), np.dtype(b)) == want == fnp.result_type(a, b)
        assert fnp.can_cast(np.dtype(a), getattr(fnp, b)) == (want == b) == fnp.can_cast(fnp.ones(2, dtype=a), b)


def _with_number(a: str, kind: str) -> str:
    """The dtype of an operation on an array of dtype ``a`` and a Python number."""
    return {"float32": "complex64", "float64": "complex128"}.get(a, a) if kind == "complex" else a


@pytest.mark.parametrize("kind", standard.NUMBERS)
def test_python_numbers_beside_arrays(kind: str) -> None:
    """Every function and operator that takes numbers: the dtype, eagerly and traced, and the value of a 0-d array of it."""
    number, names = {"bool": True, "int": 2, "float": 2.5, "complex": 2j}[kind], standard.NUMBERS[kind]
    symbols = {g: op for op, g in (standard.OPERATORS | standard.COMPARISONS).items()}
    for name, a in itertools.product(names, standard.TAKES_NUMBER[kind]):
        if a not in OPERANDS[name][0]:
            continue
        d = _with_number(a, kind)
        want, f = _kind_of(OPERANDS[name][1], d), getattr(fnp, name)
        x, scalar = fnp.asarray([1, 0, 1]).astype(a), fnp.asarray(number, dtype=d)
        assert fnp.result_type(x, number) == fnp.result_type(number, x.dtype) == d
        got = [(f(x, number), f(x, scalar)), (f(number, x), f(scalar, x))]
        if name in symbols:
            op = getattr(operator, f"__{symbols[name]}__")
            got += [(op(x, number), f(x, scalar)), (op(number, x), f(scalar, x))]
        for value, expected in got:
            assert value.dtype == want, (name, a, value.dtype)
            np.testing.assert_array_equal(value, expected)
        traced = fx.eval_shape(lambda v: (f(v, number), f(number, v)), x)
        assert [t.dtype for t in traced] == [want, want], (name, a)
        if name in symbols and symbols[name] in standard.OPERATORS:
            assert getattr(operator, f"__i{symbols[name]}__")(x, number).dtype == want


def test_python_numbers_in_where_and_clip() -> None:
    c = fnp.asarray([True, False])
    for kind, number in {"bool": True, "int": 2, "float": 2.5, "complex": 2j}.items():
        for a in standard.TAKES_NUMBER[kind]:
            x, d = fnp.ones((2,), dtype=a), _with_number(a, kind)
            for call, want in (
                (lambda v: fnp.where(c, number, v), [number, 1]),
                (lambda v: fnp.where(c, v, number), [1, number]),
            ):
                assert call(x).dtype == fx.eval_shape(call, x).dtype == d, (kind, a)
                np.testing.assert_array_equal(call(x), np.array(want, d))
            if kind in ("int", "float") and a not in COMPLEX:
                call = lambda v: fnp.clip(v, number, max=number)
                assert call(x).dtype == fx.eval_shape(call, x).dtype == a
                np.testing.assert_array_equal(call(x), np.full(2, number, a))


@pytest.mark.parametrize(("real", "integral"), [("float32", "int32"), ("float64", "int64")])
def test_default_dtypes_are_what_functions_give(real: str, integral: str) -> None:
    """Of new arrays, indices and counts; and small integers are added up in the default integer, or its unsigned twin."""
    with fx.config.using(default_float=real, default_int=integral):
        defaults = fnp.__array_namespace_info__().default_dtypes()
        x, m = fnp.asarray([3.0, 1.0, 2.0]), fnp.eye(2)
        made = {
            "real floating": [fnp.zeros(2), fnp.ones(2), fnp.empty(2), m, fnp.full(2, 1.0), fnp.linspace(0, 1, 3), fnp.arange(2.0), x,
                              fnp.arange(0, 2, 0.5), fnp.fft.fftfreq(3), fnp.fft.rfftfreq(3), fnp.asarray([1, 1.0, True])],
            "complex floating": [fnp.asarray(1j), fnp.full(2, 1j), fnp.linspace(0, 1j, 3), fnp.asarray([1, 1.0, 1j, True])],
            "integral": [fnp.arange(3), fnp.asarray(1), fnp.asarray([True, 2]), fnp.full(2, 1), fnp.linalg.matrix_rank(m), fnp.linalg.matrix_rank(m[:0, None])],
            "indexing": [fnp.argmax(x), fnp.argmin(x, axis=0), fnp.argsort(x), fnp.count_nonzero(x), fnp.searchsorted(x, x), *fnp.nonzero(x),
                         *fnp.unique_all(x)[1:], fnp.unique_counts(x).counts, fnp.unique_inverse(x).inverse_indices],
        }  # fmt: skip
        for kind, arrays in made.items():
            assert {a.dtype for a in arrays} == {defaults[kind]}, kind
        assert fnp.full(2, True).dtype == fnp.asarray([True]).dtype == "bool"
        sums: dict[str, Callable[[Any], Any]] = {
            "sum": fnp.sum, "prod": fnp.prod, "cumulative_sum": lambda v: fnp.cumulative_sum(v, axis=0),
            "cumulative_prod": lambda v: fnp.cumulative_prod(v, axis=-1, include_initial=True), "trace": fnp.linalg.trace,
        }  # fmt: skip
        for name, d in itertools.product(sums, KINDS["numeric"]):
            wide = integral if d in SIGNED else f"u{integral}" if d in UNSIGNED else d
            want = wide if np.dtype(wide).itemsize > np.dtype(d).itemsize else d
            v = fnp.ones((2, 2), dtype=d)
            assert sums[name](v).dtype == fx.eval_shape(sums[name], v).dtype == want, (name, d)
        for d in KINDS["numeric"]:
            options = [dict(dtype=getattr(fnp, d)), dict(dtype=getattr(fnp, d), axis=0)]
            for name, option in itertools.product(("sum", "prod", "cumulative_sum", "cumulative_prod"), options):
                if option.get("axis") is None and name.startswith("cumulative"):
                    continue
                assert getattr(fnp, name)(fnp.ones((2, 2), dtype=fnp.int8), **option).dtype == d


@pytest.mark.parametrize("name", OPERANDS)
def test_dtypes_of_elementwise_functions(name: str) -> None:
    """Eagerly and traced; operators too, reflected and in place."""
    allowed, result = OPERANDS[name]
    f = getattr(fnp, name)
    if "x2" not in SIGNATURES[name]:
        for d in allowed:
            assert f(fnp.ones((2,), dtype=d)).dtype == _kind_of(result, d), d
            assert fx.eval_shape(f, fx.ShapeDtypeStruct((2,), np.dtype(d))).dtype == _kind_of(result, d)
        return
    symbol = next((op for op, g in (standard.OPERATORS | standard.COMPARISONS).items() if g == name), None)
    op = None if symbol is None else getattr(operator, f"__{symbol}__")
    for a, b in PAIRS:
        if a not in allowed or b not in allowed:
            continue
        want = _kind_of(result, str(standard.promoted(a, b)))
        x, y = fnp.ones((2,), dtype=a), fnp.ones((2,), dtype=b)
        assert f(x, y).dtype == want, (a, b)
        assert fx.eval_shape(f, *[fx.ShapeDtypeStruct((2,), np.dtype(d)) for d in (a, b)]).dtype == want
        if op is not None:
            assert op(x, y).dtype == want
            assert getattr(x, f"__{symbol}__")(y).dtype == want
        if op is not None and symbol in standard.OPERATORS:
            assert getattr(y, f"__r{symbol}__")(x).dtype == want
            before = x
            x = getattr(operator, f"__i{symbol}__")(x, y)
            assert x.dtype == want and x is not before


# -------------------------------------------------------------------------------------------- values
# calls in the standard's own forms, on a matrix x, a vector v and a matrix of indices i; and the dtypes that they take

ANY, NUMERIC = DTYPES, KINDS["numeric"]
REAL, INEXACT, INTEGRAL = SIGNED + UNSIGNED + FLOATING, FLOATING + COMPLEX, SIGNED + UNSIGNED
Call = Callable[[Any, Any, Any, Any], Any]
CALLS: list[tuple[str, tuple[str, ...], Call]] = [
    ("arange", REAL, lambda xp, x, v, i: xp.arange(1, 7, step=2, dtype=x.dtype)),
    ("asarray", ANY, lambda xp, x, v, i: (xp.asarray(x, copy=True), xp.asarray([[True, False]], dtype=x.dtype))),
    ("empty", ANY, lambda xp, x, v, i: xp.empty((0, 2), dtype=x.dtype)),
    ("empty_like", ANY, lambda xp, x, v, i: xp.empty_like(x)[:0]),
    ("eye", ANY, lambda xp, x, v, i: (xp.eye(3, 4, k=1, dtype=x.dtype), xp.eye(2, dtype=x.dtype))),
    ("full", ANY, lambda xp, x, v, i: xp.full((2,), 1, dtype=x.dtype)),
    ("full_like", ANY, lambda xp, x, v, i: xp.full_like(x, 1)),
    ("linspace", INEXACT, lambda xp, x, v, i: xp.linspace(0, 3, num=5, dtype=x.dtype, endpoint=False)),
    ("meshgrid", NUMERIC, lambda xp, x, v, i: xp.meshgrid(v, v[:2], indexing="ij")),
    ("ones", ANY, lambda xp, x, v, i: (xp.ones((2, 1), dtype=x.dtype), xp.ones_like(x), xp.zeros(3, dtype=x.dtype), xp.zeros_like(x))),
    ("tril", ANY, lambda xp, x, v, i: (xp.tril(x, k=-1), xp.triu(x, k=1))),
    ("astype", NUMERIC, lambda xp, x, v, i: xp.astype(x != 0, x.dtype)),
    ("clip", REAL, lambda xp, x, v, i: (xp.clip(x, 1, 2), xp.clip(x, min=2), xp.clip(x, max=v[0]), xp.clip(x, v, None))),
    ("take", ANY, lambda xp, x, v, i: (xp.take(x, i[0], axis=1), xp.take(v, i[0], axis=0))),
    ("take_along_axis", ANY, lambda xp, x, v, i: (xp.take_along_axis(x, i), xp.take_along_axis(x, i[:, :1], axis=1))),
    ("matmul", NUMERIC, lambda xp, x, v, i: (xp.matmul(x, x.T), x @ v, v @ v, xp.matmul(x[None], x.mT))),
    ("tensordot", NUMERIC, lambda xp, x, v, i: (xp.tensordot(x, x, axes=((1,), (1,))), xp.tensordot(v, v, axes=0))),
    ("vecdot", NUMERIC, lambda xp, x, v, i: (xp.vecdot(x, v), xp.vecdot(x, x, axis=-1))),
    ("matrix_transpose", ANY, lambda xp, x, v, i: (xp.matrix_transpose(x), x.mT, x.T)),
    ("broadcast_arrays", ANY, lambda xp, x, v, i: (*xp.broadcast_arrays(x, v), xp.broadcast_to(v, (2, 3)))),
    ("concat", ANY, lambda xp, x, v, i: (xp.concat((x, x), axis=-1), xp.concat([x, v], axis=None), xp.stack([v, v], axis=-1))),
    ("expand_dims", ANY, lambda xp, x, v, i: (xp.expand_dims(x, axis=-1), xp.squeeze(x[:1], axis=0), xp.squeeze(x[:1, :1], (0, 1)))),
    ("flip", ANY, lambda xp, x, v, i: (xp.flip(x), xp.flip(x, axis=-1), xp.roll(x, 1), xp.roll(x, (1, -2), axis=(0, 1)), xp.roll(x, 1, axis=-1))),
    ("moveaxis", ANY, lambda xp, x, v, i: (xp.moveaxis(x, 0, -1), xp.permute_dims(x, (1, 0)), xp.reshape(x, (3, -1), copy=True))),
    ("repeat", ANY, lambda xp, x, v, i: (xp.repeat(x, 2), xp.repeat(x, 2, axis=1), xp.tile(x, (2, 1, 2)), xp.tile(v, (2,)))),
    ("unstack", ANY, lambda xp, x, v, i: (*xp.unstack(x), *xp.unstack(x, axis=-1))),
    ("argmax", REAL, lambda xp, x, v, i: (xp.argmax(x), xp.argmax(x, axis=1), xp.argmin(x, axis=0, keepdims=True), xp.argmin(x, keepdims=True))),
    ("count_nonzero", ANY, lambda xp, x, v, i: (xp.count_nonzero(x), xp.count_nonzero(x, axis=1), xp.count_nonzero(x, axis=(0, 1), keepdims=True))),
    ("searchsorted", REAL, lambda xp, x, v, i: (xp.searchsorted(xp.sort(v), x), xp.searchsorted(v, x, side="right", sorter=xp.argsort(v)))),
    ("where", ANY, lambda xp, x, v, i: (xp.where(x != 0, x, v), xp.where(v == v, x, xp.zeros_like(x)))),
    ("argsort", REAL, lambda xp, x, v, i: (xp.argsort(x, stable=True), xp.argsort(x, axis=0, stable=True))),
    ("sort", REAL, lambda xp, x, v, i: (xp.sort(x), xp.sort(x, axis=0, stable=True))),
    ("cumulative_sum", NUMERIC, lambda xp, x, v, i: (xp.cumulative_sum(v), xp.cumulative_sum(x, axis=1, include_initial=True))),
    ("cumulative_prod", NUMERIC, lambda xp, x, v, i: (xp.cumulative_prod(v, dtype=x.dtype), xp.cumulative_prod(x, axis=0, include_initial=True))),
    ("max", REAL, lambda xp, x, v, i: (xp.max(x), xp.max(x, axis=(0, 1)), xp.min(x, axis=-1, keepdims=True))),
    ("mean", INEXACT, lambda xp, x, v, i: (xp.mean(x), xp.mean(x, axis=0, keepdims=True))),
    ("std", FLOATING, lambda xp, x, v, i: (xp.std(x), xp.std(x, axis=0, correction=0.5), xp.var(x, axis=1, correction=1, keepdims=True))),
    ("sum", NUMERIC, lambda xp, x, v, i: (xp.sum(x), xp.sum(x, axis=(0, 1), keepdims=True), xp.sum(x, axis=0, dtype=x.dtype), xp.sum(x[:0], axis=0))),
    ("prod", NUMERIC, lambda xp, x, v, i: (xp.prod(x), xp.prod(x, axis=-1, keepdims=True), xp.prod(x, axis=0, dtype=x.dtype), xp.prod(x[:0]))),
    ("all", ANY, lambda xp, x, v, i: (xp.all(x), xp.any(x, axis=(0, 1)), xp.all(x, axis=0, keepdims=True), xp.any(x[:0], axis=0), xp.all(x[:0]))),
    ("diff", NUMERIC, lambda xp, x, v, i: (xp.diff(x), xp.diff(x, n=2, axis=-1), xp.diff(x, axis=0, prepend=x[:1], append=x[:2]))),
    ("indexing", ANY, lambda xp, x, v, i: (x[0], x[..., ::-2], x[None, :, -1], x[1, 2], v[i[0]], x[i[:, 0], i[:, 1]], x[1:1], v[()])),
    ("add", NUMERIC, lambda xp, x, v, i: (x + v, x - v, x * v, 2 + x, x - 1, 3 * x, -x, +x, abs(x), x**2, xp.square(x), x == v, x != 1)),
    ("floor_divide", REAL, lambda xp, x, v, i: (x // (v + 1), x % (v + 1), 7 // (v + 1), 7 % (v + 1), xp.floor(x), xp.sign(x), xp.round(x))),
    ("divide", INEXACT, lambda xp, x, v, i: (x / (v + 1), 1 / (v + 1), xp.reciprocal(v + 1), xp.exp(x), xp.sqrt(x), xp.log1p(x), xp.tanh(x))),
    ("less", REAL, lambda xp, x, v, i: (x < v, x <= 1, 2 > x, x >= v, xp.maximum(x, v), xp.minimum(1, x))),
    ("bitwise_and", INTEGRAL, lambda xp, x, v, i: (x & v, x | v, x ^ 1, ~x, x << 1, x >> 1, 6 & v, 1 << v, xp.bitwise_left_shift(x, 2))),
    ("logical_and", ("bool",), lambda xp, x, v, i: (x & v, x | v, x ^ True, ~x, xp.logical_and(x, v), xp.logical_not(x), xp.logical_xor(x, v))),
    ("atan2", FLOATING, lambda xp, x, v, i: (xp.atan2(x, v), xp.copysign(x, -1.0), xp.hypot(3.0, x), xp.logaddexp(x, v), xp.nextafter(x, 9.0))),
    ("real", COMPLEX, lambda xp, x, v, i: (xp.real(x), xp.imag(x), xp.conj(x), xp.abs(x), xp.sign(v + 1))),
    ("linalg", INEXACT, lambda xp, x, v, i: (xp.linalg.cross(x, x[::-1]), xp.linalg.diagonal(x, offset=1), xp.linalg.outer(v, v), xp.linalg.trace(x, offset=-1))),
    ("norm", INEXACT, lambda xp, x, v, i: (xp.linalg.vector_norm(x, axis=1, keepdims=True, ord=1), xp.linalg.matrix_norm(x), xp.linalg.matrix_power(x[:, :2], 3))),
]  # fmt: skip
# of values: never traced
DATA_DEPENDENT: list[tuple[str, tuple[str, ...], Call]] = [
    ("nonzero", ANY, lambda xp, x, v, i: (*xp.nonzero(x), *xp.nonzero(v))),
    ("unique_all", REAL, lambda xp, x, v, i: (*xp.unique_all(x),)),
    ("unique_counts", REAL, lambda xp, x, v, i: (*xp.unique_counts(x), *xp.unique_inverse(x))),
    ("unique_values", ANY, lambda xp, x, v, i: xp.sort(xp.unique_values(x))),
    ("masks", ANY, lambda xp, x, v, i: (x[x != 0], x[x == 0], x[:, v == v[0]])),
    ("repeats", ANY, lambda xp, x, v, i: (xp.repeat(v, i[0]), xp.repeat(x, i[0], axis=1))),
    ("scalars", NUMERIC, lambda xp, x, v, i: (bool(x[0, 1]), complex(x[0, 1]), x.shape, x.ndim, x.size)),
]  # fmt: skip


def _operands(d: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    x, v = (rng.integers(0, 4, shape) for shape in ((2, 3), (3,)))
    if d in COMPLEX:
        x, v = (u + 1j * rng.integers(0, 3, u.shape) for u in (x, v))
    return x.astype(d), v.astype(d), np.array([[0, 2, 1], [1, 0, 1]])


def _same(got: Any, want: Any, d: str) -> None:
    got, want = (list(v) if isinstance(v, (tuple, list)) else [v] for v in (got, want))
    assert len(got) == len(want)
    for k, (g, w) in enumerate(zip(got, want)):
        if not hasattr(w, "dtype"):
            assert g == w
            continue
        assert (g.dtype, g.shape) == (w.dtype, w.shape), k
        np.testing.assert_allclose(
            np.asarray(g), w, rtol=1e-5 if d in ("float32", "complex64") else 1e-12, err_msg=str(k)
        )


@pytest.mark.parametrize(("name", "dtypes", "call"), CALLS + DATA_DEPENDENT, ids=[c[0] for c in CALLS + DATA_DEPENDENT])
def test_values(name: str, dtypes: tuple[str, ...], call: Call) -> None:
    """NumPy's values and dtypes, where new arrays have 64 bits as NumPy's; the same traced."""
    with fx.config.using(default_float="float64", default_int="int64", backend="reference"), np.errstate(all="ignore"):
        for d in dtypes:
            operands = _operands(d)
            want = call(np, *operands)
            got = call(fnp, *map(fnp.asarray, operands))
            _same(got, want, d)
            if (name, dtypes, call) in CALLS:
                _same(fx.jit(lambda *a: call(fnp, *a))(*operands), got, d)


def test_linear_algebra() -> None:
    """The results of factorisations are named, and make the matrix again."""
    rng = np.random.default_rng(0)
    for d in INEXACT:
        a, v = rng.normal(size=(3, 3)).astype(d), rng.normal(size=(3, 2)).astype(d)
        h = (a @ a.conj().T + np.eye(3)).astype(d)
        x, y = fnp.asarray(a), fnp.asarray(v)
        s = fnp.asarray(h)
        tol = 1e-4 if d in ("float32", "complex64") else 1e-10
        close = functools.partial(np.testing.assert_allclose, rtol=tol, atol=tol)
        for name, args in {
            "det": (a,), "inv": (a,), "solve": (a, v), "eigvalsh": (h,), "svdvals": (a,), "matrix_rank": (a,), "pinv": (a[:2],),
        }.items():  # fmt: skip
            got, want = getattr(fnp.linalg, name)(*map(fnp.asarray, args)), getattr(np.linalg, name)(*args)
            close(got, want)
            assert name == "matrix_rank" or got.dtype == want.dtype
        low, up = fnp.linalg.cholesky(s), fnp.linalg.cholesky(s, upper=True)
        close(low @ fnp.conj(low).mT, h)
        close(fnp.conj(up).mT @ up, h)
        e, q, u, z = fnp.linalg.eigh(s), fnp.linalg.qr(y), fnp.linalg.svd(y, full_matrices=False), fnp.linalg.slogdet(x)
        close(e.eigenvectors * e.eigenvalues @ fnp.conj(e.eigenvectors).mT, h)
        close(q.Q @ q.R, v)
        close(u.U * u.S @ u.Vh, v)
        close(z.sign * fnp.exp(z.logabsdet), np.linalg.det(a))
        assert e.eigenvalues.dtype == u.S.dtype == z.logabsdet.dtype == a.real.dtype


def test_fourier_transforms() -> None:
    rng = np.random.default_rng(0)
    for d in INEXACT:
        x = rng.normal(size=(3, 4)).astype(d)
        z = (x + 1j * rng.normal(size=x.shape)).astype(np.result_type(d, "complex64"))
        tol = 1e-5 if d in ("float32", "complex64") else 1e-12
        for name in standard.FFT:
            if name.endswith("freq"):
                got = getattr(fnp.fft, name)(5, d=0.5, dtype=getattr(fnp, z.real.dtype.name), device="cpu")
                np.testing.assert_allclose(got, getattr(np.fft, name)(5, d=0.5), rtol=1e-6)
                assert got.dtype == z.real.dtype
                continue
            operand = x.real if name.startswith(("rfft", "ihfft")) else z
            options: list[dict[str, Any]] = (
                [{"axes": 0}] if name.endswith("shift") else [{"axes": (0, 1), "norm": "ortho"}]
            )
            options = options if name.endswith(("n", "shift")) else [{"axis": 0}, {"n": 6, "norm": "forward"}]
            for option in [{}, *options]:
                got, want = (
                    getattr(fnp.fft, name)(fnp.asarray(operand), **option),
                    getattr(np.fft, name)(operand, **option),
                )
                np.testing.assert_allclose(got, want, rtol=tol, atol=tol, err_msg=name)
                assert got.dtype == want.dtype, (name, d)


def test_every_function_is_called() -> None:
    """... by one of the tables of this file, or has a test of its own."""
    called = Path(__file__).read_text()
    special = {*OPERANDS, *standard.SPECIAL_UNARY, *standard.SPECIAL_BINARY}
    for name in SIGNATURES:
        assert name in special or f"xp.{name}(" in called or f"fnp.{name}(" in called, name


def test_sorting_is_stable() -> None:
    """Equal elements keep their order, falling too; -0.0 and 0.0 are equal."""
    x = np.array([[3, 1, 2, 1, 3, 1], [0, 0, 1, 1, 0, 1]])
    for d in ("int8", "uint64", "float32", "float64"):
        a = fnp.asarray(x.astype(d))
        for axis in (0, 1):
            want = np.argsort(x, axis=axis, stable=True)
            falling = np.argsort(-x, axis=axis, stable=True)
            np.testing.assert_array_equal(fnp.argsort(a, axis=axis), want)
            np.testing.assert_array_equal(fnp.argsort(a, axis=axis, descending=True), falling)
            np.testing.assert_array_equal(
                fnp.sort(a, axis=axis, descending=True), np.take_along_axis(x, falling, axis).astype(d)
            )
    np.testing.assert_array_equal(fnp.argsort(fnp.asarray([0.0, -0.0, 0.0, -0.0])), [0, 1, 2, 3])
    np.testing.assert_array_equal(fnp.argsort(fnp.asarray([0.0, -0.0, 0.0, -0.0]), descending=True), [0, 1, 2, 3])


def test_unique_of_special_values() -> None:
    """Every NaN is distinct; zeros of both signs are one."""
    x = fnp.asarray([nan, 0.0, -0.0, nan, 1.0])
    values, counts = fnp.unique_counts(x)
    assert values.shape == (4,) and sorted(counts.tolist()) == [1, 1, 1, 2]
    assert fnp.unique_values(x).shape == fnp.unique_inverse(x).values.shape == fnp.unique_all(x).indices.shape == (4,)
    assert fnp.unique_all(x).inverse_indices.shape == (5,)
    z = fnp.asarray([complex(nan, 1), complex(nan, 1), 1j])
    assert fnp.unique_values(z).shape == (3,)


def test_scipy_and_scikit_learn_take_our_arrays() -> None:
    pytest.importorskip("scipy", minversion="1.15")
    pytest.importorskip("sklearn", minversion="1.7")
    program = Path(__file__).with_name("array_api_consumers.py")
    paths = [str(Path(fx.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 20
