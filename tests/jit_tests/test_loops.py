"""The loop language: every operation on every type, natively = NumPy = the printed Python = Numba."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from fx import dtypes
from fx.errors import BackendError, GraphError, LoweringError
from jit import emit_llvm, loop_runtime, native
from jit.emit_numba import NAMES as NUMBA_NAMES
from jit.emit_numba import compile_numba
from jit.loop_ir import (
    OPS, Alloc, Assign, Comment, Const, For, If, Kernel, KernelBuilder, Let, Load, Op, Param, Ref, Store, Ty, While,
    b1, bf16, f16, f32, f64, fma, i8, i16, i32, i64, maximum, minimum, op_, select, u8, u16, u32, u64,
)  # fmt: skip
from jit.loop_print import print_kernel
from jit.loop_verify import verify_kernel
from jit.target import Target, host

FLOATS, SIGNED, UNSIGNED = (f16, f32, f64), (i8, i16, i32, i64), (u8, u16, u32, u64)
INTS = SIGNED + UNSIGNED
HALVES = (f16, bf16) if dtypes.bfloat16 is not None else (f16,)
ALL = (*HALVES, f32, f64, b1, *INTS)
NATIVE_TYPE = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)
N = 192  # elements; a multiple of every number of lanes

Args = Sequence[np.ndarray | int]


def dtype_of(ty: Ty) -> np.dtype:
    if ty.kind == "bf":
        return dtypes.bfloat16  # type: ignore[return-value]
    return np.dtype({"b": "bool"}.get(ty.kind) or {"f": "float", "i": "int", "u": "uint"}[ty.kind] + str(ty.bits))


def call(address: int, args: Args, lo: int, hi: int, worker: int = 0) -> None:
    frame = np.array([a.ctypes.data if isinstance(a, np.ndarray) else a for a in args], np.int64)
    NATIVE_TYPE(address)(frame.ctypes.data, lo, hi, worker)


def run_native(kernel: Kernel, args: Args, lo: int, hi: int, target: Target | None = None) -> None:
    verify_kernel(kernel)
    code = native.compile_object([kernel], target or host())
    call(native.load_object(code, [kernel.name])[kernel.name], args, lo, hi)


def copies(args: Args) -> list[Any]:
    return [a.copy() if isinstance(a, np.ndarray) else a for a in args]


def same(a: np.ndarray, b: np.ndarray) -> None:
    """Equal bits, but for the payloads of NaNs and the signs of zeros."""
    if a.dtype == dtypes.bfloat16:
        a, b = a.astype(np.float32), b.astype(np.float32)
    np.testing.assert_array_equal(a, b)


def run_everywhere(kernel: Kernel, args: Args, lo: int, hi: int, target: Target | None = None, numba: bool = True) -> list[Any]:
    """Runs natively, as printed Python and (scalar kernels) through Numba; all must agree to the bit."""
    target = target or host()
    by_native, by_python = copies(args), copies(args)
    run_native(kernel, by_native, lo, hi, target)
    text = print_kernel(kernel)
    loop_runtime.run(text, by_python, lo, hi, fma=target.fma)
    for x, y in zip(by_native, by_python):
        same(np.asarray(x), np.asarray(y))
    if numba:
        by_numba = copies(args)
        compiled = compile_numba(kernel, fma=target.fma)
        assert compiled.text == text
        call(compiled.address, by_numba, lo, hi)
        for x, y in zip(by_native, by_numba):
            same(np.asarray(x), np.asarray(y))
    return by_native


def samples(ty: Ty, seed: int = 0) -> np.ndarray:
    """N values of the type, the difficult ones among them."""
    rng = np.random.default_rng(seed)
    d = dtype_of(ty)
    if ty.kind == "b":
        return rng.integers(0, 2, N).astype(bool)
    if ty.kind in "iu":
        info = np.iinfo(d)
        special: list[Any] = [0, 1, 2, info.max, info.max - 1, info.min, info.min + 1]
        x = rng.integers(info.min, info.max, N, d, endpoint=True)
        x[: N // 4] = rng.integers(0, 9, N // 4)
    else:
        tiny = {"f16": 6e-8, "bf16": 1e-39, "f32": 1e-44, "f64": 5e-324}[str(ty)]
        huge = {"f16": 65504.0, "bf16": 3e38, "f32": 3.4e38, "f64": 1.7e308}[str(ty)]
        special = [0.0, -0.0, 0.5, -0.5, 1.5, 2.5, -2.5, 1e9, np.inf, -np.inf, np.nan, tiny, -tiny, huge, 3e-5, -7.75]
        with np.errstate(over="ignore"):
            x = (rng.standard_normal(N) * 2.0 ** rng.integers(-20, 20, N)).astype(d)
    with np.errstate(over="ignore"):
        x[rng.permutation(N)[: len(special)]] = np.array(special, object if ty.kind in "iu" else float).astype(d)
    return x


# ------------------------------------------------------------------- one table: operation -> types, NumPy


def trunc_div(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    exact = [abs(int(x)) // abs(int(y)) * (1 if (x < 0) == (y < 0) else -1) for x, y in zip(a, b)]
    return np.array([e & (2 ** (8 * a.itemsize) - 1) for e in exact], f"u{a.itemsize}").view(a.dtype)


def fused(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """By exact fractions (``test_fused_reference`` checks them against float64)."""
    if a.dtype == np.float16:
        return loop_runtime.NAMES["fma"](*(v.astype(np.float32) for v in (a, b, c))).astype(np.float16)
    return loop_runtime.NAMES["fma"](a, b, c)


def by_float32(f: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """float16 computes in float32 and rounds (NumPy does the same, but for integers and speed)."""

    def g(*args: np.ndarray) -> np.ndarray:
        if args[0].dtype != np.float16:
            return f(*args)
        return f(*(a.astype(np.float32) for a in args)).astype(np.float16)

    return g


NUMBERS = (*FLOATS, *INTS)
OPERATIONS: dict[str, tuple[Sequence[Ty], Callable[..., np.ndarray]]] = {
    "add": (NUMBERS, np.add),
    "sub": (NUMBERS, np.subtract),
    "mul": (NUMBERS, np.multiply),
    "div": (NUMBERS, lambda a, b: a / b if a.dtype.kind == "f" else trunc_div(a, b)),
    "rem": (NUMBERS, np.fmod),
    "neg": (NUMBERS, np.negative),
    "fma": (FLOATS, fused),
    "min": ((*NUMBERS, b1), np.minimum),
    "max": ((*NUMBERS, b1), np.maximum),
    "minnum": (NUMBERS, lambda a, b: np.where(a < b, a, b)),
    "maxnum": (NUMBERS, lambda a, b: np.where(a > b, a, b)),
    "abs": (NUMBERS, np.abs),
    "sqrt": (FLOATS, np.sqrt),
    "floor": (FLOATS, np.floor),
    "ceil": (FLOATS, np.ceil),
    "trunc": (FLOATS, np.trunc),
    "rint": (FLOATS, np.rint),
    "copysign": (FLOATS, np.copysign),
    "and": ((*INTS, b1), np.bitwise_and),
    "or": ((*INTS, b1), np.bitwise_or),
    "xor": ((*INTS, b1), np.bitwise_xor),
    "not": ((*INTS, b1), np.bitwise_not),
    "shl": (INTS, np.left_shift),
    "shr": (INTS, np.right_shift),
    "popcount": (INTS, lambda a: np.array([int(v).bit_count() for v in a.view(f"u{a.itemsize}")], a.dtype)),
    "clz": (INTS, lambda a: np.array([8 * a.itemsize - int(v).bit_length() for v in a.view(f"u{a.itemsize}")], a.dtype)),
    "eq": ((*NUMBERS, b1), np.equal),
    "ne": ((*NUMBERS, b1), np.not_equal),
    "lt": ((*NUMBERS, b1), np.less),
    "le": ((*NUMBERS, b1), np.less_equal),
    "gt": ((*NUMBERS, b1), np.greater),
    "ge": ((*NUMBERS, b1), np.greater_equal),
}
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
LANES = (1, 4, 16)


def all_operations(ty: Ty, lanes: int, vectorize: bool) -> tuple[Kernel, list[tuple[str, Ty]]]:
    """A kernel that applies every operation of the table to (x, y, z), and what it stores where."""
    b = KernelBuilder(f"all_{ty}_{lanes}")
    x, y, z, shift = (b.pointer(n, ty) for n in ("x", "y", "z", "shift"))
    names = [n for n, (types, _) in OPERATIONS.items() if ty in types]
    outs = [(n, b1 if n in COMPARISONS else ty) for n in names]
    pointers = [b.pointer(f"out_{n}", t) for n, t in outs]
    with b.for_("i", b.lo, b.hi, step=lanes, vectorize=vectorize) as i:
        u, v, w = (b.load(p, i, lanes) for p in (x, y, z))
        s = b.load(shift, i, lanes)
        for n, p in zip(names, pointers):
            second = s if n in ("shl", "shr", "div", "rem") and ty.kind in "iu" else v
            b.store(p, i, op_(n, *(u, second, w)[: OPS[n]]))
    return b.build(), outs


def operands(ty: Ty) -> list[np.ndarray]:
    """x, y, z, and small positive (or -1, for division) integers."""
    x, y, z = (samples(ty, seed) for seed in range(3))
    if ty.kind == "b":
        return [x, y, z, x]
    s = np.random.default_rng(9).integers(1, 8, N).astype(dtype_of(ty))
    return [x, y, z, s]


def check_all_operations(ty: Ty, lanes: int, target: Target, vectorize: bool = False) -> None:
    kernel, outs = all_operations(ty, lanes, vectorize)
    ins = operands(ty)
    results = [np.zeros(N, dtype_of(t)) for _, t in outs]
    run_native(kernel, [*ins, *results], 0, N, target)
    for (name, _), got in zip(outs, results):
        args = [ins[0], ins[3] if name in ("shl", "shr", "div", "rem") and ty.kind in "iu" else ins[1], ins[2]]
        reference = OPERATIONS[name][1]
        with np.errstate(all="ignore"):
            if name == "fma" and not target.fma:
                expected = by_float32(lambda a, b, c: a * b + c)(*args)
            else:
                expected = reference(*args[: reference.nin if isinstance(reference, np.ufunc) else reference.__code__.co_argcount])
        np.testing.assert_array_equal(got, expected, err_msg=f"{name} on {ty} x {lanes}")


LEVELS = ("host", "sse2", "sse4", "avx2", "scalar")


def level(name: str) -> Target:
    try:
        return host() if name == "host" else host().restricted(name)
    except BackendError as e:
        pytest.skip(str(e))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("ty", [*FLOATS, b1, *INTS], ids=str)
def test_every_operation_is_numpys(ty: Ty, lanes: int) -> None:
    check_all_operations(ty, lanes, host())


@pytest.mark.parametrize("ty", [*FLOATS, b1, i8, i32, u16, i64], ids=str)
def test_every_operation_vectorized(ty: Ty) -> None:
    check_all_operations(ty, 1, host(), vectorize=True)


@pytest.mark.parametrize("name", LEVELS[1:])
@pytest.mark.parametrize("ty", [*FLOATS, i8, u32, i64], ids=str)
def test_every_operation_on_lesser_machines(ty: Ty, name: str) -> None:
    check_all_operations(ty, 1 if name == "scalar" else 4, level(name), vectorize=name == "scalar")


@pytest.mark.parametrize("ty", [*FLOATS, b1, i8, i32, i64, u16, u64], ids=str)
def test_every_operation_printed(ty: Ty) -> None:
    for lanes in (1, 4):
        kernel, outs = all_operations(ty, lanes, False)
        args = [*(a[:48] for a in operands(ty)), *(np.zeros(48, dtype_of(t)) for _, t in outs)]
        run_everywhere(kernel, args, 0, 48, numba=lanes == 1)


# ----------------------------------------------------------------------------------------- conversions


def converted(x: np.ndarray, dst: Ty) -> np.ndarray:
    """What ``cast`` documents, by NumPy's astype where that is defined and by Python elsewhere."""
    d = dtype_of(dst)
    if dst.kind == "b":
        return x != 0
    is_float = x.dtype.kind == "f" or x.dtype == dtypes.bfloat16
    if dst.kind in "iu" and is_float:
        info = np.iinfo(d)
        wide = x.astype(np.float64)
        limited = [0 if v != v else info.min if v < info.min else info.max if v > info.max else int(v) for v in wide]
        return np.array(limited, object).clip(info.min, info.max).astype(d)
    if d.itemsize == 2 and dst.is_float and not is_float:
        return x.astype(np.float32).astype(d)
    return x.astype(d)


