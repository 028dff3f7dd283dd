"""Turns ``For(vectorize=True)`` into a loop over vectors and a scalar loop over what is left.

LLVM could do this, too, but its module pipeline with three versions of each loop doubles the compile time.
It is left the loops that this pass declines: gathers, strided access, branches, index arithmetic with
remainders.

A value in the loop's body is one of

* *uniform*: the same in every iteration.  It stays scalar and is splat where it meets a vector.
* *affine*: a 64-bit integer ``uniform + c * var`` with a constant c.  It stays scalar as well and stands for
  lane 0; ``buf[affine]`` with c = 1 is a vector in memory.
* *varying*: anything else; a vector.

A reduction gets several vector accumulators, one for each copy of the body, which are joined in a fixed order.
The result depends on the target's width and on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..loop_ir import (
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
    Ref,
    Stmt,
    Store,
    Ty,
    While,
    i32,
    i64,
    lift,
    op_,
)  # fmt: skip
from ..target import Target

# How often the body of a reduction is copied, by its size (varying operations, loads and stores).  Four
# accumulators hide the latency of an addition; without a reduction, copies gain nothing (measured on Zen 3).
_COPIES_OF_REDUCTION = ((16, 4), (48, 2))

_VARYING = frozenset(
    ["add", "sub", "mul", "div", "neg", "fma", "min", "max", "minnum", "maxnum", "abs", "sqrt", "floor", "ceil",
     "trunc", "rint", "copysign", "and", "or", "xor", "not", "shl", "shr", "popcount", "clz",
     "eq", "ne", "lt", "le", "gt", "ge", "select", "cast", "bitcast"]
)  # fmt: skip
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_SWAPPED = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}

# How the accumulators of a reduction start (None: as the scalar does) and what joins two of them.
_REDUCTIONS: dict[str, tuple[float | None, str]] = {
    "add": (0, "add"), "sub": (0, "add"), "fma": (0, "add"), "mul": (1, "mul"), "xor": (0, "xor"),
    **{name: (None, name) for name in ("min", "max", "minnum", "maxnum", "and", "or")},
}  # fmt: skip
_HORIZONTAL = {"add": "hadd", "min": "hmin", "max": "hmax"}


def vectorize(kernel: Kernel, target: Target) -> Kernel:
    """The kernel with every loop vectorised that this pass can; the other loops are unchanged."""
    if target.vector_bits <= 64:
        return kernel
    names = _Names(kernel)
    return replace(kernel, body=_block(kernel.body, target, names))


def _block(stmts: Sequence[Stmt], target: Target, names: _Names) -> tuple[Stmt, ...]:
    out: list[Stmt] = []
    for s in stmts:
        match s:
            case For(step=1, vectorize=True):
                try:
                    out += _VectorLoop(s, target, names).statements()
                except _Declined:
                    out.append(s)
            case For(body=body) | While(body=body):
                out.append(replace(s, body=_block(body, target, names)))
            case If(cond, then, orelse):
                out.append(If(cond, _block(then, target, names), _block(orelse, target, names)))
            case _:
                out.append(s)
    return tuple(out)


class _Declined(Exception):
    """The loop cannot, or should not, be vectorised here."""


class _Names:
    """Hands out names that the kernel does not use."""

    def __init__(self, kernel: Kernel) -> None:
        self.taken = {p.name for p in kernel.params} | _declared(kernel.body)

    def __call__(self, name: str) -> str:
        n = 0
        while (new := f"{name}_{n}") in self.taken:
            n += 1
        self.taken.add(new)
        return new


def _declared(stmts: Sequence[Stmt]) -> set[str]:
    names: set[str] = set()
    for s in stmts:
        match s:
            case For(var=var, body=body):
                names |= {var} | _declared(body)
            case While(body=body):
                names |= _declared(body)
            case If(_, then, orelse):
                names |= _declared(then) | _declared(orelse)
            case Comment() | Store():
                pass
            case _:
                names.add(s.name)
    return names


class _VectorLoop:
    """One loop: ``analyse`` finds out what each value is, ``statements`` writes the vector form."""

    def __init__(self, loop: For, target: Target, names: _Names) -> None:
        self.loop = loop
        self.target = target
        self.names = names
        self.assigned = {s.name for s in loop.body if isinstance(s, Assign)}
        self.steps: dict[str, int | None] = {loop.var: 1}  # of the names declared here; None is varying
        self.known: dict[int, int | None] = {}  # the same of expressions, by id
        self.widest = 0
        self.size = 0
        self.reductions: dict[str, tuple[str, Ty]] = {}
        self.analyse()
        # Affine values alone never decide the width: 64-bit lanes then span several registers.
        self.lanes = target.vector_bits // (self.widest or 64)
        if self.lanes < 2:
            raise _Declined
        table = _COPIES_OF_REDUCTION if self.reductions else ()
        self.copies = next((copies for size, copies in table if self.size <= size), 1)
        self.renamed: list[dict[str, str]] = [{} for _ in range(self.copies)]
        self.scalars: list[dict[int, Expr]] = [{} for _ in range(self.copies)]
        self.vectors: list[dict[int, Expr]] = [{} for _ in range(self.copies)]
        self.splats: dict[int, Expr] = {}

    # ------------------------------------------------------------------------------------- analysis

    def analyse(self) -> None:
        for s in self.loop.body:
            match s:
                case Let(name, value, mutable):
                    step = self.step(value)
                    self.steps[name] = None if mutable else step
                    if self.steps[name] is None:
                        self.widen(value.ty)
                case Assign(name, value) if name in self.steps:
                    self.step(value)
                case Assign(name, value):
                    self.reduction(name, value)
                case Store(_, index, value):
                    if self.step(index) != 1:
                        raise _Declined
                    self.step(value)
                    self.widen(value.ty)
                    self.size += 1
                case Comment():
                    pass
                case _:
                    raise _Declined

    def reduction(self, name: str, e: Expr) -> None:
        """``name = name op e``, where nothing else in the loop reads ``name``."""
        if not isinstance(e, Op) or e.name not in _REDUCTIONS or name in self.reductions or e.ty.kind == "bf":
            raise _Declined
        at = _accumulator(name, e)
        if at is None:
            raise _Declined
        for k, a in enumerate(e.args):
            if k != at:
                self.step(a)  # declines a second reading of ``name``
        self.reductions[name] = (e.name, e.ty)
        self.widen(e.ty)
        self.size += 1

    def widen(self, ty: Ty) -> None:
        if ty.lanes > 1:
            raise _Declined
        self.widest = max(self.widest, 8 * ty.itemsize)

    def step(self, e: Expr) -> int | None:
        """By how much ``e`` grows in each iteration (0: uniform); None if it varies otherwise."""
        key = id(e)
        if key not in self.known:
            self.known[key] = self._step(e)
        return self.known[key]

    def _step(self, e: Expr) -> int | None:
        if isinstance(e, Const):
            return 0
        if isinstance(e, Ref):
            if e.name in self.assigned and e.name not in self.steps:
                raise _Declined  # the running value of a reduction
            return self.steps.get(e.name, 0)
        if isinstance(e, Load):
            step = self.step(e.index)
            if step == 0:
                return 0
            if step != 1:
                raise _Declined
            self.widen(e.ty)
            self.size += 1
            return None
        steps = [self.step(a) for a in e.args]
        if not any(s is None or s for s in steps):
            return 0
        if e.ty == i64 and None not in steps:
            affine = _affine_step(e, steps)  # type: ignore[arg-type]
            if affine is not None:
                return affine
        self.supported(e)
        self.size += 1
        return None

    def supported(self, e: Op) -> None:
        """Declines operations that have no vector instructions and would be taken apart lane by lane."""
        operand = e.args[0].ty
        unsupported = (
            e.name not in _VARYING
            or e.ty.lanes > 1
            or (e.name == "div" and not e.ty.is_float)
            or (e.name == "bitcast" and e.ty.bits != operand.bits)
            or (e.name == "cast" and _slow_cast(operand, e.ty))
        )
        if unsupported:
            raise _Declined
        half = any(a.ty.is_float and a.ty.bits == 16 for a in e.args) or (e.ty.is_float and e.ty.bits == 16)
        if half and e.name not in ("select", "bitcast"):
            self.widest = max(self.widest, 32)  # computed in float32
        if e.ty != i64 or None in [self.step(a) for a in e.args]:
            self.widen(e.ty)

    # --------------------------------------------------------------------------------- vector form

    def statements(self) -> list[Stmt]:
        loop, lanes, block = self.loop, self.lanes, self.copies * self.lanes
        done = Ref(self.names(f"{loop.var}_done"), i64)  # the first index that is not done yet
        extent = Ref(self.names(f"{loop.var}_extent"), i64)
        before, after = self.accumulators()
        index = Ref(self.names(loop.var), i64)
        copies: list[list[Stmt]] = [[]]
        for c, names in enumerate(self.renamed):
            names[loop.var] = index.name
            if c:
                names[loop.var] = self.names(loop.var)
                copies.append([Let(names[loop.var], index + c * lanes)])
        joint = [s for copy in copies for s in copy]
        for s in loop.body:
            for c, copy in enumerate(copies):
                new = self.statement(s, c)
                copy += new
                joint += new
        vectors: list[Stmt] = []
        start = loop.start
        for size, body in ((block, joint), (lanes, copies[0]))[: min(self.copies, 2)]:
            end = Ref(self.names(f"{loop.var}_end"), i64)
            vectors += [
                Let(end.name, loop.start + (extent & -size)),
                For(index.name, start, end, tuple(body), step=size),
            ]
            start = end
        return [
            Let(done.name, loop.start, mutable=True),
            Let(extent.name, loop.stop - loop.start),
            If(extent >= lanes, (*before, *vectors, *after, Assign(done.name, start))),
            replace(loop, start=done, vectorize=False),
        ]

    def accumulators(self) -> tuple[list[Stmt], list[Stmt]]:
        """The vector accumulators' declarations, and the statements that join them into the scalars."""
        before: list[Stmt] = []
        after: list[Stmt] = []
        for name, (op, ty) in self.reductions.items():
            first, join = _REDUCTIONS[op]
            start = Ref(name, ty).splat(self.lanes) if first is None else Const(first, ty.vector(self.lanes))
            parts: list[Expr] = []
            for names in self.renamed:
                names[name] = self.names(name)
                before.append(Let(names[name], start, mutable=True))
                parts.append(Ref(names[name], start.ty))
            joined = _tree(join, parts)
            if join in _HORIZONTAL:
                total = op_(_HORIZONTAL[join], joined)
            else:
                vector = Ref(self.names(name), joined.ty)
                after.append(Let(vector.name, joined))
                total = _tree(join, [op_("extract", vector, Const(k, i64)) for k in range(self.lanes)])
            after.append(Assign(name, op_(join, Ref(name, ty), total)))
        return before, after

    def statement(self, s: Stmt, c: int) -> list[Stmt]:
        """Copy ``c`` of a statement of the body."""
        names = self.renamed[c]
        match s:
            case Let(name, value, mutable):
                step = self.steps[name]
                if step == 0 and c:
                    names[name] = self.renamed[0][name]  # uniform: once is enough
                    return []
                names[name] = self.names(name)
                return [Let(names[name], self.vector(value, c) if step is None else self.scalar(value, c), mutable)]
            case Assign(name, value) if name in self.steps:
                return [Assign(names[name], self.vector(value, c))]
            case Assign(name, value):
                assert isinstance(value, Op)
                at = _accumulator(name, value)
                ty = value.ty.vector(self.lanes)
                args = [Ref(names[name], ty) if k == at else self.vector(a, c) for k, a in enumerate(value.args)]
                return [Assign(names[name], Op(value.name, tuple(args), ty))]
            case Store(buf, index, value):
                return [Store(buf, self.scalar(index, c), self.vector(value, c))]
        return [s] if c == 0 else []

    def scalar(self, e: Expr, c: int) -> Expr:
        """A uniform or affine expression in copy ``c``: its value in lane 0."""
        memo = self.scalars[c]
        if id(e) not in memo:
            memo[id(e)] = self._scalar(e, c)
        return memo[id(e)]

    def _scalar(self, e: Expr, c: int) -> Expr:
        names = self.renamed[c]
        if isinstance(e, Ref):
            return Ref(names[e.name], e.ty) if e.name in self.steps else e
        if isinstance(e, Load):
            return Load(e.buf, self.scalar(e.index, c), e.ty)
        if isinstance(e, Op):
            return Op(e.name, tuple(self.scalar(a, c) for a in e.args), e.ty)
        return e

    def vector(self, e: Expr, c: int) -> Expr:
        """Any expression in copy ``c``, one lane for each iteration."""
        step = self.step(e)
        memo = self.splats if step == 0 else self.vectors[c]
        if id(e) not in memo:
            memo[id(e)] = self.spread(e, step, e.ty, c) if step is not None else self._vector(e, c)
        return memo[id(e)]

    def spread(self, e: Expr, step: int, ty: Ty, c: int) -> Expr:
        """A uniform or affine expression, converted to ``ty``, as a vector."""
        if isinstance(e, Const):
            return Const(e.value, ty.vector(self.lanes))
        first = self.scalar(e, c).cast(ty).splat(self.lanes)
        if step == 0:
            return first
        lane: Expr = Op("iota", (), ty.vector(self.lanes))
        return first + (lane if step == 1 else lane * step)

    def _vector(self, e: Expr, c: int) -> Expr:
        if isinstance(e, Ref):
            return Ref(self.renamed[c][e.name], e.ty.vector(self.lanes))
        if isinstance(e, Load):
            return Load(e.buf, self.scalar(e.index, c), e.ty.vector(self.lanes))
        assert isinstance(e, Op)
        ty = e.ty.vector(self.lanes)
        steps = [self.step(a) for a in e.args]
        if e.name == "cast" and steps[0] is not None and e.ty.kind in "iu":
            return self.spread(e.args[0], steps[0], e.ty, c)  # wraps alike in the narrower type
        if e.name in _COMPARISONS and sorted(s if s is not None else 2 for s in steps) == [0, 1]:
            return self.compare_index(e, steps, c)
        if e.name == "select" and steps[0] == 0:
            return Op("select", (self.scalar(e.args[0], c), *(self.vector(a, c) for a in e.args[1:])), ty)
        return Op(e.name, tuple(self.vector(a, c) for a in e.args), ty)

    def compare_index(self, e: Op, steps: list[int | None], c: int) -> Expr:
        """``index + lane < bound``, as ``lane < clip(bound - index)`` in 32 bits."""
        name, (index, bound) = e.name, e.args
        if steps[0] == 0:
            name, index, bound = _SWAPPED[name], bound, index
        difference = self.scalar(bound, c) - self.scalar(index, c)
        limit = op_("min", op_("max", difference, lift(-1, i64)), lift(self.lanes, i64))
        lane = Op("iota", (), i32.vector(self.lanes))
        return op_(name, lane, limit.cast(i32).splat(self.lanes))


