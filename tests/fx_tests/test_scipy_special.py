"""``fx.scipy.special`` beside SciPy, mpmath and JAX: values, derivatives, special arguments, compiled code."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special as scipy_special
from surface import NEWER

import fx
import fx.numpy as fnp
from fx import lax, tree
from fx.errors import DTypeError, MissingRuleError, ShapeError
from fx.scipy import special
from fx.scipy.special import elementary

Args = tuple[np.ndarray, ...]
RNG = np.random.default_rng(0)
LINE = np.concatenate(
    [np.linspace(-12, 12, 97), np.linspace(-1, 1, 21), np.array([0.0, -0.0, np.inf, -np.inf, np.nan])]
)
RAY = np.concatenate([np.linspace(0.03, 60, 90), 10.0 ** np.arange(-12, 3), [0.0, np.inf, np.nan]])
SHAPES = 10.0 ** RNG.uniform(-2, 4, 300)
AROUND = np.abs(SHAPES + np.sqrt(SHAPES) * RNG.normal(size=300) * 3)
SMALL = np.array([np.array(v).ravel() for v in np.meshgrid(np.linspace(0.1, 20, 12), np.linspace(0.05, 18, 11))])
ORDERS = np.array([np.array(v).ravel() for v in np.meshgrid([0.0, 1, 2, 3, 7, 30], 10.0 ** np.linspace(-3, 2.5, 12))])


def _betas() -> Args:
    a, b = 10.0 ** RNG.uniform(-2, 4, (2, 200))
    mean = a / (a + b)
    x = mean + np.sqrt(mean * (1 - mean) / (a + b + 1)) * RNG.normal(size=200) * 2
    x = np.clip(x, 0.05 * mean, 1 - 0.05 * (1 - mean))
    return a, b, x


def by_mpmath(f: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """mpmath's value at 30 digits, element by element."""

    def g(*args: np.ndarray) -> np.ndarray:
        with mpmath.workdps(30):
            out = [f(*map(mpmath.mpmathify, xs)) for xs in zip(*[a.tolist() for a in args])]
        return np.array([complex(v) if isinstance(v, mpmath.mpc) else float(v) for v in out])

    return g


@dataclass
class Case:
    """args, the tolerance relative to the value in float64 and in float32, and the truth if it is not SciPy's."""

    args: Args
    rtol: float = 4e-15
    single: float = 2e-6
    truth: Callable[..., Any] | None = None


