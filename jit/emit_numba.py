"""The second engine: Numba compiles the printed Python.

It is there to check the first: the text that a person reads is the text that runs.  Numba costs about 35 ms
a kernel and 5 ms a statement, and knows no vectors, so kernels are built for ``Target.restricted("scalar")``.
"""

# mypy: disable-error-code="call-arg,var-annotated"
# (an intrinsic is written with the typing context as its first argument, and called without it)
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from fx.errors import LoweringError

from .loop_ir import Kernel, Param, Stmt
from .loop_print import print_kernel
from .loop_walk import operands, statements

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_INTS = {f"{k[0]}{b}": getattr(types, f"{k}{b}") for k in ("int", "uint") for b in (8, 16, 32, 64)}
_MEMORY = {**_INTS, "f16": types.uint16, "bf16": types.uint16, "f32": types.float32, "f64": types.float64, "b1": types.boolean}  # fmt: skip


@dataclass(frozen=True)
class NumbaKernel:
    """A compiled kernel: ``address`` of ``void(i64* frame, i64 lo, i64 hi, i64 worker)``, and what was compiled."""

    address: int
    text: str
    callback: Any  # keeps the code in memory


def compile_numba(kernel: Kernel, fma: bool = True) -> NumbaKernel:
    """Compiles the printed text of ``kernel``.

    Args:
        fma: False where the host has no such instruction: a product and a sum, rounded twice.

    Raises:
        LoweringError: if the kernel uses vectors.
    """
    if _uses_vectors(kernel.body):
        raise LoweringError(
            f"kernel {kernel.name!r} uses vectors; the numba engine needs kernels built for target level 'scalar'"
        )
    text = print_kernel(kernel)
    names = dict(NAMES, fma=NAMES["fma"] if fma else _product_sum)
    defined: dict[str, Any] = {}  # apart, so that a kernel may be called like one of the names
    exec(compile(text, f"<kernel {kernel.name}>", "exec"), names, defined)
    names["kernel"] = numba.njit(**_OPTIONS)(defined[kernel.name])
    exec(_entry(kernel.params), names)
    signature = types.void(types.CPointer(types.int64), types.int64, types.int64, types.int64)
    callback = numba.cfunc(signature, nogil=True, error_model="numpy")(names["entry"])
    address: Any = callback.address
    return NumbaKernel(address, text, callback)


def _entry(params: Sequence[Param]) -> str:
    """Python text that unpacks the frame."""
    types = ["u8" if p.ty.kind == "b" else str(p.ty) for p in params]
    args = [f"pointer(frame[{k}], {t})" if p.pointer else f"frame[{k}]" for k, (p, t) in enumerate(zip(params, types))]
    return f"def entry(frame, lo, hi, worker):\n    kernel({', '.join([*args, 'lo', 'hi', 'worker'])})\n"


def _uses_vectors(stmts: Sequence[Stmt]) -> bool:
    seen: set[int] = set()
    stack = [e for s in statements(stmts) for e in operands(s)]
    while stack:
        e = stack.pop()
        if e.ty.lanes > 1:
            return True
        if id(e) not in seen:
            seen.add(id(e))
            stack += operands(e)
    return False


# ------------------------------------------------------------------- the names of loop_runtime, for Numba


def _llvm_binary(name: str) -> Callable[[Any, Any, Any, Any], Any]:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return getattr(builder, name)(*args)

    return generate


