"""How tracing and compiling grow with the number of equations: ``python -m benchmarks.equations [--jax]``.

An unrolled Python loop, ``x = tanh(x * a_i + b_i) @ w`` every fourth time, of 500 to 8,000 equations; CPU seconds of the
trace, of the passes and of the rest of compiling (kernels that are stored on disk are not compiled again), and wall-clock
seconds of JAX's trace and compile with ``--jax``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def unrolled(xp: Any, equations: int) -> Callable[..., Any]:
    def f(x: Any, w: Any) -> Any:
        for i in range(equations // 4):
            x = xp.tanh(x * (0.5 + i / equations) + 0.01)
            if i % 4 == 0:
                x = x @ w
        return x

    return f


def measure(equations: int) -> tuple[int, float, float, float]:
    """Equations of the graph; CPU seconds of trace, passes, compile."""
    import fx
    import jit
    from fx.passes import optimize

    x, w = np.ones((4, 8), np.float32), np.ones((8, 8), np.float32) / 8
    start = time.process_time()
    graph = fx.jit(unrolled(fx.numpy, equations)).lower(x, w).graph
    traced = time.process_time()
    optimised = optimize(graph)
    passed = time.process_time()
    jit.compile(optimised)(x, w)
    return len(graph.eqns), traced - start, passed - traced, time.process_time() - passed


def jax_seconds(equations: int) -> float:
    import jax

    x, w = np.ones((4, 8), np.float32), np.ones((8, 8), np.float32) / 8
    start = time.perf_counter()
    jax.block_until_ready(jax.jit(unrolled(jax.numpy, equations))(x, w))
    return time.perf_counter() - start


def main() -> None:
    beside = "--jax" in sys.argv
    measure(100)  # imports, and kernels for the store
    print("equations     trace    passes   compile   per equation" + ("       jax" if beside else ""))
    for wanted in (500, 1000, 2000, 4000, 8000):
        n, trace, passes, compile_ = measure(wanted)
        line = f"{n:9d} {trace:8.2f}s {passes:8.2f}s {compile_:8.2f}s {(trace + passes + compile_) / n * 1e6:11.0f} us"
        print(line + (f" {jax_seconds(wanted):8.2f}s" if beside else ""), flush=True)


if __name__ == "__main__":
    main()
