"""LLVM instructions for every operation of the loop language (``loop_ir.OPS``).

Registers hold float16 and bfloat16 as ``i16`` bit patterns and compute on them in float32, rounding after
each operation; booleans are ``i1`` (and ``i8`` in memory).  No operation calls a library: what has no
machine instruction on the target is spelled out, so that an object file has no external symbols.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from fx.errors import GraphError

from .loop_ir import Ty, f32, f64
from .target import Target

# ------------------------------------------------------------------------------- types and constants


@functools.cache
def register_type(ty: Ty) -> str:
    """``float``, ``<8 x i32>`` ...: what holds a value of ``ty`` between instructions."""
    scalar = {64: "double", 32: "float", 16: "i16"}[ty.bits] if ty.is_float else f"i{ty.bits}"
    return vector_type(scalar, ty.lanes)


@functools.cache
def memory_type(ty: Ty) -> str:
    return vector_type("i8", ty.lanes) if ty.kind == "b" else register_type(ty)


def vector_type(scalar: str, lanes: int) -> str:
    return f"<{lanes} x {scalar}>" if lanes > 1 else scalar


@functools.cache
def mangled(ty: Ty) -> str:
    """The type's name inside an intrinsic's: ``f32``, ``v8i32``."""
    scalar = ("f" if ty.is_float else "i") + str(ty.bits)
    return f"v{ty.lanes}{scalar}" if ty.lanes > 1 else scalar


def constant(value: Any, ty: Ty) -> str:
    """The LLVM spelling of ``value`` in every lane."""
    scalar = _scalar_constant(value, ty)
    return f"splat ({register_type(ty.scalar)} {scalar})" if ty.lanes > 1 else scalar


def _scalar_constant(value: Any, ty: Ty) -> str:
    if ty.kind == "b":
        return "true" if value else "false"
    if ty.kind in "iu":
        bits = int(value) & ((1 << ty.bits) - 1)
        return str(bits - (1 << ty.bits) if bits >> (ty.bits - 1) else bits)
    if ty.kind == "bf":
        return str(bfloat16_bits(float(value)))
    if ty.bits == 16:
        with np.errstate(over="ignore"):
            return str(np.float16(value).view(np.int16))
    if ty.bits == 32:
        with np.errstate(over="ignore"):
            value = np.float32(value)
    return "0x" + struct.pack(">d", float(value)).hex().upper()  # LLVM writes a float as the double it equals


def bfloat16_bits(value: float) -> int:
    """``value`` rounded to float32, then to the nearest even bfloat16, as a signed 16-bit pattern."""
    with np.errstate(over="ignore"):
        u = int(np.float32(value).view(np.uint32))
    bits = (u >> 16) | 64 if value != value else (u + 0x7FFF + ((u >> 16) & 1)) >> 16
    return bits - (1 << 16) if bits >> 15 else bits


# -------------------------------------------------------------------------------------- the emitter

_FLOAT_BINARY = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_INT_BINARY = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor", "shl": "shl"}
_COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")
_ROUNDINGS = {"floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "roundeven"}


class OpEmitter:
    """Appends instructions to ``lines``; every method returns the name of the value it computed.

    ``level`` is the number of loops around the instruction, and ``levels`` remembers it for every value.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.lines: list[str] = []
        self.count = 0
        self.level = 0
        self.levels: dict[str, int] = {}
        self.fmod_types: set[Ty] = set()  # which helper functions the module must define

    def ins(self, text: str) -> str:
        """Appends ``%vN = text``."""
        self.count += 1
        name = f"%v{self.count}"
        self.lines.append(f"  {name} = {text}")
        self.levels[name] = self.level
        return name

    def intrinsic(self, name: str, ty: Ty, *args: str, flags: str = "", extra: str = "") -> str:
        t = register_type(ty)
        operands = ", ".join(f"{t} {a}" for a in args)
        return self.ins(f"call {flags}{t} @llvm.{name}.{mangled(ty)}({operands}{extra})")

    def op(self, name: str, ty: Ty, types: tuple[Ty, ...], args: list[str], flags: str = "") -> str:
        """The operation ``name`` on ``args`` of ``types`` with a result of type ``ty``.

        flags: fast-math flags with a space behind them; only reductions in vectorised loops have any.
        """
        if name in _SPECIAL:
            return _SPECIAL[name](self, ty, types, args)
        like = types[0]
        if like.is_float and like.bits == 16:
            return self._half_op(name, ty, types, args, flags)
        if name in _COMPARE:
            return self._compare(name, like, args)
        table = self._float_op if like.is_float else self._bool_op if like.kind == "b" else self._int_op
        return table(name, like, args, flags)

    def _half_op(self, name: str, ty: Ty, types: tuple[Ty, ...], args: list[str], flags: str) -> str:
        """float16 computes in float32 and rounds; negation and its kind work on the sign bit."""
        like = types[0]
        t = register_type(like)
        bits = Ty("i", 16, like.lanes)
        sign, rest = constant(0x8000, bits), constant(0x7FFF, bits)
        if name == "neg":
            return self.ins(f"xor {t} {args[0]}, {sign}")
        if name == "abs":
            return self.ins(f"and {t} {args[0]}, {rest}")
        if name == "copysign":
            a, b = self.ins(f"and {t} {args[0]}, {rest}"), self.ins(f"and {t} {args[1]}, {sign}")
            return self.ins(f"or {t} {a}, {b}")
        wide = f32.vector(like.lanes)
        result = self.op(name, wide, (wide,) * len(args), [self.cast(a, like, wide) for a in args], flags)
        return result if name in _COMPARE else self.cast(result, wide, ty)

    def _compare(self, name: str, ty: Ty, args: list[str]) -> str:
        if ty.is_float:
            return self.ins(f"fcmp {'une' if name == 'ne' else 'o' + name} {register_type(ty)} {args[0]}, {args[1]}")
        predicate = name if name in ("eq", "ne") else ("s" if ty.kind == "i" else "u") + name
        return self.ins(f"icmp {predicate} {register_type(ty)} {args[0]}, {args[1]}")

    def _bool_op(self, name: str, ty: Ty, args: list[str], flags: str) -> str:
        t = register_type(ty)
        if name == "not":
            return self.ins(f"xor {t} {args[0]}, {constant(True, ty)}")
        instruction = {"and": "and", "min": "and", "or": "or", "max": "or", "xor": "xor"}.get(name)
        if instruction is None:
            raise GraphError(f"{name} is not an operation on booleans")
        return self.ins(f"{instruction} {t} {args[0]}, {args[1]}")

    # ------------------------------------------------------------------------------------- integers

    def _int_op(self, name: str, ty: Ty, args: list[str], flags: str) -> str:
        t, signed = register_type(ty), ty.kind == "i"
        if name in _INT_BINARY:
            return self.ins(f"{_INT_BINARY[name]} {t} {args[0]}, {args[1]}")
        match name:
            case "shr":
                return self.ins(f"{'ashr' if signed else 'lshr'} {t} {args[0]}, {args[1]}")
            case "neg":
                return self.ins(f"sub {t} {constant(0, ty)}, {args[0]}")
            case "not":
                return self.ins(f"xor {t} {args[0]}, {constant(-1, ty)}")
            case "abs":
                return self.intrinsic("abs", ty, args[0], extra=", i1 false") if signed else args[0]
            case "min" | "minnum" | "max" | "maxnum":
                return self.intrinsic(("s" if signed else "u") + name[:3], ty, *args)
            case "popcount":
                return self.intrinsic("ctpop", ty, *args)
            case "clz":
                return self.intrinsic("ctlz", ty, *args, extra=", i1 false")
            case "div" | "rem":
                return self._int_div(name, ty, args)
        raise GraphError(f"{name} is not an operation on {ty}")

    def _int_div(self, name: str, ty: Ty, args: list[str]) -> str:
        """Truncating division.  The smallest integer divided by -1 traps on x86: there ``x / -1 = -x``."""
        t = register_type(ty)
        a, b = args
        if ty.kind == "u":
            return self.ins(f"u{name} {t} {a}, {b}")
        if not b.startswith("%") and b not in ("-1", constant(-1, ty)):
            return self.ins(f"s{name} {t} {a}, {b}")
        minus_one = self.ins(f"icmp eq {t} {b}, {constant(-1, ty)}")
        c = register_type(Ty("b", 1, ty.lanes))
        safe = self.ins(f"select {c} {minus_one}, {t} {constant(1, ty)}, {t} {b}")
        q = self.ins(f"s{name} {t} {a}, {safe}")
        if name == "rem":
            return q  # x rem 1 = 0 = x rem -1
        negated = self.ins(f"sub {t} {constant(0, ty)}, {a}")
        return self.ins(f"select {c} {minus_one}, {t} {negated}, {t} {q}")

    # --------------------------------------------------------------------------------------- floats

    def _float_op(self, name: str, ty: Ty, args: list[str], flags: str) -> str:
        t = register_type(ty)
        if name in _FLOAT_BINARY:
            return self.ins(f"{_FLOAT_BINARY[name]} {flags}{t} {args[0]}, {args[1]}")
        if name in _ROUNDINGS:
            return self._round(name, ty, args[0])
        match name:
            case "neg":
                return self.ins(f"fneg {t} {args[0]}")
            case "abs":
                return self.intrinsic("fabs", ty, args[0])
            case "sqrt" | "copysign":
                return self.intrinsic(name, ty, *args)
            case "fma":
                return self._fma(ty, args, flags)
            case "min" | "max":
                return self._propagating(name, ty, args, flags)
            case "minnum" | "maxnum":
                return self._select_extreme(name, ty, args)
            case "rem":
                return self._fmod(ty, args)
        raise GraphError(f"{name} is not an operation on {ty}")

    def _fma(self, ty: Ty, args: list[str], flags: str) -> str:
        if not self.target.fma:
            product = self.ins(f"fmul {flags}{register_type(ty)} {args[0]}, {args[1]}")
            return self.ins(f"fadd {flags}{register_type(ty)} {product}, {args[2]}")
        # LLVM recognises a reduction by fmuladd (which is one instruction here, too), but none by fma.
        return self.intrinsic("fmuladd" if flags else "fma", ty, *args, flags=flags)

    def _select_extreme(self, name: str, ty: Ty, args: list[str]) -> str:
        """``a < b ? a : b``: the one instruction minps."""
        t = register_type(ty)
        less = self.ins(f"fcmp {'olt' if name.startswith('min') else 'ogt'} {t} {args[0]}, {args[1]}")
        return self.ins(f"select {register_type(Ty('b', 1, ty.lanes))} {less}, {t} {args[0]}, {t} {args[1]}")

    def _propagating(self, name: str, ty: Ty, args: list[str], flags: str) -> str:
        """NaN if either operand is; the order of -0.0 and 0.0 is left open (``nsz``), which saves half the work."""
        if flags or self.target.arch == "aarch64":  # the intrinsic is what LLVM recognises as a reduction
            return self.intrinsic(name + "imum", ty, *args, flags="nsz ")
        t = register_type(ty)
        m = self._select_extreme(name, ty, args)
        nan = self.ins(f"fcmp uno {t} {args[0]}, {args[0]}")
        return self.ins(f"select {register_type(Ty('b', 1, ty.lanes))} {nan}, {t} {args[0]}, {t} {m}")

    def _round(self, name: str, ty: Ty, x: str) -> str:
        if self.target.rounding:
            return self.intrinsic(_ROUNDINGS[name], ty, x)
        # |x| + 2^p - 2^p rounds to the nearest even integer; where |x| >= 2^p, x is an integer.
        t, c = register_type(ty), register_type(Ty("b", 1, ty.lanes))
        big = constant(2.0 ** (52 if ty.bits == 64 else 23), ty)
        a = self.intrinsic("fabs", ty, x)
        shifted = self.ins(f"fadd {t} {a}, {big}")
        near = self.ins(f"fsub {t} {shifted}, {big}")
        y, towards = (a, "ogt") if name == "trunc" else (x, "ogt" if name == "floor" else "olt")
        if name != "trunc":
            near = self.intrinsic("copysign", ty, near, x)
        if name != "rint":
            beyond = self.ins(f"fcmp {towards} {t} {near}, {y}")
            step = constant(1.0 if towards == "ogt" else -1.0, ty)
            stepped = self.ins(f"fsub {t} {near}, {step}")
            near = self.ins(f"select {c} {beyond}, {t} {stepped}, {t} {near}")
        near = self.intrinsic("copysign", ty, near, x)
        small = self.ins(f"fcmp olt {t} {a}, {big}")
        return self.ins(f"select {c} {small}, {t} {near}, {t} {x}")

    def _fmod(self, ty: Ty, args: list[str]) -> str:
        self.fmod_types.add(ty.scalar)
        t, s = register_type(ty), register_type(ty.scalar)
        if ty.lanes == 1:
            return self.ins(f"call {s} @fx.fmod.{ty}({s} {args[0]}, {s} {args[1]})")
        result = "poison"
        for lane in range(ty.lanes):
            x, y = (self.ins(f"extractelement {t} {a}, i32 {lane}") for a in args)
            r = self.ins(f"call {s} @fx.fmod.{ty.scalar}({s} {x}, {s} {y})")
            result = self.ins(f"insertelement {t} {result}, {s} {r}, i32 {lane}")
        return result

    # ---------------------------------------------------------------------------------- conversions

    def cast(self, x: str, src: Ty, dst: Ty) -> str:
        """Converts the value (``loop_ir.OPS`` says how each pair behaves)."""
        if src == dst:
            return x
        s, d = register_type(src), register_type(dst)
        if dst.kind == "b":
            zero = constant(0, src)
            return self.ins(f"fcmp une {s} {x}, {zero}") if _plain(src) else self._nonzero(x, src)
        if src.is_float and src.bits == 16:
            wide = self._widen_half(x, src)
            return self.cast(wide, f32.vector(src.lanes), dst)
        if dst.is_float and dst.bits == 16:
            return self._narrow_half(x, src, dst)
        if src.is_float and dst.is_float:
            return self.ins(f"{'fpext' if dst.bits > src.bits else 'fptrunc'} {s} {x} to {d}")
        if src.is_float:
            return self.ins(
                f"call {d} @llvm.fpto{'s' if dst.kind == 'i' else 'u'}i.sat.{mangled(dst)}.{mangled(src)}({s} {x})"
            )
        if dst.is_float:
            return self.ins(f"{'s' if src.kind == 'i' else 'u'}itofp {s} {x} to {d}")
        if dst.bits == src.bits:
            return x
        widen = "sext" if src.kind == "i" else "zext"
        return self.ins(f"{'trunc' if dst.bits < src.bits else widen} {s} {x} to {d}")

    def _nonzero(self, x: str, src: Ty) -> str:
        t = register_type(src)
        if src.is_float:  # a float16 is zero if all bits but the sign are
            x = self.ins(f"and {t} {x}, {constant(0x7FFF, Ty('i', 16, src.lanes))}")
        return self.ins(f"icmp ne {t} {x}, {constant(0, Ty('i', src.bits, src.lanes))}")

    def _widen_half(self, x: str, src: Ty) -> str:
        lanes = src.lanes
        h, i, f = (vector_type(n, lanes) for n in ("half", "i32", "float"))
        s, word = register_type(src), Ty("i", 32, lanes)
        if src.kind == "f" and self.target.f16c:
            return self.ins(f"fpext {h} {self.ins(f'bitcast {s} {x} to {h}')} to {f}")
        u = self.ins(f"zext {s} {x} to {i}")
        if src.kind == "bf":
            return self.ins(f"bitcast {i} {self.ins(f'shl {i} {u}, {constant(16, word)}')} to {f}")
        # Placed 13 bits higher, the number is 2^-112 times itself, denormals included; infinities and NaNs
        # need the exponent's upper bits set.
        magnitude = self.ins(f"and {i} {u}, {constant(0x7FFF, word)}")
        scaled = self.ins(f"bitcast {i} {self.ins(f'shl {i} {magnitude}, {constant(13, word)}')} to {f}")
        number = self.ins(f"fmul {f} {scaled}, {constant(2.0**112, f32.vector(lanes))}")
        bits = self.ins(f"bitcast {f} {number} to {i}")
        special = self.ins(f"icmp uge {i} {magnitude}, {constant(0x7C00, word)}")
        exponent = self.ins(
            f"select {vector_type('i1', lanes)} {special}, {i} {constant(0x7F800000, word)}, {i} {constant(0, word)}"
        )
        sign = self.ins(f"shl {i} {self.ins(f'and {i} {u}, {constant(0x8000, word)}')}, {constant(16, word)}")
        joined = self.ins(f"or {i} {self.ins(f'or {i} {bits}, {exponent}')}, {sign}")
        return self.ins(f"bitcast {i} {joined} to {f}")

    def _narrow_half(self, x: str, src: Ty, dst: Ty) -> str:
        """To float16 or bfloat16, to the nearest even.  Integers go through float32, as in NumPy."""
        lanes = dst.lanes
        wide = f32.vector(lanes)
        if src == f64.vector(lanes) and dst.kind == "f":
            x = self._round_to_odd(x, src)
        else:
            x = self.cast(x, src, wide)
        h, s, i, f = vector_type("half", lanes), register_type(dst), vector_type("i32", lanes), register_type(wide)
        if dst.kind == "f" and self.target.f16c:
            return self.ins(f"bitcast {h} {self.ins(f'fptrunc {f} {x} to {h}')} to {s}")
        u = self.ins(f"bitcast {f} {x} to {i}")
        bits = self._float16_bits(u, lanes) if dst.kind == "f" else self._bfloat16_bits(u, lanes)
        return self.ins(f"trunc {i} {bits} to {s}")

    def _round_to_odd(self, x: str, src: Ty) -> str:
        """float64 -> float32, inexact results with an odd last bit: rounding that again rounds ``x`` itself."""
        n = src.lanes
        d, f, i, c = register_type(src), vector_type("float", n), vector_type("i32", n), vector_type("i1", n)
        word = Ty("i", 32, n)
        near = self.ins(f"fptrunc {d} {x} to {f}")
        back = self.ins(f"fpext {f} {near} to {d}")
        inexact = self.ins(f"fcmp one {d} {back}, {x}")
        away = self.ins(f"fcmp ogt {d} {self.intrinsic('fabs', src, back)}, {self.intrinsic('fabs', src, x)}")
        bits = self.ins(f"bitcast {f} {near} to {i}")
        less = self.ins(f"sub {i} {bits}, {constant(1, word)}")
        towards_zero = self.ins(f"select {c} {away}, {i} {less}, {i} {bits}")
        sticky = self.ins(f"zext {c} {inexact} to {i}")
        return self.ins(f"bitcast {i} {self.ins(f'or {i} {towards_zero}, {sticky}')} to {f}")

    def _bfloat16_bits(self, u: str, lanes: int) -> str:
        i, word = vector_type("i32", lanes), Ty("i", 32, lanes)
        high = self.ins(f"lshr {i} {u}, {constant(16, word)}")
        odd = self.ins(f"and {i} {high}, {constant(1, word)}")
        raised = self.ins(f"add {i} {self.ins(f'add {i} {u}, {constant(0x7FFF, word)}')}, {odd}")
        rounded = self.ins(f"lshr {i} {raised}, {constant(16, word)}")
        magnitude = self.ins(f"and {i} {u}, {constant(0x7FFFFFFF, word)}")
        nan = self.ins(f"icmp ugt {i} {magnitude}, {constant(0x7F800000, word)}")
        quiet = self.ins(f"or {i} {high}, {constant(64, word)}")  # rounding could carry a NaN into an infinity
        return self.ins(f"select {vector_type('i1', lanes)} {nan}, {i} {quiet}, {i} {rounded}")

    def _float16_bits(self, u: str, lanes: int) -> str:
        i, f, c = (vector_type(n, lanes) for n in ("i32", "float", "i1"))
        word = Ty("i", 32, lanes)

        def k(value: int) -> str:
            return constant(value, word)

        a = self.ins(f"and {i} {u}, {k(0x7FFFFFFF)}")
        nan = self.ins(f"icmp ugt {i} {a}, {k(0x7F800000)}")
        special = self.ins(f"select {c} {nan}, {i} {k(0x7E00)}, {i} {k(0x7C00)}")
        # Denormal: adding 0.5 lets the FPU shift and round the mantissa into the last ten bits.
        half = constant(0.5, f32.vector(lanes))
        added = self.ins(f"fadd {f} {self.ins(f'bitcast {i} {a} to {f}')}, {half}")
        denormal = self.ins(f"sub {i} {self.ins(f'bitcast {f} {added} to {i}')}, {k(0x3F000000)}")
        odd = self.ins(f"and {i} {self.ins(f'lshr {i} {a}, {k(13)}')}, {k(1)}")
        rebiased = self.ins(f"add {i} {self.ins(f'add {i} {a}, {k(((15 - 127) << 23) + 0xFFF)}')}, {odd}")
        normal = self.ins(f"lshr {i} {rebiased}, {k(13)}")
        tiny = self.ins(f"icmp ult {i} {a}, {k(113 << 23)}")
        huge = self.ins(f"icmp uge {i} {a}, {k(143 << 23)}")
        finite = self.ins(f"select {c} {tiny}, {i} {denormal}, {i} {normal}")
        magnitude = self.ins(f"select {c} {huge}, {i} {special}, {i} {finite}")
        sign = self.ins(f"and {i} {self.ins(f'lshr {i} {u}, {k(16)}')}, {k(0x8000)}")
        return self.ins(f"or {i} {magnitude}, {sign}")

    def bitcast(self, x: str, src: Ty, dst: Ty) -> str:
        if src.kind == "b" or dst.kind == "b":  # one byte in memory
            return self.cast(x, src, dst)
        s, d = register_type(src), register_type(dst)
        return x if s == d else self.ins(f"bitcast {s} {x} to {d}")

    # -------------------------------------------------------------------------------------- vectors

    def splat(self, x: str, ty: Ty) -> str:
        t, s = register_type(ty), register_type(ty.scalar)
        if not x.startswith("%"):
            return f"splat ({s} {x})"
        first = self.ins(f"insertelement {t} poison, {s} {x}, i32 0")
        return self.ins(f"shufflevector {t} {first}, {t} poison, <{ty.lanes} x i32> zeroinitializer")

    def horizontal(self, name: str, x: str, ty: Ty) -> str:
        """Lower half op upper half, until one element is left."""
        while ty.lanes > 1:
            t, half = register_type(ty), ty.lanes // 2
            if half == 1:
                parts = [self.ins(f"extractelement {t} {x}, i64 {i}") for i in (0, 1)]
            else:
                masks = [", ".join(f"i32 {first + i}" for i in range(half)) for first in (0, half)]
                parts = [self.ins(f"shufflevector {t} {x}, {t} poison, <{half} x i32> <{m}>") for m in masks]
            ty = ty.vector(half)
            x = self.op(name, ty, (ty, ty), parts)
        return x


