"""A primitive with all its rules, a function with a derivative of its own, and dtypes as JAX has them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

scaled_p = Primitive("scaled")
scaled_p.def_impl(lambda x, *, by: jnp.multiply(x, by))
scaled_p.def_abstract_eval(lambda x, *, by: jax.core.ShapedArray(x.shape, x.dtype))
ad.deflinear2(scaled_p, lambda ct, x, *, by: [scaled_p.bind(ct, by=by)])
batching.defvectorized(scaled_p)
mlir.register_lowering(scaled_p, mlir.lower_fun(lambda x, *, by: x * by, multiple_results=False))


@jax.custom_jvp
def safe_log(x):
    return jnp.log(jnp.maximum(x, 1e-6))


@safe_log.defjvp
def _safe_log_jvp(primals, tangents):
    return safe_log(*primals), tangents[0] / jnp.maximum(primals[0], 1e-6)


def narrow(x):
    y = x
    y += 1  # another array, and x stays
    return x, y


def results():
    x = jnp.linspace(-1.0, 2.0, 6).reshape(2, 3)
    f = lambda x: jnp.sum(safe_log(jnp.exp(scaled_p.bind(jnp.sin(x), by=3.0))))
    return {
        "value": f(x),
        "gradient": jax.jit(jax.grad(f))(x),
        "rows": jax.vmap(jax.grad(f))(x),
        "hessian": jax.jacfwd(jax.grad(f))(x[0]),
        "dtypes": [
            jnp.zeros(2, int),
            jnp.asarray(np.arange(3)),
            jnp.asarray(np.ones(2)),
            x.astype(float),
            jnp.arange(3) / 2,
        ],
        "in place": jax.jit(narrow)(x),
        "got": [jax.vmap(jax.grad(lambda x: jax.device_get(x) ** 2))(x[0]), jax.device_get(x)],
        "values": jax.tree.leaves(jax.jit(lambda a: {"q": jnp.linalg.qr(a)[1] ** 2, "s": jax.nn.softmax(a)})(x)),
    }
