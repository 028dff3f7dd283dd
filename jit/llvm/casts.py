"""Conversions between the types of the loop language, in LLVM instructions.

Those to and from float16 and bfloat16 are spelled out where the target has no instruction: the libraries that
LLVM would call are not there.
"""

from __future__ import annotations

from ..loop_ir import Ty, f32, f64
from .text import Writer, constant, mangled, register_type, vector_type


class Casts(Writer):
    """The operations ``cast`` and ``bitcast``."""

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
        if src.is_float and src.lanes > 1 and self.target.arch == "x86_64":
            return self._saturated(x, src, dst)
        if src.is_float:
            return self.ins(
                f"call {d} @llvm.fpto{'s' if dst.kind == 'i' else 'u'}i.sat.{mangled(dst)}.{mangled(src)}({s} {x})"
            )
        if dst.is_float:
            few = src.lanes > 1 and self.target.vector_bits < 512 and self.target.arch == "x86_64"
            if few and src.kind == "i" and src.bits == 64 and dst.bits == 64:
                return self._joined(x, src)
            return self.ins(f"{'s' if src.kind == 'i' else 'u'}itofp {s} {x} to {d}")
        if dst.bits == src.bits:
            return x
        widen = "sext" if src.kind == "i" else "zext"
        return self.ins(f"{'trunc' if dst.bits < src.bits else widen} {s} {x} to {d}")

    def _saturated(self, x: str, src: Ty, dst: Ty) -> str:
        """A vector of float32 or float64 as integers: the nearest towards zero, the least or the greatest where that does not fit,
        0 for NaN.  (LLVM's own takes the lanes one by one.)"""
        n, signed = src.lanes, dst.kind == "i"
        top = 1 << (dst.bits - signed)  # the first that is too large
        low = -top if signed else 0
        f, c = register_type(src), vector_type("i1", n)
        exact = dst.bits < (32 if src.bits == 32 else 64)  # the greatest is a float, too
        bounded = self.intrinsic("maxnum", src, x, constant(float(low), src))  # ``low`` for NaN
        if exact:
            bounded = self.intrinsic("minnum", src, bounded, constant(float(top - 1), src))
        if dst.bits < 32 or (dst.bits == 32 and signed):
            word = Ty("i", 32, n)
            found = self.ins(f"fptosi {f} {bounded} to {register_type(word)}")
            found = self.cast(found, word, Ty(dst.kind, dst.bits, n))
        elif exact:  # float64 to 32 bits without a sign: as with one, around the middle
            whole = self.intrinsic("trunc", src, bounded)
            shifted = self.ins(f"fsub {f} {whole}, {constant(float(1 << 31), src)}")
            d = register_type(dst)
            found = self.ins(f"fptosi {f} {shifted} to {d}")
            found = self.ins(f"xor {d} {found}, {constant(1 << 31, dst)}")
        elif dst.bits == 64 and self.target.vector_bits < 512:
            found = self._halves(self.cast(bounded, src, f64.vector(n)), dst)
        elif signed:
            found = self.ins(f"fptosi {f} {bounded} to {register_type(dst)}")
        else:
            found = self.ins(f"fptoui {f} {bounded} to {register_type(dst)}")
        d = register_type(dst)
        if not exact:
            large = self.ins(f"fcmp oge {f} {bounded}, {constant(float(top), src)}")
            found = self.ins(f"select {c} {large}, {d} {constant(top - 1, dst)}, {d} {found}")
        if not signed:
            return found
        nan = self.ins(f"fcmp uno {f} {x}, {x}")
        return self.ins(f"select {c} {nan}, {d} {constant(0, dst)}, {d} {found}")

    def _halves(self, x: str, dst: Ty) -> str:
        """float64 as integers of 64 bits, which it fits, where no instruction does that: the upper and the lower 32 bits apart."""
        n = dst.lanes
        src, d = f64.vector(n), register_type(dst)
        f = register_type(src)
        magic = constant(2.0**52, src)  # what is added to it stands in the lowest bits
        whole = self.intrinsic("trunc", src, x)
        high = self.intrinsic("floor", src, self.ins(f"fmul {f} {whole}, {constant(2.0**-32, src)}"))
        low = self.ins(f"fsub {f} {whole}, {self.ins(f'fmul {f} {high}, {constant(2.0**32, src)}')}")

        def bits(part: str) -> str:
            raised = self.ins(f"bitcast {f} {self.ins(f'fadd {f} {part}, {magic}')} to {d}")
            return self.ins(f"xor {d} {raised}, {constant(0x433 << 52, Ty('u', 64, n))}")

        if dst.kind == "i":
            word = Ty("i", 32, n)
            upper = self.ins(
                f"sext {register_type(word)} {self.ins(f'fptosi {f} {high} to {register_type(word)}')} to {d}"
            )
        else:
            upper = bits(high)
        return self.ins(f"or {d} {self.ins(f'shl {d} {upper}, {constant(32, dst)}')}, {bits(low)}")

    def _joined(self, x: str, src: Ty) -> str:
        """Signed integers of 64 bits as float64, where no instruction does that: each half in the lowest bits of a float, rounded once."""
        d, f = register_type(src), register_type(f64.vector(src.lanes))
        word, wide = Ty("u", 64, src.lanes), f64.vector(src.lanes)
        low = self.ins(f"and {d} {x}, {constant(0xFFFFFFFF, word)}")
        low = self.ins(f"bitcast {d} {self.ins(f'or {d} {low}, {constant(0x433 << 52, word)}')} to {f}")  # 2**52 + low
        high = self.ins(
            f"xor {d} {self.ins(f'lshr {d} {x}, {constant(32, word)}')}, {constant((0x453 << 52) + (1 << 31), word)}"
        )
        high = self.ins(f"bitcast {d} {high} to {f}")  # 2**84 + 2**63 + high * 2**32
        return self.ins(
            f"fadd {f} {self.ins(f'fsub {f} {high}, {constant(2.0**84 + 2.0**63 + 2.0**52, wide)}')}, {low}"
        )

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


def _plain(ty: Ty) -> bool:
    return ty.is_float and ty.bits > 16
