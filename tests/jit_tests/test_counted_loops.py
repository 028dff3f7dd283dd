"""Loops that LLVM's strength reduction does not know: their addresses, added up by the writer, are those of the loop language."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from loop_harness import level, run_everywhere, strided_sum

from jit.llvm.emit import emit_module
from jit.llvm.places import counted_loops
from jit.loop_builder import KernelBuilder
from jit.loop_ir import Const, Kernel, f32, f64, i64, op_
from jit.loop_walk import loops
from jit.target import host

LANES = 4


def walks() -> Kernel:
    """Addresses that grow, shrink, stand still, depend on three indices, on their product, or on a minimum."""
    b = KernelBuilder("walks")
    x, out = b.pointer("x", f32), b.pointer("out", f32)
    n, m, rows, columns, first = (b.integer(name) for name in ("n", "m", "rows", "columns", "first"))
    with b.for_("r", b.lo, b.hi) as r, b.for_("i", first, n, step=3) as i, b.for_("j", 1, m, step=2) as j:
        at = (i * columns + j) * LANES + r * rows
        near = b.load(x, at + 5, lanes=LANES)
        back = b.load(x, r * rows + (m - 1 - j) * LANES, lanes=LANES)
        crossed = b.load(x, i * j + op_("min", j * columns, rows) - r + 9, lanes=LANES)
        chain = at + columns + columns + columns + columns  # more terms than are added up ahead of a loop
        with b.if_(j > i):
            b.store(out, chain - j * 2, near + crossed)
        b.store(out, (r * n + i) * m + j + at * 0, b.load(out, (r * n + i) * m + j, lanes=LANES) + back * near)
    return b.build()


@pytest.mark.parametrize("target", ["host", "sse2", "scalar"])
def test_addresses_are_those_of_the_language(target: str) -> None:
    kernel = walks()
    assert len(counted_loops(kernel, level(target))) == 3
    rng = np.random.default_rng(0)
    for n, m, rows, columns, first in itertools.product((0, 8), (0, 7), (16, 40), (1, 5), (0, 2)):
        x = rng.standard_normal(4000, dtype=np.float32)
        run_everywhere(
            kernel, [x, np.zeros(4000, np.float32), n, m, rows, columns, first], 2, 5, level(target), numba=False
        )


def test_small_loops_of_scalars_and_those_that_fill_the_registers_stay_with_llvm() -> None:
    assert not counted_loops(strided_sum(), host())
    b = KernelBuilder("full")
    x = b.pointer("x", f64)
    sums = [b.var(f"s{k}", Const(0.0, f64.vector(2))) for k in range(host().vector_registers // 4)]
    with b.for_("i", b.lo, b.hi) as i:
        for k, s in enumerate(sums):
            b.assign(s, s + b.load(x, i * len(sums) + k, lanes=2))
    for k, s in enumerate(sums):
        b.store(x, Const(2 * k, i64), s)
    kernel = b.build()
    assert list(loops(kernel.body)) and not counted_loops(kernel, host())
    assert "freeze" not in emit_module([kernel], host()) and "freeze" in emit_module([walks()], host())
