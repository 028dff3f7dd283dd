"""What the tests of the loop language share: sample values, kernels, and three ways to run a kernel."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from fx import dtypes
from fx.errors import BackendError
from jit import loop_runtime
from jit.emit_numba import NumbaKernel, compile_numba
from jit.llvm import native, objects
from jit.loop_builder import KernelBuilder
from jit.loop_ir import (
    OPS,
    Const,
    Kernel,
    Ty,
    b1,
    bf16,
    f16,
    f32,
    f64,
    fma,
    i8,
    i16,
    i32,
    i64,
    op_,
    select,
    u8,
    u16,
    u32,
    u64,
)
from jit.loop_print import print_kernel
from jit.loop_verify import verify_kernel
from jit.target import Target, host

FLOATS, SIGNED, UNSIGNED = (f16, f32, f64), (i8, i16, i32, i64), (u8, u16, u32, u64)
INTS = SIGNED + UNSIGNED
HALVES = (f16, bf16) if dtypes.bfloat16 is not None else (f16,)
ALL = (*HALVES, f32, f64, b1, *INTS)
LEVELS = ("host", "sse2", "sse4", "avx2", "scalar")
NATIVE_TYPE = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)
N = 192  # elements; a multiple of every number of lanes

Args = Sequence[np.ndarray | int]


def level(name: str) -> Target:
    """The host, or the host with the features of a lesser machine; skips the test where it cannot run."""
    try:
        return host() if name == "host" else host().restricted(name)
    except BackendError as e:
        pytest.skip(str(e))


def dtype_of(ty: Ty) -> np.dtype:
    if ty.kind == "bf":
        return dtypes.bfloat16  # type: ignore[return-value]
    return np.dtype({"b": "bool"}.get(ty.kind) or {"f": "float", "i": "int", "u": "uint"}[ty.kind] + str(ty.bits))


def call(address: int, args: Args, lo: int, hi: int, worker: int = 0) -> None:
    frame = np.array([a.ctypes.data if isinstance(a, np.ndarray) else a for a in args], np.int64)
    NATIVE_TYPE(address)(frame.ctypes.data, lo, hi, worker)


def compiled(kernel: Kernel, target: Target | None = None) -> Callable[[Args, int, int], None]:
    """``run(args, lo, hi)`` of the native kernel."""
    verify_kernel(kernel)
    code = native.compile_object([kernel], target or host())
    address = objects.load_object(code, [kernel.name])[kernel.name]
    return lambda args, lo, hi: call(address, args, lo, hi)


def run_native(kernel: Kernel, args: Args, lo: int, hi: int, target: Target | None = None) -> None:
    compiled(kernel, target)(args, lo, hi)


def copies(args: Args) -> list[Any]:
    return [a.copy() if isinstance(a, np.ndarray) else a for a in args]


def same(a: np.ndarray, b: np.ndarray) -> None:
    """Equal bits, but for the payloads of NaNs and the signs of zeros."""
    if a.dtype == dtypes.bfloat16:
        a, b = a.astype(np.float32), b.astype(np.float32)
    np.testing.assert_array_equal(a, b)


_by_numba: dict[Hashable, NumbaKernel] = {}  # by what it compiles, which takes it half a second


def by_numba(kernel: Kernel, fma: bool) -> NumbaKernel:
    key = print_kernel(kernel), kernel.params, fma
    if key not in _by_numba:
        _by_numba[key] = compile_numba(kernel, fma=fma)
    return _by_numba[key]


def run_everywhere(
    kernel: Kernel, args: Args, lo: int, hi: int, target: Target | None = None, numba: bool = True
) -> list[Any]:
    """Runs natively, as printed Python and (scalar kernels) through Numba; all must agree to the bit."""
    target = target or host()
    by_native, by_python = copies(args), copies(args)
    run_native(kernel, by_native, lo, hi, target)
    text = print_kernel(kernel)
    loop_runtime.run(text, by_python, lo, hi, fma=target.fma)
    for x, y in zip(by_native, by_python):
        same(np.asarray(x), np.asarray(y))
    if numba:
        compiled, found = by_numba(kernel, target.fma), copies(args)
        assert compiled.text == text
        call(compiled.address, found, lo, hi)
        for x, y in zip(by_native, found):
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
    "clz": (
        INTS,
        lambda a: np.array([8 * a.itemsize - int(v).bit_length() for v in a.view(f"u{a.itemsize}")], a.dtype),
    ),
    "eq": ((*NUMBERS, b1), np.equal),
    "ne": ((*NUMBERS, b1), np.not_equal),
    "lt": ((*NUMBERS, b1), np.less),
    "le": ((*NUMBERS, b1), np.less_equal),
    "gt": ((*NUMBERS, b1), np.greater),
    "ge": ((*NUMBERS, b1), np.greater_equal),
}
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


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


# ------------------------------------------------------------------------------------------ kernels


def axpy() -> Kernel:
    b = KernelBuilder("axpy")
    x, y, n = b.pointer("x", f32), b.pointer("y", f32), b.integer("n")
    b.comment("y = 2 x + y")
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        b.store(y, i, b.load(x, i) * 2.0 + b.load(y, i))
    del n
    return b.build()


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
        self.indices: list[Any] = []

    def choice(self, items: Sequence[Any]) -> Any:
        return items[self.rng.integers(len(items))]

    def index(self) -> Any:
        return self.choice(self.indices)

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

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        n, m = len(self.locals), len(self.variables)
        yield
        del self.locals[n:], self.variables[m:]

    def kernel(self, depth: int = 2) -> Kernel:
        """``depth``: how deep branches and loops nest."""
        with self.b.for_("i", self.b.lo, self.b.hi) as i:
            self.indices = [i]
            self.statements(depth)
            for t, o in self.outs.items():
                self.b.store(o, i, self.expr(t, 2))
        return self.b.build()


@contextlib.contextmanager
def guarded_pages() -> Iterator[tuple[Any, int]]:
    """Memory and its size, behind which nothing can be read."""
    if sys.platform == "win32":
        pytest.skip("pages are protected by mprotect")
    size = mmap.PAGESIZE
    pages = mmap.mmap(-1, 2 * size)
    page = (ctypes.c_char * size).from_buffer(pages)
    protect = ctypes.CDLL(None).mprotect
    beyond = ctypes.c_void_p(ctypes.addressof(page) + size)
    assert protect(beyond, ctypes.c_size_t(size), 0) == 0
    try:
        yield page, size
    finally:
        assert protect(beyond, ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_WRITE) == 0
