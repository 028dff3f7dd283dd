"""fx: composable function transformations in plain NumPy style, compiled to native loops.

>>> import fx, numpy as np
>>> f = lambda x: np.sum(np.tanh(x) ** 2)
>>> fx.jit(fx.grad(f))(np.array([0.0, 1.0]))
Array([0.        , 0.63970001], dtype=float64)

Transforms: ``grad``, ``value_and_grad``, ``jvp``, ``vjp``, ``linearize``, ``jacfwd``, ``jacrev``, ``hessian``, ``vmap``,
``jit``, ``checkpoint``, ``custom_jvp``, ``custom_vjp``.  Namespaces: ``fx.numpy``, ``fx.lax``, ``fx.random``, ``fx.nn``,
``fx.optim``, ``fx.data``, ``fx.train``, ``fx.metrics``, ``fx.io``, ``fx.viz``, ``fx.tree``, ``fx.debug``.  Options: ``fx.config``.

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
    "ref": ("Ref", "empty_ref", "free_ref", "freeze", "new_ref"),
    "shard_mapping": ("shard_map", "smap"),
    "sharding": (
        "NamedSharding", "P", "get_abstract_mesh", "get_mesh", "make_array_from_callback", "make_array_from_process_local_data",
        "make_array_from_single_device_arrays", "make_mesh", "reshard", "set_mesh", "use_abstract_mesh",
    ),
    "staging": ("clear_caches", "jit"),
    "transforms.checkpoint": ("checkpoint", "checkpoint_name", "checkpoint_policies", "remat"),
    "transforms.custom_jvp": ("custom_jvp",),
    "transforms.custom_vjp": ("closure_convert", "custom_gradient", "custom_vjp"),
}  # fmt: skip
_MODULES = (
    "ad_checkpoint", "api_util", "as_jax", "autograd", "core", "custom_batching", "custom_derivatives", "data", "debug", "dlpack", "dtypes", "errors", "example_libraries", "experimental", "export", "extend", "flatten_util", "image", "interpreters", "io", "lax",
    "metrics", "nn",
    "numpy", "ops", "optim", "printing", "profiler", "random", "ref", "scipy", "sharding", "stages", "test_util", "train",
    "tree", "tree_util", "typing", "viz",
)  # fmt: skip
_HOME = {name: module for module, names in _FROM.items() for name in names}

__all__ = sorted(("__version__", "config", *_HOME, *_MODULES))

if TYPE_CHECKING:
    from . import (
        ad_checkpoint as ad_checkpoint,
        api_util as api_util,
        as_jax as as_jax,
        autograd as autograd,
        core as core,
        custom_batching as custom_batching,
        custom_derivatives as custom_derivatives,
        data as data,
        debug as debug,
        dlpack as dlpack,
        dtypes as dtypes,
        errors as errors,
        example_libraries as example_libraries,
        experimental as experimental,
        export as export,
        extend as extend,
        flatten_util as flatten_util,
        image as image,
        interpreters as interpreters,
        io as io,
        lax as lax,
        metrics as metrics,
        nn as nn,
        numpy as numpy,
        ops as ops,
        optim as optim,
        printing as printing,
        profiler as profiler,
        random as random,
        ref as ref,
        scipy as scipy,
        sharding as sharding,
        stages as stages,
        test_util as test_util,
        train as train,
        tree as tree,
        tree_util as tree_util,
        typing as typing,
        viz as viz,
    )
    from .api import (
        ShapeDtypeStruct as ShapeDtypeStruct,
        TracedGraph as TracedGraph,
        block_until_ready as block_until_ready,
        check_tracer_leaks as check_tracer_leaks,
        checking_leaks as checking_leaks,
        copy_to_host_async as copy_to_host_async,
        debug_infs as debug_infs,
        debug_nans as debug_nans,
        device_get as device_get,
        device_put as device_put,
        disable_jit as disable_jit,
        eval_shape as eval_shape,
        float0 as float0,
        fwd_and_bwd as fwd_and_bwd,
        grad as grad,
        hessian as hessian,
        jacfwd as jacfwd,
        jacobian as jacobian,
        jacrev as jacrev,
        jvp as jvp,
        linear_transpose as linear_transpose,
        linearize as linearize,
        make_graph as make_graph,
        make_jaxpr as make_jaxpr,
        named_call as named_call,
        named_scope as named_scope,
        pmap as pmap,
        stop_gradient as stop_gradient,
        value_and_grad as value_and_grad,
        vjp as vjp,
        vmap as vmap,
    )
    from .array import Array as Array
    from .contexts import (
        allow_f16_reductions as allow_f16_reductions,
        debug_key_reuse as debug_key_reuse,
        default_matmul_precision as default_matmul_precision,
        default_prng_impl as default_prng_impl,
        enable_checks as enable_checks,
        enable_custom_prng as enable_custom_prng,
        enable_x64 as enable_x64,
        explain_cache_misses as explain_cache_misses,
        legacy_prng_key as legacy_prng_key,
        log_compiles as log_compiles,
        numpy_dtype_promotion as numpy_dtype_promotion,
        numpy_rank_promotion as numpy_rank_promotion,
        softmax_custom_jvp as softmax_custom_jvp,
        threefry_partitionable as threefry_partitionable,
        transfer_guard as transfer_guard,
        transfer_guard_device_to_device as transfer_guard_device_to_device,
        transfer_guard_device_to_host as transfer_guard_device_to_host,
        transfer_guard_host_to_device as transfer_guard_host_to_device,
    )
    from .ir import Graph as Graph
    from .numpy.program import numpy_program as numpy_program
    from .platform import (
        Device as Device,
        default_backend as default_backend,
        default_device as default_device,
        device_count as device_count,
        devices as devices,
        effects_barrier as effects_barrier,
        ensure_compile_time_eval as ensure_compile_time_eval,
        live_arrays as live_arrays,
        local_device_count as local_device_count,
        local_devices as local_devices,
        print_environment_info as print_environment_info,
        process_count as process_count,
        process_index as process_index,
        process_indices as process_indices,
        typeof as typeof,
    )
    from .primitives.callbacks import pure_callback as pure_callback
    from .ref import Ref as Ref, empty_ref as empty_ref, free_ref as free_ref, freeze as freeze, new_ref as new_ref
    from .shard_mapping import shard_map as shard_map, smap as smap
    from .sharding import (
        NamedSharding as NamedSharding,
        P as P,
        get_abstract_mesh as get_abstract_mesh,
        get_mesh as get_mesh,
        make_array_from_callback as make_array_from_callback,
        make_array_from_process_local_data as make_array_from_process_local_data,
        make_array_from_single_device_arrays as make_array_from_single_device_arrays,
        make_mesh as make_mesh,
        reshard as reshard,
        set_mesh as set_mesh,
        use_abstract_mesh as use_abstract_mesh,
    )
    from .staging import clear_caches as clear_caches, jit as jit
    from .transforms.checkpoint import (
        checkpoint as checkpoint,
        checkpoint_name as checkpoint_name,
        checkpoint_policies as checkpoint_policies,
        remat as remat,
    )
    from .transforms.custom_jvp import custom_jvp as custom_jvp
    from .transforms.custom_vjp import (
        closure_convert as closure_convert,
        custom_gradient as custom_gradient,
        custom_vjp as custom_vjp,
    )


def __getattr__(name: str) -> Any:
    """Loads a name on first use.  ``fx.numpy`` comes first: it gives arrays their operators and methods."""
    if name in _HOME:
        for module in ("numpy", "printing"):
            importlib.import_module(f"{__name__}.{module}")
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        elsewhere, misnamed, _ = (importlib.import_module(f"{__name__}.{m}") for m in ("elsewhere", "misnamed", "lax"))
        raise misnamed.no_attribute("fx", name, (), {name: elsewhere.no_function(name)})
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__]
