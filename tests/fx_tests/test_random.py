"""``fx.random``: the same bits as JAX, the right distributions, every transform, and what wrong keys say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from recorded import answers, as_recorded
from scipy import stats

import fx
import fx.numpy as fnp
from fx import random
from fx.errors import DTypeError, ShapeError

N = (33,)
KEY = np.array([0, 42], np.uint32)
FLOATS = ["float16", "bfloat16", "float32", "float64"]
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@pytest.fixture(scope="module", autouse=True)
def numpy_runs_the_graphs():
    with fx.config.using(backend="reference"):
        yield


def values(x):
    return np.asarray(random.key_data(x) if isinstance(x, random.KeyArray) else x)


def same_bits(got, want):
    got, want = values(got), values(want)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    np.testing.assert_array_equal(got, want)


def close(got, want, ulps):
    """Equal up to rounding: ``ulps`` units of the greatest of the numbers 1 and ``want``."""
    got, want = values(got), values(want)
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    wide = np.complex128 if got.dtype.kind == "c" else np.float64
    got, want, eps = got.astype(wide), want.astype(wide), float(fnp.finfo(got.dtype).eps)
    np.testing.assert_allclose(got, want, rtol=ulps * eps, atol=ulps * eps)


# ------------------------------------------------------------------------------------------ same bits


LOGITS = np.random.RandomState(0).normal(size=(5, 6)).astype(np.float32)
WEIGHTS = np.array([0.1, 0.2, 0.05, 0.3, 0.15, 0.2], np.float32)

MEAN = np.array([[1.0, 2.0], [0.0, -1.0]])
COV = np.array([[2.0, 0.3], [0.3, 1.0]])

CASES: dict[str, tuple[Any, int]] = {
    "split": (lambda r: r.split(KEY), 0),
    "split 5": (lambda r: r.split(KEY, 5), 0),
    "split (2, 3)": (lambda r: r.split(KEY, (2, 3)), 0),
    "uniform range": (lambda r: r.uniform(KEY, N, "float32", -3, 7.5), 16),
    "complex64": (lambda r: r.normal(KEY, N, "complex64"), 16),
    "complex128": (lambda r: r.normal(KEY, N, "complex128"), 16),
    "gumbel high": (lambda r: r.gumbel(KEY, N, "float32", "high"), 128),
    "bernoulli": (lambda r: r.bernoulli(KEY, np.float32(0.3), N), 0),
    "bernoulli high": (lambda r: r.bernoulli(KEY, np.float32(0.3), N, "high"), 0),
    "bernoulli default": (lambda r: r.bernoulli(KEY, shape=N), 0),
    "rademacher": (lambda r: r.rademacher(KEY, N), 0),
    "double_sided_maxwell": (
        lambda r: r.double_sided_maxwell(KEY, np.arange(3, dtype=np.float32), np.float32(2), (4,), "float32"),
        16,
    ),
    "gamma float16": (lambda r: r.gamma(KEY, np.float16(1.5), N, "float16"), 16),
    "gamma limits": (lambda r: r.gamma(KEY, np.float32([0, 1, np.nan]), dtype="float32"), 16),
    "beta": (lambda r: r.beta(KEY, np.float32(2), np.float32(0.5), N, "float32"), 64),
    "dirichlet": (lambda r: r.dirichlet(KEY, np.float32([0.5, 1, 3]), (5,), "float32"), 64),
    "chisquare": (lambda r: r.chisquare(KEY, np.float32(3), N, "float32"), 512),
    "t": (lambda r: r.t(KEY, np.float32(3), N, "float32"), 64),
    "f": (lambda r: r.f(KEY, np.float32(3), np.float32(5), N, "float32"), 512),
    "generalized_normal": (lambda r: r.generalized_normal(KEY, np.float32(1.5), N, "float32"), 64),
    "ball": (lambda r: r.ball(KEY, 3, np.float32(1.5), (9,), "float32"), 64),
    "ball 2": (lambda r: r.ball(KEY, 2, shape=(9,), dtype="float64"), 256),
    "orthogonal": (lambda r: r.orthogonal(KEY, 3, (2,), "float64"), 256),
    "orthogonal wide": (lambda r: r.orthogonal(KEY, 2, (2,), "float64", 4), 256),
    "orthogonal complex": (lambda r: r.orthogonal(KEY, 4, (), "complex128", 2), 256),
    "poisson": (lambda r: r.poisson(KEY, np.float32([0, 0.5, 3, 9.99, 10, 50, -1, np.nan]), (40, 8)), 0),
    "poisson int16": (lambda r: r.poisson(KEY, 4.0, N, "int16"), 0),
    "binomial": (
        lambda r: r.binomial(KEY, np.float32([[5], [100], [7.8]]), np.float32([0.02, 0.5, 0.9]), (20, 3, 3)),
        0,
    ),
    "binomial limits": (
        lambda r: r.binomial(
            KEY, np.float32([5, 5, 5, 5, 5, np.nan, -1, np.inf]), np.float32([0, 1, np.nan, -1, 1.5, 0.5, 0.5, 0.5])
        ),
        0,
    ),
    "binomial float64": (lambda r: r.binomial(KEY, 100.0, np.array([0.03, 0.6]), (33, 2), "float64"), 0),
    "multinomial": (lambda r: r.multinomial(KEY, np.float32(20), np.float32([0.2, 0.3, 0.5])), 0),
    "multinomial shape": (
        lambda r: r.multinomial(KEY, np.float32([20, 3]), np.float32([0.2, 0, 0.8]), shape=(2, 3), dtype="float32"),
        0,
    ),
    "geometric": (lambda r: r.geometric(KEY, np.float32(0.3), N), 0),
    "randint arrays": (lambda r: r.randint(KEY, (4, 3), np.arange(3), np.arange(3) * 5 + 1), 0),
    "randint whole int64": (lambda r: r.randint(KEY, N, -(2**63), 2**63 - 1, "int64"), 0),
    "truncated_normal": (lambda r: r.truncated_normal(KEY, -2, 2, N, "float32"), 16),
    "truncated_normal right": (lambda r: r.truncated_normal(KEY, 0.5, 3, N, "float64"), 64),
    "pareto": (lambda r: r.pareto(KEY, np.float32(2), N, "float32"), 64),
    "rayleigh": (lambda r: r.rayleigh(KEY, np.float32(2), N, "float32"), 16),
    "wald": (lambda r: r.wald(KEY, np.float32(2), N, "float32"), 64),
    "triangular": (lambda r: r.triangular(KEY, np.float32(-1), np.float32(0.25), np.float32(2), N, "float32"), 16),
    "weibull_min": (lambda r: r.weibull_min(KEY, 2.0, 0.5, N, "float32"), 16),
    "lognormal": (lambda r: r.lognormal(KEY, np.float32(0.75), N, "float32"), 64),
    "permutation rows": (lambda r: r.permutation(KEY, LOGITS), 0),
    "permutation columns": (lambda r: r.permutation(KEY, LOGITS, 1), 0),
    "permutation independent": (lambda r: r.permutation(KEY, LOGITS, 1, True), 0),
    "categorical 0": (lambda r: r.categorical(KEY, LOGITS, 0), 0),
    "categorical -1": (lambda r: r.categorical(KEY, LOGITS), 0),
    "categorical shape": (lambda r: r.categorical(KEY, LOGITS, 0, (2, 2, 6)), 0),
    "categorical different": (lambda r: r.categorical(KEY, LOGITS, -1, (3, 5), False), 0),
    "categorical different 0": (lambda r: r.categorical(KEY, LOGITS, 0, (2, 2, 6), False), 0),
    "choice": (lambda r: r.choice(KEY, 10, (4,)), 0),
    "choice different": (lambda r: r.choice(KEY, 10, (2, 3), False), 0),
    "choice none": (lambda r: r.choice(KEY, 6, (0, 3), False), 0),
    "choice rows": (lambda r: r.choice(KEY, LOGITS, (3, 2), axis=1), 0),
    "choice different rows": (lambda r: r.choice(KEY, LOGITS, (3,), False, axis=1), 0),
    "choice weighted": (lambda r: r.choice(KEY, LOGITS, (9,), True, WEIGHTS, 1), 0),
    "choice weighted different": (lambda r: r.choice(KEY, LOGITS, (2, 2), False, WEIGHTS, 1), 0),
    "choice one": (lambda r: r.choice(KEY, 6, (), True, WEIGHTS), 0),
}
for seed in (0, 42, 2**31 - 1, 2**40 + 5, -1, -(2**50), np.int32(-5), np.uint32(2**32 - 1)):
    CASES[f"key {seed!r}"] = (lambda r, seed=seed: r.PRNGKey(seed), 0)
for data in (0, 7, 2**32 - 1):
    CASES[f"fold_in {data}"] = (lambda r, data=data: r.fold_in(KEY, data), 0)
for dtype in ("uint8", "uint16", "uint32", "uint64"):
    for shape in ((), (0,), (2, 3, 4)):
        CASES[f"bits {dtype} {shape}"] = (lambda r, dtype=dtype, shape=shape: r.bits(KEY, shape, dtype), 0)
for dtype in FLOATS:
    CASES[f"uniform {dtype}"] = (lambda r, dtype=dtype: r.uniform(KEY, N, dtype), 0)
    for name, ulps in {
        "normal": 16,
        "exponential": 400,
        "cauchy": 400,
        "laplace": 400,
        "logistic": 400,
        "gumbel": 16,
        "maxwell": 16,
    }.items():
        CASES[f"{name} {dtype}"] = (
            lambda r, name=name, dtype=dtype: getattr(r, name)(KEY, N, dtype),
            ulps if dtype == "float64" else 16,
        )
for dtype in INTEGERS:
    greatest = int(np.iinfo(dtype).max)
    for low, high in ((0, 100), (5, 3), (0, min(greatest, 2**63 - 1)), (0, min(greatest + 1, 2**63 - 1))):
        CASES[f"randint {dtype} {low} {high}"] = (lambda r, a=(low, high, dtype): r.randint(KEY, N, *a), 0)
for a in (0.05, 0.7, 3.5, 40.0):
    for name in ("gamma", "loggamma"):
        CASES[f"{name} {a}"] = (lambda r, name=name, a=a: getattr(r, name)(KEY, np.float32(a), N, "float32"), 64)
CASES["gamma float64"] = (lambda r: r.gamma(KEY, np.array([[0.05], [0.7], [40]]), (3, 33), "float64"), 256)
for method in ("cholesky", "eigh", "svd"):
    CASES[f"multivariate_normal {method}"] = (
        lambda r, method=method: r.multivariate_normal(KEY, MEAN, COV, (4, 2), method=method),
        256,
    )
for size in (0, 1, 6, 2000):
    CASES[f"permutation {size}"] = (lambda r, size=size: r.permutation(KEY, size), 0)


@pytest.fixture(scope="module")
def jax_samples(request):
    """What JAX 0.10.2 gives for every case, with 64 bit types."""

    def compute():
        jax = pytest.importorskip("jax")
        with jax.enable_x64(True):
            return {name: sample(jax.random) for name, (sample, _) in CASES.items()}

    return answers("jax_random", request.config.getoption("--update-golden"), compute)


@pytest.mark.parametrize("name", CASES)
def test_samples_are_jax_s(jax_samples, name):
    sample, ulps = CASES[name]
    with fx.config.using(default_int="int64", default_float="float64"):
        got = values(sample(random))
    want = as_recorded(got, jax_samples[name])
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    if not ulps:
        np.testing.assert_array_equal(got, want)
    else:
        close(got, want, ulps)


def test_nothing_else_was_recorded(jax_samples):
    assert set(jax_samples) == set(CASES)


# -------------------------------------------------------------------------------------- distributions

DISTRIBUTIONS = {
    "uniform": ((), stats.uniform()), "normal": ((), stats.norm()), "exponential": ((), stats.expon()), "cauchy": ((), stats.cauchy()),
    "laplace": ((), stats.laplace()), "logistic": ((), stats.logistic()), "gumbel": ((), stats.gumbel_r()), "maxwell": ((), stats.maxwell()),
    "truncated_normal": ((-1.0, 2.0), stats.truncnorm(-1, 2)), "pareto": ((2.0,), stats.pareto(2)), "rayleigh": ((2.0,), stats.rayleigh(scale=2)),
    "wald": ((2.0,), stats.invgauss(2.0)), "triangular": ((-1.0, 0.5, 2.0), stats.triang(0.5, -1, 3)),
    "gamma": ((0.6,), stats.gamma(0.6)), "beta": ((0.5, 2.0), stats.beta(0.5, 2)), "chisquare": ((3.0,), stats.chi2(3)), "t": ((4.0,), stats.t(4)),
    "f": ((3.0, 7.0), stats.f(3, 7)), "generalized_normal": ((1.5,), stats.gennorm(1.5)), "loggamma": ((2.5,), stats.loggamma(2.5)),
    "weibull_min": ((2.0, 1.5), stats.weibull_min(1.5, scale=2)), "lognormal": ((0.7,), stats.lognorm(0.7)),
}  # fmt: skip


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_samples_follow_their_distribution(name):
    params, truth = DISTRIBUTIONS[name]
    samples = values(getattr(random, name)(KEY, *params, (4000,), "float64"))
    assert stats.kstest(samples, truth.cdf).pvalue > 1e-3


def test_a_wrong_distribution_is_noticed():
    samples = values(random.normal(KEY, (4000,), "float64")) * 1.2
    assert stats.kstest(samples, stats.norm().cdf).pvalue < 1e-3


def assert_cells(counts, law):
    """The counts fall between some quantiles of a law as often as they should."""
    edges = np.unique(law.ppf([0.1, 0.3, 0.5, 0.7, 0.9]))
    found = np.diff([0, *[(counts <= e).sum() for e in edges], counts.size])
    wanted = np.diff([0, *law.cdf(edges), 1]) * counts.size
    assert stats.chisquare(found, wanted).pvalue > 1e-3


def test_integers_and_events_are_as_frequent_as_they_should_be():
    n = 6000
    dice = np.bincount(values(random.randint(KEY, (n,), 0, 6)), minlength=6)
    assert stats.chisquare(dice).pvalue > 1e-3
    drawn = np.bincount(values(random.categorical(KEY, np.log(WEIGHTS), shape=(n,))), minlength=6)
    assert stats.chisquare(drawn, n * WEIGHTS.astype(float) / WEIGHTS.astype(float).sum()).pvalue > 1e-3
    assert stats.binomtest(int(values(random.bernoulli(KEY, 0.3, (n,))).sum()), n, 0.3).pvalue > 1e-3
    for mean in (3.0, 30.0):
        assert_cells(values(random.poisson(KEY, mean, (n,))), stats.poisson(mean))
    for trials, probability in ((8, 0.3), (200, 0.7)):
        assert_cells(values(random.binomial(KEY, trials, probability, (n,))), stats.binom(trials, probability))
    many = values(random.multinomial(KEY, np.full(n, 10.0), WEIGHTS / WEIGHTS.sum(), shape=(n, 6)))
    assert (many.sum(1) == 10).all()
    np.testing.assert_allclose(many.mean(0), 10 * WEIGHTS / WEIGHTS.sum(), atol=0.1)
    assert set(values(random.rademacher(KEY, (50,))).tolist()) == {-1, 1}
    orders = {tuple(values(random.permutation(k, 3)).tolist()) for k in random.split(KEY, 60)}
    assert len(orders) == 6


def test_keys_give_independent_numbers():
    keys = random.split(KEY, 4)
    samples = values(fx.vmap(lambda k: random.normal(k, (2000,)))(keys))
    assert np.abs(np.corrcoef(samples) - np.eye(4)).max() < 0.1


def test_vectors_and_matrices_have_their_laws():
    draws = values(random.multivariate_normal(KEY, MEAN[0], COV, (4000,)))
    np.testing.assert_allclose(np.cov(draws.T), COV, atol=0.15)
    points = values(random.ball(KEY, 3, 2, (4000,), "float64"))
    assert stats.kstest((points**2).sum(1) ** 1.5, stats.uniform().cdf).pvalue > 1e-3  # the radius cubed is uniform
    shares = values(random.dirichlet(KEY, np.array([1.0, 2.0, 3.0]), (4000,), "float64"))
    np.testing.assert_allclose(shares.sum(1), 1)
    assert stats.kstest(shares[:, 2], stats.beta(3, 3).cdf).pvalue > 1e-3
    q = values(random.orthogonal(KEY, 3, (500,), "float64"))
    np.testing.assert_allclose(q @ q.swapaxes(1, 2), np.broadcast_to(np.eye(3), q.shape), atol=1e-12)
    assert stats.kstest((q[:, 0, 0] + 1) / 2, stats.uniform().cdf).pvalue > 1e-3


# ----------------------------------------------------------------------------------------- transforms


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_jit_and_vmap_change_nothing(backend):
    def draw(key):
        a, b = random.split(key)
        return random.uniform(a, (3,)), random.randint(b, (2,), 0, 10), random.permutation(key, 5)

    keys = random.split(KEY, 3)
    for got, *want in zip(fx.jit(fx.vmap(draw), backend=backend)(keys), *[draw(k) for k in keys]):
        same_bits(got, np.stack([values(w) for w in want]))


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_rejection_is_the_same_compiled_and_batched(backend):
    def draw(key):
        return (
            random.gamma(key, np.float32([0.5, 3]), dtype="float32"),
            random.poisson(key, 20.0),
            random.binomial(key, 9.0, 0.3),
        )

    keys = random.split(KEY, 3)
    for got, *want in zip(fx.jit(fx.vmap(draw), backend=backend)(keys), *[draw(k) for k in keys]):
        np.testing.assert_allclose(values(got), np.stack([values(w) for w in want]), rtol=1e-5)


DERIVATIVES = {
    "gamma": lambda r, a: r.gamma(KEY, a, dtype="float64"),
    "loggamma": lambda r, a: r.loggamma(KEY, a, dtype="float64"),
    "beta": lambda r, a: r.beta(KEY, a, 2.0, dtype="float64"),
    "dirichlet": lambda r, a: r.dirichlet(KEY, a, dtype="float64")[0],
    "t": lambda r, a: r.t(KEY, a, a.shape, dtype="float64"),
    "multivariate_normal": lambda r, a: r.multivariate_normal(KEY, a, COV[0, 0] * np.eye(4) + 0.1 * a.sum()),
}


POINT = np.array([0.05, 0.8, 4.0, 60.0])


@pytest.fixture(scope="module")
def jax_derivatives(request):
    """What JAX 0.10.2 gives for the derivatives of sums of samples, with 64 bit types."""

    def compute():
        jax = pytest.importorskip("jax")
        with jax.enable_x64(True):
            return {name: jax.grad(lambda a, f=f: f(jax.random, a).sum())(POINT) for name, f in DERIVATIVES.items()}

    return answers("jax_random_derivatives", request.config.getoption("--update-golden"), compute)


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_are_jax_s(jax_derivatives, name):
    got = fx.grad(lambda a: DERIVATIVES[name](random, a).sum())(POINT)
    np.testing.assert_allclose(got, jax_derivatives[name], rtol=1e-8)


def test_normal_numbers_are_the_same_when_compiled():
    got = fx.jit(lambda k: random.normal(k, N), backend="native")(KEY)
    close(got, random.normal(KEY, N), 16)


def test_a_key_may_be_made_inside_a_traced_function():
    same_bits(fx.jit(random.key)(np.int64(2**33 + 9)), np.array([2, 9], np.uint32))
    same_bits(fx.vmap(random.key)(np.arange(2, dtype=np.int32)), np.array([[0, 0], [0, 1]], np.uint32))


def test_samples_are_differentiated_with_respect_to_parameters():
    def f(scale, low):
        return fnp.sum(random.rayleigh(KEY, scale, (4,), "float64")) + fnp.sum(
            random.uniform(KEY, (4,), "float64", low, 5.0)
        )

    scale, low = np.float64(1.5), np.float64(-1.0)
    got = fx.grad(f, (0, 1))(scale, low)
    want = [
        float(random.rayleigh(KEY, 1.0, (4,), "float64").sum()),
        float((1 - random.uniform(KEY, (4,), "float64")).sum()),
    ]
    np.testing.assert_allclose([float(g) for g in got], want, rtol=1e-12)
    assert float(fx.grad(lambda upper: random.truncated_normal(KEY, -1.0, upper))(1.0)) > 0


# --------------------------------------------------------------------------------- shapes, dtypes, errors


def test_default_dtypes_follow_the_configuration():
    assert random.normal(KEY).dtype == np.float32
    assert random.randint(KEY, (), 0, 2).dtype == np.int32
    assert random.bits(KEY).dtype == np.uint32
    with fx.config.using(default_float="float64", default_int="int64"):
        assert random.normal(KEY).dtype == np.float64
        assert random.randint(KEY, (), 0, 2).dtype == np.int64
        assert random.bits(KEY).dtype == np.uint64


def typed_and_raw():
    return random.wrap_key_data(KEY), KEY


def test_typed_and_raw_keys_give_the_same_numbers():
    typed, raw = typed_and_raw()
    assert typed.shape == () and typed.dtype == random.key_dtype() and random.key_impl(raw) == "threefry2x32"
    assert fx.dtypes.issubdtype(typed.dtype, fx.dtypes.prng_key) and not fx.dtypes.issubdtype(
        raw.dtype, fx.dtypes.prng_key
    )
    for f in (random.split, random.clone, lambda k: random.fold_in(k, 3), lambda k: random.split(k, (2, 3))):
        assert isinstance(f(typed), random.KeyArray) and not isinstance(f(raw), random.KeyArray)
        same_bits(f(typed), f(raw))
    same_bits(random.normal(typed, N), random.normal(raw, N))
    same_bits(fx.jit(lambda k: random.normal(random.split(k)[1], N))(typed), random.normal(random.split(raw)[1], N))


def test_arrays_of_keys_rearrange_as_arrays_do():
    keys = random.split(typed_and_raw()[0], (2, 3))
    words = values(keys)
    assert (keys.shape, keys.ndim, keys.size, len(keys), keys.nbytes) == ((2, 3), 2, 6, 2, 48)
    for f, want in {
        lambda k: k[1]: words[1],
        lambda k: k[..., 0]: words[:, 0],
        lambda k: k[:, None, 1:]: words[:, None, 1:],
        lambda k: k[np.array([True, False])]: words[:1],
        lambda k: k.reshape(3, -1): words.reshape(3, 2, 2),
        lambda k: k.reshape((6, 1)).squeeze(): words.reshape(6, 2),
        lambda k: k.ravel(): words.reshape(6, 2),
        lambda k: k.T: words.swapaxes(0, 1),
        lambda k: k.transpose(0, 1): words,
        lambda k: k.swapaxes(0, -1): words.swapaxes(0, 1),
        lambda k: k.take(np.array([2, 0]), 1): words[:, [2, 0]],
        lambda k: k.repeat(2, -1): words.repeat(2, 1),
        lambda k: k.copy(): words,
        lambda k: random.wrap_key_data(values(list(k)[1])): words[1],
    }.items():
        same_bits(f(keys), want)
    assert (
        values(keys == keys[::-1]).tolist() == [[False] * 3] * 2 and values(keys != keys[:1]).tolist()[1] == [True] * 3
    )


def test_keys_are_leaves_of_a_map_and_pass_through_the_transforms():
    a, b = random.split(typed_and_raw()[0])
    sizes = fx.tree.map(lambda k, x: random.normal(k, x.shape).shape, {"a": a, "b": b}, {"a": np.ones(3), "b": KEY})
    assert sizes == {"a": (3,), "b": (2,)}
    batch = fx.vmap(lambda k, x: (k, x * random.normal(k)))(random.split(a, 3), np.ones(3))
    assert batch[0].shape == (3,) and batch[1].shape == (3,)
    same_bits(fx.grad(lambda x, k: x * random.normal(k))(np.float32(2), a), random.normal(a))
    same_bits(fx.stop_gradient(a), a)
    assert fx.eval_shape(lambda k: random.split(k, 3), a).shape == (3,)


def test_keys_are_arrays():
    assert random.key_data(KEY) is not None
    same_bits(random.wrap_key_data(KEY), KEY)
    same_bits(random.clone(random.split(KEY, 3)), random.split(KEY, 3))
    a, b = random.split(KEY)
    assert values(a).tolist() != values(b).tolist()
    with fx.config.using(default_float="float32"):
        assert random.uniform(KEY, 3).shape == (3,)


def test_very_large_shapes_count_in_64_bits():
    """No such array is made: its shape is computed, and the counters of a smaller one are looked at."""
    assert fx.eval_shape(lambda k: random.bits(k, (2**33,), "uint8"), KEY).shape == (2**33,)
    high, low = random.keys._words("bits", "position", fnp.asarray(np.array([5, 2**32 + 7], np.uint64)))
    assert (values(high).tolist(), values(low).tolist()) == ([0, 1], [5, 7])


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: random.key(random.key(0)), DTypeError, "found a key"),
        (lambda: fnp.sin(random.key(0)), DTypeError, "fx.random.key_data(keys)"),
        (lambda: random.key(0)[0], IndexError, "shape ()"),
        (lambda: random.multivariate_normal(KEY, MEAN, COV, method="lu"), ShapeError, "'eigh'"),
        (lambda: random.multivariate_normal(KEY, MEAN, np.eye(3)), ShapeError, "(..., n, n)"),
        (lambda: random.dirichlet(KEY, 1.0), ShapeError, "(..., n)"),
        (lambda: random.gamma(KEY, np.ones(3), (2,)), ShapeError, "(3,)"),
        (lambda: random.poisson(KEY, 3.0, dtype="float32"), DTypeError, "integers"),
        (lambda: random.binomial(KEY, 3, 0.5, dtype="int32"), DTypeError, "floats"),
        (lambda: random.normal(0), DTypeError, "fx.random.key(seed)"),
        (lambda: random.normal(np.array([0.0, 1.0])), DTypeError, "float64"),
        (lambda: random.uniform(1.5), DTypeError, "float: 1.5"),
        (lambda: random.normal(random.split(KEY)), ShapeError, "fx.vmap"),
        (lambda: random.normal(np.zeros(3, np.uint32)), ShapeError, "(3,)"),
        (lambda: random.key(1.5), DTypeError, "int(seed)"),
        (lambda: random.key(2**64), ShapeError, "64 bits"),
        (lambda: random.key(np.arange(3)), ShapeError, "fx.vmap"),
        (lambda: random.key(0, impl="rbg"), DTypeError, "threefry2x32"),
        (lambda: random.fold_in(KEY, -1), ShapeError, "2**32"),
        (lambda: random.fold_in(KEY, np.arange(2)), ShapeError, "fx.vmap"),
        (lambda: random.fold_in(KEY, 0.5), DTypeError, "integer"),
        (lambda: random.normal(KEY, (-1,)), ShapeError, "negative"),
        (lambda: random.normal(KEY, (2,), "int32"), DTypeError, "float"),
        (lambda: random.bits(KEY, (2,), "int32"), DTypeError, "uint8"),
        (lambda: random.randint(KEY, (2,), 0, 5, "float32"), DTypeError, "integers"),
        (lambda: random.randint(KEY, (2,), 0.0, 5), DTypeError, "minval"),
        (lambda: random.uniform(KEY, (2,), minval=np.zeros(3)), ShapeError, "(3,)"),
        (lambda: random.uniform(KEY, (2,), -1.0, 1.0), DTypeError, "uniform: -1.0 stands where the dtype belongs"),
        (lambda: random.normal(KEY, 2, 3), DTypeError, "given by name"),
        (lambda: random.gumbel(KEY, (2,), mode="most"), ShapeError, "'highest'"),
        (lambda: random.bernoulli(KEY, 1, (2,)), DTypeError, "probability"),
        (lambda: random.bernoulli(KEY, 0.5, (2,), "exact"), ShapeError, "'high'"),
        (lambda: random.categorical(KEY, LOGITS, shape=(4,)), ShapeError, "(5,)"),
        (lambda: random.categorical(KEY, np.arange(3)), DTypeError, "logits"),
        (lambda: random.categorical(KEY, LOGITS, shape=(7, 5), replace=False), ShapeError, "replace=True"),
        (lambda: random.permutation(KEY, 2.5), DTypeError, "scalar"),
        (lambda: random.choice(KEY, 0, (2,)), ShapeError, "nothing to draw"),
        (lambda: random.choice(KEY, 2.5, (2,)), DTypeError, "scalar"),
        (lambda: random.choice(KEY, 3, (4,), replace=False), ShapeError, "replace=True"),
        (lambda: random.choice(KEY, 3, (4,), p=np.ones(2, np.float32)), ShapeError, "3 elements"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(call, error, says):
    with pytest.raises(error) as caught:
        call()
    assert says in str(caught.value)


MOVES = {
    "reshape": lambda np, lax, k: np.reshape(k, (2, 2)),
    "array": lambda np, lax, k: np.array([k[1], k[0]]),
    "asarray": lambda np, lax, k: np.asarray(k),
    "split": lambda np, lax, k: np.split(k, 2)[1],
    "take": lambda np, lax, k: np.take(k, np.array([[2, 0]]), axis=0),
    "repeat": lambda np, lax, k: np.repeat(k.reshape(2, 2), 2, axis=1),
    "zeros_like": lambda np, lax, k: np.zeros_like(k),
    "moveaxis": lambda np, lax, k: np.moveaxis(k[:, None], 0, 1),
    "broadcast_arrays": lambda np, lax, k: np.broadcast_arrays(k[:, None], k[None])[1],
    "dynamic_index_in_dim": lambda np, lax, k: lax.dynamic_index_in_dim(k, 1),
    "dynamic_update_slice": lambda np, lax, k: lax.dynamic_update_slice(k, k[:1], (2,)),
    "select": lambda np, lax, k: lax.select(np.array([True, False, True, False]), k, k[::-1]),
    "at set": lambda np, lax, k: k.at[np.array([0, 9])].set(k[2:]),
    "at get": lambda np, lax, k: k.at[2].get(),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_elements_moves_keys(name: str) -> None:
    jax = pytest.importorskip("jax")
    keys, theirs = random.split(random.key(3), 4), jax.random.split(jax.random.key(3), 4)
    want = np.asarray(jax.random.key_data(MOVES[name](jax.numpy, jax.lax, theirs)))

    def move(k: random.KeyArray) -> random.KeyArray:
        return MOVES[name](fnp, fx.lax, k)

    for got in (move(keys), fx.jit(move)(keys), fx.vmap(move)(fnp.stack([keys[::-1], keys]))[1]):
        assert got.dtype == keys.dtype
        np.testing.assert_array_equal(random.key_data(got), want)


def test_what_computes_is_refused_for_keys() -> None:
    keys = random.split(random.key(3), 4)
    for wrong in (
        lambda: fnp.sum(keys),
        lambda: fnp.asarray(keys, float),
        lambda: keys.at[0].set(1),
        lambda: fnp.stack([keys, fnp.ones(4)]),
    ):
        with pytest.raises(TypeError, match="keys"):
            wrong()
    with pytest.raises(ValueError, match="3"):
        fnp.reshape(keys, (3,))