def cast_kernel(src: Ty, lanes: int, vectorize: bool = False) -> Kernel:
    b = KernelBuilder(f"casts_from_{src}")
    x = b.pointer("x", src)
    outs = [b.pointer(f"to_{t}", t) for t in ALL]
    with b.for_("i", b.lo, b.hi, step=lanes, vectorize=vectorize) as i:
        v = b.load(x, i, lanes)
        for t, o in zip(ALL, outs):
            b.store(o, i, v.cast(t.vector(lanes)))
    return b.build()


def check_casts(src: Ty, lanes: int, target: Target, vectorize: bool = False) -> None:
    x = samples(src)
    outs = [np.zeros(N, dtype_of(t)) for t in ALL]
    run_native(cast_kernel(src, lanes, vectorize), [x, *outs], 0, N, target)
    for t, got in zip(ALL, outs):
        with np.errstate(all="ignore"):
            same(got, converted(x, t))


@pytest.mark.parametrize("src", ALL, ids=str)
def test_every_cast_is_numpys(src: Ty) -> None:
    check_casts(src, 1, host())
    check_casts(src, 8, host())
    check_casts(src, 1, host(), vectorize=True)


@pytest.mark.parametrize("src", (*HALVES, f32, f64, i64, u32), ids=str)
@pytest.mark.parametrize("name", LEVELS[1:])
def test_every_cast_on_lesser_machines(name: str, src: Ty) -> None:
    check_casts(src, 1 if name == "scalar" else 4, level(name))


