"""Where instructions go: out of the loops that they do not depend on.

Values are known by their level, the number of loops around them.  What is computed from values of a lower level than the
code that needs it goes ahead of the loop in between, and so do the parts of an address that are known there; what grows by the
same amount in every iteration is added up.  LLVM has a pass for that, loop strength reduction, which takes up to nine tenths
of the time that it takes to generate a kernel's code (a third of that of products): the loops in which this is done here are
counted in a way in which it does not know them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

from ..loop_ir import For, Kernel, While
from ..loop_walk import has_vectorizable_loops, loops
from ..target import Target
from .ops import OpEmitter

HERE: AbstractContextManager[None] = nullcontext()
SUMS = ("add", "sub", "mul")
_TERMS = 3  # of an address, that are added up ahead of a loop: each sum takes a register in it
_SCALES = (1, 2, 4, 8)  # by which an instruction can multiply an index; others can be told from the loop's by a shift


def counted_loops(kernel: Kernel) -> frozenset[int]:
    """The ids of the loops that LLVM is not to know.

    Left to it are those that it vectorises, and those inside of a ``while``, whose passes are short, such as a Fourier
    transform's: what stands ahead of them counts.
    """
    if has_vectorizable_loops(kernel.body):
        return frozenset()
    ours: set[int] = set()
    passes = {id(inner) for s in loops(kernel.body) if isinstance(s, While) for inner in loops(s.body)}
    for s in reversed(list(loops(kernel.body))):  # those inside of others first
        if isinstance(s, For) and id(s) not in passes and all(id(other) in ours for other in loops(s.body)):
            ours.add(id(s))
    return frozenset(ours)


class _Form(NamedTuple):
    """``known + constant + factor * varying``: a 64-bit integer inside a loop.

    known: is computed ahead of the loop, from so many ``terms``.  varying: the index of the loop or any other value in it; empty
    if there is none.  factor: 1 but for an index.
    """

    known: str = "0"
    terms: int = 0
    constant: int = 0
    varying: str = ""
    factor: str = "1"


class _Counter(NamedTuple):
    """A loop that LLVM does not know.

    number: the value of its index.  running: by factor, that times the index.  shifted: by factor and offset, their sum.  shares:
    the loop around it carries vectors, too, and comes here often: what changes there is added to the index, once for all
    addresses, instead of to each of them.
    """

    number: str
    level: int
    start: str
    step: int
    enter: str
    phis: list[str]
    running: dict[str, str]
    forms: dict[str, _Form]
    shares: bool
    shifted: dict[tuple[str, str], str]


class Places(OpEmitter):
    """Operations on values of any level."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.before: list[list[str]] = []  # for every open loop, the lines that run before it
        self.known_before: list[dict[tuple[str, ...], str]] = []  # ... and the sums and addresses that these compute
        self.certain = False  # the code here runs in every iteration of the innermost loop
        self.sums: dict[
            str, tuple[str, str, str]
        ] = {}  # 64-bit integers: what operation they are the result of, on what
        self.known_sums: dict[str, tuple[str, str]] = {}  # those that are computed ahead of loops
        self.counters: list[_Counter | None] = []  # for every open loop

    def open_place(self) -> None:
        """Begins a loop: what is appended next may be moved to this place."""
        ahead: list[str] = []
        self.lines.append(ahead)  # type: ignore[arg-type]  # flattened when the function is complete
        self.before.append(ahead)
        self.known_before.append({})
        self.counters.append(None)
        self.level += 1

    def close_place(self) -> None:
        self.level -= 1
        self.before.pop()
        self.known_before.pop()
        self.counters.pop()

    def hoisted(self, level: int, may_trap: bool = False) -> AbstractContextManager[None]:
        """Instructions on values of ``level`` go to the outermost place that knows them all."""
        if may_trap and level < self.level:
            level = self.level - 1 if self.certain else self.level
        return HERE if level == self.level else self._ahead_of_loop(level)

    @contextmanager
    def _ahead_of_loop(self, level: int) -> Iterator[None]:
        lines, here = self.lines, self.level
        self.lines, self.level = self.before[level], level
        yield
        self.lines, self.level = lines, here

    def level_of(self, *values: str) -> int:
        return max(self.levels.get(v, 0) for v in values)

    # ------------------------------------------------------------------------------------ loops

    def open_counter(self, index: str, start: str, step: int, enter: str, shares: bool) -> None:
        """``index`` begins a loop that LLVM is not to know; more phis follow here."""
        counter = _Counter(index, self.level, start, step, enter, [], {}, {}, shares, {})
        self.counters[-1] = counter
        self.lines.append(counter.phis)  # type: ignore[arg-type]

    def counted(self, index: str, step: int, latch: str) -> str:
        """The index in the next iteration.  Frozen, it is no induction variable."""
        following = self.ins(f"add nsw i64 {index}, {step}")
        c = self.counters[-1]
        if c is None:
            return following
        running = [(factor, "0", value) for factor, value in c.running.items()]
        running += [(factor, offset, value) for (factor, offset), value in c.shifted.items()]
        for factor, offset, value in running:
            more = self._ahead("mul", factor, str(step))
            first = self._ahead("add", self._ahead("mul", c.start, factor), offset)
            grown = self.ins(f"freeze i64 {self.ins(f'add i64 {value}, {more}')}")
            c.phis.append(f"  {value} = phi i64 [ {first}, %{c.enter} ], [ {grown}, %{latch} ]")
        return self.ins(f"freeze i64 {following}")

    def _apart(self, counter: _Counter, known: str) -> tuple[str, str] | None:
        """A sum that is known ahead of the loop as what is known ahead of the loop around it, too, and the rest."""
        x, y = self.known_sums.get(known, ("", ""))
        for near, far in ((x, y), (y, x)):
            if x and self.level_of(far) < self.level_of(near) == counter.level - 1:
                return far, near
        return None

    def _shifted(self, counter: _Counter, factor: str, offset: str) -> str:
        """``offset`` and ``factor`` times the index."""
        shifted = counter.shifted
        if (factor, offset) not in shifted:
            self.count += 1
            shifted[factor, offset] = name = f"%v{self.count}"
            self.levels[name] = counter.level
        return shifted[factor, offset]

    def _running(self, counter: _Counter, factor: str) -> str:
        """``factor`` times the index."""
        running = counter.running
        if factor not in running:
            self.count += 1
            running[factor] = name = f"%v{self.count}"
            self.levels[name] = counter.level
        return running[factor]

    def grown(self, x: str, y: str) -> str:
        """The product of a counted loop's index and a value known ahead of that loop, added up; empty if it is none."""
        for c in self.counters:
            for index, factor in ((x, y), (y, x)):
                if c is not None and index == c.number and factor.startswith("%") and self.level_of(factor) < c.level:
                    return self._running(c, factor)
        return ""

    def _ahead(self, op: str, x: str, y: str) -> str:
        """A sum or a product of values known outside of the loop, computed there."""
        if not (x.startswith("%") or y.startswith("%")):
            a, b = int(x), int(y)
            return str(a + b if op == "add" else a - b if op == "sub" else a * b)
        if op == "mul" and "0" in (x, y):
            return "0"
        neutral = "1" if op == "mul" else "0"
        if y == neutral:
            return x
        if x == neutral and op != "sub":
            return y
        level = self.level_of(x, y)
        c = self.counters[level - 1] if op == "mul" and level else None
        if c is not None and c.number in (x, y) and x != y:
            factor = y if x == c.number else x
            if self.level_of(factor) < level:
                return self._running(c, factor)
        known = self.known_before[level]
        if (op, x, y) not in known:
            with self._ahead_of_loop(level):
                known[op, x, y] = v = self.ins(f"{op} i64 {x}, {y}")
            if op == "add":
                self.known_sums[v] = x, y
        return known[op, x, y]

    # -------------------------------------------------------------------------------- addresses

    def element(self, base: str, offset: str, ty: str, inbounds: bool = False) -> str:
        """The address of ``base[offset]``, where elements are of LLVM's type ``ty``; ``inbounds`` if both lie in one array."""
        with self.hoisted(self.level_of(base, offset)):
            return self.ins(f"getelementptr {'inbounds ' if inbounds else ''}{ty}, ptr {base}, i64 {offset}")

    def pointer(self, base: str, offset: str, ty: str, itemsize: int) -> str:
        """The address of ``base[offset]`` in a counted loop, from as much as is known ahead of it; a constant comes last, as
        instructions take it."""
        counter = self.counters[-1]
        assert counter is not None
        known, _, constant, varying, factor = self._form(counter, offset)
        if counter.shares and varying == counter.number and (parts := self._apart(counter, known)):
            known, near = parts
            varying, factor = self._shifted(counter, factor, near), "1"
        if known != "0":
            key = "element", base, known, ty
            level = self.level_of(base, known)
            if key not in self.known_before[level]:
                self.known_before[level][key] = self.element(base, known, ty)
            base = self.known_before[level][key]
        if varying == counter.number and factor != "1":
            short = not factor.startswith("%") and int(factor) * itemsize in _SCALES
            varying = self.ins(f"mul i64 {varying}, {factor}") if short else self._running(counter, factor)
        at = self.element(base, varying, ty) if varying else base
        return self.element(at, str(constant), ty) if constant else at

    def _form(self, c: _Counter, v: str) -> _Form:
        """The form of a value in the innermost loop, ``c``."""
        if not v.startswith("%"):
            return _Form(constant=int(v))
        if self.level_of(v) < self.level:
            return _Form(known=self._counted_ahead(v), terms=1)
        if v == c.number:
            return _Form(varying=v)
        if v not in c.forms:
            found = None
            if v in self.sums:
                op, x, y = self.sums[v]
                a, b = self._form(c, x), self._form(c, y)
                found = self._product(c, a, b) or self._product(c, b, a) if op == "mul" else self._sum(c, op, a, b)
            c.forms[v] = found or _Form(varying=v)
        return c.forms[v]

    def _counted_ahead(self, v: str) -> str:
        """A value known outside of this loop, if it grows with the index of another, in terms of what is added up there."""
        level = self.level_of(v)
        c = self.counters[level - 1] if level else None
        if c is None or v not in self.sums:
            return v
        with self._ahead_of_loop(level):
            known, _, constant, varying, factor = self._form(c, v)
        if varying != c.number:
            return v
        grown = varying if factor == "1" else self._running(c, factor)
        return self._ahead("add", self._ahead("add", known, grown), str(constant))

    def _sum(self, c: _Counter, op: str, a: _Form, b: _Form) -> _Form | None:
        """The form of a sum or a difference, if it has one and its known part does not consist of too many terms."""
        indices = {a.varying, b.varying} <= {"", c.number}
        if a.terms + b.terms > _TERMS or not (indices or not b.varying or (op == "add" and not a.varying)):
            return None
        constant = a.constant + b.constant if op == "add" else a.constant - b.constant
        factor = self._ahead(op, a.factor if a.varying else "0", b.factor if b.varying else "0")
        varying = a.varying or b.varying if factor != "0" else ""
        return _Form(
            self._ahead(op, a.known, b.known), a.terms + b.terms, constant, varying, factor if varying else "1"
        )

    def _product(self, c: _Counter, a: _Form, b: _Form) -> _Form | None:
        """The form of the product of ``a`` and of ``b``, which does not vary."""
        if b.varying or a.varying not in ("", c.number):
            return None
        by = self._ahead("add", b.known, str(b.constant))
        known, constant = self._ahead("mul", a.known, by), self._ahead("mul", str(a.constant), by)
        if constant.startswith("%"):
            known, constant = self._ahead("add", known, constant), "0"
        factor = self._ahead("mul", a.factor, by) if a.varying else "0"
        varying = a.varying if factor != "0" else ""
        return _Form(known, int(known != "0"), int(constant), varying, factor if varying else "1")
