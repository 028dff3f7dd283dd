"""``fx.scipy.stats`` beside SciPy: every distribution and function, derivatives, compiled code."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.stats as scipy_stats

import fx
import fx.numpy as fnp
from fx import random, tree
from fx.errors import ShapeError
from fx.scipy import stats

RNG = np.random.default_rng(3)
X = np.concatenate([np.linspace(-9, 9, 37), [0.25, 0.5, 0.999, 1.0, 1.5, 40.0, -40.0, np.nan]])
Q = np.concatenate(
    [10.0 ** np.arange(-12, -1, 2), np.linspace(0.05, 0.95, 19), [1 - 1e-9, 0.0, 1.0, -0.1, 1.2, np.nan]]
)
K = np.concatenate([np.arange(-2.0, 12), [0.5, 3.5, np.nan]])

# distribution -> sets of its parameters; loc and scale are appended
CONTINUOUS: dict[str, list[tuple[float, ...]]] = {
    "norm": [()], "uniform": [()], "expon": [()], "cauchy": [()], "laplace": [()], "logistic": [()], "gumbel_r": [()], "gumbel_l": [()],
    "pareto": [(0.7,), (3.0,)], "beta": [(0.5, 0.7), (2.0, 30.0), (1.0, 1.0)], "gamma": [(0.3,), (1.0,), (25.0,)], "chi2": [(1.0,), (2.0,), (7.5,)],
    "t": [(0.8,), (30.0,)], "gennorm": [(0.6,), (2.0,)], "truncnorm": [(-1.0, 2.0), (3.0, 5.0), (-8.0, -6.0)],
}  # fmt: skip
DISCRETE: dict[str, list[tuple[float, ...]]] = {
    "bernoulli": [(0.3,), (0.0,), (1.0,)], "binom": [(7.0, 0.3), (9.0, 1.0)], "betabinom": [(8.0, 0.6, 3.0)], "nbinom": [(3.0, 0.4), (2.5, 0.9)],
    "geom": [(0.2,), (1.0,)], "poisson": [(0.4,), (8.0,)],
}  # fmt: skip
TAILS = ("ppf", "isf")


@pytest.fixture(autouse=True)
def numpy_runs_the_graphs() -> Iterator[None]:
    with fx.config.using(backend="reference"):
        yield


def functions(name: str) -> list[str]:
    return [n for n in vars(getattr(stats, name)) if not n.startswith("_")]


def near(got: Any, want: Any, rtol: float, what: str, atol: float = 1e-300) -> None:
    np.testing.assert_allclose(np.asarray(got), want, rtol=rtol, atol=atol, err_msg=what)


def test_names_are_those_of_jax() -> None:
    theirs = pytest.importorskip("jax.scipy.stats")
    assert set(stats.__all__) == {n for n in dir(theirs) if not n.startswith("_")}
    ignored = {"annotations", "jnp", "lax"}
    for name in stats.__all__:
        ours, want = getattr(stats, name), getattr(theirs, name)
        for n in [v for v in dir(want) if not v.startswith("_") and v not in ignored] if inspect.ismodule(want) else ():
            parameters = [list(inspect.signature(getattr(m, n)).parameters.values()) for m in (ours, want)]
            got, named = [[(p.name, p.default) for p in ps] for ps in parameters]
            assert got[: len(named)] == named, f"{name}.{n}"


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_distributions(name: str) -> None:
    rows = [(*shapes, loc, scale) for shapes in CONTINUOUS[name] for loc, scale in ((0.0, 1.0), (0.5, 2.5))]
    args = [np.array(column)[:, None] for column in zip(*rows)]
    for n in functions(name):
        x = Q if n in TAILS else X
        with np.errstate(all="ignore"):
            want = getattr(getattr(scipy_stats, name), n)(x, *args)
        got = getattr(getattr(stats, name), n)(x, *args)
        assert got.dtype == np.float64
        near(got, want, 1e-11, f"{name}.{n}", 1e-13 if n in ("ppf", "isf", "logpdf") else 1e-300)


def test_tails_do_not_cancel() -> None:
    x = np.float64([-35.0, -20.0])
    for name in ("norm", "logistic", "laplace", "cauchy", "gennorm"):
        extra = (np.float64(1.5),) if name == "gennorm" else ()
        d, truth = getattr(stats, name), getattr(scipy_stats, name)
        near(d.cdf(x, *extra), truth.cdf(x, *extra), 3e-13, f"{name}.cdf")
        near(d.sf(-x, *extra), truth.sf(-x, *extra), 3e-13, f"{name}.sf")
    near(
        stats.truncnorm.logpdf(np.float64(31), np.float64(30), np.inf),
        scipy_stats.truncnorm.logpdf(31, 30, np.inf),
        1e-13,
        "",
    )
    near(stats.gumbel_r.logcdf(np.float64(40)), -np.exp(-40.0), 1e-15, "")
    near(stats.expon.logcdf(np.float64(1e-20)), np.log(1e-20), 1e-15, "")


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_distributions(name: str) -> None:
    for shapes in DISCRETE[name]:
        for loc in (0.0, 2.0):
            args = (*map(np.float64, shapes), np.float64(loc))
            for n in ("logpmf", "pmf"):
                with np.errstate(all="ignore"):
                    want = getattr(getattr(scipy_stats, name), n)(K, *args)
                finite = ~np.isnan(K)
                got = np.asarray(getattr(getattr(stats, name), n)(K, *args))
                near(got[finite], want[finite], 1e-13, f"{name}.{n}{args}", 1e-14)


def test_what_some_discrete_distributions_have_besides() -> None:
    near(stats.bernoulli.cdf(K, 0.3), scipy_stats.bernoulli.cdf(K, 0.3), 1e-7, "")
    near(stats.bernoulli.ppf(Q, np.float64(0.3)), scipy_stats.bernoulli.ppf(Q, 0.3), 1e-15, "")
    near(stats.poisson.cdf(K, np.float64(3.2), 1.0), scipy_stats.poisson.cdf(K, 3.2, 1.0), 1e-13, "")
    mu = np.array([0.0, 1e-3, 0.5, 5.0, 40.0, 99.0, 101.0, 1e4])
    want = []
    for m in mu:
        p = scipy_stats.poisson.pmf(np.arange(11000), m)
        want.append(-np.sum(p[p > 0] * np.log(p[p > 0])))
    near(stats.poisson.entropy(mu), want, 1e-10, "entropy", 1e-15)


def test_distributions_on_the_circle() -> None:
    x = np.linspace(-3, 9, 25)
    near(stats.vonmises.logpdf(x, np.float64(3)), scipy_stats.vonmises.logpdf(x, 3), 1e-12, "vonmises")
    near(stats.vonmises.pdf(x, np.float64(800)), scipy_stats.vonmises.pdf(x, 800), 1e-11, "vonmises")
    near(stats.wrapcauchy.logpdf(x, np.float64(0.3)), scipy_stats.wrapcauchy.logpdf(x, 0.3), 1e-12, "wrapcauchy")


def test_distributions_of_vectors() -> None:
    alpha, x = np.array([0.5, 2.0, 3.0]), RNG.dirichlet([1, 2, 3], 5).T
    want = scipy_stats.dirichlet.logpdf(x, alpha)
    near(stats.dirichlet.logpdf(x, alpha), want, 1e-12, "")
    near(stats.dirichlet.pdf(x[:-1], alpha), np.exp(want), 1e-12, "")
    assert stats.dirichlet.logpdf(np.array([0.5, 0.2, 0.2]), alpha) == -np.inf
    counts, p = np.array([[1, 2, 3], [6, 0, 0], [1, 1, 1]]), np.array([0.2, 0.3, 0.5])
    near(stats.multinomial.logpmf(counts, 6, p), scipy_stats.multinomial.logpmf(counts, 6, p), 1e-13, "")
    near(stats.multinomial.pmf(counts[0], 6, p), scipy_stats.multinomial.pmf(counts[0], 6, p), 1e-13, "")
    mean, cov = RNG.normal(size=3), np.cov(RNG.normal(size=(3, 9)))
    points = RNG.normal(size=(4, 2, 3))
    want = scipy_stats.multivariate_normal.logpdf(points, mean, cov)
    near(stats.multivariate_normal.logpdf(points, mean, cov), want, 1e-12, "")
    near(
        stats.multivariate_normal.pdf(points, mean, 2.0),
        scipy_stats.multivariate_normal.pdf(points, mean, 2.0),
        1e-12,
        "",
    )
    near(stats.multivariate_normal.logpdf(points, 1.0, 2.0), scipy_stats.norm.logpdf(points, 1.0, 2.0**0.5), 1e-12, "")
    batched = stats.multivariate_normal.logpdf(points[:, 0], mean, np.stack([cov, 2 * cov, cov + np.eye(3), cov]))
    near(batched[1], scipy_stats.multivariate_normal.logpdf(points[1, 0], mean, 2 * cov), 1e-12, "")
    gradient = fx.grad(lambda m: stats.multivariate_normal.logpdf(points[0, 0], m, cov))(mean)
    near(gradient, np.linalg.solve(cov, points[0, 0] - mean), 1e-10, "")
    for bad in (
        lambda: stats.dirichlet.logpdf(x[:1], alpha),
        lambda: stats.multivariate_normal.logpdf(points, mean, np.eye(2)),
    ):
        with pytest.raises(ShapeError):
            bad()
    with pytest.raises(NotImplementedError, match="allow_singular"):
        stats.multivariate_normal.logpdf(points, mean, cov, allow_singular=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
def test_derivatives_are_difference_quotients(name: str) -> None:
    discrete = name in DISCRETE
    shapes = (DISCRETE if discrete else CONTINUOUS)[name][0]
    at = 2.0 if name == "geom" else 1.0 if discrete else 1.9 if name == "pareto" else 0.6
    xs = [np.float64(v) for v in ((at, *shapes) if discrete else (at, *shapes, 0.2, 1.3))]
    wrt = [
        i for i in range(1 if discrete else 0, len(xs)) if not (discrete and name in ("binom", "betabinom") and i == 1)
    ]
    n, h = ("logpmf" if discrete else "logpdf"), 1e-5
    f = getattr(getattr(stats, name), n)
    gradients = fx.grad(f, tuple(wrt))(*xs)
    for i, got in zip(wrt, gradients):
        up, down = (float(f(*xs[:i], xs[i] + d, *xs[i + 1 :])) for d in (h, -h))
        near(got, (up - down) / (2 * h), 1e-7, f"{name}, {i}", 1e-8)


def test_single_precision_and_compiled_code() -> None:
    args = {
        n: (np.float32([0.3, 1.7]), *map(np.float32, CONTINUOUS[n][0]))
        for n in ("norm", "cauchy", "pareto", "t", "logistic")
    }

    def f(args: dict[str, Any]) -> dict[str, Any]:
        return {n: (getattr(stats, n).logpdf(*xs), getattr(stats, n).pdf(*xs)) for n, xs in args.items()}

    want, got = f(args), fx.jit(f, backend="native")(args)
    for a, b in zip(tree.leaves(got), tree.leaves(want)):
        assert a.dtype == np.float32
        near(a, np.asarray(b), 3e-6, "")
    mapped = fx.vmap(stats.norm.logpdf, (0, None))(args["norm"][0], 0.5)
    near(mapped, np.asarray(stats.norm.logpdf(args["norm"][0], 0.5)), 0, "")
    assert stats.norm.pdf(fnp.zeros(2, "bfloat16")).dtype == fnp.bfloat16
    assert float(stats.norm.pdf(x=0.0, scale=2.0)) == pytest.approx(scipy_stats.norm.pdf(0, scale=2))
    with pytest.raises(TypeError, match="missing a required argument: 'b'"):
        stats.pareto.pdf(1.0)
    assert "logcdf" in repr(stats.norm)


# ------------------------------------------------------------------------------------------ samples


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_mode_and_ranks(axis: int | None) -> None:
    x = RNG.integers(0, 4, (5, 6))
    y = x.astype(float)
    y[2, 3] = np.nan
    for a in (x, y[:2], x[:, :1]):
        for keepdims in (False, True):
            got, want = stats.mode(a, axis, keepdims=keepdims), scipy_stats.mode(a, axis, keepdims=keepdims)
            np.testing.assert_array_equal(np.asarray(got.mode), want.mode)
            np.testing.assert_array_equal(np.asarray(got.count), want.count)
    np.testing.assert_array_equal(np.isnan(np.asarray(stats.mode(y, axis).mode)), np.isnan(np.max(y, axis)))
    for method in ("average", "min", "max", "dense", "ordinal"):
        for a in (x, y):
            got = stats.rankdata(a, method, axis=axis)
            np.testing.assert_array_equal(np.asarray(got), scipy_stats.rankdata(a, method, axis=axis))
    with pytest.raises(ValueError, match="first"):
        stats.rankdata(x, "first")


def test_standard_error_of_the_mean() -> None:
    x = RNG.normal(size=(5, 6))
    for axis in (None, 0, 1):
        near(stats.sem(x, axis), scipy_stats.sem(x, axis), 1e-13, "")
    near(stats.sem(x, 1, 0, keepdims=True)[:, 0], scipy_stats.sem(x, 1, 0), 1e-13, "")
    x[2, 3] = np.nan
    near(stats.sem(x, 0, nan_policy="omit"), scipy_stats.sem(x, 0, nan_policy="omit"), 1e-13, "")
    assert np.isnan(stats.sem(x, None))
    with pytest.raises(NotImplementedError, match="nan_policy"):
        stats.sem(x, nan_policy="raise")


@pytest.mark.parametrize("d", [1, 2])
def test_kernel_density(d: int) -> None:
    data, points, weights = RNG.normal(size=(d, 12)), RNG.normal(size=(d, 5)), RNG.random(12)
    for how in (None, "silverman", 0.4, lambda k: float(k.neff) ** -0.5):
        for w in (None, weights):
            ours, theirs = stats.gaussian_kde(data, how, w), scipy_stats.gaussian_kde(data, how, w)
            near(ours(points), theirs(points), 1e-11, "evaluate")
            near(ours.logpdf(points), theirs.logpdf(points), 1e-10, "logpdf", 1e-12)
    near(ours.inv_cov, theirs.inv_cov, 1e-11, "inv_cov", 1e-12)
    mean, cov = np.zeros(d) + 0.3, np.eye(d) * 0.7
    near(ours.integrate_gaussian(mean, cov), theirs.integrate_gaussian(mean, cov), 1e-11, "")
    other = stats.gaussian_kde(data[:, :6] + 1)
    near(ours.integrate_kde(other), theirs.integrate_kde(scipy_stats.gaussian_kde(data[:, :6] + 1)), 1e-11, "")
    if d == 1:
        near(ours.integrate_box_1d(-1.0, 0.5), theirs.integrate_box_1d(-1.0, 0.5), 1e-11, "")
    sample = stats.gaussian_kde(data).resample(random.key(1), (3, 400))
    assert sample.shape == (d, 3, 400)
    near(np.asarray(sample).mean((1, 2)), data.mean(1), 0, "mean", 0.15)
    leaves, structure = tree.flatten(ours)
    near(tree.unflatten(structure, leaves).pdf(points), theirs(points), 1e-11, "pytree")
    for call in (lambda: ours.set_bandwidth("scott"), lambda: ours.integrate_box(0, 1)):
        with pytest.raises(NotImplementedError):
            call()
    for bad in (
        lambda: stats.gaussian_kde(np.zeros(1)),
        lambda: ours(np.zeros((3, 2))),
        lambda: stats.gaussian_kde(data, None, weights[:3]),
    ):
        with pytest.raises(ShapeError):
            bad()


@pytest.mark.parametrize(
    "name", [n for n in stats.__all__ if not inspect.isroutine(getattr(stats, n)) and n != "gaussian_kde"]
)
def test_distributions_are_imported_as_modules(name: str) -> None:
    """As programs for JAX and for autograd do, which have a module for each."""
    scope: dict[str, Any] = {}
    density = "logpdf" if hasattr(getattr(stats, name), "logpdf") else "logpmf"
    exec(f"import fx.scipy.stats.{name} as whole\nfrom fx.scipy.stats.{name} import {density} as part", scope)
    assert scope["whole"] is getattr(stats, name)
    assert scope["part"] is getattr(getattr(stats, name), density)
