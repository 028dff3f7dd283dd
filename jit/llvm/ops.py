"""LLVM instructions for every operation of the loop language (``loop_ir.OPS``).

Registers hold float16 and bfloat16 as ``i16`` bit patterns and compute on them in float32, rounding after
each operation; booleans are ``i1`` (and ``i8`` in memory).  No operation calls a library: what has no
machine instruction on the target is spelled out, so that an object file has no external symbols.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence

from fx.errors import GraphError

from ..loop_ir import Ty, f32
from ..target import Target
from .lanes import Lanes
from .text import constant, register_type

_FLOAT_BINARY = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_INT_BINARY = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor", "shl": "shl"}
_COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")
_ROUNDINGS = {"floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "roundeven"}


class OpEmitter(Lanes):
    """The other operations."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.fmod_types: set[Ty] = set()  # which remainder functions the module must define
        self.whole_number_functions: set[tuple[str, Ty]] = set()  # the same of those of integers
        self.compress_tables = set()

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
            case "gcd" | "ipow":
                self.whole_number_functions.add((name, ty))
                return self.ins(f"call {t} @fx.{name}.{ty}({t} {args[0]}, {t} {args[1]})")
        raise GraphError(f"{name} is not an operation on {ty}")

    def _int_div(self, name: str, ty: Ty, args: list[str]) -> str:
        """Truncating division.  The smallest integer divided by -1 traps on x86: there ``x / -1 = -x``."""
        t = register_type(ty)
        a, b = args
        if ty.kind == "u":
            return self._quotient(name, ty, a, b)
        if not b.startswith("%") and b not in ("-1", constant(-1, ty)):
            return self.ins(f"s{name} {t} {a}, {b}")
        minus_one = self.ins(f"icmp eq {t} {b}, {constant(-1, ty)}")
        c = register_type(Ty("b", 1, ty.lanes))
        safe = self.ins(f"select {c} {minus_one}, {t} {constant(1, ty)}, {t} {b}")
        q = self._quotient(name, ty, a, safe)
        if name == "rem":
            return q  # x rem 1 = 0 = x rem -1
        negated = self.ins(f"sub {t} {constant(0, ty)}, {a}")
        return self.ins(f"select {c} {minus_one}, {t} {negated}, {t} {q}")

    def _quotient(self, name: str, ty: Ty, a: str, b: str) -> str:
        """``a div b`` or ``a rem b``, of vectors by floats: no machine divides vectors of integers.

        A quotient that is not whole is at least ``1 / |b|`` away from the next whole number.  A float that has more digits than
        ``a`` rounds off less than that.
        """
        t, kind = register_type(ty), "s" if ty.kind == "i" else "u"
        if ty.lanes == 1 or ty.bits == 64 or not b.startswith("%"):
            return self.ins(f"{kind}{name} {t} {a}, {b}")
        f = register_type(Ty("f", 64 if ty.bits == 32 else 32, ty.lanes))
        x, y = (self.ins(f"{kind}itofp {t} {v} to {f}") for v in (a, b))
        ratio = self.ins(f"fdiv {f} {x}, {y}")
        q = self.ins(f"fpto{kind}i {f} {ratio} to {t}")
        if name == "div":
            return q
        product = self.ins(f"mul {t} {q}, {b}")
        return self.ins(f"sub {t} {a}, {product}")

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
            case "scale":
                return self.vscalef(ty, *args) if self.target.arithmetic.scale else self._scale_twice(ty, *args)
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

    def _scale_twice(self, ty: Ty, x: str, n: str) -> str:
        """Two factors of about equal size: overflow and gradual underflow are left to the last product; the least are zero."""
        i = Ty("i", ty.bits, ty.lanes)
        least = constant(-254.0 if ty.bits == 32 else -2046.0, ty)
        whole = self.cast(self._round("floor", ty, self.op("maxnum", ty, (ty, ty), [n, least])), ty, i)
        half = self.op("shr", i, (i, i), [whole, constant(1, i)])
        for power in (half, self.op("sub", i, (i, i), [whole, half])):
            biased = self.op("add", i, (i, i), [power, constant(127 if ty.bits == 32 else 1023, i)])
            shifted = self.op("shl", i, (i, i), [biased, constant(23 if ty.bits == 32 else 52, i)])
            x = self.op("mul", ty, (ty, ty), [x, self.bitcast(shifted, i, ty)])
        nan = self.op("eq", Ty("b", 1, ty.lanes), (ty, ty), [n, n])
        return self.op("select", ty, (Ty("b", 1, ty.lanes), ty, ty), [nan, x, n])

    def _select_extreme(self, name: str, ty: Ty, args: list[str]) -> str:
        """``a < b ? a : b``: the one instruction minps."""
        t = register_type(ty)
        less = self.ins(f"fcmp {'olt' if name.startswith('min') else 'ogt'} {t} {args[0]}, {args[1]}")
        return self.ins(f"select {register_type(Ty('b', 1, ty.lanes))} {less}, {t} {args[0]}, {t} {args[1]}")

    def _propagating(self, name: str, ty: Ty, args: list[str], flags: str) -> str:
        """NaN if either operand is; the order of -0.0 and 0.0 is left open (``nsz``), which saves half the work."""
        if flags or self.target.arch == "aarch64":  # the intrinsic is what LLVM recognises as a reduction
            return self.intrinsic(name + "imum", ty, *args, flags="nsz ")
        numbers = [_is_number(a) for a in args]
        if any(numbers):  # of a number and a NaN, the bare instruction returns what stands second
            return self._select_extreme(name, ty, args if numbers[0] else args[::-1])
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
        self.fmod_types |= {ty, ty.scalar}
        t = register_type(ty)
        return self.ins(f"call {t} @fx.fmod.{ty}({t} {args[0]}, {t} {args[1]})")

    # -------------------------------------------------------------------------------------- vectors

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


