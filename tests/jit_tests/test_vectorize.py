"""Loops marked ``vectorize``: the vector form equals the scalar one, for every size and every kind of body."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from loop_harness import (
    LEVELS,
    N,
    axpy,
    call,
    dtype_of,
    level,
    reduction,
    run_everywhere,
    run_native,
    samples,
)

from jit import native
from jit.loop_ir import (
    KernelBuilder,
    Ty,
    b1,
    f16,
    f32,
    f64,
    i32,
    i64,
    lift,
    maximum,
    op_,
    select,
    u8,
    u64,
)  # fmt: skip
from jit.target import host

SIZES = (0, 1, 3, 7, 8, 9, 31, 32, 33, 64, 100)


def elementwise(b: KernelBuilder, i: Any, x: str, y: str, out: str) -> None:
    """A body with locals, a uniform value, a shifted load, comparisons of the index and a value made from it."""
    scale = b.load(y, 0)
    v = b.let("v", b.load(x, i + 1) * scale - b.load(x, i))
    w = b.var("w", maximum(v, -1.0))
    b.assign(w, select(i < b.hi - 5, w * v, w))
    near = op_("lt", lift(3, i64), i) & (i * 2 < b.hi) & (i - 9).ne(0)
    b.store(out, i, w + (7 - i * 3).cast(i32).cast(f32) + select(scale > 0.0, v, w) + select(near, 10.0, v))


def test_vectorized_equals_scalar_for_every_size() -> None:
    kernels = []
    for vectorize in (False, True):
        b = KernelBuilder(f"loop_{vectorize}")
        x, y, out = (b.pointer(n, f32) for n in ("x", "y", "out"))
        with b.for_("i", b.lo, b.hi, vectorize=vectorize) as i:
            elementwise(b, i, x, y, out)
        kernels.append(b.build())
    rng = np.random.default_rng(0)
    for name in LEVELS[:1] + LEVELS[2:4]:
        target = level(name)
        codes = native.load_object(native.compile_object(kernels, target), [k.name for k in kernels])
        for n in SIZES:
            x, y = rng.standard_normal(n + 1).astype(np.float32), np.array([0.7], np.float32)
            a, b_ = np.zeros((2, n + 2), np.float32)
            call(codes["loop_False"], [x, y, a], 0, n)
            call(codes["loop_True"], [x, y, b_], 0, n)
            np.testing.assert_array_equal(a, b_)
            assert not a[n:].any()


REDUCTIONS = [
    *((n, t) for n in ("add", "sub", "mul", "min", "max", "minnum", "maxnum") for t in (f32, f64, i32, u8)),
    *((n, t) for n in ("and", "or", "xor") for t in (i32, u64, b1)), ("fma", f32), ("fma", f64), ("add", f16), ("max", f16),
]  # fmt: skip


@pytest.mark.parametrize("name,ty", REDUCTIONS, ids=str)
def test_vectorized_reductions(name: str, ty: Ty) -> None:
    d = dtype_of(ty)
    scalar, vector = reduction(name, ty, False), reduction(name, ty, True)
    for n in SIZES:
        if ty.is_float:
            x = np.random.default_rng(n).uniform(0.5, 1.5, 2 * n + 1).astype(d)
            start = np.array([0.25, 3], d)
        else:
            x = samples(ty)[: 2 * n + 1].copy() if 2 * n < N else np.resize(samples(ty), 2 * n + 1)
            start = samples(ty, 5)[:2].copy()
        a, b = start.copy(), start.copy()
        run_native(scalar, [x, a, n], 0, 2)
        run_native(vector, [x, b, n], 0, 2)
        if ty.is_float:
            np.testing.assert_allclose(b, a, rtol=200 * np.finfo(d).eps)
        else:
            np.testing.assert_array_equal(a, b)


def test_vectorized_maximum_propagates_nan() -> None:
    for name in ("min", "max"):
        for where in (0, 40, 99):
            x = np.ones(100, np.float32)
            x[where] = np.nan
            out = np.zeros(1, np.float32)
            run_native(reduction(name, f32, True), [x, out, 100], 0, 1)
            assert np.isnan(out[0])


def test_a_reduction_has_several_accumulators_of_full_width() -> None:
    if host().arch != "x86_64" or host().vector_bits < 256:
        pytest.skip("reads AVX assembly")
    text = native.assembly([reduction("add", f32, True)], host().restricted("avx2"))
    sums = set(re.findall(r"vaddps\s+\S+, %ymm\d+, (%ymm\d+)", text))
    assert len(sums) >= 4


def test_elementwise_code_has_full_width_and_no_contraction() -> None:
    if host().arch != "x86_64" or host().vector_bits < 256:
        pytest.skip("reads AVX assembly")
    text = native.assembly([axpy()], host().restricted("avx2"))
    assert re.search(r"vmovups\s+%ymm", text)
    assert "vfmadd" not in text  # jit changes nothing but time


@pytest.mark.parametrize("kind", ["strided", "gather", "reversed", "branch", "division"])
def test_loops_that_are_left_to_llvm(kind: str) -> None:
    b = KernelBuilder("left")
    x, index, out, n = b.pointer("x", f32), b.pointer("index", i32), b.pointer("out", f32), b.integer("n")
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        match kind:
            case "strided":
                b.store(out, i, b.load(x, i * n) + 1.0)
            case "gather":
                b.store(out, i, b.load(x, b.load(index, i).cast(i64)) + 1.0)
            case "reversed":
                b.store(out, i, b.load(x, b.hi - i) + 1.0)
            case "branch":
                with b.if_(b.load(index, i) > 20):
                    b.store(out, i, b.load(x, i) + 1.0)
            case "division":
                b.store(out, i, b.load(x, i % n * n + i / n) + 1.0)
    rng = np.random.default_rng(0)
    x_values, index_values = rng.standard_normal(200).astype(np.float32), rng.integers(0, 40, 50).astype(np.int32)
    run_everywhere(b.build(), [x_values, index_values, np.zeros(50, np.float32), 3], 0, 50)
