"""What the values in a loop's body are, before the loop is vectorised.

The *step* of a value says how it changes from one iteration to the next:

    0             uniform: the same in every iteration
    an integer    affine: a 64-bit integer that grows by so much
    an ``Expr``   affine, too, but the growth is known at run time only
    None          varying: anything else
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Union

from ..loop_ir import Assign, Comment, Const, Expr, For, If, Let, Load, Op, Ref, Stmt, Store, Ty, i64
from ..loop_walk import is_any, operands
from ..target import Target

Step = Union[int, Expr, None]


class Declined(Exception):
    """The loop cannot, or should not, be vectorised here."""


class Scalar(Declined):
    """The loop gains nothing from vectors."""


_VECTOR_OPS = frozenset(
    "add sub mul div rem neg fma min max minnum maxnum abs sqrt floor ceil trunc rint copysign scale lookup and or xor not shl shr"
    " popcount clz ipow gcd eq ne lt le gt ge select cast bitcast".split()
)
_REDUCTIONS = ("add", "sub", "fma", "mul", "xor", "and", "or", "min", "max", "minnum", "maxnum")
_INTERLEAVED = 4  # LLVM reads three or four interleaved arrays with vector loads and shuffles
_GATHER_SIZE = 8  # a vector read element by element counts as so many operations
_GATHER_BITS = 256  # ... and where those are a good part of the work, wider vectors lose: they are joined from halves


class Body:
    """The body of ``loop``, analysed; raises ``Declined`` if it has no vector form.

    Attributes:
        steps: of the names declared here.
        vectors: the varying locals that are needed as vectors; the others serve as indices only.
        taken_apart: those of them whose lanes, one by one, serve as indices.
        widths: how many varying values have elements of so many bits.
        size: varying operations, loads and stores.
        lone: loads and stores that go element by element.
        reductions: locals declared outside that the loop accumulates into, with the operation and the type.
        branches: there are some that all lanes take if one wants to.
        maskable: it is right, and machines have instructions, to run it with some lanes left out: memory is accessed in
            vectors side by side of 32 or 64 bits, or of bytes, and nothing traps on the zeros that stand in other lanes.
        bytes: some of what is accessed are bytes (or booleans, which lie in bytes).
        pairs: by the id of a store to every other element, the store that follows it and fills the gaps.
    """

    def __init__(self, loop: For, target: Target) -> None:
        self.loop = loop
        self.target = target
        self.steps: dict[str, Step] = {loop.var: 1}
        self.vectors: set[str] = set()
        self.taken_apart: set[str] = set()
        self.widths: Counter[int] = Counter()
        self.size = 0
        self.lone = 0
        self.reductions: dict[str, tuple[str, Ty]] = {}
        self.definitions: dict[str, Let] = {}
        self.maskable = True
        self.bytes = False
        self.branches = any(isinstance(s, If) for s in loop.body)
        self._guarded_lone = False  # elements that do not lie side by side are read under a condition
        self._rare = False  # inside a branch that some lane rarely takes: what it costs does not count
        flat = list(_statements(loop.body))
        self._assigned = {s.name for s in flat if isinstance(s, Assign)}
        self._steps: dict[int, Step] = {}
        self._needed: set[int] = set()
        for s in flat:
            if isinstance(s, Let):
                self.definitions[s.name] = s
                self.steps[s.name] = None if s.mutable else self.step(s.value)
        self.pairs = self._pairs(loop.body)
        self._second = {id(s) for s in self.pairs.values()}
        for s in loop.body:
            self._statement(s)
        if self._guarded_lone and self.scattered:
            raise Scalar  # branches around single elements are all that LLVM would make of it, at length

    def _pairs(self, stmts: Sequence[Stmt]) -> dict[int, Store]:
        found: dict[int, Store] = {}
        for first, second in itertools.pairwise(stmts):
            if (
                isinstance(first, Store) and isinstance(second, Store) and first.buf == second.buf
                and self.step(first.index) == 2 and _is_next(second.index, first.index)
                and not _reads(second.value, first.buf)
            ):  # fmt: skip
                found[id(first)] = second
        return found

    def _statement(self, s: object) -> None:
        match s:
            case Let() | Comment():
                pass  # looked at when something needs it
            case Assign(name, value) if name in self.steps:
                self._need_local(name)
                self._need(value)
            case Assign(name, value) if not self._rare:
                self._reduction(name, value)
            case If(cond, then, ()) if is_any(cond):
                self._need(cond.args[0])  # type: ignore[union-attr]
                for inner in then:  # what the branch replaces is computed in any case
                    if isinstance(inner, Assign) and inner.name in self.steps:
                        self._need_local(inner.name)
                rare, self._rare = self._rare, True
                for inner in then:
                    self._statement(inner)
                self._rare = rare
            case Store(_, index, value) if not self._rare:
                self._access(index, value.ty, alone=id(s) not in self.pairs and id(s) not in self._second)
                if self.step(index) == 0:
                    raise Scalar  # what all iterations may write to the same place has one
                self._need(value)
            case _:
                raise Declined

    def _reduction(self, name: str, e: Expr) -> None:
        """``name = name op e``, where nothing else in the loop reads ``name``, unless it is to do the same again."""
        if not isinstance(e, Op) or e.name not in _REDUCTIONS or e.ty.kind == "bf":
            raise Declined
        if self.reductions.setdefault(name, (e.name, e.ty)) != (e.name, e.ty):
            raise Declined
        at = accumulator(name, e)
        if at is None:
            raise Declined
        for k, a in enumerate(e.args):
            if k != at:
                self._need(a)
        self._count(e.ty)
        self._grow(1)

    @property
    def scattered(self) -> bool:
        """Whether most of the work is to read and write elements one by one: no latency is left to hide behind it."""
        return 2 * _GATHER_SIZE * self.lone > self.size

    def lanes(self, vector_bits: int) -> int:
        """Lanes that fill a register with the most frequent width, and at most two with the widest."""
        many = 4 * _GATHER_SIZE * self.lone > self.size
        vector_bits = min(vector_bits, _GATHER_BITS) if many else vector_bits
        common = max(self.widths, key=lambda bits: (self.widths[bits], bits), default=64)
        return min(vector_bits // common, 2 * vector_bits // max(self.widths, default=64))

    # ------------------------------------------------------------------------------------------ steps

    def step(self, e: Expr) -> Step:
        key = id(e)
        if key not in self._steps:
            self._steps[key] = self._step(e)
        return self._steps[key]

    def _step(self, e: Expr) -> Step:
        if isinstance(e, Const):
            return 0
        if isinstance(e, Ref):
            if e.name in self._assigned and e.name not in self.steps:
                raise Declined  # the running value of a reduction
            return self.steps.get(e.name, 0)
        if isinstance(e, Load):
            return 0 if self.step(e.index) == 0 and e.mask is None else None
        steps = [self.step(a) for a in e.args]
        if all(s == 0 for s in steps):
            return 0
        return _affine_step(e, steps) if e.ty == i64 and None not in steps else None

    # ------------------------------------------------------------------------------------- dependences

    def depth(self) -> int:
        """The longest chain of varying operations that wait for each other, those of rare branches left out."""
        known: dict[str, int] = {}
        deepest = 0
        for s in self.loop.body:
            if not isinstance(s, (Let, Assign, Store)):
                continue
            here = self._depth(s.value, known)
            deepest = max(deepest, here)
            if not isinstance(s, Store):
                known[s.name] = here
        return deepest

    def _depth(self, e: Expr, known: dict[str, int]) -> int:
        if isinstance(e, Ref):
            return known.get(e.name, 0)
        if not isinstance(e, Op) or self.step(e) is not None:
            return 0
        return 1 + max((self._depth(a, known) for a in e.args), default=0)

    # ------------------------------------------------------------------- what has to become a vector

    def _need(self, e: Expr) -> None:
        """``e`` meets a varying value: its parts that vary have to be vectors."""
        key = id(e)
        if key in self._needed or isinstance(e, Const):
            return
        self._needed.add(key)
        if e.ty.lanes > 1:
            raise Declined
        if self.step(e) is not None:
            return
        if isinstance(e, Ref):
            self._need_local(e.name)
        elif isinstance(e, Load):
            self._access(e.index, e.ty)
            if e.mask is not None:
                self._masked(e)
        elif e.name == "select" and self.step(e.args[0]) == 0:
            self._choice(e)
        else:
            self._supported(e)
            self._grow(1)
            for a in e.args:
                self._need(a)

    def _choice(self, e: Op) -> None:
        """One choice for the whole loop counts as the longer of its two values.  Where the numbers that it hangs on stand in the code
        there is none (``fold``), and sums are to have the same accumulators where they are read."""
        if self._unsupported(e):
            raise Declined
        size, widths = self.size, self.widths
        longer, wider = 0, Counter[int]()
        for a in e.args[1:]:
            self.size, self.widths = 0, Counter()
            self._need(a)
            longer, wider = max(longer, self.size), wider | self.widths
        self.size, self.widths = size + longer, widths + wider

    def _need_local(self, name: str) -> None:
        if name not in self.vectors:
            self.vectors.add(name)
            self._count(self.definitions[name].value.ty)
            self._need(self.definitions[name].value)

    def _access(self, index: Expr, ty: Ty, alone: bool = False) -> None:
        """A vector of ``ty`` in memory: in one piece (step 1), reversed, every other element, or element by element.

        alone: a store that leaves gaps if it has a step of 2.
        """
        self._count(ty)
        step = self.step(index)
        self.maskable &= step == 1 and ty.itemsize != 2
        self.bytes |= ty.itemsize == 1
        together = step in (1, -1) or (step == 2 and not alone)
        self.lone += not together and not self._rare
        self._grow((1 if step == 1 else 2) if together else _GATHER_SIZE)
        if isinstance(step, int) and 2 < step <= _INTERLEAVED and not self.branches:
            raise Declined  # LLVM has shuffles for these
        if step is None:
            self._per_lane(index)

    def _masked(self, e: Load) -> None:
        """A load under a condition: of elements side by side, some of which the machine can leave out, or in a branch."""
        assert e.mask is not None
        if not self.in_branch(e):
            if self.step(e.index) != 1 or not self._leaves_out(e.ty):
                raise Declined
            self._need(e.mask)
        self._guarded_lone |= self.step(e.index) != 1

    def in_branch(self, e: Load) -> bool:
        """Whether a load under a condition stays in a branch, which all iterations take or none."""
        assert e.mask is not None
        return self.step(e.mask) == 0 and not (self.step(e.index) == 1 and self._leaves_out(e.ty))

    def _leaves_out(self, ty: Ty) -> bool:
        return self.target.masked_bytes if ty.itemsize == 1 else self.target.masked_accesses and ty.itemsize != 2

    def _per_lane(self, e: Expr) -> None:
        """``e`` will be computed for one lane at a time, from the definitions of the locals in it; but those that take some
        arithmetic are vectors, of which lanes are taken."""
        if isinstance(e, Ref) and self.step(e) is None:
            value = self.definitions[e.name].value
            if self.definitions[e.name].mutable or (self._is_worked_out(value) and self._has_vectors(value)):
                self.taken_apart.add(e.name)
                self._need_local(e.name)
            else:
                self._per_lane(value)
        elif isinstance(e, Load):
            if e.mask is not None:
                raise Declined
            self._per_lane(e.index)
        elif isinstance(e, Op):
            for a in e.args:
                self._per_lane(a)

    def _is_worked_out(self, e: Expr, least: int = 2) -> bool:
        """Whether ``e`` takes so many varying operations, other than loads and conversions."""
        todo, found = [e], 0
        while todo and found < least:
            x = todo.pop()
            if isinstance(x, Ref) and x.name in self.definitions and self.step(x) is None:
                todo.append(self.definitions[x.name].value)
            elif isinstance(x, Op) and self.step(x) is None:
                found += x.name != "cast"
                todo += x.args
        return found >= least

    def _has_vectors(self, e: Expr) -> bool:
        """Whether no operation of ``e`` would decline the loop."""
        todo, seen = [e], set()
        while todo:
            x = todo.pop()
            if id(x) in seen or isinstance(x, Const) or self.step(x) is not None:
                continue
            seen.add(id(x))
            if isinstance(x, Ref):
                todo.append(self.definitions[x.name].value)
            elif isinstance(x, Load):
                step = self.step(x.index)
                if isinstance(step, int) and 2 < step <= _INTERLEAVED:
                    return False
            elif self._unsupported(x):
                return False
            else:
                todo += x.args
        return True

    def _count(self, ty: Ty) -> None:
        if ty.lanes > 1:
            raise Declined
        if not self._rare:
            self.widths[8 * ty.itemsize] += 1

    def _grow(self, operations: int) -> None:
        if not self._rare:
            self.size += operations

    def _unsupported(self, e: Op) -> bool:
        """Whether it has no vector instructions and would be taken apart lane by lane."""
        operand = e.args[0].ty
        return (
            e.name not in _VECTOR_OPS
            or (_is_division(e) and e.ty.bits == 64 and self.step(e.args[1]) != 0)
            or (e.name == "bitcast" and e.ty.bits != operand.bits)
        )

    def _supported(self, e: Op) -> None:
        if self._unsupported(e):
            raise Declined
        self.maskable &= not _is_division(e)
        half = any(t.is_float and t.bits == 16 for t in (e.ty, *(a.ty for a in e.args)))
        if half and e.name not in ("select", "bitcast"):
            self._count(Ty("f", 32))  # computed in float32
        # A condition is as wide as what was compared; affine integers would rather span several registers.
        elif e.ty.kind != "b" and (e.ty != i64 or None in [self.step(a) for a in e.args]):
            self._count(e.ty)


def _is_division(e: Op) -> bool:
    return e.name in ("div", "rem") and not e.ty.is_float


def divides_what_it_adds_up(loop: For) -> bool:
    """Whether a loop adds up floats and divides integers: how LLVM would cut the sum hangs on whether it knows the divisor, which is
    a number in the code of one program and is read in that of another."""
    changed = {s.name for s in loop.body if isinstance(s, Assign) and s.value.ty.is_float}
    todo: list[Expr] = [e for s in loop.body if isinstance(s, (Let, Assign, Store)) for e in operands(s)]
    seen: set[int] = set()
    while changed and todo:
        e = todo.pop()
        if id(e) not in seen:
            seen.add(id(e))
            if isinstance(e, Op) and _is_division(e):
                return True
            todo += operands(e)
    return False


def _is_next(index: Expr, before: Expr) -> bool:
    """``before + 1``, written so."""
    return (
        isinstance(index, Op) and index.name == "add" and isinstance(index.args[1], Const) and index.args[1].value == 1
        and _same(index.args[0], before)
    )  # fmt: skip


def _reads(e: Expr, buf: str) -> bool:
    return (isinstance(e, Load) and e.buf == buf) or any(_reads(x, buf) for x in operands(e))


def _same(a: Expr, b: Expr) -> bool:
    """Whether two expressions are written alike, and read neither memory nor what changes between them."""
    if isinstance(a, Const) and isinstance(b, Const):
        return bool(a.value == b.value and a.ty == b.ty)
    if isinstance(a, Ref) and isinstance(b, Ref):
        return a.name == b.name
    if not (isinstance(a, Op) and isinstance(b, Op)):
        return False
    return a is b or (a.name == b.name and a.ty == b.ty and all(_same(x, y) for x, y in zip(a.args, b.args)))


def _statements(stmts: Sequence[Stmt]) -> Iterator[Stmt]:
    """Those of the branches that have a vector form included."""
    for s in stmts:
        yield s
        if isinstance(s, If) and is_any(s.cond):
            yield from _statements(s.then)


def accumulator(name: str, e: Op) -> int | None:
    """Which operand of a reduction is the local ``name`` itself."""
    at = [k for k, a in enumerate(e.args) if isinstance(a, Ref) and a.name == name]
    allowed = {"sub": [0], "fma": [2]}.get(e.name, [0, 1])
    return at[0] if len(at) == 1 and at[0] in allowed else None


def _affine_step(e: Op, steps: list[Step]) -> Step:
    match e.name:
        case "add":
            return _combine(steps[0], steps[1], 1)
        case "sub":
            return _combine(steps[0], steps[1], -1)
        case "neg":
            return _times(steps[0], Const(-1, i64))
        case "mul" if 0 in steps:
            return _times(steps[0], e.args[1]) if steps[1] == 0 else _times(steps[1], e.args[0])
    return None


def _combine(a: Step, b: Step, sign: int) -> Step:
    if isinstance(a, int) and isinstance(b, int):
        return a + sign * b
    x = Const(a, i64) if isinstance(a, int) else a
    y = Const(b, i64) if isinstance(b, int) else b
    assert x is not None and y is not None
    return x + y if sign > 0 else x - y


def _times(step: Step, factor: Expr) -> Step:
    if isinstance(step, int):
        return step * int(factor.value) if isinstance(factor, Const) else factor if step == 1 else factor * step
    return factor * step
