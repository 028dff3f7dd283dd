"""NumPy's FFT by address: the loops behind ``numpy.fft``, called from compiled kernels without Python.

NumPy 2 ships pocketfft as generalised ufuncs.  A ufunc is a public, stable C structure that holds the addresses of its
loops, ``void loop(char **args, npy_intp *dimensions, npy_intp *steps, void *data)``; NumPy runs these without the
interpreter's lock, and so do we.  ``_SHIM`` makes the three arrays that a loop wants from plain arguments.

Before the first use one transform is compared with ``numpy.fft``; where it differs (another NumPy), there is no loop.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from dataclasses import dataclass

import numpy as np

from .llvm.native_text import load_text

__all__ = ["Loop", "loop", "shim"]

_CODES = {"float32": 11, "float64": 12, "complex64": 14, "complex128": 15}  # NumPy's type numbers


class _UFunc(ctypes.Structure):
    """The head of ``PyUFuncObject``."""

    _fields_ = (
        ("head", ctypes.c_byte * object.__basicsize__),
        ("nin", ctypes.c_int),
        ("nout", ctypes.c_int),
        ("nargs", ctypes.c_int),
        ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int),
        ("reserved", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("types", ctypes.POINTER(ctypes.c_char)),
    )


@dataclass(frozen=True)
class Loop:
    """The addresses of a loop and of its data."""

    name: str
    address: int
    data: int


_SHIM = """
define void @fx_ufunc(i64 %loop, i64 %data, ptr %in, ptr %factor, ptr %out, i64 %count, i64 %n, i64 %m, i64 %in.next, i64 %out.next, i64 %in.step, i64 %out.step) {
  %args = alloca [3 x ptr], align 8
  %dims = alloca [3 x i64], align 8
  %steps = alloca [5 x i64], align 8
  %args.1 = getelementptr ptr, ptr %args, i64 1
  %args.2 = getelementptr ptr, ptr %args, i64 2
  store ptr %in, ptr %args
  store ptr %factor, ptr %args.1
  store ptr %out, ptr %args.2
  %dims.1 = getelementptr i64, ptr %dims, i64 1
  %dims.2 = getelementptr i64, ptr %dims, i64 2
  store i64 %count, ptr %dims
  store i64 %n, ptr %dims.1
  store i64 %m, ptr %dims.2
  %steps.1 = getelementptr i64, ptr %steps, i64 1
  %steps.2 = getelementptr i64, ptr %steps, i64 2
  %steps.3 = getelementptr i64, ptr %steps, i64 3
  %steps.4 = getelementptr i64, ptr %steps, i64 4
  store i64 %in.next, ptr %steps
  store i64 0, ptr %steps.1
  store i64 %out.next, ptr %steps.2
  store i64 %in.step, ptr %steps.3
  store i64 %out.step, ptr %steps.4
  %f = inttoptr i64 %loop to ptr
  %d = inttoptr i64 %data to ptr
  call void %f(ptr %args, ptr %dims, ptr %steps, ptr %d)
  ret void
}
"""


@functools.cache
def shim() -> int:
    """The address of ``fx_ufunc(loop, data, in, factor, out, count, n, m, in_next, out_next, in_step, out_step)``: ``count``
    transforms of n numbers to m, ``next`` bytes from one to the other and ``step`` bytes between their numbers."""
    return load_text(_SHIM, ("fx_ufunc",))["fx_ufunc"]


@functools.cache
def loop(name: str, dtype: np.dtype) -> Loop | None:
    """The loop of a ufunc of ``numpy.fft`` for that dtype of complex operands; None if there is none that works."""
    try:
        module = importlib.import_module("numpy.fft._pocketfft_umath")
        found = _find(getattr(module, name), name, dtype)
    except (ImportError, AttributeError):
        return None
    return found if found is not None and _works(found, dtype) else None


def _find(ufunc: np.ufunc, name: str, dtype: np.dtype) -> Loop | None:
    complex_, real = _CODES[dtype.name], _CODES["float32" if dtype.name == "complex64" else "float64"]
    wanted = {
        "irfft": (complex_, real, real),
        "rfft_n_even": (real, real, complex_),
        "rfft_n_odd": (real, real, complex_),
    }
    head = _UFunc.from_address(id(ufunc))
    if (head.nin, head.nout, head.nargs, head.ntypes) != (ufunc.nin, ufunc.nout, ufunc.nargs, ufunc.ntypes):
        return None
    for k in range(head.ntypes):
        types = tuple(head.types[k * head.nargs + i][0] for i in range(head.nargs))
        if types == wanted.get(name, (complex_, real, complex_)) and head.functions[k]:
            return Loop(name, head.functions[k], (head.data[k] or 0) if head.data else 0)
    return None


def _works(found: Loop, dtype: np.dtype) -> bool:
    """Compares a transform of 6 or 7 points with NumPy's."""
    real = np.float32 if dtype.name == "complex64" else np.float64
    n = 7 if found.name == "rfft_n_odd" else 6
    whole = (np.cos(np.arange(n)) + 1j * np.sin(np.arange(n) ** 2)).astype(dtype)
    x, want = {
        "fft": lambda: (whole, np.fft.fft(whole)), "ifft": lambda: (whole, np.fft.ifft(whole) * n),
        "irfft": lambda: (whole[:4], np.fft.irfft(whole[:4]) * n),
    }.get(found.name, lambda: (whole.real.copy(), np.fft.rfft(whole.real)))()  # fmt: skip
    out, one = np.zeros_like(want, dtype=want.dtype), np.ones(1, real)
    numbers = (found.address, found.data, x.ctypes.data, one.ctypes.data, out.ctypes.data, 1, x.size, out.size, 0, 0)
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 12)(shim())(*numbers, x.itemsize, out.itemsize)
    return bool(np.allclose(out, want, rtol=1e-4, atol=1e-4))
