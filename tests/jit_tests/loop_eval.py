"""Evaluates loop IR with NumPy: the oracle for whatever turns loops into machine code.

Expressions are evaluated with NumPy arrays in place of scalars, so a pointwise rule built once for a scalar
type is run on a whole array (``run_pointwise``).  ``run_kernel`` interprets a whole scalar kernel, slowly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fx.errors import GraphError
from jit.arithmetic import Arithmetic
from jit.loop_builder import KernelBuilder
from jit.loop_ir import (
    Alloc,
    Assign,
    Comment,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Load,
    Op,
    Prefetch,
    Ref,
    Stmt,
    Store,
    Ty,
    While,
)
from jit.lower.types import np_dtype

Array = np.ndarray


def _two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """``a * b`` as an unevaluated sum, by Dekker's splitting (float64)."""
    p = a * b
    ah, bh = ((v.view(np.uint64) & np.uint64(0xFFFFFFFFF8000000)).view(np.float64) for v in (a, b))
    al, bl = a - ah, b - bh
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def fma(a: Array, b: Array, c: Array) -> Array:
    """``a*b + c`` rounded once (but for rare double roundings)."""
    a, b, c = np.broadcast_arrays(a, b, c)
    if a.dtype != np.float64:
        return (a.astype(np.float64) * b + c).astype(a.dtype)
    p, e = _two_product(a.copy(), b.copy())
    s = p + c
    v = s - p
    r = s + (((p - (s - v)) + (c - v)) + e)
    simple = a * b + c
    safe = np.isfinite(r) & (np.abs(p) > 1e-250) & (np.abs(a) < 1e290) & (np.abs(b) < 1e290)
    return np.where(safe, r, simple)


def _truncated_division(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return a / b
    q = a // b
    return q + ((a - q * b != 0) & ((a < 0) != (b < 0))).astype(a.dtype)


def cast(x: Array, ty: Ty) -> Array:
    """Float to integer truncates and saturates, NaN gives 0; to boolean is ``x != 0``."""
    to = np_dtype(ty)
    if ty.kind == "b":
        return x != 0
    if ty.kind in "iu" and x.dtype.kind not in "iub":
        wide, info = x.astype(np.float64), np.iinfo(to)
        inside = (wide > float(info.min) - 1) & (wide < float(info.max) + (info.bits < 54))
        low_high = np.where(wide < 0, np.array(info.min, to), np.array(info.max, to))
        outside = np.where(np.isnan(wide), np.array(0, to), low_high)
        return np.where(inside, np.where(inside, wide, 0).astype(to), outside)
    return x.astype(to)


def _scale(x: Array, n: Array) -> Array:
    return np.where(np.isnan(n), n, np.ldexp(x, np.floor(np.nan_to_num(n)).astype(np.int32))).astype(x.dtype)


def _clz(x: Array) -> Array:
    bits = 8 * x.dtype.itemsize
    u = x.view(f"u{x.dtype.itemsize}").copy()
    n = np.full(x.shape, bits, x.dtype)
    while u.any():
        n -= (u != 0).astype(x.dtype)
        u >>= u.dtype.type(1)
    return n


def _ipow(x: Array, n: Array) -> Array:
    """Python's numbers, of which the last bits stay."""
    bits = 8 * x.dtype.itemsize
    powers = [pow(int(a), int(k) % 2**bits, 2**bits) for a, k in zip(np.ravel(x), np.ravel(n))]
    return np.array(powers, f"u{x.dtype.itemsize}").view(x.dtype).reshape(np.shape(x))


_NUMPY: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": _truncated_division, "rem": np.fmod,
    "neg": np.negative, "min": np.minimum, "max": np.maximum,
    "minnum": lambda a, b: np.where(a < b, a, b), "maxnum": lambda a, b: np.where(a > b, a, b),
    "abs": np.abs, "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "rint": np.rint,
    "copysign": np.copysign, "scale": _scale, "lookup": lambda i, *table: np.array(table)[i & i.dtype.type(15)], "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert,
    "shl": np.left_shift, "shr": np.right_shift, "popcount": lambda x: np.bitwise_count(x.view(f"u{x.dtype.itemsize}")).astype(x.dtype),
    "clz": _clz, "ipow": _ipow, "gcd": np.gcd, "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "select": np.where, "any": np.any,
}  # fmt: skip


