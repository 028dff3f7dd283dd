"""Nest -> kernels: the loops of a fused nest as steps of the program.

A nest's values are computed in the outermost *scope* where all they depend on is known: before the loops, once a row,
or at each element.  A scope is an open block of the kernel; a value is appended to the block of its scope, in front of
the loop that is being written there.

The text of a kernel holds no sizes.  Loop sizes, strides other than 0, 1 and -1, and limits of conditions are integers
of its frame; the constant part of an index map is added to the address.  So the same expression over other sizes is
the same kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fx import dtypes
from fx.errors import LoweringError
from fx.ir import Aval, Var

from .cost import FEW_ROWS, SPLIT_NS, chunk_for, nanoseconds
from .index_map import Affine, Cond, dense_strides
from .loop_ir import Const, Expr, KernelBuilder, Ref, Stmt, f32, i32, i64, maximum, minimum, select
from .lower.context import Builder
from .lower.reductions import COMBINE, carry_position, identity_of, widen
from .lower.registry import Address, Arg, Value
from .lower.types import ty_of
from .nest import (
    ROW,
    Choose,
    Index,
    Leaf,
    Lit,
    Nest,
    NestReduction,
    NestStore,
    Node,
    Pick,
    Point,
    Reduced,
    children,
    walk,
)

__all__ = ["emit_nest"]

BLOCK = 4096  # elements whose float sum is taken before it is added to the sum of the row: bounds the rounding error
COLUMN_BYTES = 2048  # bytes of accumulators in a block of columns
PIECES = 48  # partial results of a reduction of few rows
ROWS_AT_ONCE = 4  # rows added to a block of columns in one pass ...
SMALL_BODY = 12  # ... if a nest has no more values than this
NARROW = 16  # rows of at most so many elements are written out ...
NARROW_BODY = 160  # ... if that gives no more operations than this
TILE = 32  # rows and columns of a transposing tile, at most
TILES_ASIDE = 8  # tiles along each side of a block of tiles
TILE_BYTES = 12 << 10  # of all tiles of a kernel together
DEAR = 8  # flops from which a value of an earlier stage is kept for the row instead of computed again


@dataclass
class _Scope:
    """An open block.  ``loops``: the loop counters (and ROW) that are known in it."""

    block: list[Stmt]
    loops: frozenset[int]
    values: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Split:
    """A reduction cut in blocks of ``size`` iterations of its first reduced loop; results go to ``partials``."""

    count: int
    size: int
    partials: dict[NestReduction, Var]


def emit_nest(ctx: Builder, nest: Nest) -> None:
    """Appends the steps that run a nest."""
    work = _Work(nest)
    split = _split(nest, work)
    if split is None:
        _Emitter(ctx, nest, work).emit()
        return
    for r, var in split.partials.items():
        ctx.add_scratch(var, math.prod(var.aval.shape) * r.acc.itemsize)
    _Emitter(ctx, nest, work, split=split).emit()
    combine, stands_for = _combining(nest, split)
    _Emitter(ctx, combine, _Work(combine), stands_for=stands_for).emit()


# ------------------------------------------------------------------------------------------- costs


class _Work:
    """Flops and bytes of a nest.  Values that a row or the whole nest shares count once there."""

    def __init__(self, nest: Nest) -> None:
        total = math.prod(nest.sizes)
        self.total = total
        self.flops = self.nbytes = 0
        for node in walk(list(nest.targets())):
            times = math.prod(nest.sizes[k] for k in nest.loops(node) if k != ROW)
            if isinstance(node, Point):
                self.flops += node.flops * times
            elif isinstance(node, Leaf):
                self.nbytes += node.dtype.itemsize * times
        self.flops += total * len(nest.reductions)
        self.nbytes += sum(s.var.aval.dtype.itemsize * (total if s.full else nest.rows) for s in nest.stores)
        self.nanoseconds = nanoseconds(self.flops, self.nbytes)

    def per(self, items: int) -> float:
        return self.nanoseconds / max(1, items)


def _split(nest: Nest, work: _Work) -> Split | None:
    """How to cut a reduction that has too few rows (blocks of columns) to share among threads."""
    if not nest.reductions or nest.stages > 1 or work.nanoseconds < SPLIT_NS:
        return None
    if any(r.op.startswith("arg") for r in nest.reductions):
        return None
    kept = nest.sizes[: nest.n_kept]
    units = nest.rows if nest.kind == "rows" else math.prod(kept[:-1]) * math.ceil(kept[-1] / _width(nest))
    length = nest.sizes[nest.n_kept]
    count = min(length, PIECES // max(1, units), int(work.nanoseconds / 25_000))
    if units >= FEW_ROWS or count < 2:
        return None
    size = math.ceil(length / count)
    if nest.kind == "rows" and nest.n_kept + 1 == len(nest.sizes):
        size = math.ceil(size / BLOCK) * BLOCK
    count = math.ceil(length / size)
    shape = (*kept, count) if nest.kind == "rows" else (count, *kept)
    return Split(count, size, {r: Var(Aval(shape, r.acc)) for r in nest.reductions}) if count > 1 else None


def _width(nest: Nest) -> int:
    """Columns in a block of the ``columns`` kernel; a power of two, fixed by the dtypes alone."""
    return COLUMN_BYTES // max(r.acc.itemsize for r in nest.reductions)


def _combining(nest: Nest, split: Split) -> tuple[Nest, dict[NestReduction, NestReduction]]:
    """The nest that reduces the partial results and stores the rows."""
    new_atom = max(nest.number, default=0) + 1
    kept = [a for a, k in nest.last.items() if k < nest.n_kept]
    sizes = nest.sizes[: nest.n_kept]
    strides = dense_strides((*sizes, split.count) if nest.kind == "rows" else (split.count, *sizes))
    block, outer = (strides[-1], strides[:-1]) if nest.kind == "rows" else (strides[0], strides[1:])
    at = Affine(0, tuple(sorted([(a, outer[nest.last[a]]) for a in kept] + [(new_atom, block)])))
    row_atoms = frozenset(a for a, k in nest.number.items() if k < nest.n_kept) | {ROW}
    stands_for = {
        NestReduction(r.op, (Leaf(split.partials[r], at, (), r.acc, row_atoms | {new_atom}),), r.acc, r.dtype, 0): r
        for r in nest.reductions
    }
    number = {a: k for a, k in nest.number.items() if k < nest.n_kept} | {new_atom: nest.n_kept}
    last = {a: k for a, k in nest.last.items() if k < nest.n_kept} | {new_atom: nest.n_kept}
    stores = tuple(s for s in nest.stores if not s.full)
    return Nest(nest.kind, (*sizes, split.count), nest.n_kept, stores, tuple(stands_for), number, last), stands_for


# ----------------------------------------------------------------------------------------- emitter


class _Emitter:
    """Writes one kernel of a nest and its frame."""

    def __init__(
        self, ctx: Builder, nest: Nest, work: _Work, split: Split | None = None,
        stands_for: dict[NestReduction, NestReduction] | None = None,
    ) -> None:  # fmt: skip
        self.ctx = ctx
        self.nest = nest
        self.work = work
        self.split = split
        self.stands_for = stands_for or {}
        self.name = _kernel_name(nest, split is not None, stands_for is not None)
        self.b = KernelBuilder(self.name)
        self.args: list[Arg] = []
        self.pointers: dict[Any, str] = {}
        self.integers: dict[Any, Ref] = {}
        self.counters: dict[int, Expr] = {}
        self.scopes = [_Scope(self.b.stack[0], frozenset())]
        self.kept: dict[Node, _Kept] = {}
        self.stage_now = 0
        self.narrow = _narrow(nest) if split is None or nest.kind == "columns" else 0

    def emit(self) -> None:
        write = {"map": self._map, "rows": self._rows, "columns": self._columns}
        narrow = {"map": self._narrow_rows, "rows": self._narrow_rows, "columns": self._narrow_columns}
        total, chunk = (narrow if self.narrow else write)[self.nest.kind]()
        handle = self.ctx.fused_kernel(self.b.build())
        flops, nbytes = (self.work.flops, self.work.nbytes)
        self.ctx.step(handle, tuple(self.args), total, chunk, self.name, flops, nbytes)

    # ------------------------------------------------------------------ frame

    def integer(self, name: str, value: int, key: Any = None) -> Ref:
        """An integer of the frame; the same key gives the same one."""
        key = (name, value) if key is None else key
        if key not in self.integers:
            self.integers[key] = self.b.integer(name)
            self.args.append(int(value))
        return self.integers[key]

    def size(self, loop: int) -> Ref:
        return self.integer(f"n{loop}", self.nest.sizes[loop], ("size", loop))

    def pointer(self, var: Var, const: int, hint: str) -> str:
        """The address of element ``const`` of a variable's memory."""
        buffer, dtype = self.ctx.buffer_of(var), var.aval.dtype
        key = (buffer, const * dtype.itemsize, dtype)
        if key not in self.pointers:
            self.pointers[key] = self.b.pointer(hint, ty_of(dtype))
            self.args.append(Address(buffer, const * dtype.itemsize))
        return self.pointers[key]

    # ------------------------------------------------------------------ scopes

    @contextmanager
    def scope(self, loops: frozenset[int]) -> Iterator[None]:
        """The innermost open block becomes a scope in which ``loops`` are known too."""
        self.scopes.append(_Scope(self.b.stack[-1], self.scopes[-1].loops | loops))
        yield
        self.scopes.pop()

    @contextmanager
    def inside(self, scope: _Scope) -> Iterator[None]:
        """Statements go to the end of an outer block."""
        self.b.stack.append(scope.block)
        yield
        self.b.stack.pop()

    def scope_of(self, loops: frozenset[int]) -> _Scope:
        return next(s for s in self.scopes if loops <= s.loops)

    @contextmanager
    def loop(self, k: int, start: Any, stop: Any, vectorize: bool = False) -> Iterator[Expr]:
        with self.b.for_(f"i{k}", start, stop, vectorize=vectorize) as i:
            self.counters[k] = i
            with self.scope(frozenset([k])):
                yield i

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
                    scope.values[key] = total if innermost or isinstance(total, Ref) else self.b.let("at", total)
            total = scope.values[key]
        if total is None:
            total = Const(0, i64)
        return total if at.den == 1 else total // at.den

    def times(self, i: Expr, loop: int, coef: int) -> Expr:
        if coef == 1:
            return i
        if coef == self.narrow and loop != len(self.nest.sizes) - 1:
            return i * coef  # a stride that the compiler knows becomes interleaved loads
        return -i if coef == -1 else i * self.integer(f"s{loop}", coef, ("stride", loop, coef))

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
        """The value of a node, computed once in its scope."""
        scope = self.scope_of(self.nest.loops(node))
        if node not in scope.values:
            if isinstance(node, Pick):
                point = self.value(node.point)
                scope.values[node] = point[node.k]
            else:
                args = [self.value(c) for c in self.below(node)]
                with self.inside(scope):
                    scope.values[node] = self.compute(node, args)
        return scope.values[node]

    def below(self, node: Node) -> tuple[Node, ...]:
        return () if self.is_ready(node) else children(node)

    def is_ready(self, node: Node) -> bool:
        """Whether an earlier stage kept the value."""
        return node in self.kept and self.kept[node].stage < self.stage_now

    def compute(self, node: Node, args: list[Value]) -> Value:
        if self.is_ready(node):
            kept = self.kept[node]
            return self.named("v", self.load(kept.buf, self.kept_index(kept), node.dtype))
        if isinstance(node, Lit):
            return literal(node.value, node.dtype)
        if isinstance(node, Leaf):
            return self.leaf(node)
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

    def leaf(self, node: Leaf) -> Value:
        at = self.nest.at(node.at)
        folded = 0 if at.den != 1 else at.const
        buf = self.pointer(node.var, folded, "x")
        index = self.affine(at, with_const=at.den != 1)
        if not node.conds:
            return self.named("v", self.load(buf, index, node.dtype))
        ok = self.condition(node.conds)
        zero = literal(0, node.dtype)
        parts = [self.b.var("v", z) for z in (zero if isinstance(zero, tuple) else (zero,))]
        with self.b.if_(ok):
            found = self.load(buf, index, node.dtype)
            for p, v in zip(parts, found if isinstance(found, tuple) else (found,)):
                self.b.assign(p, v)
        return tuple(parts) if len(parts) > 1 else parts[0]

    def load(self, buf: str, index: Expr, dtype: np.dtype) -> Value:
        if dtypes.is_complex(dtype):
            return self.b.load(buf, index * 2), self.b.load(buf, index * 2 + 1)
        return self.b.load(buf, index)

    def store(self, buf: str, index: Expr, value: Value) -> None:
        if isinstance(value, tuple):
            self.b.store(buf, index * 2, value[0])
            self.b.store(buf, index * 2 + 1, value[1])
        else:
            self.b.store(buf, index, value)

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

    # ------------------------------------------------------------------ map

    def _map(self) -> tuple[int, int]:
        b, n = self.b, len(self.nest.sizes)
        total = self.work.total
        if n <= 1:
            with self.loop(0, b.lo, b.hi, vectorize=True), self.scope(frozenset([ROW])):
                self.store_all(self.nest.stores)
            return total, chunk_for(total, self.work.per(total), 64)
        inner = n - 1
        if (across := self.across(inner)) is not None:
            return self.tiles(*across, inner)
        size = self.size(inner)
        first, end = b.let("first", b.lo // size), b.let("end", (b.hi + size - 1) // size)
        with b.for_("row", first, end) as row, self.scope(frozenset([ROW])):
            with self.rows_of(row, list(range(inner))):
                base = b.let("base", row * size)
                start, stop = b.let("start", maximum(b.lo - base, 0)), b.let("stop", minimum(b.hi - base, size))
                with self.loop(inner, start, stop, vectorize=True):
                    self.store_all(self.nest.stores)
        return total, chunk_for(total, self.work.per(total), 64)

    def across(self, inner: int) -> tuple[int, list[Leaf]] | None:
        """A loop, not the innermost one, along which arrays that are read lie in memory; and those reads."""
        found: dict[int, list[Leaf]] = {}
        for n in walk(list(self.nest.targets())):
            if isinstance(n, Leaf) and not n.conds and (at := self.nest.at(n.at)).coef(inner) and at.den == 1:
                for k, c in at.terms:
                    if c == 1 and k != inner and min(self.nest.sizes[k], self.nest.sizes[inner]) >= 8:
                        found.setdefault(k, []).append(n)
        return max(found.items(), key=lambda item: len(item[1])) if found else None

    def tiles(self, across: int, leaves: list[Leaf], inner: int) -> tuple[int, int]:
        """A map that transposes.  Tile by tile, what lies across is read along its memory into an array on the
        stack, so that every cache line is read and written once, whatever the strides.  Tiles are taken block by
        block: the pages of a block of rows and columns fit the address translation cache."""
        b, nest = self.b, self.nest
        others = [k for k in range(inner) if k != across]
        side = max(8, min(TILE, math.isqrt(TILE_BYTES // sum(leaf.dtype.itemsize for leaf in leaves))))
        blocks_down, blocks_right = (math.ceil(nest.sizes[k] / (side * TILES_ASIDE)) for k in (across, inner))
        tiles = {leaf: self.tile_room(leaf, side) for leaf in leaves}
        down, right = self.integer("blocks_down", blocks_down), self.integer("blocks_right", blocks_right)
        with b.for_("tile", b.lo, b.hi) as tile, self.scope(frozenset([ROW])):
            block, within = b.let("block", tile // TILES_ASIDE**2), b.let("within", tile % TILES_ASIDE**2)
            j = b.let("j", (block % right * TILES_ASIDE + within % TILES_ASIDE) * side)
            rest = b.let("rest", block // right)
            i = b.let("i", (rest % down * TILES_ASIDE + within // TILES_ASIDE) * side)
            i_end = b.let("i_end", minimum(i + side, self.size(across)))
            j_end = b.let("j_end", minimum(j + side, self.size(inner)))
            with self.rows_of(b.let("row", rest // down), others):
                with self.loop(inner, j, j_end) as jj, self.loop(across, i, i_end, vectorize=True) as ii:
                    for leaf, room in tiles.items():
                        v = self.value(leaf)
                        for name, part in zip(room, v if isinstance(v, tuple) else (v,)):
                            b.store(name, (jj - j) * (side + 1) + (ii - i), part)
                with self.loop(across, i, i_end) as ii, self.loop(inner, j, j_end, vectorize=True) as jj:
                    for leaf, room in tiles.items():
                        parts = [b.let("v", b.load(name, (jj - j) * (side + 1) + (ii - i))) for name in room]
                        self.scopes[-1].values[leaf] = tuple(parts) if len(parts) > 1 else parts[0]
                    self.store_all(nest.stores)
        total = math.prod(nest.sizes[k] for k in others) * blocks_down * blocks_right * TILES_ASIDE**2
        return total, chunk_for(total, 3 * self.work.per(total))

    def tile_room(self, leaf: Leaf, side: int) -> list[str]:
        ty = ty_of(leaf.dtype)
        return [self.b.alloc("tile", ty, side * (side + 1)) for _ in range(2 if dtypes.is_complex(leaf.dtype) else 1)]

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

    def store_all(self, stores: Sequence[NestStore]) -> None:
        """All values first: a store may overwrite in place what another value reads."""
        done = [(s, self.value(s.node)) for s in stores]
        for s, v in done:
            at = self.nest.at(s.at)
            self.store(self.pointer(s.var, at.const, "out"), self.affine(at, False), v)

    # ------------------------------------------------------------------ rows

    def _rows(self) -> tuple[int, int]:
        b, nest = self.b, self.nest
        kept = list(range(nest.n_kept))
        self.plan_kept()
        pieces = self.split.count if self.split else 1
        with b.for_("piece" if self.split else "row", b.lo, b.hi) as row, self.scope(frozenset([ROW])):
            bounds = None
            piece = row
            if self.split:
                bounds, row = self.piece(row)
            with self.rows_of(row, kept):
                for stage in range(nest.stages):
                    self.stage(stage, bounds)
                if self.split:
                    for r, var in self.split.partials.items():
                        self.store(self.pointer(var, 0, "part"), piece, self.scopes[-1].values[("acc", r)])
                else:
                    self.store_all([s for s in nest.stores if not s.full])
        total = nest.rows * pieces
        return total, chunk_for(total, self.work.per(total))

    def piece(self, piece: Expr) -> tuple[tuple[Expr, Expr], Expr]:
        """The bounds of the first reduced loop in a piece, and what is left of its number."""
        assert self.split is not None
        b, count = self.b, self.integer("pieces", self.split.count)
        size = self.integer("piece_size", self.split.size)
        start = b.let("start", (piece % count) * size)
        stop = b.let("stop", minimum(start + size, self.size(self.nest.n_kept)))
        return (start, stop), b.let("row", piece // count)

    def stage(self, stage: int, bounds: tuple[Expr, Expr] | None) -> None:
        """One pass over the row: its reductions, its stores, and what later stages want kept."""
        nest, b = self.nest, self.b
        reductions = [r for r in nest.reductions if r.stage == stage]
        stores = [s for s in nest.stores if s.full and s.node.stage == stage]
        if not reductions and not stores:
            return
        keep = [n for n, k in self.kept.items() if k.stage == stage]
        self.stage_now = stage
        accs = {r: self.accumulators(r) for r in reductions}
        loops = list(range(nest.n_kept, len(nest.sizes)))
        blocked = nest.sizes[-1] > BLOCK and any(r.op in ("sum", "prod") and dtypes.is_inexact(r.acc) for r in reductions)
        self.nested(loops, bounds, lambda: self.visit(reductions, accs, stores, keep), accs if blocked else None)
        row = self.scopes[-1]
        for r, acc in accs.items():
            value = tuple(acc) if len(acc) > 1 else acc[0]
            row.values[("acc", r)] = value
            result = value if isinstance(value, tuple) else b.let(r.op, value.cast(ty_of(r.dtype)))
            self.results(r, result)

    def results(self, r: NestReduction, result: Value) -> None:
        """Makes the result of a reduction known to the nodes that read it."""
        target = self.stands_for.get(r, r)
        for node in walk(list(self.nest.targets())):
            if isinstance(node, Reduced) and node.reduction is target:
                self.scope_of(self.nest.loops(node)).values[node] = result

    def accumulators(self, r: NestReduction) -> list[Expr]:
        start = literal(identity_of(r.op, r.acc), r.acc)
        return [self.b.var(r.op, v) for v in (start if isinstance(start, tuple) else (start,))]

    def nested(
        self, loops: list[int], bounds: tuple[Expr, Expr] | None, body: Callable[[], None],
        blocked: dict[NestReduction, list[Expr]] | None,
    ) -> None:  # fmt: skip
        """The loops of a row around ``body``; the last one vectorised, in blocks if it adds up many numbers."""
        k = loops[0]
        start, stop = bounds or (0, self.size(k))
        if len(loops) > 1:
            with self.loop(k, start, stop):
                self.nested(loops[1:], None, body, blocked)
        elif blocked is None:
            with self.loop(k, start, stop, vectorize=True):
                body()
        else:
            with self.b.for_("block", start, stop, BLOCK) as first:
                end = self.b.let("block_end", minimum(first + BLOCK, stop if isinstance(stop, Ref) else self.size(k)))
                totals = {r: list(acc) for r, acc in blocked.items()}
                for r, acc in blocked.items():
                    acc[:] = self.accumulators(r)
                with self.loop(k, first, end, vectorize=True):
                    body()
                for r, acc in blocked.items():
                    self.combine(r, totals[r], tuple(acc) if len(acc) > 1 else acc[0])
                    acc[:] = totals[r]

    def visit(
        self, reductions: Sequence[NestReduction], accs: dict[NestReduction, list[Expr]], stores: Sequence[NestStore],
        keep: Sequence[Node],
    ) -> None:  # fmt: skip
        """The innermost body of a stage."""
        for r in reductions:
            self.combine(r, accs[r], self.value(r.values[0]))
        for node in keep:
            self.store(self.kept[node].buf, self.kept_index(self.kept[node]), self.value(node))
        self.store_all(stores)

    def combine(self, r: NestReduction, acc: list[Expr], value: Value) -> None:
        old: Value = tuple(acc) if len(acc) > 1 else acc[0]
        new = COMBINE[r.op](self.b, old, widen(value, r.acc))
        parts = list(new) if isinstance(new, tuple) else [new]
        if len(parts) > 1:
            parts = [self.b.let("next", p) for p in parts]
        for a, p in zip(acc, parts):
            self.b.assign(a, p)

    # ------------------------------------------------------------------ short rows

    def _narrow_rows(self) -> tuple[int, int]:
        """A map or a reduction over rows of a few elements: each row is written out, and rows are vectorised."""
        b, nest = self.b, self.nest
        with self.loop(0, b.lo, b.hi, vectorize=True), self.scope(frozenset([ROW])):
            base, cells = self.scopes, self.cells(1)
            for stage in range(nest.stages):
                for r in [r for r in nest.reductions if r.stage == stage]:
                    acc: Value = None
                    for cell in cells:
                        v = self.in_cell(base, cell, lambda: widen(self.value(r.values[0]), r.acc))  # noqa: B023
                        acc = v if acc is None else self.named(r.op, COMBINE[r.op](b, acc, v))
                    self.results(r, acc if isinstance(acc, tuple) else b.let(r.op, acc.cast(ty_of(r.dtype))))
                for cell in cells:
                    stores = [s for s in nest.stores if s.full and s.node.stage == stage]
                    self.in_cell(base, cell, lambda: self.store_all(stores))  # noqa: B023
            self.store_all([s for s in nest.stores if not s.full])
        total = nest.sizes[0]
        return total, chunk_for(total, self.work.per(total), 64)

    def cells(self, loop: int) -> list[tuple[int, int, _Scope]]:
        """One scope for each iteration of a short loop, all in the open block."""
        loops = self.scopes[-1].loops | {loop}
        return [(loop, j, _Scope(self.b.stack[-1], loops)) for j in range(self.nest.sizes[loop])]

    def in_cell(self, base: list[_Scope], cell: tuple[int, int, _Scope], body: Callable[[], Any]) -> Any:
        loop, j, scope = cell
        self.counters[loop] = Const(j, i64)
        self.scopes = [*base, scope]
        try:
            return body()
        finally:
            self.scopes = base

    def _narrow_columns(self) -> tuple[int, int]:
        """A reduction to a few columns: their accumulators are registers, and rows are vectorised."""
        b, nest = self.b, self.nest
        count = self.split.count if self.split else 1
        with b.for_("piece", b.lo, b.hi) as piece, self.scope(frozenset([ROW])):
            bounds = self.piece(piece)[0] if self.split else None
            columns = range(nest.sizes[0])
            accs = {r: [self.accumulators(r) for _ in columns] for r in nest.reductions}
            self.nested(list(range(1, len(nest.sizes))), bounds, lambda: self.visit_columns(accs), None)
            base = self.scopes
            for cell, j in zip(self.cells(0), columns):
                self.in_cell(base, cell, lambda: self.finish_column(j, piece, accs))  # noqa: B023
        return count, chunk_for(count, self.work.per(count))

    def visit_columns(self, accs: dict[NestReduction, list[list[Expr]]]) -> None:
        """One row: every column is added to its accumulators."""
        base = self.scopes
        for cell in self.cells(0):
            for r in self.nest.reductions:
                self.in_cell(base, cell, lambda: self.combine(r, accs[r][cell[1]], self.value(r.values[0])))  # noqa: B023
            self.in_cell(base, cell, lambda: self.store_all([s for s in self.nest.stores if s.full]))

    def finish_column(self, j: int, piece: Expr, accs: dict[NestReduction, list[list[Expr]]]) -> None:
        for r, columns in accs.items():
            value: Value = tuple(columns[j]) if len(columns[j]) > 1 else columns[j][0]
            if self.split:
                self.store(self.pointer(self.split.partials[r], 0, "part"), piece * self.nest.sizes[0] + j, value)
            else:
                self.results(r, value if isinstance(value, tuple) else self.b.let(r.op, value.cast(ty_of(r.dtype))))
        if not self.split:
            self.store_all([s for s in self.nest.stores if not s.full])

    # ------------------------------------------------------------------ values kept between stages

    def full(self, node: Node) -> bool:
        return any(k >= self.nest.n_kept for k in self.nest.loops(node))

    def stage_targets(self, stage: int) -> list[Node]:
        found = [v for r in self.nest.reductions if r.stage == stage for v in r.values]
        return found + [s.node for s in self.nest.stores if s.full and s.node.stage == stage]

    def visited(self, stage: int, stop: set[Node]) -> list[Node]:
        """The full values that a stage computes, if it finds those in ``stop`` ready."""
        seen: dict[Node, None] = {}
        stack = self.stage_targets(stage)
        while stack:
            node = stack.pop()
            if node in seen or not self.full(node):
                continue
            seen[node] = None
            if node not in stop:
                stack += children(node)
        return list(seen)

    def plan_kept(self) -> None:
        """Decides which dear values are kept from the stage that first needs them, in the worker's scratch memory."""
        first: dict[Node, int] = {}
        plan: dict[Node, int] = {}
        if self.nest.stages == 1 or 8 * self.nest.row_size > self.ctx.host.l2_bytes:
            return
        for stage in range(self.nest.stages):
            for node in self.visited(stage, set(plan)):
                if first.setdefault(node, stage) < stage and self.worth_keeping(node):
                    plan.setdefault(node, first[node])
            plan = {n: s for n, s in plan.items() if self.wanted_later(n, s, set(plan))}
        for node, stage in plan.items():
            self.kept[node] = self.make_room(node, stage)

    def worth_keeping(self, node: Node) -> bool:
        if not isinstance(node, (Point, Choose)) or _several(node):
            return False
        return sum(n.flops for n in walk([node]) if isinstance(n, Point) and self.full(n)) >= DEAR

    def wanted_later(self, node: Node, stage: int, stop: set[Node]) -> bool:
        """Whether a later stage reads the kept value itself, not only inside another kept one."""
        return any(node in self.visited(s, stop) for s in range(stage + 1, self.nest.stages))

    def make_room(self, node: Node, stage: int) -> _Kept:
        """Scratch memory of one row for each worker, indexed by the reduced counters."""
        nbytes = math.ceil(self.nest.row_size * node.dtype.itemsize / 64) * 64
        buf = self.b.pointer("kept", ty_of(node.dtype))
        self.args.append(self.ctx.scratch(nbytes, per_worker=True))
        stride = self.integer("kept_row", nbytes // node.dtype.itemsize)
        loops = range(self.nest.n_kept, len(self.nest.sizes))
        strides = dense_strides([self.nest.sizes[k] for k in loops])
        return _Kept(buf, self.b.let("mine", self.b.worker * stride), Affine(0, tuple(zip(loops, strides))), stage)

    def kept_index(self, kept: _Kept) -> Expr:
        return kept.base + self.affine(kept.at, False)

    # ------------------------------------------------------------------ columns

    def _columns(self) -> tuple[int, int]:
        b, nest = self.b, self.nest
        k, width = nest.n_kept - 1, _width(nest)
        outer = list(range(k))
        blocks = math.ceil(nest.sizes[k] / width)
        count = self.split.count if self.split else 1
        room = {r: self.column_room(r, width) for r in nest.reductions}
        with b.for_("piece", b.lo, b.hi) as piece, self.scope(frozenset([ROW])):
            bounds, row, part = None, piece, None
            if self.split:
                part = b.let("part", piece % self.integer("pieces", count))
                bounds, row = self.piece(piece)
            n_blocks = self.integer("blocks", blocks)
            first = b.let("first", (row % n_blocks) * width)
            end = b.let("end", minimum(first + width, self.size(k)))
            with self.rows_of(b.let("row", row // n_blocks), outer):
                self.column_block(room, first, end, bounds, part)
        total = math.prod(nest.sizes[:k]) * blocks * count
        return total, chunk_for(total, self.work.per(total))

    def column_room(self, r: NestReduction, width: int) -> list[str]:
        """Stack arrays for the accumulators of a block of columns."""
        names = [self.b.alloc(r.op, ty_of(r.acc), width) for _ in range(2 if dtypes.is_complex(r.acc) else 1)]
        return names + ([self.b.alloc("position", ty_of(r.dtype), width)] if r.op.startswith("arg") else [])

    def column_block(
        self, room: dict[NestReduction, list[str]], first: Expr, end: Expr, bounds: tuple[Expr, Expr] | None,
        part: Expr | None,
    ) -> None:  # fmt: skip
        """Initialises the accumulators of a block, adds all its rows, stores the results."""
        nest, k = self.nest, self.nest.n_kept - 1
        with self.loop(k, first, end, vectorize=True) as i:
            for r, names in room.items():
                op = r.op[3:] if r.op.startswith("arg") else r.op
                start = literal(identity_of(op, r.acc), r.acc)
                starts = [*(start if isinstance(start, tuple) else (start,)), *([0] if r.op.startswith("arg") else [])]
                for name, v in zip(names, starts):
                    self.b.store(name, i - first, v)
        self.column_rows(room, list(range(nest.n_kept, len(nest.sizes))), first, end, bounds)
        with self.loop(k, first, end, vectorize=True) as i:
            for r, names in room.items():
                self.column_result(r, names, i - first, part)
            if part is None:
                self.store_all([s for s in nest.stores if not s.full])

    def column_rows(
        self, room: dict[NestReduction, list[str]], loops: list[int], first: Expr, end: Expr,
        bounds: tuple[Expr, Expr] | None,
    ) -> None:  # fmt: skip
        """All rows of a block, several at a time so that the accumulators are loaded and stored less often."""
        start, stop = bounds or (Const(0, i64), self.size(loops[0]))
        if len(loops) > 1:
            with self.loop(loops[0], start, stop):
                self.column_rows(room, loops[1:], first, end, None)
            return
        many = ROWS_AT_ONCE if sum(1 for _ in walk(list(self.nest.targets()))) <= SMALL_BODY else 1
        if many > 1:
            rest = self.b.let("rest", start + (stop - start) // many * many)
            with self.b.for_(f"i{loops[0]}", start, rest, many) as i:
                self.some_rows(room, loops[0], [i + u if u else i for u in range(many)], first, end)
            start = rest
        with self.b.for_(f"i{loops[0]}", start, stop) as i:
            self.some_rows(room, loops[0], [i], first, end)

    def some_rows(
        self, room: dict[NestReduction, list[str]], loop: int, rows: list[Expr], first: Expr, end: Expr
    ) -> None:
        """Adds some rows to the accumulators of a block.  What does not depend on the row is computed once for all."""
        k, base = self.nest.n_kept - 1, self.scopes
        known = base[-1].loops
        outer = [_Scope(self.b.stack[-1], known | {loop}) for _ in rows]
        counters = [self.b.let("r", r) if len(rows) > 1 else r for r in rows]
        with self.b.for_(f"i{k}", first, end, vectorize=True) as i:
            self.counters[k] = i
            shared = _Scope(self.b.stack[-1], known | {k})
            accs = {r: tuple(self.b.let("old", self.b.load(name, i - first)) for name in names) for r, names in room.items()}
            for counter, scope in zip(counters, outer):
                self.counters[loop] = counter
                self.scopes = [*base, scope, shared, _Scope(self.b.stack[-1], known | {k, loop})]
                accs = {r: self.column_step(r, acc) for r, acc in accs.items()}
                self.store_all([s for s in self.nest.stores if s.full])
            for r, names in room.items():
                for name, v in zip(names, accs[r]):
                    self.b.store(name, i - first, v)
            self.scopes = base

    def column_step(self, r: NestReduction, old: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """The accumulators of one column after one more row."""
        values = [self.value(v) for v in r.values]
        if r.op.startswith("arg"):
            new: Value = carry_position(self.b, r.op, old[0], old[1], values[0], values[1])
        else:
            new = COMBINE[r.op](self.b, old if len(old) > 1 else old[0], widen(values[0], r.acc))
        return tuple(self.b.let("new", v) for v in (new if isinstance(new, tuple) else (new,)))

    def column_result(self, r: NestReduction, names: list[str], at: Expr, part: Expr | None) -> None:
        """Stores a partial result, or makes the result known to the row stores."""
        nest = self.nest
        if r.op.startswith("arg"):
            names = names[1:]
        loaded = [self.b.load(name, at) for name in names]
        value: Value = tuple(loaded) if len(loaded) > 1 else loaded[0]
        if part is None:
            self.results(r, value if isinstance(value, tuple) else self.b.let(r.op, value.cast(ty_of(r.dtype))))
            return
        assert self.split is not None
        kept = nest.sizes[: nest.n_kept]
        dense = Affine(0, tuple(zip(range(nest.n_kept), dense_strides(kept))))
        base = part * self.integer("part_size", math.prod(kept))
        self.store(self.pointer(self.split.partials[r], 0, "part"), base + self.affine(dense, False), value)


@dataclass(frozen=True)
class _Kept:
    """A value kept for later stages: element ``base + at`` of ``buf``; ``stage`` computes it first."""

    buf: str
    base: Expr
    at: Affine
    stage: int


def _narrow(nest: Nest) -> int:
    """The length of rows that are short enough to be written out, else 0.

    This one size stands in the kernel's text: it is a fact of the model (classes, channels), not of the batch.
    """
    if len(nest.sizes) < 2 or any(r.op.startswith("arg") for r in nest.reductions):
        return 0
    kept = nest.n_kept == 1 and (nest.kind == "columns" or len(nest.sizes) == 2)
    if not (kept or (nest.kind == "map" and len(nest.sizes) == 2)):
        return 0
    n, rows = (nest.sizes[0], nest.row_size) if nest.kind == "columns" else (nest.sizes[1], nest.sizes[0])
    body = sum(1 + (x.flops if isinstance(x, Point) else 0) for x in walk(list(nest.targets())))
    return n if n <= NARROW and rows >= 8 and n * body <= NARROW_BODY else 0


def _several(node: Node) -> bool:
    return isinstance(node, Point) and node.eqn is not None and len(node.eqn.outputs) > 1


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


def _kernel_name(nest: Nest, split: bool, combining: bool) -> str:
    """A name that says what the kernel computes; the same structure gives the same name."""
    names = [n.name for n in walk(list(nest.targets())) if isinstance(n, Point)]
    names += [r.op for r in nest.reductions]
    few = list(dict.fromkeys(names))[:5] or ["copy"]
    return "_".join(["partial" if split else "combine" if combining else nest.kind, *few])
