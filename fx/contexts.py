"""Options of JAX as context managers, for programs that set them: each says what it means here.

Where an option has no meaning on one CPU, or what it asks for is always so, it is accepted.  Where fx could not do what
is asked for, it raises.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from .config import config
from .errors import ArgumentError

__all__ = [
    "allow_f16_reductions", "debug_key_reuse", "default_matmul_precision", "default_prng_impl", "enable_checks",
    "enable_custom_prng", "enable_x64", "explain_cache_misses", "legacy_prng_key", "log_compiles", "numpy_dtype_promotion",
    "numpy_rank_promotion",
    "softmax_custom_jvp", "threefry_partitionable", "transfer_guard", "transfer_guard_device_to_device", "transfer_guard_device_to_host",
    "transfer_guard_host_to_device",
]  # fmt: skip

Context = AbstractContextManager[Any]


class _Nothing(contextlib.ContextDecorator):
    """A context that changes nothing, also as the decorator of a function."""

    def __enter__(self) -> None:
        """There is nothing to set."""

    def __exit__(self, *_: object) -> None:
        """There is nothing to set back."""


def _accepted(name: str, why: str) -> Callable[..., Context]:
    def context(new_val: Any = None) -> Context:
        return _Nothing()

    context.__name__ = context.__qualname__ = name
    context.__doc__ = f"Context manager, accepted: {why}."
    return context


allow_f16_reductions = _accepted("allow_f16_reductions", "sums of 16 bit floats are added in float32")
debug_key_reuse = _accepted("debug_key_reuse", "keys do not remember who used them")
default_matmul_precision = _accepted("default_matmul_precision", "products are always computed at full precision")
enable_custom_prng = _accepted("enable_custom_prng", "fx.random.key makes typed keys, PRNGKey raw ones")
legacy_prng_key = _accepted("legacy_prng_key", "raw keys are as good as typed ones")
softmax_custom_jvp = _accepted("softmax_custom_jvp", "the derivative of softmax is always made of softmax itself")
_ONE_DEVICE = "there is one device, and arrays are in its memory"
transfer_guard = _accepted("transfer_guard", _ONE_DEVICE)
transfer_guard_device_to_device = _accepted("transfer_guard_device_to_device", _ONE_DEVICE)
transfer_guard_device_to_host = _accepted("transfer_guard_device_to_host", _ONE_DEVICE)
transfer_guard_host_to_device = _accepted("transfer_guard_host_to_device", _ONE_DEVICE)


def enable_x64(new_val: bool = True) -> Context:
    """Context manager: new arrays made without a dtype are float64 and int64, or with False float32 and int32.

    64 bit types themselves are always there, and arrays keep them.

    >>> import fx.numpy as fnp
    >>> with enable_x64():
    ...     fnp.ones(2).dtype
    dtype('float64')
    """
    bits = 64 if new_val else 32
    return config.using(default_float=f"float{bits}", default_int=f"int{bits}")


def numpy_rank_promotion(new_val: str = "raise") -> Context:
    """Context manager: what is done of operands with different numbers of dimensions (``fx.config.numpy_rank_promotion``).

    >>> import fx.numpy as fnp
    >>> with numpy_rank_promotion("raise"):
    ...     fnp.ones((3, 2)) + fnp.ones(2)
    Traceback (most recent call last):
    fx.errors.ShapeError: operands of shapes (3, 2) and (2,) have different numbers of dimensions (fx.config.numpy_rank_promotion = 'raise'). Write out what is meant: y[None, :], or fx.numpy.expand_dims.
    """
    return config.using(numpy_rank_promotion=new_val)


def explain_cache_misses(new_val: bool = True) -> Context:
    """Context manager: prints why jit traced or compiled again (``fx.config.explain_misses``)."""
    return config.using(explain_misses=new_val)


def log_compiles(new_val: bool = True) -> Context:
    """Context manager: prints when jit traces or compiles, and why (``fx.config.explain_misses``)."""
    return config.using(explain_misses=new_val)


def enable_checks(new_val: bool = True) -> Context:
    """Context manager: verifies every graph, plan and loop program (``fx.config.verify``)."""
    return config.using(verify=new_val)


def numpy_dtype_promotion(new_val: str = "standard") -> Context:
    """Context manager: accepts "standard", the rules that dtypes are always promoted by."""
    if new_val != "standard":
        raise ArgumentError(
            f"fx.numpy promotes dtypes by its 'standard' rules; found {new_val!r}. The operations of fx.lax are strict."
        )
    return _Nothing()


def default_prng_impl(new_val: str = "threefry2x32") -> Context:
    """Context manager: accepts "threefry2x32", the one algorithm of ``fx.random``."""
    if new_val != "threefry2x32":
        raise ArgumentError(f"the random bits of fx are 'threefry2x32'; found {new_val!r}")
    return _Nothing()


def threefry_partitionable(new_val: bool = True) -> Context:
    """Context manager: accepts True; the bits of an element depend on its position alone, as by default since JAX 0.5."""
    if not new_val:
        raise ArgumentError(
            "fx.random makes the bits of jax_threefry_partitionable=True, which is JAX's default since 0.5"
        )
    return _Nothing()
