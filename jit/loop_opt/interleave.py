"""Orders a long loop body over vectors so that chains of operations which do not wait for each other run side by side.

A core takes instructions in the order of the text and looks among the next hundred or so for operands that are ready.  Written
function by function, ``tanh(x)*exp(-x*x)+sin(x)`` fills that window with steps of one chain that all wait for the first of them.
So each operation becomes a statement, and they are listed as a machine with two units for products and two for sums would
begin them that sees the whole body: of those that are ready, what most others wait for in a row comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile

from ..loop_ir import Assign, Const, Expr, If, Let, Load, Op, Ref, Stmt, Store
from ..loop_walk import blocks, is_any, operands

__all__ = ["interleaved"]

# Cycles from operands to result, about, on recent cores; of others one.
_LATENCY = {
    "fma": 4, "mul": 4, "add": 2, "sub": 2, "min": 2, "max": 2, "minnum": 2, "maxnum": 2, "div": 13, "sqrt": 20, "scale": 3,
    "lookup": 5, "cast": 4, "rint": 2,
}  # fmt: skip
_LOADED = 6
_PRODUCTS, _SUMS = ("fma", "mul", "div"), ("add", "sub", "min", "max", "minnum", "maxnum", "scale")
_UNITS = 2  # of either kind
_INLINE = ("splat", "bitcast", "iota")  # cost nothing where they are read


def interleaved(body: Sequence[Stmt], vectors: int, names: Callable[[str], str]) -> list[Stmt]:
    """The statements of ``body``, in another order, with a name for every operation.

    Bodies are ordered that compute values, with branches that some lane rarely takes, and store them at the end; others are
    returned as they are.

    Args:
        vectors: registers that each value takes.
        names: makes new names.
    """
    computing = list(takewhile(lambda s: not isinstance(s, Store), body))
    stores = [s for s in body[len(computing) :] if isinstance(s, Store)]
    read_late = any(_loads(s.value) for s in stores[1:])  # after a store that may have changed it
    if read_late or len(computing) + len(stores) < len(body) or not all(_is_ordered(s) for s in computing):
        return list(body)
    flat = _Flat(names)
    for s in computing:
        flat.statement(s)
    ends = [replace(s, value=flat.part(s.value)) for s in stores]
    return [*_listed(flat.out, vectors), *ends]


def _loads(e: Expr) -> bool:
    return isinstance(e, Load) or any(_loads(part) for part in operands(e))


def _is_ordered(s: Stmt) -> bool:
    return isinstance(s, Let) or (isinstance(s, If) and is_any(s.cond) and not s.orelse)


class _Flat:
    """Takes expressions apart."""

    def __init__(self, names: Callable[[str], str]) -> None:
        self.names = names
        self.out: list[Stmt] = []
        self.known: dict[int, Expr] = {}
        self.kept: list[Expr] = []  # what is known by identity stays, so that no other expression gets its id

    def statement(self, s: Stmt) -> None:
        if isinstance(s, Let):
            self.out.append(replace(s, value=self.parts(s.value)))
        elif isinstance(s, If):
            self.out.append(replace(s, cond=self.parts(s.cond)))
            self.known.clear()  # what it assigns has another value now

    def parts(self, e: Expr) -> Expr:
        """``e`` with names as operands."""
        return Op(e.name, tuple(self.part(a) for a in e.args), e.ty) if isinstance(e, Op) else e

    def part(self, e: Expr) -> Expr:
        if isinstance(e, (Const, Ref)) or e.ty.lanes == 1:
            return e
        if id(e) not in self.known:
            self.kept.append(e)
            found = self.parts(e)
            if not (isinstance(e, Op) and e.name in _INLINE):
                name = self.names(e.name if isinstance(e, Op) else "v")
                self.out.append(Let(name, found))
                found = Ref(name, e.ty)
            self.known[id(e)] = found
        return self.known[id(e)]


def _listed(stmts: list[Stmt], vectors: int) -> list[Stmt]:
    """The statements as a machine would begin them."""
    after, waits_for = _dependences(stmts)
    height = [0] * len(stmts)  # cycles from its begin to the end of all that needs it
    for k in reversed(range(len(stmts))):
        height[k] = _latency(stmts[k]) + max((height[j] for j in after[k]), default=0)
    ready, now = dict.fromkeys((k for k, n in enumerate(waits_for) if not n), 0.0), 0.0
    free = dict.fromkeys((_PRODUCTS, _SUMS, ()), 0.0)  # when a unit of each kind is
    earliest = [0.0] * len(stmts)
    out: list[Stmt] = []
    while ready:
        begins = {k: max(at, free[_units(stmts[k])]) for k, at in ready.items()}
        now = max(now, min(begins.values()))
        k = max((k for k, at in begins.items() if at <= now), key=lambda k: (height[k], -k))
        del ready[k]
        out.append(stmts[k])
        if units := _units(stmts[k]):
            free[units] = max(free[units], now) + vectors / _UNITS
        for j in after[k]:
            waits_for[j] -= 1
            earliest[j] = max(earliest[j], now + _latency(stmts[k]))
            if not waits_for[j]:
                ready[j] = earliest[j]
    return out


def _operation(s: Stmt) -> Expr | None:
    e: Expr | None = s.value if isinstance(s, Let) else None
    while isinstance(e, Op) and e.name in _INLINE and e.args:
        e = e.args[0]
    return e


def _latency(s: Stmt) -> int:
    e = _operation(s)
    return _LOADED if isinstance(e, Load) else _LATENCY.get(e.name, 1) if isinstance(e, Op) else 0


def _units(s: Stmt) -> tuple[str, ...]:
    e = _operation(s)
    return next((u for u in (_PRODUCTS, _SUMS) if isinstance(e, Op) and e.name in u), ())


def _dependences(stmts: list[Stmt]) -> tuple[list[list[int]], list[int]]:
    """For each statement those that wait for it, and for how many it waits."""
    after: list[list[int]] = [[] for _ in stmts]
    waits_for = [0] * len(stmts)
    written: dict[str, int] = {}
    read: dict[str, list[int]] = {}
    for k, s in enumerate(stmts):
        reads, writes = set(_reads(s)), set(_writes(s))
        before = {written[n] for n in reads | writes if n in written} | {j for n in writes for j in read.get(n, ())}
        for j in before - {k}:
            after[j].append(k)
            waits_for[k] += 1
        for n in reads:
            read.setdefault(n, []).append(k)
        for n in writes:
            written[n], read[n] = k, []
    return after, waits_for


def _reads(node: Stmt | Expr) -> Iterator[str]:
    if isinstance(node, Ref):
        yield node.name
    for part in operands(node):
        yield from _reads(part)
    if isinstance(node, If):
        for s in node.then:
            yield from _reads(s)


def _writes(s: Stmt) -> Iterator[str]:
    if isinstance(s, (Let, Assign)):
        yield s.name
    for block in blocks(s):
        for inner in block:
            yield from _writes(inner)
