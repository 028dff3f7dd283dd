"""Calls of every function of ``jax.random`` and ``jax.nn.initializers``, as data: see ``jax_calls``.

A key is the words of a raw one, drawn like any array; batched, it is two keys.  What takes no array of the dtype that it
is to make gets one of a single element beside the key, for its dtype alone.  64 bits, limits and distributions: ``test_random.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jax_calls import FLOAT, UNIT, A, Case, X

FLOATS = ("float32", "float16", "bfloat16")
WITH_COMPLEX = (*FLOATS, "complex64")
KEY, LIKE, SEED = A((2,), 0, 2**31 - 1, "uint32"), A((1,)), A((1,), 0, 10**6, "int32")
VECTOR, MATRIX, ROWS = A((3,), 0.3, 4), A((2, 3), 0.3, 4), A((4, 3))
COVARIANCE = np.float32([[2, 0.3, 0], [0.3, 1, -0.2], [0, -0.2, 0.5]])
SAMPLE = (2, 3)
ULPS = 4e-6  # of what is computed in floating point from exact bits


def _sample(f: Any, k: Any, x: Any) -> Any:
    return f(k, (4,), x.dtype), f(k, dtype=x.dtype), f(k, (0, 2), x.dtype)


def _of_parameter(f: Any, k: Any, a: Any) -> Any:
    return f(k, a, dtype=a.dtype), f(k, a, SAMPLE, a.dtype), f(k, a[0], (2,), a.dtype)


def _of_two(f: Any, k: Any, a: Any, b: Any) -> Any:
    return f(k, a, b, dtype=a.dtype), f(k, a, b[0], SAMPLE, a.dtype)


def _words(lib: Any, keys: Any) -> Any:
    return lib.random.key_data(keys)


RANDOM = [
    # keys
    Case("PRNGKey", (SEED,), lambda f, s: f(s[0]), tol=0),
    Case("key", (SEED,), lambda lib, f, s: _words(lib, f(s[0])), lib=True, tol=0),
    Case("wrap_key_data", (KEY,), lambda lib, f, k: (_words(lib, f(k)), _words(lib, lib.random.split(f(k))[1])), lib=True, tol=0),
    Case("key_data clone", (KEY,), tol=0),
    Case("key_impl key_dtype", (KEY,), lambda lib, f, k: str(f(lib.random.wrap_key_data(k)) if f.__name__ == "key_impl" else f()), lib=True, traced=False),
    Case("split", (KEY,), lambda f, k: (f(k), f(k, 3), f(k, (2, 1)), f(f(k)[1])), tol=0),
    Case("fold_in", (KEY, SEED), lambda f, k, s: (f(k, s[0]), f(k, 7)), tol=0),
    # bits, integers, truth values: exact
    Case("bits", (KEY,), lambda f, k: (f(k), f(k, (5,), "uint8"), f(k, (2, 2), "uint16"), f(k, (0,), "uint32")), tol=0),
    Case("uniform", (KEY, LIKE), _sample, dtypes=FLOATS, tol=0),
    Case("uniform", (KEY, A(lo=-2, hi=0), VECTOR), lambda f, k, a, b: (f(k, SAMPLE, a.dtype, a, b), f(k, (4,), a.dtype, -3, 2.5)), dtypes=FLOATS, tol=ULPS),
    Case("randint", (KEY, A((3,), -50, 5), A(SAMPLE, 4, 100)), lambda f, k, a, b: (f(k, SAMPLE, a, b, a.dtype), f(k, (4,), 3, 9), f(k, (), b[0, 0], a[0], a.dtype)), dtypes=("int32", "int8", "int16", "uint8", "uint16", "uint32"), tol=0),
    Case("bernoulli", (KEY, A(SAMPLE, 0, 1)), lambda f, k, p: (f(k, p), f(k, p[0, 0], (4,)), f(k, p, (2, *SAMPLE)), f(k), f(k, p, mode="high")), dtypes=FLOATS, tol=0),
    Case("rademacher", (KEY, LIKE), lambda f, k, x: (f(k, (5,), x.dtype), f(k)), dtypes=(*FLOATS, "int32", "int8"), tol=0),
    Case("geometric", (KEY, UNIT), lambda f, k, p: (f(k, p), f(k, p, (2, *SAMPLE), "int16")), tol=0),
    Case("poisson", (KEY, A(SAMPLE, 0, 30)), lambda f, k, a: (f(k, a), f(k, a[0, 0], (3,), "int16")), dtypes=("float32", "int32"), grad=False, tol=0),
    Case("binomial", (KEY, A((3,), 1, 40), A(SAMPLE, 0.1, 0.9, "float32")), lambda f, k, n, p: (f(k, n, p), f(k, n[0], p[0, 0], (3,), "float16")), dtypes=("float32", "int32"), grad=False, tol=0),
    Case("multinomial", (KEY, A((2,), 1, 20)), lambda f, k, n: (f(k, n, np.float32([[0.2, 0.3, 0.5], [0.1, 0, 0.9]])), f(k, n[0], np.float32([0.6, 0, 0.4]), shape=(3,), dtype="float16")), grad=False, tol=0),
    # choices
    Case("permutation", (KEY, ROWS), lambda f, k, x: (f(k, x), f(k, x, axis=1), f(k, x, 1, independent=True), f(k, x[0]), f(k, 5)), dtypes=("float32", "int32", "bool", "bfloat16"), tol=0),
    Case("choice", (KEY, ROWS), lambda f, k, x: (f(k, x, (2, 2)), f(k, x, (3,), replace=False), f(k, x, (2,), axis=1), f(k, 5), f(k, 6, (3,), False)), dtypes=("float32", "int32", "bool", "bfloat16"), tol=0),
    Case("choice", (KEY, VECTOR), lambda f, k, p: (f(k, 3, (4,), p=p / p.sum()), f(k, 3, (2,), False, p / p.sum()), f(k, np.arange(6, dtype="int32").reshape(2, 3), (2,), False, p, 1, mode="high")), dtypes=("float32", "float16"), tol=0),
    Case("categorical", (KEY, ROWS), lambda f, k, x: (f(k, x), f(k, x, 0), f(k, x, shape=(2, 4)), f(k, x, axis=0, shape=(2, 3), replace=False), f(k, x, mode="high")), dtypes=FLOATS, tol=0),
    # smooth functions of uniform and normal numbers
    Case("normal", (KEY, LIKE), _sample, dtypes=WITH_COMPLEX, tol=ULPS),
    Case("exponential cauchy laplace logistic gumbel maxwell", (KEY, LIKE), _sample, dtypes=FLOATS, tol=ULPS),
    Case("gumbel", (KEY, LIKE), lambda f, k, x: (f(k, (3,), x.dtype, "high"), f(k, (3,), x.dtype, "highest"), f(k, (3,), x.dtype, mode="low")), dtypes=FLOATS, tol=2e-5),
    Case("pareto rayleigh lognormal", (KEY, VECTOR), _of_parameter, dtypes=FLOATS),
    Case("wald", (KEY, VECTOR), _of_parameter, dtypes=FLOATS, jit_tol=1e-5),  # the difference of a number and a root near it
    Case("lognormal", (KEY, LIKE), lambda f, k, x: f(k, shape=SAMPLE, dtype=x.dtype)),
    Case("weibull_min", (KEY, VECTOR, VECTOR), lambda f, k, a, b: (f(k, a, b, (3,), a.dtype), f(k, a[0], b, SAMPLE, a.dtype)), dtypes=FLOATS),
    Case("triangular", (KEY, A((3,), -3, -1), A((3,), -0.5, 0.5), A((3,), 1, 2)), lambda f, k, a, b, c: (f(k, a, b, c, dtype=a.dtype), f(k, a, b[0], c, SAMPLE, a.dtype)), dtypes=FLOATS),
    Case("truncated_normal", (KEY, A((3,), -2, -0.5), A((3,), 0, 2)), _of_two, dtypes=FLOATS),
    Case("double_sided_maxwell", (KEY, VECTOR, VECTOR), lambda f, k, a, b: (f(k, a, b, dtype=a.dtype), f(k, a[0], b[0], (4,), a.dtype)), dtypes=FLOAT),
    Case("multivariate_normal", (KEY, VECTOR), lambda f, k, m: (f(k, m, COVARIANCE.astype(m.dtype)), f(k, m, COVARIANCE.astype(m.dtype), (2,), method="svd"), f(k, m, COVARIANCE.astype(m.dtype), method="eigh")), tol=1e-4),
    Case("multivariate_normal", (KEY, A((3, 3))), lambda f, k, m: f(k, m[0], m @ m.T + COVARIANCE, (2,)), tol=1e-4),
    Case("orthogonal", (KEY, LIKE), lambda f, k, x: (f(k, 3, (), x.dtype), f(k, 2, (2,), x.dtype), f(k, 2, (), x.dtype, 3), f(k, 3, dtype=x.dtype, m=1)), dtypes=("float32", "complex64"), tol=1e-5),
    # gammas and what is made of them
    Case("gamma loggamma", (KEY, VECTOR), _of_parameter, dtypes=FLOATS),
    Case("gamma loggamma", (KEY, A((2,), 0.02, 0.2)), lambda f, k, a: f(k, a, dtype=a.dtype)),
    Case("gamma loggamma", (KEY, A((2,), 20, 200)), lambda f, k, a: f(k, a, dtype=a.dtype)),
    Case("chisquare t", (KEY, VECTOR), _of_parameter, dtypes=FLOATS, tol=5e-5),
    Case("beta", (KEY, VECTOR, VECTOR), _of_two, dtypes=FLOATS, tol=5e-5),
    Case("f", (KEY, VECTOR, VECTOR), lambda f, k, a, b: (f(k, a, b, dtype=a.dtype), f(k, a, b, (3,), a.dtype)), dtypes=FLOATS, tol=5e-5),
    Case("dirichlet", (KEY, MATRIX), lambda f, k, a: (f(k, a, dtype=a.dtype), f(k, a[0], (2,), a.dtype)), dtypes=FLOATS, tol=5e-5),
    Case("generalized_normal", (KEY, A((1,), 0.5, 3)), lambda f, k, p: (f(k, p[0], (4,), p.dtype), f(k, 2.0, (2,), p.dtype)), dtypes=FLOATS, tol=5e-5),
    Case("ball", (KEY, A((1,), 1, 3)), lambda f, k, p: (f(k, 3, p[0], (2,), p.dtype), f(k, 2, shape=(2,), dtype=p.dtype)), dtypes=FLOATS, tol=5e-5),
]  # fmt: skip

SCALED = (
    "glorot_normal glorot_uniform he_normal he_uniform kaiming_normal kaiming_uniform lecun_normal lecun_uniform xavier_normal"
    " xavier_uniform"
)
_DISTRIBUTIONS = ("truncated_normal", "normal", "uniform")


def _fans(f: Any, k: Any, x: Any) -> Any:
    return f()(k, (3, 4), x.dtype), f(1, 0, (2,), x.dtype)(k, (3, 4, 2)), f((0, 1), dtype=x.dtype)(k, (2, 2, 3))


def _orthogonals(f: Any, k: Any, x: Any) -> Any:
    """Of a square: 1 x 2 x 2 for the kernels of a convolution."""
    return f()(k, (1, 2, 2), x.dtype), f(2.0, 0, x.dtype)(k, (2, 2, 2)), f(scale=0.5)(k, (3, 2, 3), x.dtype)


INITIALIZERS = [
    Case(SCALED, (KEY, LIKE), _fans, dtypes=WITH_COMPLEX, tol=ULPS),
    Case("variance_scaling", (KEY, LIKE), lambda f, k, x: [f(1.5, mode, d)(k, (2, 3), x.dtype) for mode in ("fan_in", "fan_out", "fan_avg", "fan_geo_avg") for d in _DISTRIBUTIONS], dtypes=WITH_COMPLEX, tol=ULPS),
    Case("normal uniform truncated_normal", (KEY, LIKE), lambda f, k, x: (f()(k, SAMPLE, x.dtype), f(0.5, x.dtype)(k, (4,)), f(dtype=x.dtype)(k, ())), dtypes=FLOATS, tol=ULPS),
    Case("normal", (KEY, LIKE), lambda f, k, x: f()(k, SAMPLE, x.dtype), dtypes=("complex64",), tol=ULPS),
    Case("normal uniform truncated_normal", (KEY, LIKE), lambda f, k, x: f(x)(k, SAMPLE), tol=ULPS),
    Case("truncated_normal", (KEY, LIKE), lambda f, k, x: f(2.0, x.dtype, -0.5, 1.5)(k, SAMPLE), dtypes=FLOATS, tol=ULPS),
    Case("orthogonal delta_orthogonal", (KEY, LIKE), _orthogonals, dtypes=("float32", "complex64"), tol=1e-5),
    Case("constant", (KEY, X), lambda f, k, x: (f(x, x.dtype)(k, (4, 2, 3)), f(0.5)(k, (2,), x.dtype), f(2)(k, (1, 2))), dtypes=(*WITH_COMPLEX, "int32"), tol=1e-6),
    Case("zeros ones", (KEY, X), lambda f, k, x: (f(k, (2, 3), x.dtype), f(k, ())), dtypes=(*WITH_COMPLEX, "int32"), tol=0),
]  # fmt: skip

TABLES = {"random": RANDOM, "nn.initializers": INITIALIZERS}
NOT_CALLED = {"nn.initializers": {"Initializer": "the type of what the others return, for annotations"}}
