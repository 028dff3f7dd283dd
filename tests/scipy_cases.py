"""Calls of the functions of ``jax.scipy.special`` and ``jax.scipy.stats``, as data: see ``jax_calls``.

Accuracy, special values and the other namespaces of SciPy: ``test_scipy_*.py`` and ``test_linalg.py``.
"""

from __future__ import annotations

import numpy as np
from jax_calls import ABOVE, FLAGS, FLOAT, INT, POSITIVE, UNIT, A, Case, M, V, X

HALVES = ("float32", "float16", "bfloat16")
WITH_INT = (*HALVES, "int32")
COUNTS = A((2, 3), 0, 4, "int32")
P, SIX = A((3,), 0.2, 0.9), A((6,))
ONE, TWO = A((3,), 1, 3), A((3,), 1, 3)

SPECIAL = [
    Case("digamma erf erfc erfcx exp1 expit gamma gammaln gammasgn i0 i0e i1 i1e loggamma", (POSITIVE,), dtypes=HALVES, tol=1e-4),
    Case("expi log_ndtr ndtr", (POSITIVE,), tol=1e-4),
    Case("entr dawsn", (POSITIVE,), tol=1e-4),
    Case("digamma erf erfc expit gammaln i0", (A(lo=1, hi=4),), dtypes=INT, tol=1e-4),
    Case("erfinv logit", (UNIT,), dtypes=HALVES, tol=1e-4),
    Case("ndtri", (UNIT,), tol=1e-4),
    Case("spence", (ABOVE,), grad=False, tol=1e-4),
    Case("fresnel sici", (POSITIVE,), tol=1e-4),
    Case("wofz", (X,), dtypes=("complex64", "float32"), grad=False, tol=1e-4),
    Case("factorial", (A(lo=0, hi=5),), dtypes=("float32", "int32"), tol=1e-4),
    Case("beta betaln poch", (POSITIVE, POSITIVE), dtypes=("float32", "int32"), tol=1e-4),
    Case("gammainc gammaincc", (POSITIVE, POSITIVE), dtypes=HALVES, tol=1e-4),
    Case("comb", (A(lo=3, hi=6), A(lo=0, hi=3)), lambda f, n, k: (f(n, k), f(n, k, repetition=True)), tol=1e-3),
    Case("boxcox boxcox1p", (POSITIVE, V), tol=1e-4),
    Case("kl_div rel_entr xlogy xlog1py", (POSITIVE, POSITIVE), dtypes=("float32", "int32", "float16"), tol=1e-4),
    Case("owens_t", (X, X), tol=1e-4),
    Case("betainc", (UNIT,), lambda f, x: f(1.5, 0.7, x), dtypes=FLOAT, tol=1e-4),
    Case("hyp1f1", (UNIT,), lambda f, x: f(0.5, 1.5, x), tol=1e-4),
    Case("hyp2f1", (UNIT,), lambda f, x: f(0.5, 1.25, 1.5, x * 0.5), grad=False, tol=1e-4),
    Case("expn", (POSITIVE,), lambda f, x: (f(2, x), f(np.int32([1, 2, 3]), x)), tol=1e-4),
    Case("polygamma", (ABOVE,), lambda f, x: (f(1, x), f(np.int32([1, 2, 3]), x)), tol=1e-4),
    Case("zeta", (ABOVE,), lambda f, x: f(2.5, x), grad=False, tol=1e-4),
    Case("multigammaln", (ABOVE,), lambda f, x: f(x + 1, 3), tol=1e-4),
    Case("bessel_jn", (A(lo=4, hi=9),), lambda f, x: f(x, v=3, n_iter=20), grad=False, tol=1e-3),
    Case("bernoulli", (), lambda f: f(6), tol=1e-4),
    Case("sph_harm_y", (V, V), lambda f, t, u: f(np.int32([2, 3, 1]), np.int32([1, 2, 0]), t, u, n_max=3), grad=False, vmap=False, tol=1e-4),
    Case("logsumexp", (X,), lambda f, x: (f(x), f(x, axis=1), f(x, axis=0, keepdims=True)), dtypes=WITH_INT),
    Case("logsumexp", (X, X), lambda f, x, b: f(x, b=b, axis=1, return_sign=True)),
    Case("softmax log_softmax", (X,), lambda f, x: (f(x), f(x, axis=0)), dtypes=HALVES),
]  # fmt: skip

_LAWS = "cdf logcdf logpdf logsf pdf sf"


def _of(names: str, laws: str) -> str:
    return " ".join(f"{n}.{law}" for n in names.split() for law in laws.split())


