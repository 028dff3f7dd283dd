"""Special values of ``fx.numpy`` as the array API standard has them (the tables of ``array_api_standard``): eager and compiled.

Besides the tables: the symmetries that the standard states, complex arithmetic part by part, the sign bits of NaN, and that
a Python number as an operand gives what an array of that number gives.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import array_api_standard as standard
import numpy as np
import pytest
from array_api_standard import COMPLEX, FLOATING, SIGNED, UNSIGNED

import fx
import fx.numpy as fnp

inf, nan, pi = math.inf, math.nan, math.pi
CONJUGATE = "acos acosh asin asinh atan atanh cos cosh exp expm1 log log1p log2 log10 sin sinh sqrt tan tanh".split()
OF_COMPLEX = tuple(dict.fromkeys([*standard.SPECIAL_COMPLEX, *CONJUGATE]))
WAYS = ["eager", "jit"]

# ---------------------------------------------------------------------------------------- the tables

VALUES = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -1.5, 2.0, -2.0, 2.5, -2.5, 3.0, -3.0, inf, -inf, nan]
CLASSES: dict[str, Callable[[float], bool]] = {
    "A": lambda v: True, "R": lambda v: v == v, "F": math.isfinite, "Q": lambda v: math.isfinite(v) and v != 0, "P": lambda v: 0 < v < inf,
    "N": lambda v: -inf < v < 0, "Z": lambda v: v == 0, "I": math.isinf, "G": lambda v: v > 0, "L": lambda v: v < 0,
    "K": lambda v: math.isfinite(v) and v == int(v), "B": lambda v: v > 1, "U": lambda v: v < 1, "V": lambda v: v < -1,
    "M": lambda v: v != 1,
}  # fmt: skip
FUNCTIONS = {"inf": inf, "nan": nan, "pi": pi, "cos": math.cos, "sin": math.sin, "floor": math.floor}


def _alike(a: float, b: float) -> bool:
    """Equal, zeros with their sign; NaN is NaN."""
    return (a != a and b != b) or (a == b and math.copysign(1, a) == math.copysign(1, b))


def _members(pattern: str) -> list[int]:
    """The places in VALUES of the values of a class, or of one number."""
    member = CLASSES.get(pattern) or (lambda v: _alike(v, float(pattern)))
    places = [i for i, v in enumerate(VALUES) if member(v)]
    assert places, pattern
    return places


def _result(text: str, **operands: float) -> list[float]:
    """The results that a text allows: both signs after a question mark."""
    bare = text.removeprefix("?")
    try:
        value = float(bare)
    except ValueError:
        value = float(eval(bare, {**FUNCTIONS, **operands}))
    return [value, -value] if text.startswith("?") else [value]


def _is(got: Any, text: str, **operands: float) -> bool:
    got = float(got)
    return any(
        _alike(got, w) or (math.isfinite(w) and w != 0 and abs(got - w) <= 1e-6 * abs(w))
        for w in _result(text, **operands)
    )


@functools.cache
def _grid(dtype: str, dimensions: int) -> tuple[np.ndarray, ...]:
    values = np.array(VALUES, dtype=np.finfo(dtype).dtype)
    if dtype in COMPLEX:
        z = np.empty((len(VALUES), len(VALUES)), dtype)
        z.real, z.imag = values[:, None], values
        return (z,)
    return tuple(np.meshgrid(*[values] * dimensions, indexing="ij"))


@functools.cache
def _values(names: tuple[str, ...], dtype: str, dimensions: int, way: str) -> dict[str, np.ndarray]:
    """All functions at all special values, in one program."""

    def f(*xs: Any) -> dict[str, Any]:
        return {n: getattr(fnp, n)(*xs) for n in names}

    run = fx.jit(f) if way == "jit" else f
    return {n: np.asarray(v) for n, v in run(*map(fnp.asarray, _grid(dtype, dimensions))).items()}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("name", standard.SPECIAL_UNARY)
def test_special_cases_of_one_number(name: str, dtype: str, way: str) -> None:
    got = _values(tuple(standard.SPECIAL_UNARY), dtype, 1, way)[name]
    for case in standard.SPECIAL_UNARY[name].split(";"):
        pattern, result = case.split()
        for i in _members(pattern):
            assert _is(got[i], result, x=VALUES[i]), f"{name}({VALUES[i]}) is {got[i]}, not {result} ({case})"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("name", standard.SPECIAL_BINARY)
def test_special_cases_of_two_numbers(name: str, dtype: str, way: str) -> None:
    got = _values(tuple(standard.SPECIAL_BINARY), dtype, 2, way)[name]
    for case in standard.SPECIAL_BINARY[name].split(";"):
        first, second, result = case.split(maxsplit=2)
        for i, j in itertools.product(_members(first), _members(second)):
            x, y = VALUES[i], VALUES[j]
            assert _is(got[i, j], result, x=x, y=y), f"{name}({x}, {y}) is {got[i, j]}, not {result} ({case})"


def _parts(z: Any) -> tuple[float, float]:
    return (float(z.real), float(z.imag)) if np.iscomplexobj(z) else (float(z), 0.0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("name", standard.SPECIAL_COMPLEX)
def test_special_cases_of_complex_numbers(name: str, dtype: str, way: str) -> None:
    """At z, and at the conjugate of z the conjugate result."""
    got = _values(OF_COMPLEX, dtype, 1, way)[name]
    for case in standard.SPECIAL_COMPLEX[name].split(";"):
        (first, second), (re, im) = (half.split() for half in case.split(":"))
        for i, j in itertools.product(_members(first), _members(second)):
            a, b = VALUES[i], VALUES[j]
            mirrored = next(k for k, v in enumerate(VALUES) if _alike(v, -b))
            for k in {j, mirrored}:
                x, y = _parts(got[i, k])
                y = -y if k != j and np.iscomplexobj(got) and name != "conj" else y
                if name == "conj" and k != j:
                    continue
                assert _is(x, re, a=a, b=b) and _is(y, im, a=a, b=b), (
                    f"{name}({a}, {VALUES[k]}) is {got[i, k]} ({case})"
                )


ROTATED = {"sin": "sinh", "tan": "tanh", "asin": "asinh", "atan": "atanh", "cos": "cosh"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", COMPLEX)
def test_rotated_functions_of_complex_numbers(dtype: str, way: str) -> None:
    """sin z = -j sinh(jz) and its kin; log2 and log10 are log over a real constant: special values included."""
    (z,) = _grid(dtype, 1)
    got = _values(OF_COMPLEX, dtype, 1, way)
    for name, base in ROTATED.items():
        turned = got[base][np.array(TURN)[None, :], np.arange(len(VALUES))[:, None]]  # (a, b) reads base at (-b, a)
        want = np.empty_like(turned)
        want.real, want.imag = (turned.real, turned.imag) if name == "cos" else (turned.imag, -turned.real)
        _close_parts(got[name], want)
    for name, base in (("log2", 2), ("log10", 10)):
        want = np.empty_like(z)
        want.real, want.imag = got["log"].real / math.log(base), got["log"].imag / math.log(base)
        _close_parts(got[name], want)


def _close_parts(got: np.ndarray, want: np.ndarray) -> None:
    """Equal parts; beside a NaN the sign of an infinity is not specified."""
    unsigned = np.isnan(got)
    for part in ("real", "imag"):
        g, w = (np.where(unsigned, np.abs(getattr(v, part)), getattr(v, part)) for v in (got, want))
        np.testing.assert_allclose(g, w, rtol=1e-6, atol=1e-6)


# ---------------------------------------------------------------------------------------- symmetries

TURN = [next(k for k, v in enumerate(VALUES) if _alike(v, -w)) for w in VALUES]  # the place of -v
ODD, EVEN = ("asinh", "atanh", "sinh", "tanh"), ("cosh",)


def _assert_equal_parts(got: np.ndarray, want: np.ndarray, z: np.ndarray, name: str) -> None:
    """Equal parts.  Signs of zeros and infinities are open beside a NaN, and for an imaginary part that is not finite."""
    signed = np.isfinite(z.imag) & ~np.isnan(want.real) & ~np.isnan(want.imag)
    for part in ("real", "imag"):
        g, w = getattr(got, part), getattr(want, part)
        same = (g == w) & (np.signbit(g) == np.signbit(w)) | np.isnan(g) & np.isnan(w) | ~signed & (abs(g) == abs(w))
        same |= np.isfinite(w) & (w != 0) & np.isclose(g, w, rtol=1e-6, atol=0)
        assert same.all(), f"{name}: {part} part {g[~same]}, not {w[~same]} at {z[~same]}"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", COMPLEX)
def test_symmetries(dtype: str, way: str) -> None:
    """f(conj z) = conj f(z); f(-z) = -f(z), or f(z): at all special values."""
    (z,) = _grid(dtype, 1)
    got = _values(OF_COMPLEX, dtype, 1, way)
    for name in CONJUGATE:
        _assert_equal_parts(got[name][:, TURN], np.conj(got[name]), z, f"{name} of the conjugate")
    for name in (*ODD, *EVEN):
        mirrored = got[name][np.ix_(TURN, TURN)]
        _assert_equal_parts(mirrored, got[name] if name in EVEN else -got[name], z, f"{name} of -z")


# --------------------------------------------------------------------------- complex numbers by parts


def _complex(re: Any, im: Any) -> np.ndarray:
    out = np.empty(np.shape(re), np.result_type(re, np.complex64))
    out.real, out.imag = re, im
    return out


def _alike_everywhere(got: Any, want: Any) -> None:
    """The same bits, zeros with their signs; any NaN for a NaN."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype
    for part in ("real", "imag") if np.iscomplexobj(want) else ("real",):
        g, w = (np.asarray(getattr(v, part)) for v in (got, want))
        np.testing.assert_array_equal(g, w)
        signed = ~np.isnan(w)
        np.testing.assert_array_equal(np.signbit(g[signed]), np.signbit(w[signed]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", COMPLEX)
def test_complex_arithmetic_by_parts(dtype: str, way: str) -> None:
    (grid,) = _grid(dtype, 1)
    z, w = (v.ravel() for v in np.meshgrid(grid.ravel(), grid.ravel()))
    run = fx.jit if way == "jit" else lambda f: f
    names = ("add", "subtract", "equal", "not_equal", "multiply", "divide")
    two = run(lambda a, b: {n: getattr(fnp, n)(a, b) for n in names})(fnp.asarray(z), fnp.asarray(w))
    with np.errstate(all="ignore"):
        _alike_everywhere(two["add"], _complex(z.real + w.real, z.imag + w.imag))
        _alike_everywhere(two["subtract"], _complex(z.real - w.real, z.imag - w.imag))
        same = (z.real == w.real) & (z.imag == w.imag)
        _alike_everywhere(two["equal"], same)
        _alike_everywhere(two["not_equal"], ~same)
        finite = np.isfinite(z) & np.isfinite(w)
        re, im = z.real * w.real - z.imag * w.imag, z.real * w.imag + z.imag * w.real
        np.testing.assert_allclose(np.asarray(two["multiply"])[finite], _complex(re, im)[finite], rtol=1e-6)
        finite &= w != 0
        size = (w.real**2 + w.imag**2)[finite]
        re, im = z.real * w.real + z.imag * w.imag, z.imag * w.real - z.real * w.imag
        quotient = _complex(re[finite] / size, im[finite] / size)
        np.testing.assert_allclose(np.asarray(two["divide"])[finite], quotient, rtol=1e-5, atol=1e-6)
    nans = np.isnan(z.real) & np.isnan(z.imag) & np.isnan(w.real) & np.isnan(w.imag)
    for name in ("multiply", "divide"):
        undefined = np.asarray(two[name])[nans]
        assert undefined.size and np.isnan(undefined.real).all() and np.isnan(undefined.imag).all()

    names = ("conj", "imag", "negative", "positive", "real", "reciprocal", "round", "sign", "square")
    one = run(lambda a: {n: getattr(fnp, n)(a) for n in names} | {"1 / x": 1.0 / a, "x * x": a * a})(fnp.asarray(grid))
    _alike_everywhere(one["conj"], _complex(grid.real, -grid.imag))
    _alike_everywhere(one["negative"], _complex(-grid.real, -grid.imag))
    _alike_everywhere(one["positive"], grid)
    _alike_everywhere(one["real"], grid.real)
    _alike_everywhere(one["imag"], grid.imag)
    _alike_everywhere(one["round"], _complex(np.rint(grid.real), np.rint(grid.imag)))
    _alike_everywhere(one["reciprocal"], one["1 / x"])
    _alike_everywhere(one["square"], one["x * x"])
    there = np.isfinite(grid) & (grid != 0)
    unit = grid[there] / abs(grid[there])
    np.testing.assert_allclose(np.asarray(one["sign"])[there], unit, rtol=1e-6)


# ---------------------------------------------------------------------------------- numbers as operands

NUMBERS = [0.0, -0.0, 1.0, -2.0, 0.5, inf, -inf, nan, 2, -3, 0]
SYMBOLS = {g: getattr(operator, f"__{s}__") for s, g in (standard.OPERATORS | standard.COMPARISONS).items()}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", standard.SPECIAL_BINARY)
def test_a_number_is_an_array_of_it(name: str, way: str) -> None:
    """A Python number on either side against an array of that number: in the operator, or the function where there is none.

    Which zero is the larger one the standard leaves open, and so do we.
    """
    f = getattr(fnp, name)
    g = SYMBOLS.get(name, f)

    def calls(x: Any) -> list[Any]:
        return [value for n in NUMBERS for value in (g(x, n), g(n, x))]

    zero = 0.0 if name in ("maximum", "minimum") else -0.0
    for dtype in FLOATING if way == "eager" else ("float32",):
        x = fnp.asarray(np.array(VALUES, dtype))
        got = iter((fx.jit(calls) if way == "jit" else calls)(x))
        for n in NUMBERS:
            full = fnp.asarray(np.full(x.shape, n, dtype))
            for value, want in ((next(got), np.asarray(f(x, full))), (next(got), np.asarray(f(full, x)))):
                assert value.dtype == want.dtype
                same = [
                    _alike(a, b) or (math.isfinite(b) and b != 0 and abs(a - b) <= 1e-6 * abs(b))
                    for a, b in zip(np.asarray(value, np.float64) + zero, np.asarray(want, np.float64) + zero)
                ]
                assert all(same), f"{name} with the number {n}: {value}, not {want}"


# ------------------------------------------------------------------------------------------- the rest


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", FLOATING)
def test_sign_bits(dtype: str, way: str) -> None:
    """NaN has a sign bit: signbit reads it, copysign reads and writes it."""
    x = np.copysign(np.array([nan, nan, 0.0, 0.0, 2.0, 2.0, inf, inf], dtype), [1, -1] * 4)
    run = fx.jit if way == "jit" else lambda f: f
    bits, signs, moved = run(lambda v: (fnp.signbit(v), fnp.copysign(3.0, v), fnp.copysign(v, v[::-1])))(fnp.asarray(x))
    np.testing.assert_array_equal(bits, [False, True] * 4)
    np.testing.assert_array_equal(signs, [3.0, -3.0] * 4)
    np.testing.assert_array_equal(np.signbit(moved), [True, False] * 4)
    np.testing.assert_array_equal(np.abs(moved), np.abs(x))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", FLOATING)
def test_lengths_neither_overflow_nor_underflow(dtype: str, way: str) -> None:
    """hypot, and abs of complex numbers: symmetric, at the ends of the range too."""
    info = np.finfo(dtype)
    a = np.array([3, 4, info.max / 2, 1, 3 * info.smallest_normal, 48 * info.smallest_subnormal], dtype)
    b = np.array([4, 3, info.max / 2, info.max, 4 * info.smallest_normal, 64 * info.smallest_subnormal], dtype)
    want = np.hypot(a.astype(np.longdouble), b.astype(np.longdouble)).astype(dtype)
    run = fx.jit if way == "jit" else lambda f: f
    lengths = run(lambda x, y: [fnp.hypot(*v) for v in ((x, y), (y, x), (x, -y), (-x, y), (-x, -y))])(a, b)
    size = run(fnp.abs)(_complex(a, b))
    for got in (*lengths, size):
        np.testing.assert_allclose(got, want, rtol=2 * info.eps)
    for got in lengths[1:]:
        np.testing.assert_array_equal(got, lengths[0])


@pytest.mark.parametrize("way", WAYS)
def test_whole_numbers_stay(way: str) -> None:
    """ceil, floor, round and trunc of integers, the largest included."""
    run = fx.jit if way == "jit" else lambda f: f
    for dtype in SIGNED + UNSIGNED:
        info = np.iinfo(dtype)
        x = np.array([info.min, info.max, 0, 1, info.max - 1], dtype)
        for got in run(lambda v: [getattr(fnp, n)(v) for n in ("ceil", "floor", "round", "trunc")])(fnp.asarray(x)):
            assert got.dtype == x.dtype
            np.testing.assert_array_equal(got, x)


@pytest.mark.parametrize("way", WAYS)
def test_shifts_of_integers(way: str) -> None:
    """To the right it is floor division by a power of two, to the left multiplication that wraps."""
    run = fx.jit if way == "jit" else lambda f: f
    for dtype in SIGNED + UNSIGNED:
        info = np.iinfo(dtype)
        x, n = (v.ravel() for v in np.meshgrid(np.array([info.min, info.max, 5, 0], dtype), np.arange(8, dtype=dtype)))
        left, right = run(lambda a, b: (fnp.bitwise_left_shift(a, b), fnp.bitwise_right_shift(a, b)))(x, n)
        np.testing.assert_array_equal(right, [int(a) >> int(b) for a, b in zip(x, n)])
        np.testing.assert_array_equal(left, np.array([(int(a) << int(b)) % 2**info.bits for a, b in zip(x, n)], object).astype(f"uint{info.bits}").view(dtype))  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", FLOATING)
def test_nan_and_empty_reductions(dtype: str, way: str) -> None:
    run = fx.jit if way == "jit" else lambda f: f
    x = fnp.asarray(np.array([[1.0, nan], [2.0, 3.0]], dtype))
    names = ("max", "min", "sum", "prod", "mean", "var", "std")
    for got in run(lambda v: [getattr(fnp, n)(v, axis=1) for n in names])(x):
        np.testing.assert_array_equal(np.isnan(got), [True, False])
    first, last = run(lambda v: (fnp.argmax(v), fnp.argmin(v, axis=1)))(x)
    assert int(first) == 1 and np.asarray(last).tolist() == [1, 0]
    there, some, count = run(lambda v: (fnp.all(v), fnp.any(v[:, 1:] != v[:, 1:]), fnp.count_nonzero(v)))(x)
    assert there and some and int(count) == 4
    for c in (2, 2.5, 3):  # the divisor N - correction is not positive
        spread = run(lambda v: (fnp.var(v[1], correction=c), fnp.std(v[1], correction=c)))(x)
        assert np.isnan(spread).all()
    empty = fnp.zeros((0,), dtype)
    total, product, mean, whole, none = run(lambda v: (fnp.sum(v), fnp.prod(v), fnp.mean(v), fnp.all(v), fnp.any(v)))(
        empty
    )
    assert (float(total), float(product), bool(whole), bool(none)) == (0, 1, True, False) and np.isnan(mean)
    bounds = fnp.asarray(np.array([1.0, nan], dtype))
    for got in run(lambda v: (fnp.clip(v, 0.0, bounds), fnp.clip(v, bounds, 9.0), fnp.clip(v[::-1], 0.0, 2.0)))(bounds):
        assert np.isnan(got).any()
    clipped = run(lambda v: fnp.clip(v, bounds[0], bounds))(fnp.asarray(np.array([5.0, 5.0], dtype)))
    np.testing.assert_array_equal(clipped, [1.0, nan])
