"""``fx.random``: random numbers from explicit keys.

There is no hidden state.  The same key always gives the same numbers, so a key is used once: ``split`` makes fresh
ones from it.

>>> from fx import random
>>> key = random.key(0)
>>> key, subkey = random.split(key)
>>> random.normal(subkey, (2,)).shape
(2,)

Every function works under ``jit``, ``vmap`` and ``grad``; many keys stand in one array of keys, which is indexed,
unpacked and mapped over with ``vmap``.  Samples are differentiable with respect to the parameters of their distribution (reparameterisation).

The bits are those of JAX (threefry-2x32, ``jax_threefry_partitionable`` as it is by default since JAX 0.5), and so are
keys, integers, truth values, permutations and uniform numbers in [0, 1).  What is computed from those in floating
point (``log``, ``erf_inv``, another range) agrees to a few units in the last place.  ``key`` makes typed keys;
``PRNGKey`` makes raw ones, ``uint32`` arrays of shape (2,).  Every function takes either, and ``split`` and ``fold_in``
return what they were given.

``dtype=None`` means ``fx.config.default_float``, or ``default_int`` for integers.  ``out_sharding`` is JAX's; it says nothing
on one device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING as _TYPE_CHECKING

from ..elsewhere import RANDOM as _ELSEWHERE
from ..misnamed import no_attribute as _no_attribute
from ..traceback import hide_frames as _hide_frames
from ..traceback import user_frames as _user_frames
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
from .counts import binomial, multinomial, poisson
from .discrete import bernoulli, categorical, choice, double_sided_maxwell, geometric, permutation, rademacher, randint
from .gammas import ball, beta, chisquare, dirichlet, f, gamma, generalized_normal, loggamma, t
from .key_arrays import KeyArray
from .key_arrays import KeyArray as Key
from .keys import PRNGKey, bits, clone, fold_in, key, key_data, key_dtype, key_impl, split, wrap_key_data
from .multivariate import multivariate_normal, orthogonal

__all__ = [
    "Key", "KeyArray", "PRNGKey", "ball", "bernoulli", "beta", "binomial", "bits", "categorical", "cauchy", "chisquare",
    "choice", "clone", "dirichlet", "double_sided_maxwell", "exponential", "f", "fold_in", "gamma",
    "generalized_normal", "geometric", "gumbel", "key", "key_data", "key_dtype", "key_impl", "laplace", "loggamma",
    "logistic", "lognormal", "maxwell", "multinomial", "multivariate_normal", "normal", "orthogonal", "pareto",
    "permutation", "poisson", "rademacher", "randint", "rayleigh", "split", "t", "triangular", "truncated_normal",
    "uniform", "wald", "weibull_min", "wrap_key_data",
]  # fmt: skip

if not _TYPE_CHECKING:  # a type checker says itself what is not there

    @_user_frames
    def __getattr__(name: str) -> None:
        raise _no_attribute("fx.random", name, __all__, _ELSEWHERE)


_hide_frames(globals())
