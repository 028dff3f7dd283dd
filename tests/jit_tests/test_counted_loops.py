"""Loops that LLVM's strength reduction does not know: their addresses, added up by the writer, are those of the loop language."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from loop_harness import level, run_everywhere

from jit.llvm.emit import emit_module
from jit.llvm.places import counted_loops
from jit.loop_builder import KernelBuilder
from jit.loop_ir import Const, Kernel, f32, op_
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
    assert len(counted_loops(kernel)) == 3
    rng = np.random.default_rng(0)
    for n, m, rows, columns, first in itertools.product((0, 8), (0, 7), (16, 40), (1, 5), (0, 2)):
        x = rng.standard_normal(4000, dtype=np.float32)
        run_everywhere(
            kernel, [x, np.zeros(4000, np.float32), n, m, rows, columns, first], 2, 5, level(target), numba=False
        )


def nested_sums() -> Kernel:
    """Two loops around sums of several rows, whose addresses have an offset in common that the outer one moves."""
    b = KernelBuilder("nested")
    x, out = b.pointer("x", f32), b.pointer("out", f32)
    n, m, outer, inner, row = (b.integer(name) for name in ("n", "m", "outer", "inner", "row"))
    with b.for_("r", b.lo, b.hi) as r:
        starts = [b.let("start", r * 8 + row * k) for k in range(3)]
        sums = [b.var(f"s{k}", Const(0.0, f32.vector(LANES))) for k in range(3)]
        with b.for_("i", 0, n) as i:
            with b.for_("j", 1, m) as j:
                at = b.let("at", i * outer + j * inner)
                b.prefetch(x, at + starts[2] + 64)
                for k, s in enumerate(sums):
                    b.assign(s, s + b.load(x, at + starts[k] + k, lanes=LANES))
        for k, s in enumerate(sums):
            b.store(out, (r * 3 + k) * LANES, s)
    return b.build()


@pytest.mark.parametrize("target", ["host", "sse2", "scalar"])
def test_what_an_outer_loop_adds_to_an_address_is_added_once(target: str) -> None:
    kernel = nested_sums()
    assert len(counted_loops(kernel)) == 3
    x = np.random.default_rng(1).standard_normal(4000, dtype=np.float32)
    for n, m, outer, inner, row in itertools.product((0, 3), (1, 5), (40, 7), (1, 9), (0, 100)):
        run_everywhere(
            kernel, [x, np.zeros(4000, np.float32), n, m, outer, inner, row], 1, 4, level(target), numba=False
        )


def test_loops_are_counted_in_a_way_that_llvm_does_not_know() -> None:
    """But for those inside of a while, whose passes are short."""
    assert "freeze" in emit_module([walks()], host())
    b = KernelBuilder("passes")
    x = b.pointer("x", f32)
    n = b.var("n", b.lo)
    with b.while_(n < b.hi):
        with b.for_("i", 0, n) as i:
            b.store(x, i, b.load(x, i * 2))
        b.assign(n, n + 1)
    kernel = b.build()
    assert list(loops(kernel.body)) and not counted_loops(kernel)
