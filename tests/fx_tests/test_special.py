"""``fx.scipy.special``: SciPy's values, derivatives by finite differences, infinities and NaN."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special as truth

import fx
import fx.numpy as fnp
from fx.errors import DTypeError
from fx.scipy import special

EDGES = np.array([-np.inf, np.inf, np.nan, 0.0, -0.0, 1.0])
LINE = np.concatenate([np.linspace(-8, 8, 161), EDGES])
UNIT = np.concatenate([10.0 ** np.arange(-300, -1, 13), np.linspace(0, 1, 101)])
PAIRS = tuple(a.ravel() for a in np.meshgrid(np.linspace(0, 4, 9), np.linspace(0.25, 4, 9)))
TAIL = np.concatenate([np.linspace(-40, 10, 501), [-5, -4.999999, 5], EDGES])

# name -> (arguments, relative tolerance in float64); arguments of derivatives stay inside the domain
CASES = {
    "erf": ((LINE,), 4e-15), "erfc": ((LINE,), 4e-14), "erfinv": ((np.linspace(-1, 1, 101),), 4e-15), "ndtr": ((LINE,), 4e-14),
    "log_ndtr": ((TAIL,), 1e-14), "ndtri": ((UNIT,), 4e-15), "gammaln": ((np.linspace(0.1, 50, 101),), 2e-14),
    "digamma": ((np.linspace(0.1, 50, 101),), 2e-13), "gamma": ((np.linspace(-5.5, 20.3, 101),), 1e-13), "gammasgn": ((LINE[:161],), 0),
    "factorial": ((np.linspace(-2, 20, 45),), 1e-13), "expit": ((LINE,), 4e-15), "logit": ((UNIT,), 2e-14), "xlogy": (PAIRS, 4e-15),
    "xlog1py": (PAIRS, 4e-15), "entr": ((LINE[:161],), 4e-15), "rel_entr": (PAIRS, 4e-13), "kl_div": (PAIRS, 1e-11), "betaln": (PAIRS[1:] * 2, 4e-14),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def numpy_runs_the_graphs():
    with fx.config.using(backend="reference"):
        yield


@pytest.mark.parametrize("name", CASES)
def test_values_are_scipy_s(name):
    args, rtol = CASES[name]
    with np.errstate(all="ignore"):
        want = getattr(truth, name)(*args)
        single = getattr(truth, name)(*[a.astype(np.float32).astype(np.float64) for a in args])
    got = np.asarray(getattr(special, name)(*args))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=rtol, atol=1e-300)
    got = np.asarray(getattr(special, name)(*[a.astype(np.float32) for a in args]))
    assert got.dtype == np.float32
    ordinary = np.abs(single) < 1e30
    np.testing.assert_allclose(got[ordinary], single[ordinary], rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("ndtr", (-2.0, 0.5)), ("log_ndtr", (-30.0, -4.9, 0.5)), ("ndtri", (0.01, 0.3, 0.9)), ("logit", (0.2, 0.7)), ("expit", (-1.0, 2.0)),
        ("gammaln", (0.5, 3.0)), ("digamma", (0.5, 3.0)), ("erfinv", (-0.5, 0.2)), ("entr", (0.3, 2.0)), ("gamma", (-0.5, 2.5)),
    ],
)  # fmt: skip
def test_two_derivatives_are_difference_quotients(name, points):
    f, h = getattr(special, name), 1e-6
    for g in (f, fx.grad(f)):
        for x in points:
            want = (float(g(x + np.float64(h))) - float(g(x - np.float64(h)))) / (2 * h)
            np.testing.assert_allclose(float(fx.grad(g)(np.float64(x))), want, rtol=3e-6, atol=1e-8)


def test_products_with_a_logarithm_have_derivatives_at_zero():
    for f, log in ((special.xlogy, np.log), (special.xlog1py, np.log1p)):
        dx, dy = fx.grad(f, (0, 1))(np.float64(0), np.float64(2))
        assert (float(dx), float(dy)) == (pytest.approx(log(2)), 0)
        np.testing.assert_allclose(
            float(fx.grad(fx.grad(f, 1), 0)(3.0, 2.0)), 1 / 2 if log is np.log else 1 / 3, rtol=1e-6
        )


def test_multigammaln():
    np.testing.assert_allclose(
        np.asarray(special.multigammaln(np.array([5.5, 9]), 4)), truth.multigammaln(np.array([5.5, 9]), 4), rtol=1e-14
    )


SCORES = np.random.RandomState(0).normal(size=(4, 5)) * 300
FACTORS = np.random.RandomState(1).normal(size=(4, 5))


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp(axis, keepdims):
    got = special.logsumexp(SCORES, axis, keepdims=keepdims)
    np.testing.assert_allclose(np.asarray(got), truth.logsumexp(SCORES, axis, keepdims=keepdims), rtol=1e-14)
    got = special.logsumexp(SCORES, axis, FACTORS, keepdims, return_sign=True)
    for g, w in zip(got, truth.logsumexp(SCORES, axis, FACTORS, keepdims, return_sign=True)):
        np.testing.assert_allclose(np.asarray(g), w, rtol=1e-14)


def test_logsumexp_of_what_is_special():
    assert float(special.logsumexp(np.full(2, -np.inf))) == -np.inf
    assert float(special.logsumexp(np.array([np.inf, 1.0]))) == np.inf
    assert float(special.logsumexp(np.zeros(0))) == -np.inf
    assert np.isnan(float(special.logsumexp(np.array([np.nan, 1.0]))))
    assert np.isnan(float(special.logsumexp(np.zeros(2), b=np.array([1.0, -2.0]))))
    assert float(special.logsumexp(3)) == 3
    z = np.array([1 + 2j, 3 - 1j])
    np.testing.assert_allclose(np.asarray(special.logsumexp(z)), np.log(np.exp(z).sum()))
    mask = np.array([True, False, True])
    x = np.array([1.0, 2.0, 3.0])
    gradient = np.asarray(fx.grad(lambda x: special.logsumexp(x, where=mask))(x))
    np.testing.assert_allclose(gradient, [truth.expit(-2), 0, truth.expit(2)], rtol=1e-14)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_softmax_and_log_softmax(axis):
    np.testing.assert_allclose(np.asarray(special.softmax(SCORES, axis=axis)), truth.softmax(SCORES, axis), rtol=1e-13)
    np.testing.assert_allclose(
        np.asarray(special.log_softmax(SCORES, axis=axis)), truth.log_softmax(SCORES, axis), rtol=1e-13
    )


def test_everything_composes():
    f = lambda x: fnp.sum(special.log_ndtr(x) * special.xlogy(x, x))  # noqa: E731
    xs = np.abs(np.random.RandomState(2).normal(size=(3, 4))) + 0.1
    got = fx.jit(fx.vmap(fx.grad(f)))(xs)
    np.testing.assert_allclose(np.asarray(got), [np.asarray(fx.grad(f)(x)) for x in xs], rtol=1e-12)
    native = fx.jit(fx.vmap(fx.grad(f)), backend="native")(xs)
    np.testing.assert_allclose(np.asarray(native), np.asarray(got), rtol=1e-11)


def test_integers_become_floats_and_complex_numbers_are_refused():
    assert special.ndtr(np.array([1, 2])).dtype == np.float64
    assert special.gammaln(3).dtype == np.float32
    with pytest.raises(DTypeError, match="ndtr takes real numbers"):
        special.ndtr(1j)