PLANE = (RNG.normal(size=200) + 1j * RNG.normal(size=200)) * 10.0 ** RNG.uniform(-2, 0.9, 200)
WHOLE = np.array([np.array(v).ravel() for v in np.meshgrid(np.arange(0, 40.0, 3), np.arange(0, 30.0, 4))])
CASES: dict[str, Case] = {
    "erfcx": Case((LINE,), single=1e-5), "dawsn": Case((LINE,)), "gamma": Case((np.linspace(-9.87, 34.3, 200),), single=3e-6),
    "loggamma": Case((PLANE + 4,), 3e-14, 1e-5), "wofz": Case((PLANE + 0.5j,), 3e-14, 2e-5), "exp1": Case((RAY,)),
    "expi": Case((LINE,), single=5e-6), "spence": Case((RAY[:-2],), single=3e-6), "i0": Case((LINE[:-3],), single=4e-6),
    "i0e": Case((LINE,)), "i1": Case((LINE[:-3],), single=4e-6), "i1e": Case((LINE,)), "factorial": Case((np.linspace(0, 33, 60),), 6e-15, 1e-5),
    "boxcox": Case((SMALL[0], np.linspace(-2, 3, SMALL.shape[1])), single=1e-5),
    "boxcox1p": Case((SMALL[0], np.linspace(-2, 3, SMALL.shape[1])), single=1e-5),
    "beta": Case(tuple(SMALL), 4e-14, 2e-5), "poch": Case(tuple(SMALL), 3e-14, 2e-5),
    "betaln": Case((SHAPES, AROUND + 0.1), 3e-13, 1e-4, by_mpmath(lambda a, b: mpmath.log(mpmath.beta(a, b)))),
    "comb": Case(tuple(WHOLE), 5e-15, 1e-5), "zeta": Case((SMALL[0] + 1, SMALL[1]), 4e-15, 1e-5),
    "polygamma": Case((ORDERS[0][12:], ORDERS[1][12:]), 2e-14, 1e-4), "digamma": Case((RAY[:90],), 2e-13, 2e-5),
    "owens_t": Case((np.linspace(-6, 6, 61), np.linspace(5, -3, 61)), 1e-13, 2e-5), "expn": Case(tuple(ORDERS), 3e-14, 2e-5),
    "gammainc": Case((SHAPES, AROUND), 1e-12, 1e-3, by_mpmath(lambda a, x: mpmath.gammainc(a, 0, x, regularized=True))),
    "gammaincc": Case((SHAPES, AROUND), 1e-12, 1e-3, by_mpmath(lambda a, x: mpmath.gammainc(a, x, mpmath.inf, regularized=True))),
    "betainc": Case(_betas(), 2e-12, 5e-3), "hyp1f1": Case((SMALL[0] / 8, SMALL[1] + 0.3, np.linspace(-30, 30, SMALL.shape[1])), 2e-12, 3e-3, by_mpmath(mpmath.hyp1f1)),
    "hyp2f1": Case((*(SMALL / 4), SMALL[0][::-1] / 3 + 0.3, np.linspace(-3, 0.97, SMALL.shape[1])), 3e-12, 3e-3, by_mpmath(mpmath.hyp2f1)),
    "log_ndtr": Case((LINE,), 2e-14, 2e-5), "ndtr": Case((LINE,), 2e-14, 2e-5), "kl_div": Case((SMALL[0], SMALL[0] * 1.001), 4e-15, 3e-6, by_mpmath(lambda p, q: p * mpmath.log(p / q) - p + q)),
    "rel_entr": Case((SMALL[0], SMALL[0] * 1.001), 4e-15, 3e-6, by_mpmath(lambda p, q: p * mpmath.log(p / q))),
}  # fmt: skip


@pytest.fixture(autouse=True)
def numpy_runs_the_graphs() -> Iterator[None]:
    with fx.config.using(backend="reference"):
        yield


def differs(got: Any, want: Any, rtol: float) -> np.ndarray:
    """Where two arrays are not the same to a relative tolerance."""
    got, want = np.asarray(got), np.asarray(want)
    with np.errstate(all="ignore"):
        same = (np.abs(got - want) <= rtol * np.abs(want)) | (got == want) | (np.isnan(got) & np.isnan(want))
    return np.flatnonzero(~same.ravel())


def check(name: str, got: Any, want: Any, rtol: float, args: Args) -> None:
    got = np.asarray(got)
    assert got.shape == np.shape(want)
    lines = [
        f"  {name}{tuple(float(np.real(a.ravel()[i])) for a in args)} = {got.ravel()[i]!r}, not {np.asarray(want).ravel()[i]!r}"
        for i in differs(got, want, rtol)[:8]
    ]
    assert not lines, "\n".join(lines)


def test_names_and_parameters_are_those_of_jax() -> None:
    theirs = pytest.importorskip("jax.scipy.special")
    names = {n for n in dir(theirs) if not n.startswith("_")} | {"lpmn_values"}  # which JAX has, and does not list
    beyond = set(elementary.__all__)  # those that SciPy has and JAX 0.10 has not: test_special_elementary.py
    assert set(special.__all__) == names | beyond and names & beyond <= NEWER["scipy.special"]
    for name in sorted(names - {"lpmn_values"}):
        want, got = (inspect.signature(getattr(m, name)).parameters for m in (theirs, special))
        assert list(want) == list(got)[: len(want)], name


