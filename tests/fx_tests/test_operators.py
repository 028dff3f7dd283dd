"""Operators and indices of known arrays in native code: the same as in Python, and as NumPy's.

``python`` are the functions that operators are until native code takes over, and that it hands over to.
"""

from __future__ import annotations

import contextlib
import gc
import operator
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fx
import fx.numpy as fnp
from fx.array import Array
from fx.config import ALERT
from fx.numpy import methods, ufunc_class, ufunc_quick

ufunc_quick.go_native()

IN_NATIVE_CODE = {
    name
    for name in methods._BINARY | methods._COMPARE
    if type(Array.__dict__[f"__{name}__"]) is type(np.ndarray.__add__)
}
BINARY = {
    name: getattr(operator, f"{name}_" if name in ("and", "or") else name)
    for name in methods._BINARY
    if name in IN_NATIVE_CODE
}
COMPARE = {name: getattr(operator, name) for name in methods._COMPARE}
UNARY = {name: getattr(operator, name) for name in methods._UNARY}
PYTHON: dict[str, Callable[..., Any]] = {
    **{name: methods._binary(f) for name, f in (methods._BINARY | methods._COMPARE).items()},
    **{name: methods._unary(f) for name, f in methods._UNARY.items()},
}

X = np.float32([0.25, -0.5, 3.0])
ARRAYS: dict[str, Any] = {
    "f4": fnp.asarray(X),
    "f8": fnp.asarray(np.float64([0.1, 2.0, -7.0])),
    "f2": fnp.asarray(np.float16([0.5, 2.0, 3.0])),
    "i4": fnp.asarray(np.int32([3, -1, 2**31 - 1])),
    "i1": fnp.asarray(np.int8([3, -1, 127])),
    "u1": fnp.asarray(np.uint8([3, 0, 255])),
    "bool": fnp.asarray([True, False, True]),
    "c8": fnp.asarray(np.complex64([1 + 2j, -0.5j, 3.0])),
    "0-d": fnp.asarray(np.float32(1.5)),
    "weak": fnp.asarray(2.5),
    "weak int": fnp.asarray(3),
    "empty": fnp.zeros((0, 3), np.float32),
    "matrix": fnp.asarray(np.arange(9.0, dtype=np.float32).reshape(3, 3)),
    "transposed": Array(np.arange(6, dtype=np.int32).reshape(3, 2).T),
    "reversed": Array(np.arange(6.0)[::-2]),
    "special": fnp.asarray(np.float32([np.nan, np.inf, -0.0])),
}
OTHERS: dict[str, Any] = {
    "int": 3, "negative": -2, "zero": 0, "large": 2**31, "huge": 2**80, "float": 0.5, "nan": float("nan"), "beyond": 1e39,
    "true": True, "complex": 2j, "f4 number": np.float32(2.0), "i8 number": np.int64(3), "ndarray": np.float32([1.0, 2.0, 0.0]),
    "list": [1.0, 2.0, 3.0], "string": "x", "none": None, "object": object(),
}  # fmt: skip


def outcome(f: Callable[..., Any], *args: Any) -> Any:
    """What a call gives: a result, all of it, or the class and text of an error."""
    try:
        result = f(*args)
    except Exception as e:
        return type(e), str(e)
    if result is NotImplemented:
        return result
    value = np.asarray(result)
    return type(result), value.dtype, value.shape, value.tobytes(), getattr(result, "weak_type", None)


@pytest.mark.parametrize("name", [*BINARY, *COMPARE])
def test_binary_operators_are_those_in_python(name: str) -> None:
    native, python = BINARY.get(name) or COMPARE[name], PYTHON[name]
    for x in ARRAYS.values():
        for y in (x, *map(ARRAYS.__getitem__, ("f4", "i4", "0-d", "weak")), *OTHERS.values()):
            wanted = outcome(python, x, y)
            if wanted is not NotImplemented:
                assert outcome(native, x, y) == wanted, (x, y)
    for x in OTHERS.values():
        if not isinstance(x, (np.ndarray, np.generic)):  # NumPy's operators come first
            for y in map(ARRAYS.__getitem__, ("f4", "i4", "u1", "bool", "weak")):
                wanted = outcome(python, x, y)
                if wanted is not NotImplemented and name in BINARY:
                    assert outcome(native, x, y) == wanted, (x, y)


@pytest.mark.parametrize("name", UNARY)
def test_unary_operators_are_those_in_python(name: str) -> None:
    for x in ARRAYS.values():
        assert outcome(UNARY[name], x) == outcome(PYTHON[name], x)


