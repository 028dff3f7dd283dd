"""Where programs run: on one device, the CPU, in one process."""

from __future__ import annotations

import gc
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .array import CPU, Array, Device
from .dtypes import KeyDType
from .errors import BackendError
from .ir import Aval
from .sharding import uncut
from .trace import aval_of, state
from .version import __version__

__all__ = [
    "Device", "default_backend", "default_device", "device_count", "devices", "effects_barrier", "ensure_compile_time_eval",
    "live_arrays", "local_device_count", "local_devices", "print_environment_info", "process_count", "process_index",
    "process_indices", "typeof",
]  # fmt: skip


def _check_backend(backend: Any) -> None:
    if backend not in (None, "cpu", CPU):
        raise BackendError(f"there is no backend {backend!r}: fx computes on the CPU")


def devices(backend: Any = None) -> list[Device]:
    """The devices: the CPU.

    >>> devices()
    [CpuDevice(id=0)]
    """
    _check_backend(backend)
    return [CPU]


def local_devices(process_index: int | None = None, backend: Any = None, host_id: int | None = None) -> list[Device]:
    """The devices of this process: the CPU."""
    return devices(backend)


def device_count(backend: Any = None) -> int:
    """1"""
    return len(devices(backend))


def local_device_count(backend: Any = None) -> int:
    """1"""
    return device_count(backend)


def default_backend() -> str:
    """ "cpu" """
    return CPU.platform


def process_index(backend: Any = None) -> int:
    """0: there is one process."""
    _check_backend(backend)
    return 0


def process_count(backend: Any = None) -> int:
    """1"""
    _check_backend(backend)
    return 1


def process_indices(backend: Any = None) -> list[int]:
    """[0]"""
    return list(range(process_count(backend)))


@contextmanager
def default_device(new_val: Any = None) -> Iterator[None]:
    """Context manager: accepts the CPU, which is the default anyway."""
    _check_backend(new_val)
    yield


def effects_barrier() -> None:
    """Waits for side effects; they are done already, as fx computes synchronously."""


@contextmanager
def ensure_compile_time_eval() -> Iterator[None]:
    """Context manager: what depends on no traced value is computed at once, even while jit traces.

    >>> import fx
    >>> def f(x):
    ...     with fx.ensure_compile_time_eval():
    ...         n = int(fx.numpy.arange(4).sum())  # a number that may be a shape
    ...     return fx.numpy.full(n, x)
    >>> fx.jit(f)(2.0).shape
    (6,)
    """
    outer, state.absorbing = state.absorbing, []
    try:
        yield
    finally:
        state.absorbing = outer


Aval.uncut.append(uncut)


def typeof(x: Any) -> Aval:
    """Shape, dtype and weakness of an array (of keys, too), traced value or number.

    >>> print(typeof(1.5))
    f32[]*
    """
    if isinstance(getattr(x, "dtype", None), KeyDType):
        return Aval(x.shape, x.dtype)
    return aval_of(x)


def live_arrays(platform: str | None = None) -> list[Array]:
    """The arrays that the program still holds."""
    _check_backend(platform)
    return [x for x in gc.get_objects() if type(x) is Array and x._buffer is not None]


def print_environment_info(return_string: bool = False) -> str | None:
    """Versions and machine, for a bug report."""
    lines = [
        f"fx:     {__version__}", f"numpy:  {np.__version__}", f"python: {sys.version}",
        f"device: {devices()}, {os.cpu_count()} cores", f"system: {platform.platform()}",
    ]  # fmt: skip
    text = "\n".join(lines)
    if return_string:
        return text
    print(text)
    return None
