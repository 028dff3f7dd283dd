"""Kernels of the loop language, written statement by statement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fx.errors import GraphError

from .arithmetic import Arithmetic
from .loop_ir import (
    IMPLICIT,
    Alloc,
    Assign,
    Call,
    Comment,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Load,
    Param,
    Place,
    Prefetch,
    Ref,
    Stmt,
    Store,
    Ty,
    While,
    i64,
    lift,
)
from .ranges import Ranges

__all__ = ["KernelBuilder"]


class KernelBuilder:
    """Writes a kernel statement by statement::

    b = KernelBuilder("axpy")
    x, y, n = b.pointer("x", f32), b.pointer("y", f32), b.integer("n")
    with b.for_("i", b.lo, b.hi, vectorize=True) as i:
        b.store(y, i, b.load(x, i) * 2.0 + b.load(y, i))
    kernel = b.build()

    arithmetic: that of the machine that the kernel is written for; the least of all, unless given.
    """

    def __init__(self, name: str, arithmetic: Arithmetic = Arithmetic()) -> None:
        self.name = name
        self.arithmetic = arithmetic
        self.params: list[Param] = []
        self.stack: list[list[Stmt]] = [[]]
        self.names: set[str] = set(IMPLICIT)
        self.types: dict[str, Ty] = {}
        self.ranges = Ranges()  # where values lie, for formulas to choose by
        self.lo, self.hi, self.worker = (Ref(n, i64) for n in IMPLICIT)

    def fresh(self, name: str) -> str:
        """``name``, with a number behind it if it is taken."""
        if name not in self.names:
            self.names.add(name)
            return name
        n = 1
        while f"{name}{n}" in self.names:
            n += 1
        self.names.add(f"{name}{n}")
        return f"{name}{n}"

    def pointer(self, name: str, ty: Ty) -> str:
        name = self.fresh(name)
        self.params.append(Param(name, ty, True))
        self.types[name] = ty
        return name

    def integer(self, name: str) -> Ref:
        name = self.fresh(name)
        self.params.append(Param(name, i64, False))
        return Ref(name, i64)

    def emit(self, stmt: Stmt) -> None:
        self.stack[-1].append(stmt)

    def comment(self, text: str) -> None:
        self.emit(Comment(text))

    def load(self, buf: str, index: Any, lanes: int = 1, mask: Expr | None = None) -> Expr:
        return Load(buf, lift(index, i64), self.types[buf].vector(lanes), mask)

    def store(self, buf: str, index: Any, value: Any, mask: Expr | None = None, past: bool = False) -> None:
        self.emit(Store(buf, lift(index, i64), lift(value, self.types[buf]), mask, past))

    def prefetch(self, buf: str, index: Any, level: int = 1) -> None:
        self.emit(Prefetch(buf, lift(index, i64), level))

    def place(self, buf: str, index: Any = 0) -> Place:
        return Place(buf, lift(index, i64))

    def call(self, function: Expr, *args: Any) -> None:
        """Calls a C function with integers and places."""
        self.emit(Call(function, tuple(a if isinstance(a, Place) else lift(a, i64) for a in args)))

    def let(self, name: str, value: Expr) -> Ref:
        """Names a value; reading it again does not compute it again."""
        name = self.fresh(name)
        self.emit(Let(name, value))
        self.ranges.define(name, value)
        return Ref(name, value.ty)

    def var(self, name: str, value: Expr) -> Ref:
        """A mutable local."""
        name = self.fresh(name)
        self.emit(Let(name, value, mutable=True))
        self.ranges.change(name)
        return Ref(name, value.ty)

    def assign(self, ref: Ref, value: Any) -> None:
        self.emit(Assign(ref.name, lift(value, ref.ty)))

    def alloc(self, name: str, ty: Ty, size: int) -> str:
        name = self.fresh(name)
        self.types[name] = ty
        self.emit(Alloc(name, ty, size))
        return name

    @contextmanager
    def for_(self, name: str, start: Any, stop: Any, step: int = 1, vectorize: bool = False) -> Iterator[Ref]:
        name = self.fresh(name)
        self.stack.append([])
        yield Ref(name, i64)
        body = tuple(self.stack.pop())
        self.emit(For(name, lift(start, i64), lift(stop, i64), body, step, vectorize))

    @contextmanager
    def while_(self, cond: Expr) -> Iterator[None]:
        self.stack.append([])
        yield
        self.emit(While(cond, tuple(self.stack.pop())))

    @contextmanager
    def if_(self, cond: Expr) -> Iterator[None]:
        self.stack.append([])
        yield
        self.emit(If(cond, tuple(self.stack.pop())))

    @contextmanager
    def else_(self) -> Iterator[None]:
        """Directly after an ``if_`` block."""
        self.stack.append([])
        yield
        orelse = tuple(self.stack.pop())
        last = self.stack[-1].pop()
        if not isinstance(last, If):
            raise GraphError("else_ must follow directly after if_")
        self.emit(If(last.cond, last.then, orelse))

    def build(self) -> Kernel:
        if len(self.stack) != 1:
            raise GraphError(f"kernel {self.name!r} has an open block")
        return Kernel(self.name, tuple(self.params), tuple(self.stack[0]))