@pytest.mark.parametrize("name", CASES)
def test_values(name: str) -> None:
    case = CASES[name]
    truth = case.truth or getattr(scipy_special, "dawsn" if name == "dawsn" else name)
    f = getattr(special, name)
    with np.errstate(all="ignore"):
        check(name, f(*case.args), truth(*case.args), case.rtol, case.args)
        narrow = tuple(a.astype(np.complex64 if np.iscomplexobj(a) else np.float32) for a in case.args)
        got = np.asarray(f(*narrow))
        want = np.asarray(truth(*[a.astype(np.result_type(a, np.float64)) for a in narrow]))
    assert got.dtype.itemsize == narrow[0].dtype.itemsize
    inside = (np.abs(want) < 1e37) & (np.abs(want) > 1e-35)
    check(name, got[inside], want[inside], case.single, tuple(a[inside] for a in narrow))


def test_half_precision_is_single_precision_rounded() -> None:
    x = np.linspace(0.2, 5, 40).astype(np.float16)
    for name in ("erfcx", "gamma", "expi", "i0e", "zeta"):
        f = getattr(special, name)
        got = f(x)
        assert got.dtype == np.float16
        np.testing.assert_array_equal(np.asarray(got), np.asarray(f(x.astype(np.float32))).astype(np.float16))


def test_pairs_of_integrals() -> None:
    x = np.concatenate([LINE[:-3], [17.3, 1e3, 1e17]])
    for name, tolerance in (("sici", 3e-15), ("fresnel", 3e-15)):
        for got, want in zip(getattr(special, name)(x), getattr(scipy_special, name)(x)):
            good = ~np.isnan(want)
            assert np.isnan(np.asarray(got)[~good]).all()
            infinite = np.isinf(want)
            np.testing.assert_array_equal(np.asarray(got)[infinite], want[infinite])
            np.testing.assert_allclose(np.asarray(got)[good & ~infinite], want[good & ~infinite], tolerance, tolerance)
    assert [float(v) for v in special.sici(np.float64(np.inf))] == pytest.approx([np.pi / 2, 0])


# name -> arguments and values, where a formula would have given something else
SPECIAL_VALUES: dict[str, list[tuple[tuple[float, ...], float]]] = {
    "gamma": [((0.0,), np.inf), ((-0.0,), -np.inf), ((-2.0,), np.nan), ((np.inf,), np.inf), ((172.0,), np.inf), ((171.0,), 7.257415615307994e306), ((-1e-300,), -1e300)],
    "gammainc": [((0, 1), 1), ((1, 0), 0), ((0, 0), np.nan), ((np.inf, 3), 0), ((3, np.inf), 1), ((-1, 1), np.nan), ((1, -1), np.nan), ((np.inf, np.inf), np.nan)],
    "gammaincc": [((0, 1), 0), ((1, 0), 1), ((np.inf, 3), 1), ((3, np.inf), 0), ((1e-10, 1e-20), scipy_special.gammaincc(1e-10, 1e-20))],
    "betainc": [((2, 3, 0), 0), ((2, 3, 1), 1), ((0, 3, 0.5), 1), ((3, 0, 0.5), 0), ((0, 0, 0.5), np.nan), ((1, 1, -0.1), np.nan), ((1, 1, 1.1), np.nan), ((1, np.inf, 0.5), 1)],
    "zeta": [((1, 2), np.inf), ((0.5, 2), np.nan), ((2, 0), np.inf), ((2, -3), np.inf), ((2.5, -3.5), np.nan), ((np.inf, 1), 1)],
    "expn": [((0, 0), np.inf), ((1, 0), np.inf), ((3, 0), 0.5), ((2, np.inf), 0), ((-1, 1), np.nan), ((2, -1), np.nan), ((2.5, 1), np.nan)],
    "expi": [((0.0,), -np.inf), ((np.inf,), np.inf), ((-np.inf,), 0), ((0.3725074107813666,), -5.119698936555685e-17)],
    "exp1": [((0.0,), np.inf), ((-1.0,), np.nan), ((np.inf,), 0)], "spence": [((0.0,), np.pi**2 / 6), ((1.0,), 0), ((-1.0,), np.nan)],
    "poch": [((3, 0), 1), ((-3, 2), 6), ((-3, 5), 0), ((-2, -3), scipy_special.poch(-2.0, -3.0)), ((-5, 0.5), 0), ((10, 2000.5), np.inf)],
    "comb": [((5, 2), 10), ((5, 7), 0), ((5, -1), 0), ((-5, 2), 0), ((0, 0), 1)], "factorial": [((-1.0,), 0), ((5.0,), 120), ((0.0,), 1)],
    "hyp1f1": [((0, 0, 2), 1)], "hyp2f1": [((1, 1, 3, 1), 2), ((1, 2, 2, 1), np.inf), ((1, 2, 2, 1.5), np.nan)], "i0": [((np.inf,), np.inf)], "i1": [((-np.inf,), -np.inf)],
    "boxcox": [((0, 2), -0.5), ((0, 0), -np.inf), ((2, 0), np.log(2.0))], "owens_t": [((0, np.inf), 0.25), ((np.inf, 1), 0), ((1, 0), 0)],
}  # fmt: skip