def _is_number(x: str) -> bool:
    """Whether a float operand is a constant, and no NaN."""
    return not x.startswith("%") and not math.isnan(struct.unpack(">d", bytes.fromhex(x.partition("0x")[2][:16]))[0])


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


def _shuffled(e: OpEmitter, ty: Ty, args: list[str], lanes: Sequence[int]) -> str:
    t, mask = register_type(ty), ", ".join(f"i32 {k}" for k in lanes)
    return e.ins(f"shufflevector {t} {args[0]}, {t} {args[-1]}, <{len(lanes)} x i32> <{mask}>")


def _reverse(e: OpEmitter, ty: Ty, types: tuple[Ty, ...], args: list[str]) -> str:
    return _shuffled(e, ty, args, range(ty.lanes)[::-1])


def _every_other(e: OpEmitter, ty: Ty, types: tuple[Ty, ...], args: list[str]) -> str:
    return _shuffled(e, ty, args, [*range(0, ty.lanes, 2), *range(ty.lanes + 1, 2 * ty.lanes, 2)])


def _interleave(e: OpEmitter, ty: Ty, types: tuple[Ty, ...], args: list[str]) -> str:
    return _shuffled(
        e, types[0], args, [k for pair in zip(range(ty.lanes // 2), range(ty.lanes // 2, ty.lanes)) for k in pair]
    )


def _half(e: OpEmitter, ty: Ty, types: tuple[Ty, ...], args: list[str]) -> str:
    return _shuffled(e, types[0], args[:1], range(int(args[1]) * ty.lanes, (int(args[1]) + 1) * ty.lanes))


def _exchange(e: OpEmitter, ty: Ty, types: tuple[Ty, ...], args: list[str]) -> str:
    return _shuffled(e, ty, args[:1], [lane ^ int(args[1]) for lane in range(ty.lanes)])


def _count(e: OpEmitter, ty: Ty, types: tuple[Ty, ...], args: list[str]) -> str:
    word = f"i{types[0].lanes}"
    bits = e.ins(f"bitcast {register_type(types[0])} {args[0]} to {word}")
    number = e.ins(f"call {word} @llvm.ctpop.{word}({word} {bits})")
    return number if types[0].lanes == 64 else e.ins(f"zext {word} {number} to i64")


def _any(e: OpEmitter, ty: Ty, types: tuple[Ty, ...], args: list[str]) -> str:
    lanes = types[0].lanes
    return (
        args[0]
        if lanes == 1
        else e.ins(f"call i1 @llvm.vector.reduce.or.v{lanes}i1({register_type(types[0])} {args[0]})")
    )


_SPECIAL: dict[str, Callable[[OpEmitter, Ty, tuple[Ty, ...], list[str]], str]] = {
    "select": _select,
    "lookup": lambda e, ty, types, args: e.lookup(ty, args[0], args[1:]),
    "cast": lambda e, ty, types, args: e.cast(args[0], types[0], ty),
    "bitcast": lambda e, ty, types, args: e.bitcast(args[0], types[0], ty),
    "splat": lambda e, ty, types, args: e.splat(args[0], ty),
    "extract": _extract,
    "insert": _insert,
    "iota": _iota,
    "hadd": _horizontal("add"),
    "hmax": _horizontal("max"),
    "hmin": _horizontal("min"),
    "any": _any,
    "reverse": _reverse,
    "every_other": _every_other,
    "interleave": _interleave,
    "half": _half,
    "exchange": _exchange,
    "compress": lambda e, ty, types, args: e.compress(ty, *args),
    "count": _count,
}
