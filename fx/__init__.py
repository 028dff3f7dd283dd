"""fx: composable function transformations in plain NumPy style, compiled to native loops.

>>> import fx, numpy as np
>>> f = lambda x: np.sum(np.tanh(x) ** 2)
>>> fx.jit(fx.grad(f))(np.float32([0.0, 1.0]))
Array([0.        , 0.63970006], dtype=float32)

Transforms: ``grad``, ``value_and_grad``, ``jvp``, ``vjp``, ``linearize``, ``jacfwd``, ``jacrev``, ``hessian``, ``vmap``,
``jit``, ``checkpoint``, ``custom_jvp``, ``custom_vjp``.  Namespaces: ``fx.numpy``, ``fx.lax``, ``fx.random``, ``fx.nn``,
``fx.optim``, ``fx.tree``, ``fx.debug``.  Options: ``fx.config``.
"""

from . import debug, dtypes, errors, lax, printing, tree
from . import numpy as numpy
from .api import (
    ShapeDtypeStruct,
    TracedGraph,
    block_until_ready,
    device_get,
    device_put,
    disable_jit,
    eval_shape,
    float0,
    grad,
    hessian,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    linear_transpose,
    linearize,
    make_graph,
    make_jaxpr,
    named_call,
    named_scope,
    stop_gradient,
    value_and_grad,
    vjp,
    vmap,
)
from .array import Array
from .config import config
from .ir import Graph
from .primitives.callbacks import pure_callback
from .staging import jit
from .transforms.checkpoint import checkpoint, checkpoint_name, checkpoint_policies
from .transforms.checkpoint import checkpoint as remat
from .transforms.custom_rules import closure_convert, custom_gradient, custom_jvp, custom_vjp
from .version import __version__

__all__ = [
    "Array",
    "Graph",
    "ShapeDtypeStruct",
    "TracedGraph",
    "__version__",
    "block_until_ready",
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "closure_convert",
    "config",
    "custom_gradient",
    "custom_jvp",
    "custom_vjp",
    "device_get",
    "device_put",
    "disable_jit",
    "dtypes",
    "errors",
    "eval_shape",
    "float0",
    "grad",
    "hessian",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "linear_transpose",
    "linearize",
    "make_graph",
    "make_jaxpr",
    "named_call",
    "named_scope",
    "numpy",
    "printing",
    "pure_callback",
    "remat",
    "stop_gradient",
    "tree",
    "value_and_grad",
    "vjp",
    "vmap",
]
