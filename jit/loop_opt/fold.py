"""Computes at compile time what depends on integer and boolean constants alone.

Lowerings write general formulas (a division guards against 0 and -1 whatever the divisor is); with a literal
operand most of that falls away.  LLVM would fold it as well, but later than the vectoriser needs it, which counts
operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..loop_ir import (
    Assign,
    Call,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Load,
    Op,
    Place,
    Prefetch,
    Ref,
    Stmt,
    Store,
    Ty,
    While,
)


def fold(kernel: Kernel) -> Kernel:
    """The kernel with constants folded and constant locals replaced by their values."""
    return replace(kernel, body=_Folder().block(kernel.body))


def _truncated(a: int, b: int) -> int:
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


# On Python integers of any size; the result is wrapped to the type.  None: left as it is.
_COMPUTE: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: _truncated(a, b) if b else None,
    "rem": lambda a, b: a - b * _truncated(a, b) if b else None,
    "neg": lambda a: -a,
    "min": min,
    "max": max,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "not": lambda a: ~a,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "cast": lambda a: a,
}


def _wrapped(value: int, ty: Ty) -> int | bool:
    if ty.kind == "b":
        return bool(value)
    bits = value & ((1 << ty.bits) - 1)
    return bits - (1 << ty.bits) if ty.kind == "i" and bits >> (ty.bits - 1) else bits


class _Folder:
    def __init__(self) -> None:
        self.constants: dict[str, Const] = {}
        self.known: dict[int, Expr] = {}
        self.order: list[int] = []

    def block(self, stmts: Sequence[Stmt]) -> tuple[Stmt, ...]:
        names, first = set(self.constants), len(self.order)
        out = tuple(new for s in stmts if (new := self.statement(s)) is not None)
        for name in set(self.constants) - names:
            del self.constants[name]
        for key in self.order[first:]:
            del self.known[key]
        del self.order[first:]
        return out

    def statement(self, s: Stmt) -> Stmt | None:
        match s:
            case Let(name, value, mutable):
                new = self.expr(value)
                if isinstance(new, Const) and not mutable and new.ty.kind in "iub":
                    self.constants[name] = new
                    return None
                return s if new is value else Let(name, new, mutable)
            case Assign(name, value):
                return Assign(name, self.expr(value))
            case Store(index=index, value=value):
                return replace(s, index=self.expr(index), value=self.expr(value))
            case Prefetch(buf, index, level):
                return Prefetch(buf, self.expr(index), level)
            case For(start=start, stop=stop, body=body):
                return replace(s, start=self.expr(start), stop=self.expr(stop), body=self.block(body))
            case While(cond, body):
                return While(self.expr(cond), self.block(body))
            case Call(function, args):
                new_args = (Place(a.buf, self.expr(a.index)) if isinstance(a, Place) else self.expr(a) for a in args)
                return Call(self.expr(function), tuple(new_args))
            case If(cond, then, orelse):
                return If(self.expr(cond), self.block(then), self.block(orelse))
        return s

    def expr(self, e: Expr) -> Expr:
        if isinstance(e, Const):
            return e
        if isinstance(e, Ref):
            return self.constants.get(e.name, e)
        key = id(e)
        if key not in self.known:
            self.known[key] = self.load(e) if isinstance(e, Load) else self.op(e)
            self.order.append(key)
        return self.known[key]

    def load(self, e: Load) -> Expr:
        index = self.expr(e.index)
        return e if index is e.index else replace(e, index=index)

    def op(self, e: Op) -> Expr:
        args = tuple(self.expr(a) for a in e.args)
        same = all(new is old for new, old in zip(args, e.args))
        if e.ty.lanes == 1 and args:
            first = args[0]
            if e.name == "select" and isinstance(first, Const):
                return args[1] if first.value else args[2]
            if e.name in ("and", "or") and e.ty.kind == "b":
                for this, other in (args, args[::-1]):
                    if isinstance(this, Const):
                        return other if bool(this.value) == (e.name == "and") else this
            if e.name in _COMPUTE and e.ty.kind in "iub" and all(
                isinstance(a, Const) and a.ty.kind in "iub" for a in args
            ):  # fmt: skip
                values = [_wrapped(int(a.value), a.ty) for a in args]  # type: ignore[union-attr]
                result = not values[0] if e.name == "not" and e.ty.kind == "b" else _COMPUTE[e.name](*values)
                if result is not None:
                    return Const(_wrapped(int(result), e.ty), e.ty)
        return e if same else Op(e.name, args, e.ty)
