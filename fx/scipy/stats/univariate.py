"""The distributions of one number: a few lines of mathematics each, in their standard form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import numpy as fnp
from ...primitives import elementwise as p
from .. import special as sp
from ..special.core import Value
from .distribution import REQUIRED, Distribution, continuous, discrete, function, log1m_exp

__all__ = [
    "bernoulli", "beta", "betabinom", "binom", "cauchy", "chi2", "expon", "gamma", "gennorm", "geom", "gumbel_l", "gumbel_r",
    "laplace", "logistic", "nbinom", "norm", "pareto", "poisson", "t", "truncnorm", "uniform", "vonmises", "wrapcauchy",
]  # fmt: skip

_LOG_2PI = math.log(2 * math.pi)


def _norm_logpdf(y: Value) -> Value:
    return -0.5 * (y * y + _LOG_2PI)


norm = continuous(
    "norm", "Normal distribution of mean loc and standard deviation scale.",
    logpdf=_norm_logpdf, cdf=sp.ndtr, sf=lambda y: sp.ndtr(-y), logcdf=sp.log_ndtr, logsf=lambda y: sp.log_ndtr(-y),
    ppf=sp.ndtri, isf=lambda q: -sp.ndtri(q),
)  # fmt: skip

uniform = continuous(
    "uniform", "Uniform distribution on [loc, loc + scale].", support=(0, 1),
    logpdf=lambda y: 0 * y, cdf=lambda y: y, ppf=lambda q: q,
)  # fmt: skip

expon = continuous(
    "expon", "Exponential distribution exp(-x).", support=(0, None),
    logpdf=lambda y: -y, cdf=lambda y: -fnp.expm1(-y), logsf=lambda y: -y, ppf=lambda q: -fnp.log1p(-q), isf=lambda q: -fnp.log(q),
)  # fmt: skip


def _cauchy_quantile(q: Value) -> Value:
    """tan(pi (q - 1/2)), as the cotangent of the distance to the nearer end."""
    upper = q > 0.5
    end = fnp.where(upper, 1 - q, q)
    tail = end < 0.25
    far = 1 / fnp.tan(math.pi * fnp.where(tail, end, 0.125))
    size = fnp.where(end == 0, np.inf, fnp.where(tail, far, fnp.tan(math.pi * (0.5 - fnp.where(tail, 0.25, end)))))
    return fnp.where(upper, size, -size)


cauchy = continuous(
    "cauchy", "Cauchy distribution 1 / (pi (1 + x**2)).",
    logpdf=lambda y: -math.log(math.pi) - fnp.log1p(y * y), cdf=lambda y: fnp.arctan2(1, -y) / math.pi,
    sf=lambda y: fnp.arctan2(1, y) / math.pi, ppf=_cauchy_quantile, isf=lambda q: -_cauchy_quantile(q),
)  # fmt: skip


def _laplace_cdf(y: Value) -> Value:
    tail = 0.5 * fnp.exp(-fnp.abs(y))
    return fnp.where(y < 0, tail, 1 - tail)


def _laplace_quantile(q: Value) -> Value:
    upper = q > 0.5
    size = -fnp.log(2 * fnp.where(upper, 1 - q, q))
    return fnp.where(upper, size, -size)


laplace = continuous(
    "laplace", "Laplace distribution exp(-|x|) / 2.",
    logpdf=lambda y: -fnp.abs(y) - math.log(2), cdf=_laplace_cdf, sf=lambda y: _laplace_cdf(-y),
    ppf=_laplace_quantile, isf=lambda q: -_laplace_quantile(q),
)  # fmt: skip


def _log_expit(y: Value) -> Value:
    return -fnp.logaddexp(0, -y)


logistic = continuous(
    "logistic", "Logistic distribution exp(-x) / (1 + exp(-x))**2.",
    logpdf=lambda y: -fnp.abs(y) - 2 * fnp.log1p(fnp.exp(-fnp.abs(y))), cdf=sp.expit, sf=lambda y: sp.expit(-y),
    logcdf=_log_expit, logsf=lambda y: _log_expit(-y), ppf_of="x", isf_of="x", ppf=sp.logit, isf=lambda q: -sp.logit(q),
)  # fmt: skip

gumbel_r = continuous(
    "gumbel_r", "Gumbel distribution of maxima exp(-x - exp(-x)).",
    logpdf=lambda y: -y - fnp.exp(-y), logcdf=lambda y: -fnp.exp(-y), sf=lambda y: -fnp.expm1(-fnp.exp(-y)),
    ppf_of="p", ppf=lambda q: -fnp.log(-fnp.log(q)), isf=lambda q: -fnp.log(-fnp.log1p(-q)),
)  # fmt: skip

gumbel_l = continuous(
    "gumbel_l", "Gumbel distribution of minima exp(x - exp(x)).",
    logpdf=lambda y: y - fnp.exp(y), logsf=lambda y: -fnp.exp(y), cdf=lambda y: -fnp.expm1(-fnp.exp(y)),
    ppf_of="p", ppf=lambda q: fnp.log(-fnp.log1p(-q)), isf=lambda q: fnp.log(-fnp.log(q)),
)  # fmt: skip

pareto = continuous(
    "pareto", "Pareto distribution b / x**(b + 1) for x >= 1.", ("b",), (1, None),
    logpdf=lambda y, b: fnp.log(b) - (b + 1) * fnp.log(y), cdf=lambda y, b: -fnp.expm1(-b * fnp.log(y)),
    logsf=lambda y, b: -b * fnp.log(y), ppf=lambda q, b: fnp.exp(-fnp.log1p(-q) / b), isf=lambda q, b: fnp.exp(-fnp.log(q) / b),
)  # fmt: skip

beta = continuous(
    "beta", "Beta distribution x**(a - 1) (1 - x)**(b - 1) / B(a, b) on [0, 1].", ("a", "b"), (0, 1),
    logpdf=lambda y, a, b: sp.xlogy(a - 1, y) + sp.xlog1py(b - 1, -y) - sp.betaln(a, b),
    cdf=lambda y, a, b: sp.betainc(a, b, y), sf=lambda y, a, b: sp.betainc(b, a, 1 - y),
)  # fmt: skip


def _gamma_logpdf(y: Value, a: Value) -> Value:
    return sp.xlogy(a - 1, y) - y - p.lgamma(a)


gamma = continuous(
    "gamma", "Gamma distribution x**(a - 1) exp(-x) / gamma(a).", ("a",), (0, None),
    logpdf=_gamma_logpdf, cdf=lambda y, a: sp.gammainc(a, y), sf=lambda y, a: sp.gammaincc(a, y),
)  # fmt: skip

chi2 = continuous(
    "chi2", "Chi-squared distribution: the sum of df squares of standard normal numbers.", ("df",), (0, None),
    logpdf=lambda y, df: _gamma_logpdf(0.5 * y, 0.5 * df) - math.log(2),
    cdf=lambda y, df: sp.gammainc(0.5 * df, 0.5 * y), sf=lambda y, df: sp.gammaincc(0.5 * df, 0.5 * y),
)  # fmt: skip

t = continuous(
    "t", "Student's t distribution with df degrees of freedom.", ("df",),
    logpdf=lambda y, df: -0.5 * (df + 1) * fnp.log1p(y * y / df) - 0.5 * fnp.log(df) - sp.betaln(0.5 * df, 0.5),
)  # fmt: skip


def _gennorm_cdf(y: Value, beta: Value) -> Value:
    tail = 0.5 * sp.gammaincc(1 / beta, fnp.abs(y) ** beta)
    return fnp.where(y < 0, tail, 1 - tail)


gennorm = continuous(
    "gennorm", "Generalised normal distribution beta exp(-|x|**beta) / (2 gamma(1 / beta)).", ("beta",),
    logpdf=lambda y, beta: fnp.log(0.5 * beta) - p.lgamma(1 / beta) - fnp.abs(y) ** beta,
    cdf=_gennorm_cdf, sf=lambda y, beta: _gennorm_cdf(-y, beta),
)  # fmt: skip


def _log_normal_mass(a: Value, b: Value) -> Value:
    """log of the probability of a standard normal number between a and b, taken in the tail where both are."""
    turned = a > 0
    low, high = fnp.where(turned, -b, a), fnp.where(turned, -a, b)
    top = sp.log_ndtr(fnp.minimum(high, 0))
    tail = top + log1m_exp(fnp.minimum(sp.log_ndtr(low) - top, 0))
    middle = fnp.log1p(-sp.ndtr(low) - sp.ndtr(-high))
    return fnp.where(high <= 0, tail, middle)


def _truncated(formula: Any) -> Any:
    """Adds the limits beyond [a, b], which are parameters here."""

    def f(y: Value, a: Value, b: Value) -> Value:
        return formula(fnp.clip(y, a, b), a, b) - _log_normal_mass(a, b)

    return f


truncnorm = continuous(
    "truncnorm", "Normal distribution restricted to [loc + a scale, loc + b scale].", ("a", "b"),
    logpdf=lambda y, a, b: fnp.where((y < a) | (y > b), -np.inf, _norm_logpdf(y) - _log_normal_mass(a, b)),
    logcdf=_truncated(lambda y, a, b: _log_normal_mass(a, y)), logsf=_truncated(lambda y, a, b: _log_normal_mass(y, b)),
)  # fmt: skip

# ------------------------------------------------------------------------------------ on the circle


def _circular(name: str, doc: str, shape: str, logpdf: Any) -> Distribution:
    """A distribution of angles, without loc and scale."""
    formulas = {"logpdf": logpdf, "pdf": lambda x, s: fnp.exp(logpdf(x, s))}
    parameters = [("x", REQUIRED), (shape, REQUIRED)]
    return Distribution(name, doc, {n: function(f"{name}.{n}", doc, parameters, f) for n, f in formulas.items()})


vonmises = _circular(
    "vonmises", "Density of the von Mises distribution exp(kappa cos(x)) / (2 pi I0(kappa)).", "kappa",
    lambda x, kappa: kappa * (fnp.cos(x) - 1) - fnp.log(2 * math.pi * sp.i0e(kappa)),
)  # fmt: skip


def _wrapcauchy_logpdf(x: Value, c: Value) -> Value:
    inside = (x >= 0) & (x <= 2 * math.pi)
    return fnp.where(inside, fnp.log1p(-c * c) - fnp.log(2 * math.pi * (1 + c * c - 2 * c * fnp.cos(x))), -np.inf)


wrapcauchy = _circular(
    "wrapcauchy", "Density of the wrapped Cauchy distribution (1 - c**2) / (2 pi (1 + c**2 - 2 c cos(x))) on [0, 2 pi].", "c",
    _wrapcauchy_logpdf,
)  # fmt: skip

# --------------------------------------------------------------------------------- whole numbers


def _log_comb(n: Value, k: Value) -> Value:
    return -fnp.log1p(n) - sp.betaln(n - k + 1, k + 1)


bernoulli = discrete(
    "bernoulli", "One trial that succeeds with probability p.", ("p",),
    lambda k, p: sp.xlogy(k, p) + sp.xlog1py(1 - k, -p), lambda p: (0, 1),
)  # fmt: skip


def _bernoulli_cdf(k: Value, p: Value) -> Value:
    inside = fnp.where(k < 0, 0, fnp.where(k < 1, 1 - p, 1))
    return fnp.where(fnp.isnan(k) | fnp.isnan(p) | (p < 0) | (p > 1), np.nan, inside)


def _bernoulli_quantile(q: Value, p: Value) -> Value:
    valid = (q >= 0) & (q <= 1) & (p >= 0) & (p <= 1)
    return fnp.where(valid, fnp.where(q == 0, -1, fnp.where(q <= 1 - p, 0, 1)), np.nan)


bernoulli.cdf = function(  # type: ignore[attr-defined]
    "bernoulli.cdf",
    "The probability of at most k successes in one trial.",
    [("k", REQUIRED), ("p", REQUIRED)],
    _bernoulli_cdf,
)
bernoulli.ppf = function(  # type: ignore[attr-defined]
    "bernoulli.ppf",
    "The least k whose distribution function is at least q.",
    [("q", REQUIRED), ("p", REQUIRED)],
    _bernoulli_quantile,
)

binom = discrete(
    "binom", "Successes in n trials.", ("n", "p"),
    lambda k, n, p: _log_comb(n, k) + sp.xlogy(k, p) + sp.xlog1py(n - k, -p), lambda n, p: (0, n),
)  # fmt: skip

betabinom = discrete(
    "betabinom", "Successes in n trials whose probability has a beta distribution.", ("n", "a", "b"),
    lambda k, n, a, b: _log_comb(n, k) + sp.betaln(k + a, n - k + b) - sp.betaln(a, b), lambda n, a, b: (0, n),
)  # fmt: skip

nbinom = discrete(
    "nbinom", "Failures before the n-th success.", ("n", "p"),
    lambda k, n, p: -fnp.log(n + k) - sp.betaln(n, k + 1) + sp.xlogy(n, p) + sp.xlog1py(k, -p), lambda n, p: (0, np.inf),
)  # fmt: skip

geom = discrete(
    "geom", "Trials up to the first success.", ("p",),
    lambda k, p: sp.xlog1py(k - 1, -p) + fnp.log(p), lambda p: (1, np.inf),
)  # fmt: skip

poisson = discrete(
    "poisson", "Events in an interval where mu are expected.", ("mu",),
    lambda k, mu: sp.xlogy(k, mu) - mu - p.lgamma(k + 1), lambda mu: (0, np.inf),
)  # fmt: skip


def _poisson_cdf(k: Value, mu: Value, loc: Value) -> Value:
    j = fnp.floor(k - loc)
    return fnp.where(j < 0, 0, sp.gammaincc(fnp.maximum(j, 0) + 1, mu))


_ENTROPY_LARGE, _ENTROPY_TERMS = 100.0, 320


def _poisson_entropy(mu: Value, loc: Value) -> Value:
    """The sum of -p log p up to mu = 100, an asymptotic series beyond; loc moves nothing."""
    small, large = fnp.minimum(mu, _ENTROPY_LARGE), fnp.maximum(mu, _ENTROPY_LARGE)
    k = fnp.arange(_ENTROPY_TERMS, dtype=mu.dtype)
    rate = small[..., None]
    log = sp.xlogy(k, rate) - rate - p.lgamma(k + 1)
    near = -fnp.sum(fnp.exp(log) * fnp.where(log == -np.inf, 0, log), axis=-1)
    w = 1 / large
    series = w * (1 / 12 + w * (1 / 24 + w * (19 / 360 + w * (9 / 80 + w * (863 / 2520 + w * (1375 / 1008))))))
    far = 0.5 * (_LOG_2PI + 1 + fnp.log(large)) - series
    return fnp.where(mu < 0, np.nan, fnp.where(mu <= _ENTROPY_LARGE, near, far))


poisson.cdf = function(  # type: ignore[attr-defined]
    "poisson.cdf", "The probability of at most k events.", [("k", REQUIRED), ("mu", REQUIRED), ("loc", 0)], _poisson_cdf
)
poisson.entropy = function(  # type: ignore[attr-defined]
    "poisson.entropy", "The entropy of the number of events, in nats.", [("mu", REQUIRED), ("loc", 0)], _poisson_entropy
)
