"""Functions on values and on settings: stop_gradient, disable_jit, named_call, device_put, device_get ..."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import tree
from ..config import config
from ..primitives.elementwise import stop_gradient as _stop_gradient
from ..trace import (
    named_scope,
)
from ..transforms.flat import (
    function_name,
)
from .traced import as_array

__all__ = ["block_until_ready", "device_get", "device_put", "disable_jit", "named_call", "stop_gradient"]


def stop_gradient(x: Any) -> Any:
    """The identity, whose derivative is zero; on every leaf of a pytree."""
    return tree.map(_stop_gradient, x)


def disable_jit(disable: bool = True) -> Any:
    """Context manager: jitted functions run op by op, so that print and a debugger see values."""
    return config.using(disable_jit=disable)


def named_call(fun: Callable[..., Any], *, name: str | None = None) -> Callable[..., Any]:
    """``fun`` under ``named_scope(name)``."""

    @functools.wraps(fun)
    def call(*args: Any, **kwargs: Any) -> Any:
        with named_scope(name or function_name(fun)):
            return fun(*args, **kwargs)

    return call


def device_put(x: Any, device: Any = None) -> Any:
    """Every leaf as an fx.Array (there is one device, the CPU)."""
    return tree.map(lambda v: as_array(v, v), x)


def device_get(x: Any) -> Any:
    """Every leaf as a NumPy array."""
    return tree.map(np.asarray, x)


def block_until_ready(x: Any) -> Any:
    """``x``; fx computes synchronously."""
    return x
