"""``fx.random``: random numbers from explicit keys.

There is no hidden state.  A key is a ``uint32`` array of shape (2,); the same key always gives the same numbers.  So
a key is used once: ``split`` makes fresh ones from it.

>>> from fx import random
>>> key = random.key(0)
>>> key, subkey = random.split(key)
>>> random.normal(subkey, (2,)).shape
(2,)

Every function works under ``jit``, ``vmap`` and ``grad``; a batch of keys has shape (..., 2) and is mapped over with
``vmap``.  Samples are differentiable with respect to the parameters of their distribution (reparameterisation).

The bits are those of JAX (threefry-2x32, ``jax_threefry_partitionable`` as it is by default since JAX 0.5), and so are
keys, integers, truth values, permutations and uniform numbers in [0, 1).  What is computed from those in floating
point (``log``, ``erf_inv``, another range) agrees to a few units in the last place.  Keys are always raw arrays: ``key`` and ``PRNGKey`` are one function.

``dtype=None`` means ``fx.config.default_float``, or ``default_int`` for integers.
"""

from __future__ import annotations

from .continuous import (
    cauchy,
    exponential,
    gumbel,
    laplace,
    logistic,
    lognormal,
    maxwell,
    normal,
    pareto,
    rayleigh,
    triangular,
    truncated_normal,
    uniform,
    wald,
    weibull_min,
)
from .discrete import bernoulli, categorical, choice, geometric, permutation, rademacher, randint
from .keys import PRNGKey, bits, clone, fold_in, key, key_data, split, wrap_key_data

__all__ = [
    "PRNGKey", "bernoulli", "bits", "categorical", "cauchy", "choice", "clone", "exponential", "fold_in",
    "geometric", "gumbel", "key", "key_data", "laplace", "logistic", "lognormal", "maxwell", "normal", "pareto",
    "permutation", "rademacher", "randint", "rayleigh", "split", "triangular", "truncated_normal", "uniform", "wald",
    "weibull_min", "wrap_key_data",
]  # fmt: skip
