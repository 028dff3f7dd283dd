"""Special functions that SciPy has and JAX has not, beside mpmath at 40 digits, with their derivatives and special values."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
import pytest
import scipy.special

import fx
import fx.scipy.special as special

LINE = [-30.5, -3.25, -1.0, -0.3, -1e-3, -1e-9, 0.0, 1e-12, 0.01, 0.5, 1.0, 2.75, 20.0, 40.25]
PAIRS = [(0.5, 0.25), (1.0, 3.0), (2.5, 0.01), (4.0, 4.0), (10.0, 3.5), (3.0, 25.0)]


def _reg_beta(a: Any, b: Any, x: Any) -> Any:
    return mp.betainc(a, b, 0, x, regularized=True)


def _erfcinv(x: Any) -> Any:
    with mp.workdps(300):
        return mp.erfinv(1 - x)


def _student(df: Any, t: Any) -> Any:
    tail = _reg_beta(mp.mpf(df) / 2, mp.mpf(1) / 2, mp.mpf(df) / (df + mp.mpf(t) ** 2)) / 2
    return tail if t < 0 else 1 - tail


# name: (arguments, truth, tolerance in units of the last place in float64, which arguments have a derivative)
CASES: dict[str, tuple[list[Any], Any, float, tuple[int, ...]]] = {
    "exp10": ([(x,) for x in LINE], lambda x: mp.mpf(10) ** x, 8, (0,)),
    "cosm1": ([(x,) for x in LINE], lambda x: mp.cos(x) - 1, 8, (0,)),
    "exprel": ([(x,) for x in LINE], lambda x: mp.expm1(x) / x if x else mp.mpf(1), 8, (0,)),
    "log_expit": ([(x,) for x in LINE], lambda x: -mp.log1p(mp.exp(-mp.mpf(x))), 8, (0,)),
    "erfcinv": ([(x,) for x in (1e-200, 1e-30, 1e-5, 0.1, 0.5, 0.999, 1.25, 1.9, 1.999)], _erfcinv, 16, ()),
    "rgamma": ([(x,) for x in (-4.5, -3.0, -2.0, -0.3, -1e-9, 0.0, 1e-9, 0.5, 1.0, 2.75, 30.0, 150.5)], mp.rgamma, 32, (0,)),
    "huber": ([(d, r) for d in (0.5, 2.0) for r in (-3.0, -0.25, 0.0, 1.0, 7.0)],
              lambda d, r: mp.mpf(r) ** 2 / 2 if abs(r) <= d else d * (abs(mp.mpf(r)) - mp.mpf(d) / 2), 4, (0, 1)),
    "pseudo_huber": ([(d, r) for d in (0.5, 2.0) for r in (-3.0, -1e-9, 1e-12, 1.0, 700.0)],
                     lambda d, r: mp.mpf(d) ** 2 * (mp.sqrt(1 + (mp.mpf(r) / d) ** 2) - 1), 8, (0, 1)),
    "inv_boxcox": ([(y, k) for y in (0.25, 1.0, 3.0) for k in (0.0, 0.5, 2.0)],
                   lambda y, k: mp.exp(y) if k == 0 else (1 + mp.mpf(k) * y) ** (1 / mp.mpf(k)), 8, (0,)),
    "inv_boxcox1p": ([(y, k) for y in (1e-9, 0.25, 3.0) for k in (0.0, 0.5, 2.0)],
                     lambda y, k: mp.expm1(y) if k == 0 else mp.expm1(mp.log1p(mp.mpf(k) * y) / k), 8, (0,)),
    "chdtr": (PAIRS, lambda v, x: mp.gammainc(mp.mpf(v) / 2, 0, mp.mpf(x) / 2, regularized=True), 64, (1,)),
    "chdtrc": (PAIRS, lambda v, x: mp.gammainc(mp.mpf(v) / 2, mp.mpf(x) / 2, mp.inf, regularized=True), 64, (1,)),
    "pdtr": (PAIRS, lambda k, m: mp.gammainc(mp.floor(k) + 1, m, mp.inf, regularized=True), 64, (1,)),
    "pdtrc": (PAIRS, lambda k, m: mp.gammainc(mp.floor(k) + 1, 0, m, regularized=True), 64, (1,)),
    "gdtr": ([(2.0, *pair) for pair in PAIRS], lambda a, b, x: mp.gammainc(b, 0, mp.mpf(a) * x, regularized=True), 64, (0, 2)),
    "gdtrc": ([(0.5, *pair) for pair in PAIRS], lambda a, b, x: mp.gammainc(b, mp.mpf(a) * x, mp.inf, regularized=True), 64, (0, 2)),
    "bdtr": ([(k, 7.0, q) for k in (0.0, 2.0, 6.5) for q in (0.125, 0.5, 0.9)],
             lambda k, n, q: _reg_beta(n - mp.floor(k), mp.floor(k) + 1, 1 - mp.mpf(q)), 128, (2,)),
    "bdtrc": ([(k, 7.0, q) for k in (0.0, 2.0, 6.5) for q in (0.125, 0.5, 0.9)],
              lambda k, n, q: _reg_beta(mp.floor(k) + 1, n - mp.floor(k), mp.mpf(q)), 128, (2,)),
    "fdtr": ([(a, b, x) for a, b in ((1.0, 4.0), (5.0, 2.5)) for x in (0.01, 1.0, 9.0)],
             lambda a, b, x: _reg_beta(mp.mpf(a) / 2, mp.mpf(b) / 2, a * mp.mpf(x) / (b + a * mp.mpf(x))), 128, (2,)),
    "fdtrc": ([(a, b, x) for a, b in ((1.0, 4.0), (5.0, 2.5)) for x in (0.01, 1.0, 9.0)],
              lambda a, b, x: _reg_beta(mp.mpf(b) / 2, mp.mpf(a) / 2, b / (b + a * mp.mpf(x))), 128, (2,)),
    "stdtr": ([(df, t) for df in (1.0, 2.5, 30.0) for t in (-40.0, -2.0, -1e-6, 1e-3, 0.5, 3.0)], _student, 128, (1,)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CASES)
def test_values(name: str, dtype: str) -> None:
    arguments, truth, ulp, _ = CASES[name]
    columns = [np.asarray(c, dtype) for c in zip(*arguments)]
    with mp.workdps(40):
        want = np.array([float(truth(*[mp.mpf(float(v)) for v in row])) for row in zip(*columns)])
    f = getattr(special, name)
    tiny = float(np.finfo(dtype).tiny)
    compiled = (list(CASES).index(name) + (dtype == "float32")) % 2  # a function and its complement are the same loops
    jitted = fx.jit(f, backend="native" if compiled else "reference")
    for got in (f(*columns), getattr(scipy.special, name)(*map(fx.numpy.asarray, columns)), jitted(*columns)):
        assert got.dtype == dtype
        inside = np.abs(want) < np.finfo(dtype).max
        np.testing.assert_allclose(
            np.asarray(got, "float64")[inside], want[inside], rtol=ulp * np.finfo(dtype).eps, atol=tiny
        )


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name: str) -> None:
    arguments, truth, _, wrt = CASES[name]
    f = getattr(special, name)
    rows = [row for row in arguments if not (name == "huber" and abs(row[1]) == row[0])]
    for i in wrt:
        found = fx.vmap(fx.grad(f, i))(*map(np.float64, zip(*rows)))
        for row, got in zip(rows, np.asarray(found), strict=True):
            with mp.workdps(60):
                want = float(
                    mp.diff(lambda v: truth(*[v if j == i else mp.mpf(x) for j, x in enumerate(row)]), mp.mpf(row[i]))
                )
            np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-290, err_msg=str((row, i)))


def test_the_slope_of_erfcinv() -> None:
    for x in (1e-200, 1e-30, 0.1, 0.999, 1.25, 1.999):
        y = np.float64(special.erfcinv(np.float64(x)))
        with mp.workdps(40):
            want = float(-mp.sqrt(mp.pi) / 2 * mp.exp(mp.mpf(y) ** 2))
        np.testing.assert_allclose(fx.grad(special.erfcinv)(np.float64(x)), want, rtol=1e-12)


def test_gamma_overflows_in_either_precision() -> None:
    for dtype, largest, beyond in (("float32", 35.0, 36.0), ("float64", 171.5, 172.0)):
        x = np.array([largest, beyond, 150.5 if dtype == "float32" else 250.0, 1e30], dtype)
        got = np.asarray(special.gamma(x))
        assert np.isfinite(got[0]) and (got[1:] == np.inf).all() and (np.asarray(special.rgamma(x))[2:] == 0).all()


def test_special_values() -> None:
    inf, nan = np.inf, np.nan
    for name, xs in {
        "exp10": [inf, -inf, nan], "cosm1": [0.0, nan], "exprel": [-inf, inf, nan], "log_expit": [inf, -inf, nan, 800.0, -800.0],
        "erfcinv": [0.0, 2.0, 1.0, -0.5, 2.5, nan], "rgamma": [-1.0, 0.0, inf, nan],
    }.items():  # fmt: skip
        x = np.array(xs)
        np.testing.assert_array_equal(getattr(special, name)(x), getattr(scipy.special, name)(x), err_msg=name)
    assert (
        special.huber(-1.0, 2.0) == inf
        and special.pseudo_huber(-1.0, 2.0) == inf
        and special.pseudo_huber(0.0, 2.0) == 0
    )
    assert special.bdtr(7.0, 7.0, 0.3) == 1 and special.bdtrc(7.0, 7.0, 0.3) == 0
    assert special.log_expit(np.zeros((0, 2))).shape == (0, 2)


def test_sci_pys_own_functions_are_traced() -> None:
    x = np.linspace(0.1, 1.9, 5)
    np.testing.assert_allclose(fx.jit(scipy.special.erfcinv)(x), scipy.special.erfcinv(x), rtol=1e-13)
    np.testing.assert_allclose(fx.vmap(fx.grad(scipy.special.log_expit))(x), 1 / (1 + np.exp(x)), rtol=1e-13)
