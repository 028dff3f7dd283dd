"""Every pointwise rule against the primitive's NumPy reference, over dtypes and edge values.

Each case runs twice: on the evaluator of loop IR, and natively in a vectorised loop.
"""

from __future__ import annotations

import functools
import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from graph_harness import graph_of
from loop_eval import run_pointwise
from loop_harness import level as loop_level
from pointwise_native import NativeRules

import fx.primitives.elementwise as family
import jit
import jit.lower  # noqa: F401  fills POINTWISE
from fx import dtypes
from fx.interpret import run_graph
from fx.ir import Aval, Eqn, Var
from fx.primitive import Primitive, primitive
from fx.primitives import shaping
from jit.loop_ir import Const
from jit.lower.registry import POINTWISE
from jit.lower.shaping import SHAPING
from jit.lower.types import ty_of
from jit.target import host

INF, NAN = np.inf, np.nan
BOOL = (dtypes.bool_,)
INTS = dtypes.INTEGERS
FLOATS = dtypes.FLOATS
REALS = INTS + FLOATS
WIDE = (dtypes.float32, dtypes.float64)
COMPLEX = dtypes.COMPLEXES

# -------------------------------------------------------------------------------------- the table


@dataclass(frozen=True)
class Case:
    """A primitive with the dtypes to test it on.

    Attributes:
        ulps: tolerance in spacings of the result; 0 wants equal numbers.
        half_ulps: the tolerance for 16-bit floats, whose references round in the middle of some formulas.
        absolute: below 1, the spacings are those of 1.
        low, high: operands are clipped to this range.
    """

    name: str
    arity: int
    dtypes: tuple[np.dtype, ...]
    ulps: float = 0.0
    params: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    low: float = -INF
    high: float = INF
    half_ulps: float = 1.0
    absolute: bool = False

    def __str__(self) -> str:
        return self.name + self.label


def cases() -> Iterator[Case]:
    for name in ("add", "sub", "mul"):
        yield Case(name, 2, REALS)
        yield Case(name, 2, COMPLEX, 2)
    yield Case("div", 2, REALS)
    yield Case("div", 2, COMPLEX, 4)
    yield Case("rem", 2, REALS)
    for name in ("max", "min"):
        yield Case(name, 2, BOOL + REALS + COMPLEX)
    for name in ("eq", "ne"):
        yield Case(name, 2, BOOL + REALS + COMPLEX)
    for name in ("lt", "le", "gt", "ge"):
        yield Case(name, 2, BOOL + REALS)
    for name in ("and", "or", "xor"):
        yield Case(name, 2, BOOL + INTS)
    for name in ("shift_left", "shift_right_logical", "shift_right_arithmetic"):
        yield Case(name, 2, INTS)
    for name in ("pow", "gcd"):
        yield Case(name, 2, INTS)
    yield Case("not", 1, BOOL + INTS)
    for name in ("population_count", "clz"):
        yield Case(name, 1, INTS)
    for name in ("neg", "sign", "square"):
        yield Case(name, 1, REALS)
        yield Case(name, 1, COMPLEX, 4, high=1e15, low=-1e15)
    yield Case("abs", 1, REALS)
    yield Case("abs", 1, COMPLEX, 2)
    for name in ("floor", "ceil", "is_finite"):
        yield Case(name, 1, FLOATS)
    for method in ("to_even", "away_from_zero"):
        yield Case("round", 1, FLOATS, params={"rounding_method": method}, label=f" {method}")
    yield Case("nextafter", 2, FLOATS)
    yield Case("sqrt", 1, FLOATS)
    yield Case("sqrt", 1, COMPLEX, 3)
    yield Case("rsqrt", 1, FLOATS, 2)
    yield Case("rsqrt", 1, COMPLEX, 6)
    yield Case("cbrt", 1, FLOATS, 2)
    for y in (0, 1, 2, 3, 5, 10):
        yield Case("integer_pow", 1, REALS, 4, params={"y": y}, label=f" {y}", half_ulps=y + 1)
        yield Case("integer_pow", 1, COMPLEX, 8 * y + 4, params={"y": y}, label=f" {y}", low=-50, high=50)
    for y in (-1, -3):
        yield Case("integer_pow", 1, FLOATS, 4, params={"y": y}, label=f" {y}", half_ulps=3)
        yield Case("integer_pow", 1, COMPLEX, 30, params={"y": y}, label=f" {y}", low=-50, high=50)
    yield from _transcendental()
    for name in ("real", "imag", "conj"):
        yield Case(name, 1, COMPLEX)
    yield Case("complex", 2, WIDE)
    yield Case("clamp", 3, BOOL + REALS)
    for new in dtypes.ALL:
        yield Case("convert_element_type", 1, dtypes.ALL, params={"new_dtype": new}, label=f" {new}")
    for size in (1, 2, 4, 8):
        same = tuple(d for d in REALS if d.itemsize == size)
        for new in same:
            yield Case("bitcast_convert_type", 1, same, params={"new_dtype": new}, label=f" {new}")


