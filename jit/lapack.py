"""LAPACK and BLAS by address: the routines that NumPy brings along, called from compiled kernels without Python.

NumPy's linear algebra links a LAPACK (in its wheels OpenBLAS with 64-bit integers, or Accelerate on macOS), so its
routines are in the process already; where they cannot be found by name, SciPy publishes the addresses of its own.  Kernels
get an address in their frame: it is nowhere in object code that is kept.

OpenBLAS has one number of threads for the process.  While a kernel is inside, it is 1, so that results do not depend on it
and our own threads do not multiply; the last one out restores what was there (``_GUARD``), unless somebody has changed it.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .llvm.native_text import load_text

__all__ = ["Guard", "Routine", "guard", "routine", "workspace"]

_SPELLINGS = ("scipy_{}_64_", "{}_64_", "{}$NEWLAPACK$ILP64", "scipy_{}_", "{}_", "{}$NEWLAPACK")
_THREADS = tuple(f"{head}openblas_{{}}_num_threads{tail}" for tail in ("64_", "") for head in ("scipy_", ""))
_BLAS = ("trsm",)


@dataclass(frozen=True)
class Routine:
    """A Fortran routine.  bits: of its integers.  library: where it was found."""

    name: str
    address: int
    bits: int
    library: str

    def __str__(self) -> str:
        return f"{self.name} of {self.library}"


@dataclass(frozen=True)
class _Library:
    title: str
    find: Callable[[str], int]
    bits: int
    threads: tuple[int, int]  # addresses of functions that get and set the number of threads, or zeros


def _address(library: ctypes.CDLL, name: str) -> int:
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
    except AttributeError:
        return 0


def _thread_control(libraries: Sequence[ctypes.CDLL]) -> tuple[int, int]:
    for library in libraries:
        for name in _THREADS:
            found = _address(library, name.format("get")), _address(library, name.format("set"))
            if all(found):
                return found
    return 0, 0


def _open(paths: Sequence[str | os.PathLike[str]]) -> list[ctypes.CDLL]:
    found = []
    for path in paths:
        try:
            found.append(ctypes.CDLL(os.fspath(path)))
        except OSError:
            pass
    return found


def _module_file(name: str) -> list[str]:
    spec = importlib.util.find_spec(name)
    return [spec.origin] if spec is not None and spec.origin else []


def _of_numpy() -> _Library | None:
    """By name in what NumPy's linear algebra is linked with.  (Windows looks into the named file alone.)"""
    folder = Path(np.__file__).resolve().parent
    bundled = [p for place in (folder.parent / "numpy.libs", folder / ".dylibs") for p in sorted(place.glob("*blas*"))]
    libraries = _open([*_module_file("numpy.linalg._umath_linalg"), *bundled])
    for library in libraries:
        for spelling in _SPELLINGS:
            find = functools.partial(_by_name, library, spelling)
            bits = _integer_bits(find("dgetrf"))
            if bits:
                threads = _thread_control(libraries)
                return _Library(f"NumPy's {'OpenBLAS' if threads[0] else 'LAPACK'}", find, bits, threads)
    return None


def _by_name(library: ctypes.CDLL, spelling: str, name: str) -> int:
    return _address(library, spelling.format(name))


def _of_scipy() -> _Library | None:
    """By the capsules of ``scipy.linalg.cython_lapack`` and ``cython_blas``, where SciPy is installed."""
    if importlib.util.find_spec("scipy") is None:
        return None
    lapack, blas = (importlib.import_module(f"scipy.linalg.cython_{kind}") for kind in ("lapack", "blas"))

    def find(name: str) -> int:
        capsule = (blas if name[1:] in _BLAS else lapack).__pyx_capi__.get(name)
        return _pointer(capsule, _capsule_name(capsule)) if capsule is not None else 0

    bits = _integer_bits(find("dgetrf"))
    threads = _thread_control(_open([f for f in (lapack.__file__, blas.__file__) if f]))
    return _Library("SciPy's LAPACK", find, bits, threads) if bits else None


def _integer_bits(getrf: int) -> int:
    """The width of the library's integers, by the pivots of a matrix whose rows are exchanged; 0 if it does not work."""
    if not getrf or sys.byteorder != "little":
        return 0
    matrix, pivots = np.array([0.0, 1.0, 1.0, 0.0]), np.zeros(2, np.int64)
    two, info = np.array(2, np.int64), np.zeros((), np.int64)
    arguments = (two, two, matrix, two, pivots, info)
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 6)(getrf)(*[x.ctypes.data for x in arguments])
    if matrix.tolist() != [1.0, 0.0, 0.0, 1.0] or info:
        return 0
    return {(2, 2): 64, (2 | 2 << 32, 0): 32}.get((int(pivots[0]), int(pivots[1])), 0)


