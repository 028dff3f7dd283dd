"""Traces functions over primitives, compiles them and holds them against the NumPy reference evaluator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import jit
from fx import dtypes
from fx.interpret import run_graph
from fx.ir import Aval, Graph
from fx.trace import trace_flat

TOLERANCE = {
    "float16": 2e-3,
    "bfloat16": 2e-2,
    "float32": 1e-5,
    "complex64": 1e-5,
    "float64": 1e-12,
    "complex128": 1e-12,
}


def graph_of(f: Callable[..., Sequence[Any]], *arrays: np.ndarray) -> Graph:
    """The graph of ``f`` on arrays of these shapes and dtypes."""
    graph, captures = trace_flat(f, [Aval(a.shape, a.dtype) for a in arrays], kind="jit")
    assert not captures
    return graph


def agree(found: np.ndarray, wanted: np.ndarray, what: str = "", scale: float = 1.0) -> None:
    """Equal shape and dtype, and values within the dtype's tolerance of the largest one."""
    assert found.shape == wanted.shape and found.dtype == wanted.dtype, (
        what,
        found.shape,
        found.dtype,
        wanted.shape,
        wanted.dtype,
    )
    if not dtypes.is_inexact(wanted.dtype):
        np.testing.assert_array_equal(found, wanted, err_msg=what)
        return
    wide = np.complex128 if wanted.dtype.kind == "c" else np.float64
    a, b = found.astype(wide), wanted.astype(wide)
    finite = np.abs(b[np.isfinite(b)])
    tolerance = TOLERANCE[wanted.dtype.name] * scale
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, finite.max(initial=0.0)), err_msg=what)


def check(f: Callable[..., Sequence[Any]], *arrays: np.ndarray, scale: float = 1.0, **options: Any) -> jit.Executable:
    """Compiles ``f`` with and without fusion; both must agree with the reference.  Returns the fused executable."""
    graph = graph_of(f, *arrays)
    wanted = run_graph(graph, arrays)
    executables = [jit.compile(graph, jit.Options(fuse=fuse, verify=True, **options)) for fuse in (True, False)]
    for e in executables:
        for k, (o, w) in enumerate(zip(e(*arrays), wanted, strict=True)):
            agree(o, w, f"output {k}\n{e.explain()}", scale)
    return executables[0]


def numbers(shape: Sequence[int], dtype: Any, seed: int = 0) -> np.ndarray:
    """Small numbers of any dtype, exact in all of them."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    low = 0 if dtype.kind == "u" else -4
    a = rng.integers(low, 5, shape)
    return (a + 1j * rng.integers(-4, 5, shape)).astype(dtype) if dtype.kind == "c" else a.astype(dtype)