STATS = [
    Case(_of("norm cauchy", _LAWS), (X, V, ONE), tol=2e-4),
    Case(_of("norm cauchy", "logpdf pdf"), (X, V, ONE), dtypes=("float16", "bfloat16")),
    Case(_of("gumbel_l gumbel_r", _LAWS), (X,), tol=2e-4),
    Case(_of("gumbel_l gumbel_r", "ppf"), (UNIT,), grad=False, tol=2e-4),
    Case(_of("norm cauchy", "logpdf cdf"), (A(lo=-3, hi=3),), dtypes=INT, tol=1e-4),
    Case(_of("laplace logistic", "cdf logpdf pdf"), (X, V, ONE), dtypes=("float32", "float16"), tol=1e-4),
    Case(_of("norm cauchy logistic expon uniform", "ppf"), (UNIT, V, ONE), tol=2e-4),
    Case(_of("norm cauchy logistic", "isf"), (UNIT, V, ONE), tol=2e-4),
    Case("logistic.sf", (X, V, ONE), tol=1e-4),
    Case("uniform.cdf uniform.logpdf uniform.pdf", (X, V, ONE), tol=1e-4),
    Case(_of("expon", _LAWS), (ABOVE, UNIT, ONE), lambda f, x, a, s: f(x, a[0], s), tol=1e-4),
    Case(_of("gamma chi2", "logpdf pdf"), (POSITIVE, TWO), tol=1e-4),
    Case(_of("gamma chi2", "cdf logcdf sf logsf"), (POSITIVE,), lambda f, x: f(x, 2.5, 0.0, 1.5), tol=1e-4),
    Case(_of("beta", "logpdf pdf"), (UNIT, ONE, TWO), tol=1e-4),
    Case(_of("beta", "cdf logcdf sf logsf"), (UNIT,), lambda f, x: f(x, 1.5, 2.5), tol=1e-4),
    Case(_of("pareto", _LAWS), (ABOVE, ONE), tol=1e-4),
    Case("pareto.ppf", (UNIT, ONE), tol=1e-4),
    Case(_of("truncnorm", _LAWS), (UNIT, V, ONE), lambda f, x, a, s: f(x, -s, s, a * 0.01, s), tol=5e-4),
    Case("gennorm.logpdf gennorm.pdf t.logpdf t.pdf", (X, ONE), tol=1e-4),
    Case("gennorm.cdf", (X,), lambda f, x: f(x, 1.5), tol=1e-4),
    Case("vonmises.logpdf vonmises.pdf", (X, ONE), tol=1e-4),
    Case("wrapcauchy.logpdf wrapcauchy.pdf", (ABOVE, P), tol=1e-4),
    Case("bernoulli.logpmf bernoulli.pmf bernoulli.cdf", (FLAGS, P), lambda f, k, p: f(k.astype("int32"), p), tol=1e-4),
    Case("bernoulli.ppf", (UNIT, P), grad=False),
    Case("binom.logpmf binom.pmf", (COUNTS, P), lambda f, k, p: f(k, 5, p), tol=1e-4),
    Case("nbinom.logpmf nbinom.pmf", (COUNTS, P), lambda f, k, p: f(k, 3, p), tol=1e-4),
    Case("betabinom.logpmf betabinom.pmf", (COUNTS, ONE, TWO), lambda f, k, a, b: f(k, 5, a, b), tol=1e-4),
    Case("geom.logpmf geom.pmf poisson.logpmf poisson.pmf", (COUNTS, P), tol=1e-4),
    Case("poisson.cdf", (COUNTS, TWO), tol=1e-4, grad=False),
    Case("poisson.entropy", (ONE,), tol=1e-3, grad=False, vmap=False),
    Case("dirichlet.logpdf dirichlet.pdf", (TWO,), lambda f, a: f(np.float32([0.2, 0.3, 0.5]), a), tol=1e-4),
    Case("multinomial.logpmf multinomial.pmf", (UNIT,), lambda f, p: f(np.int32([2, 1, 3]), 6, p[0] / p[0].sum()), tol=1e-4),
    Case("multivariate_normal.logpdf multivariate_normal.pdf", (X, V, M), lambda f, x, m, c: f(x, m, c @ c.T + 2 * np.eye(3, dtype=np.float32)), tol=5e-4),
    Case("multivariate_normal.logpdf", (X, V), lambda f, x, m: f(x, m, 2.0), tol=1e-4),
    Case("mode", (A((2, 5), 0, 2),), lambda f, x: [*f(x, axis=1), *f(x, axis=None, keepdims=True)], dtypes=("float32", "int32"), grad=False),
    Case("rankdata", (SIX,), lambda f, x: (f(x), f(x, method="min"), f(x, method="dense")), dtypes=("float32", "int32"), grad=False),
    Case("sem", (X,), lambda f, x: (f(x), f(x, axis=1), f(x, axis=None, ddof=0)), tol=1e-4),
    Case("gaussian_kde", (SIX, V), lambda f, d, x: f(d)(x), grad=False, tol=1e-4),
]  # fmt: skip

TABLES = {"special": SPECIAL, "stats": STATS}

# (name, dtype) -> why the dtype of the result differs from JAX's
DTYPE_RULES = {("rankdata", "int32"): "ranks of integers are integers, as in SciPy, but for their averages"}
