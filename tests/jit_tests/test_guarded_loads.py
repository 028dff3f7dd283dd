"""Loops that read an array where a condition holds: their vector form reads what the scalar one does, and nothing else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from loop_harness import compiled, dtype_of, guarded_pages, level

import fx
import fx.numpy as fnp
from jit import loop_runtime
from jit.loop_builder import KernelBuilder
from jit.loop_ir import Const, Kernel, Ty, f16, f32, u8
from jit.loop_opt.vectorize import vectorize
from jit.loop_print import print_kernel
from jit.loop_verify import verify_kernel
from jit.loop_walk import has_vectorizable_loops

SHIFT = 3


def padded(ty: Ty, stride: int, operations: int, reduces: bool) -> Kernel:
    """``out[i] = polynomial(x[i - SHIFT] inside of it, else 0; y[0] and z[i] where a flag is set, else 0)``."""
    b = KernelBuilder("padded")
    x, y, z, out = (b.pointer(n, ty) for n in ("x", "y", "z", "out"))
    n, flag = b.integer("n"), b.integer("flag")
    total = b.var("total", b.load(out, 0))
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        at = b.let("at", i - SHIFT)
        ok, also = b.let("ok", (at >= 0) & (at < n)), b.let("also", flag > 0)
        parts = []
        for buf, index, inside in ((x, at * stride, ok), (y, Const(0, i.ty), also), (z, i * stride, also)):
            v = b.var("v", Const(0, ty))
            with b.if_(inside):
                b.assign(v, b.load(buf, index))
            parts.append(v)
        p = parts[0] + parts[1] * parts[2]
        for k in range(operations):
            p = b.let("p", p * parts[0] + k)
        if reduces:
            b.assign(total, total + p)
        else:
            b.store(out, i, p)
    if reduces:
        b.store(out, 0, total)
    return b.build()


@pytest.mark.parametrize("name", ["host", "avx2", "sse2"])
def test_what_a_condition_leaves_out_is_zero_and_not_read(name: str) -> None:
    """The arrays end where a page that cannot be read begins; ``z`` has no elements where the flag says so."""
    target = level(name)
    with guarded_pages() as (page, size):
        for ty, stride, operations, reduces in itertools.product((f32, f16, u8), (1, 2), (0, 12), (False, True)):
            kernel = padded(ty, stride, operations, reduces)
            if ty.bits > 8:  # of bytes there may be more lanes than the loop language is written with
                verify_kernel(vectorize(kernel, target))
            run, text, d = compiled(kernel, target), print_kernel(kernel), dtype_of(ty)
            for n, flag in itertools.product((1, 9, 33, 70), (0, 1)):
                count = n * stride
                x = np.frombuffer(page, d, count, size - d.itemsize * count)
                x[:] = np.linspace(0, 2, count).astype(d)
                y, z = np.full(1, 2, d), (np.arange((n + SHIFT) * stride) % 3).astype(d)
                outs = np.zeros((2, n + SHIFT + 1), d)
                run([x, y, z if flag else x[count:], outs[0], n - SHIFT, flag], 0, n)
                loop_runtime.run(text, [x.copy(), y, z, outs[1], n - SHIFT, flag], 0, n)
                tolerance = 200 * np.finfo(d).eps if ty.is_float else 0
                np.testing.assert_allclose(outs[0].astype(np.float64), outs[1].astype(np.float64), rtol=tolerance)


def test_loads_under_a_condition_do_not_leave_a_loop_to_llvm() -> None:
    target = level("host")
    left = has_vectorizable_loops(vectorize(padded(f32, 1, 0, False), target).body)
    assert left == (not target.masked_accesses)


@pytest.mark.parametrize("dtype", ["float32", "uint8", "complex64"])
@pytest.mark.parametrize("shape", [(1,), (40,), (1000,), (7, 33), (0, 4), (5, 6, 40)])
def test_padded_rows_are_written_in_parts(shape: tuple[int, ...], dtype: str) -> None:
    """Borders wider than what is padded, too, and rows that are border from end to end."""
    x = (np.arange(np.prod(shape)).reshape(shape) % 100 + 1).astype(dtype)
    for width in (3, ((40, 0),) * len(shape), ((0, 40),) * len(shape)):
        for f in (
            lambda m, x: m.pad(x, width),
            lambda m, x: m.pad(x + x, width).T,
            lambda m, x: m.pad(x[::-1], width, constant_values=7) + 1,
        ):
            np.testing.assert_array_equal(np.asarray(fx.jit(lambda x: f(fnp, x))(x)), f(np, x))
