"""What runs a graph: the Executable protocol, the reference backend, and the door to ``jit``.

This is the only module that imports ``jit``, and it does so when the first graph is compiled, so that
``import fx`` loads no compiler.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from .array import Array
from .config import ALERT, config
from .errors import BackendError
from .interpret import run_graph
from .ir import Graph
from .passes import optimize
from .silence import silent_context
from .sizes import Sizes

__all__ = ["Executable", "ReferenceExecutable", "compile_graph", "eager", "native", "resizable"]


class Executable(Protocol):
    """A compiled graph."""

    compile_seconds: float
    kernels_compiled: int
    kernels_from_cache: int

    def __call__(self, *args: np.ndarray) -> Sequence[np.ndarray]: ...

    def explain(self) -> str: ...

    def loops(self) -> str: ...

    def inspect_llvm(self) -> str: ...

    def inspect_asm(self) -> str: ...

    def cost_analysis(self) -> dict[str, Any]: ...

    def profile(self, *args: np.ndarray) -> list[tuple[str, int]]: ...


class ReferenceExecutable:
    """Runs the optimised graph in NumPy, equation by equation."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.compile_seconds = 0.0
        self.kernels_compiled = self.kernels_from_cache = 0

    def __call__(self, *args: np.ndarray) -> Sequence[np.ndarray]:
        given = {id(a) for a in args}
        return [o.copy() if id(o) in given or o.base is not None else o for o in run_graph(self.graph, args)]

    def explain(self) -> str:
        return f"backend 'reference': {len(self.graph.eqns)} equations, each run by its NumPy reference\n{self.graph}"

    def loops(self) -> str:
        return "# backend 'reference': NumPy runs the equations one by one; there are no loops"

    def inspect_llvm(self) -> str:
        return "; backend 'reference': NumPy runs the equations one by one; there is no LLVM IR"

    def inspect_asm(self) -> str:
        return "# backend 'reference': NumPy runs the equations one by one; there is no machine code of ours"

    def cost_analysis(self) -> dict[str, Any]:
        return {"equations": len(self.graph.eqns)}

    def profile(self, *args: np.ndarray) -> list[tuple[str, int]]:
        start = time.perf_counter_ns()
        self(*args)
        return [("reference", time.perf_counter_ns() - start)]


def native() -> Any:
    """The compiler package, loaded when it is first needed."""
    import jit  # the one local import of the library: compiling loads it, `import fx` must not

    return jit


@functools.cache
def eager() -> Any:
    """Native functions for operations that are evaluated at once (``jit.calls.eager``); None where there can be none."""
    context = silent_context()
    if context is None:
        return None
    try:
        return native().Eager(Array, ("_buffer", "weak_type", "_owned"), ALERT, context)
    except (BackendError, ImportError):
        return None


def resizable(graph: Graph, sizes: Sizes, donate: Sequence[int] = ()) -> Any:
    """A graph with sizes as a program that can be filled in (``jit.resizable``), for the native backend."""
    jit = native()
    return jit.resizable(optimize(graph), sizes, jit.Options(engine=config.engine, donate=tuple(donate)))


def compile_graph(graph: Graph, *, backend: str | None = None, donate: Sequence[int] = ()) -> Executable:
    """Optimises and compiles a closed graph.

    Args:
        backend: "native" or "reference"; default ``fx.config.backend``.
        donate: inputs whose memory may be reused for outputs.
    """
    start = time.perf_counter()
    optimised = optimize(graph)
    if (backend or config.backend) == "reference":
        return ReferenceExecutable(optimised)
    jit = native()
    executable = jit.compile(optimised, jit.Options(engine=config.engine, donate=tuple(donate)))
    executable.compile_seconds = time.perf_counter() - start
    return executable