def _llvm_call(name: str, *extra: Any) -> Callable[[Any, Any, Any, Any], Any]:
    """Calls the LLVM intrinsic of that name on operands of one type."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ty = args[0].type
        suffix = (
            f"f{ {'float': 32, 'double': 64}[str(ty)] }" if isinstance(ty, (ir.FloatType, ir.DoubleType)) else str(ty)
        )
        function_type = ir.FunctionType(ty, [a.type for a in (*args, *extra)])
        function = builder.module.declare_intrinsic(f"llvm.{name}.{suffix}", (), function_type)
        return builder.call(function, [*args, *extra])

    return generate


@intrinsic
def _fused(typing: Any, a: Any, b: Any, c: Any) -> Any:
    return a(a, b, c), _llvm_call("fma")


@numba.njit
def _product_sum(a: Any, b: Any, c: Any) -> Any:
    return a * b + c


@intrinsic
def _popcount(typing: Any, x: Any) -> Any:
    return x(x), _llvm_call("ctpop")


@intrinsic
def _clz(typing: Any, x: Any) -> Any:
    return x(x), _llvm_call("ctlz", ir.Constant(ir.IntType(1), 0))


@intrinsic
def _bitcast(typing: Any, x: Any, ty: Any) -> Any:
    result = ty.instance_type

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(result))

    return result(x, ty), generate


@intrinsic
def _pointer(typing: Any, address: Any, ty: Any) -> Any:
    result = types.CPointer(ty.instance_type)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(result))

    return result(address, ty), generate


@intrinsic(prefer_literal=True)
def _alloc(typing: Any, ty: Any, size: Any) -> Any:
    result = types.CPointer(ty.instance_type)
    count = size.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        with builder.goto_entry_block():
            array = builder.alloca(ir.ArrayType(context.get_data_type(ty.instance_type), count))
        return builder.bitcast(array, context.get_value_type(result))

    return result(ty, size), generate


@intrinsic
def _address(typing: Any, pointer: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(builder.gep(args[0], [args[1]]), ir.IntType(8).as_pointer())

    return types.voidptr(pointer, index), generate


@intrinsic
def _call(typing: Any, function: Any, args: Any) -> Any:
    """Calls the C function at an address, with integers and addresses."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        given = [builder.extract_value(values[1], k) for k in range(len(args))]
        kind = ir.FunctionType(ir.VoidType(), [g.type for g in given])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), given)
        return context.get_dummy_value()

    return types.none(function, args), generate


@intrinsic
def _int_quotient(typing: Any, a: Any, b: Any) -> Any:
    return a(a, b), _llvm_binary("sdiv" if a.signed else "udiv")


@intrinsic
def _int_remainder(typing: Any, a: Any, b: Any) -> Any:
    return a(a, b), _llvm_binary("srem" if a.signed else "urem")


def _div(a, b):  # type: ignore[no-untyped-def]  # overloads must repeat the signature, annotations included
    raise NotImplementedError("only in compiled code")


def _rem(a, b):  # type: ignore[no-untyped-def]
    raise NotImplementedError("only in compiled code")


@overload(_div)
def _div_of(a, b):  # type: ignore[no-untyped-def]
    if not a.signed:
        return lambda a, b: _int_quotient(a, b)
    return lambda a, b: _negated(a) if b == -1 else _int_quotient(a, b)


@overload(_rem)
def _rem_of(a, b):  # type: ignore[no-untyped-def]
    if isinstance(a, types.Float):
        return lambda a, b: np.fmod(a, b)
    if not a.signed:
        return lambda a, b: _int_remainder(a, b)
    zero = a(0)
    return lambda a, b: zero if b == -1 else _int_remainder(a, b)


def _ipow(x, n):  # type: ignore[no-untyped-def]
    raise NotImplementedError("only in compiled code")


def _gcd(a, b):  # type: ignore[no-untyped-def]
    raise NotImplementedError("only in compiled code")


@overload(_ipow)
def _ipow_of(x, n):  # type: ignore[no-untyped-def]
    same, unsigned = x, _INTS[f"uint{x.bitwidth}"]

    def power(x, n):  # type: ignore[no-untyped-def]
        result, square, left, one = unsigned(1), unsigned(x), unsigned(n), unsigned(1)
        while left != 0:
            if left & one:
                result = unsigned(result * square)
            square, left = unsigned(square * square), unsigned(left >> one)
        return same(result)

    return power


@overload(_gcd)
def _gcd_of(a, b):  # type: ignore[no-untyped-def]
    ty = a

    def euclid(a, b):  # type: ignore[no-untyped-def]
        x, y = a, b
        while y != 0:
            x, y = y, ty(x % y)
        return x

    return euclid