def _accumulator(name: str, e: Op) -> int | None:
    """Which operand of a reduction is the local ``name`` itself."""
    at = [k for k, a in enumerate(e.args) if isinstance(a, Ref) and a.name == name]
    allowed = {"sub": [0], "fma": [2]}.get(e.name, [0, 1])
    return at[0] if len(at) == 1 and at[0] in allowed else None


def _affine_step(e: Op, steps: list[int]) -> int | None:
    match e.name, e.args:
        case "add", _:
            return steps[0] + steps[1]
        case "sub", _:
            return steps[0] - steps[1]
        case "neg", _:
            return -steps[0]
        case "mul", (Const(k), _):
            return int(k) * steps[1]
        case "mul", (_, Const(k)):
            return int(k) * steps[0]
    return None


def _slow_cast(src: Ty, dst: Ty) -> bool:
    """Conversions between floats and wide integers that few machines have."""
    wide = (("i", 64), ("u", 64), ("u", 32))
    return (src.is_float and (dst.kind, dst.bits) in wide) or (dst.is_float and (src.kind, src.bits) in wide)


def _tree(name: str, parts: list[Expr]) -> Expr:
    """Joins the lower half with the upper half until one is left."""
    combine: Callable[[Expr, Expr], Expr] = lambda a, b: op_(name, a, b)
    while len(parts) > 1:
        half = len(parts) // 2
        parts = [combine(a, b) for a, b in zip(parts[:half], parts[half:])]
    return parts[0]
