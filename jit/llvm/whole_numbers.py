"""Functions of whole numbers whose number of rounds depends on them: what ``gcd`` and ``ipow`` call.

All lanes go on until the last one is done; those that are done earlier stay as they are.
"""

from __future__ import annotations

from collections.abc import Set

from ..loop_ir import Ty
from .text import constant, mangled, register_type

__all__ = ["whole_number_functions"]

# x^n is the product of x^(2^i) over the bits i of n.
_POWER = """
define internal {t} @fx.ipow.{name}({t} %x, {t} %n) nounwind {{
  br label %head
head:
  %r = phi {t} [ {one}, %0 ], [ %r.next, %head ]
  %p = phi {t} [ %x, %0 ], [ %p.next, %head ]
  %k = phi {t} [ %n, %0 ], [ %k.next, %head ]
  %last = and {t} %k, {one}
  %odd = icmp ne {t} %last, {zero}
  %product = mul {t} %r, %p
  %r.next = select {c} %odd, {t} %product, {t} %r
  %p.next = mul {t} %p, %p
  %k.next = lshr {t} %k, {one}
  %left = icmp ne {t} %k.next, {zero}
  %again = {any}
  br i1 %again, label %head, label %done
done:
  ret {t} %r.next
}}
"""

# Of odd u and v: gcd(u, v) = gcd(|u - v|, min(u, v)), and the difference is even: its factors 2 are none of the result's.  The
# factors 2 of both are put back at the end.  A zero is replaced by the other number, two zeros by ones.
_GCD = """
define internal {t} @fx.gcd.{name}({t} %x, {t} %y) nounwind {{
  %xw = {widen} {t} %x to {w}
  %yw = {widen} {t} %y to {w}
  %x0 = icmp eq {w} %xw, {zero}
  %y0 = icmp eq {w} %yw, {zero}
  %both = or {w} %xw, %yw
  %none = icmp eq {w} %both, {zero}
  %some = select {c} %none, {w} {one}, {w} %both
  %a0 = select {c} %x0, {w} %some, {w} %xw
  %b0 = select {c} %y0, {w} %some, {w} %yw
  %twos = call {w} @llvm.cttz.{m}({w} %some, i1 true)
  %az = call {w} @llvm.cttz.{m}({w} %a0, i1 true)
  %bz = call {w} @llvm.cttz.{m}({w} %b0, i1 true)
  %a1 = lshr {w} %a0, %az
  %b1 = lshr {w} %b0, %bz
  br label %head
head:
  %a = phi {w} [ %a1, %0 ], [ %a.next, %head ]
  %b = phi {w} [ %b1, %0 ], [ %less, %head ]
  %less = call {w} @llvm.umin.{m}({w} %a, {w} %b)
  %more = call {w} @llvm.umax.{m}({w} %a, {w} %b)
  %d = sub {w} %more, %less
  %apart = icmp ne {w} %d, {zero}
  %dz = call {w} @llvm.cttz.{m}({w} %d, i1 false)
  %dz.safe = and {w} %dz, {below}
  %odd = lshr {w} %d, %dz.safe
  %a.next = select {c} %apart, {w} %odd, {w} %less
  %again = {any}
  br i1 %again, label %head, label %done
done:
  %whole = shl {w} %less, %twos
  %result = select {c} %none, {w} {zero}, {w} %whole
  %r = {narrow} {w} %result to {t}
  ret {t} %r
}}
"""


def whole_number_functions(called: Set[tuple[str, Ty]]) -> list[str]:
    """The functions of these names on these types."""
    return [(_power if name == "ipow" else _gcd)(ty) for name, ty in sorted(called, key=str)]


def _power(ty: Ty) -> str:
    return _POWER.format(
        name=ty, t=register_type(ty), c=register_type(Ty("b", 1, ty.lanes)), one=constant(1, ty), zero=constant(0, ty),
        any=_any("%left", ty.lanes),
    )  # fmt: skip


def _gcd(ty: Ty) -> str:
    wide = Ty("u", max(ty.bits, 32), ty.lanes)
    same = wide.bits == ty.bits
    return _GCD.format(
        name=ty, t=register_type(ty), w=register_type(wide), m=mangled(wide), c=register_type(Ty("b", 1, ty.lanes)),
        one=constant(1, wide), zero=constant(0, wide), below=constant(wide.bits - 1, wide), any=_any("%apart", ty.lanes),
        widen="bitcast" if same else "zext", narrow="bitcast" if same else "trunc",
    )  # fmt: skip


def _any(mask: str, lanes: int) -> str:
    if lanes == 1:
        return f"and i1 {mask}, {mask}"
    return f"call i1 @llvm.vector.reduce.or.v{lanes}i1(<{lanes} x i1> {mask})"