def _transcendental() -> Iterator[Case]:
    for name in (
        "exp", "exp2", "expm1", "log", "log1p", "log2", "logistic", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
        "tanh", "asinh", "acosh", "atanh",
    ):  # fmt: skip
        yield Case(name, 1, FLOATS, 4)
        yield Case(name, 1, COMPLEX, 16, absolute=name == "log1p")
    for name in ("erf", "erfc", "erf_inv"):
        yield Case(name, 1, FLOATS, 8)
    for name in ("lgamma", "digamma"):
        yield Case(name, 1, FLOATS, 64, high=1e4, low=-20, absolute=True)
    yield Case("atan2", 2, FLOATS, 4)
    yield Case("pow", 2, FLOATS, 4)
    yield Case("pow", 2, COMPLEX, 300, low=-8, high=8)


CASES = list(cases())
TRANSCENDENTAL = {c.name for c in _transcendental()}
_SHORT_ROUTE = {"exp", "tanh", "sqrt"}  # narrow types all go the same way: to a wider one and back


def compiled_natively(case: Case, dtype: np.dtype) -> bool:
    """Leaves out what would only compile the same long loops again."""
    narrow = dtype.name in ("float16", "bfloat16", "complex64")
    return not narrow or case.name not in TRANSCENDENTAL or case.name in _SHORT_ROUTE


NATIVE = [(c, d) for c in CASES for d in c.dtypes if compiled_natively(c, d)]

# ------------------------------------------------------------------------------------- the operands

_FLOAT_EDGES = (
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.0, -2.5, 3.7, -3.7, 1e-3, -1e-7, 0.49999997, 30.0, -30.0, 88.0, -104.0, 127.0,
    255.5, -129.0, 32768.0, 65519.0, 2.0**24 + 2, 2.0**31, -(2.0**31), 2.0**32, 2.0**63, -(2.0**63), 2.0**64, 1e20, -1e30,
    INF, -INF, NAN,
)  # fmt: skip


@functools.cache
def edges(dtype: np.dtype) -> np.ndarray:
    """Values of a dtype where rules tend to go wrong, and some ordinary ones."""
    rng = np.random.default_rng(7)
    if dtypes.is_bool(dtype):
        return np.array([False, True])
    if dtypes.is_integer(dtype):
        info = np.iinfo(dtype)
        limits = [info.max, info.max - 1, info.min, info.min + 1, info.max // 2 + 1]
        special = [0, 1, 2, 3, 7, 8, 31, 32, 63, 64, 100, *limits]
        special += [-1, -2, -3, -31, -100] if info.min < 0 else []
        kept = [v for v in special if info.min <= v <= info.max]
        return np.concatenate([np.array(kept, dtype), rng.integers(info.min, info.max, 20, dtype, endpoint=True)])
    if dtypes.is_complex(dtype):
        parts = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.7, 1e-3, -30.0, 1e-20, INF, -INF])
        re, im = np.meshgrid(parts, parts)
        z = np.empty(re.size + 200, dtype)
        z.real[: re.size], z.imag[: re.size] = re.ravel(), im.ravel()
        z[re.size :] = rng.normal(size=200) * 2 + 2j * rng.normal(size=200)
        return z
    with np.errstate(all="ignore"):
        least = {"float16": -24, "bfloat16": -133, "float32": -149, "float64": -1074}[dtype.name]
        tiny = np.ldexp(np.array([1.0, -1.0, 3.0]), least)
        ordinary = rng.normal(size=40) * np.exp(rng.normal(size=40))
        return np.concatenate([np.array(_FLOAT_EDGES), tiny, ordinary]).astype(dtype)