@pytest.mark.parametrize("name", SPECIAL_VALUES)
def test_special_arguments(name: str) -> None:
    table = SPECIAL_VALUES[name]
    args = tuple(np.array([float(xs[i]) for xs, _ in table]) for i in range(len(table[0][0])))
    check(name, getattr(special, name)(*args), np.array([float(v) for _, v in table]), 4e-15, args)


def test_riemann_and_hurwitz_zeta_beyond_their_series() -> None:
    s = np.array([-60.3, -10.2, -3.5, -2.0, 0.0, 0.5, 0.999, 1.0, 1.001, 30.0, 2000.0])
    want = [float(mpmath.zeta(v)) if v not in (1.0, -2.0) else (np.inf if v == 1.0 else 0.0) for v in s]
    np.testing.assert_allclose(np.asarray(special.zeta(s)), want, rtol=4e-15, atol=1e-16)
    n, x = np.array([1.0, 2, 3, 4]), np.array([-0.3, -3.4, -10.25, -200.7])
    check(
        "polygamma", special.polygamma(n, x), by_mpmath(lambda k, v: mpmath.polygamma(int(k), v))(n, x), 4e-15, (n, x)
    )
    huge = special.polygamma(np.float32(100), np.float32(17.5))
    np.testing.assert_allclose(float(huge), float(mpmath.polygamma(100, 17.5)), rtol=5e-5)


def test_complex_plane() -> None:
    z = np.array([3 - 4j, -3.5 + 0.1j, -3.5 - 0.1j, -20 + 0.01j, -5 - 200j, 0.5, 1e-3 - 1e-3j, 100 + 1e3j])
    want = by_mpmath(mpmath.loggamma)(z)
    assert differs(special.loggamma(z), want, 3e-15).size == 0
    assert np.isnan(special.loggamma(-1.5)) and special.loggamma(np.float64(3.0)) == np.log(2.0)
    w = np.array([0, np.inf, -np.inf, 1e300, -1e9j + 1e9, 5j, -2 - 3j, 6.1 - 0.2j])
    assert differs(special.wofz(w), scipy_special.wofz(w), 3e-15).size == 0
    assert np.isnan(special.wofz(np.nan)) and special.wofz(np.float32(1.0)).dtype == np.complex64
    slope = fx.jvp(special.wofz, (np.complex128(1 + 2j),), (np.complex128(1),))[1]
    w = scipy_special.wofz(1 + 2j)
    np.testing.assert_allclose(complex(slope), 2j / np.sqrt(np.pi) - 2 * (1 + 2j) * w, rtol=1e-14)