def test_operators_are_numpy_s() -> None:
    assert {"add", "sub", "mul", "truediv", "lt", "eq", "and"} <= IN_NATIVE_CODE
    for name, f in (BINARY | COMPARE).items():
        for d in (np.float32, np.float64, np.int32, np.int64):
            x, y = np.array([3, 5, 8], d), np.array([2, 5, 3], d)
            if np.issubdtype(d, np.integer) or name not in ("and", "or", "xor", "lshift", "rshift"):
                for a, b in ((x, y), (x, 2), (2, y))[: 1 if name == "matmul" else 3]:
                    wanted = f(a, b)
                    found = f(*[fnp.asarray(v) if isinstance(v, np.ndarray) else v for v in (a, b)])
                    if wanted.dtype.kind != "f" or np.issubdtype(
                        d, np.floating
                    ):  # integers divided: the default float here
                        assert found.dtype == wanted.dtype
                    np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-6)


def test_what_is_no_operand() -> None:
    class Own:
        def __radd__(self, other: Any) -> str:
            return "mine"

        def __add__(self, other: Any) -> Any:
            return NotImplemented

        __gt__ = __radd__

    x = ARRAYS["f4"]
    assert x + Own() == (x < Own()) == "mine"
    for bad in (
        lambda: Own() + x,
        lambda: x + "a",
        lambda: "a" + x,
        lambda: x + None,
        lambda: x < None,
        lambda: x @ {},
    ):
        with pytest.raises(TypeError, match="unsupported operand|not supported between|can only concatenate"):
            bad()
    assert (x == None) is False and (x != "a") is True  # noqa: E711
    assert Array.__add__(x, "a") is NotImplemented
    np.testing.assert_array_equal(np.asarray(Array.__radd__(x, 1.0)), X + 1)
    with pytest.raises(TypeError):
        Array.__add__(1.0, x)


def test_subclasses() -> None:
    class Sub(Array):
        def __radd__(self, other: Any) -> str:
            return "reflected"

        def __getitem__(self, index: Any) -> str:
            return "mine"

    class Plain(Array):
        pass

    x, sub, plain = ARRAYS["f4"], Sub(X), Plain(X)
    assert x + sub == "reflected" and sub[0] == "mine"
    np.testing.assert_array_equal(np.asarray(sub - x), X - X)
    np.testing.assert_array_equal(np.asarray(plain * plain), X * X)
    assert float(plain[1]) == -0.5


def test_traced_operands() -> None:
    x = ARRAYS["f4"]
    np.testing.assert_array_equal(
        np.asarray(fx.jit(lambda t: (x + t) * x - 2.0 / t + x[1])(X)), (X + X) * X - 2 / X + X[1]
    )
    np.testing.assert_array_equal(np.asarray(fx.grad(lambda t: fnp.sum(x * t + (x < t) * t))(X)), X)
    assert str(fx.make_graph(lambda t: x * 2.0 + t)(X)).count("mul") == 1  # known operands are recorded as well
    with fx.debug_nans(), pytest.raises(fx.errors.NaNError):
        infinite = fnp.asarray([np.inf])
        infinite - infinite


def test_deleted_arrays() -> None:
    gone = fnp.ones(3)
    gone.delete()
    for use in (
        lambda: gone + 1.0,
        lambda: gone + gone,
        lambda: -gone,
        lambda: gone[0],
        lambda: gone[0, ...],
        lambda: gone < 1,
    ):
        with pytest.raises(fx.errors.DeletedArrayError):
            use()


INDICES: list[Any] = [
    0, 1, 2, -1, -3, 3, -4, 2**70, True, False, None, ..., slice(None), slice(1, None), slice(None, None, -1), slice(5, 1), slice(0, 3, 2),
    slice(None, None, 0), slice("a", None), (), (0,), (1, 1), (-1, slice(0, 2)), (None, 0), (..., 1), (0, ..., 0), (0, 0, 0, 0), (..., ...),
    (7, 0), (slice(None), None), (True, 0), np.int64(1), np.int64(9), np.array(1), np.array([0, 2]), np.array([0, 9]), [0, 1], (0, [1, 0]),
    fnp.asarray([1, 0]), fnp.asarray(1), np.array([True, False, True]), 1.0, "a", (0, 1.0), {}, (0, "a"),
]  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_indexing_is_that_in_python(name: str) -> None:
    x = ARRAYS[name]
    for index in INDICES:
        assert outcome(operator.getitem, x, index) == outcome(methods._array_getitem, x, index), index


