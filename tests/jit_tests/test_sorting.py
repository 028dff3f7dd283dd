"""Sort and top_k against NumPy's stable sorts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from loop_harness import compiled, dtype_of
from lower_harness import lower
from ml_dtypes import bfloat16

import jit.lower.sorting  # noqa: F401 - registers the lowerings
from jit.kernels.sort_buckets import MOST_BUCKETS, sample_kernel
from jit.kernels.sort_partition import QuickSort, Range, largest_key, least_key
from jit.kernels.sort_records import SortSpec, Source
from jit.loop_builder import KernelBuilder
from jit.loop_ir import Const, Ty, f32, i32, i64
from jit.target import host

REAL = [
    "float32", "float64", "float16", bfloat16, "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool",
]  # fmt: skip
COMPLEX = ["complex64", "complex128"]


def bits(x: np.ndarray) -> bytes:
    """For comparisons that tell -0.0 from 0.0 and look at every NaN."""
    return np.ascontiguousarray(x).tobytes()


def sample(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any, ties: bool) -> np.ndarray:
    """With ties, both zeros, both signs of NaN, and infinities; or spread over the whole range."""
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        real = np.dtype("float32" if dtype.itemsize == 8 else "float64")
        x = np.empty(shape, dtype)
        x.real, x.imag = sample(rng, shape, real, True), sample(rng, shape, real, True)
        return x
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        low, high = (max(info.min, -5), 5) if ties else (info.min, info.max)
        return rng.integers(low, high, shape, dtype=dtype, endpoint=True)
    x = rng.integers(-3, 4, shape) if ties else rng.normal(size=shape) * 10.0 ** rng.integers(-4, 4, shape)
    special = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 0.0])
    x = np.where(rng.random(shape) < (0.3 if ties else 0.01), special[rng.integers(0, 6, shape)], x)
    return x.astype(dtype)


def comparable(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iu" else x


def true_order(keys: list[np.ndarray], axis: int) -> np.ndarray:
    keys = [comparable(k) for k in keys]
    return np.argsort(keys[0], axis=axis, kind="stable") if len(keys) == 1 else np.lexsort(keys[::-1], axis=axis)


def check_sort(operands: list[np.ndarray], dimension: int, num_keys: int, target: Any = None) -> None:
    order = true_order(operands[:num_keys], dimension)
    params = {"dimension": dimension, "is_stable": True, "num_keys": num_keys}
    found = lower("sort", operands, params, [(x.shape, x.dtype) for x in operands], target)
    for x, f in zip(operands, found):
        true = np.take_along_axis(x, order, dimension)
        assert bits(f) == bits(true)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("n", [511, 513, 16_384, 70_000])
@pytest.mark.parametrize("level", ["native", "scalar"])
def test_zeros_and_nans_keep_their_bits_and_order(dtype: str, n: int, level: str) -> None:
    """Rows with none of them, one NaN at the end, nothing else, and many with payloads of their own, in every part of the row."""
    rng = np.random.default_rng(n)
    x = rng.normal(size=(6, n)).astype(dtype)
    x[1, -1], x[2], x[3] = np.nan, -0.0, np.nan
    x[4:] = np.where(rng.random((2, n)) < 0.4, np.where(rng.random((2, n)) < 0.5, -0.0, 0.0), x[4:])
    words = x.view(f"u{x.itemsize}")
    many = rng.random((2, n)) < 0.2
    words[4:] = np.where(many, np.array(np.nan, dtype).view(words.dtype) + rng.integers(0, 200, (2, n)), words[4:])
    words[5] |= (many[0].astype(words.dtype)) << (8 * x.itemsize - 1)
    check_sort([x], 1, 1, host() if level == "native" else host().restricted(level))


LENGTHS = [1, 2, 3, 5, 16, 39, 41, 97, 256, 257, 700]


@pytest.mark.parametrize("dtype", [*REAL, *COMPLEX], ids=str)
def test_one_operand(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    for k, n in enumerate(LENGTHS):
        check_sort([sample(rng, (1 + 5 * (k % 3), n), dtype, ties=k % 2 == 0)], 1, 1)


@pytest.mark.parametrize("dtype", [*REAL, *COMPLEX], ids=str)
def test_key_and_payload(dtype: Any) -> None:
    rng = np.random.default_rng(1)
    for k, n in enumerate(LENGTHS):
        key = sample(rng, (9, n), dtype, ties=k % 2 == 0)
        payload = np.broadcast_to(np.arange(n, dtype=np.int32), key.shape)
        check_sort([key, payload], 1, 1)


@pytest.mark.parametrize("order", ["equal", "rising", "falling", "zeros and ones", "special"])
def test_rows_side_by_side(order: str) -> None:
    """Every length up to 67, then around powers of two, with as many rows as fill a vector and one more; and one row."""
    rng = np.random.default_rng(7)
    rows = host().lanes(f32) + 1
    for n in [*range(1, 68), 128, 129, 255, 511, 512, 513, 1000, 1025, 2049]:
        rising = np.broadcast_to(np.arange(n, dtype=np.float32), (rows, n))
        x = {
            "equal": np.full((rows, n), -2.5, np.float32), "rising": rising, "falling": rising[:, ::-1],
            "zeros and ones": rng.integers(0, 2, (rows, n)).astype(np.float32), "special": sample(rng, (rows, n), "float32", True),
        }[order]  # fmt: skip
        for few in (x.copy(), x[:1].copy()):
            check_sort([few], 1, 1)
            if n % 7 == 0:
                check_sort([few, rising[: len(few)].copy()], 1, 1)


@pytest.mark.parametrize("dtype", ["int8", "float16", "float64", "uint64"])
def test_a_row_in_all_lanes(dtype: str) -> None:
    rng = np.random.default_rng(10)
    for n in (1, 31, 32, 33, 255, 257, 1000, 4097, 16_400):
        check_sort([sample(rng, (n,), dtype, ties=n % 2 == 0)], 0, 1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_few_and_many_rows_give_the_same(dtype: str) -> None:
    x = sample(np.random.default_rng(8), (17, 400), dtype, ties=True)
    for rows in (1, 2, 3, 4, 7, 8, 17):
        check_sort([x[:rows].copy()], 1, 1)
        check_sort([x[:rows].copy(), np.broadcast_to(np.arange(400, dtype=np.int32), (rows, 400))], 1, 1)


@pytest.mark.parametrize("case", range(24))
def test_several_operands_and_keys(case: int) -> None:
    rng = np.random.default_rng(case)
    shape = tuple(int(n) for n in rng.integers(1, (200, 12, 6)[case % 3], case % 3 + 1))
    every = [*REAL, *COMPLEX]
    count = int(rng.integers(1, 4))
    operands = [sample(rng, shape, every[int(rng.integers(len(every)))], True) for _ in range(count)]
    if case % 4 == 0:
        operands = [x.T.copy().T[..., ::-1] for x in operands]
    check_sort(operands, int(rng.integers(len(shape))), int(rng.integers(1, count + 1)))


@pytest.mark.parametrize("dtype", ["float32", "int64", "float16"])
@pytest.mark.parametrize("rows", [1, 3])
def test_long_rows(dtype: str, rows: int) -> None:
    rng = np.random.default_rng(2)
    n = 70_001
    x = sample(rng, (rows, n), dtype, ties=False)
    check_sort([x], 1, 1)
    position = np.broadcast_to(np.arange(n, dtype=np.int32), x.shape)
    check_sort([x, position], 1, 1)
    check_sort([x, position, x], 1, 1)


def test_long_rows_whose_high_digits_agree() -> None:
    rng = np.random.default_rng(3)
    x = np.stack([rng.integers(0, 200, 66_000), rng.integers(0, 2**40, 66_000), np.zeros(66_000, np.int64)])
    check_sort([x], 1, 1)


def arrangements(dtype: Any, n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)
    rising = np.arange(n).astype(dtype)
    return {
        "spread": sample(rng, (n,), dtype, False), "special": sample(rng, (n,), dtype, True), "rising": rising, "falling": rising[::-1].copy(),
        "equal": np.full(n, 7, dtype), "two": rng.integers(0, 2, n).astype(dtype), "twenty": rng.integers(0, 20, n).astype(dtype),
        "organ pipe": np.minimum(rising, rising[::-1]), "sawtooth": rising % 64, "one other": (np.arange(n) == n // 3).astype(dtype),
        "almost sorted": np.sort(rng.integers(0, 1000, n)).astype(dtype), "the largest": np.full(n, largest(dtype)),
    }  # fmt: skip


def largest(dtype: Any) -> Any:
    return np.dtype(dtype).type(np.nan if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint32", "uint64"])
@pytest.mark.parametrize("rows, n", [(1, 4100), (1, 16_384), (1, 40_001), (3, 20_000), (17, 4097)])
def test_rows_by_partitions(dtype: str, rows: int, n: int) -> None:
    """Where a machine has no compress, the same by other kernels."""
    for name, x in arrangements(dtype, n).items():
        shifted = np.stack([np.roll(x, 5 * r) for r in range(rows)])
        try:
            check_sort([shifted], 1, 1)
        except AssertionError as e:
            raise AssertionError(f"{name}: {e}") from None


@pytest.mark.parametrize("ty", [i32, i64], ids=str)
@pytest.mark.parametrize("levels", [0, 1, 100])
@pytest.mark.parametrize("bits", [256, 512])
def test_partitions_whatever_the_bounds(ty: Ty, levels: int, bits: int) -> None:
    """Bounds halfway between the least and the largest key from the first, the second and no level on."""
    lanes = bits // ty.bits
    b = KernelBuilder("quick")
    keys, away, n = b.pointer("keys", ty), b.pointer("away", ty), b.integer("n")
    sorter = QuickSort(b, keys, away, lanes, lambda place, v, mask: b.store(keys, place, v, mask))
    zero, least, most = Const(0, i64), least_key(ty), largest_key(ty)
    sorter.sort(Range(zero, zero, n, zero), Const(least, ty), Const(most, ty), Const(levels, i64))
    run = compiled(b.build())
    rng = np.random.default_rng(0)
    for n_keys in [*range(1, 40), 63, 64, 65, 127, 128, 129, 130, 200, 257, 1000, 5000]:
        for low, high in ((0, 0), (-1, 0), (0, 200), (least, most), (most - 3, most), (least, least + 3)):
            x = rng.integers(low, high, n_keys, dtype_of(ty), endpoint=True)
            found = np.concatenate([x, np.array([low], x.dtype)])
            run([found, np.zeros(n_keys + 1, x.dtype), n_keys], 0, 1)
            np.testing.assert_array_equal(found, [*np.sort(x), low])


@pytest.mark.parametrize("values", [1, 2, 5, 40, 2**32])
@pytest.mark.parametrize("buckets", [4, 16, 64])
def test_buckets_are_even(values: int, buckets: int) -> None:
    """Bounds rise; a bucket has several times its share at most, or one key alone."""
    spec = SortSpec(((32, 1),), (Source(0, "all", "u", 32),), "none", 11)
    run = compiled(sample_kernel(spec, 16))
    x = np.random.default_rng(buckets).integers(0, values, 40_000, np.uint32)
    keys = np.zeros(MOST_BUCKETS, np.int32)
    run([x, keys, x.size, buckets, 8], 0, 1)
    bounds = keys[:buckets].view(np.uint32) ^ np.uint32(1 << 31)
    assert (bounds[1:-1] <= bounds[2:]).all()
    places = np.searchsorted(bounds[1:], x, side="right")
    for k in range(buckets):
        inside = x[places == k]
        assert inside.size <= 5 * x.size // buckets or (inside == inside[0]).all()
        if inside.size > 5 * x.size // buckets:
            assert bounds[k + 1] == inside[0] + 1 if k + 1 < buckets else bounds[k] == inside[0]


@pytest.mark.parametrize("shape, dimension", [((0,), 0), ((3, 0), 1), ((0, 3), 1), ((1, 4), 0)])
def test_empty_and_single(shape: tuple[int, ...], dimension: int) -> None:
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    check_sort([x, x], dimension, 1)


@pytest.mark.parametrize("dtype", REAL, ids=str)
@pytest.mark.parametrize("k_of", ["none", "one", "few", "some", "more", "many", "all"])
def test_top_k(dtype: Any, k_of: str) -> None:
    rng = np.random.default_rng(4)
    for n in (1, 30, 130, 300, 1000):
        for ties in (True, False):
            x = sample(rng, (5, n), dtype, ties)
            k = min(n, {"none": 0, "one": 1, "few": 4, "some": 10, "more": 17, "many": 40, "all": n}[k_of])
            falling = comparable(x)[:, ::-1]
            positive = ~np.signbit(falling.astype(np.float64)) & (falling == 0)  # 0.0 before -0.0
            order = n - 1 - np.lexsort((positive, falling), axis=-1)[:, ::-1][:, :k]
            values, positions = lower("top_k", [x], {"k": k}, [((5, k), x.dtype), ((5, k), np.int32)])
            np.testing.assert_array_equal(positions, order)
            assert bits(values) == bits(np.take_along_axis(x, order, -1))


@pytest.mark.parametrize("k", [1, 4, 5, 16, 17, 64])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "float32", "float64"])
def test_top_k_of_rows_that_hold_one_value_mostly(dtype: str, k: int) -> None:
    """The least and the largest, too: of the first, whose key is the last of all, the kernel has no limit to begin with."""
    rng = np.random.default_rng(k)
    info: Any = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    ends = (info.min, info.max) if np.dtype(dtype).kind in "iu" else (-np.inf, np.inf)
    for n in (k, 65, 97, 300, 1000, 4200):
        if n < k:
            continue
        x = np.empty((6, n), dtype)
        x[:2], x[2:4], x[4:] = ends[0], ends[1], 7
        for row in x[::2]:  # the others hold nothing else
            places = rng.choice(n, min(n, 3 * k), replace=False)
            row[places] = rng.integers(0, 100, len(places)).astype(dtype)
        order = n - 1 - np.argsort(x[:, ::-1], axis=-1, kind="stable")[:, ::-1][:, :k]
        values, positions = lower("top_k", [x], {"k": k}, [((6, k), x.dtype), ((6, k), np.int32)])
        np.testing.assert_array_equal(positions, order)
        np.testing.assert_array_equal(values, np.take_along_axis(x, order, -1))


def test_top_k_of_strided_rising_and_falling_rows() -> None:
    for x in (np.arange(6000.0).reshape(1000, 6).T, np.arange(6000.0)[::-1].reshape(6, 1000)):
        order = np.argsort(-x, axis=-1, kind="stable")[:, :20]
        values, positions = lower("top_k", [x], {"k": 20}, [((6, 20), x.dtype), ((6, 20), np.int32)])
        np.testing.assert_array_equal(positions, order)
        np.testing.assert_array_equal(values, np.take_along_axis(x, order, -1))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float16", "int32", "float32", "int64", "float64"])
@pytest.mark.parametrize("order", ["spread", "ties", "rising", "falling", "one value", "few between"])
def test_top_k_of_long_rows(dtype: str, order: str) -> None:
    """Rows of which a sample says where to look; it is told too little of those that differ in places that it skips."""
    rng = np.random.default_rng(11)
    for rows, n, k in ((1, 2048, 65), (3, 5001, 312), (2, 9000, 100)):
        x = sample(rng, (rows, n), dtype, order == "ties")
        if order in ("rising", "falling"):
            x = np.ascontiguousarray(np.sort(x)[:, :: 1 if order == "rising" else -1])
        elif order != "spread":
            x = np.full_like(x, 3)
            if order == "few between":
                x[:, :: 8 if n < 9000 else 64] = 1
                x[:, 5 : 5 * k : 16] = 7
        first = n - 1 - np.argsort(comparable(x)[:, ::-1], axis=-1, kind="stable")[:, ::-1][:, :k]
        values, positions = lower("top_k", [x], {"k": k}, [((rows, k), x.dtype), ((rows, k), np.int32)])
        np.testing.assert_array_equal(positions, first)
        assert bits(values) == bits(np.take_along_axis(x, first, -1))


def check_order_statistics(x: np.ndarray, k: np.ndarray, target: Any = None) -> None:
    (found,) = lower("order_statistic", [x, k], {}, [(k.shape, x.dtype)], target)
    at = np.clip(k, 0, x.shape[-1] - 1)
    true = np.take_along_axis(x, np.take_along_axis(true_order([x], -1), at, -1), -1)
    number = found == found
    np.testing.assert_array_equal(number, true == true)
    assert bits(found[number]) == bits(true[number])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "uint64", "int8"])
@pytest.mark.parametrize("level", ["native", "avx2", "scalar"])
@pytest.mark.parametrize("order", ["spread", "ties", "rising", "one value", "two values"])
def test_order_statistics(dtype: str, level: str, order: str) -> None:
    """Rows that are sorted and rows that are only cut; of ties, zeros keep their signs."""
    if level == "avx2" and host().arch != "x86_64":
        pytest.skip("avx2 is a level of x86-64")
    target = host() if level == "native" else host().restricted(level)
    rng = np.random.default_rng(12)
    for rows, n, m in ((3, 1, 2), (20, 40, 3), (2, 700, 5), (20, 5001, 2), (1, 20_000, 16), (1, 6000, 17)):
        x = sample(rng, (rows, n), dtype, order == "ties")
        if order == "rising":
            x = np.sort(x)
        elif order != "spread" and order != "ties":
            x = np.where(rng.random(x.shape) < (0.5 if order == "two values" else 2), 3, 5).astype(dtype)
        check_order_statistics(x, rng.integers(-1, n + 1, (rows, m), dtype=np.int32), target)


@pytest.mark.parametrize("level", ["scalar", "sse2", "sse4", "avx2"])
def test_other_machines(level: str) -> None:
    if level != "scalar" and host().arch != "x86_64":
        pytest.skip(f"{level} is a level of x86-64")
    rng = np.random.default_rng(5)
    target = host().restricted(level)
    for n in (33, 500):
        check_sort([sample(rng, (7, n), "float32", True)], 1, 1, target)
        check_sort([sample(rng, (1, n), "float32", True)], 1, 1, target)
    for dtype in ("float32", "int64"):
        for shape in ((2, 17_000), (17, 5000)):
            check_sort([sample(rng, shape, dtype, dtype == "float32")], 1, 1, target)
    for dtype in ("float32", "float64", "uint64"):
        check_sort([sample(rng, (7, 33), dtype, True), sample(rng, (7, 33), "int8", True)], 1, 1, target)