@pytest.mark.parametrize("src", (*HALVES, f32, f64, b1, i8, i64, u32), ids=str)
def test_every_cast_printed(src: Ty) -> None:
    for lanes in (1, 4):
        args = [samples(src)[:96], *(np.zeros(96, dtype_of(t)) for t in ALL)]
        run_everywhere(cast_kernel(src, lanes), args, 0, 96, numba=lanes == 1)


@pytest.mark.parametrize("pair", [(f32, i32), (f32, u32), (f64, i64), (f16, u16), (bf16, i16), (i8, u8), (b1, u8)], ids=str)
def test_bitcast_keeps_the_bits(pair: tuple[Ty, Ty]) -> None:
    if bf16 in pair and bf16 not in HALVES:
        pytest.skip("needs ml_dtypes")
    for src, dst in (pair, pair[::-1]):
        for lanes in (1, 4):
            b = KernelBuilder("bitcast")
            x, o = b.pointer("x", src), b.pointer("o", dst)
            with b.for_("i", b.lo, b.hi, step=lanes) as i:
                b.store(o, i, b.load(x, i, lanes).bitcast(dst.vector(lanes)))
            x_values = samples(src)[:96]
            if dst == b1:
                x_values = x_values & 1
            if src.is_float:
                x_values[np.isnan(x_values.astype(np.float64))] = 1  # NaNs of half precision may lose their payload
            (_, out) = run_everywhere(b.build(), [x_values, np.zeros(96, dtype_of(dst))], 0, 96, numba=lanes == 1)
            np.testing.assert_array_equal(out.view(np.uint8), x_values.view(np.uint8))


def test_bitcast_between_lanes() -> None:
    b = KernelBuilder("regroup")
    x, o, s = b.pointer("x", u32), b.pointer("o", u8), b.pointer("s", u64)
    v = b.load(x, 0, 2)
    b.store(o, 0, v.bitcast(u8.vector(8)))
    b.store(s, 0, v.bitcast(u64))
    data = np.array([0x01020304, 0xA0B0C0D0], np.uint32)
    _, o_values, s_values = run_everywhere(
        b.build(), [data, np.zeros(8, np.uint8), np.zeros(1, np.uint64)], 0, 1, numba=False
    )
    assert o_values.tobytes() == data.tobytes() == s_values.tobytes()


