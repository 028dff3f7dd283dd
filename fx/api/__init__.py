"""The transformations a person calls: grad, vjp, jvp, linearize, vmap, jacobians, eval_shape, make_graph.

Every one follows the same three steps: trace the function into a closed graph, rewrite the graph, inline the
result into whatever surrounds the call.  The rewriting lives in ``fx.transforms``; here are the argument
handling, the checks and the error messages.
"""

from __future__ import annotations

from ..trace import named_scope
from ..transforms.flat import float0
from .gradient import grad, value_and_grad
from .jacobians import hessian, jacfwd, jacobian, jacrev
from .linear import fwd_and_bwd, jvp, linear_transpose, linearize, vjp
from .looking import ShapeDtypeStruct, TracedGraph, eval_shape, make_graph, make_jaxpr
from .mapping import vmap
from .parallel import pmap
from .values import (
    block_until_ready,
    check_tracer_leaks,
    checking_leaks,
    copy_to_host_async,
    debug_infs,
    debug_nans,
    device_get,
    device_put,
    disable_jit,
    named_call,
    stop_gradient,
)

__all__ = [
    "ShapeDtypeStruct", "TracedGraph", "block_until_ready", "check_tracer_leaks", "checking_leaks", "copy_to_host_async", "debug_infs",
    "debug_nans", "device_get", "device_put", "disable_jit", "eval_shape",
    "float0", "fwd_and_bwd", "grad", "hessian", "jacfwd", "jacobian", "jacrev", "jvp", "linear_transpose", "linearize", "make_graph",
    "make_jaxpr", "named_call", "named_scope", "pmap", "stop_gradient", "value_and_grad", "vjp", "vmap",
]  # fmt: skip
