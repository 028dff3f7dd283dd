"""``fx.extend.core.primitives``: the primitives under the names of ``jax.extend.core.primitives``, for tables of rules.

>>> import fx, fx.numpy as fnp
>>> closed = fx.make_jaxpr(fnp.sin)(1.0)
>>> closed.jaxpr.eqns[0].primitive is fx.extend.core.primitives.sin_p
True

What is a primitive in JAX and is made of others here has a name too, so that a program may give it a rule; no equation of
a graph holds it.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

from ...errors import RegistryError
from ...primitive import Primitive, primitive
from ...transforms.custom_primitive import CustomPrimitive

__all__: list[str] = []

_OTHER_NAMES = {"add_jaxvals": "add", "remat": "checkpoint"}
_COMPOSED = frozenset(
    """after_all all_to_all approx_top_k bessel_i0e bessel_i1e call closed_call create_token custom_lin device_put eq_to
    householder_product igamma igamma_grad_a igammac le_to lt_to polygamma ppermute ragged_all_to_all random_bits
    random_fold_in random_gamma random_seed random_split random_unwrap random_wrap reduce reduce_precision reduce_window
    reduce_xor regularized_incomplete_beta rng_bit_generator rng_uniform select_and_gather_add select_and_scatter
    select_and_scatter_add sharding_constraint tridiagonal xla_pmap zeta""".split()
)


@functools.cache
def _found(name: str) -> Primitive:
    for room in ("numpy", "lax", "random", "scipy.special"):  # they register the primitives
        importlib.import_module(f"fx.{room}")
    try:
        return primitive(_OTHER_NAMES.get(name, name))
    except RegistryError:
        if name in _COMPOSED:
            return CustomPrimitive(name)
        raise


def __getattr__(name: str) -> Any:
    try:
        return _found(name.removesuffix("_p"))
    except RegistryError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
