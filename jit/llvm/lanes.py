"""LLVM instructions that regroup the lanes of vectors, and those of AVX2 and AVX-512 that are called by name."""

from __future__ import annotations

from collections.abc import Sequence

from ..loop_ir import Ty
from .casts import Casts
from .text import constant, mangled, register_type


class Lanes(Casts):
    """Operations whose code depends on how many registers a vector takes."""

    compress_tables: set[int]  # for how many lanes the module must hold a table

    def splat(self, x: str, ty: Ty) -> str:
        t, s = register_type(ty), register_type(ty.scalar)
        if not x.startswith("%"):
            return f"splat ({s} {x})"
        first = self.ins(f"insertelement {t} poison, {s} {x}, i32 0")
        return self.ins(f"shufflevector {t} {first}, {t} poison, <{ty.lanes} x i32> zeroinitializer")

    def regrouped(self, x: str, ty: Ty, lanes: Sequence[int]) -> str:
        """These lanes of ``x``, as a scalar if it is one lane; those that do not exist are undefined."""
        t, n = register_type(ty), len(lanes)
        if n == ty.lanes:
            return x
        if n == 1:
            return self.ins(f"extractelement {t} {x}, i64 {lanes[0]}")
        if ty.lanes == 1:
            return self.ins(f"insertelement {register_type(ty.vector(n))} poison, {t} {x}, i64 0")
        mask = ", ".join(f"i32 {k}" if k < ty.lanes else "i32 poison" for k in lanes)
        return self.ins(f"shufflevector {t} {x}, {t} poison, <{n} x i32> <{mask}>")

    def joined(self, parts: Sequence[str], ty: Ty) -> str:
        """Vectors of type ``ty``, a power of two of them, one behind the other."""
        if ty.lanes == 1 and len(parts) > 1:
            vector = "poison"
            for k, x in enumerate(parts):
                t = register_type(ty.vector(len(parts)))
                vector = self.ins(f"insertelement {t} {vector}, {register_type(ty)} {x}, i64 {k}")
            return vector
        while len(parts) > 1:
            t, mask = register_type(ty), ", ".join(f"i32 {k}" for k in range(2 * ty.lanes))
            pairs = zip(parts[::2], parts[1::2])
            parts = [self.ins(f"shufflevector {t} {a}, {t} {b}, <{2 * ty.lanes} x i32> <{mask}>") for a, b in pairs]
            ty = ty.vector(2 * ty.lanes)
        return parts[0]

    def vscalef(self, ty: Ty, x: str, n: str) -> str:
        """AVX-512's vscalef, register by register."""
        lanes = min(max(128, ty.lanes * ty.bits), 512) // ty.bits
        if lanes < ty.lanes:
            firsts = range(0, ty.lanes, lanes)
            pieces = [[self.regrouped(v, ty, range(i, i + lanes)) for v in (x, n)] for i in firsts]
            return self.joined([self.vscalef(ty.vector(lanes), *piece) for piece in pieces], ty.vector(lanes))
        wide = ty.vector(lanes)
        t, kind = register_type(wide), f"{'ps' if ty.bits == 32 else 'pd'}.{lanes * ty.bits}"
        x, n = (self.regrouped(v, ty, range(lanes)) for v in (x, n))
        more = f"i{max(8, lanes)} -1" + (", i32 4" if lanes * ty.bits == 512 else "")
        scaled = self.ins(
            f"call {t} @llvm.x86.avx512.mask.scalef.{kind}({t} {x}, {t} {n}, {t} zeroinitializer, {more})"
        )
        return self.regrouped(scaled, wide, range(ty.lanes))

    def compress(self, ty: Ty, x: str, mask: str) -> str:
        """AVX-512's vpcompress where the vector is one register, AVX2's vpermd by a table of the masks; or lane by lane."""
        t, booleans = register_type(ty), Ty("b", 1, ty.lanes)
        b, width = register_type(booleans), ty.bits * ty.lanes
        if self.target.arithmetic.compress and ty.bits >= 32:
            if self.target.vector_bits >= 512 and 128 <= width <= 512:
                name = f"llvm.x86.avx512.mask.compress.{mangled(ty)}"
                return self.ins(f"call {t} @{name}({t} {x}, {t} zeroinitializer, {b} {mask})")
            if width == 256:
                return self._compressed(ty, x, mask)
        packed, place, s = "zeroinitializer", "0", register_type(ty.scalar)
        for k in range(ty.lanes):
            here, one = self.regrouped(mask, booleans, [k]), self.regrouped(x, ty, [k])
            kept = self.ins(f"select i1 {here}, {s} {one}, {s} {constant(0, ty.scalar)}")
            packed = self.ins(f"insertelement {t} {packed}, {s} {kept}, i64 {place}")
            place = self.ins(f"add i64 {place}, {self.ins(f'zext i1 {here} to i64')}")
        return packed

    def _compressed(self, ty: Ty, x: str, mask: str) -> str:
        """``compress`` of a register of 256 bits."""
        t, words, n = register_type(ty), "<8 x i32>", ty.lanes
        self.compress_tables.add(n)
        number = self.ins(f"zext i{n} {self.ins(f'bitcast <{n} x i1> {mask} to i{n}')} to i64")
        place = self.ins(f"getelementptr [{1 << n} x <8 x i8>], ptr @fx.compress.{n}, i64 0, i64 {number}")
        order = self.ins(f"zext <8 x i8> {self.ins(f'load <8 x i8>, ptr {place}, align 8')} to {words}")
        v = self.ins(f"bitcast {t} {x} to {words}")
        moved = self.ins(f"call {words} @llvm.x86.avx2.permd({words} {v}, {words} {order})")
        return self.ins(f"bitcast {words} {moved} to {t}")

    def lookup(self, ty: Ty, i: str, table: Sequence[str]) -> str:
        """AVX-512's vpermps, or vpermi2pd of a table in two registers, register by register; or lane by lane."""
        numbers = ", ".join(f"{register_type(ty.scalar)} {_scalar(c)}" for c in table)
        u, wide = Ty("u", ty.bits, ty.lanes), ty.vector(len(table))
        if ty.lanes > 1 and self.target.arithmetic.tables:
            lanes = 512 // ty.bits
            register = ty.vector(lanes)
            groups = [range(first, first + lanes) for first in range(0, ty.lanes, lanes)]
            found = [self._permuted(register, self.regrouped(i, u, group), table) for group in groups]
            return self.regrouped(self.joined(found, register), ty.vector(lanes * len(groups)), range(ty.lanes))
        t, low = register_type(wide), self.ins(f"and {register_type(u)} {i}, {constant(len(table) - 1, u)}")
        each = [self.regrouped(low, u, [k]) for k in range(ty.lanes)]
        lanewise = [self.ins(f"extractelement {t} <{numbers}>, i{ty.bits} {k}") for k in each]
        return self.joined(lanewise, ty.scalar)

    def _permuted(self, ty: Ty, i: str, table: Sequence[str]) -> str:
        """``lookup`` in a register of 512 bits."""
        t, s, n = register_type(ty), register_type(ty.scalar), ty.lanes
        first, *second = (
            f"{t} <{', '.join(f'{s} {_scalar(c)}' for c in table[k : k + n])}>" for k in range(0, len(table), n)
        )
        place = f"<{n} x i{ty.bits}> {i}"
        if not second:
            return self.ins(f"call {t} @llvm.x86.avx512.permvar.sf.512({first}, {place})")
        return self.ins(f"call {t} @llvm.x86.avx512.vpermi2var.pd.512({first}, {place}, {second[0]})")


def _scalar(x: str) -> str:
    """A constant's spelling in one lane."""
    return x.partition("(")[2].rstrip(")").split()[-1] if x.startswith("splat") else x


def compress_table(lanes: int) -> str:
    """For each mask of ``lanes`` lanes, which of eight words of 32 bits come to the front; then the others."""
    words, rows = 8 // lanes, []
    for mask in range(1 << lanes):
        lane_order = sorted(range(lanes), key=lambda k: not mask >> k & 1)
        row = ", ".join(f"i8 {words * k + w}" for k in lane_order for w in range(words))
        rows.append(f"<8 x i8> <{row}>")
    return f"@fx.compress.{lanes} = internal constant [{len(rows)} x <8 x i8>] [{', '.join(rows)}], align 64"