def test_indexing_is_numpy_s() -> None:
    for d in (*fx.dtypes.SUPPORTED,):
        for a in (
            np.arange(6).astype(d),
            np.arange(12).astype(d)[::-2],
            np.arange(6).astype(d).reshape(2, 3),
            np.arange(6).astype(d)[3:],
        ):
            x = Array(a)
            for index in (0, 1, -1, -2, slice(1, None), slice(None, None, -1), (..., 0), (None, 1)):
                found = x[index]
                assert type(found) is Array and type(found._buffer) is np.ndarray and found.dtype == d
                assert np.asarray(found).tobytes() == a[index].tobytes() and found.shape == a[index].shape


def test_an_element_has_memory_of_its_own() -> None:
    a = np.float32([1.0, 2.0])
    x = Array(a)
    first = x[0]
    a[0] = 5.0
    assert float(first) == 1.0 and first._buffer.flags.owndata and not first._owned
    assert float(x[0]) == 5.0


@pytest.mark.parametrize("i", [3, -4, 2**70, (0, 0), "a", 1.5])
def test_an_index_that_is_wrong_says_so_in_the_caller_s_line(i: Any) -> None:
    with pytest.raises(Exception) as found:
        ARRAYS["f4"][i]
    assert found.traceback[-1].path == found.traceback[0].path
    assert outcome(operator.getitem, ARRAYS["f4"], i) == outcome(methods._array_getitem, ARRAYS["f4"], i)


def test_references_are_counted_right() -> None:
    a = np.float32([1.0, 2.0, 3.0])
    x, index, part, two, long = Array(a), 1, slice(1, None), (0, ...), 1000000
    objects = [a, x, a.dtype, part, two, long, Array, np.ndarray, None, True, False, ...]

    right = (
        lambda: x[index], lambda: x[part], lambda: x[two], lambda: x + x, lambda: x * 2.0, lambda: 2 - x, lambda: x < x, lambda: -x,
        lambda: x + long, lambda: operator.eq(x, None), lambda: fnp.exp(x), lambda: fnp.add(x, 1.0),
    )  # fmt: skip
    wrong = (lambda: x[5], lambda: x + "a", lambda: fnp.exp(x, x), lambda: fnp.exp(x, bad=1))

    def work(n: int) -> None:
        for _ in range(n):
            for use in right:
                use()
            for use in wrong:
                with contextlib.suppress(Exception):
                    use()

    work(20)
    gc.collect()
    before = [sys.getrefcount(o) for o in objects]
    work(200)
    gc.collect()
    after = [sys.getrefcount(o) for o in objects]
    assert all(abs(p - q) < 20 for p, q in zip(after, before)), (before, after)


def test_memory_is_given_back() -> None:
    x, m = Array(np.float32([1.0, 2.0, 3.0])), Array(np.ones((2, 2)))

    def work() -> None:
        for _ in range(2_000):
            x[1], m[0], x + x, x < 0.5

    work()
    tracemalloc.start()
    try:
        work()
        before = tracemalloc.get_traced_memory()[0]
        work()
        assert tracemalloc.get_traced_memory()[0] - before < 5_000
    finally:
        tracemalloc.stop()


def test_ufuncs_are_called_as_before() -> None:
    x = ARRAYS["f4"]
    for bad in (lambda: fnp.sin(), lambda: fnp.add(x), lambda: fnp.add(x, x, x), lambda: fnp.sin(x, y=1)):
        with pytest.raises(TypeError, match="takes|has no option"):
            bad()
    np.testing.assert_array_equal(np.asarray(fnp.add(x, 1.0, where=x > 0)), np.where(X > 0, X + 1, 0))
    assert fnp.sin(x, dtype=np.float64).dtype == np.float64
    twice = fnp.frompyfunc(lambda v: v + v, 1, 1)
    np.testing.assert_array_equal(np.asarray(twice(x)), X + X)
    np.testing.assert_array_equal(np.asarray(fnp.power(x, 2)), X * X)
    np.testing.assert_array_equal(np.asarray(np.sin(x)), np.sin(X))
    with pytest.raises(fx.errors.FxError) as found:
        fnp.add(x, fnp.ones(2))
    assert found.traceback[-1].path == found.traceback[0].path