def test_fused_reference() -> None:
    """The fractions agree with a float64 product where that is exact, and with a known case where it is not."""
    rng = np.random.default_rng(3)
    a, b, c = (rng.standard_normal(500).astype(np.float16).astype(np.float32) for _ in range(3))
    exact = (a.astype(np.float64) * b + c).astype(np.float32)
    np.testing.assert_array_equal(loop_runtime.NAMES["fma"](a, b, c), exact)
    x = np.float64(1 + 2.0**-30)
    assert loop_runtime.NAMES["fma"](x, x, np.float64(-1)) == 2.0**-29 + 2.0**-60


# --------------------------------------------------------------------------------------------- vectors


@pytest.mark.parametrize("ty", [f16, f32, f64, i8, i32, u64], ids=str)
@pytest.mark.parametrize("lanes", [2, 8, 16])
def test_vector_operations(ty: Ty, lanes: int) -> None:
    b = KernelBuilder("vectors")
    x, o, s = b.pointer("x", ty), b.pointer("o", ty), b.pointer("s", ty)
    v = b.let("v", b.load(x, 0, lanes))
    for k, name in enumerate(("hadd", "hmax", "hmin")):
        b.store(s, k, op_(name, v))
    b.store(s, 3, op_("extract", v, Const(lanes - 1, i64)))
    b.store(o, 0, Op("insert", (v, Const(1, i64), b.load(x, 0)), v.ty))
    b.store(o, lanes, Op("iota", (), v.ty))
    b.store(o, 2 * lanes, b.load(x, 1).splat(lanes))
    b.store(o, 3 * lanes, select(b.lo.eq(0), v, v + v))
    b.store(o, 4 * lanes, Const(3, v.ty))
    values = np.random.default_rng(1).integers(1, 7, lanes).astype(dtype_of(ty))
    _, out, scalars = run_everywhere(
        b.build(), [values, np.zeros(5 * lanes, dtype_of(ty)), np.zeros(4, dtype_of(ty))], 0, 1, numba=False
    )
    np.testing.assert_array_equal(scalars, [values.sum(dtype=values.dtype), values.max(), values.min(), values[-1]])
    first, second, third, fourth, fifth = out.reshape(5, lanes)
    np.testing.assert_array_equal(first, [values[0], values[0], *values[2:]])
    np.testing.assert_array_equal(second, np.arange(lanes))
    np.testing.assert_array_equal(third, np.full(lanes, values[1]))
    np.testing.assert_array_equal(fourth, values)
    np.testing.assert_array_equal(fifth, np.full(lanes, 3))


def test_horizontal_sum_is_a_fixed_tree() -> None:
    b = KernelBuilder("tree")
    x, o = b.pointer("x", f32), b.pointer("o", f32)
    b.store(o, 0, op_("hadd", b.load(x, 0, 8)))
    x_values = (np.random.default_rng(0).standard_normal(8) * 10.0 ** np.arange(8)).astype(np.float32)
    _, out = run_everywhere(b.build(), [x_values, np.zeros(1, np.float32)], 0, 1, numba=False)
    t = x_values[:4] + x_values[4:]
    t = t[:2] + t[2:]
    assert out[0] == t[0] + t[1]


def test_smallest_integer_by_minus_one_does_not_trap() -> None:
    for ty in SIGNED:
        for lanes in (1, 4):
            b = KernelBuilder("edge")
            x, y, q, r = (b.pointer(n, ty) for n in ("x", "y", "q", "r"))
            with b.for_("i", b.lo, b.hi, step=lanes) as i:
                u, v = b.load(x, i, lanes), b.load(y, i, lanes)
                b.store(q, i, u / v)
                b.store(r, i, u % v)
            low = np.iinfo(dtype_of(ty)).min
            x_values = np.array([low, low, 7, -7], dtype_of(ty))
            y_values = np.array([-1, 3, -1, 2], dtype_of(ty))
            *_, q_values, r_values = run_everywhere(
                b.build(), [x_values, y_values, *np.zeros((2, 4), dtype_of(ty))], 0, 4, numba=lanes == 1
            )
            assert q_values.tolist() == [low, int(low / 3) if ty != i64 else -(2**63 // 3), -7, -3]
            assert r_values.tolist() == [0, int(np.fmod(low, dtype_of(ty).type(3))), 0, -1]


# -------------------------------------------------------------------------------------- control flow


def axpy() -> Kernel:
    b = KernelBuilder("axpy")
    x, y, n = b.pointer("x", f32), b.pointer("y", f32), b.integer("n")
    b.comment("y = 2 x + y")
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        b.store(y, i, b.load(x, i) * 2.0 + b.load(y, i))
    del n
    return b.build()


AXPY = """\
def axpy(x: "f32*", y: "f32*", n: "i64", lo, hi, worker):
    # y = 2 x + y
    for i in range(lo, hi):  # vectorize
        y[i] = x[i]*f32(2.0) + y[i]
"""


def test_printed_axpy() -> None:
    assert print_kernel(axpy()) == AXPY


def test_axpy_and_every_way_to_cut_it() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 100)).astype(np.float32)
    _, expected, _ = run_everywhere(axpy(), [x, y, 0], 0, 100)
    np.testing.assert_array_equal(expected, x * 2 + y)
    code = native.load_object(native.compile_object([axpy()], host()), ["axpy"])
    for cut in (0, 1, 7, 8, 50, 99, 100):
        z = y.copy()
        call(code["axpy"], [x, z, 0], cut, 100)
        call(code["axpy"], [x, z, 0], 0, cut)
        np.testing.assert_array_equal(z, expected)