def _plain(ty: Ty) -> bool:
    return ty.is_float and ty.bits > 16


def _select(e: OpEmitter, ty: Ty, types: tuple[Ty, ...], args: list[str]) -> str:
    t = register_type(ty)
    return e.ins(f"select {register_type(types[0])} {args[0]}, {t} {args[1]}, {t} {args[2]}")


def _extract(e: OpEmitter, ty: Ty, types: tuple[Ty, ...], args: list[str]) -> str:
    return e.ins(f"extractelement {register_type(types[0])} {args[0]}, i64 {args[1]}")


def _insert(e: OpEmitter, ty: Ty, types: tuple[Ty, ...], args: list[str]) -> str:
    return e.ins(f"insertelement {register_type(ty)} {args[0]}, {register_type(ty.scalar)} {args[2]}, i64 {args[1]}")


def _iota(e: OpEmitter, ty: Ty, types: tuple[Ty, ...], args: list[str]) -> str:
    s = register_type(ty.scalar)
    return f"<{', '.join(f'{s} {constant(i, ty.scalar)}' for i in range(ty.lanes))}>"


def _horizontal(name: str) -> Callable[[OpEmitter, Ty, tuple[Ty, ...], list[str]], str]:
    return lambda e, ty, types, args: e.horizontal(name, args[0], types[0])


