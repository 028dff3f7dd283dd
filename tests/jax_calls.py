"""How a function of JAX's is called, as data: the kinds of cases that ``numpy_cases``, ``lax_cases`` ... are tables of.

A ``Case`` stands for all functions that are called the same way.  ``arrays`` are drawn at random; they are what is
traced, differentiated and batched.  The first of ``dtypes`` gets all the laws, the others values and dtypes only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

FLOAT, INT, BOOL, COMPLEX = ("float32",), ("int32",), ("bool",), ("complex64",)
NUMBERS = ("float32", "int32", "uint8", "float16", "bfloat16", "complex64")
REALS = ("float32", "int32", "uint8", "float16", "bfloat16")
EVERY = ("float32", "bool", "int32", "uint8", "float16", "bfloat16", "complex64")
EXACT = ("int32", "bool", "uint8", "int8")


@dataclass(frozen=True)
class A:
    """Random numbers in [lo, hi]; of the dtype of the case, or of one of its own."""

    shape: tuple[int, ...] = (2, 3)
    lo: float = -2.0
    hi: float = 3.0
    dtype: str = ""

    def draw(self, dtype: str, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed + 11 * len(self.shape))
        name = self.dtype or dtype
        d = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
        if d == np.bool_:
            return rng.integers(0, 2, self.shape).astype(bool)
        if d.kind in "iu":
            lo = max(int(np.floor(self.lo)), 0) if d.kind == "u" else int(np.floor(self.lo))
            return rng.integers(lo, max(int(np.ceil(self.hi)), lo + 1), self.shape, endpoint=True).astype(d)
        x = rng.uniform(self.lo, self.hi, self.shape)
        return (x + 1j * rng.uniform(self.lo, self.hi, self.shape)).astype(d) if d.kind == "c" else x.astype(d)


@dataclass(frozen=True)
class Case:
    """``call(f, *arrays)`` for each function f of ``names``.

    Args:
        lib: the call gets the library, fx or jax, before the function.
        traced: the call may stand in a traced function; else it is made on known arrays only.
        grad: the derivative is compared as well.
        vmap: ... and the batched call.
        tol: the tolerance of values, relative to their size.
        jit_tol: that of compiled values to those computed at once; greater where the function is ill-conditioned.
    """

    names: str
    arrays: tuple[A, ...] = ()
    call: Callable[..., Any] = lambda f, *xs: f(*xs)
    dtypes: tuple[str, ...] = FLOAT
    lib: bool = False
    traced: bool = True
    grad: bool = True
    vmap: bool = True
    tol: float = 2e-5
    jit_tol: float = 1e-6

    def run(self, lib: Any, f: Any, *xs: Any) -> Any:
        return self.call(lib, f, *xs) if self.lib else self.call(f, *xs)


X, V, M = A(), A((3,)), A((3, 3))  # a matrix, a vector, a square
POSITIVE, UNIT, ABOVE = A(lo=0.5, hi=3), A(lo=0.2, hi=0.9), A(lo=1.2, hi=3)
INDEX, WHERE, FLAGS = A((2, 3), 0, 2, "int32"), A((2, 3), dtype="bool"), A((3,), dtype="bool")
COUNT = A((5,), 0, 3, "int32")
