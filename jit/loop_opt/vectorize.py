"""Turns ``For(vectorize=True)`` into a loop over vectors and a scalar loop over what is left.

LLVM could do this, too, but its module pipeline with three versions of each loop doubles the compile time.
It is left the loops that this pass declines: branches (but for those on ``any``, which all lanes take if one wants
to, and for those that only load, see ``guards``), and three or four interleaved arrays.

``steps`` says which values of the loop's body stay scalar: *uniform* ones are splat where they meet a vector,
*affine* indices stand for lane 0.  ``buf[affine]`` is a vector in memory if the index grows by one; otherwise its
elements are read one by one.

A reduction gets several vector accumulators, one for each copy of the body, which are joined in a fixed order.
The result depends on the target and on the loop's text, not on how the work is shared out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import replace

from ..loop_ir import (
    Assign,
    Const,
    Expr,
    For,
    If,
    Kernel,
    Let,
    Load,
    Op,
    Ref,
    Stmt,
    Store,
    Ty,
    While,
    i32,
    i64,
    lift,
    op_,
    select,
    u8,
)
from ..loop_walk import declared, is_any
from ..target import Target
from .guards import with_guarded_loads
from .side_by_side import arranged, side_by_side
from .steps import Body, Declined, Scalar, Step, accumulator, divides_what_it_adds_up

# The body of a reduction is copied, so that several accumulators hide the latency of an addition.  A longer body is a
# chain of operations that wait for each other: some of them side by side take a quarter less time (measured on Zen 3).
# Without a reduction that is done with vectors of so many times the lanes; LLVM splits them.
_ACCUMULATORS = 4
_LONG_ACCUMULATORS = 2
_SMALL_BODY = 16  # operations
NAN = float("nan")
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_SWAPPED = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}

# How the accumulators of a reduction start (None: as the scalar does) and what joins two of them.
_REDUCTIONS: dict[str, tuple[float | None, str]] = {
    "add": (0, "add"), "sub": (0, "add"), "fma": (0, "add"), "mul": (1, "mul"), "xor": (0, "xor"),
    **{name: (None, name) for name in ("min", "max", "minnum", "maxnum", "and", "or")},
}  # fmt: skip
_HORIZONTAL = {"add": "hadd", "min": "hmin", "max": "hmax"}
# The greatest number is one instruction on x86; to keep a NaN takes two more, which wait for it.  So that there was a NaN is noted
# apart, for two vectors at a time.
_OF_NUMBERS = {"min": "minnum", "max": "maxnum"}


def vectorize(kernel: Kernel, target: Target) -> Kernel:
    """The kernel with every loop vectorised that this pass can; the other loops are unchanged."""
    if target.vector_bits <= 64:
        return kernel
    names = _Names(kernel)
    return replace(kernel, body=_block(kernel.body, target, names))


def _block(stmts: Sequence[Stmt], target: Target, names: _Names, rows: bool = False) -> tuple[Stmt, ...]:
    """``rows``: inside another loop."""
    out: list[Stmt] = []
    for s in stmts:
        match s:
            case For(step=1, vectorize=True):
                try:
                    out += _VectorLoop(s, target, names, rows).statements()
                except Scalar:
                    out.append(replace(s, vectorize=False))
                except Declined:
                    out.append(replace(s, vectorize=not divides_what_it_adds_up(s)))
            case For(body=body) | While(body=body):
                out.append(replace(s, body=_block(body, target, names, True)))
            case If(cond, then, orelse):
                out.append(If(cond, _block(then, target, names, rows), _block(orelse, target, names, rows)))
            case _:
                out.append(s)
    return tuple(out)


class _Names:
    """Hands out names that the kernel does not use."""

    def __init__(self, kernel: Kernel) -> None:
        self.taken = {*(p.name for p in kernel.params), *declared(kernel.body)}
        self.next: dict[str, int] = {}

    def __call__(self, name: str) -> str:
        n = self.next.get(name, 0)
        while (new := f"{name}_{n}") in self.taken:
            n += 1
        self.taken.add(new)
        self.next[name] = n + 1
        return new


class _VectorLoop:
    """Writes the vector form of one loop; raises ``Declined`` if there is none.

    A main loop takes several vectors at a time.  What is left goes, vector by vector, through a loop whose accesses are
    masked; where the body or the machine does not allow that, through one of whole vectors and a scalar one, at the ends of rows
    with half a vector, and a quarter of one, in between.  With AVX2 a masked store takes some processors as long as a dozen others:
    only the last vector, which is cut short, has one.
    """

    def __init__(self, loop: For, target: Target, names: _Names, rows: bool) -> None:
        self.loop = loop
        self.rows = rows
        self.names = names
        self.body = body = Body(with_guarded_loads(loop), target)
        lanes = body.lanes(target.vector_bits)
        if lanes < 2:
            raise Declined
        long = body.size > _SMALL_BODY
        copies = (_LONG_ACCUMULATORS if long else _ACCUMULATORS) if body.reductions else 1
        while copies > 1 and 4 * copies * len(body.reductions) > 3 * target.vector_registers:
            copies //= 2
        together = 1 if body.reductions or not long else side_by_side(body, target, rows)
        if long and body.scattered:
            copies = together = 1
        apart = {n for n, (op, ty) in body.reductions.items() if op in _OF_NUMBERS and _is_apart(ty, target)}
        self.main = _Writer(body, names, lanes * together, copies, apart=apart)
        able = target.masked_bytes if body.bytes else target.masked_accesses
        self.masked = able and body.maskable and (long or bool(body.reductions))
        self.rest = _Writer(body, names, lanes, 1, self.main)
        self.target = target
        self.whole = None
        self.ends: list[_Writer] = []  # of rows; elsewhere the end comes once
        if rows and not (self.masked or long or body.reductions):
            self.ends = [_Writer(body, names, n, 1) for n, least in ((lanes // 2, 2), (lanes // 4, 4)) if n >= least]
        if self.masked and target.vector_bits < 512 and self.main.copies * self.main.lanes > lanes:
            self.whole = _Writer(body, names, lanes, 1, self.main)

    def statements(self) -> list[Stmt]:
        loop, names = self.loop, self.names
        lanes, block = self.rest.lanes, self.main.copies * self.main.lanes
        extent = Ref(names(f"{loop.var}_extent"), i64)
        middle = Ref(names(f"{loop.var}_middle"), i64)
        before, after = self.accumulators()
        vectors = self.main.lanes // lanes
        rounds = self.main.loop(loop.start, middle, block)
        wide = arranged(rounds, self.body, self.target, vectors, names, self.rows)
        main: list[Stmt] = [Let(middle.name, loop.start + (extent & -block)), wide]
        length = loop.stop - loop.start
        if self.masked:
            if self.whole is not None:
                last = Ref(names(f"{loop.var}_last"), i64)
                main += [Let(last.name, loop.start + (extent & -lanes)), self.whole.loop(middle, last, lanes)]
                middle = last
            rest = self.rest.masked_loop(middle, loop.stop)
            return [Let(extent.name, op_("max", length, lift(0, i64))), *before, *main, rest, *after]
        done = Ref(names(f"{loop.var}_done"), i64)  # the first index that is not done yet
        last = middle
        if block > lanes:
            last = Ref(names(f"{loop.var}_last"), i64)
            main += [Let(last.name, loop.start + (extent & -lanes)), self.rest.loop(middle, last, lanes)]
        out: list[Stmt] = [
            Let(done.name, loop.start, mutable=True),
            Let(extent.name, length),
            If(extent >= lanes, (*before, *main, *after, Assign(done.name, last))),
        ]
        for part in self.ends:
            end = Ref(names(f"{loop.var}_end"), i64)
            left = op_("max", loop.stop - done, lift(0, i64))
            out += [Let(end.name, done + (left & -part.lanes)), part.loop(done, end, part.lanes)]
            done = end
        return [*out, replace(loop, start=done, vectorize=False)]

    def accumulators(self) -> tuple[list[Stmt], list[Stmt]]:
        """The vector accumulators' declarations, and the statements that join them into the scalars."""
        before: list[Stmt] = []
        after: list[Stmt] = []
        lanes = self.main.lanes
        for name, (op, ty) in self.body.reductions.items():
            first, join = _REDUCTIONS[op]
            start = Ref(name, ty).splat(lanes) if first is None else Const(first, ty.vector(lanes))
            parts: list[Expr] = []
            for names in self.main.renamed:
                names[name] = self.names(name)
                before.append(Let(names[name], start, mutable=True))
                parts.append(Ref(names[name], start.ty))
            if name in self.main.apart:
                after += self.extreme(name, _OF_NUMBERS[join], parts)
                before += [Let(f.name, Const(0, f.ty), mutable=True) for f in self.main.notes[name]]
                continue
            joined = _tree(join, parts)
            if join == "or" and ty.kind == "b":
                total = op_("any", joined)
            elif join in _HORIZONTAL:
                total = op_(_HORIZONTAL[join], joined)
            else:
                vector = Ref(self.names(name), joined.ty)
                after.append(Let(vector.name, joined))
                total = _tree(join, [_lane(vector, k) for k in range(lanes)])
            after.append(Assign(name, op_(join, Ref(name, ty), total)))
        return before, after

    def extreme(self, name: str, op: str, parts: list[Expr]) -> list[Stmt]:
        """The greatest of all lanes, which have started with the scalar, or NaN if one was noted."""
        out: list[Stmt] = []
        joined = _tree(op, parts)
        while joined.ty.lanes > 1:
            vector = Ref(self.names(name), joined.ty)
            out.append(Let(vector.name, joined))
            take = _lane if vector.ty.lanes == 2 else _half
            joined = op_(op, take(vector, 0), take(vector, 1))
        noted = _tree("or", list(self.main.notes[name]))
        return [*out, Assign(name, select(op_("any", noted.ne(0)), NAN, joined))]


