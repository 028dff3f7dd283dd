"""Classes that are pytrees, and a jit that takes what is no array as static."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import inspect

import jax
import jax._src.dispatch
import jax._src.traceback_util as traceback_util
import jax.extend.core
import jax.flatten_util
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax._src.api_util import infer_argnums_and_argnames
from jax._src.core import trace_state_clean
from jax._src.dtypes import TypePromotionError
from jax._src.tree_util import _registry

traceback_util.register_exclusion(__file__)
wait_for_tokens = jax._src.dispatch.wait_for_tokens
atexit.unregister(wait_for_tokens)

try:
    from jax._src.no_such_module import Nothing
except ImportError:
    Nothing = None

if jax.__version_info__ < (0, 7, 0):
    raise ImportError(f"jax {jax.__version__} is too old")


class Module:
    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(eq=False)(cls)
        names = tuple(f.name for f in dataclasses.fields(cls))
        jtu.register_pytree_with_keys(
            cls,
            lambda m: (tuple((jtu.GetAttrKey(n), getattr(m, n)) for n in names), None),
            functools.partial(cls._make, names),
            lambda m: (tuple(getattr(m, n) for n in names), None),
        )

    @classmethod
    def _make(cls, names, _, children):
        new = object.__new__(cls)
        for name, child in zip(names, children):
            object.__setattr__(new, name, child)
        return new


def is_array(x):
    return isinstance(x, (jax.Array, np.ndarray))


def partition(tree):
    return jtu.tree_map(lambda x: x if is_array(x) else None, tree), jtu.tree_map(
        lambda x: None if is_array(x) else x, tree
    )


def combine(*trees):
    return jtu.tree_map(lambda *xs: next((x for x in xs if x is not None), None), *trees, is_leaf=lambda x: x is None)


def filter_jit(f):
    @functools.partial(jax.jit, static_argnums=(1, 2))
    def compiled(dynamic, leaves, structure):
        return f(*combine(dynamic, jtu.tree_unflatten(structure, leaves)))

    def call(*args):
        dynamic, static = partition(args)
        leaves, structure = jtu.tree_flatten(static, is_leaf=lambda x: x is None)
        return compiled(dynamic, tuple(leaves), structure)

    return call


class Linear(Module):
    weight: jax.Array
    bias: jax.Array
    activation: object

    def __call__(self, x):
        assert trace_state_clean() is not isinstance(x, jax.core.Tracer)
        return self.activation(self.weight @ x + self.bias)


def marked(a, /, b, c=1, *args, d=2):
    """Has arguments of every kind."""


MARKS = [(None, None), (1, None), ((0, 2), None), (None, "c"), (None, ("b", "d")), (1, "c"), ((), None)]


def results():
    k1, k2 = jax.random.split(jax.random.PRNGKey(0))
    model = Linear(jax.random.normal(k1, (2, 3)), jnp.zeros(2), jax.nn.softplus)
    x = jax.random.normal(k2, (5, 3))

    def loss(model, x):
        return jnp.mean(jax.vmap(model)(x) ** 2)

    dynamic, static = partition(model)
    gradient = jax.jit(jax.grad(lambda d: loss(combine(d, static), x)))(dynamic)
    flat, back = jax.flatten_util.ravel_pytree(dynamic)
    paths = [jtu.keystr(path) for path, _ in jtu.tree_flatten_with_path(model)[0]]
    wait_for_tokens()
    return {
        "loss": filter_jit(loss)(model, x),
        "gradient": jtu.tree_leaves(gradient),
        "flat": flat,
        "back": jtu.tree_leaves(back(flat * 2)),
        "paths": [paths == [".weight", ".bias", ".activation"], Linear in _registry, dict in _registry, int in _registry],
        "marks": [
            [*nums, *("abcd".index(name) for name in names)]
            for given in MARKS
            for nums, names in [infer_argnums_and_argnames(inspect.signature(marked), *given)]
        ],
        "kinds": [
            isinstance(x, jnp.ndarray), isinstance(np.ones(2), jax.Array), issubclass(TypePromotionError, Exception),
            isinstance(jax.make_jaxpr(jnp.sin)(1.0), jax.extend.core.ClosedJaxpr), isinstance(jax.typeof(x), jax.core.ShapedArray),
        ],
    }  # fmt: skip