_SPECIAL: dict[str, Callable[[OpEmitter, Ty, tuple[Ty, ...], list[str]], str]] = {
    "select": _select,
    "cast": lambda e, ty, types, args: e.cast(args[0], types[0], ty),
    "bitcast": lambda e, ty, types, args: e.bitcast(args[0], types[0], ty),
    "splat": lambda e, ty, types, args: e.splat(args[0], ty),
    "extract": _extract,
    "insert": _insert,
    "iota": _iota,
    "hadd": _horizontal("add"),
    "hmax": _horizontal("max"),
    "hmin": _horizontal("min"),
}

# ------------------------------------------------------------------------------ the float remainder

# x rem y, exact, on the integer mantissas: x = mx 2^ex, y = my 2^ey, so r = (mx 2^(ex-ey) mod my) 2^ey.
# As many bits as fit above a mantissa in 64 bits are shifted in by each division.
_FMOD = """
define internal {f} @fx.fmod.{name}({f} %x, {f} %y) nounwind {{
  %xb = bitcast {f} %x to {i}
  %yb = bitcast {f} %y to {i}
  %ax = and {i} %xb, {magnitude}
  %ay = and {i} %yb, {magnitude}
  %sign = xor {i} %xb, %ax
  %y0 = icmp eq {i} %ay, 0
  %xinf = icmp uge {i} %ax, {inf}
  %ynan = icmp ugt {i} %ay, {inf}
  %bad1 = or i1 %y0, %xinf
  %bad = or i1 %bad1, %ynan
  br i1 %bad, label %nan, label %compare
nan:
  %xy = fmul {f} %x, %y
  %r.nan = fdiv {f} %xy, %xy
  ret {f} %r.nan
compare:
  %less = icmp ult {i} %ax, %ay
  br i1 %less, label %same, label %divide
same:
  ret {f} %x
divide:
  %ex0 = lshr {i} %ax, {p}
  %ey0 = lshr {i} %ay, {p}
  %fx = and {i} %ax, {fraction}
  %fy = and {i} %ay, {fraction}
  %xn = icmp ne {i} %ex0, 0
  %yn = icmp ne {i} %ey0, 0
  %fx1 = or {i} %fx, {implicit}
  %fy1 = or {i} %fy, {implicit}
  %mxs = select i1 %xn, {i} %fx1, {i} %fx
  %mys = select i1 %yn, {i} %fy1, {i} %fy
  %mx = {widen} {i} %mxs to i64
  %my = {widen} {i} %mys to i64
  %ex = call {i} @llvm.umax.{i}({i} %ex0, {i} 1)
  %ey = call {i} @llvm.umax.{i}({i} %ey0, {i} 1)
  %d0 = sub {i} %ex, %ey
  %r0 = urem i64 %mx, %my
  br label %head
head:
  %r = phi i64 [ %r0, %divide ], [ %r.next, %body ]
  %d = phi {i} [ %d0, %divide ], [ %d.next, %body ]
  %more = icmp ne {i} %d, 0
  br i1 %more, label %body, label %done
body:
  %s = call {i} @llvm.umin.{i}({i} %d, {i} {room})
  %s64 = {widen} {i} %s to i64
  %shifted = shl i64 %r, %s64
  %r.next = urem i64 %shifted, %my
  %d.next = sub {i} %d, %s
  br label %head
done:
  %zero = icmp eq i64 %r, 0
  %lz = call i64 @llvm.ctlz.i64(i64 %r, i1 false)
  %up64 = sub i64 %lz, {room}
  %up = {narrow} i64 %up64 to {i}
  %ri = {narrow} i64 %r to {i}
  %normal = icmp ugt {i} %ey, %up
  %low = sub {i} %ey, 1
  %by = select i1 %normal, {i} %up, {i} %low
  %by0 = select i1 %zero, {i} 0, {i} %by
  %m = shl {i} %ri, %by0
  %e = sub {i} %low, %up
  %e0 = shl {i} %e, {p}
  %e1 = select i1 %normal, {i} %e0, {i} 0
  %me = add {i} %m, %e1
  %mag = select i1 %zero, {i} 0, {i} %me
  %bits = or {i} %mag, %sign
  %result = bitcast {i} %bits to {f}
  ret {f} %result
}}
"""


def fmod_function(ty: Ty) -> str:
    """The function that ``rem`` on floats calls."""
    p = 52 if ty.bits == 64 else 23
    ones = (1 << (ty.bits - 1)) - 1
    fraction = (1 << p) - 1
    return _FMOD.format(
        f=register_type(ty), i=f"i{ty.bits}", name=ty, p=p, magnitude=ones, fraction=fraction,
        implicit=1 << p, inf=ones ^ fraction, room=63 - p,
        widen="bitcast" if ty.bits == 64 else "zext", narrow="bitcast" if ty.bits == 64 else "trunc",
    )  # fmt: skip


