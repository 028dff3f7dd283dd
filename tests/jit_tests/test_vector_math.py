"""The vector functions: accuracy in units of the last place, edge values, and any number of lanes.

The table in ``vector_math``'s docstring is the limit that is asserted here, for hardware with and without fma.
"""

from __future__ import annotations

import ctypes
import functools
import math
import re
import zlib
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from loop_eval import run_pointwise
from loop_harness import level
from pointwise_native import NativeRules, pointwise_kernel

from fx.primitives import special_math
from jit.arithmetic import Arithmetic
from jit.kernels import vector_math as vm
from jit.llvm.native import compile_object
from jit.llvm.objects import load_object
from jit.loop_builder import KernelBuilder
from jit.loop_ir import f32, f64
from jit.loop_print import print_kernel
from jit.target import host

Array = np.ndarray
INF, NAN = np.inf, np.nan
TYPES = {"float32": f32, "float64": f64}
NUMPY = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "log2": np.log2, "sin": np.sin,
    "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
    "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "cbrt": np.cbrt,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
}  # fmt: skip
SPECIAL = ("erf", "erfc", "erf_inv", "lgamma", "digamma")
UNARY = (*NUMPY, *SPECIAL)
ODD = ("sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "expm1", "log1p", "cbrt", "erf", "erf_inv")
# Those that have several forms, and the machines that they are for beside the least one
CHOOSING = (
    "exp", "exp2", "expm1", "log", "log1p", "log2", "sin", "cos", "tan", "asin", "acos", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    "logistic", "erf", "erfc", "erf_inv", "lgamma", "digamma", "pow",
)  # fmt: skip
MACHINES = (Arithmetic(fused=True), Arithmetic(fused=True, scale=True, tables=True))
# Where a function is neither constant nor steep, beside samples of all numbers
RANGES = {
    "exp": (-110, 90), "exp2": (-155, 130), "expm1": (-3, 3), "log": (0, 3), "log1p": (-1, 3), "log2": (0, 3),
    "logistic": (-30, 30), "sin": (-50, 50), "cos": (-50, 50), "tan": (-50, 50), "asin": (-1, 1), "acos": (-1, 1),
    "atan": (-4, 4), "sinh": (-4, 4), "cosh": (-4, 4), "tanh": (-10, 10), "asinh": (-3, 3), "acosh": (1, 4), "atanh": (-1, 1),
    "cbrt": (-10, 10), "erf": (-4, 4), "erfc": (-5, 12), "erf_inv": (-1, 1), "lgamma": (-10, 20), "digamma": (-10, 20),
}  # fmt: skip


@functools.cache
def documented() -> dict[str, dict[str, float]]:
    """The table of limits in the docstring."""
    rows = re.findall(r"^    (\w+) +([\d.]+) +([\d.]+)", vm.__doc__ or "", re.MULTILINE)
    return {name: {"float32": float(single), "float64": float(double)} for name, single, double in rows}


# -------------------------------------------------------------------------------------- the samples


def any_numbers(dtype: Any, n: int, rng: np.random.Generator) -> Array:
    """Random bit patterns: every exponent is as likely as any other."""
    return rng.integers(0, 2**32, (n, np.dtype(dtype).itemsize // 4), np.uint64).astype(np.uint32).view(dtype)[:, 0]


def sample(name: str, dtype: str, n: int) -> Array:
    rng = np.random.default_rng(zlib.crc32(f"{name} {dtype}".encode()))
    low, high = RANGES[name]
    small = rng.uniform(low, high, n) * np.exp2(-rng.integers(0, 30, n))
    near_one = 1 - rng.uniform(size=n // 2) * np.exp2(-rng.integers(0, 50, n // 2))
    subnormal = np.arange(1, 40) * np.finfo(dtype).smallest_subnormal
    edges = np.array([0.0, 1.0, 0.5, 2.0, INF, NAN, 1e22, np.finfo(dtype).max, np.finfo(dtype).tiny])
    special = [v for p in (near_one, subnormal, edges) for v in (p, -p)]
    ordinary = np.concatenate([rng.uniform(low, high, n), small, *special])
    with np.errstate(all="ignore"):
        return np.concatenate([any_numbers(dtype, n, rng), ordinary.astype(dtype)])


# --------------------------------------------------------------------------------------- the truths


def special(name: str, x: Any) -> Any:
    """One value of a special function to 30 digits."""
    signed, x = float(x), mpmath.mpf(float(x))
    if name == "digamma" and x == 0:
        return mpmath.mpf(-math.copysign(math.inf, signed))
    if not mpmath.isfinite(x):
        return mpmath.mpf(float(getattr(special_math, name)(np.float64(x))))
    if name == "erf_inv":
        if abs(x) >= 1:
            return mpmath.nan if abs(x) > 1 else mpmath.inf * x
        return mpmath.erfinv(x) if abs(x) > 1e-20 else x * mpmath.sqrt(mpmath.pi) / 2
    if name in ("erf", "erfc"):
        return getattr(mpmath, name)(min(max(x, mpmath.mpf(-40)), mpmath.mpf(40)))
    if x <= 0 and x == mpmath.floor(x):
        return mpmath.inf if name == "lgamma" else mpmath.nan
    return mpmath.loggamma(x).real if name == "lgamma" else mpmath.digamma(x)


def truth(name: str, x: Array) -> Array:
    """In a type with at least eleven more bits than that of ``x``."""
    with np.errstate(all="ignore"):
        if x.dtype == np.float32:
            wide = x.astype(np.float64)
            return NUMPY[name](wide) if name in NUMPY else getattr(special_math, name)(wide)
        if name in NUMPY:
            return NUMPY[name](x.astype(np.longdouble))
        with mpmath.workprec(110):
            return np.array([np.longdouble(mpmath.nstr(special(name, v), 25)) for v in x])


def errors(found: Array, wanted: Array, least: Array | float = 0.0) -> Array:
    """In units of the last place of ``found``'s type, those of ``least`` at least; infinite where one is not finite and the other differs."""
    dtype = found.dtype
    info = np.finfo(dtype)
    with np.errstate(all="ignore"):
        rounded = wanted.astype(dtype)
        size = np.maximum(np.abs(rounded), np.maximum(least, info.tiny).astype(dtype))
        ulp = np.where(np.isfinite(size), np.spacing(np.where(np.isfinite(size), size, 1)), 1).astype(wanted.dtype)
        error = np.abs(found.astype(wanted.dtype) - wanted) / ulp
    same = (found == rounded) | (np.isnan(found) & np.isnan(wanted))
    return np.where(same, 0, np.where(np.isfinite(error), error, INF)).astype(np.float64)


def check(name: str, x: Array, found: Array, wanted: Array, limit: float) -> None:
    least = np.where(
        (x < 0) & (name in ("lgamma", "digamma")), 1.0, 0.0
    )  # left of zero, they are sums of larger terms with zeros
    error = errors(found, wanted, least)
    k = int(np.argmax(error))
    assert error[k] <= limit, f"{name}({x[k]!r}) = {found[k]!r}, wanted {wanted[k]!r}: {error[k]:.2f} > {limit} ulp"


@functools.cache
def native(dtype: str) -> NativeRules:
    d = np.dtype(dtype)
    rules: dict[str, tuple[Callable[..., Any], tuple[np.dtype, ...]]] = {n: (getattr(vm, n), (d,)) for n in UNARY}
    return NativeRules(rules | {n: (getattr(vm, n), (d, d)) for n in ("pow", "atan2", "hypot")})


def count(name: str, dtype: str) -> int:
    return 40_000 if dtype == "float32" else 250 if name in SPECIAL else 10_000


wide_enough = pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="no number type beyond float64")
EACH = [pytest.param(n, d, id=f"{n} {d}", marks=[wide_enough] if d == "float64" else []) for n in UNARY for d in TYPES]

# ---------------------------------------------------------------------------------------- the tests


@pytest.mark.parametrize(("name", "dtype"), EACH)
def test_accuracy(name: str, dtype: str) -> None:
    """Natively, and evaluated as on a machine without fma."""
    x = sample(name, dtype, count(name, dtype))
    if name in ("lgamma", "digamma"):
        x = x[~(np.abs(x) > 1e30) & ~((x < 0) & (np.abs(x) > 1e4))]
    if name == "lgamma" and dtype == "float32":
        x = x[np.abs(x) > 1e-37]  # the reference overflows at its reflection
    wanted, limit = truth(name, x), documented()[name][dtype]
    check(name, x, native(dtype).run(name, x), wanted, limit)
    check(name, x, run_pointwise(getattr(vm, name), x, fused=False), wanted, limit)
    if name in CHOOSING:
        for arithmetic in MACHINES:
            check(name, x, run_pointwise(getattr(vm, name), x, arithmetic=arithmetic), wanted, limit)


# Where dense samples of all numbers found the greatest errors
WORST = {
    "acosh": (1.05, 1.09), "cos": (-0.4, 0.4), "digamma": (1.9, 2.1), "erf": (0.9, 0.96), "erfc": (6.2, 8.2), "erf_inv": (0.93, 1.0),
    "expm1": (0.33, 0.42), "lgamma": (1.9, 3.2), "log1p": (0.4, 0.5), "log2": (1.3, 1.45), "logistic": (-5.6, -5.4), "sin": (1.2, 1.9),
    "tan": (10.1, 10.3), "tanh": (0.3, 0.7),
}  # fmt: skip


@pytest.mark.parametrize("name", WORST)
@pytest.mark.parametrize("dtype", [pytest.param(d, marks=[wide_enough] if d == "float64" else []) for d in TYPES])
def test_accuracy_where_it_is_least(name: str, dtype: str) -> None:
    n = (
        {"float32": 20_000, "float64": 500 if name == "erf_inv" else 4000}
        if name in SPECIAL
        else {"float32": 200_000, "float64": 40_000}
    )
    x = np.random.default_rng(0).uniform(*WORST[name], n[dtype]).astype(dtype)
    wanted = truth(name, x)
    for arithmetic in (Arithmetic(), *MACHINES):
        found = run_pointwise(getattr(vm, name), x, fused=arithmetic.fused, arithmetic=arithmetic)
        check(name, x, found, wanted, documented()[name][dtype])


@wide_enough
@pytest.mark.parametrize("form", [Arithmetic(), *MACHINES])
def test_lgamma_and_digamma_next_to_their_zeros_and_ends(form: Arithmetic) -> None:
    """... of positive numbers, where formulas meet, next to the poles, and at numbers of any size."""
    steps = np.arange(-40, 41) * 2.0**-52
    crossing = [at * (1 + steps * scale) for at in (1.0, 2.0, 1.4616321449683622, 3.0) for scale in (1, 1e4, 1e8)]
    left = [-k + sign * np.exp2(-np.arange(1.0, 45)) for k in range(1, 18) for sign in (-1, 1)]
    x = np.concatenate([*crossing, *left, np.exp2(np.arange(-1070, 1010, 7.3)), -np.exp2(np.arange(-1070, 30, 7.3))])
    for name in ("lgamma", "digamma"):
        found = run_pointwise(getattr(vm, name), x, fused=form.fused, arithmetic=form)
        check(name, x, found, truth(name, x), documented()[name]["float64"])


def test_formulas_that_depend_on_the_machine_are_named() -> None:
    """... so that each form is evaluated everywhere, and not only on the machine that it is for."""

    def text(name: str, dtype: str, arithmetic: Arithmetic) -> str:
        rule = (np.dtype(dtype),) * (2 if name in ("pow", "atan2", "hypot") else 1)
        return print_kernel(pointwise_kernel("k", getattr(vm, name), rule, arithmetic)[0])

    differ = {n for n in vm.__all__ for d in TYPES for m in MACHINES if text(n, d, m) != text(n, d, Arithmetic())}
    assert differ == set(CHOOSING)


EXACT: dict[str, Callable[..., Any]] = {  # in mpmath, where it has another name or form
    "exp2": lambda x: mpmath.power(2, x), "log2": lambda x: mpmath.log(x, 2), "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
    "logistic": lambda x: 1 / (1 + mpmath.exp(-x)), "pow": mpmath.power,
}  # fmt: skip


@wide_enough
@pytest.mark.parametrize("name", [*NUMPY, "pow", "atan2", "hypot"])
def test_the_truths_are_true(name: str) -> None:
    """What the errors of float64 are measured from is itself within a hundredth of a unit of mpmath's number."""
    x = np.resize(sample(name, "float64", 1000)[::7], 300) if name in NUMPY else None
    arrays = [x] if x is not None else [a[::311] for a in _pairs("float64")]
    reference = NUMPY.get(name) or {"pow": np.power, "atan2": np.arctan2, "hypot": np.hypot}[name]
    with np.errstate(all="ignore"):
        wide = reference(*[a.astype(np.longdouble) for a in arrays])
        met = (
            np.isfinite(wide) & (np.abs(wide) >= np.finfo(np.float64).tiny) & (np.abs(wide) <= np.finfo(np.float64).max)
        )
    exact = EXACT.get(name) or getattr(mpmath, name)
    assert met.sum() > 50
    with mpmath.workprec(1300 if name in ("sin", "cos", "tan") else 300):
        wanted = [mpmath.nstr(exact(*map(mpmath.mpf, map(float, at))), 25) for at in zip(*(a[met] for a in arrays))]
    wanted = np.array([np.longdouble(w) for w in wanted])
    unit = np.spacing(np.abs(wanted).astype(np.float64))
    assert (np.abs(wide[met] - wanted) / unit).max() < 0.01


@pytest.mark.parametrize("dtype", TYPES)
def test_the_table_is_complete(dtype: str) -> None:
    assert set(documented()) == set(vm.__all__)
    assert all(limits[dtype] < 4 for limits in documented().values())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", ODD)
def test_odd_functions_are_odd_and_keep_the_sign_of_zero(name: str, dtype: str) -> None:
    x = sample(name, dtype, 200)
    up, down = (native(dtype).run(name, v) for v in (x, -x))
    if name not in ("expm1", "log1p"):
        np.testing.assert_array_equal(up, -down)
    zero = np.array([0.0, -0.0], dtype)
    np.testing.assert_array_equal(np.signbit(native(dtype).run(name, zero)), [False, True])


@pytest.mark.parametrize("dtype", TYPES)
def test_bounded_functions_keep_their_bounds(dtype: str) -> None:
    x = sample("tanh", dtype, 20_000)
    x = x[np.isfinite(x)]
    for name, low, high in (("tanh", -1, 1), ("sin", -1, 1), ("cos", -1, 1), ("logistic", 0, 1), ("erf", -1, 1)):
        y = native(dtype).run(name, x)
        assert low <= y.min() and y.max() <= high, name
    top = np.pi / 2 * (1 + np.random.default_rng(0).uniform(-1, 1, 500_000) * 2.0**-26)
    for name, near in (("sin", top.astype(dtype)), ("cos", (top - np.pi / 2).astype(dtype))):
        assert native(dtype).run(name, near).max() <= 1, name


@pytest.mark.parametrize("dtype", TYPES)
def test_exact_values(dtype: str) -> None:
    n = np.arange(-30, 31).astype(dtype)
    powers = np.ldexp(np.ones_like(n), n.astype(int))
    run = native(dtype).run
    np.testing.assert_array_equal(run("exp2", n), powers)
    np.testing.assert_array_equal(run("log2", powers), n)
    np.testing.assert_array_equal(run("pow", np.full_like(n, 2), n), powers)
    np.testing.assert_array_equal(run("cbrt", n**3), n)
    points = [
        ("exp", 0, 1),
        ("cos", 0, 1),
        ("cosh", 0, 1),
        ("log", 1, 0),
        ("erfc", 0, 1),
        ("lgamma", 1, 0),
        ("lgamma", 2, 0),
    ]
    for name, at, value in points:
        assert run(name, np.array([at], dtype))[0] == value, name


@pytest.mark.parametrize("form", [*MACHINES, Arithmetic()])
def test_logarithms_at_the_ends_of_their_intervals(form: Arithmetic) -> None:
    """Next to every power of two, and where a mantissa passes from one number of a table to the next; zeros keep their sign."""
    places = (np.arange(32) / 32 + 1)[:, None] * np.exp2(np.arange(-126, 126))[None, :]
    x = places.astype(np.float32).ravel()
    x = np.concatenate([x, np.nextafter(x, np.float32(0)), np.nextafter(x, np.float32(INF))])
    for name, at in (("log", x), ("log1p", x), ("log1p", -x[x < 1]), ("log1p", x - np.float32(1))):
        with np.errstate(all="ignore"):
            found = run_pointwise(getattr(vm, name), at, fused=form.fused, arithmetic=form)
        check(name, at, found, truth(name, at), documented()[name]["float32"])
    zeros = run_pointwise(vm.log1p, np.array([0.0, -0.0], np.float32), fused=form.fused, arithmetic=form)
    assert np.signbit(zeros).tolist() == [False, True]
    assert not np.signbit(run_pointwise(vm.log, np.ones(1, np.float32), fused=form.fused, arithmetic=form))[0]


@pytest.mark.parametrize("dtype", [pytest.param(d, marks=[wide_enough] if d == "float64" else []) for d in TYPES])
def test_huge_arguments_of_sin_cos_tan(dtype: str) -> None:
    """Numbers of every size, and the one that of all float64 is nearest to a multiple of pi/2."""
    nearest = {"float32": 16367173.0 * 2.0**72, "float64": 6381956970095103.0 * 2.0**797}
    x = any_numbers(dtype, 3000, np.random.default_rng(0))
    x = np.append(x[np.isfinite(x)], np.asarray(nearest[dtype], dtype))
    with mpmath.workprec(1300):
        wide = np.longdouble if dtype == "float64" else np.float64
        for name in ("sin", "cos", "tan"):
            wanted = np.array([wide(mpmath.nstr(getattr(mpmath, name)(mpmath.mpf(float(v))), 25)) for v in x])
            check(name, x, native(dtype).run(name, x), wanted, documented()[name][dtype])


@pytest.mark.parametrize("dtype", [pytest.param(d, marks=[wide_enough] if d == "float64" else []) for d in TYPES])
@pytest.mark.parametrize("form", ["native", "plain", "fused"])
def test_sin_cos_tan_next_to_multiples_of_a_quarter_turn(dtype: str, form: str) -> None:
    """... where most digits of the argument cancel: on both sides of where pi/2 is subtracted in pieces."""
    rng = np.random.default_rng(0)
    n = np.concatenate([np.arange(1, 300), rng.integers(1, 45000, 600), rng.integers(40000, 10**6, 100)])
    x = (n * (np.longdouble(np.pi) + np.longdouble(1.2246467991473532e-16)) / 2).astype(dtype)
    x = np.concatenate([x, np.nextafter(x, x.dtype.type(0)), np.nextafter(x, x.dtype.type(INF)), -x])
    with mpmath.workprec(300):
        wide = np.longdouble if dtype == "float64" else np.float64
        for name in ("sin", "cos", "tan"):
            wanted = np.array([wide(mpmath.nstr(getattr(mpmath, name)(mpmath.mpf(float(v))), 25)) for v in x])
            forms: dict[str, Callable[[], Any]] = {
                "native": lambda: native(dtype).run(name, x),
                "plain": lambda: run_pointwise(getattr(vm, name), x, fused=False),
                "fused": lambda: run_pointwise(getattr(vm, name), x, arithmetic=MACHINES[0]),
            }
            found = forms[form]()
            check(name, x, found, wanted, documented()[name][dtype])


@pytest.mark.parametrize("dtype", TYPES)
def test_a_lane_does_not_depend_on_its_neighbours(dtype: str) -> None:
    """Numbers that take the rare way leave the others as they are."""
    x = np.random.default_rng(0).uniform(-9, 9, 256).astype(dtype)
    mixed = np.where(np.arange(256) % 5 == 0, np.asarray(1e9, dtype), x)
    for name in ("sin", "cos", "tan"):
        alone, among = native(dtype).run(name, x), native(dtype).run(name, mixed)
        np.testing.assert_array_equal(among[mixed == x], alone[mixed == x])
        np.testing.assert_allclose(among[::5], NUMPY[name](np.float64(1e9)), rtol=1e-5)


def _pairs(dtype: str) -> tuple[Array, Array]:
    """Bases and exponents: all sizes, results of all sizes, whole numbers, and all pairs of edge values."""
    rng = np.random.default_rng(1)
    n = 20_000
    x, y = np.abs(any_numbers(dtype, n, rng)), any_numbers(dtype, n, rng)
    base = np.exp(rng.uniform(-5, 5, n))
    top = 1.02 * np.log(float(np.finfo(dtype).max))
    exponent = rng.uniform(-top, top, n) / np.log(base)
    worst = rng.uniform(1.409, 1.41421, n)  # of pow
    largest = rng.uniform(0.92, 0.98, n) * top / np.log(worst)
    whole = [np.round(rng.uniform(-30, 30, n)) for _ in range(2)]
    edges = np.array([
        0.0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, INF, -INF, NAN, 1e-30, -1e30, 2.0**24, 2.0**24 - 1, 2.0**53 - 1, 1e-44,
    ])  # fmt: skip
    grid = np.meshgrid(edges, edges)
    with np.errstate(all="ignore"):
        xs, ys = (
            [*v]
            for v in ((x, base, worst, whole[0], grid[0].ravel()), (y, exponent, largest, whole[1], grid[1].ravel()))
        )
        return tuple(np.concatenate([np.asarray(p).astype(dtype) for p in v]) for v in (xs, ys))  # type: ignore[return-value]


@pytest.mark.parametrize("dtype", [pytest.param(d, marks=[wide_enough] if d == "float64" else []) for d in TYPES])
@pytest.mark.parametrize(("name", "reference"), [("pow", np.power), ("atan2", np.arctan2), ("hypot", np.hypot)])
def test_accuracy_of_two_operands(name: str, reference: Any, dtype: str) -> None:
    x, y = _pairs(dtype)
    wide = np.longdouble if dtype == "float64" else np.float64
    with np.errstate(all="ignore"):
        wanted = reference(x.astype(wide), y.astype(wide))
    limit = documented()[name][dtype]
    check(name, x, native(dtype).run(name, x, y), wanted, limit)
    check(name, x, run_pointwise(getattr(vm, name), x, y, fused=False), wanted, limit)


@pytest.mark.parametrize("name", ["sse2", "avx2", "avx512", "scalar"])
def test_other_machines_keep_the_limits(name: str) -> None:
    """Without fma and rounding instructions, with both, and without SIMD."""
    names = ("exp", "tanh", "log", "log1p", "sin", "logistic")
    rules = {n: (getattr(vm, n), (np.dtype("float32"),)) for n in names}
    restricted = NativeRules(rules, level(name))
    for function in names:
        x = sample(function, "float32", 5000)
        check(function, x, restricted.run(function, x), truth(function, x), documented()[function]["float32"])


@pytest.mark.parametrize("name", ["exp", "tanh", "sin"])
def test_explicit_vectors_give_the_same_bits(name: str) -> None:
    """A kernel that loads eight lanes at once computes what the scalar loop computes."""
    b = KernelBuilder("lanes", host().arithmetic)
    source, target = b.pointer("x", f32), b.pointer("out", f32)
    with b.for_("i", b.lo, b.hi, step=8) as i:
        b.store(target, i, getattr(vm, name)(b, b.let("v", b.load(source, i, 8))))
    address = load_object(compile_object([b.build()], host()), ["lanes"])["lanes"]
    x = sample(name, "float32", 1000)[:1024].copy()
    out = np.empty_like(x)
    frame = np.array([x.ctypes.data, out.ctypes.data], np.int64)
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(address)(frame.ctypes.data, 0, x.size, 0)
    np.testing.assert_array_equal(out, native("float32").run(name, x))


def test_the_check_can_fail() -> None:
    """A planted error of one part in a million is found."""
    x = sample("exp", "float32", 1000)
    wanted = truth("exp", x)
    with np.errstate(all="ignore"):
        spoilt = (wanted * 1.000001).astype(np.float32)
    with pytest.raises(AssertionError, match="ulp"):
        check("exp", x, spoilt, wanted, 1.2)