def strided_sum() -> Kernel:
    """out[r] = sum_j x[offset + r*rows + j*cols]"""
    b = KernelBuilder("strided_sum")
    x, out = b.pointer("x", f64), b.pointer("out", f64)
    offset, rows, cols, n = (b.integer(name) for name in ("offset", "rows", "cols", "n"))
    with b.for_("r", b.lo, b.hi) as r:
        acc = b.var("acc", Const(0.0, f64))
        with b.for_("j", 0, n) as j:
            b.assign(acc, acc + b.load(x, offset + r * rows + j * cols))
        b.store(out, r, acc)
    return b.build()


def test_strided_sum() -> None:
    x = np.random.default_rng(0).standard_normal((7, 5))
    out = np.zeros(5)
    _, result, *_ = run_everywhere(strided_sum(), [x.ravel(), out, 0, 1, 5, 7], 0, 5)
    np.testing.assert_allclose(result, x.sum(0), rtol=1e-14)


def test_negative_strides_reach_before_the_pointer() -> None:
    x, out = np.arange(6.0), np.zeros(6)
    run_native(strided_sum(), [x[5:], out, 0, -1, 0, 1], 0, 6)
    np.testing.assert_array_equal(out, x[::-1])
    again = np.zeros(6)
    loop_runtime.run(print_kernel(strided_sum()), [loop_runtime.Pointer(x, 5), again, 0, -1, 0, 1], 0, 6)
    np.testing.assert_array_equal(again, out)


def test_plain_python_finds_an_index_out_of_bounds() -> None:
    with pytest.raises(IndexError, match="outside an array of 6"):
        loop_runtime.run(print_kernel(strided_sum()), [np.arange(6.0), np.zeros(7), 0, 1, 0, 1], 0, 7)


def test_two_level_nest() -> None:
    """Transpose and add a row, with an empty inner range as well."""
    b = KernelBuilder("nest")
    x, row, out = b.pointer("x", i32), b.pointer("row", i32), b.pointer("out", i32)
    m, n = b.integer("m"), b.integer("n")
    with b.for_("i", b.lo, b.hi) as i, b.for_("j", 0, m) as j:
        b.store(out, i * m + j, b.load(x, j * n + i) + b.load(row, i))
    kernel = b.build()
    x_values = np.arange(12, dtype=np.int32).reshape(3, 4)
    row_values = np.array([100, 200, 300, 400], np.int32)
    args = [x_values.ravel(), row_values, np.zeros(12, np.int32), 3, 4]
    out_values = run_everywhere(kernel, args, 0, 4)[2]
    np.testing.assert_array_equal(out_values.reshape(4, 3), (x_values + row_values).T)
    untouched = run_everywhere(kernel, [args[0], args[1], np.zeros(12, np.int32), 0, 4], 0, 4)[2]
    assert not untouched.any()


def test_while_gcd() -> None:
    b = KernelBuilder("gcd")
    x, y, out = (b.pointer(n, u32) for n in ("x", "y", "out"))
    with b.for_("i", b.lo, b.hi) as i:
        u, v = b.var("u", b.load(x, i)), b.var("v", b.load(y, i))
        with b.while_(v.ne(0)):
            t = b.let("t", u % v)
            b.assign(u, v)
            b.assign(v, t)
        b.store(out, i, u)
    rng = np.random.default_rng(0)
    x_values, y_values = rng.integers(0, 10**6, (2, 50)).astype(np.uint32)
    *_, out_values = run_everywhere(b.build(), [x_values, y_values, np.zeros(50, np.uint32)], 0, 50)
    np.testing.assert_array_equal(out_values, np.gcd(x_values, y_values))


def test_branches_that_assign() -> None:
    b = KernelBuilder("branches")
    x, out = b.pointer("x", i64), b.pointer("out", i64)
    best, count = b.var("best", Const(-1, i64)), b.var("count", Const(0, i64))
    with b.for_("i", b.lo, b.hi) as i:
        v = b.let("v", b.load(x, i))
        with b.if_(v > best):
            b.assign(best, v)
            b.assign(count, count + 1)
        with b.else_():
            with b.if_(v.eq(best)):
                b.assign(count, count * 10)
    b.store(out, 0, best)
    b.store(out, 1, count)
    kernel = b.build()
    for values, expected in (([3, 5, 5, 2, 9, 9], [9, 210]), ([], [-1, 0])):
        data = np.array(values or [0], np.int64)
        _, result = run_everywhere(kernel, [data, np.zeros(2, np.int64)], 0, len(values))
        assert result.tolist() == expected


def test_scratch_array() -> None:
    """Reverses each row through a scratch array, so no load may move across a store."""
    b = KernelBuilder("reverse_rows")
    x = b.pointer("x", f32)
    with b.for_("r", b.lo, b.hi) as r:
        tmp = b.alloc("tmp", f32, 8)
        with b.for_("i", 0, 8) as i:
            b.store(tmp, i, b.load(x, r * 8 + i))
        with b.for_("j", 0, 8) as j:
            b.store(x, r * 8 + j, b.load(tmp, 7 - j) + b.load(tmp, 0))
    x_values = np.arange(24, dtype=np.float32)
    (result,) = run_everywhere(b.build(), [x_values], 0, 3)
    rows = x_values.reshape(3, 8)
    np.testing.assert_array_equal(result.reshape(3, 8), rows[:, ::-1] + rows[:, :1])