SHORT: dict[str, Callable[[Any], Any]] = {
    "sum": fnp.sum, "sum of axis": lambda x: fnp.sum(x, axis=-1, keepdims=True), "prod": lambda x: fnp.prod(x, axis=0), "max": fnp.max,
    "min of axis": lambda x: fnp.min(x, axis=1), "wrong axis": lambda x: fnp.sum(x, axis=7), "mean": fnp.mean, "square": lambda x: x**2,
    "reshape": lambda x: x.reshape(-1), "as pairs": lambda x: fnp.reshape(x, (2, -1)), "wrong shape": lambda x: fnp.reshape(x, (5, 7)),
    "ravel": fnp.ravel, "T": lambda x: x.T, "transpose": fnp.transpose, "permuted": lambda x: fnp.transpose(x, (1, 0)),
    "twice": lambda x: fnp.transpose(x, (0, 0)), "swapaxes": lambda x: fnp.swapaxes(x, 0, -1), "expand": lambda x: fnp.expand_dims(x, 1),
    "squeeze": lambda x: fnp.squeeze(x[None]), "concatenate": lambda x: fnp.concatenate([x, x], 0), "beside": lambda x: fnp.concatenate((x, x), -1),
    "with ints": lambda x: fnp.concatenate([x, fnp.arange(2)]), "stack": lambda x: fnp.stack([x, x], 1), "ragged": lambda x: fnp.stack([x, x[:1]]),
    "matmul": lambda x: fnp.matmul(x, x), "@": lambda x: x @ x, "@ of others": lambda x: x @ x[:2], "dot": lambda x: fnp.dot(x, x.T),
    "where": lambda x: fnp.where(x > 0, x, x + x), "where number": lambda x: fnp.where(x > 0, x, 0), "where numbers": lambda x: fnp.where(x > 0, 1.0, x),
    "where of vector": lambda x: fnp.where(fnp.asarray([True, False, True]), x, 2.5), "asarray": fnp.asarray, "astype": lambda x: x.astype("f8"),
    "flip": fnp.flip, "flip of axis": lambda x: fnp.flip(x, -1), "roll": lambda x: fnp.roll(x, 1),
    "roll of axis": lambda x: fnp.roll(x, -2, 0), "repeat": lambda x: fnp.repeat(x, 2), "repeat of axis": lambda x: fnp.repeat(x, 3, 1),
    "clip": lambda x: fnp.clip(x, 0, 1.5), "argmax": fnp.argmax, "cumsum": fnp.cumsum,
}  # fmt: skip


@contextlib.contextmanager
def the_long_way() -> Iterator[None]:
    """Nothing is done at once while somebody may be looking."""
    ALERT.append("somebody")
    try:
        yield
    finally:
        ALERT.remove("somebody")


@pytest.mark.parametrize("name", SHORT)
def test_short_ways_are_the_long_way(name: str) -> None:
    for x in ARRAYS.values():
        short = outcome(SHORT[name], x)
        with the_long_way():
            long = outcome(SHORT[name], x)
        assert short == long, x


def test_new_arrays() -> None:
    for shape in (3, (2, 0), (), [2, 3]):
        for dtype in (None, "int8", np.complex64):
            found = fnp.zeros(shape, dtype)
            assert found.tolist() == np.zeros(shape).tolist() and found.dtype == np.dtype(dtype or np.float32)
    for args in ((3,), (2, 7), (5, 2), (-3,), (0,)):
        assert fnp.arange(*args).tolist() == np.arange(*args).tolist() and fnp.arange(*args).dtype == np.int32
    with fx.config.using(default_int="int64"):
        assert fnp.arange(3).dtype == np.int64


KNOWN = {
    u.__name__: u
    for u in ufunc_class.registered.values()
    if u.becomes is not None and isinstance(u.becomes[0], np.ufunc)
}  # of several primitives each; NumPy has one function for it


@pytest.mark.parametrize("name", KNOWN)
def test_a_function_of_numpy_is_what_the_primitives_are_together(name: str) -> None:
    u, values = KNOWN[name], [0.0, -0.0, 1.0, -1.0, 2.5, -7.0, 1e-3, 8.0, 1000.0, np.inf, -np.inf, np.nan]
    for d in u.becomes[1]:
        with np.errstate(all="ignore"):
            info = None if d.kind == "f" else np.iinfo(d)
            a = (
                np.array(values, d)
                if info is None
                else np.array([0, 1, 2, 7, 100, info.min, info.max, info.max - 1], d)
            )
        x, y = (Array(v.ravel()) for v in np.meshgrid(a, a))
        args = (x,) if u.nin == 1 else (x, y)
        found = u(*args)
        with the_long_way():
            wanted = u(*args)
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        p, q = np.asarray(found), np.asarray(wanted)
        if p.dtype.kind != "f":
            np.testing.assert_array_equal(p, q)
        else:
            np.testing.assert_allclose(p, q, rtol=4 * np.finfo(d).eps)
            np.testing.assert_array_equal(np.signbit(p[~np.isnan(p)]), np.signbit(q[~np.isnan(q)]))