def operands(case: Case, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """All pairs of edges for two operands, a sample of the triples for three."""
    e = edges(dtype)
    if case.low > -INF or case.high < INF:
        parts = [p.astype(np.float64) for p in ((e.real, e.imag) if e.dtype.kind == "c" else (e,))]
        parts = [np.clip(p, case.low, case.high) for p in parts]
        e = (parts[0] if len(parts) == 1 else parts[0] + 1j * parts[1]).astype(dtype)
    if case.name == "lgamma":
        e = e[np.abs(e) > np.finfo(np.float32).tiny]  # the reference overflows at subnormals
    if case.arity == 1:
        return (e,)
    grids = [g.ravel() for g in np.meshgrid(*[e] * min(case.arity, 2))]
    if case.arity == 3:
        grids.append(np.random.default_rng(3).permutation(grids[0]))
    keep = np.random.default_rng(5).permutation(grids[0].size)[:6000]
    return tuple(g[keep] for g in grids)


def equation(name: str, dtypes_in: tuple[np.dtype, ...], params: dict[str, Any]) -> Eqn:
    prim = primitive(name)
    avals = [Aval((), d) for d in dtypes_in]
    out = prim.rule("abstract")(*avals, **params)
    outs = out if prim.multiple_results else (out,)
    return Eqn(prim, tuple(Var(a) for a in avals), params, tuple(Var(a) for a in outs))


def rule_of(name: str, dtypes_in: tuple[np.dtype, ...], params: dict[str, Any]) -> Any:
    eqn = equation(name, dtypes_in, params)
    return lambda b, *values: POINTWISE[name](b, eqn, *values)


def joined(value: Any, dtype: np.dtype) -> np.ndarray:
    """A pair of parts as a complex array."""
    if not isinstance(value, tuple):
        return value
    z = np.empty(value[0].shape, dtype)
    z.real, z.imag = value
    return z


# ---------------------------------------------------------------------------------- the comparison


def spacing(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The distance between neighbours of ``dtype`` at ``x`` (float64)."""
    digits, least = {
        "float16": (10, -14), "bfloat16": (7, -126), "float32": (23, -126), "float64": (52, -1022)
    }[dtype.name]  # fmt: skip
    _, e = np.frexp(np.abs(x))
    return np.ldexp(1.0, np.maximum(e - 1, least) - digits)


def assert_agrees(case: Case, found: np.ndarray, wanted: np.ndarray, inputs: tuple[np.ndarray, ...]) -> None:
    assert found.dtype == wanted.dtype
    if wanted.dtype.kind == "c":
        _assert_complex(case, found, wanted, inputs)
        return
    if not dtypes.is_float(wanted.dtype) or not case.ulps:
        with np.errstate(all="ignore"):  # comparing signalling NaNs
            ok = (found == wanted) | ((found != found) & (wanted != wanted))
    else:
        with np.errstate(all="ignore"):
            f, w = found.astype(np.float64), wanted.astype(np.float64)
            scale = spacing(np.maximum(np.abs(w), float(case.absolute)), wanted.dtype)
            limit = case.ulps if wanted.dtype.itemsize > 2 else case.half_ulps
            close = np.abs(f - w) <= limit * scale
        overflows = np.isinf(f) & np.isfinite(w) & (np.abs(w) > 0.99 * np_max(wanted.dtype))
        ok = close | (f == w) | (np.isnan(f) & np.isnan(w)) | overflows
    _explain(case, ok, found, wanted, inputs)


def np_max(dtype: np.dtype) -> float:
    return 3.38e38 if dtype.name == "bfloat16" else float(np.finfo(dtype).max)


def _assert_complex(case: Case, found: np.ndarray, wanted: np.ndarray, inputs: tuple[np.ndarray, ...]) -> None:
    """Close as points of the plane.  Where the reference has a NaN part, C99 leaves the other part open."""
    with np.errstate(all="ignore"):
        sizes = [np.where(np.isfinite(p), np.abs(p), 0.0) for p in (wanted.real, wanted.imag)]
        size = np.maximum(np.hypot(*sizes), float(case.absolute))
        limit = case.ulps * spacing(size, wanted.real.dtype)
        close = np.abs(found.astype(np.complex128) - wanted) <= limit
        same = [(f == w) | (np.abs(f - w) <= limit) for f, w in ((found.real, wanted.real), (found.imag, wanted.imag))]
    open_ = np.isnan(wanted.real) | np.isnan(wanted.imag)
    exact = not case.ulps
    ok = (same[0] & same[1]) | (close & (not exact)) | open_
    _explain(case, ok, found, wanted, inputs)


def _explain(case: Case, ok: np.ndarray, found: np.ndarray, wanted: np.ndarray, inputs: tuple[np.ndarray, ...]) -> None:
    bad = np.flatnonzero(~ok)[:5]
    rows = [f"{[x[k] for x in inputs]}: {found[k]!r}, wanted {wanted[k]!r}" for k in bad]
    assert not bad.size, f"{case} {wanted.dtype}, {np.sum(~ok)} of {ok.size}:\n" + "\n".join(rows)


def reference(name: str, params: dict[str, Any], inputs: tuple[np.ndarray, ...]) -> Any:
    with np.errstate(all="ignore"):
        return primitive(name).rule("impl")(*inputs, **params)


# -------------------------------------------------------------------------------------- the tests


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c} {c.dtypes[0]}")
def test_evaluated_rule_agrees_with_the_reference(case: Case) -> None:
    for dtype in case.dtypes:
        inputs = operands(case, dtype)
        wanted = reference(case.name, case.params, inputs)
        found = run_pointwise(rule_of(case.name, (dtype,) * case.arity, case.params), *inputs)
        assert_agrees(case, joined(found, wanted.dtype), wanted, inputs)


PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_native_rules_agree_with_the_reference(dtype: np.dtype, part: int) -> None:
    """All rules for one dtype in a few modules: compiled one by one they would take several times as long."""
    cases = [c for c, d in NATIVE if d == dtype and zlib.crc32(str(c).encode()) % PARTS == part]
    rules = {str(c): (rule_of(c.name, (dtype,) * c.arity, c.params), (dtype,) * c.arity) for c in cases}
    native, wrong = NativeRules(rules), []
    for case in cases:
        inputs = operands(case, dtype)
        wanted = reference(case.name, case.params, inputs)
        try:
            assert_agrees(case, joined(native.run(str(case), *inputs), wanted.dtype), wanted, inputs)
        except AssertionError as e:
            wrong.append(str(e))
    assert not wrong, "\n".join(wrong)


def test_every_elementwise_primitive_has_a_loop_and_a_case() -> None:
    names = {p.name for p in vars(family).values() if isinstance(p, Primitive)} - set(SHAPING)
    assert names <= set(POINTWISE)
    assert names == {c.name for c in CASES} | {"select_n"}
    assert "threefry2x32" in POINTWISE


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
@pytest.mark.parametrize("cases", [2, 3])
def test_select_n(dtype: np.dtype, cases: int) -> None:
    arrays = tuple(np.roll(edges(dtype), k) for k in range(cases))
    rng = np.random.default_rng(1)
    integer = rng.integers(-1, cases + 1, arrays[0].size).astype(np.int32)
    for which in (integer,) if cases > 2 else (integer, integer > 0):
        inputs = (which, *arrays)
        wanted = reference("select_n", {}, inputs)
        rule = rule_of("select_n", (which.dtype, *[dtype] * cases), {})
        native = NativeRules({"select_n": (rule, (which.dtype, *[dtype] * cases))})
        for found in (run_pointwise(rule, *inputs), native.run("select_n", *inputs)):
            assert_agrees(Case("select_n", 1, ()), joined(found, dtype), wanted, inputs)


# The vectors of the Random123 distribution: key, counter, result.
_THREEFRY = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


def test_threefry_known_answers() -> None:
    inputs = tuple(np.array([v[i][j] for v in _THREEFRY], np.uint32) for i, j in itertools.product((0, 1), (0, 1)))
    rule = rule_of("threefry2x32", (dtypes.uint32,) * 4, {})
    native = NativeRules({"threefry": (rule, (dtypes.uint32,) * 4)})
    for found in (run_pointwise(rule, *inputs), native.run("threefry", *inputs)):
        for j in (0, 1):
            np.testing.assert_array_equal(found[j], np.array([v[2][j] for v in _THREEFRY], np.uint32))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_powers_with_constant_exponents(dtype: np.dtype) -> None:
    """The planner passes a constant where an operand is a literal; some powers are products and roots then."""
    x = np.concatenate([edges(dtype), np.linspace(0.25, 4, 5001).astype(dtype)])
    eqn = equation("pow", (dtype, dtype), {})
    exponents = (-3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 1 / 3, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
    for y in exponents:
        rule = lambda b, v, y=y: POINTWISE["pow"](b, eqn, v, Const(dtype.type(y), ty_of(dtype)))
        wanted = reference("pow", {}, (x, np.full_like(x, y)))
        assert_agrees(Case("pow", 2, (), 4), run_pointwise(rule, x), wanted, (x,))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_powers_of_two(dtype: np.dtype) -> None:
    y = np.concatenate([edges(dtype), np.linspace(-20, 20, 5001).astype(dtype)])
    eqn = equation("pow", (dtype, dtype), {})
    found = run_pointwise(lambda b, v: POINTWISE["pow"](b, eqn, Const(dtype.type(2), ty_of(dtype)), v), y)
    assert_agrees(Case("pow", 2, (), 4), found, reference("pow", {}, (np.full_like(y, 2), y)), (y,))


@pytest.mark.parametrize(
    ("dtype", "ulps", "factor"), [("float32", 4, 1.000001), ("complex128", 4, 1 + 2e-15), ("int8", 0, 2)]
)
def test_the_comparison_can_fail(dtype: str, ulps: float, factor: float) -> None:
    """Planted errors of a few units of the last place are found."""
    x = edges(np.dtype(dtype))
    x = x[np.isfinite(x)]
    with np.errstate(all="ignore"), pytest.raises(AssertionError, match="wanted"):
        assert_agrees(Case("exp", 1, (), ulps), (x * x.dtype.type(factor)), x, (x,))


@pytest.mark.parametrize("level", ["host", "avx2", "sse4", "scalar"])
def test_quotients_of_vectors_by_one_number(level: str) -> None:
    """... which is read, not known to the code: all that numbers of 8 bits may be, and the ends of the others."""
    target = loop_level(level)
    for dtype in INTS:
        info = np.iinfo(dtype)
        rng = np.random.default_rng(0)
        ends = np.array([info.min, info.min + 1, 0, 1, 3, info.max - 1, info.max], dtype)
        x = np.arange(256).astype(dtype) if dtype.itemsize == 1 else rng.integers(info.min, info.max, 301, dtype, True)
        x = np.concatenate([x, ends])

        def both(x: Any, y: Any) -> list[Any]:
            y = shaping.broadcast_in_dim(y, x.shape, ())
            return [family.div(x, y), family.rem(x, y)]

        graph = graph_of(both, x, x[0])
        run = jit.compile(graph, jit.Options(target=target))
        divisors = [*ends, *(ends[ends != 0] // 2), *np.array([2, 7, 10, 100], dtype), *rng.choice(x, 10)]
        for y in map(np.asarray, divisors):
            near = x if y == 0 else np.concatenate([x[:-3], y * np.array([1, 2, 3], dtype)])  # whole quotients
            for found, wanted in zip(run(near, y), run_graph(graph, (near, y)), strict=True):
                np.testing.assert_array_equal(found, wanted, err_msg=f"{dtype} {y}")


def near_the_ends(dtype: str) -> np.ndarray:
    """Floats around the ends of every integer type, around zero, and of all magnitudes."""
    rng, least = np.random.default_rng(0), np.finfo(dtype)
    powers = [
        s * min(2.0**p, float(least.max)) for p in (7, 8, 15, 16, 24, 31, 32, 52, 53, 62, 63, 64, 65) for s in (1, -1)
    ]
    with np.errstate(over="ignore"):
        x = np.concatenate(
            [
                np.array([0.0, -0.0, 0.5, -0.5, 0.99, -0.99, np.nan, np.inf, -np.inf, *powers], dtype),
                (np.add.outer(powers, [-1.5, -1, -0.5, 0.5, 1, 1.5])).ravel().astype(dtype),
                np.nextafter(np.array(powers, dtype), np.array(0, dtype)),
                np.nextafter(np.array(powers, dtype), np.array(powers, dtype) * 2),
                (rng.standard_normal(500) * 10.0 ** rng.integers(-2, 21, 500)).astype(dtype),
            ]
        )
    return x


@pytest.mark.parametrize("level", ["", "avx2", "sse4", "scalar"])
def test_floats_become_the_nearest_integers_that_there_are(level):
    """Towards zero, the ends for what lies beyond them, 0 for NaN: held against Python's integers."""
    target = host().restricted(level) if level else host()
    for source in ("float16", "float32", "float64"):
        x = near_the_ends(source)
        names = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
        graph = graph_of(lambda x: [family.convert_element_type(x, np.dtype(n)) for n in names], x)
        for name, found in zip(names, jit.compile(graph, jit.Options(target=target))(x)):
            ends = np.iinfo(name)
            whole = [0 if v != v else v if abs(v) == np.inf else int(v) for v in x.tolist()]
            wanted = [int(min(max(v, ends.min), ends.max)) for v in whole]
            assert found.dtype == name and found.tolist() == wanted, (source, name)


@pytest.mark.parametrize("level", ["", "avx2", "sse4", "scalar"])
def test_integers_become_the_nearest_floats(level):
    """Rounded once, whatever the way: held against NumPy's, which takes one number at a time."""
    target = host().restricted(level) if level else host()
    rng = np.random.default_rng(0)
    for source in ("int64", "uint64", "int32", "uint32"):
        ends = np.iinfo(source)
        powers = [(1 << p) + d for p in range(ends.bits - 1) for d in (-1, 0, 1)]
        x = np.array([ends.min, ends.max, ends.min + 1, ends.max - 1, *powers], source)
        x = np.concatenate(
            [x, rng.integers(ends.min, ends.max, 500, source) >> rng.integers(0, ends.bits, 500).astype(source)]
        )
        graph = graph_of(lambda x: [family.convert_element_type(x, np.dtype(n)) for n in ("float32", "float64")], x)
        for found in jit.compile(graph, jit.Options(target=target))(x):
            assert found.tobytes() == x.astype(found.dtype).tobytes(), source


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_whole_powers_of_complex_numbers_are_products(dtype):
    """By an exponent that stands in the code; infinities, NaN and zeros as in NumPy, which multiplies as well (but says NaN of
    1/infinity, which is 0 here)."""
    rng = np.random.default_rng(0)
    special = [0, 1, -1, 1j, -1j, 2, complex(INF, 0), complex(0, INF), complex(NAN, 0), complex(-0.0, 0)]
    x = np.concatenate(
        [special, (rng.standard_normal(200) + 1j * rng.standard_normal(200)) * 10.0 ** rng.integers(-2, 3, 200)]
    )
    x = x.astype(dtype)
    for y in (-8.0, -3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 7.0):
        with np.errstate(all="ignore"):
            wanted = (x.astype("complex128") ** y).astype(dtype)
        found = jit.compile(graph_of(lambda x: [family.pow(x, family.full_like(x, y))], x))(x)[0]
        if y == -1:
            wanted[np.isinf(x)] = 0
        np.testing.assert_allclose(found, wanted, rtol=2e-7 if dtype == "complex64" else 2e-15, err_msg=str(y))