# name -> a point and the derivatives' arguments that are checked there
SLOPES: dict[str, tuple[tuple[float, ...], tuple[int, ...]]] = {
    "erfcx": ((0.7,), (0,)), "dawsn": ((0.9,), (0,)), "gamma": ((-1.3,), (0,)), "exp1": ((0.8,), (0,)), "expi": ((7.0,), (0,)), "spence": ((1.3,), (0,)),
    "i0": ((1.5,), (0,)), "i0e": ((-1.5,), (0,)), "i1": ((1.5,), (0,)), "i1e": ((-9.5,), (0,)), "factorial": ((2.3,), (0,)), "boxcox": ((2.0, 0.1), (0, 1)),
    "boxcox1p": ((2.0, 1.5), (0, 1)), "beta": ((2.5, 0.4), (0, 1)), "betaln": ((12.0, 0.4), (0, 1)), "poch": ((2.5, 1.4), (0, 1)), "comb": ((7.0, 2.5), (0, 1)),
    "zeta": ((2.5, 1.7), (0, 1)), "polygamma": ((2.0, 1.7), (1,)), "owens_t": ((0.7, -1.4), (0, 1)), "expn": ((3.0, 1.4), (1,)), "kl_div": ((1.0, 2.0), (0, 1)),
    "log_ndtr": ((-3.0,), (0,)), "gammaincc": ((2.2, 1.5), (0, 1)), "gammainc": ((25.0, 22.0), (0, 1)), "betainc": ((2.0, 3.5, 0.3), (1, 2)),
    "hyp1f1": ((1.5, 2.5, -1.2), (0, 1, 2)), "hyp2f1": ((1.5, 2.5, 3.3, 0.4), (2, 3)), "loggamma": ((2.2,), (0,)),
}  # fmt: skip


@pytest.mark.parametrize("name", SLOPES)
def test_derivatives_are_difference_quotients(name: str) -> None:
    point, wrt = SLOPES[name]
    f, h = getattr(special, name), 1e-5
    xs = [np.float64(v) for v in point]
    for i in wrt:
        at = lambda d: float(f(*xs[:i], xs[i] + d, *xs[i + 1 :]))  # noqa: B023, E731
        want = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
        np.testing.assert_allclose(float(fx.grad(f, i)(*xs)), want, rtol=2e-8, atol=1e-9, err_msg=f"{name}, {i}")


def test_derivatives_that_do_not_exist_say_so() -> None:
    for f in (special.polygamma, special.expn):
        with pytest.raises(MissingRuleError, match="order n"):
            fx.grad(f)(2.0, 1.5)
        assert np.isfinite(fx.grad(f, 1)(2, 1.5))


def test_derivative_of_a_sample_of_the_gamma_distribution() -> None:
    a = np.array([0.3, 1.0, 2.5, 30.0, 200.0])
    x = np.array([1e-12, 0.7, 4.0, 27.0, 210.0])
    with mpmath.workdps(30):
        slope = [
            float(mpmath.diff(lambda v, y=y: mpmath.gammainc(v, 0, y, regularized=True), mpmath.mpf(c)))
            for c, y in zip(a.tolist(), x.tolist())
        ]
    density = np.exp((a - 1) * np.log(x) - x - scipy_special.gammaln(a))
    np.testing.assert_allclose(np.asarray(lax.igamma_grad_a(a, x)), slope, rtol=1e-10)
    np.testing.assert_allclose(np.asarray(lax.random_gamma_grad(a, x)), -np.array(slope) / density, rtol=1e-10)


# ---------------------------------------------------------------------------- functions of other forms


def test_bernoulli_numbers() -> None:
    for n in (0, 1, 2, 30):
        np.testing.assert_allclose(np.asarray(special.bernoulli(n)), scipy_special.bernoulli(n), rtol=1e-6)
    assert special.bernoulli(300)[300] == -np.inf
    with pytest.raises(ValueError, match="must not be negative"):
        special.bernoulli(-1)