@intrinsic
def _negated(typing: Any, a: Any) -> Any:
    return a(a), lambda context, builder, signature, args: builder.neg(args[0])


def _saturating(ty: Any) -> Callable[[Any], Any]:
    low, high = float(ty.minval), float(ty.maxval)
    least, most, zero = ty.minval, ty.maxval, 0

    @numba.njit
    def cast(x: Any) -> Any:
        if x >= high:
            return ty(most)
        if x > low:
            return ty(x)
        return ty(least) if x <= low else ty(zero)

    return cast


@numba.njit
def _f32_from_f16(bits: Any) -> Any:
    sign = np.float32(-1.0) if bits & 0x8000 else np.float32(1.0)
    exponent = (bits >> 10) & 31
    fraction = np.float32(bits & 1023)
    if exponent == 31:
        return np.float32(np.nan) if fraction else sign * np.float32(np.inf)
    if exponent == 0:
        return sign * fraction * np.float32(2.0**-24)
    scale = _bitcast(types.uint32((exponent + 102) << 23), types.float32)  # 2^(exponent - 25)
    return sign * (fraction + np.float32(1024.0)) * scale


@numba.njit
def _f16_from_f32(x: Any) -> Any:
    """From float32 or float64, rounded once."""
    y = np.float64(x)
    bits = _bitcast(y, types.uint64)
    sign = types.uint16(bits >> types.uint64(48)) & types.uint16(0x8000)
    size = abs(y)
    if y != y:
        return types.uint16(0x7E00)
    if size >= 65520.0:
        return types.uint16(sign | types.uint16(0x7C00))
    if size < 2.0**-14:
        return types.uint16(sign | types.uint16(np.rint(size * 2.0**24)))
    bits &= types.uint64(0x7FFFFFFFFFFFFFFF)
    bits += types.uint64(0x1FFFFFFFFFF) + ((bits >> types.uint64(42)) & types.uint64(1))
    return types.uint16(sign | types.uint16((bits >> types.uint64(42)) - types.uint64((1023 - 15) << 10)))


@numba.njit
def _f32_from_bf16(bits: Any) -> Any:
    return _bitcast(types.uint32(types.uint32(bits) << types.uint32(16)), types.float32)


@numba.njit
def _bf16_from_f32(x: Any) -> Any:
    bits = _bitcast(np.float32(x), types.uint32)
    if x != x:
        return types.uint16((bits >> 16) | 64)
    return types.uint16((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)


@numba.njit
def _lookup(i: Any, *table: Any) -> Any:
    return table[i & 15]


NAMES: dict[str, Any] = {
    **_MEMORY,
    **{f"sat_{name}": _saturating(ty) for name, ty in _INTS.items()},
    "pointer": _pointer,
    "inf": math.inf,
    "nan": math.nan,
    "f32_from_f16": _f32_from_f16,
    "f16_from_f32": _f16_from_f32,
    "f32_from_bf16": _f32_from_bf16,
    "bf16_from_f32": _bf16_from_f32,
    "round_f16": numba.njit(lambda x: _f32_from_f16(_f16_from_f32(x))),
    "round_bf16": numba.njit(lambda x: _f32_from_bf16(_bf16_from_f32(x))),
    "bitcast": _bitcast,
    "div": _div,
    "rem": _rem,
    "fma": _fused,
    "minimum": numba.njit(lambda a, b: a if a < b or a != a else b),
    "maximum": numba.njit(lambda a, b: a if a > b or a != a else b),
    "minnum": numba.njit(lambda a, b: a if a < b else b),
    "maxnum": numba.njit(lambda a, b: a if a > b else b),
    "sqrt": np.sqrt,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "rint": np.rint,
    "copysign": np.copysign,
    "lookup": _lookup,
    "scale": numba.njit(lambda x, n: math.ldexp(x, math.floor(n)) if n == n else n),
    "popcount": _popcount,
    "clz": _clz,
    "ipow": _ipow,
    "gcd": _gcd,
    "select": numba.njit(lambda c, a, b: a if c else b),
    "alloc": _alloc,
    "address": _address,
    "call": _call,
}
