"""Every ufunc and reduction of ``fx.numpy`` at every dtype: the result's dtype by rule, its value by NumPy; eager and compiled.

The rules are NumPy's with two differences: where NumPy makes a float of an integer it chooses by width (int8 gives
float16), here it is the default float, or float64 of 64 bits; and small integers add up in the default int, not int64.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy_harness import DTYPES as COMMON
from numpy_harness import dtype_of

import fx
import fx.numpy as fnp
from fx import dtypes
from fx.errors import DTypeError
from fx.numpy.ufunc_class import registered

DTYPES = tuple(dict.fromkeys((*COMMON, "int16", "uint16")))
HALVES = ("float16", "bfloat16")


# --------------------------------------------------------------------------------------------- rules


def _inexact(d: np.dtype) -> np.dtype:
    return d if dtypes.is_inexact(d) else dtypes.float64 if d.itemsize == 8 else dtypes.float32


def _sum(d: np.dtype) -> np.dtype:
    return (
        dtypes.int32 if d.kind in "bi" and d.itemsize < 4 else dtypes.uint32 if d.kind == "u" and d.itemsize < 4 else d
    )


RULES: dict[str, Callable[[np.dtype], np.dtype]] = {
    "same": lambda d: d,
    "number": lambda d: dtypes.int32 if d == dtypes.bool_ else d,
    "inexact": _inexact,
    "real": dtypes.real_dtype,
    "bool": lambda d: dtypes.bool_,
    "sum": _sum,
    "moment": lambda d: dtypes.real_dtype(_inexact(d)),
    "index": lambda d: dtypes.int32,
    "uint8": lambda d: dtypes.uint8,
}
UFUNCS: dict[str, str] = {
    **dict.fromkeys("positive negative conjugate conj invert bitwise_not bitwise_invert floor ceil trunc fix sign".split(), "same"),
    **dict.fromkeys("absolute abs real imag".split(), "real"),
    **dict.fromkeys("square".split(), "number"),
    **dict.fromkeys("isfinite isinf isnan signbit logical_not".split(), "bool"),
    "bitwise_count": "uint8",
    **dict.fromkeys(
        "exp exp2 expm1 log log2 log10 log1p sqrt cbrt sin cos tan arcsin asin arccos acos arctan atan sinh cosh tanh arcsinh asinh arccosh acosh"
        " arctanh atanh deg2rad radians rad2deg degrees sinc rint fabs reciprocal spacing i0".split(),
        "inexact",
    ),
    **dict.fromkeys("add subtract multiply maximum minimum fmax fmin bitwise_and bitwise_or bitwise_xor".split(), "same"),
    **dict.fromkeys(
        "floor_divide remainder mod fmod power pow left_shift bitwise_left_shift right_shift bitwise_right_shift gcd lcm".split(), "number"
    ),
    **dict.fromkeys(
        "divide true_divide float_power arctan2 atan2 nextafter copysign hypot logaddexp logaddexp2 heaviside".split(), "inexact"
    ),
    "ldexp": "inexact",
    **dict.fromkeys("logical_and logical_or logical_xor equal not_equal less less_equal greater greater_equal".split(), "bool"),
}  # fmt: skip
REDUCTIONS: dict[str, str] = {
    **dict.fromkeys("sum prod nansum nanprod".split(), "sum"),
    **dict.fromkeys("max min amax amin nanmax nanmin".split(), "same"),
    "ptp": "same",
    **dict.fromkeys("mean nanmean average median nanmedian".split(), "inexact"),
    **dict.fromkeys("var std nanvar nanstd".split(), "moment"),
    **dict.fromkeys("all any".split(), "bool"),
    **dict.fromkeys("argmax argmin nanargmax nanargmin count_nonzero".split(), "index"),
    **dict.fromkeys("cumsum cumprod nancumsum nancumprod".split(), "number"),
}
# where NumPy computes and we do not: name -> kinds of dtype
REFUSED = dict.fromkeys(("median", "nanmedian"), "c")  # complex numbers have no order


def test_the_table_is_whole() -> None:
    assert set(UFUNCS) == set(registered)


# -------------------------------------------------------------------------------------------- values


def _operand(d: np.dtype, seed: int = 0) -> np.ndarray:
    """Small numbers on which most functions are defined, with exact sums."""
    if d == np.bool_:
        return np.array([[True, False, True], [True, True, True]])
    if d.kind in "iu":
        return np.array([[1, 2, 3], [3, 1, 2]])[:: 1 - 2 * seed].astype(d)
    x = np.array([[0.25, 0.5, 0.75], [1.0, 0.375, 0.625]])[:: 1 - 2 * seed]
    return (x + 0.5j * x[:, ::-1]).astype(d) if d.kind == "c" else x.astype(d)


def _arguments(name: str, d: np.dtype) -> list[np.ndarray]:
    if name == "ldexp":
        return [_operand(d), np.array([[1, -2, 3], [0, 1, 2]], np.int32)]
    return [_operand(d, seed) for seed in range(registered[name].nin if name in registered else 1)]


def _numpy(name: str, *args: np.ndarray) -> Any:
    """NumPy's answer, or None where it refuses."""
    f = getattr(np, name)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return np.asarray(f(*args))
        except TypeError:
            return None