def test_bessel_functions_of_integer_order() -> None:
    z = np.array([0.0, 1e-3, 0.5, -2.0, 9.0, 25.0])
    got = special.bessel_jn(z, v=6, n_iter=60)
    np.testing.assert_allclose(np.asarray(got), [scipy_special.jv(k, z) for k in range(7)], rtol=2e-13, atol=1e-16)
    assert special.bessel_jn(z.astype(np.float32), v=0).shape == (1, 6)
    endless = np.array([np.inf, -np.inf])
    assert not np.asarray(special.bessel_jn(endless, v=3)).any()
    assert not np.asarray(fx.vmap(fx.jacrev(lambda z: special.bessel_jn(z, v=3)))(endless)).any()
    with pytest.raises(DTypeError, match="integer"):
        special.bessel_jn(z, v=1.5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bessel_functions_of_small_numbers_and_their_derivatives(dtype: str) -> None:
    small = np.array([1e-10, -1e-30, 1e-36, 1e-40, 0], dtype)
    got = fx.jit(lambda z: special.bessel_jn(z, v=2))(small)
    np.testing.assert_allclose(np.asarray(got), [small**0, small / 2, small**2 / 8], rtol=1e-6)
    z = np.array([0.5, 2, 30], dtype)
    f = lambda z: special.bessel_jn(z, v=3)
    for order, jacobian in enumerate((fx.jacfwd, fx.jacrev, fx.jacfwd), 1):
        f = jacobian(f)
        want = [scipy_special.jvp(k, z.astype(float), order) for k in range(4)]
        np.testing.assert_allclose(np.asarray(fx.vmap(f, 0, 1)(z)), want, rtol=2e-5, atol=1e-6)


def test_spherical_harmonics() -> None:
    n = np.array([0, 1, 1, 2, 5, 5, 9, 30])
    m = np.array([0, 0, 1, -1, 5, -4, 3, -17])
    theta, phi = np.linspace(0, np.pi, 8), np.linspace(-1, 6, 8)
    want = scipy_special.sph_harm_y(n, m, theta, phi)
    np.testing.assert_allclose(np.asarray(special.sph_harm_y(n, m, theta, phi)), want, rtol=1e-12, atol=1e-14)
    traced = fx.jit(lambda n: special.sph_harm_y(n, m, theta, phi, n_max=30))(n)
    np.testing.assert_allclose(np.asarray(traced), want, rtol=1e-12, atol=1e-14)
    with pytest.raises(DTypeError, match="n_max"):
        fx.jit(lambda n: special.sph_harm_y(n, 0, 0.3, 0.2))(n)


def test_reduce_precision_rounds_to_the_bits_of_a_format() -> None:
    jax = pytest.importorskip("jax")
    x = (RNG.normal(size=300) * 10.0 ** RNG.integers(-40, 38, 300)).astype(np.float32)
    x = np.concatenate([x, np.float32([0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38])])
    for bits in ((8, 7), (5, 10), (5, 2), (4, 3), (8, 23), (3, 0), (11, 52)):
        got, want = np.asarray(lax.reduce_precision(x, *bits)), np.asarray(jax.lax.reduce_precision(x, *bits))
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))
    assert fx.grad(lambda v: lax.reduce_precision(v, 5, 2) * 3.0)(1.3) == 3
    with pytest.raises(DTypeError, match="exponent_bits"):
        lax.reduce_precision(x, 0, 3)