def _is_apart(ty: Ty, target: Target) -> bool:
    return ty.kind == "f" and ty.bits >= 32 and target.arch == "x86_64"


class _Writer:
    """Writes a loop over vectors of so many lanes, whose body does the work of ``copies`` vectors.

    It accumulates into what ``shared`` does, if that is given.

    apart: the reductions to an extreme of numbers; ``notes``: for every two copies of one, the lanes that have met a NaN.
    """

    def __init__(
        self,
        body: Body,
        names: _Names,
        lanes: int,
        copies: int,
        shared: _Writer | None = None,
        apart: Set[str] = frozenset(),
    ) -> None:
        self.apart: Set[str] = shared.apart if shared is not None else apart
        self.notes: dict[str, list[Ref]] = {} if shared is None else shared.notes
        for name in () if shared is not None else apart:
            ty = Ty("u", body.reductions[name][1].bits, lanes)
            self.notes[name] = [Ref(names("nan"), ty) for _ in range(0, copies, 2)]
        self.unnoted: dict[str, Ref] = {}  # the values that the next copy takes note of
        self.body = body
        self.names = names
        self.lanes = lanes
        self.copies = copies
        self.shared = shared
        self.mask: Expr | None = None  # the lanes that take part
        self.renamed: list[dict[str, str]] = [{} for _ in range(copies)]
        self.scalars: list[dict[int, Expr]] = [{} for _ in range(copies)]
        self.vectors: list[dict[int, Expr]] = [{} for _ in range(copies)]
        self.singles: dict[tuple[int, int, int], Expr] = {}
        self.splats: dict[int, Expr] = {}
        self.seconds = {id(s) for s in body.pairs.values()}
        self.branched = False  # inside a branch: what is named there is not known outside

    def loop(self, start: Expr, stop: Expr, step: int) -> For:
        index = self.start_index()
        return For(index.name, start, stop, tuple(self.statements()), step=step)

    def masked_loop(self, start: Expr, stop: Expr) -> For:
        """A loop whose last vector may be cut short."""
        index = self.start_index()
        left = (stop - index).cast(i32).splat(self.lanes)
        mask = Ref(self.names("mask"), Ty("b", 1, self.lanes))
        self.mask = mask
        first = Let(mask.name, op_("lt", Op("iota", (), i32.vector(self.lanes)), left))
        return For(index.name, start, stop, (first, *self.statements()), step=self.lanes)

    def start_index(self) -> Ref:
        index = Ref(self.names(self.body.loop.var), i64)
        self.renamed[0][self.body.loop.var] = index.name
        if self.shared is not None:
            self.renamed[0] |= {name: self.shared.renamed[0][name] for name in self.body.reductions}
        return index

    def statements(self) -> list[Stmt]:
        loop = self.body.loop
        out: list[Stmt] = []
        for c in range(1, self.copies):
            self.renamed[c][loop.var] = self.names(loop.var)
            out.append(Let(self.renamed[c][loop.var], Ref(self.renamed[0][loop.var], i64) + c * self.lanes))
        for s in loop.body:
            for c in range(self.copies):
                out += self.statement(s, c)
        return out

    def statement(self, s: Stmt, c: int) -> list[Stmt]:
        """Copy ``c`` of a statement of the body."""
        match s:
            case Let(name, value, mutable):
                return self.let(name, value, mutable, c)
            case Assign(name, value) if name in self.body.steps:
                return [Assign(self.renamed[c][name], self.vector(value, c))]
            case Assign(name, value):
                assert isinstance(value, Op)
                at = accumulator(name, value)
                assert at is not None
                ty = value.ty.vector(self.lanes)
                running = Ref(self.renamed[c][name], ty)
                if name in self.apart:
                    return self.extreme(name, value.name, self.vector(value.args[1 - at], c), running, c)
                args = [running if k == at else self.vector(a, c) for k, a in enumerate(value.args)]
                return [Assign(running.name, self.where_masked(Op(value.name, tuple(args), ty), running))]
            case Store() if id(s) in self.seconds:
                return []
            case Store(buf, index, value) if id(s) in self.body.pairs:
                other = self.vector(self.body.pairs[id(s)].value, c)
                return [Store(buf, self.scalar(index, c), op_("interleave", self.vector(value, c), other))]
            case Store(buf, index, value, _, past):
                step, v = self.body.step(index), self.vector(value, c)
                if step == 1:
                    return [Store(buf, self.scalar(index, c), v, self.mask, past and self.mask is None)]
                if step == -1:
                    return [Store(buf, self.scalar(index, c) - (self.lanes - 1), op_("reverse", v))]
                return self.scatter(buf, index, self.vector(value, c), c)
            case If(cond, then, ()) if is_any(cond):
                some = op_("any", self.vector(cond.args[0], c))  # type: ignore[union-attr]
                outer, self.branched = self.branched, True
                block = tuple(new for inner in then for new in self.statement(inner, c))
                self.branched = outer
                return [If(some, block)]
        return [s] if c == 0 else []

    def where_masked(self, new: Expr, old: Expr) -> Expr:
        return new if self.mask is None else op_("select", self.mask, new, old)

    def extreme(self, name: str, op: str, value: Expr, running: Ref, c: int) -> list[Stmt]:
        """A step of a reduction to an extreme: ``running`` meets no NaN but one that it has started with."""
        x = Ref(self.names("met"), value.ty)
        new = self.where_masked(op_(_OF_NUMBERS[op], x, running), running)
        out: list[Stmt] = [Let(x.name, value), Assign(running.name, new)]
        nan = x.ne(x)
        if (before := self.unnoted.pop(name, None)) is not None:
            nan = before.ne(before) | nan
        elif c + 1 < self.copies:
            self.unnoted[name] = x
            return out
        note = self.notes[name][c // 2]
        nan = nan if self.mask is None else nan & self.mask
        return [*out, Assign(note.name, op_("select", nan, Const(-1, note.ty), note))]

    def let(self, name: str, value: Expr, mutable: bool, c: int) -> list[Stmt]:
        names, step = self.renamed[c], self.body.steps[name]
        if step is None and name not in self.body.vectors:
            return []  # serves as an index only: its elements are computed one by one
        if step == 0 and c and not self.branched:
            names[name] = self.renamed[0][name]  # uniform: once is enough
            return []
        names[name] = self.names(name)
        if isinstance(value, Load) and value.mask is not None and self.body.in_branch(value):
            found = self.vector(replace(value, mask=None), c)
            branch = If(self.scalar(value.mask, c), (Assign(names[name], found),))
            return [Let(names[name], Const(0, found.ty), True), branch]
        return [Let(names[name], self.vector(value, c) if step is None else self.scalar(value, c), mutable)]

    def scatter(self, buf: str, index: Expr, value: Expr, c: int) -> list[Stmt]:
        vector = Ref(self.names("lanes"), value.ty)
        stores = [Store(buf, self.single(index, c, k), _lane(vector, k)) for k in range(self.lanes)]
        return [Let(vector.name, value), *stores]

    # ---------------------------------------------------------------------------------- expressions

    def scalar(self, e: Expr, c: int) -> Expr:
        """A uniform or affine expression in copy ``c``: its value in lane 0."""
        memo = self.scalars[c]
        if id(e) not in memo:
            memo[id(e)] = self.rewritten(e, lambda a: self.scalar(a, c), self.renamed[c])
        return memo[id(e)]

    def rewritten(self, e: Expr, part: Callable[[Expr], Expr], names: dict[str, str]) -> Expr:
        if isinstance(e, Ref):
            return Ref(names[e.name], e.ty) if e.name in self.body.steps else e
        if isinstance(e, Load):
            return Load(e.buf, part(e.index), e.ty)
        if isinstance(e, Op):
            return Op(e.name, tuple(part(a) for a in e.args), e.ty)
        return e

    def single(self, e: Expr, c: int, lane: int) -> Expr:
        """Any expression in copy ``c``, in one lane, as a scalar."""
        step = self.body.step(e)
        if step == 0 or (step is not None and lane == 0):
            return self.scalar(e, c)
        if isinstance(step, int):
            return self.scalar(e, c) + step * lane
        key = (id(e), c, lane)
        if key not in self.singles:
            if step is not None:  # from lane to lane: a multiple of the step for each of them would fill the registers
                self.singles[key] = self.single(e, c, lane - 1) + self.scalar(step, 0)
            elif isinstance(e, Ref) and e.name in self.body.taken_apart:
                self.singles[key] = _lane(self.varying(e, c), lane)
            elif isinstance(e, Ref):
                self.singles[key] = self.single(self.body.definitions[e.name].value, c, lane)
            else:
                self.singles[key] = self.rewritten(e, lambda a: self.single(a, c, lane), {})
        return self.singles[key]

    def vector(self, e: Expr, c: int) -> Expr:
        """Any expression in copy ``c``, one lane for each iteration."""
        step = self.body.step(e)
        memo = self.splats if step == 0 and not self.branched else self.vectors[c]
        if id(e) not in memo:
            memo[id(e)] = self.varying(e, c) if step is None else self.spread(e, step, e.ty, c)
        return memo[id(e)]

    def spread(self, e: Expr, step: Step, ty: Ty, c: int) -> Expr:
        """A uniform or affine expression, converted to the integer type ``ty``, as a vector."""
        if isinstance(e, Const):
            return Const(e.value, ty.vector(self.lanes))
        first = self.scalar(e, c).cast(ty).splat(self.lanes)
        if step == 0:
            return first
        lane: Expr = Op("iota", (), ty.vector(self.lanes))
        if isinstance(step, int):
            return first + (lane if step == 1 else lane * step)
        assert step is not None
        return first + lane * self.scalar(step, 0).cast(ty).splat(self.lanes)

    def varying(self, e: Expr, c: int) -> Expr:
        ty = e.ty.vector(self.lanes)
        if isinstance(e, Ref):
            return Ref(self.renamed[c][e.name], ty)
        if isinstance(e, Load):
            if (found := self.in_order(e, ty, c)) is not None:
                return found
            held = u8 if e.ty.kind == "b" else e.ty  # lanes of bytes are put in place sooner than those of masks
            parts = [Load(e.buf, self.single(e.index, c, k), e.ty).cast(held) for k in range(self.lanes)]
            gathered = parts[0].splat(self.lanes)
            for k, part in enumerate(parts[1:], 1):
                gathered = Op("insert", (gathered, Const(k, i64), part), held.vector(self.lanes))
            return gathered.cast(ty) if held != e.ty else gathered
        assert isinstance(e, Op)
        steps = [self.body.step(a) for a in e.args]
        if e.name == "cast" and steps[0] is not None and e.ty.kind in "iu":
            return self.spread(e.args[0], steps[0], e.ty, c)  # wraps alike in the narrower type
        if e.name in _COMPARISONS and steps in ([0, 1], [1, 0]):
            return self.compare_index(e, steps, c)
        if e.name == "select" and steps[0] == 0:
            return Op("select", (self.scalar(e.args[0], c), *(self.vector(a, c) for a in e.args[1:])), ty)
        return Op(e.name, tuple(self.vector(a, c) for a in e.args), ty)

    def in_order(self, e: Load, ty: Ty, c: int) -> Expr | None:
        """A load of elements that lie side by side, forwards or backwards, or of every other one."""
        step = self.body.step(e.index)
        if step not in (1, -1, 2):
            return None
        first, span = self.scalar(e.index, c), self.lanes - 1
        if step == 1:
            mask = self.mask
            if e.mask is not None:
                mask = self.vector(e.mask, c) if mask is None else self.vector(e.mask, c) & mask
            return Load(e.buf, first, ty, mask)
        if step == -1:
            return op_("reverse", Load(e.buf, first - span, ty))
        # two loads, as the last element that is wanted may be the last that there is
        return op_("every_other", Load(e.buf, first, ty), Load(e.buf, first + span, ty))

    def compare_index(self, e: Op, steps: list[Step], c: int) -> Expr:
        """``index + lane < bound``, as ``lane < clip(bound - index)`` in 32 bits."""
        name, (index, bound) = e.name, e.args
        if steps[0] == 0:
            name, index, bound = _SWAPPED[name], bound, index
        difference = self.scalar(bound, c) - self.scalar(index, c)
        limit = op_("min", op_("max", difference, lift(-1, i64)), lift(self.lanes, i64))
        lane = Op("iota", (), i32.vector(self.lanes))
        return op_(name, lane, limit.cast(i32).splat(self.lanes))


def _lane(vector: Expr, lane: int) -> Expr:
    return op_("extract", vector, Const(lane, i64))


def _half(vector: Expr, which: int) -> Expr:
    return op_("half", vector, Const(which, i64))


def _tree(name: str, parts: list[Expr]) -> Expr:
    """Joins the lower half with the upper half until one is left."""
    while len(parts) > 1:
        half = len(parts) // 2
        parts = [op_(name, a, b) for a, b in zip(parts[:half], parts[half:])]
    return parts[0]
