"""Loops marked ``vectorize``: the vector form equals the scalar one, for every size and every kind of body."""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import Any

import numpy as np
import pytest
from loop_eval import run_kernel
from loop_harness import (
    LEVELS,
    RANDOM_TYPES,
    Generator,
    N,
    axpy,
    call,
    compiled,
    dtype_of,
    guarded_pages,
    level,
    reduction,
    run_everywhere,
    run_native,
    same,
    samples,
)
from machines import x86

from jit import loop_runtime
from jit.llvm import native, objects
from jit.loop_builder import KernelBuilder
from jit.loop_ir import (
    Const,
    For,
    Kernel,
    Let,
    Op,
    Ref,
    Store,
    Ty,
    b1,
    f16,
    f32,
    f64,
    i32,
    i64,
    lift,
    maximum,
    minimum,
    op_,
    select,
    u8,
    u64,
)
from jit.loop_opt.fold import fold
from jit.loop_opt.interleave import interleaved, pipelined
from jit.loop_opt.side_by_side import carries_vectors
from jit.loop_opt.vectorize import vectorize
from jit.loop_print import print_kernel
from jit.loop_verify import verify_kernel
from jit.loop_walk import has_vectorizable_loops, operands, statements
from jit.target import Target, host

SIZES = (0, 1, 3, 7, 8, 9, 31, 32, 33, 64, 100)


def elementwise(b: KernelBuilder, i: Any, x: str, y: str, out: str) -> None:
    """A body with locals, a uniform value, a shifted load, comparisons of the index and a value made from it."""
    scale = b.load(y, 0)
    v = b.let("v", b.load(x, i + 1) * scale - b.load(x, i))
    w = b.var("w", maximum(v, -1.0))
    b.assign(w, select(i < b.hi - 5, w * v, w))
    near = op_("lt", lift(3, i64), i) & (i * 2 < b.hi) & (i - 9).ne(0)
    b.store(out, i, w + (7 - i * 3).cast(i32).cast(f32) + select(scale > 0.0, v, w) + select(near, 10.0, v))