def test_the_functions_of_lax_are_strict() -> None:
    x, y = np.float64([0.3, 2.0]), np.float64([1.5, 0.2])
    for name, args, want in [
        ("igamma", (x, y), scipy_special.gammainc(x, y)), ("igammac", (x, y), scipy_special.gammaincc(x, y)),
        ("zeta", (x + 1, y), scipy_special.zeta(x + 1, y)), ("betainc", (x, y, x / 3), scipy_special.betainc(x, y, x / 3)),
        ("polygamma", (1.0, y), scipy_special.polygamma(1, y)), ("bessel_i0e", (x,), scipy_special.i0e(x)), ("bessel_i1e", (x,), scipy_special.i1e(x)),
    ]:  # fmt: skip
        np.testing.assert_allclose(np.asarray(getattr(lax, name)(*args)), want, rtol=1e-14)
    with pytest.raises(ShapeError):
        lax.igamma(x, y[:1])
    with pytest.raises(DTypeError):
        lax.igamma(x, y.astype(np.float32))
    with pytest.raises(DTypeError):
        lax.bessel_i0e(np.arange(3))


# --------------------------------------------------------------------------------------- compiled code


def _point(name: str) -> list[np.ndarray]:
    return [np.array([v, v * 1.1]) for v in SLOPES[name][0]]


@pytest.mark.parametrize(
    "names",
    [
        ("erfcx", "dawsn", "spence", "i1", "gamma", "boxcox", "loggamma"),
        ("zeta", "gammaincc", "hyp1f1"),
    ],
)
def test_compiled_code_gives_the_same(names: tuple[str, ...]) -> None:
    args = {n: [np.round(a) if n == "expn" and i == 0 else a for i, a in enumerate(_point(n))] for n in names}
    f = lambda args: {n: getattr(special, n)(*xs) for n, xs in args.items()}  # noqa: E731
    want = f(args)
    got = fx.jit(f, backend="native")(args)
    for n in names:
        check(n, got[n], np.asarray(want[n]), 3e-14, tuple(args[n]))


def test_mapped_is_a_loop() -> None:
    for name in ("erfcx", "beta", "gammaincc", "hyp1f1"):
        xs = [np.linspace(v, 1.2 * v, 3) for v in SLOPES[name][0]]
        f = getattr(special, name)
        got = np.asarray(fx.vmap(f)(*xs))
        np.testing.assert_allclose(got, [float(f(*row)) for row in zip(*xs)], rtol=1e-14)


def test_numbers_take_the_dtype_of_the_arrays_beside_them() -> None:
    assert float(special.xlogy(np.float64(2), 0.1)) == 2 * np.log(0.1)
    assert special.gammainc(2, 3).dtype == np.float32
    assert special.zeta(np.array([2, 3]), 1).dtype == np.float64
    assert special.comb(fnp.array([5, 6], "int32"), 2).tolist() == [10, 15]
    assert special.comb(4, 2, repetition=True) == 10
    with pytest.raises(DTypeError, match="gammainc takes real numbers"):
        special.gammainc(1j, 1)
    with pytest.raises(NotImplementedError, match="exact"):
        special.factorial(3, exact=True)
    leaves = tree.leaves(special.fresnel(np.float32(1)))
    assert [v.dtype for v in leaves] == [np.float32] * 2


@pytest.mark.parametrize("normalized", [False, True])
def test_associated_legendre_functions_of_all_degrees_and_orders(normalized: bool) -> None:
    z, n = np.linspace(-1, 1, 7), 6
    got = np.asarray(fx.jit(lambda z: special.lpmn_values(n, n, z, normalized))(z))
    want = np.zeros((n + 1, n + 1, z.size))
    for order in range(n + 1):
        for degree in range(order, n + 1):
            factor = math.sqrt(
                (2 * degree + 1) / (4 * math.pi) * math.factorial(degree - order) / math.factorial(degree + order)
            )
            want[order, degree] = scipy_special.lpmv(order, degree, z) * (factor if normalized else 1)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    with pytest.raises(NotImplementedError, match="as many orders as degrees"):
        special.lpmn_values(2, 3, z, normalized)
    with pytest.raises(ValueError, match="takes a vector"):
        special.lpmn_values(2, 2, z[None], normalized)
