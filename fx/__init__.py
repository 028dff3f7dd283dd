"""fx: composable function transformations in plain NumPy style, compiled to native loops.

>>> import fx, numpy as np
>>> f = lambda x: np.sum(np.tanh(x) ** 2)
>>> fx.jit(fx.grad(f))(np.array([0.0, 1.0]))
Array([0.        , 0.63970001], dtype=float64)

Transforms: ``grad``, ``value_and_grad``, ``jvp``, ``vjp``, ``linearize``, ``jacfwd``, ``jacrev``, ``hessian``, ``vmap``,
``jit``, ``checkpoint``, ``custom_jvp``, ``custom_vjp``.  Namespaces: ``fx.numpy``, ``fx.lax``, ``fx.random``, ``fx.nn``,
``fx.optim``, ``fx.data``, ``fx.io``, ``fx.tree``, ``fx.debug``.  Options: ``fx.config``.

``import fx`` itself loads next to nothing: a name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .config import config
from .version import __version__

# module -> the names of it that stand directly under fx
_FROM = {
    "api": (
        "ShapeDtypeStruct", "TracedGraph", "block_until_ready", "check_tracer_leaks", "checking_leaks", "copy_to_host_async", "debug_infs",
        "debug_nans", "device_get", "device_put", "disable_jit", "eval_shape",
        "float0", "fwd_and_bwd", "grad", "hessian", "jacfwd", "jacobian", "jacrev", "jvp", "linear_transpose", "linearize", "make_graph",
        "make_jaxpr", "named_call", "named_scope", "pmap", "stop_gradient", "value_and_grad", "vjp", "vmap",
    ),
    "array": ("Array",),
    "contexts": (
        "allow_f16_reductions", "debug_key_reuse", "default_matmul_precision", "default_prng_impl",
        "enable_checks", "enable_custom_prng", "enable_x64", "explain_cache_misses", "legacy_prng_key", "log_compiles",
        "numpy_dtype_promotion", "numpy_rank_promotion",
        "softmax_custom_jvp", "threefry_partitionable", "transfer_guard", "transfer_guard_device_to_device",
        "transfer_guard_device_to_host", "transfer_guard_host_to_device",
    ),
    "ir": ("Graph",),
    "numpy.program": ("numpy_program",),
    "platform": (
        "Device", "default_backend", "default_device", "device_count", "devices", "effects_barrier",
        "ensure_compile_time_eval", "live_arrays", "local_device_count", "local_devices", "print_environment_info",
        "process_count", "process_index", "process_indices", "typeof",
    ),
    "primitives.callbacks": ("pure_callback",),
    "staging": ("clear_caches", "jit"),
    "transforms.checkpoint": ("checkpoint", "checkpoint_name", "checkpoint_policies", "remat"),
    "transforms.custom_jvp": ("custom_jvp",),
    "transforms.custom_vjp": ("closure_convert", "custom_gradient", "custom_vjp"),
}  # fmt: skip
_MODULES = (
    "autograd", "custom_derivatives", "data", "debug", "dlpack", "dtypes", "errors", "example_libraries", "experimental", "flatten_util", "image", "io", "lax",
    "metrics", "nn",
    "numpy", "ops", "optim", "printing", "random", "scipy", "stages", "test_util", "tree", "tree_util", "typing",
)  # fmt: skip
_HOME = {name: module for module, names in _FROM.items() for name in names}

__all__ = sorted(("__version__", "config", *_HOME, *_MODULES))

if TYPE_CHECKING:
    from . import (
        autograd,
        custom_derivatives,
        data,
        debug,
        dlpack,
        dtypes,
        errors,
        example_libraries,
        experimental,
        flatten_util,
        image,
        io,
        lax,
        metrics,
        nn,
        numpy,
        ops,
        optim,
        printing,
        random,
        scipy,
        stages,
        test_util,
        tree,
        tree_util,
        typing,
    )
    from .api import (
        ShapeDtypeStruct,
        TracedGraph,
        block_until_ready,
        check_tracer_leaks,
        checking_leaks,
        copy_to_host_async,
        debug_infs,
        debug_nans,
        device_get,
        device_put,
        disable_jit,
        eval_shape,
        float0,
        fwd_and_bwd,
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
        pmap,
        stop_gradient,
        value_and_grad,
        vjp,
        vmap,
    )
    from .array import Array
    from .contexts import (
        allow_f16_reductions,
        debug_key_reuse,
        default_matmul_precision,
        default_prng_impl,
        enable_checks,
        enable_custom_prng,
        enable_x64,
        explain_cache_misses,
        legacy_prng_key,
        log_compiles,
        numpy_dtype_promotion,
        numpy_rank_promotion,
        softmax_custom_jvp,
        threefry_partitionable,
        transfer_guard,
        transfer_guard_device_to_device,
        transfer_guard_device_to_host,
        transfer_guard_host_to_device,
    )
    from .ir import Graph
    from .numpy.program import numpy_program
    from .platform import (
        Device,
        default_backend,
        default_device,
        device_count,
        devices,
        effects_barrier,
        ensure_compile_time_eval,
        live_arrays,
        local_device_count,
        local_devices,
        print_environment_info,
        process_count,
        process_index,
        process_indices,
        typeof,
    )
    from .primitives.callbacks import pure_callback
    from .staging import clear_caches, jit
    from .transforms.checkpoint import checkpoint, checkpoint_name, checkpoint_policies, remat
    from .transforms.custom_jvp import custom_jvp
    from .transforms.custom_vjp import closure_convert, custom_gradient, custom_vjp


def __getattr__(name: str) -> Any:
    """Loads a name on first use.  ``fx.numpy`` comes first: it gives arrays their operators and methods."""
    if name in _HOME:
        for module in ("numpy", "printing"):
            importlib.import_module(f"{__name__}.{module}")
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module 'fx' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__]