def test_boolean_and_half_scratch_arrays() -> None:
    b = KernelBuilder("typed_scratch")
    x, out = b.pointer("x", f32), b.pointer("out", f32)
    flags, halves = b.alloc("flags", b1, 4), b.alloc("halves", f16, 4)
    with b.for_("i", 0, 4) as i:
        b.store(flags, i, b.load(x, i) > 0.0)
        b.store(halves, i, b.load(x, i).cast(f16))
    with b.for_("j", 0, 4) as j:
        b.store(out, j, select(b.load(flags, j), b.load(halves, j).cast(f32), 0.0))
    x_values = np.array([1.0003, -2, 3.0001, 0], np.float32)
    _, result = run_everywhere(b.build(), [x_values, np.zeros(4, np.float32)], 0, 1)
    np.testing.assert_array_equal(result, np.maximum(x_values.astype(np.float16), 0))


def test_a_store_between_two_uses_of_one_load() -> None:
    """The same Load object means "read now", so it is read again after the store."""
    b = KernelBuilder("reread")
    x, y = b.pointer("x", i32), b.pointer("y", i32)
    v = b.load(x, 0) + 1
    b.store(x, 0, v * v)
    b.store(y, 0, v)
    x_values, y_values = run_everywhere(b.build(), [np.array([4], np.int32), np.zeros(1, np.int32)], 0, 1)
    assert (x_values[0], y_values[0]) == (25, 26)


def test_an_expression_of_a_variable_follows_it() -> None:
    b = KernelBuilder("follow")
    out = b.pointer("out", i64)
    v = b.var("v", Const(1, i64))
    double = v * 2
    with b.for_("i", 0, 3) as i:
        b.store(out, i, double)
        b.assign(v, double + 1)
    b.store(out, 3, double)
    (result,) = run_everywhere(b.build(), [np.zeros(4, np.int64)], 0, 1)
    assert result.tolist() == [2, 6, 14, 30]


def test_what_a_loop_does_not_change_may_move_but_not_trap() -> None:
    """Loads and divisions stay inside a loop that does not run, and inside a branch that is not taken."""
    b = KernelBuilder("careful")
    x, out, n, d = b.pointer("x", i64), b.pointer("out", i64), b.integer("n"), b.integer("d")
    with b.for_("i", b.lo, b.hi) as i:
        with b.for_("j", 0, n) as j:
            b.store(out, j, b.load(x, 1 << 40) + n / d)
        with b.if_(d.ne(0)):
            b.store(out, i, b.load(x, d - 1) + n / d)
    kernel = b.build()
    for d_value, expected in ((0, 0), (1, 7)):
        _, result, *_ = run_everywhere(kernel, [np.array([7]), np.zeros(2, np.int64), 0, d_value], 0, 2)
        assert result.tolist() == [expected, expected]


def test_names_that_python_needs_itself() -> None:
    b = KernelBuilder("fma")
    x, out = b.pointer("lambda", f32), b.pointer("select", f32)
    a = b.let("f32", b.load(x, 0))
    c = b.var("range", fma(a, a, 1.0))
    with b.for_("in", 0, 2) as i:
        b.store(out, i, c)
    _, result = run_everywhere(b.build(), [np.array([3], np.float32), np.zeros(2, np.float32)], 0, 1)
    assert result.tolist() == [10, 10]


def test_shared_expressions_are_computed_and_printed_once() -> None:
    """x^(2^40) by squaring: a tree of 2^40 nodes, a graph of 40."""
    b = KernelBuilder("power")
    x, out = b.pointer("x", u32), b.pointer("out", u32)
    v = b.load(x, 0)
    for _ in range(40):
        v = v * v
    b.store(out, 0, v)
    kernel = b.build()
    assert len(print_kernel(kernel).splitlines()) < 50
    _, result = run_everywhere(kernel, [np.array([3], np.uint32), np.zeros(1, np.uint32)], 0, 1)
    assert result[0] == pow(3, 2**40, 2**32)


# ---------------------------------------------------------------------------------- vectorised loops

SIZES = (0, 1, 3, 7, 8, 9, 31, 32, 33, 64, 100)


def elementwise(b: KernelBuilder, i: Any, x: str, y: str, out: str) -> None:
    """A body with a local, a uniform value, a shifted load, an index comparison and an index value."""
    scale = b.load(y, 0)
    v = b.let("v", b.load(x, i + 1) * scale - b.load(x, i))
    w = b.var("w", maximum(v, -1.0))
    b.assign(w, select(i < b.hi - 5, w * v, w))
    b.store(out, i, w + i.cast(i32).cast(f32) + select(scale > 0.0, v, w))


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


def reduction(name: str, ty: Ty, vectorize: bool) -> Kernel:
    b = KernelBuilder("reduction")
    x, out, n = b.pointer("x", ty), b.pointer("out", ty), b.integer("n")
    with b.for_("r", b.lo, b.hi) as r:
        acc = b.var("acc", b.load(out, r))
        with b.for_("i", 0, n, vectorize=vectorize) as i:
            v = b.load(x, r * n + i)
            b.assign(acc, fma(v, v, acc) if name == "fma" else op_(name, acc, v))
        b.store(out, r, acc)
    return b.build()


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


# ------------------------------------------------------------------------------------- random kernels

RANDOM_TYPES = (f16, f32, f64, i8, i32, i64, u16, u64, b1)