_capsule_name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


@functools.cache
def _library() -> _Library | None:
    return _of_numpy() or _of_scipy()


def routine(name: str) -> Routine | None:
    """The routine of that name, such as ``dpotrf``; None if no LAPACK was found that has it."""
    library = _library()
    address = library.find(name) if library is not None else 0
    return Routine(name, address, library.bits, library.title) if library is not None and address else None


def workspace(found: Routine, *args: Any) -> int:
    """The size of the work array that a routine asks for, in its elements.

    Args:
        args: characters; integers, -1 for the length of the work array; ``...`` for the work array; None for any other.
    """
    given: list[Any] = [np.zeros(8, np.complex128) if a is None or a is ... else np.int64(a) if isinstance(a, int) else np.array(a.encode()) for a in args]  # fmt: skip
    places = [np.ascontiguousarray(p) for p in given]
    lengths = [ctypes.c_size_t(1) for a in args if isinstance(a, str)]
    kinds = [ctypes.c_void_p] * len(args) + [ctypes.c_size_t] * len(lengths)
    ctypes.CFUNCTYPE(None, *kinds)(found.address)(*[p.ctypes.data for p in places], *lengths)
    answer = next(p for p, a in zip(places, args) if a is ...)
    return int(answer.view(np.float32 if found.name[0] in "sc" else np.float64)[0])


# ------------------------------------------------------------------------------------------- threads


@dataclass(frozen=True)
class Guard:
    """Addresses of the functions, without arguments, that a kernel calls before and after its calls of LAPACK."""

    enter: int
    leave: int


_GUARD = """
@lock = internal global i32 0
@depth = internal global i64 0
@saved = internal global i32 0
@get = internal global ptr null
@set = internal global ptr null

define void @fx_blas_threads(ptr %get, ptr %set) {
  store ptr %get, ptr @get
  store ptr %set, ptr @set
  ret void
}

define internal void @acquire() {
entry:
  br label %try
try:
  %seen = cmpxchg ptr @lock, i32 0, i32 1 acquire monotonic
  %won = extractvalue { i32, i1 } %seen, 1
  br i1 %won, label %done, label %try
done:
  ret void
}

define internal void @release() {
  store atomic i32 0, ptr @lock release, align 4
  ret void
}

define void @fx_blas_enter() {
  call void @acquire()
  %depth = load i64, ptr @depth
  %more = add i64 %depth, 1
  store i64 %more, ptr @depth
  %first = icmp eq i64 %depth, 0
  br i1 %first, label %look, label %done
look:
  %get = load ptr, ptr @get
  %threads = call i32 %get()
  store i32 %threads, ptr @saved
  %several = icmp ne i32 %threads, 1
  br i1 %several, label %change, label %done
change:
  %set = load ptr, ptr @set
  call void %set(i32 1)
  br label %done
done:
  call void @release()
  ret void
}

define void @fx_blas_leave() {
  call void @acquire()
  %depth = load i64, ptr @depth
  %less = sub i64 %depth, 1
  store i64 %less, ptr @depth
  %last = icmp eq i64 %less, 0
  br i1 %last, label %look, label %done
look:
  %get = load ptr, ptr @get
  %threads = call i32 %get()
  %ours = icmp eq i32 %threads, 1
  %saved = load i32, ptr @saved
  %other = icmp ne i32 %saved, 1
  %restore = and i1 %ours, %other
  br i1 %restore, label %change, label %done
change:
  %set = load ptr, ptr @set
  call void %set(i32 %saved)
  br label %done
done:
  call void @release()
  ret void
}

; In a forked child: the threads that were inside stayed with the parent.
define void @fx_blas_reset() {
  store i32 0, ptr @lock
  %depth = load i64, ptr @depth
  store i64 0, ptr @depth
  %inside = icmp ne i64 %depth, 0
  br i1 %inside, label %change, label %done
change:
  %set = load ptr, ptr @set
  %saved = load i32, ptr @saved
  call void %set(i32 %saved)
  br label %done
done:
  ret void
}

define void @fx_blas_idle() {
  ret void
}
"""
_ENTRIES = ("fx_blas_threads", "fx_blas_enter", "fx_blas_leave", "fx_blas_reset", "fx_blas_idle")


@functools.cache
def guard() -> Guard:
    """What keeps the library on one thread; functions that do nothing where it has no such switch."""
    entries = load_text(_GUARD, _ENTRIES)
    library = _library()
    if library is None or not library.threads[0]:
        return Guard(entries["fx_blas_idle"], entries["fx_blas_idle"])
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(entries["fx_blas_threads"])(*library.threads)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=ctypes.CFUNCTYPE(None)(entries["fx_blas_reset"]))
    return Guard(entries["fx_blas_enter"], entries["fx_blas_leave"])
