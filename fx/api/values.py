"""Functions on values and on settings: stop_gradient, disable_jit, named_call, device_put, device_get ..."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import tree
from ..array import check_device
from ..config import config
from ..dtypes import KeyDType
from ..primitives.elementwise import stop_gradient as _stop_gradient
from ..signatures import wraps
from ..trace import Tracer, named_scope
from ..traceback import user_frames
from ..transforms.flat import check_leaf, function_name
from .traced import as_array

__all__ = [
    "block_until_ready", "check_tracer_leaks", "checking_leaks", "copy_to_host_async", "debug_infs", "debug_nans", "device_get", "device_put",
    "disable_jit", "named_call", "stop_gradient",
]  # fmt: skip


@user_frames
def stop_gradient(x: Any) -> Any:
    """The identity, whose derivative is zero; on every leaf of a pytree.

    >>> import fx
    >>> fx.grad(lambda x: x * fx.stop_gradient(x))(3.0)
    Array(3., dtype=float32, weak_type=True)
    """
    leaves, treedef = tree.flatten(x)  # tree.map would hand over arrays of keys whole
    return tree.unflatten(
        treedef, [_stop_gradient(check_leaf(v, "a leaf of stop_gradient's argument")) for v in leaves]
    )


def disable_jit(disable: bool = True) -> Any:
    """Context manager: jitted functions run op by op, so that print and a debugger see values.

    >>> import fx, numpy as np
    >>> with fx.disable_jit():
    ...     fx.jit(lambda x: print(x))(np.arange(3))
    [0 1 2]
    """
    return config.using(disable_jit=disable)


def debug_nans(new_val: bool = True) -> Any:
    """Context manager: a NaN raises ``NaNError`` where it is born (an operation that makes one of operands without any).

    The error names the operation, the line, the first bad element and the operands there.  Operations that run at once are
    checked one by one; of a compiled program, forward or backward, the results are checked, and where one is bad the
    program runs again in NumPy to find the equation.  NaNs that come in with the arguments are not reported.
    ``fx.config.debug_nans = True`` is the same for the whole process.

    >>> import fx, numpy as np
    >>> with fx.debug_nans():
    ...     fx.jit(lambda x: np.sum(np.log(x - 2.0)))(np.array([3.0, 1.0]))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    fx.errors.NaNError: NaN appeared in the compiled program of '<lambda>': 'log' gave nan at index (1,) of f64[2]
    ...
    """
    return config.using(debug_nans=new_val)


def debug_infs(new_val: bool = True) -> Any:
    """As ``debug_nans``, for infinities."""
    return config.using(debug_infs=new_val)


def check_tracer_leaks(new_val: bool = True) -> Any:
    """Context manager: a traced value that outlives its trace (stored in a global, an attribute, a list) raises
    ``LeakedTracerError`` when the trace ends, and not only when it is used."""
    return config.using(check_tracer_leaks=new_val)


checking_leaks = check_tracer_leaks


def named_call(fun: Callable[..., Any], *, name: str | None = None) -> Callable[..., Any]:
    """``fun`` under ``named_scope(name)``."""

    @wraps(fun)
    def call(*args: Any, **kwargs: Any) -> Any:
        with named_scope(name or function_name(fun)):
            return fun(*args, **kwargs)

    return call


def device_put(x: Any, device: Any = None, *, src: Any = None, donate: Any = False, may_alias: Any = None) -> Any:
    """Every leaf as an fx.Array.

    Args:
        device: None, "cpu", ``fx.devices()[0]`` or a sharding (``x.sharding``), or a pytree of them.
        src, donate, may_alias: accepted; the memory is shared where it can be.

    Raises:
        ArgumentError: for any other device.
    """
    check_device(device)
    leaves, treedef = tree.flatten(x)
    return tree.unflatten(treedef, [as_array(v) for v in leaves])


def device_get(x: Any) -> Any:
    """Every array as a NumPy array; Python numbers, keys and traced values stay as they are."""

    def got(v: Any) -> Any:
        kept = isinstance(v, Tracer) or isinstance(getattr(v, "dtype", None), KeyDType)
        return np.asarray(v) if hasattr(v, "__array__") and not kept else v

    return tree.map(got, x)


def copy_to_host_async(x: Any) -> Any:
    """``x``: its arrays are in the host's memory."""
    return x


def block_until_ready(x: Any) -> Any:
    """``x``; fx computes synchronously."""
    return x
