"""The ufuncs of ``fx.numpy``: values against NumPy, over dtypes, shapes and special numbers; their methods."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from numpy_harness import (
    DTYPES,
    FLOATS,
    NUMBERS,
    REALS,
    C,
    Case,
    check,
    check_derivative,
    close,
    dtype_of,
    each_function,
    make,
    same,
)

import fx
import fx.numpy as fnp
from fx.errors import DTypeError, ShapeError, TreeError, UnsupportedFunctionError

SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 1.5, np.inf, -np.inf, np.nan, 1e-30, 7.25])

# name -> dtypes, lower and upper bound of the arguments
UNARY: dict[str, tuple[tuple[str, ...], float, float]] = {
    **dict.fromkeys(("exp", "exp2", "expm1", "sin", "cos", "sinh", "cosh", "tanh", "arctan", "arcsinh"), (NUMBERS, -2, 2)),
    **dict.fromkeys(("log", "log2", "log10", "log1p", "sqrt"), (NUMBERS, 0.1, 3)),
    "tan": (NUMBERS, -1, 1), "arcsin": (NUMBERS, -1, 1), "arccos": (NUMBERS, -1, 1), "arccosh": (NUMBERS, 1, 3), "arctanh": (NUMBERS, -0.9, 0.9),
    "cbrt": (REALS, -3, 3), "sinc": (NUMBERS, -2, 2), "deg2rad": (REALS, -90, 90), "rad2deg": (REALS, -3, 3), "radians": (REALS, -90, 90),
    "degrees": (REALS, -3, 3), "fabs": (REALS, -3, 3), "rint": (NUMBERS, -3, 3), "i0": (REALS, -9, 9), "spacing": (("float32", "float64"), -3, 3),
    "negative": (NUMBERS, -3, 3), "positive": (NUMBERS, -3, 3), "absolute": (DTYPES, -3, 3), "abs": (DTYPES, -3, 3), "sign": (NUMBERS, -3, 3),
    "square": (NUMBERS, -3, 3), "floor": (REALS, -3, 3), "ceil": (REALS, -3, 3), "trunc": (REALS, -3, 3), "fix": (REALS, -3, 3),
    "conjugate": (NUMBERS, -3, 3), "conj": (NUMBERS, -3, 3), "real": (DTYPES, -3, 3), "imag": (DTYPES, -3, 3), "isfinite": (DTYPES, -3, 3),
    "isnan": (DTYPES, -3, 3), "isinf": (DTYPES, -3, 3), "signbit": (("bool", *REALS), -3, 3), "logical_not": (DTYPES, -3, 3),
    "invert": (("bool", "int8", "uint8", "int64"), -3, 3), "bitwise_count": (("int8", "uint8", "int64", "uint32"), -99, 99),
    "frexp": (FLOATS, -9, 9), "modf": (FLOATS, -9, 9), "nan_to_num": (DTYPES, -3, 3), "isreal": (DTYPES, -3, 3), "iscomplex": (DTYPES, -3, 3),
    "angle": (NUMBERS, -3, 3), "isposinf": (REALS, -3, 3), "isneginf": (REALS, -3, 3),
}  # fmt: skip


def _unary_cases() -> list[Any]:
    out = []
    for name, (names, lo, hi) in UNARY.items():
        for k, d in enumerate(names):
            shape = [(3,), (2, 3), (), (0, 2)][k % 4]
            x = make(d, shape, lo, hi)
            out.append(C(name, x, tol=2e-2 if d == "float16" else None))
    return out


@each_function(_unary_cases())
def test_unary(cases: list[Case]) -> None:
    for case in cases:
        check(case)


@pytest.mark.parametrize("name", [n for n, (names, _, _) in UNARY.items() if "float64" in names])
def test_unary_of_special_numbers(name: str) -> None:
    check(Case(name, (SPECIAL,)))
    check(Case(name, (SPECIAL.astype(np.float32),)))


SMOOTH_UNARY = (
    "exp exp2 expm1 sin cos sinh cosh tanh arctan arcsinh log log2 log10 log1p sqrt tan arcsin arccos arctanh cbrt sinc deg2rad rad2deg"
    " fabs i0 negative absolute square real conjugate reciprocal nan_to_num angle"
).split()


@pytest.mark.parametrize("name", SMOOTH_UNARY)
def test_derivatives_of_unary_functions(name: str) -> None:
    check_derivative(Case(name, (np.array([0.3, 0.7, 0.55]),)))


def test_derivatives_at_delicate_points() -> None:
    assert fx.grad(fnp.sinc)(0.0) == 0 and fx.grad(fx.grad(fnp.sinc))(0.0) == pytest.approx(-(np.pi**2) / 3, rel=1e-5)
    assert fx.grad(lambda x: x**2)(0.0) == 0 and fx.grad(lambda x: x**0)(0.0) == 0
    assert fx.grad(lambda x: fnp.hypot(x, 0.0))(0.0) == 0
    a, b = fx.grad(fnp.logaddexp, argnums=(0, 1))(1.0, 1.0)
    assert a == 0.5 and b == 0.5
    for x, y in [(0.0, 2.0), (-0.0, 2.0), (4.0, -2.0), (-3.0, 2.0), (5.0, 3.0)]:
        assert fx.grad(fnp.remainder)(x, y) == 1


# ------------------------------------------------------------------------------------------ binary

BINARY: dict[str, tuple[tuple[str, ...], float, float]] = {
    **dict.fromkeys(("add", "multiply", "equal", "not_equal", "maximum", "minimum", "fmax", "fmin"), (DTYPES, -3, 3)),
    **dict.fromkeys(("less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_xor"), (DTYPES, -3, 3)),
    **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor"), (("bool", "int8", "uint8", "int64", "uint32"), -3, 3)),
    **dict.fromkeys(("left_shift", "right_shift", "gcd", "lcm"), (("int8", "uint8", "int64", "uint32"), 0, 6)),
    "subtract": (NUMBERS, -3, 3), "divide": (NUMBERS, 0.5, 3), "true_divide": (NUMBERS, 0.5, 3), "floor_divide": (REALS, -9, 9),
    "remainder": (REALS, -9, 9), "mod": (REALS, -9, 9), "fmod": (REALS, -9, 9), "divmod": (REALS, -9, 9), "arctan2": (FLOATS, -3, 3),
    "hypot": (FLOATS, -3, 3), "copysign": (FLOATS, -3, 3), "logaddexp": (FLOATS, -3, 3), "logaddexp2": (FLOATS, -3, 3),
    "heaviside": (FLOATS, -3, 3), "nextafter": (("float32", "float64"), -3, 3), "power": (NUMBERS, 0, 3), "float_power": (("float64", "complex128"), 0.5, 3),
}  # fmt: skip


def _binary_cases() -> list[Any]:
    out = []
    shapes = [((3,), (3,)), ((2, 3), (3,)), ((), (2,)), ((2, 1), (1, 3)), ((0, 3), (1, 3))]
    for name, (names, lo, hi) in BINARY.items():
        for k, d in enumerate(names):
            a, b = shapes[k % 5]
            x, y = make(d, a, lo, hi), make(d, b, lo, hi, seed=5)
            if name in ("divide", "true_divide") and x.dtype.kind in "iu":
                y = np.maximum(y, np.ones((), y.dtype))
            if name in ("floor_divide", "remainder", "mod", "fmod", "divmod") and d in ("float16", "bfloat16"):
                x, y = np.round(x.astype(np.float32)).astype(x.dtype), np.full(y.shape, 2, y.dtype)
            if name == "subtract" and d == "bool":
                continue
            out.append(C(name, x, y, tol=2e-2 if d == "float16" else None))
    return out


@each_function(_binary_cases())
def test_binary(cases: list[Case]) -> None:
    for case in cases:
        check(case)


@pytest.mark.parametrize(
    "name", [n for n, (names, _, _) in BINARY.items() if "float64" in names and n != "float_power"]
)
def test_binary_of_special_numbers(name: str) -> None:
    x, y = np.meshgrid(SPECIAL, SPECIAL)
    if name == "power":
        x = np.abs(x)
    tol = 1e-12 if name not in ("logaddexp2",) else 1e-9
    check(Case(name, (x.ravel(), y.ravel()), vmap=False, tol=tol))


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
@pytest.mark.parametrize("d", ["int8", "uint8", "int32"])
def test_integers_divided_by_zero_give_zero_as_in_numpy(name: str, d: str) -> None:
    check(Case(name, (np.array([-7, 0, 7, 100]).astype(d), np.array([0, 0, 0, 3]).astype(d))))


SMOOTH_BINARY = (
    "add subtract multiply divide maximum minimum fmax fmin remainder fmod arctan2 hypot copysign logaddexp logaddexp2 power float_power"
).split()


@pytest.mark.parametrize("name", SMOOTH_BINARY)
def test_derivatives_of_binary_functions(name: str) -> None:
    check_derivative(Case(name, (np.array([[0.3, 2.7, 0.55]]), np.array([[0.8], [1.9]]))))


def test_ldexp_over_the_whole_range() -> None:
    for d, exponents in [
        ("float32", range(-300, 300, 7)),
        ("float64", range(-2200, 2200, 37)),
        ("float16", range(-40, 40, 3)),
    ]:
        n = np.array(list(exponents), np.int32)
        for m in (0.0, -0.75, 1.0, 3.1, np.inf, np.nan, float(np.finfo(d).tiny) / 4, float(np.finfo(d).max)):
            x = np.full(n.shape, m, d)
            with np.errstate(all="ignore"):
                np.testing.assert_array_equal(np.asarray(fnp.ldexp(x, n)), np.ldexp(x, n))
    check(Case("ldexp", (np.array([[1.5], [2.0]]), np.array([1, -2, 3]))))
    with pytest.raises(DTypeError, match="ldexp"):
        fnp.ldexp(np.ones(3), np.ones(3))


def test_integer_powers() -> None:
    for d in ("int8", "int32", "int64", "uint8", "uint64"):
        x, y = np.array([0, 1, 2, 3, 7]).astype(d), np.array([0, 5, 6, 4, 2]).astype(d)
        check(Case("power", (x, y)))
        for n in (0, 1, 2, 5):
            check(Case("power", (x, n)))
    np.testing.assert_array_equal(fnp.power(np.array([-1, 1, 2, 0]), np.array([-3, -2, -1, 4])), [-1, 1, 0, 0])
    with pytest.raises(DTypeError, match="Convert to a float dtype"):
        fnp.arange(3) ** -1
    close(fnp.array([2.0, 4.0]) ** -2, np.array([0.25, 0.0625]))
    close(2.0 ** fnp.arange(4), 2.0 ** np.arange(4))
    close(fnp.asarray([4.0, 9.0]) ** 0.5, np.array([2, 3]))
    same(fnp.array([True, False]) ** 2, fnp.array([1, 0]))


# ------------------------------------------------------------------------------- Python numbers, weak types


@pytest.mark.parametrize("d", ["int8", "uint8", "int32", "float16", "bfloat16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("number", [True, 2, 2.5, 1j])
@pytest.mark.parametrize("op", [operator.add, operator.mul, operator.truediv, operator.lt, operator.eq])
def test_python_numbers_are_weak_eagerly_and_traced(d: str, number: Any, op: Any) -> None:
    if op is operator.lt and (isinstance(number, complex) or d == "complex64"):
        return
    x = make(d, (3,), 1, 3)
    for f in (lambda v: op(v, number), lambda v: op(number, v)):
        got = f(fnp.asarray(x))
        with fx.config.using(backend="reference"):
            same(fx.jit(f)(x), got, 1e-6)
        wide = (
            np.complex64
            if isinstance(number, complex) or d == "complex64"
            else np.float64
            if op is operator.truediv
            else x.dtype
        )
        close(got, f(x.astype(wide)), 2e-2)


def test_weak_results_stay_weak() -> None:
    assert (fnp.asarray(1.0) * 2).weak_type and fnp.exp(1.0).weak_type and not (fnp.asarray(1.0) < 2).weak_type
    assert (fnp.asarray(1.0) * fnp.ones(2, "float16")).dtype == "float16"
    assert (fnp.exp(1.0) + fnp.ones(2, "float16")).dtype == "float16"
    assert (np.float64(1.0) * fnp.ones(2, "float32")).dtype == "float64"
    with fx.config.using(backend="reference"):
        assert fx.jit(lambda x: fnp.exp(x) * 2)(1.0).weak_type


def test_numbers_out_of_range_say_so() -> None:
    with pytest.raises((OverflowError, DTypeError)):
        fnp.ones(3, "uint8") + 300
    with pytest.raises((OverflowError, DTypeError)):
        fnp.array(2**70)
    assert fnp.array([2**40]).dtype == "int64" and fnp.array(2**40).dtype == "int64"
    for d, number in [
        ("float32", 1e300),
        ("float16", 1e5),
        ("complex64", 1e300),
        ("bfloat16", 1e39),
        ("float16", 100000),
    ]:
        assert (
            fnp.isinf(fnp.ones(2, d) * number).all()
            and fnp.isinf(fx.vmap(lambda v, n=number: v * n)(fnp.ones(2, d))).all()
        )


def test_many_operand_kinds() -> None:
    x = np.arange(1, 4.0)
    for other in ([1.0, 2.0, 3.0], (1, 2, 3), np.float32(2), np.arange(1, 4), fnp.arange(1, 4), 2, True):
        for op in (operator.add, operator.sub, operator.mul, operator.truediv, operator.eq, operator.ge):
            want = np.asarray(other, np.float64)
            close(op(fnp.asarray(x), other), op(x, want))
            if not isinstance(other, np.ndarray):
                close(op(other, fnp.asarray(x)), op(want, x))
            close(fx.vmap(lambda v, o=other, op=op: op(v, o))(x[None])[0], op(x, want))
    assert (fnp.arange(3) == None) is False and (fnp.arange(3) != "a") is True  # noqa: E711
    with pytest.raises(TypeError):
        fnp.arange(3) + "a"
    assert 2 in fnp.arange(3) and 5 not in fnp.arange(3)
    a, b = divmod(fnp.array([7, -7]), 3)
    np.testing.assert_array_equal(np.stack([a, b]), [[2, -3], [1, 2]])
    np.testing.assert_array_equal(divmod(7, fnp.array([2, 3]))[1], [1, 1])
    assert abs(fnp.array(-2)) == 2 and -fnp.array(2) == -2 and +fnp.array(2) == 2 and ~fnp.array(1) == -2
    assert round(fnp.array(2.567), 1) == fnp.array(2.6)
    for op in (
        operator.and_,
        operator.or_,
        operator.xor,
        operator.lshift,
        operator.rshift,
        operator.mod,
        operator.floordiv,
    ):
        np.testing.assert_array_equal(op(fnp.array([5, 6]), 2), op(np.array([5, 6]), 2))
        np.testing.assert_array_equal(op(5, fnp.array([1, 2])), op(5, np.array([1, 2])))


# ----------------------------------------------------------------------------------------- options


def test_where_and_dtype() -> None:
    x, w = np.array([1.0, 4.0, 9.0]), np.array([True, False, True])
    np.testing.assert_array_equal(fnp.sqrt(x, where=w), [1, 0, 3])
    np.testing.assert_array_equal(fnp.add(x, 1, where=np.array([[True], [False]])), [[2, 5, 10], [0, 0, 0]])
    np.testing.assert_array_equal(fnp.equal(x, x, where=w), w)
    assert fnp.add(np.arange(3), 1, dtype="float16").dtype == "float16"
    with pytest.raises(UnsupportedFunctionError, match="immutable"):
        fnp.add(x, x, out=x)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fnp.add(np.ones(3), np.ones(4)), ShapeError, r"Incompatible shapes for broadcasting: \(3,\), \(4,\)"),
        (lambda: fnp.ones(3) + fnp.ones(4), ShapeError, "sizes must be equal or 1"),
        (lambda: fnp.add("a", 1), TreeError, "argument 1 of add is a str"),
        (lambda: fnp.add({"a": 1}, 1), TreeError, "dict"),
        (lambda: fnp.add([1, [2, 3]], 1), ShapeError, "different"),
        (lambda: fnp.sin(1, 2), TypeError, "sin takes 1 array; 2 given"),
        (lambda: fnp.negative(np.array([True])), DTypeError, "logical_not"),
        (lambda: fnp.subtract(np.array([True]), np.array([True])), DTypeError, "logical_xor"),
        (lambda: fnp.floor(np.ones(2, complex)), DTypeError, "floor is not defined for complex"),
        (lambda: fnp.bitwise_and(np.ones(2), np.ones(2)), DTypeError, "integer or boolean"),
        (lambda: fnp.invert(np.ones(2)), DTypeError, "invert"),
        (lambda: fnp.gcd(1.0, 2), DTypeError, "gcd"),
        (lambda: fnp.arctan2(1j, 2), DTypeError, "arctan2"),
        (lambda: fnp.cbrt(1j), DTypeError, "cbrt"),
        (lambda: fnp.isposinf(1j), DTypeError, "isposinf"),
        (lambda: fnp.clip(1j, 0, 1), DTypeError, "clip"),
        (lambda: fnp.remainder(1j, 1), DTypeError, "remainder"),
        (lambda: fnp.sin(None), TreeError, "NoneType"),
    ],
)
def test_errors(call: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        call()
    if error is not TypeError:
        with pytest.raises(error, match=words):
            fx.jit(call)()


# ------------------------------------------------------------------------------------ ufunc methods

REDUCIBLE = ("add", "multiply", "maximum", "minimum", "fmax", "fmin", "logaddexp", "hypot", "subtract", "divide")


@pytest.mark.parametrize("name", REDUCIBLE)
def test_reduce(name: str) -> None:
    x = make("float64", (4, 3, 2), 0.5, 2)
    for axis in (0, -1, 1):
        for keepdims in (False, True):
            check(Case(f"{name}.reduce", (x,), {"axis": axis, "keepdims": keepdims}))
    if name not in ("subtract", "divide"):
        check(Case(f"{name}.reduce", (x,), {"axis": None}))
        check(Case(f"{name}.reduce", (x,), {"axis": (0, 2)}))
        check(Case(f"{name}.reduce", (x,), {"axis": 1, "initial": 1.5}))
    if name in ("add", "multiply", "hypot"):
        check(Case(f"{name}.reduce", (x,), {"axis": 0, "where": np.array([True, False])}))
        check(Case(f"{name}.reduce", (x[:0],), {"axis": 0}))
    check_derivative(Case(f"{name}.reduce", (x,), {"axis": 1}))


@pytest.mark.parametrize(
    "name",
    ["bitwise_and", "bitwise_or", "bitwise_xor", "logical_and", "logical_or", "logical_xor", "gcd", "lcm", "add"],
)
@pytest.mark.parametrize("d", ["bool", "int8", "uint8"])
def test_reduce_of_bits(name: str, d: str) -> None:
    if name in ("gcd", "lcm") and d != "int8":
        return
    x = make(d, (5, 3), 1, 4)
    check(Case(f"{name}.reduce", (x,), {"axis": 0}))
    check(Case(f"{name}.reduce", (x,), {"axis": 1, "keepdims": True}))
    if name.startswith("bitwise"):
        check(Case(f"{name}.reduce", (x,), {"axis": None, "where": make("bool", (5, 3))}))


@pytest.mark.parametrize(
    "name", ["add", "multiply", "maximum", "minimum", "logaddexp", "subtract", "divide", "hypot", "power"]
)
def test_accumulate(name: str) -> None:
    x = make("float64", (4, 3), 0.5, 1.5)
    for axis in (0, -1):
        check(Case(f"{name}.accumulate", (x, axis)))
    check_derivative(Case(f"{name}.accumulate", (x, 1)))


def test_outer_at_reduceat() -> None:
    x, y = make("float64", (2, 3)), make("float64", (4,))
    check(Case("multiply.outer", (x, y)))
    check(Case("subtract.outer", (y, x)))
    check(Case("add.reduceat", (make("int32", (7, 2)), [0, 3, 2, 6])))
    check(Case("maximum.reduceat", (x, [0, 2], 1)))
    a = np.arange(4.0)
    for name in ("add", "subtract", "multiply", "minimum", "maximum", "divide", "hypot"):
        want = a.copy()
        getattr(np, name).at(want, [0, 1, 1], 2.0)
        close(getattr(fnp, name).at(a, np.array([0, 1, 1]), 2.0), want)
    want = a.copy()
    np.negative.at(want, [0, 1, 1, 3])
    close(fnp.negative.at(a, np.array([0, 1, 1, 3])), want)
    with pytest.raises(UnsupportedFunctionError, match="hypot.at"):
        fx.jit(lambda v, i: fnp.hypot.at(v, i, 1.0))(a, np.array([0]))
    for f in (fnp.sin.reduce, fnp.sin.accumulate):
        with pytest.raises(ValueError, match="two operands"):
            f(a)
    with pytest.raises(ShapeError, match="empty axis"):
        fnp.subtract.reduce(np.zeros((0, 2)))
    assert fnp.add.nin == 2 and fnp.sin.nargs == 2 and "add" in repr(fnp.add) and isinstance(fnp.add, fnp.ufunc)


@pytest.mark.parametrize("d", DTYPES)
def test_results_are_arrays_of_the_dtype_that_tracing_finds(d: str) -> None:
    x = np.ones((2,), dtype_of(d))
    for name in ("isnan", "isinf", "imag", "real", "logical_not", "nan_to_num", "square", "reciprocal"):
        for v in (x, x[0]):
            got = getattr(fnp, name)(v)
            assert type(got) is fx.Array
            (shape,) = fx.tree.leaves(fx.eval_shape(getattr(fnp, name), v))
            assert (shape.dtype, shape.shape) == (got.dtype, got.shape)