def _truth(name: str, args: list[np.ndarray], result: np.dtype) -> np.ndarray | None:
    """The value in the dtype of the result: NumPy's own if its dtype is that, else of its answer for wider numbers."""
    steps = dtypes.is_float(result) and result.itemsize == 2 and not isinstance(getattr(np, name), np.ufunc)
    own = None if steps else _numpy(name, *args)  # NumPy's functions of several steps round 16-bit floats at each
    if own is not None and own.dtype == result:
        return own
    kinds = {a.dtype.kind for a in args}
    if "c" in kinds:
        wide: Any = np.complex128
    elif any(a.dtype.itemsize == 2 and a.dtype.kind in "Vf" for a in args):
        wide = np.float32  # as NumPy computes its own 16-bit floats
    else:
        wide = np.float64 if "f" in kinds or dtypes.is_inexact(result) or result == dtypes.bool_ else result
    keep = 1 if name == "ldexp" else 2
    answer = _numpy(name, *[a.astype(wide) if i < keep else a for i, a in enumerate(args)])
    return None if answer is None else answer.astype(result)


def _run(name: str, args: list[Any]) -> Any:
    try:
        return getattr(fnp, name)(*args)
    except (DTypeError, TypeError) as e:
        return e


@functools.cache
def _answers(d: str, backend: str) -> dict[str, Any]:
    """All functions at a dtype: eagerly, or traced into one program."""
    arguments = {n: _arguments(n, dtype_of(d)) for n in (*UFUNCS, *REDUCTIONS)}
    if backend == "eager":
        return {n: _run(n, [fnp.asarray(a) for a in args]) for n, args in arguments.items()}
    refused: dict[str, Exception] = {}

    def program(values: dict[str, list[Any]]) -> dict[str, Any]:
        found = {n: _run(n, args) for n, args in values.items()}
        refused.update({n: v for n, v in found.items() if isinstance(v, Exception)})
        return {n: v for n, v in found.items() if n not in refused}

    with fx.config.using(backend=backend):
        return {**fx.jit(program)(arguments), **refused}


WAYS = [(d, way) for d in DTYPES for way in ("eager", "reference", *(("native",) if d in (*HALVES, "bool") else ()))]


@pytest.mark.parametrize(("d", "way"), WAYS)
@pytest.mark.parametrize("kind", ["ufuncs", "reductions"])
def test_dtype_and_value(kind: str, d: str, way: str) -> None:
    table, answers, wrong = UFUNCS if kind == "ufuncs" else REDUCTIONS, _answers(d, way), []
    for name, rule in table.items():
        got, args = answers[name], _arguments(name, dtype_of(d))
        if isinstance(got, Exception):
            if _numpy(name, *[a.astype(np.float32) if a.dtype.kind == "V" else a for a in args]) is not None:
                if dtype_of(d).kind not in REFUSED.get(name, ""):
                    wrong.append(f"{name}: {got}")
            continue
        result = RULES[rule](dtype_of(d))
        if got.dtype != result:
            wrong.append(f"{name}: {got.dtype}, not {result}")
            continue
        want = _truth(name, args, result)
        if want is not None and not _equal(np.asarray(got), want, exact=kind == "ufuncs" and d in HALVES):
            wrong.append(f"{name}: {np.asarray(got).tolist()}, not {want.tolist()}")
    assert wrong == []


def _equal(got: np.ndarray, want: np.ndarray, exact: bool) -> bool:
    if got.shape != want.shape:
        return False
    if not dtypes.is_inexact(want.dtype) or exact:
        return bool(((got == want) | ((got != got) & (want != want))).all())
    eps = {2: 1e-3 if want.dtype.kind == "f" else 1e-2, 4: 3e-6}.get(dtypes.real_dtype(want.dtype).itemsize, 1e-13)
    return bool(np.allclose(got.astype(np.complex128), want.astype(np.complex128), rtol=eps, atol=eps, equal_nan=True))


