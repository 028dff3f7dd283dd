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
    Alloc, Assign, Comment, Const, For, If, Kernel, KernelBuilder, Let, Load, Op, Param, Ref, Store, Ty, While,
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


def rounded_fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Exact enough: the product of floats is exact in the next wider type, and the sum is rounded from there."""
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
    "fma": (FLOATS, rounded_fma),
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
    from jit.loop_ir import OPS

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