def test_a_branch_on_any_lane_is_vectorised() -> None:
    """Names and uniform values inside the branch, and several copies of the body around it."""
    b = KernelBuilder("rare")
    x, y, out = (b.pointer(n, f32) for n in ("x", "y", "out"))
    total = b.var("total", Const(0.0, f32))
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        v = b.let("v", b.load(x, i))
        w = b.var("w", v)
        with b.if_(op_("any", v > 2.0)):
            shift = b.let("shift", b.load(y, 0) + 1.0)
            b.assign(w, select(v > 2.0, b.let("u", v * shift), w))
        b.assign(total, total + w)
    b.store(out, 0, total)
    kernel = b.build()
    vector = vectorize(kernel, host())
    verify_kernel(vector)
    assert not has_vectorizable_loops(vector.body) or host().vector_bits <= 64
    for n in SIZES:
        values = np.random.default_rng(n).integers(-4, 5, n).astype(np.float32)
        values[: n // 2] = np.minimum(values[: n // 2], 2)
        *_, result = run_everywhere(kernel, [values, np.float32([0.5]), np.zeros(1, np.float32)], 0, n)
        assert result[0] == np.where(values > 2, values * 1.5, values).sum()


def test_vectorized_equals_scalar_for_every_size() -> None:
    kernels = []
    for marked in (False, True):
        b = KernelBuilder(f"loop_{marked}")
        x, y, out = (b.pointer(n, f32) for n in ("x", "y", "out"))
        with b.for_("i", b.lo, b.hi, vectorize=marked) as i:
            elementwise(b, i, x, y, out)
        kernels.append(b.build())
    rng = np.random.default_rng(0)
    for name in LEVELS[:1] + LEVELS[2:4]:
        target = level(name)
        codes = objects.load_object(native.compile_object(kernels, target), [k.name for k in kernels])
        for n in SIZES:
            x, y = rng.standard_normal(n + 1).astype(np.float32), np.array([0.7], np.float32)
            a, b_ = np.zeros((2, n + 2), np.float32)
            call(codes["loop_False"], [x, y, a], 0, n)
            call(codes["loop_True"], [x, y, b_], 0, n)
            np.testing.assert_array_equal(a, b_)
            assert not a[n:].any()


def row_map(ty: Ty) -> Kernel:
    """``out[row, i] = 3 x[row, i] + w[i]`` from ``first`` on."""
    b = KernelBuilder("row_map")
    x, w, out = (b.pointer(n, ty) for n in ("x", "w", "out"))
    n, stride, first = (b.integer(name) for name in ("n", "stride", "first"))
    with b.for_("row", b.lo, b.hi) as row, b.for_("i", first, n, vectorize=True) as i:
        b.store(out, row * stride + i, b.load(x, row * stride + i) * Const(3, ty) + b.load(w, i))
    return b.build()


@pytest.mark.parametrize("ty", [f32, f64, u8], ids=str)
def test_ends_of_rows_take_parts_of_a_vector(ty: Ty) -> None:
    for bits in (256, 512):
        target = dataclasses.replace(x86("avx512"), vector_bits=bits)
        stores = [s for s in statements(vectorize(fold(row_map(ty)), target).body) if isinstance(s, Store)]
        widths = [bits // ty.bits // part for part in (1, 2, 4)]
        assert [s.value.ty.lanes for s in stores] == [w for w, few in zip(widths, (1, 2, 4)) if w >= few] + [1]
    for name in LEVELS:
        code = objects.load_object(native.compile_object([row_map(ty)], level(name)), ["row_map"])["row_map"]
        for n in range(68):
            x = np.arange(3 * (n + 5)).reshape(3, n + 5).astype(dtype_of(ty))
            w, out = np.arange(n).astype(dtype_of(ty)), np.full_like(x, 7)
            call(code, [x, w, out, n, n + 5, n + 20], 0, 3)  # a row that ends before it begins
            assert (out == 7).all()
            call(code, [x, w, out, n, n + 5, 0], 0, 3)
            np.testing.assert_array_equal(out[:, :n], 3 * x[:, :n] + w)
            assert (out[:, n:] == 7).all()


REDUCTIONS = [
    *((n, t) for n in ("add", "sub", "mul", "min", "max", "minnum", "maxnum") for t in (f32, f64, i32, u8)),
    *((n, t) for n in ("and", "or", "xor") for t in (i32, u64, b1)), ("fma", f32), ("fma", f64), ("add", f16), ("max", f16),
]  # fmt: skip


@pytest.mark.parametrize("name,ty", REDUCTIONS, ids=str)
def test_vectorized_reductions(name: str, ty: Ty) -> None:
    d = dtype_of(ty)
    run = [compiled(reduction(name, ty, vector)) for vector in (False, True)]
    for n in SIZES:
        if ty.is_float:
            x = np.random.default_rng(n).uniform(0.5, 1.5, 2 * n + 1).astype(d)
            start = np.array([0.25, 3], d)
        else:
            x = samples(ty)[: 2 * n + 1].copy() if 2 * n < N else np.resize(samples(ty), 2 * n + 1)
            start = samples(ty, 5)[:2].copy()
        a, b = start.copy(), start.copy()
        run[0]([x, a, n], 0, 2)
        run[1]([x, b, n], 0, 2)
        if ty.is_float:
            np.testing.assert_allclose(b, a, rtol=200 * np.finfo(d).eps)
        else:
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("where", ["host", "avx2", "sse2"])
def test_vectorized_extremes_propagate_nan(where: str) -> None:
    """In every lane of every copy of the body, whole vectors or masked ones, or where the reduction starts; else there is none."""
    target = level(where)
    for name, ty in (("min", f32), ("max", f32), ("max", f64)):
        run, d = compiled(reduction(name, ty, True), target), dtype_of(ty)
        numbers = np.random.default_rng(0).standard_normal(150).astype(d)
        for n in (0, 1, 5, 40, 103, 150):
            for at in range(-1, n):
                x, out = numbers[:n].copy(), np.array([numbers[-1]])
                if at >= 0:
                    x[at] = np.nan
                wanted = getattr(np, name)([*x, *out])
                run([x, out, n], 0, 1)
                np.testing.assert_array_equal(out[0], wanted, f"{name} of {n} with NaN at {at}")
            out = np.array([np.nan], d)
            run([numbers[:n].copy(), out, n], 0, 1)
            assert np.isnan(out[0])


def test_what_masked_lanes_compute_does_not_count_as_nan() -> None:
    """They hold zeros, of which this quotient is NaN."""
    b = KernelBuilder("ratio")
    x, out = b.pointer("x", f32), b.pointer("out", f32)
    most = b.var("most", Const(0.0, f32))
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        v = b.let("v", b.load(x, i))
        b.assign(most, maximum(most, v / v))
    b.store(out, 0, most)
    for n in SIZES:
        *_, result = run_everywhere(b.build(), [np.full(n, 3, np.float32), np.zeros(1, np.float32)], 0, n)
        assert result[0] == (n > 0)


def test_a_reduction_has_several_accumulators_of_full_width() -> None:
    text = native.assembly([reduction("add", f32, True)], x86("avx2"))
    sums = set(re.findall(r"vaddps\s+\S+, %ymm\d+, (%ymm\d+)", text))
    assert len(sums) >= 4


def test_elementwise_code_has_full_width_and_no_contraction() -> None:
    text = native.assembly([axpy()], x86("avx2"))
    assert re.search(r"vmovups\s+%ymm", text)
    assert "vfmadd" not in text  # jit changes nothing but time


def test_a_long_chain_takes_four_vectors_side_by_side() -> None:
    """... whether it is one chain or several, but for very long ones where LLVM does not keep their order; where a vector takes as
    long as its parts, if it is one."""

    def chain(serial: bool, length: int = 30) -> Kernel:
        b = KernelBuilder("chain")
        x, out = b.pointer("x", f32), b.pointer("out", f32)
        with b.for_("i", b.lo, b.hi, vectorize=True) as i:
            v = b.let("v", b.load(x, i))
            total = v
            for k in range(length):
                total = b.let("t", total * 1.5 + v) if serial else b.let("t", total + v * (0.5 * k) * v)
            b.store(out, i, total)
        return b.build()

    def lanes(serial: bool, registers: int, length: int = 30, cpu: str = "x86-64-v3", bits: int = 256) -> int:
        target = dataclasses.replace(host(), cpu=cpu, vector_bits=bits, vector_registers=registers)
        vector = vectorize(fold(chain(serial, length)), target)
        return max(s.value.ty.lanes for s in statements(vector.body) if isinstance(s, Let))

    assert [lanes(serial, registers) for registers in (16, 32) for serial in (True, False)] == [32] * 4
    assert [lanes(serial, 32, cpu="znver4", bits=512) for serial in (True, False)] == [64, 32]
    assert [lanes(True, 16, length=100, bits=bits) for bits in (128, 256)] == [8, 32]
    x = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    for n in (0, 3, 8, 37, 100):
        run_everywhere(chain(True), [x, np.zeros(100, np.float32)], 0, n, numba=n == 37)


def test_a_wide_chain_takes_one_vector_where_a_vector_takes_as_long_as_its_parts() -> None:
    """... as its constants fill the registers; units of full width wait for results, and work on two, whose rounds overlap."""

    def chain(ways: int) -> Kernel:
        b = KernelBuilder("chain")
        x, out = b.pointer("x", f32), b.pointer("out", f32)
        with b.for_("i", b.lo, b.hi, vectorize=True) as i:
            v = b.let("v", b.load(x, i))
            parts = [v] * ways
            for k in range(48 // ways):
                parts = [b.let("t", t * 1.5 + v * (0.5 * k)) for t in parts]
            total = parts[0]
            for t in parts[1:]:
                total = b.let("sum", total + t)
            b.store(out, i, total)
        return b.build()

    def lanes(ways: int, cpu: str) -> int:
        target = dataclasses.replace(host(), cpu=cpu, vector_bits=512, vector_registers=32)
        vector = vectorize(fold(chain(ways)), target)
        return max(s.value.ty.lanes for s in statements(vector.body) if isinstance(s, Let))

    assert [lanes(ways, "znver4") for ways in (1, 4)] == [32, 16]
    assert [lanes(ways, "x86-64-v4") for ways in (1, 4)] == [64, 32]


def two_chains() -> Kernel:
    """Products and sums that do not wait for each other, a rare lane, and a store into what was read."""
    b = KernelBuilder("two_chains")
    x, out = b.pointer("x", f32), b.pointer("out", f32)
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        v = b.let("v", b.load(x, i))
        product = total = v
        for k in range(25):
            product = product * (v if k % 2 else 0.75)
        part = b.var("part", product)
        with b.if_(op_("any", v > 2.0)):
            b.assign(part, select(v > 2.0, b.let("u", v * 3.0), part))
        part = b.let("part", part)
        for k in range(25):
            total = total + (v if k % 2 else 0.25 * k)
        b.store(out, i, part - total)
        b.store(x, i, total)
    return b.build()


def test_chains_that_do_not_wait_for_each_other_are_interleaved() -> None:
    """The values are those of the loop as it was written; every name is known where it is read."""
    target = dataclasses.replace(host(), cpu="znver4", vector_bits=512, vector_registers=32)
    vector = vectorize(fold(two_chains()), target)
    verify_kernel(vector)
    wide = next(s for s in statements(vector.body) if isinstance(s, For))
    values = [s.value for s in wide.body if isinstance(s, Let)]
    kinds = [v.name for v in values if isinstance(v, Op) and v.name in ("mul", "add")]
    assert kinds.count("mul") == kinds.count("add") == 25
    assert sum(a != b for a, b in itertools.pairwise(kinds)) > 20  # one after the other there is one change
    for n in (0, 5, 63, 64, 67, 200):
        x = np.random.default_rng(n).uniform(-2.2, 2.2, n).astype(np.float32)
        run_everywhere(two_chains(), [x, np.zeros(n, np.float32)], 0, n, numba=n == 67)


def pipelines() -> Target:
    """A machine with 32 registers of 16 float32, units as wide, on which rounds of a long body overlap."""
    return dataclasses.replace(host(), cpu="x86-64-v4", vector_bits=512, vector_registers=32)


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 127, 128, 129, 300])
def test_rounds_of_a_long_body_overlap(n: int) -> None:
    """... whatever number of them there is: the last one looks ahead to nothing beyond the arrays, and rare lanes keep theirs."""
    vector = vectorize(fold(two_chains()), pipelines())
    verify_kernel(vector)
    assert carries_vectors(vector, pipelines())
    x = np.random.default_rng(n).uniform(-2.2, 2.2, n).astype(np.float32)
    found = []
    for kernel in (two_chains(), vector):
        arrays = {"x": x.copy(), "out": np.zeros(n, np.float32)}
        run_kernel(kernel, arrays, 0, n)
        found.append(arrays)
    for name, values in found[0].items():
        np.testing.assert_array_equal(found[1][name], values)


def test_a_pipelined_body_is_cut_in_the_middle_of_its_longest_chain() -> None:
    """A round computes every operation of the body once, those of the first half for the block after."""
    vector = vectorize(fold(two_chains()), pipelines())
    loop = next(s for s in statements(vector.body) if isinstance(s, For))
    ahead = next(s.name for s in loop.body if isinstance(s, Let))
    following: set[str] = {ahead}  # what is computed for the block after
    counts: dict[bool, int] = {True: 0, False: 0}
    for s in loop.body:
        if isinstance(s, Let) and isinstance(s.value, Op) and s.value.name == "mul":
            counts[not following.isdisjoint(_read(s))] += 1
        if isinstance(s, Let) and not following.isdisjoint(_read(s)):
            following.add(s.name)
    assert sum(counts.values()) == 25
    assert min(counts.values()) >= 11


def _read(node: Any) -> set[str]:
    return {node.name} if isinstance(node, Ref) else set().union(*map(_read, operands(node)))


def test_rounds_that_would_pass_on_many_booleans_do_not_overlap() -> None:
    """Registers for them are few: x**y of float64 took a fifth more time."""

    def chain(kept: int) -> Kernel:
        b = KernelBuilder("kept")
        x, out = b.pointer("x", f32), b.pointer("out", f32)
        with b.for_("i", b.lo, b.hi, vectorize=True) as i:
            v = b.let("v", b.load(x, i))
            signs = [b.let("sign", v * (k + 2.0) > v + k) for k in range(kept)]
            total = v
            for k in range(48):
                total = b.let(
                    "t",
                    select(signs[k % kept], total * 1.5, total + v)
                    if kept and k in (2, 3, 4, 45, 46, 47)
                    else total * 1.5,
                )
            b.store(out, i, total)
        return b.build()

    overlaps = [carries_vectors(vectorize(fold(chain(kept)), pipelines()), pipelines()) for kept in (0, 3)]
    assert overlaps == [True, False]
    run_everywhere(chain(3), [np.linspace(-2, 2, 300, dtype=np.float32), np.zeros(300, np.float32)], 0, 300)


def test_what_is_computed_twice_has_one_name() -> None:
    """... but for what a branch has changed in between."""
    b = KernelBuilder("twice")
    x, out = b.pointer("x", f32), b.pointer("out", f32)
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        v = b.let("v", b.load(x, i))
        part = b.var("part", v * 0.5)
        first = b.let("first", part + 1.0)
        with b.if_(op_("any", v > 2.0)):
            b.assign(part, select(v > 2.0, v * 3.0, part))
        second = b.let("second", part + 1.0)
        total = b.let("one", v - 7.0) * b.let("other", v - 7.0)
        for _ in range(44):
            total = b.let("t", total * 0.75)
        b.store(out, i, total + first * second)
    vector = vectorize(fold(b.build()), pipelines())
    loop = next(s for s in statements(vector.body) if isinstance(s, For))
    names = [s.value.name for s in loop.body if isinstance(s, Let) and isinstance(s.value, Op)]
    assert (names.count("sub"), names.count("add")) == (1, 3)
    run_everywhere(b.build(), [np.linspace(-3, 3, 300, dtype=np.float32), np.zeros(300, np.float32)], 0, 300)


def test_rounds_of_rows_do_not_overlap() -> None:
    """... of which there may be few: one round more would take long."""
    b = KernelBuilder("rows")
    x, out, width = b.pointer("x", f32), b.pointer("out", f32), b.integer("width")
    with b.for_("row", b.lo, b.hi) as row, b.for_("i", 0, width, vectorize=True) as i:
        total = b.let("v", b.load(x, row * width + i))
        for _ in range(48):
            total = b.let("t", total * 0.75)
        b.store(out, row * width + i, total)
    assert not carries_vectors(vectorize(fold(b.build()), pipelines()), pipelines())


def test_rounds_of_a_body_that_divides_integers_do_not_overlap() -> None:
    """The round before the first one has nothing to divide by, which would end the process."""
    b = KernelBuilder("divides")
    x, y, out = b.pointer("x", i32), b.pointer("y", i32), b.pointer("out", i32)
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        total, divisor = b.let("v", b.load(x, i)), b.let("divisor", b.load(y, 0))
        for _ in range(48):
            total = b.let("t", total * 3 + 1)
        b.store(out, i, total // divisor)
    assert not carries_vectors(vectorize(fold(b.build()), pipelines()), pipelines())
    args = [np.arange(300, dtype=np.int32), np.array([7], np.int32), np.zeros(300, np.int32)]
    run_everywhere(b.build(), args, 0, 300, numba=False)


@pytest.mark.parametrize("order", [interleaved, pipelined])
def test_a_loop_that_reads_what_it_has_stored_keeps_its_order(order: Any) -> None:
    b = KernelBuilder("stored")
    x = b.pointer("x", f32)
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        b.store(x, i, b.load(x, i) + 1.0)
        b.store(x, i, b.load(x, i) * 2.0)
    loop = next(s for s in statements(vectorize(b.build(), host()).body) if isinstance(s, For))
    assert order(loop, 4, lambda name: name) is loop


def short_rows(width: int) -> Kernel:
    """Rows of a few elements, written out: ``out[i, j] = x[i, j] - sum_j x[i, j]``."""
    b = KernelBuilder("short_rows")
    x, out = b.pointer("x", f32), b.pointer("out", f32)
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        row = [b.let("v", b.load(x, i * width + j)) for j in range(width)]
        total = row[0]
        for v in row[1:]:
            total = b.let("sum", total + v)
        for j, v in enumerate(row):
            b.store(out, i * width + j, v - total)
    return b.build()


def test_what_is_read_element_by_element_takes_one_vector_at_a_time() -> None:
    """Wide vectors, several side by side, made code of thousands of lines out of rows of ten, and that no faster."""
    for bits, lanes in ((512, 8), (256, 8), (128, 4)):
        vector = vectorize(fold(short_rows(10)), dataclasses.replace(host(), vector_bits=bits))
        used = {s.value.ty.lanes for s in statements(vector.body) if isinstance(s, Let)}
        assert used == {1, lanes}
    x = np.random.default_rng(0).standard_normal(37 * 10).astype(np.float32)
    for n in (0, 3, 8, 37):
        run_everywhere(short_rows(10), [x, np.zeros(370, np.float32)], 0, n, numba=n == 37)


def memory_loop(kind: str) -> Kernel:
    """``out = f(x)`` with one kind of access that is more than a step of one."""
    b = KernelBuilder("memory")
    x, index, out = b.pointer("x", f32), b.pointer("index", i32), b.pointer("out", f32)
    flags, n = b.pointer("flags", b1), b.integer("n")
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        match kind:
            case "strided":
                b.store(out, i, b.load(x, i * n + 1) + b.load(x, n + i * 3 * n))
            case "far":
                b.store(out, i, b.load(x, i * 7) * select(b.load(flags, i * n), 2.0, b.load(x, i)))
            case "gather":
                b.store(out, i, b.load(x, b.load(index, i).cast(i64)) + b.load(x, i))
            case "gather by a local":
                k = b.let("k", b.load(index, i * n).cast(i64))
                at = b.let("at", minimum(k + i, 39))
                b.store(out, i, b.load(x, at * 2) + 1.0)
            case "division":
                b.store(out, i, b.load(x, i % n * n + i / n) + 1.0)
            case "scatter":
                b.store(out, i * n, b.load(x, i) + b.load(x, i + 1))
            case "update":
                b.store(out, i * n, b.load(out, i * n) + b.load(x, i))
            case "accumulate":
                b.store(out, 3 * b.load(index, i).cast(i64), b.load(x, i) * 2.0)
            case "division by a constant":
                v = b.load(index, i)
                b.store(index, i, v / 7 + v % -3 + select(v > 20, v / 8, v))
            case "division by what varies":
                v = b.load(index, i)
                d = b.let("d", (v & 7) - 9)
                b.store(index, i, v / d + v % d)
            case "reversed":
                b.store(out, b.hi - i, b.load(x, b.hi - i) + b.load(x, i))
            case "every other":
                b.store(out, i * 2, b.load(x, i * 2 + 1) + b.load(x, i * 2))
            case "three interleaved":
                b.store(out, i, b.load(x, i * 3) + b.load(x, i * 3 + 1) * b.load(x, i * 3 + 2))
            case "interleaved":
                b.store(out, i * 2, b.load(x, i * 2) + 1.0)
                b.store(out, i * 2 + 1, b.load(x, i * 2 + 1) - 1.0)
            case "branch":
                with b.if_(b.load(index, i) > 20):
                    b.store(out, i, b.load(x, i) + 1.0)
    return b.build()


BY_THIS_PASS = (
    "strided", "far", "gather", "gather by a local", "division", "scatter", "update", "accumulate", "division by a constant",
    "division by what varies", "reversed", "interleaved", "every other",
)  # fmt: skip
BY_LLVM = ("three interleaved", "branch")


@pytest.mark.parametrize("kind", BY_THIS_PASS + BY_LLVM)
def test_access_to_memory(kind: str) -> None:
    kernel = memory_loop(kind)
    assert has_vectorizable_loops(vectorize(fold(kernel), host()).body) == (kind in BY_LLVM)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(500).astype(np.float32)
    index = rng.permutation(40).astype(np.int32).repeat(4)[: 40 * 4 : 4 if kind == "accumulate" else 1].copy()
    flags = rng.integers(0, 2, 200).astype(bool)
    for n in (0, 3, 8, 37):
        run_everywhere(kernel, [x, index, np.zeros(200, np.float32), flags, 3], 0, n, numba=n == 37)


def test_the_vector_form_is_a_kernel_that_prints_and_runs() -> None:
    for kernel in (axpy(), reduction("add", f32, True), reduction("mul", f64, True), *map(memory_loop, BY_THIS_PASS)):
        verify_kernel(vectorize(fold(kernel), host()))
        assert print_kernel(vectorize(kernel, host().restricted("scalar"))) == print_kernel(kernel)
    form = print_kernel(vectorize(reduction("add", f32, True), dataclasses.replace(host(), vector_bits=128)))
    x, out = np.arange(42, dtype=np.float32), np.zeros(2, np.float32)
    loop_runtime.run(form, [x, out, 21], 0, 2)
    np.testing.assert_array_equal(out, x.reshape(2, 21).sum(1))


def long_body(reduces: bool) -> Kernel:
    """A polynomial of more operations than a short body has; what is left of a range goes through masked vectors."""
    b = KernelBuilder("polynomial")
    x, out = b.pointer("x", f32), b.pointer("out", f32)
    total = b.var("total", b.load(out, 0))
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        v = b.let("v", b.load(x, i))
        p = b.let("p", select(v > 0.0, v, v * v))
        for k in range(9):
            p = b.let("p", p * v + float(k))
        if reduces:
            b.assign(total, total + p)
        else:
            b.store(out, i, p)
    if reduces:
        b.store(out, 0, total)
    return b.build()


@pytest.mark.parametrize("reduces", [False, True])
def test_masked_vectors_touch_nothing_beyond(reduces: bool) -> None:
    """The arrays end where a page that cannot be read begins, and begin behind one."""
    kernel = long_body(reduces)
    form = vectorize(fold(kernel), host())
    verify_kernel(form)
    masks = [e for s in statements(form.body) for e in operands(s) if e.ty == Ty("b", 1, host().lanes(f32))]
    assert bool(masks) == host().masked_accesses
    run, scalar = compiled(kernel), loop_runtime.run
    text = print_kernel(kernel)
    with guarded_pages() as (page, size):
        for n in (0, 1, 7, 8, 9, 15, 16, 23, 24, 31):
            for lo in (0, 3) if n > 3 else (0,):
                x = np.frombuffer(page, np.float32, n, size - 4 * n)
                x[:] = np.linspace(-1, 1, n, dtype=np.float32)
                room = np.zeros(max(n, 1), np.float32)
                expected = room.copy()
                scalar(text, [x.copy(), expected], lo, n)
                run([x, room], lo, n)
                np.testing.assert_allclose(room, expected, rtol=1e-6)
                if not reduces:
                    values = x.copy()
                    run([values, x], lo, n)
                    np.testing.assert_array_equal(x[lo:], room[lo:n])
                    np.testing.assert_array_equal(x[:lo], values[:lo])


def test_masked_vectors_print_and_run() -> None:
    if not host().masked_accesses:
        pytest.skip("this machine has no masked accesses")
    for reduces in (False, True):
        kernel = long_body(reduces)
        x = np.linspace(-1, 1, 27, dtype=np.float32)
        outs = np.zeros((2, 27), np.float32)
        for k, out in zip((kernel, vectorize(kernel, host())), outs):
            loop_runtime.run(print_kernel(k), [x, out], 2, 27)
        np.testing.assert_allclose(outs[1], outs[0], rtol=1e-6)


def flagged_body() -> Kernel:
    """A long body that reads booleans and bytes, and stores booleans."""
    b = KernelBuilder("flagged")
    x, flags, levels, above = (
        b.pointer("x", f32),
        b.pointer("flags", b1),
        b.pointer("levels", u8),
        b.pointer("above", b1),
    )
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        v = b.let("v", select(b.load(flags, i), b.load(x, i), b.load(levels, i).cast(f32)))
        p = v
        for k in range(9):
            p = b.let("p", p * v + float(k))
        b.store(above, i, p > 3.0)
        b.store(x, i, p)
    return b.build()


@pytest.mark.parametrize("name", ["host", "avx512", "avx2", "sse2"])
def test_masked_vectors_of_bytes_touch_nothing_beyond(name: str) -> None:
    target = level(name)
    kernel = flagged_body()
    form = vectorize(fold(kernel), target)
    verify_kernel(form)
    lanes = target.lanes(f32)
    masks = [s for s in statements(form.body) if isinstance(s, Let) and s.value.ty == Ty("b", 1, lanes)]
    assert any("mask" in s.name for s in masks) == target.masked_bytes
    run, text = compiled(kernel, target), print_kernel(kernel)
    with guarded_pages() as (page, size), guarded_pages() as (other, _):
        for n in (0, 1, 7, 8, 9, 15, 16, 17, 31, 33):
            flags = np.frombuffer(page, np.bool_, n, size - n)
            above = np.frombuffer(other, np.bool_, n, size - n)
            flags[:], above[:] = np.arange(n) % 3 == 0, False
            x, levels = (
                np.linspace(-1, 1, n + 1, dtype=np.float32)[:n].copy(),
                np.arange(n + 1, dtype=np.uint8)[:n].copy(),
            )
            wanted, known = x.copy(), above.copy()
            loop_runtime.run(text, [wanted, flags.copy(), levels, known], 0, n)
            run([x, flags, levels, above], 0, n)
            np.testing.assert_allclose(x, wanted, rtol=1e-5)
            np.testing.assert_array_equal(above, known)


def test_fold() -> None:
    b = KernelBuilder("fold")
    x, out, n = b.pointer("x", i32), b.pointer("out", i32), b.integer("n")
    two = b.let("two", Const(4, i32) / 2)
    by_zero = b.let("by_zero", two.eq(0))
    with b.for_("i", b.lo, b.hi) as i:
        b.store(out, i, select(by_zero | two.eq(-1), 7, b.load(x, i + Const(3, i64) * 2 - 6) / select(by_zero, 1, two)))
        with b.if_((n > 2) & ~Const(False, b1)):
            b.store(out, i, Const(250, u8).cast(i32) + (Const(200, u8) + 100).cast(i32) - Const(-7, i32) % 4)
    text = print_kernel(fold(b.build()))
    assert "out[i] = div(x[i + 6 - 6], i32(2))" in text
    assert "if n > 2:" in text and "out[i] = i32(297)" in text
    run_everywhere(b.build(), [np.arange(-4, 4, dtype=np.int32), np.zeros(8, np.int32), 1], 0, 8)


@pytest.mark.parametrize("seed", range(20))
def test_fold_and_vectorize_change_nothing(seed: int) -> None:
    kernel = Generator(seed).kernel()
    marked = dataclasses.replace(kernel, body=(dataclasses.replace(kernel.body[0], vectorize=True),))
    ins = [samples(t, seed) for t in RANDOM_TYPES]
    results = []
    for k in (kernel, fold(kernel), marked):
        outs = [np.zeros(N, dtype_of(t)) for t in RANDOM_TYPES]
        run_native(k, [*ins, *outs], 0, 61)
        results.append(outs)
    for got in results[1:]:
        for a, b in zip(got, results[0]):
            same(a, b)