# ------------------------------------------------------------------------------------- 16-bit floats

PROGRAMS: dict[str, Callable[..., Any]] = {
    "sum of products": lambda m, a, b, c: (a + b) * c - a / b,
    "fused": lambda m, a, b, c: a * b + c,
    "powers": lambda m, a, b, c: m.square(a) * a + m.sqrt(m.abs(b)),
    "remainders": lambda m, a, b, c: m.floor(a) + a % b + b // c,
    "functions": lambda m, a, b, c: m.exp(m.sin(a)) + m.tanh(b) * m.log(m.abs(c)),
    "of two": lambda m, a, b, c: m.hypot(a, b) + m.logaddexp(a, b) - m.arctan2(b, c),
    "logarithms": lambda m, a, b, c: m.log2(m.abs(a)) - m.log10(m.abs(b)) + m.expm1(c),
    "ordered": lambda m, a, b, c: m.maximum(a, b) - m.minimum(b, c),
}


@pytest.mark.parametrize("way", ["eager", "jit"])
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("d", HALVES)
def test_arithmetic_of_16_bits_is_rounded_at_every_step(d: str, name: str, way: str) -> None:
    """Bit for bit what NumPy computes: also compiled, where steps are fused."""
    rng, f = np.random.default_rng(5), PROGRAMS[name]
    args = [rng.normal(size=500).astype(dtype_of(d)) * dtype_of(d).type(4) for _ in range(3)]
    with np.errstate(all="ignore"):
        want = f(np, *args)
        run = functools.partial(f, fnp)
        got = np.asarray((fx.jit(run) if way == "jit" else run)(*map(fnp.asarray, args)))
    assert got.dtype == want.dtype == dtype_of(d)
    np.testing.assert_array_equal(got.astype(np.float32), want.astype(np.float32))


@pytest.mark.parametrize("way", ["eager", "jit"])
def test_logarithms_of_powers_are_whole(way: str) -> None:
    """log10 called eagerly is NumPy's, whose float32 is not everywhere (SVML's, on AVX-512)."""
    log2, log10 = (fx.jit(f) if way == "jit" else f for f in (fnp.log2, fnp.log10))
    for d, least in (("float32", -126), ("float64", -1022)):
        exponents = np.arange(least, -least)
        np.testing.assert_array_equal(log2(np.ldexp(np.ones(exponents.size, d), exponents)), exponents)
        exponents = np.arange(0, 11 if d == "float32" else 23)
        powers = np.array([10.0**k for k in exponents], d)
        np.testing.assert_array_equal(log10(powers), exponents if way == "jit" else np.log10(powers))
    for f, x in ((fnp.log2, 8.0), (fnp.log10, 1000.0)):
        assert fx.grad(f)(np.float64(x)) == pytest.approx(1 / (x * np.log(2 if x == 8 else 10)), rel=1e-12)


@pytest.mark.parametrize("transform", [lambda f: f, fx.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("old", ["complex64", "complex128"])
@pytest.mark.parametrize("new", ["float32", "int8", "bool", "complex64"])
def test_an_imaginary_part_is_not_dropped_in_silence(transform: Any, old: str, new: str) -> None:
    """Where NumPy warns, and only there."""
    x = np.array([0j, 1 + 2j, 3], old)
    with warnings.catch_warnings(record=True) as numpys:
        warnings.simplefilter("always")
        want = x.astype(new)
    with warnings.catch_warnings(record=True) as ours:
        warnings.simplefilter("always")
        got = transform(lambda v: v.astype(new))(fnp.asarray(x))
    np.testing.assert_array_equal(got, want)
    assert [w.category for w in ours] == [w.category for w in numpys]
    assert all(w.filename == __file__ for w in ours)


@pytest.mark.parametrize("n, want", [(2**31 - 1, "int32"), (2**31, "int64")])
def test_positions_fit_their_dtype(n: int, want: str) -> None:
    """More elements than an int32 counts have positions of 64 bits."""
    positions = (fnp.argmax, fnp.nanargmin, fnp.argsort, lambda x: fnp.lexsort((x,)), lambda x: fnp.searchsorted(x, 3))
    x = fx.ShapeDtypeStruct((n,), np.int8)
    for f in (*positions, lambda x: fnp.nonzero(x, size=2)[0]):
        assert fx.eval_shape(f, x).dtype == want
