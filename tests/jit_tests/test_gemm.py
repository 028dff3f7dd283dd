"""dot_general's native products against NumPy's einsum in 64 bits."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from loop_harness import level as level_of
from loop_harness import run_native
from lower_harness import lower, prepare
from machines import arm, x86
from ml_dtypes import bfloat16
from thorough import part

import fx
import fx.numpy as fnp
import jit
import jit.lower.linalg  # registers the lowering
from fx.interpret import run_graph
from jit import executable
from jit.kernels.contract import Contract, contract_kernel
from jit.kernels.gemm import axpy_kernel
from jit.kernels.microkernel import LINE, Tile, tile_for, unroll_of
from jit.llvm.native import assembly
from jit.loop_ir import Ty, f32, f64
from jit.lower.contract_blocked import gains_exchanged
from jit.lower.contract_pieces import AHEAD, neighbours, row_ranges, rows_ahead, walks_by_rows
from jit.lower.contraction import Contraction
from jit.target import host

DTYPES = [
    "float32",
    "float64",
    "float16",
    bfloat16,
    "int8",
    "uint8",
    "int32",
    "uint32",
    "int64",
    "complex64",
    "complex128",
    "bool",
]
TOLERANCE = {
    "float16": 2e-3,
    "bfloat16": 1.6e-2,
    "float32": 1e-6,
    "complex64": 2e-6,
    "float64": 1e-14,
    "complex128": 2e-14,
}
MATMUL = (((1,), (0,)), ((), ()))

Numbers = tuple[tuple[tuple[int, ...], tuple[int, ...]], tuple[tuple[int, ...], tuple[int, ...]]]


def random_array(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, *shape])
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.3
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(max(info.min, -1000), min(info.max, 1000), shape, endpoint=True).astype(dtype)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if dtype.kind == "c" else x).astype(dtype)


def reference(a: np.ndarray, b: np.ndarray, numbers: Numbers, dtype: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """The product in 64 bits, and the sum of the absolute products (what rounding errors are proportional to)."""
    (lc, rc), (lb, rb) = numbers
    left = list(range(a.ndim))
    right = [30 + i for i in range(b.ndim)]
    for i, j in (*zip(lc, rc), *zip(lb, rb)):
        right[j] = left[i]
    out = [left[i] for i in lb]
    out += [left[i] for i in range(a.ndim) if i not in (*lc, *lb)]
    out += [right[j] for j in range(b.ndim) if j not in (*rc, *rb)]
    wide = {"c": np.complex128, "i": np.int64, "u": np.uint64, "b": np.int64}.get(a.dtype.kind, np.float64)
    x, y = a.astype(wide), b.astype(wide)
    exact = np.einsum(x, left, y, right, out)
    scale = np.einsum(np.abs(x).astype(float), left, np.abs(y).astype(float), right, out)
    return exact, scale


def check(
    a: np.ndarray, b: np.ndarray, numbers: Numbers = MATMUL, preferred: Any = None, target: Any = None
) -> np.ndarray:
    exact, scale = reference(a, b, numbers)
    dtype = np.dtype(preferred or a.dtype)
    params = {"dimension_numbers": numbers, "preferred_element_type": preferred and dtype}
    (found,) = lower("dot_general", [a, b], params, [(exact.shape, dtype)], target)
    assert_close(found, exact, scale)
    return found


def assert_close(found: np.ndarray, exact: np.ndarray, scale: np.ndarray) -> None:
    if found.dtype.kind in "iub":
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(found, exact.astype(found.dtype))
        return
    wide = found.astype(exact.dtype if exact.dtype.kind == "c" else np.float64)
    error = np.abs(wide - exact)
    # 16-bit floats add up in float32 and round once, at the end.
    sums = 1e-6 if found.dtype.itemsize == 2 else 8 * TOLERANCE[found.dtype.name]
    bound = TOLERANCE[found.dtype.name] * np.abs(exact) + sums * scale + 1e-300
    assert (error <= bound).all(), f"off by {np.max(error - bound)} beyond the bound"


SHAPES = [
    (1, 1, 1), (3, 5, 7), (6, 4, 16), (7, 33, 17), (1, 40, 100), (40, 50, 1), (2, 64, 3), (67, 13, 66), (30, 70, 10),
    (13, 1, 29), (1, 300, 1), (5, 0, 4), (0, 3, 4), (4, 3, 0),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_matrices_of_every_layout(dtype: Any) -> None:
    for m, k, n in SHAPES if dtype == "float32" else part(SHAPES, DTYPES.index(dtype), 2):
        a, b = random_array((m, k), dtype), random_array((k, n), dtype, 1)
        check(a, b)
        check(np.ascontiguousarray(a.T).T, b)
        check(a, np.asfortranarray(b))
        check(random_array((2 * m, k), dtype)[::-2, ::-1], random_array((k, 3 * n), dtype, 1)[:, ::-3])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32"])
def test_a_left_operand_along_its_rows(dtype: str) -> None:
    for batch, k, m, n in [((), 300, 40, 80), ((), 9, 1100, 1100), ((3,), 270, 70, 70), ((2, 3), 261, 33, 67)]:
        a, b = random_array((*batch, k, m), dtype), random_array((*batch, k, n), dtype, 1)
        outer = tuple(range(len(batch)))
        check(a, b, (((len(batch),), (len(batch),)), (outer, outer)))
        shared = np.broadcast_to(a[(0,) * len(batch)], a.shape)
        check(shared, b, (((len(batch),), (len(batch),)), (outer, outer)))


@pytest.mark.parametrize("level", ["native", "avx2", "sse4", "scalar"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_a_right_operand_that_pieces_pack(level: str, dtype: str) -> None:
    """Along its columns while the first rows are computed, across them in square blocks; odd strides, and k in slices."""
    target = host() if level == "native" else host().restricted(level)
    for m, k, n in [(70, 33, 150), (67, 8, 65), (200, 7, 130), (70, 3000, 40), (70, 40, 9)]:
        a, b = random_array((m, k), dtype), random_array((k, n), dtype, 1)
        check(a, b, target=target)
        check(a, np.asfortranarray(b), target=target)
        check(a, random_array((k, n + 3), dtype, 1)[:, 3:], target=target)
        check(a, random_array((2 * n, 2 * k), dtype, 1)[::2, ::2].T, target=target)
        check(a, random_array((n, k), dtype, 1).T[::-1], target=target)


@pytest.mark.parametrize("level", ["native", "avx2", "sse4", "scalar"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_left_operand_that_is_turned(level: str, dtype: str) -> None:
    target = host() if level == "native" else host().restricted(level)
    for m, k in [(16, 600), (129, 300), (150, 257), (300, 1031)]:
        a = np.asfortranarray(random_array((m, k), dtype))
        check(a, random_array((k, 300), dtype, 1), target=target)
        check(random_array((k, m + 5), dtype)[:, 5:].T, random_array((k, 300), dtype, 1), target=target)


@pytest.mark.parametrize("level", ["native", "avx2", "sse4", "scalar"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_a_left_operand_whose_rows_are_packed(level: str, dtype: str) -> None:
    """A lies along its rows; the last block has fewer of them; pieces, a batch and a batch with one A."""
    target = host() if level == "native" else host().restricted(level)
    for batch, k, m, n in [
        ((), 300, 61, 260),
        ((), 33, 1100, 260),
        ((), 1040, 256, 260),
        ((3,), 270, 70, 260),
        ((), 33, 1100, 131),
        ((2,), 129, 70, 140),
    ]:
        a, b = random_array((*batch, k, 2048), dtype)[..., 3 : m + 3], random_array((*batch, k, n), dtype, 1)
        outer = tuple(range(len(batch)))
        numbers: Numbers = (((len(batch),), (len(batch),)), (outer, outer))
        check(a, b, numbers, target=target)
        check(np.broadcast_to(a[(0,) * len(batch)], a.shape), b, numbers, target=target)


def test_narrow_panels_read_packed_rows_where_a_lies_along_them() -> None:
    target = host().restricted("sse2")
    before, inside = [], []
    for k, n in itertools.product((8, 60), (16, 100, 300)):
        a, b = random_array((k, 256), "float32"), random_array((k, n), "float32", 1)
        graph = fx.make_graph(lambda a, b: a.T @ b)(a, b).graph
        executable = jit.compile(graph, jit.Options(target=target))
        before += [(k, n)] * ("(pack rows)" in executable.explain())
        inside += [(k, n)] * ("_packs_rows" in executable.loops())
    assert (before, inside) == ([(60, 300)], [(60, 100)])


@pytest.mark.parametrize("level", ["native", "avx2", "sse4", "scalar"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32"])
def test_a_right_operand_that_is_turned_because_it_is_smaller(level: str, dtype: str) -> None:
    """k is the outermost axis of both, and the rows are many more than the columns."""
    target = host() if level == "native" else host().restricted(level)
    for batch, k, m, n in [((), 1031, 523, 70), ((), 1031, 300, 17), ((), 900, 290, 33), ((2,), 905, 300, 35)]:
        a, b = random_array((*batch, k, m), dtype), random_array((*batch, k, n + 3), dtype, 1)[..., 3:]
        outer = tuple(range(len(batch)))
        check(a, b, (((len(batch),), (len(batch),)), (outer, outer)), target=target)


def test_of_two_operands_along_their_rows_the_smaller_is_turned() -> None:
    product = fx.jit(lambda a, b: a.T @ b)
    cols = tile_for(host(), f32, 512, 128, 1024).cols
    few, many = 2 * cols, max(10 * cols, 640)  # steps of k that no hardware follows
    small, large = (random_array((1024, n), "float32") for n in (few, many))
    texts = [product.lower(*operands).explain() for operands in ((small, large), (large, small))]
    turned = [re.search(r"\(turn\).* (\d+) bytes", text) for text in texts]
    short = tile_for(host(), f32, many, few, 1024).cols * 4 <= LINE  # rows of A that are read as they lie
    assert [found and found[1] for found in turned] == [None if short else str(2 * small.nbytes)] * 2
    p = Contraction((), ((many, 1, few),), ((few, 1, 1),), ((1024, many, few),), f32)
    ctx = cast(Any, SimpleNamespace(host=host(), serial=False))
    assert gains_exchanged(ctx, p)
    assert not gains_exchanged(ctx, p.transposed())


def test_an_operand_along_its_rows_is_read_in_place_where_steps_of_k_are_near() -> None:
    """Its lines are asked for ahead, and a slice of k has no more of them than the first-level cache."""
    tile = tile_for(host(), f32, 256, 64, 1024)
    m = min(4 * tile.cols, 512)
    product = fx.jit(lambda a, b: a.T @ b)
    for k in (1024, 1031, 6272):
        a, b = random_array((k, m), "float32"), random_array((k, tile.cols), "float32", 1)
        assert "(turn)" not in product.lower(a, b).explain()
        check(a, b, (((0,), (0,)), ((), ())))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_odd_sizes(dtype: str) -> None:
    rng = np.random.default_rng(7)
    for m, k, n in rng.integers(1, 68, (40, 3)).tolist():
        check(random_array((m, k), dtype), random_array((k, n), dtype, 1))


@pytest.mark.parametrize("level", ["scalar", "sse2", "sse4"])
@pytest.mark.parametrize("dtype", ["float32", "complex64", "int8"])
def test_narrower_machines(level: str, dtype: str) -> None:
    target = host().restricted(level)
    for m, k, n in [(7, 33, 17), (1, 40, 100), (40, 50, 1), (13, 9, 5)]:
        check(random_array((m, k), dtype), random_array((k, n), dtype, 1), target=target)


STREAMED: list[tuple[tuple[int, ...], tuple[int, ...], Numbers]] = [
    ((20_001,), (20_001,), (((0,), (0,)), ((), ()))),
    ((7, 65), (65,), (((1,), (0,)), ((), ()))),
    ((300, 70), (70, 2), (((1,), (0,)), ((), ()))),
    ((3, 70), (300, 70), (((1,), (1,)), ((), ()))),
    ((41,), (41, 67), (((0,), (0,)), ((), ()))),
    ((41, 67), (41,), (((0,), (0,)), ((), ()))),
    ((4, 9000), (9000, 33), (((1,), (0,)), ((), ()))),
    ((3, 5, 40), (3, 40), (((2,), (1,)), ((0,), (0,)))),
    ((2, 3, 1, 40), (2, 3, 40, 50), (((3,), (2,)), ((0, 1), (0, 1)))),
]


@pytest.mark.parametrize("level", [None, "sse2", "scalar"])
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_vectors_times_matrices(dtype: str, level: str | None) -> None:
    """Read as they lie, along k or along the columns, in parts that several threads add up."""
    for left, right, numbers in STREAMED:
        a, b = random_array(left, dtype), random_array(right, dtype, 1)
        check(a, b, numbers, target=level and host().restricted(level))
        check(a[..., ::-1], b[..., ::-1], numbers)


GENERAL: list[tuple[tuple[int, ...], tuple[int, ...], Numbers]] = [
    ((3, 4, 5, 6), (3, 5, 6, 7), (((2, 3), (1, 2)), ((0,), (0,)))),
    ((3, 4, 5, 6), (7, 4, 6, 3), (((3,), (2,)), ((0, 1), (3, 1)))),
    ((2, 3, 4), (4, 5, 6), (((2,), (0,)), ((), ()))),
    ((2, 3, 4), (5, 4, 6), (((2,), (1,)), ((), ()))),
    ((4, 20), (4, 20), (((1,), (1,)), ((0,), (0,)))),
    ((20, 4), (20, 4), (((0,), (0,)), ((1,), (1,)))),
    ((3, 20, 40), (20, 3, 40), (((0,), (1,)), ((1, 2), (0, 2)))),
    ((4,), (7,), (((), ()), ((), ()))),
    ((9,), (9,), (((0,), (0,)), ((), ()))),
    ((), (3,), (((), ()), ((), ()))),
    ((0, 3, 4), (0, 4, 5), (((2,), (1,)), ((0,), (0,)))),
]


@pytest.mark.parametrize("dtype", ["float32", "complex64", "int8"])
@pytest.mark.parametrize("case", range(len(GENERAL)))
def test_general_dimension_numbers(case: int, dtype: str) -> None:
    left, right, numbers = GENERAL[case]
    check(random_array(left, dtype), random_array(right, dtype, 1), numbers)


def test_more_dimensions_than_the_kernels_have_loops() -> None:
    a = random_array((2, 3, 4, 5, 6, 3), "float32").transpose(5, 3, 1, 0, 2, 4)
    b = random_array((3, 5, 3, 2, 7), "float32", 1).transpose(1, 0, 4, 3, 2)
    check(a, b, (((0,), (1,)), ((1, 2), (0, 4))))
    a = random_array((2, 3, 2, 3, 2, 3, 2, 2), "float32").transpose(6, 4, 2, 0, 1, 3, 5, 7)[:, :1]
    check(a, random_array((2, 2, 1, 2, 5), "float32", 1), (((3, 0, 1, 2), (0, 1, 2, 3)), ((), ())))
    a = random_array((2, 2, 2, 2, 2, 2, 2, 2, 2, 2), "float64")[..., ::-1, :].transpose(8, 0, 6, 2, 4, 1, 9, 3, 7, 5)
    check(a, random_array((2, 2, 2, 2, 2), "float64", 1), (((0, 2, 4, 6, 8), (4, 3, 2, 1, 0)), ((), ())))


def test_operands_that_repeat_memory() -> None:
    a, b = random_array((5, 6), "float32"), random_array((4, 6, 7), "float32", 1)
    check(np.broadcast_to(a, (4, 5, 6)), b, (((2,), (1,)), ((0,), (0,))))
    check(np.broadcast_to(a[:, :1], (5, 30)), np.broadcast_to(np.float32(2), (30, 40)))


@pytest.mark.parametrize(
    ("dtype", "preferred"),
    [
        ("int8", "int32"), ("uint8", "int32"), ("uint8", "uint16"), ("float16", "float32"), (bfloat16, "float32"), ("float32", "float64"),
        ("uint32", "uint64"), ("int32", "int64"), ("complex64", "complex128"), ("int8", "float32"), ("bool", "int32"),
    ],
)  # fmt: skip
def test_preferred_element_type(dtype: Any, preferred: str) -> None:
    for m, k, n in [(9, 30, 8), (3, 40, 33), (1, 90, 1)]:
        check(random_array((m, k), dtype), random_array((k, n), dtype, 1), preferred=preferred)


def test_integers_wrap() -> None:
    a, b = random_array((9, 300), "int8"), random_array((300, 17), "int8", 1)
    check(a, b)
    check(a.astype("int32") << 20, b.astype("int32") << 9)


def test_infinities_and_nans_stay_in_their_row_and_column() -> None:
    for m, k, n in [(13, 20, 21), (7, 40, 1), (2, 700, 300)]:
        a, b = random_array((m, k), "float32"), random_array((k, n), "float32", 1)
        a[m // 2, 3], b[5, n // 2] = np.inf, np.nan
        params = {"dimension_numbers": MATMUL, "preferred_element_type": None}
        (found,) = lower("dot_general", [a, b], params, [((m, n), "float32")])
        with np.errstate(invalid="ignore"):
            expected = a.astype(np.float64) @ b.astype(np.float64)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))


LARGE = [
    ("dot", (2, 3000), (3000, 2)), ("dot, slices", (1, 100_000), (100_000, 1)), ("axpy", (3, 700), (700, 517)), ("axpy, wide", (1, 300), (300, 9000)),
    ("slices", (8, 20_000), (20_000, 24)), ("slices, chained", (100, 5000), (5000, 128)), ("packed", (100, 300), (300, 90)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize(("left", "right"), [case[1:] for case in LARGE], ids=[case[0] for case in LARGE])
def test_large_and_thin(left: tuple[int, int], right: tuple[int, int], dtype: str) -> None:
    a, b = random_array(left, dtype), random_array(right, dtype, 1)
    if dtype == "float16":
        a, b = a / 16, b
    check(a, b)
    check(np.asfortranarray(a), b)
    check(a, np.asfortranarray(b))


@pytest.mark.parametrize("level", ["native", "avx2", "scalar"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "complex64"])
def test_few_rows_and_columns(level: str, dtype: str) -> None:
    """Whose sums are in registers: of a vector and a matrix of any width, of as many rows as are taken at once, and of more; also of
    short matrices and vectors whose k is contiguous."""
    target = host() if level == "native" else host().restricted(level)
    sizes = [
        (1, 9, 2),
        (1, 700, 20),
        (3, 50, 7),
        (4, 33, 40),
        (8, 21, 16),
        (20, 40, 20),
        (2, 20_000, 3),
        (6, 4, 1),
        (20, 17, 1),
        (37, 5, 1),
    ]
    for m, k, n in sizes if level == "native" else sizes[1:6:2] + sizes[7:]:
        a, b = random_array((m, k), dtype), random_array((k, n), dtype, 1)
        a = a / 16 if dtype == "float16" else a
        check(a, b, target=target)
        check(np.asfortranarray(a), b, target=target)
        check(np.ascontiguousarray(b.T), np.asfortranarray(a.T), target=target)


@pytest.mark.skipif(host().arch != "x86_64" or host().vector_bits < 256, reason="packed rows are for AVX2")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_packed_rows(dtype: str) -> None:
    """Where the registers are few and A is large: any strides of A, a batch, an epilogue, and rows, columns and k that fill no block."""
    target = dataclasses.replace(host().restricted("avx2"), l2_bytes=1 << 14, l3_bytes=1 << 16)
    a, b = random_array((2, 301, 523), dtype), random_array((2, 523, 563), dtype, 1)
    turned = np.ascontiguousarray(a.swapaxes(1, 2)).swapaxes(1, 2)
    batch = (((2,), (1,)), ((0,), (0,)))
    for x in (a, turned, a[:, ::-1], a[:, :, ::-1]):
        check(x, b, batch, target=target)
        check(x[1], b[0], target=target)
    for f in (lambda x, y: x @ y, lambda x, y: fnp.maximum(x @ y + 1, 0)):
        graph = fx.make_graph(f)(a[0], b[0]).graph
        e = [jit.compile(graph, jit.Options(target=target, num_threads=n, verify=True)) for n in (1, 2, 3, 7)]
        assert "(pack rows)" in e[0].explain()
        found = [x(a[0], b[0])[0] for x in e]
        assert len({x.tobytes() for x in found}) == 1
        assert_close(found[0], run_graph(graph, (a[0], b[0]))[0], 523)
    assert "epilogue" in e[0].explain()


def test_rows_packed_where_k_is_outermost() -> None:
    check(np.asfortranarray(random_array((600, 300), "float32")), random_array((300, 130), "float32", 1))


def test_sizes_are_no_part_of_a_kernel() -> None:
    def keys(m: int, k: int, n: int) -> set[Any]:
        params = {"dimension_numbers": MATMUL, "preferred_element_type": None}
        a, b = random_array((m, k), "float32"), random_array((k, n), "float32", 1)
        h, _ = prepare("dot_general", [a, b], params, [((m, n), "float32")])
        return {step.kernel.key for step in h.steps}

    assert keys(100, 64, 128) == keys(333, 75, 401)


def test_register_blocks_fit_the_registers() -> None:
    targets = [host(), arm(), *(dataclasses.replace(x86(level), cpu=cpu) for level, cpu in (
        ("sse2", "x86-64"), ("avx2", "znver3"), ("avx512", "x86-64-v4"), ("avx512", "znver4")
    ))]  # fmt: skip
    for target, rows, columns, depth, ty in itertools.product(
        targets,
        (1, 2, 4, 5, 8, 32, 100),
        (1, 7, 8, 16, 20, 31, 32, 40, 48, 64, 79, 80, 160, 784, 1000),
        (1, 50_000),
        (f32, f64),
    ):
        tile = tile_for(target, ty, rows, columns, depth)
        of_b = tile.nv if tile.mr > 1 else 1  # for a single row each is read when it is used, and once
        assert tile.mr * tile.nv + of_b + 1 <= target.vector_registers
        assert tile.mr * tile.nv >= (8 if rows > 1 else 4)
        assert tile.lanes * 8 * ty.itemsize in (target.vector_bits, target.unit_bits)
        if columns <= 3 * target.unit_bits // (8 * ty.itemsize):
            assert (-(-columns // tile.cols) * tile.cols - columns) * 8 * ty.itemsize < target.unit_bits
        if rows > 2 and columns in (160, 784) and target.vector_registers >= 32:
            assert -(-columns // tile.cols) * tile.cols <= 1.03 * columns


def test_a_small_product_runs_on_the_kernel_of_larger_ones() -> None:
    """The cotangent of a hidden layer, 32 x 10 by 10 x 128: a block of its own would save less than its compilation takes."""
    for level in ("sse2", "avx2", "avx512"):
        target = x86(level)
        assert tile_for(target, f32, 32, 128, 10) == tile_for(target, f32, 32, 128, 784)


@pytest.mark.parametrize(("cpu", "level"), [("znver4", "avx512"), ("x86-64-v4", "avx512"), ("x86-64-v3", "avx2")])
def test_odd_numbers_of_vectors_of_columns(cpu: str, level: str) -> None:
    if host().vector_bits < (512 if level == "avx512" else 256):
        pytest.skip("this machine has no such vectors")
    target = dataclasses.replace(host().restricted(level), cpu=cpu)
    for n in (3, 8, 10, 20, 24, 33, 40, 48):
        for dtype in ("float32", "float64", "complex64"):
            check(random_array((37, 50), dtype), random_array((50, n), dtype, 1), target=target)
    for n in (79, 80, 147, 784):  # panels of five vectors
        for dtype in ("float32", "float64", "complex64"):
            a, b = random_array((37, 50), dtype), random_array((50, n), dtype, 1)
            check(a, b, target=target)
            check(np.asfortranarray(a), np.asfortranarray(b), target=target)


EPILOGUES: dict[str, Any] = {
    "bias, activation": lambda x, w, row, column, whole: fnp.maximum(x @ w + row, 0),
    "residual": lambda x, w, row, column, whole: fnp.tanh(x @ w) * 0.5 + whole,
    "scaled rows": lambda x, w, row, column, whole: (x @ w) * column - row,
    "the product is kept": lambda x, w, row, column, whole: (lambda y: (y, fnp.exp(-y * y)))(x @ w),
    "cast": lambda x, w, row, column, whole: (x @ w + row).astype("float64"),
    "read twice": lambda x, w, row, column, whole: (lambda y: (y + row, y @ whole.T))(x @ w),
}
SMALL_CACHE = dataclasses.replace(host(), l3_bytes=4)  # every result is too large for it


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_epilogue(epilogue: str) -> None:
    for m, k, n in [(13, 20, 40), (9, 30, 5), (200, 40, 33), (7, 5000, 24)]:  # the last is cut along k
        shapes = ((m, k), (k, n), (n,), (m, 1), (m, n))
        arrays = [random_array(s, "float32", i) for i, s in enumerate(shapes)]
        graph = fx.make_graph(EPILOGUES[epilogue])(*arrays).graph
        e = jit.compile(graph, jit.Options(target=SMALL_CACHE, num_threads=2, verify=True))
        assert "as its epilogue" in e.explain()
        for found, expected in zip(e(*arrays), run_graph(graph, arrays)):
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found, expected, atol=1e-5 * math.sqrt(k * n), rtol=1e-5)


def test_an_epilogue_reads_each_element_where_it_is_computed() -> None:
    x, w = random_array((8, 20), "float32"), random_array((20, 8), "float32", 1)
    for f in (lambda x, w: fnp.exp((x @ w).T), lambda x, w: (x @ w)[::-1] + 1, lambda x, w: fnp.exp(x @ w + (x @ w).T)):
        graph = fx.make_graph(f)(x, w).graph
        e = jit.compile(graph, jit.Options(target=SMALL_CACHE, verify=True))
        np.testing.assert_allclose(e(x, w)[0], run_graph(graph, [x, w])[0], rtol=1e-5, atol=1e-5)


def test_results_that_the_caches_hold_take_no_epilogue() -> None:
    x, w = random_array((8, 20), "float32"), random_array((20, 8), "float32", 1)
    graph = fx.make_graph(lambda x, w: fnp.exp(x @ w))(x, w).graph
    assert "epilogue" not in jit.compile(graph).explain()


KERNELS = [
    Contract(Tile(f32, 8, 6, 2), f32), Contract(Tile(f32, 8, 4, 2), f32), Contract(Tile(f32, 8, 8, 1), f32), Contract(Tile(f64, 4, 6, 2), f64),
    Contract(Tile(f32, 8, 6, 2), f32, 3, 3), Contract(Tile(f32, 8, 6, 2), f32, 4, 4), Contract(Tile(f32, 8, 6, 2), f32, copies=True),
    Contract(Tile(f32, 8, 8, 1), f32, copies=True), Contract(Tile(f32, 8, 6, 2), f32, 3, 3, copies=True),
    Contract(Tile(f32, 8, 4, 2), f32, 3, 3, lanewise=True), Contract(Tile(f64, 4, 4, 3), f64, packed_rows=True),
    Contract(Tile(f32, 8, 6, 2), f32, copies=True, packed_rows=True), Contract(Tile(f32, 8, 6, 2), f32, packs_rows=True),
]  # fmt: skip


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda v: v.name)
def test_the_innermost_loop_stays_in_registers(kernel: Contract) -> None:
    text = assembly([contract_kernel(kernel)], x86("avx2"))
    lines = [line.strip() for line in text.splitlines() if not line.strip().startswith((".cfi", ".p2align", "#"))]
    labels = {line[:-1]: k for k, line in enumerate(lines) if line.endswith(":")}
    jumps = [(k, re.match(r"j\w+\s+(\.L\w+)", line)) for k, line in enumerate(lines)]
    loops = [lines[labels[j[1]] : k] for k, j in jumps if j and labels.get(j[1], k) < k]
    inner = {
        tuple(body) for body in loops if sum("vfmadd" in x for x in body) and not sum(x.endswith(":") for x in body[1:])
    }
    block = kernel.tile.mr * kernel.tile.nv
    unroll = unroll_of(kernel.k_dims, kernel.packed_rows or kernel.packs_rows)
    expected = [block, unroll * block] if kernel.tile.nv > 1 and not kernel.lanewise else [block]
    assert sorted(sum("vfmadd" in x for x in body) for body in inner) == expected
    assert not [x for body in inner for x in body if "(%rsp)" in x or "imul" in x]


@pytest.mark.parametrize("ty", [f32, f64], ids=str)
def test_the_rows_that_pack_multiply_in_registers(ty: Ty) -> None:
    tile = Tile(ty, 64 // ty.itemsize, 6, 4)
    text = assembly([contract_kernel(Contract(tile, ty, copies=True))], x86("avx512"))
    ((body,),) = [
        [
            x
            for x in re.split(r"\n\.L\w+:", text)
            if "prefetcht0" in x and sum("vfmadd" in y for y in x.split("\n")) == 24
        ]
    ]
    loop = body[: body.index("\tj")]
    assert loop.count("prefetcht0") == 4 and len(re.findall(r"vmovup\w\s+%zmm\d+, \S*\(%r[^s]", loop)) == 4
    assert not re.search(r"mm.*\(%rsp\)|\(%rsp\).*mm", loop)


@pytest.mark.parametrize(("size", "ways"), [(48 << 10, 12), (32 << 10, 8), (64 << 10, 4), (32 << 10, 1)])
@pytest.mark.parametrize("stride", [1 << 14, 4096, 2048, 1536, 1024, 4000, 4100, 256, -4096, -3000])
def test_what_is_asked_for_ahead_stays_in_the_first_level_cache(stride: int, size: int, ways: int) -> None:
    """Of no set more than half the lines are asked for, unless by a single row; one row more would be too many."""

    def fullest(rows: int) -> int:
        lines = {(row * stride + at) // 64 for row in range(rows) for at in range(0, 256, 64)}
        return max(np.bincount([x % (size // ways // 64) for x in lines]))

    rows = rows_ahead(stride, 256, size, ways)
    assert rows == 1 or fullest(rows) <= ways // 2
    assert rows == AHEAD or fullest(rows + 1) > ways // 2


def test_the_check_catches_a_small_error() -> None:
    a, b = random_array((9, 20), "float32"), random_array((20, 8), "float32", 1)
    exact, scale = reference(a, b, MATMUL)
    with pytest.raises(AssertionError):
        assert_close((exact * 1.001).astype("float32"), exact, scale)


@pytest.mark.parametrize("n", [8, 21, 40])
def test_no_column_is_in_two_pieces_of_a_vector_times_a_matrix(n: int) -> None:
    """They add to memory, side by side in several threads: each piece alone, and all of them together."""
    lanes, nc, depth = 8, 16, 6
    blocks = (n - lanes) // min(nc, n) + 1
    kernel = axpy_kernel(f32, lanes, f32, False)
    a, b = random_array((1, depth), "float32"), random_array((depth, n), "float32", 1)
    numbers = {
        "m": 1, "n": n, "nc": min(nc, n), "k": depth, "g1_size": 1, "slices": 1, "col_blocks": blocks, "k_slice": depth,
        "last_col": (blocks - 1) * min(nc, n), "a_k0": 1, "b_k0": n,
    }  # fmt: skip
    total, written = np.zeros(n, np.float32), np.zeros(n, int)
    for piece in range(blocks):
        c = np.full(n, np.nan, np.float32)
        values = {"a": a, "b": b, "c": c}
        run_native(kernel, [values.get(p.name, numbers.get(p.name, 0)) for p in kernel.params], piece, piece + 1)
        here = ~np.isnan(c)
        written += here
        total[here] = c[here]
    assert (written == 1).all()
    np.testing.assert_allclose(total, (a @ b)[0], rtol=1e-5, atol=1e-5)


def test_wide_products_have_the_same_bits_on_any_number_of_threads() -> None:
    a, b = random_array((1, 64), "float32"), random_array((64, 12001), "float32", 1)
    found = []
    for threads in (1, 2, 3, 2, 3):
        with jit.using_threads(threads):
            found.append(np.asarray(fx.jit(lambda x, y: x @ y)(a, b)).tobytes())
    assert len(set(found)) == 1


SHARED = [  # (rows, k, columns), and whether A lies along its rows, as for the gradient of weights
    (64, 64, 192, False), (64, 192, 64, False), (64, 192, 192, False), (64, 1792, 192, True),
    (128, 1792, 64, True), (129, 1100, 65, True), (32, 128, 512, False), (128, 256, 20, False), (256, 128, 20, True),
    (128, 256, 10, False), (128, 20, 256, False),
]  # fmt: skip


@pytest.mark.parametrize("level", [None, "avx2", "sse4"])
@pytest.mark.parametrize(("m", "k", "n", "turned"), SHARED)
def test_a_few_pieces_are_an_even_number(m: int, k: int, n: int, turned: bool, level: str | None) -> None:
    """Two threads have the same to do in a product of some ten microseconds, whether it has three panels or one."""
    a, b = random_array((k, m) if turned else (m, k), "float32"), random_array((k, n), "float32", 1)
    numbers: Numbers = (((0 if turned else 1,), (0,)), ((), ()))
    params = {"dimension_numbers": numbers, "preferred_element_type": None}
    target = None if level is None else host().restricted(level)
    h, _ = prepare("dot_general", [a, b], params, [((m, n), "float32")], target)
    (product,) = [step for step in h.steps if step.name == "dot_general"]
    pieces = -(-product.total // product.chunk)
    assert pieces > 1 and (pieces % 2 == 0 or pieces > 8)
    check(a, b, numbers, target=target)


def test_a_few_pieces_have_the_same_bits_on_any_number_of_threads() -> None:
    a, b, c = (random_array(shape, "float32", i) for i, shape in enumerate([(64, 192), (192, 64), (1792, 64)]))
    found = []
    for threads in (1, 2, 3, 2, 3):
        with jit.using_threads(threads):
            f = fx.jit(lambda a, b, c: (a @ b, b @ a, c.T @ (c @ a)))
            found.append(b"".join(np.asarray(x).tobytes() for x in f(a, b, c)))
    assert len(set(found)) == 1


STORED = [  # operands of a product whose result is transposed, and its dimension numbers
    ((2, 3, 40, 8), (2, 3, 8, 32), (((3,), (2,)), ((0, 1), (0, 1)))), ((24, 3, 32), (24, 70), (((0,), (0,)), ((), ()))),
    ((4, 30, 9), (4, 9, 48), (((2,), (1,)), ((0,), (0,)))), ((3, 16, 7, 32), (7, 5, 32), (((2,), (0,)), ((), ()))),
]  # fmt: skip


DTYPES_STORED = ("float32", "float64", "complex64", "int32", "float16")


@pytest.mark.parametrize("dtype", DTYPES_STORED)
@pytest.mark.parametrize("case", range(len(STORED)))
def test_products_store_their_rows_where_a_transpose_has_them(case: int, dtype: str) -> None:
    """Of the 120 orders of five axes each dtype meets a fifth."""
    left, right, numbers = STORED[case]
    a, b = random_array(left, dtype), random_array(right, dtype, 1)
    exact, scale = reference(a, b, numbers)
    orders = list(itertools.permutations(range(exact.ndim)))
    for permutation in part(orders, DTYPES_STORED.index(dtype), 5 if len(orders) > 24 else 1):
        f = fx.jit(lambda a, b, p=permutation: fx.lax.transpose(fx.lax.dot_general(a, b, numbers), p))
        assert_close(np.asarray(f(a, b)), exact.transpose(permutation), scale.transpose(permutation))


def test_heads_behind_positions_take_no_pass_of_their_own() -> None:
    a, b = random_array((2, 4, 40, 8), "float32"), random_array((2, 4, 8, 32), "float32", 1)
    behind = fx.jit(lambda a, b: (a @ b).transpose(0, 2, 1, 3)).lower(a, b).explain()
    before = fx.jit(lambda a, b: (a @ b).transpose(0, 2, 3, 1)).lower(a, b).explain()
    assert "-> map" not in behind and "-> map" in before
    assert "stored where transpose (0, 2, 1, 3) of the result has them" in behind and "stored where" not in before
    weights = fx.jit(lambda x, g: fnp.einsum("bi,bnj->nij", x, g) * 2).lower(
        random_array((64, 100), "float32"), random_array((64, 5, 32), "float32")
    )
    assert weights.executable.cost_analysis()["steps"] <= 3  # packing, product, map


RANGES = [  # rows, rows of a register block, batches, panels, wanted pieces, share of the cache that B takes; ranges
    (32, 6, 1, 8, 2, 0.13, 2), (64, 6, 1, 3, 2, 0.1, 2), (32, 6, 1, 8, 2, 0.6, 1), (32, 6, 2, 8, 2, 0.1, 1), (32, 6, 1, 8, 1, 0.1, 1),
    (25, 6, 1, 8, 2, 0.1, 1), (18, 6, 1, 8, 2, 0.1, 1), (96, 6, 1, 12, 4, 0.4, 4), (96, 4, 1, 16, 16, 0.4, 12), (100, 6, 1, 8, 2, 0.1, 2),
    (70, 6, 1, 1, 2, 0.9, 2), (256, 6, 1, 3, 2, 0.01, 6), (256, 6, 1, 2, 2, 0.01, 6), (256, 6, 1, 3, 1, 0.01, 3),
]  # fmt: skip


@pytest.mark.parametrize("case", RANGES, ids=str)
def test_few_rows_are_cut_before_the_columns_where_the_cache_holds_b(case: tuple[Any, ...]) -> None:
    *numbers, ranges = case
    assert row_ranges(*numbers) == ranges


SIDE_BY_SIDE = [  # rows, columns, k, ranges of rows, what the caches hold of C; whether the rows come first
    (784, 512, 128, 8, 1 << 19, True), (784, 512, 128, 1, 1 << 19, False), (784, 512, 128, 8, 1 << 18, False),
    (128, 512, 784, 2, 1 << 19, False), (784, 10, 128, 8, 1 << 19, True),
]  # fmt: skip


@pytest.mark.parametrize("case", SIDE_BY_SIDE, ids=str)
def test_neighbouring_pieces_share_what_is_cheaper_to_read_twice(case: tuple[Any, ...]) -> None:
    *numbers, rows = case
    assert walks_by_rows(*numbers) == rows
    assert neighbours(*numbers, 5) == (5 if rows else numbers[3])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "float16"])
def test_a_recurrence_through_a_transposed_weight(dtype: str) -> None:
    """The weight is packed in square blocks, in front of the loop; the last block and the last panel overlap those before."""
    for k in (40, 64, 129, 200):
        w, c = random_array((k, k), dtype), random_array((33, k), dtype, 1)
        w = w if dtype == "int32" else (w / np.float32(k)).astype(dtype)
        f = fx.jit(lambda w, c: fx.lax.fori_loop(0, 3, lambda _, c: c @ w.T, c))
        exact = c.astype(np.int64 if dtype == "int32" else np.float64)
        for _ in range(3):
            exact = exact @ w.T.astype(exact.dtype)
        if dtype == "int32":
            np.testing.assert_array_equal(f(w, c), exact.astype(dtype))
        else:
            error = np.abs(np.asarray(f(w, c), np.float64) - exact).max() / np.abs(exact).max()
            assert error < {"float32": 2e-6, "float64": 4e-15, "float16": 4e-3}[dtype]
        if k >= 64:  # a panel; float16 is converted on its way
            assert ("_turned" in f.lower(w, c).loops()) == (dtype != "float16")


def test_a_recurrence_has_the_same_bits_on_any_number_of_threads() -> None:
    """Rows of a batch go to the same thread in every step, and the last range is shorter."""
    w, c = random_array((130, 130), "float32") / np.float32(12), random_array((33, 130), "float32", 1)
    found = []
    for threads in (1, 2, 3, 7):
        with jit.using_threads(threads):
            f = fx.jit(fx.value_and_grad(lambda w, c: fx.lax.fori_loop(0, 9, lambda _, c: fnp.tanh(c @ w), c).sum()))
            found.append(b"".join(np.asarray(x).tobytes() for x in fx.tree.leaves(f(w, c))))
    assert len(set(found)) == 1
    x, y = np.float64(w), np.float64(c)
    for _ in range(9):
        y = np.tanh(y @ x)
    np.testing.assert_allclose(np.frombuffer(found[0][:4], np.float32), [y.sum()], rtol=1e-4, atol=1e-3)


# Of products whose long sums are cut into parts for lack of rows and columns: whether A lies along its rows; rows, columns and values of k; others of
# one of them.
CUT = {
    "columns": (False, (89, 347, 1893), 1, (387,)),
    "what the cache holds": (False, (240, 61, 2434), 2, (1500, 2000, 2800)),
    "a short batch": (True, (200, 160, 600), 2, (700, 1100, 4096)),
    "few rows": (True, (30, 256, 600), 2, (640, 1024)),
}


@pytest.mark.parametrize("machine", ["host", "avx2"])
@pytest.mark.parametrize("name", CUT)
def test_sums_are_cut_as_for_the_one_size(name: str, machine: str, monkeypatch: Any) -> None:
    """Whatever a program for sizes that vary does otherwise than one for the size alone, it has the same bits."""
    target = dataclasses.replace(level_of(machine), l1_bytes=3 << 14, l2_bytes=1 << 20)
    monkeypatch.setattr(executable, "host", lambda: target)
    along_rows, sizes, varies, others = CUT[name]
    product = lambda x, y: (x.T if along_rows else x) @ y
    several = fx.jit(product)
    for n in (sizes[varies], *others):
        rows, columns, k = (*sizes[:varies], n, *sizes[varies + 1 :])
        x, y = (np.sin(np.arange(k * width, dtype=np.float32)) for width in (rows, columns))
        x, y = x.reshape((k, rows) if along_rows else (rows, k)), y.reshape(k, columns)
        assert np.asarray(several(x, y)).tobytes() == np.asarray(fx.jit(lambda *a: product(*a))(x, y)).tobytes(), n


def test_an_epilogue_leaves_sums_cut_as_for_the_one_size(monkeypatch: Any) -> None:
    target = dataclasses.replace(host(), l1_bytes=3 << 14, l2_bytes=1 << 20)
    monkeypatch.setattr(executable, "host", lambda: target)
    x, y = np.sin(np.arange(150 * 1500)).reshape(150, 1500), np.cos(np.arange(1500 * 200)).reshape(1500, 200)
    residual = lambda c, x, y: fnp.maximum(c + x @ y, 0)
    several = fx.jit(residual, donate_argnums=0)
    for n in (64, 50, 110, 150):
        alone = fx.jit(lambda *a: residual(*a), donate_argnums=0)
        found, wanted = (f(fnp.ones((n, 200), "float64"), x[:n], y) for f in (several, alone))
        assert np.asarray(found).tobytes() == np.asarray(wanted).tobytes(), n
