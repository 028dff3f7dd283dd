"""The remainder of floats, ``x rem y = x - y trunc(x / y)``: exact, and with the sign of x."""

from __future__ import annotations

import math

from ..loop_ir import Ty, f64
from .text import constant, register_type

__all__ = ["fmod_functions"]

# On the integer mantissas: x = mx 2^ex, y = my 2^ey, so r = (mx 2^(ex-ey) mod my) 2^ey.
# As many bits as fit above a mantissa in 64 bits are shifted in by each division.
_FMOD = """
define internal {f} @fx.fmod.exact.{name}({f} %x, {f} %y) nounwind {{
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

# With the quotient rounded to a whole number q, no further than 1 from x / y, the remainder x - q y is a multiple of the last digit of y
# (or, where |x| < |y|, of x) and no larger than y: a fused multiply-add finds it without an error, and where it is negative, y more is.
# For float32, doubles hold q y, too, as long as q has no more than 29 bits.  Where a lane has a larger quotient, or none, each is computed
# by the function above.
_VECTOR = """
define internal {f} @fx.fmod.{name}({f} %x, {f} %y) nounwind {{
  %xa = call {f} @llvm.fabs({f} %x)
  %ya = call {f} @llvm.fabs({f} %y)
  %xw = {widen} {f} %xa to {w}
  %yw = {widen} {f} %ya to {w}
  %ratio = fdiv {w} %xw, %yw
  %small = fcmp olt {w} %ratio, {limit}
  %finite = fcmp olt {w} %yw, {inf}
  %near = and {c} %small, %finite
  %fast = {all}
  br i1 %fast, label %products, label %lanes
products:
  %shifted = fadd {w} %ratio, {shift}
  %q = fsub {w} %shifted, {shift}
  %minus = fneg {w} %q
  %r0 = {fma}
  %below = fcmp olt {w} %r0, {zero}
  %r1 = fadd {w} %r0, %yw
  %r2 = select {c} %below, {w} %r1, {w} %r0
  %r3 = {narrow} {w} %r2 to {f}
  %r = call {f} @llvm.copysign({f} %r3, {f} %x)
  ret {f} %r
lanes:
{lanes}}}
"""


def fmod_functions(types: set[Ty], fma: bool) -> list[str]:
    """The functions that ``rem`` on floats of these types calls."""
    ordered = sorted(types, key=str)
    return [_exact(ty) for ty in ordered if ty.lanes == 1] + [_vector(ty, fma) for ty in ordered]


def _exact(ty: Ty) -> str:
    p = 52 if ty.bits == 64 else 23
    ones = (1 << (ty.bits - 1)) - 1
    fraction = (1 << p) - 1
    return _FMOD.format(
        f=register_type(ty), i=f"i{ty.bits}", name=ty, p=p, magnitude=ones, fraction=fraction,
        implicit=1 << p, inf=ones ^ fraction, room=63 - p,
        widen="bitcast" if ty.bits == 64 else "zext", narrow="bitcast" if ty.bits == 64 else "trunc",
    )  # fmt: skip


def _vector(ty: Ty, fma: bool) -> str:
    f, w, c = (register_type(t) for t in (ty, f64.vector(ty.lanes), Ty("b", 1, ty.lanes)))
    wide = f64.vector(ty.lanes)
    exact = ty.bits == 32  # products of doubles
    limit = 2.0**29 if exact else 2.0**51 if fma else 0.0
    if exact:
        remainder = f"call {w} @llvm.fmuladd({w} %minus, {w} %yw, {w} %xw)"
    else:
        remainder = f"call {w} @llvm.fma({w} %minus, {w} %yw, {w} %xw)" if fma else f"fneg {w} %q"
    return _VECTOR.format(
        f=f, w=w, c=c, name=ty, limit=constant(limit, wide), inf=constant(math.inf, wide), shift=constant(1.5 * 2.0**52, wide),
        zero=constant(0.0, wide), widen="fpext" if exact else "bitcast", narrow="fptrunc" if exact else "bitcast", fma=remainder,
        all="and i1 %near, %near" if ty.lanes == 1 else f"call i1 @llvm.vector.reduce.and({c} %near)", lanes=_each_lane(ty),
    )  # fmt: skip


def _each_lane(ty: Ty) -> str:
    """The instructions that compute a remainder lane by lane, and return it."""
    f, s = register_type(ty), register_type(ty.scalar)
    call = f"call {s} @fx.fmod.exact.{ty.scalar}"
    if ty.lanes == 1:
        return f"  %e = {call}({s} %x, {s} %y)\n  ret {s} %e\n"
    lines, result = [], "poison"
    for i in range(ty.lanes):
        lines += [f"%{v}{i} = extractelement {f} %{v}, i32 {i}" for v in "xy"]
        lines += [f"%e{i} = {call}({s} %x{i}, {s} %y{i})", f"%v{i} = insertelement {f} {result}, {s} %e{i}, i32 {i}"]
        result = f"%v{i}"
    return "".join(f"  {line}\n" for line in [*lines, f"ret {f} {result}"])
