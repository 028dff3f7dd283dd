"""What the kernels of all nests share: frame, scopes, index arithmetic and values.

A nest's values are computed in the outermost *scope* where all they depend on is known: before the loops, once a row,
or at each element.  A scope is an open block of the kernel; a value is appended to the block of its scope, in front of
the loop that is being written there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from fx import dtypes
from fx.errors import LoweringError
from fx.ir import Aval, Literal, Var
from fx.sizes import is_sized, largest

from ..cost import nanoseconds
from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Ref, Stmt, f32, i32, i64, select, u32
from ..lower.context import Builder
from ..lower.copies import clipped_start, offset_type
from ..lower.registry import Address, Arg, Items, Value
from ..lower.types import ty_of
from .index_map import Affine, Cond
from .nodes import ROW, Choose, Fetch, Index, Leaf, Lit, Nest, NestStore, Node, Pick, Point, children, walk

__all__ = ["Emitter", "Scope", "Work", "choose", "literal"]


@dataclass
class Scope:
    """An open block.  ``loops``: the loop counters (and ROW) that are known in it."""

    block: list[Stmt]
    loops: frozenset[int]
    values: dict[Any, Any] = field(default_factory=dict)


class Work:
    """Flops and bytes of a nest.  Values that a row or the whole nest shares count once there."""

    def __init__(self, nest: Nest) -> None:
        total = math.prod(nest.sizes)
        self.total = total
        self.flops = self.nbytes = 0
        for node in walk(list(nest.targets())):
            times = math.prod(nest.sizes[k] for k in nest.loops(node) if k != ROW)
            if isinstance(node, (Point, Fetch)):
                self.flops += node.flops * times
            if isinstance(node, (Leaf, Fetch)):
                self.nbytes += node.dtype.itemsize * times
        self.flops += total * len(nest.reductions)
        self.nbytes += sum(s.var.aval.dtype.itemsize * (total if s.full else nest.rows) for s in nest.stores)
        self.nanoseconds = nanoseconds(self.flops, self.nbytes)

    def per(self, items: int) -> float:
        return self.nanoseconds / largest(1, items)


class Emitter:
    """Writes one kernel of a nest and its frame.  A subclass for each kind of loops has ``write``."""

    def __init__(self, ctx: Builder, nest: Nest, name: str) -> None:
        self.ctx = ctx
        self.nest = nest
        self.work = Work(nest)
        self.b = KernelBuilder(name, ctx.host.arithmetic)
        self.args: list[Arg] = []
        self.pointers: dict[Any, str] = {}
        self.integers: dict[Any, Ref] = {}
        self.counters: dict[int, Expr] = {}
        self.scopes = [Scope(self.b.stack[0], frozenset())]
        self.past: Sequence[NestStore] = ()  # the stores that go past the caches, in the loop that is being written
        self.narrow = 0  # the length of rows that are written out (``NarrowRows``)

    def write(self) -> tuple[int, int]:
        """Writes the loops; returns the length of the range that they run over and that of its pieces."""
        raise NotImplementedError

    def emit(self) -> None:
        """Writes the kernel and appends the step that runs it."""
        total, chunk = self.write()
        kernel: Kernel = self.b.build()
        handle = self.ctx.fused_kernel(kernel)
        self.ctx.step(
            handle,
            tuple(self.args),
            total,
            chunk,
            kernel.name,
            self.work.flops,
            self.work.nbytes,
            items=self.items(total),
        )

    def items(self, total: int) -> Items | None:
        """What an index of the range touches, where that is known."""
        return None

    # ------------------------------------------------------------------ frame

    def integer(self, name: str, value: int, key: Any = None) -> Ref:
        """An integer of the frame; the same key gives the same one."""
        key = (name, value) if key is None else key
        if key not in self.integers:
            self.integers[key] = self.b.integer(name)
            self.args.append(value)
        return self.integers[key]

    def size(self, loop: int) -> Ref:
        return self.integer(f"n{loop}", self.nest.sizes[loop], ("size", loop))

    def pointer(self, var: Var, const: int, hint: str) -> str:
        """The address of element ``const`` of a variable's memory."""
        return self.address(self.ctx.buffer_of(var), const, var.aval.dtype, hint)

    def address(self, buffer: int, element: int, dtype: np.dtype, hint: str) -> str:
        key = (buffer, element * dtype.itemsize, dtype)
        if key not in self.pointers:
            self.pointers[key] = self.b.pointer(hint, ty_of(dtype))
            self.args.append(Address(buffer, element * dtype.itemsize))
        return self.pointers[key]

    # ------------------------------------------------------------------ scopes

    @contextmanager
    def scope(self, loops: frozenset[int]) -> Iterator[None]:
        """The innermost open block becomes a scope in which ``loops`` are known too."""
        self.scopes.append(Scope(self.b.stack[-1], self.scopes[-1].loops | loops))
        yield
        self.scopes.pop()

    @contextmanager
    def inside(self, scope: Scope) -> Iterator[None]:
        """Statements go to the end of an outer block."""
        self.b.stack.append(scope.block)
        yield
        self.b.stack.pop()

    def scope_of(self, loops: frozenset[int]) -> Scope:
        return next(s for s in self.scopes if loops <= s.loops)

    @contextmanager
    def loop(self, k: int, start: Any, stop: Any, step: int = 1, vectorize: bool = False) -> Iterator[Expr]:
        with self.b.for_(f"i{k}", start, stop, step, vectorize) as i:
            self.counters[k] = i
            with self.scope(frozenset([k])):
                yield i

    @contextmanager
    def rows_of(self, row: Expr, loops: list[int]) -> Iterator[None]:
        """Inside, ``row`` is taken apart into the counters of ``loops``."""
        for k in reversed(loops[1:]):
            n = self.size(k)
            self.counters[k] = self.b.let(f"i{k}", row % n)
            row = self.b.let("row", row // n)
        if loops:
            self.counters[loops[0]] = row
        with self.scope(frozenset(loops)):
            yield

    # ------------------------------------------------------------------ index arithmetic

    def affine(self, at: Affine, with_const: bool) -> Expr:
        """The value of an index map, each part computed where its counters are known."""
        terms = list(at.terms)
        total: Expr | None = self.integer("from", at.const, ("from", at)) if with_const and at.const else None
        known: list[tuple[int, int]] = []
        for scope in self.scopes:
            here = [t for t in terms if t not in known and t[0] in scope.loops]
            if not here or any(k not in scope.loops for k, _ in known):
                continue
            known += here
            key = ("affine", tuple(known), at.const if with_const else 0)
            if key not in scope.values:
                with self.inside(scope):
                    for k, c in here:
                        part = self.times(self.counters[k], k, c)
                        total = part if total is None else total + part
                    innermost = scope is self.scopes[-1] and len(known) == len(terms)
                    scope.values[key] = (
                        total if innermost or isinstance(total, Ref) else self.b.let("at", cast(Expr, total))
                    )
            total = scope.values[key]
        if total is None:
            total = Const(0, i64)
        return total if at.den == 1 else total // at.den

    def times(self, i: Expr, loop: int, coef: int) -> Expr:
        if not is_sized(coef):  # what varies is a stride of the frame, whatever it is now
            if coef == 1:
                return i
            if coef == self.narrow and loop != len(self.nest.sizes) - 1:
                return i * coef  # a stride that the compiler knows becomes interleaved loads
            if coef == -1:
                return -i
        return i * self.integer(f"s{loop}", coef, ("stride", loop, coef))

    def condition(self, conds: Sequence[Cond]) -> Expr:
        """All conditions, those of outer scopes computed there."""
        result: Expr | None = None
        for cond in conds:
            part = self.one_condition(cond)
            result = part if result is None else result & part
        if result is None:
            raise LoweringError("an empty condition")
        return result

    def one_condition(self, cond: Cond) -> Expr:
        at = self.nest.at(cond.at)
        scope = self.scope_of(frozenset(k for k, _ in at.terms))
        key = ("cond", cond)
        if key not in scope.values:
            with self.inside(scope):
                lo, hi = at.bounds(self.nest.sizes)
                shift = self.integer("from", at.const, ("from", cond)) if at.const else None
                i = self.affine(Affine(0, at.terms), False)
                i = i if shift is None else self.b.let("at", i + shift)
                parts = [] if lo >= 0 else [i >= 0]
                parts += [] if hi < cond.limit else [i < self.integer("limit", cond.limit, ("limit", cond))]
                parts += [] if cond.modulus == 1 else [(i % cond.modulus).eq(0)]
                total = parts[0]
                for p in parts[1:]:
                    total = total & p
                scope.values[key] = self.b.let("ok", total)
        return scope.values[key]

    # ------------------------------------------------------------------ values

    def value(self, node: Node) -> Value:
        """The value of a node, computed once in its scope; arguments first, without recursion."""
        stack = [node]
        while stack:
            n = stack[-1]
            scope = self.scope_of(self.nest.loops(n))
            if n in scope.values:
                stack.pop()
                continue
            args = [self.known(c) for c in self.below(n)]
            if any(a is None for a in args):
                stack += [c for c, a in zip(self.below(n), args) if a is None]
                continue
            with self.inside(scope):
                scope.values[n] = self.compute(n, args)
        return self.known(node)

    def known(self, node: Node) -> Value | None:
        return self.scope_of(self.nest.loops(node)).values.get(node)

    def below(self, node: Node) -> tuple[Node, ...]:
        """The nodes that must be computed first."""
        return children(node)

    def compute(self, node: Node, args: list[Value]) -> Value:
        """The value of a node whose arguments are known."""
        if isinstance(node, Pick):
            return args[0][node.k]
        if isinstance(node, Lit):
            return self.number(node)
        if isinstance(node, Leaf):
            return self.leaf(node)
        if isinstance(node, Fetch):
            return self.fetch(node, args)
        if isinstance(node, Index):
            return self.position(node)
        if isinstance(node, Choose):
            ok = self.condition(node.conds)
            return self.named("chosen", choose(ok, *args))
        if isinstance(node, Point):
            result = node.rule(self.b, node.eqn, *args)
            if node.eqn is not None and len(node.eqn.outputs) > 1:
                return tuple(self.named(node.name, v) for v in result)
            return self.named(node.name, result)
        raise LoweringError(f"{type(node).__name__} has no value here")

    def named(self, name: str, value: Value) -> Value:
        if isinstance(value, tuple):
            return tuple(self.named(name, v) for v in value)
        return value if isinstance(value, (Ref, Const)) else self.b.let(name, value)

    def number(self, node: Lit) -> Value:
        """Small numbers stand in the code.  Others are read before the loops: a mean over another length and another
        learning rate run the same kernel."""
        if stands_in_code(node.value, node.dtype):
            return literal(node.value, node.dtype)
        at = self.ctx.literal(Literal(node.value, Aval((), node.dtype)))
        return self.named(
            "c", self.load(self.address(at.buffer, at.offset, node.dtype, "c"), Const(0, i64), node.dtype)
        )

    def leaf(self, node: Leaf) -> Value:
        at = self.nest.at(node.at)
        folded = 0 if at.den != 1 else at.const
        buf = self.pointer(node.var, folded, "x")
        index = self.affine(at, with_const=at.den != 1)
        return self.loaded(buf, index, node.dtype, node.conds)

    def loaded(self, buf: str, index: Expr, dtype: np.dtype, conds: Sequence[Cond]) -> Value:
        """An element, or 0 where the conditions do not hold."""
        if not conds:
            return self.named("v", self.load(buf, index, dtype))
        ok = self.condition(conds)
        zero = literal(0, dtype)
        parts = [self.b.var("v", z) for z in (zero if isinstance(zero, tuple) else (zero,))]
        with self.b.if_(ok):
            found = self.load(buf, index, dtype)
            for p, v in zip(parts, found if isinstance(found, tuple) else (found,)):
                self.b.assign(p, v)
        return tuple(parts) if len(parts) > 1 else parts[0]

    def fetch(self, node: Fetch, index: Sequence[Expr]) -> Value:
        """The element at clipped indices; whatever they are, the place is in bounds."""
        at = self.nest.at(node.at)
        buf = self.pointer(node.var, 0 if at.den != 1 else at.const, "x")
        here = self.affine(at, with_const=at.den != 1)
        scope = self.scope_of(frozenset[int]().union(*(self.nest.loops(n) for n in node.index)))
        key = ("place", node)
        if key not in scope.values:  # of a whole row, if one index leads to it
            with self.inside(scope):
                scope.values[key] = self.place(node, index)
        offset, inside = scope.values[key]
        found = self.loaded(buf, here + offset, node.dtype, node.conds)
        if node.fill is None:
            return found
        return self.named("filled", choose(inside, found, literal(node.fill, node.dtype)))

    def place(self, node: Fetch, index: Sequence[Expr]) -> tuple[Expr, Expr]:
        """How far the clipped indices lead, and whether they needed no clipping."""
        reach = sum(a.limit * abs(a.stride) for a in node.axes) + 1
        types = [offset_type(v.ty, reach) for v in index]
        ty = i64 if i64 in types else i32
        limits = [self.integer("limit", a.limit, ("limit", node, k)).cast(ty) for k, a in enumerate(node.axes)]
        side_by_side = [not is_sized(a.stride) and a.stride == 1 for a in node.axes]
        steps = [
            Const(1, ty) if one else self.integer("step", a.stride, ("step", node, k)).cast(ty)
            for k, (a, one) in enumerate(zip(node.axes, side_by_side))
        ]
        offset, inside = clipped_start(self.b, index, limits, steps, ty, node.wraps)
        if ty == i32 and all(a.stride >= 0 for a in node.axes):
            offset = offset.cast(u32)  # an address takes that as it is
        inside = self.b.let("inside", inside) if node.fill is not None else inside
        return offset.cast(i64), inside

    def load(self, buf: str, index: Expr, dtype: np.dtype) -> Value:
        if dtypes.is_complex(dtype):
            return self.b.load(buf, index * 2), self.b.load(buf, index * 2 + 1)
        return self.b.load(buf, index)

    def store(self, buf: str, index: Expr, value: Value, past: bool = False) -> None:
        if isinstance(value, tuple):
            self.b.store(buf, index * 2, value[0])
            self.b.store(buf, index * 2 + 1, value[1])
        else:
            self.b.store(buf, index, value, past=past)

    def position(self, node: Index) -> Value:
        at = self.nest.at(node.at)
        i = self.affine(Affine(0, at.terms, 1), False)
        if at.const:
            i = i + self.integer("from", at.const, ("iota", node.at))
        i = i if at.den == 1 else i // at.den
        ty = ty_of(node.dtype)
        if ty.kind == "b":
            return i.ne(0)
        if max(map(abs, at.bounds(self.nest.sizes))) < 2**31 and ty.bits <= 32:
            i = i.cast(i32)
        i = i.cast(f32).cast(ty) if ty.is_float and ty.bits == 16 else i.cast(ty)
        return (i, Const(0.0, ty)) if dtypes.is_complex(node.dtype) else self.named("i", i)

    def store_all(self, stores: Sequence[NestStore]) -> None:
        """All values first: a store may overwrite in place what another value reads."""
        done = [(s, self.value(s.node)) for s in stores]
        for s, v in done:
            at = self.nest.at(s.at)
            self.store(self.pointer(s.var, at.const, "out"), self.affine(at, False), v, s in self.past)


_IN_MEMORY = (np.dtype(np.float32), np.dtype(np.float64))
# Small numbers; of exponents, those for which a power is products and roots (``kernels/vector_math_pow.py``).
_IN_CODE = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)


def stands_in_code(value: Any, dtype: np.dtype) -> bool:
    """Whether a number is compiled in; others are read, so that kernels do not differ by them."""
    if is_sized(value):
        return False
    return dtype not in _IN_MEMORY or not math.isfinite(value) or abs(value) in _IN_CODE


def literal(value: Any, dtype: np.dtype) -> Value:
    """A number as a constant: a pair for complex dtypes."""
    ty = ty_of(dtype)
    if dtypes.is_complex(dtype):
        c = complex(value)
        return Const(c.real, ty), Const(c.imag, ty)
    if ty.kind == "b":
        return Const(bool(value), ty)
    if not ty.is_float:
        return Const(int(value), ty)
    return Const(float(value), ty) if ty.kind == "f" else Const(float(value), f32).cast(ty)


def choose(ok: Expr, yes: Value, no: Value) -> Value:
    if isinstance(yes, tuple):
        return tuple(select(ok, y, n) for y, n in zip(yes, no))
    return select(ok, yes, no)