class Evaluator:
    """Runs statements and expressions over an environment of named arrays.

    Args:
        buffers: the arrays behind pointer parameters, flat.
        fused: False evaluates ``fma`` as a product and a sum, as a machine without it does.
    """

    def __init__(self, buffers: Mapping[str, Array] | None = None, fused: bool = True) -> None:
        self.env: dict[str, Any] = {}
        self.buffers = dict(buffers or {})
        self.fused = fused

    def value(self, e: Expr) -> Any:
        """The value of an expression, an array of its type's dtype."""
        if isinstance(e, Const):
            return np.asarray(e.value).astype(np_dtype(e.ty))
        if isinstance(e, Ref):
            return self.env[e.name]
        if isinstance(e, Load):
            start = int(self.value(e.index))
            buf = self.buffers[e.buf]
            if e.mask is not None:  # a buffer may end where the mask does
                mask = self.value(e.mask)
                return np.array([buf[start + k] if here else buf.dtype.type(0) for k, here in enumerate(mask)])
            return buf[start] if e.ty.lanes == 1 else buf[start : start + e.ty.lanes].copy()
        if not isinstance(e, Op):
            raise GraphError(f"not a loop expression: {e!r}")
        args = [np.asarray(self.value(a)) for a in e.args]
        with np.errstate(all="ignore"):
            return self._apply(e, args)

    def _apply(self, e: Op, args: list[Array]) -> Any:
        if e.name == "fma":
            return fma(*args) if self.fused else args[0] * args[1] + args[2]
        if e.name == "cast":
            return cast(args[0], e.ty)
        if e.name == "bitcast":
            return np.ascontiguousarray(args[0]).view(np_dtype(e.ty)).reshape(args[0].shape)
        if e.name == "iota":
            return np.arange(e.ty.lanes, dtype=np_dtype(e.ty))
        if e.name == "splat":
            return np.broadcast_to(args[0], (e.ty.lanes,))
        if e.name not in _NUMPY:
            raise GraphError(f"the evaluator does not know the operation {e.name!r}")
        kinds = {a.dtype for a in args[e.name in ("select", "lookup") :]}
        if len(kinds) != 1:
            raise GraphError(f"{e.name} has operands of dtypes {kinds}")
        return _NUMPY[e.name](*args)

    def run(self, stmts: tuple[Stmt, ...] | list[Stmt]) -> None:
        for s in stmts:
            self._run(s)

    def _run(self, s: Stmt) -> None:
        if isinstance(s, (Let, Assign)):
            self.env[s.name] = self.value(s.value)
        elif isinstance(s, Store):
            start, value = int(self.value(s.index)), self.value(s.value)
            if s.mask is not None:
                for k in np.flatnonzero(self.value(s.mask)):
                    self.buffers[s.buf][start + k] = value[k]
                return
            self.buffers[s.buf][start : start + max(1, s.value.ty.lanes)] = value
        elif isinstance(s, For):
            for i in range(int(self.value(s.start)), int(self.value(s.stop)), s.step):
                self.env[s.var] = np.int64(i)
                self.run(s.body)
        elif isinstance(s, While):
            while self.value(s.cond):
                self.run(s.body)
        elif isinstance(s, If):
            self.run(s.then if self.value(s.cond) else s.orelse)
        elif isinstance(s, Alloc):
            self.buffers[s.name] = np.zeros(s.size, np_dtype(s.ty))
        elif not isinstance(s, (Comment, Prefetch)):
            raise GraphError(f"not a loop statement: {s!r}")


def run_pointwise(
    rule: Callable[..., Any], *operands: Any, fused: bool = True, arithmetic: Arithmetic = Arithmetic()
) -> Any:
    """Runs ``rule(builder, *values)`` on arrays; complex arrays go in and come out as (re, im) pairs."""
    b = KernelBuilder("pointwise", arithmetic)
    ev = Evaluator(fused=fused)

    def enter(x: Any, name: str) -> Any:
        if np.iscomplexobj(x):
            return enter(np.asarray(x).real.copy(), name + "_re"), enter(np.asarray(x).imag.copy(), name + "_im")
        kind = "bf" if x.dtype.name == "bfloat16" else x.dtype.kind
        ev.env[name] = x
        return Ref(name, Ty(kind, 1 if kind == "b" else 8 * x.dtype.itemsize))

    values = [enter(x, b.fresh(f"x{i}")) for i, x in enumerate(operands)]
    shape = np.broadcast_shapes(*(np.shape(x) for x in operands))
    result = rule(b, *values)
    ev.run(b.stack[0])

    def leave(v: Any) -> Any:
        if isinstance(v, tuple):
            return tuple(leave(p) for p in v)
        return np.broadcast_to(ev.value(v), shape).astype(np_dtype(v.ty))

    return leave(result)


def run_kernel(kernel: Kernel, args: Mapping[str, Any], lo: int, hi: int, worker: int = 0) -> None:
    """Interprets a kernel; ``args`` maps parameter names to flat arrays (written in place) and integers."""
    ev = Evaluator({p.name: args[p.name] for p in kernel.params if p.pointer})
    ev.env.update({p.name: np.int64(args[p.name]) for p in kernel.params if not p.pointer})
    ev.env.update(lo=np.int64(lo), hi=np.int64(hi), worker=np.int64(worker))
    ev.run(kernel.body)