class Generator:
    """Writes a random scalar kernel: expressions over loads and locals, loops, branches, variables."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.b = KernelBuilder(f"random_{seed}")
        self.ins = {t: self.b.pointer(f"x_{t}", t) for t in RANDOM_TYPES}
        self.outs = {t: self.b.pointer(f"out_{t}", t) for t in RANDOM_TYPES}
        self.locals: list[Any] = []
        self.variables: list[Any] = []

    def choice(self, items: Sequence[Any]) -> Any:
        return items[self.rng.integers(len(items))]

    def index(self) -> Any:
        return self.choice([i for i in self.indices])

    def expr(self, ty: Ty, depth: int) -> Any:
        leaves = [v for v in self.locals + self.variables if v.ty == ty]
        if depth == 0 or self.rng.random() < 0.1:
            kind = self.rng.integers(3)
            if kind == 0 and leaves:
                return self.choice(leaves)
            if kind == 1:
                return Const(bool(self.rng.integers(2)) if ty == b1 else int(self.rng.integers(0, 100)), ty)
            return self.b.load(self.ins[ty], self.index())
        if self.rng.random() < 0.2:
            return self.expr(self.choice(RANDOM_TYPES), depth - 1).cast(ty)
        names = [n for n, (types, _) in OPERATIONS.items() if (ty in types) != (n in COMPARISONS)]
        if ty == b1:
            names = ["and", "or", "xor", "not", *COMPARISONS, "min", "select"]
        name = self.choice([*names, "select"])
        if name == "select":
            return select(self.expr(b1, depth - 1), self.expr(ty, depth - 1), self.expr(ty, depth - 1))
        operand = self.choice(RANDOM_TYPES[:-1]) if name in COMPARISONS else ty
        args = [self.expr(operand, depth - 1) for _ in range(OPS[name])]
        if name in ("div", "rem", "shl", "shr") and not operand.is_float:
            args[1] = Const(int(self.rng.integers(1, 8)), operand)
        if len(args) > 1 and self.rng.random() < 0.2 and name not in ("div", "rem", "shl", "shr"):
            args[1] = args[0]  # a shared operand
        return op_(name, *args)

    def statements(self, depth: int) -> None:
        for _ in range(self.rng.integers(2, 5)):
            ty = self.choice(RANDOM_TYPES)
            mine = [v for v in self.variables if v.ty == ty]
            match self.rng.integers(6 if depth else 4):
                case 0:
                    self.locals.append(self.b.let("v", self.expr(ty, 2)))
                case 1:
                    self.variables.append(self.b.var("m", self.expr(ty, 2)))
                case 2 if mine:
                    self.b.assign(self.choice(mine), self.expr(ty, 3))
                case 4:
                    with self.scope(), self.b.if_(self.expr(b1, 2)):
                        self.statements(depth - 1)
                    if self.rng.integers(2):
                        with self.scope(), self.b.else_():
                            self.statements(depth - 1)
                case 5:
                    with self.scope(), self.b.for_("k", 0, int(self.rng.integers(0, 4))) as k:
                        self.indices.append(k)
                        self.statements(depth - 1)
                        self.indices.pop()
                case _:
                    self.b.store(self.outs[ty], self.index(), self.expr(ty, 3))

    def scope(self) -> Any:
        from contextlib import contextmanager

        @contextmanager
        def scoped() -> Any:
            n, m = len(self.locals), len(self.variables)
            yield
            del self.locals[n:], self.variables[m:]

        return scoped()

    def kernel(self) -> Kernel:
        with self.b.for_("i", self.b.lo, self.b.hi) as i:
            self.indices = [i]
            self.statements(2)
            for t, o in self.outs.items():
                self.b.store(o, i, self.expr(t, 2))
        return self.b.build()


@pytest.mark.parametrize("seed", range(40))
def test_random_kernels_agree(seed: int) -> None:
    kernel = Generator(seed).kernel()
    ins = [samples(t, seed)[:12] for t in RANDOM_TYPES]
    outs = [np.zeros(12, dtype_of(t)) for t in RANDOM_TYPES]
    run_everywhere(kernel, [*ins, *outs], 0, 12, numba=seed < 6)


# ------------------------------------------------------------------------------------------- verifier


def body(*stmts: Any) -> Kernel:
    params = (Param("x", f32, True), Param("y", i32, True), Param("n", i64, False))
    return Kernel("planted", params, stmts)


one, n, x0 = Const(1, i64), Ref("n", i64), Load("x", Const(0, i64), f32)
v4 = f32.vector(4)
FAULTS: list[tuple[Kernel, str]] = [
    (body(Store("x", one, Const(1, i32))), "planted.store x.value: 'x' holds f32, not i32"),
    (body(Store("z", one, x0)), "no buffer 'z'"),
    (body(Store("x", Const(1, i32), x0)), "store x.index: expected i64, found i32"),
    (body(Let("a", Op("add", (x0, Const(1.0, f64)), f32))), r"let a.add: operands \(f32, f64\) and result f32"),
    (body(Let("a", Op("add", (x0, x0), f64))), "result f64 have one type"),
    (body(Let("a", Op("add", (Const(True, b1), Const(True, b1)), b1))), "not an operation on b1"),
    (body(Let("a", Op("and", (x0, x0), f32))), "not an operation on f32"),
    (body(Let("a", Op("sqrt", (n,), i64))), "not an operation on i64"),
    (body(Let("a", Op("lt", (n, n), i64))), "the result is b1, not i64"),
    (body(Let("a", Op("select", (n, x0, x0), f32))), "the condition of f32 cannot be i64"),
    (body(Let("a", Op("select", (Const(True, b1), x0, n), f32))), r"cases \(f32, i64\)"),
    (body(Let("a", Op("add", (x0,), f32))), "add takes 2 operands, not 1"),
    (body(Let("a", Op("tanh", (x0,), f32))), "no operation 'tanh'"),
    (body(Let("a", Op("bitcast", (x0,), i64))), "f32 and i64 have different sizes"),
    (body(Let("a", Op("cast", (x0,), i32.vector(4)))), "different numbers of lanes"),
    (body(Let("a", Op("splat", (n,), v4))), "no splat from i64 to f32x4"),
    (body(Let("a", Op("hadd", (x0,), f32))), "no reduction of f32"),
    (body(Let("a", Op("extract", (Load("x", one, v4), Const(4, i64)), f32))), "constant integer below 4"),
    (body(Let("a", Op("extract", (Load("x", one, v4), n), f32))), "constant integer below 4"),
    (body(Let("a", Op("insert", (Load("x", one, v4), Const(0, i64), n), v4))), "no insert of i64"),
    (body(Let("a", Load("x", one, f32.vector(3)))), "3 lanes"),
    (body(Let("a", Op("add", (Const(1.0, bf16), Const(1.0, bf16)), bf16))), "not an operation on bf16"),
    (body(Let("a", Const(1.5, i32))), "1.5 is not an integer of 32 bits"),
    (body(Let("a", Const(256, u8))), "256 is not an integer of 8 bits"),
    (body(Let("a", Const(2, b1))), "2 is not a boolean"),
    (body(Let("a", Const("1", f32))), "not a real number"),
    (body(Let("a", Const(1, Ty("f", 8)))), "there is no type f8"),
    (body(Let("a", Ref("b", f32))), "no local 'b'"),
    (body(Let("a", Ref("n", f32))), "'n' is i64, read as f32"),
    (body(Let("a", one), Let("a", one)), "'a' is declared already"),
    (body(Let("n", one)), "'n' is declared already"),
    (body(Let("lo", one)), "'lo' is declared already"),
    (body(Let("a b", one)), "not an identifier"),
    (body(Let("a", one), Assign("a", one)), "'a' is immutable"),
    (body(Assign("a", one)), "no local 'a'"),
    (body(Let("a", one, True), Assign("a", x0)), "expected i64, found f32"),
    (body(For("i", one, n, (Let("a", one),)), Store("x", Ref("a", i64), x0)), "no local 'a'"),
    (body(For("i", one, n, ()), Store("x", Ref("i", i64), x0)), "no local 'i'"),
    (body(For("i", one, n, (Assign("i", one),))), "for i.assign i: 'i' is immutable"),
    (body(For("i", one, n, (), step=0)), "the step is a positive int"),
    (body(For("i", x0, n, ())), "start: expected i64, found f32"),
    (body(If(n, ())), "if.cond: expected b1, found i64"),
    (body(If(Const(True, b1), (Let("a", one),), (Let("a", x0),))), "'a' was a value of i64 in another block"),
    (body(While(x0, ())), "while.cond: expected b1"),
    (body(Alloc("t", f32, 1 << 20)), "take a scratch pointer instead"),
    (body(Alloc("t", f32, 0)), "positive int"),
    (body(Alloc("t", v4, 4)), "elements are scalars"),
    (body(If(Const(True, b1), (), (Store("x", n, n),))), "if.else.store x.value"),
    (body("x = 1"), "str is not a statement"),
    (body(Let("a", 3)), "int is not an expression"),
    (body(Comment(3)), "a comment is a string"),  # type: ignore[arg-type]
    (Kernel("a b", (), ()), "a kernel's name"),
    (Kernel("k", (Param("x", f32, False),), ()), "a parameter that is no pointer is an i64"),
    (Kernel("k", (Param("x", f32, True), Param("x", f32, True)), ()), "'x' is declared already"),
]  # fmt: skip


@pytest.mark.parametrize("kernel,message", FAULTS, ids=[m for _, m in FAULTS])
def test_the_verifier_finds(kernel: Kernel, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        verify_kernel(kernel)


def test_unknown_nodes_raise_everywhere() -> None:
    for kernel in (body("x = 1"), body(Let("a", 3))):
        for walk in (print_kernel, lambda k: emit_llvm.emit_module([k], host())):
            with pytest.raises((GraphError, AttributeError)):
                walk(kernel)


# --------------------------------------------------------------------------------- objects and engines


def test_object_code_is_checked_before_it_is_linked() -> None:
    code = native.compile_object([axpy()], host())
    for damaged in (b"", code[:50], code[:-1], bytes([code[0] ^ 1]) + code[1:], code[:200] + b"\0" + code[201:], b"x" * 999):
        if damaged != code:
            with pytest.raises(BackendError, match="damaged"):
                native.load_object(damaged, ["axpy"])
    with pytest.raises(BackendError, match="does not link"):
        native.load_object(code, ["nothing"])


def test_object_code_has_no_external_symbols() -> None:
    """Linking would fail: the linker is given no library.  Remainders and roundings are the usual suspects."""
    kernels = [all_operations(t, 4, True)[0] for t in (f16, f64)]
    for name in ("host", "sse2"):
        native.load_object(native.compile_object(kernels, level(name)), [k.name for k in kernels])


def test_many_threads_compile_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    def one_of(seed: int) -> bytes:
        return native.compile_object([Generator(seed).kernel()], host())

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(one_of, range(8)))
    assert together == [one_of(seed) for seed in range(8)]


def test_llvm_accepts_the_ir() -> None:
    kernels = [axpy(), strided_sum(), reduction("add", f32, True), *(Generator(seed).kernel() for seed in range(10))]
    assert "define void @axpy" in native.optimized_ir(kernels, host())


def test_numba_refuses_vectors() -> None:
    with pytest.raises(LoweringError, match="target level 'scalar'"):
        compile_numba(all_operations(f32, 4, False)[0])


def test_both_runtimes_define_the_same_names() -> None:
    assert set(NUMBA_NAMES) - {"pointer"} == set(loop_runtime.NAMES) - set(loop_runtime.VECTOR_NAMES)
