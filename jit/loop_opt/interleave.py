"""Orders a long loop body over vectors so that chains of operations which do not wait for each other run side by side.

A core takes instructions in the order of the text and looks among the next hundred or two for operands that are ready.  Written
function by function, ``tanh(x)*exp(-x*x)+sin(x)`` fills that window with steps of one chain that all wait for the first of them.
So each operation becomes a statement, and they are listed as a machine with two units for products and two for sums would
begin them that sees the whole body: of those that are ready, what most others wait for in a row comes first.

Of a long chain, even several vectors leave the units idle: while the last steps wait for each other, the window ends before the
next vectors.  Such a loop is *pipelined*: each round takes the first half of the chains for some vectors beside the second half for
those of the round before.  What passes from half to half stays in registers.  (Lam, "Software pipelining", 1988.)
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from dataclasses import replace
from itertools import takewhile

from ..loop_ir import Assign, Const, Expr, For, If, Let, Load, Op, Ref, Stmt, Store, i64, maximum, minimum
from ..loop_walk import assigned, declared, inside, is_any

__all__ = ["interleaved", "pipelined"]

# Cycles from operands to result, about, on recent cores; of others one.
_LATENCY = {
    "fma": 4, "mul": 4, "add": 2, "sub": 2, "min": 2, "max": 2, "minnum": 2, "maxnum": 2, "div": 13, "sqrt": 20, "scale": 3,
    "lookup": 5, "cast": 4, "rint": 2,
}  # fmt: skip
_LOADED = 6
_PRODUCTS, _SUMS = ("fma", "mul", "div"), ("add", "sub", "min", "max", "minnum", "maxnum", "scale")
_UNITS = 2  # of either kind
_INLINE = ("splat", "bitcast", "iota")  # cost nothing where they are read
_HELD_BOOLEANS = 4  # times what another value costs


def interleaved(loop: For, vectors: int, names: Callable[[str], str]) -> For:
    """``loop`` with its body in another order, and a name for every operation.

    Bodies are ordered that compute values, with branches that some lane rarely takes, and store them at the end; others are
    left as they are.

    Args:
        vectors: registers that each value takes.
        names: makes new names.
    """
    apart = _apart(loop.body, names)
    if apart is None:
        return loop
    computing, stores = apart
    return replace(loop, body=(*_listed(computing, vectors), *stores))


def pipelined(loop: For, vectors: int, names: Callable[[str], str], masks: int | None = None) -> Stmt:
    """The same for a loop over blocks as long as its step, whose rounds overlap.

    There is one round more, before the others: what it stores in the first block, from nothing, the next one replaces.  The last round
    looks ahead to its own block, in place of one that is not there.

    masks: the registers of the machine that hold nothing but booleans: rounds that pass on more do not overlap.
    """
    apart = _apart(loop.body, names)
    if apart is None:
        return loop
    computing, stores = apart
    first, second = _halves(computing, stores)
    types = {s.name: s.value.ty for s in first if isinstance(s, Let)}
    needed = set().union(*(_reads(s) | _writes(s) for s in (*second, *stores)))
    passed = {n: names(n) for n in types if n in needed}
    many = masks is not None and vectors * sum(types[n].kind == "b" for n in passed) > masks
    if many or any(_divides_integers(s) or _loads(s) for s in second):
        return replace(loop, body=(*_listed(computing, vectors), *stores))
    var = Ref(loop.var, i64)
    ahead, here = Ref(names(f"{loop.var}_ahead"), i64), Ref(names(f"{loop.var}_here"), i64)
    made = {n: names(n) for n in declared(first)}
    new: dict[str, Expr | str] = {**made, loop.var: ahead}
    following = [_renamed(s, new) for s in first]
    old: dict[str, Expr | str] = {**passed, loop.var: here}
    body = (
        Let(ahead.name, minimum(var + loop.step, loop.stop - loop.step)),
        Let(here.name, maximum(var, loop.start)),
        *_listed([*following, *(_renamed(s, old) for s in second)], vectors),
        *(_renamed(s, old) for s in stores),
        *(Assign(held, Ref(made[n], types[n])) for n, held in passed.items()),
    )
    hold = (Let(held, Const(0, types[n]), mutable=True) for n, held in passed.items())
    rounds = replace(loop, start=loop.start - loop.step, body=body)
    return If(loop.start < loop.stop, (*hold, rounds))


def _divides_integers(node: Stmt) -> bool:
    """... which may stop the process where there is nothing to divide by."""
    return any(isinstance(e, Op) and e.name in ("div", "rem") and e.ty.kind in "iu" for e in inside(node))


def _halves(stmts: Sequence[Stmt], stores: Sequence[Stmt]) -> tuple[list[Stmt], list[Stmt]]:
    """What a machine with units enough begins in the first half of the time, and the rest.

    What only the second half reads and need not begin before it goes there where fewer values pass then.
    """
    after, _ = _dependences(stmts)
    begin, height = [0] * len(stmts), _heights(stmts, after)
    for k, s in enumerate(stmts):
        for j in after[k]:
            begin[j] = max(begin[j], begin[k] + _latency(s))
    half = max(height, default=0) / 2
    early = [b < half for b in begin]
    made = {n: k for k, s in enumerate(stmts) for n in _writes(s)}
    operands_of = [{made[n] for n in _reads(s) if n in made} for s in stmts]
    passes = {j for k, s in enumerate(stmts) if not early[k] for j in operands_of[k]}
    passes |= {made[n] for s in stores for n in _reads(s) if n in made}
    for k in reversed(range(len(stmts))):
        s = stmts[k]
        if early[k] and height[k] <= half and isinstance(s, Let) and not (_loads(s) or any(early[j] for j in after[k])):
            more = sum(_weight(stmts[j]) for j in operands_of[k] if j not in passes)
            if more < (_weight(s) if k in passes else 0):
                early[k] = False
                passes |= operands_of[k]
    return [s for s, e in zip(stmts, early) if e], [s for s, e in zip(stmts, early) if not e]


def _weight(s: Stmt) -> int:
    """What it costs to hold the value: registers of booleans are few, and LLVM makes and tests them anew."""
    if not isinstance(s, Let) or s.value.ty.lanes == 1:
        return 0
    return _HELD_BOOLEANS if s.value.ty.kind == "b" else 1


def _apart(body: Sequence[Stmt], names: Callable[[str], str]) -> tuple[list[Stmt], list[Store]] | None:
    """What computes, with a name for every operation, and what stores; None where that is not all, or does not come in that order."""
    computing = list(takewhile(lambda s: not isinstance(s, Store), body))
    stores = [s for s in body[len(computing) :] if isinstance(s, Store)]
    read_late = any(_loads(s.value) for s in stores[1:])  # after a store that may have changed it
    if read_late or len(computing) + len(stores) < len(body) or not all(_is_ordered(s) for s in computing):
        return None
    flat = _Flat(names, set(assigned(computing)))
    for s in computing:
        flat.statement(s)
    stores = [replace(s, value=flat.part(s.value)) for s in stores]
    return flat.out, stores


def _loads(node: Stmt | Expr) -> bool:
    return any(isinstance(e, Load) for e in inside(node))


def _is_ordered(s: Stmt) -> bool:
    return isinstance(s, Let) or (isinstance(s, If) and is_any(s.cond) and not s.orelse)


class _Flat:
    """Takes expressions apart; what is computed twice has one name."""

    def __init__(self, names: Callable[[str], str], changed: Set[str]) -> None:
        self.names = names
        self.changed = changed
        self.out: list[Stmt] = []
        self.known: dict[int, Expr] = {}
        self.kept: list[Expr] = []  # what is known by identity stays, so that no other expression gets its id
        self.same: dict[Hashable, Ref] = {}
        self.first: dict[str, str] = {}

    def statement(self, s: Stmt) -> None:
        if isinstance(s, Let):
            value = self.parts(s.value)
            key = self.key(value)
            if key in self.same and not s.mutable:
                value = self.same[key]
                self.first[s.name] = value.name
            self.out.append(replace(s, value=value))
            if key is not None and not s.mutable:
                self.same.setdefault(key, Ref(s.name, value.ty))
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
                key = self.key(found)
                if key not in self.same:
                    name = self.names(e.name if isinstance(e, Op) else "v")
                    self.out.append(Let(name, found))
                    found = Ref(name, e.ty)
                    if key is not None:
                        self.same[key] = found
                else:
                    found = self.same[key]
            self.known[id(e)] = found
        return self.known[id(e)]

    def key(self, e: Expr) -> Hashable:
        """Of an operation on vectors, what says whether another one has the same result; None of others."""
        if isinstance(e, Const):
            return repr(e.value), e.ty
        if isinstance(e, Ref):
            return None if e.name in self.changed else self.first.get(e.name, e.name)
        if not isinstance(e, Op) or e.ty.lanes == 1:
            return None
        args = tuple(map(self.key, e.args))
        return None if None in args else (e.name, e.ty, args)


def _listed(stmts: Sequence[Stmt], vectors: int) -> list[Stmt]:
    """The statements as a machine would begin them."""
    after, waits_for = _dependences(stmts)
    height = _heights(stmts, after)
    units, latency = [_units(s) for s in stmts], [_latency(s) for s in stmts]
    ready, now = dict.fromkeys((k for k, n in enumerate(waits_for) if not n), 0.0), 0.0
    free = dict.fromkeys((_PRODUCTS, _SUMS, ()), 0.0)  # when a unit of each kind is
    earliest = [0.0] * len(stmts)
    out: list[Stmt] = []
    while ready:
        begins = [(max(at, free[units[k]]), k) for k, at in ready.items()]
        now = max(now, min(begins)[0])
        k = max((height[k], -k) for at, k in begins if at <= now)[1] * -1
        del ready[k]
        out.append(stmts[k])
        if units[k]:
            free[units[k]] = max(free[units[k]], now) + vectors / _UNITS
        for j in after[k]:
            waits_for[j] -= 1
            earliest[j] = max(earliest[j], now + latency[k])
            if not waits_for[j]:
                ready[j] = earliest[j]
    return out


def _heights(stmts: Sequence[Stmt], after: Sequence[Sequence[int]]) -> list[int]:
    """Cycles from the begin of each statement to the end of all that needs it."""
    height = [0] * len(stmts)
    for k in reversed(range(len(stmts))):
        height[k] = _latency(stmts[k]) + max((height[j] for j in after[k]), default=0)
    return height


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


def _dependences(stmts: Sequence[Stmt]) -> tuple[list[list[int]], list[int]]:
    """For each statement those that wait for it, and for how many it waits."""
    after: list[list[int]] = [[] for _ in stmts]
    waits_for = [0] * len(stmts)
    written: dict[str, int] = {}
    read: dict[str, list[int]] = {}
    for k, s in enumerate(stmts):
        reads, writes = _reads(s), _writes(s)
        before = {written[n] for n in reads | writes if n in written} | {j for n in writes for j in read.get(n, ())}
        for j in before - {k}:
            after[j].append(k)
            waits_for[k] += 1
        for n in reads:
            read.setdefault(n, []).append(k)
        for n in writes:
            written[n], read[n] = k, []
    return after, waits_for


def _reads(node: Stmt | Expr) -> set[str]:
    return {e.name for e in inside(node) if isinstance(e, Ref)}


def _writes(s: Stmt) -> set[str]:
    return {x.name for x in inside(s) if isinstance(x, (Let, Assign))}


def _renamed(s: Stmt, names: Mapping[str, Expr | str]) -> Stmt:
    """The statement with other names, or an expression in place of one."""
    known: dict[int, Expr] = {}

    def expr(e: Expr) -> Expr:
        if isinstance(e, Const):
            return e
        if isinstance(e, Ref):
            new = names.get(e.name, e)
            return Ref(new, e.ty) if isinstance(new, str) else new
        if id(e) not in known:
            if isinstance(e, Load):
                known[id(e)] = replace(e, index=expr(e.index), mask=None if e.mask is None else expr(e.mask))
            else:
                known[id(e)] = Op(e.name, tuple(map(expr, e.args)), e.ty)
        return known[id(e)]

    def name(n: str) -> str:
        return str(names.get(n, n))

    match s:
        case Let(n, value):
            return replace(s, name=name(n), value=expr(value))
        case Assign(n, value):
            return Assign(name(n), expr(value))
        case Store(index=index, value=value, mask=mask):
            return replace(s, index=expr(index), value=expr(value), mask=None if mask is None else expr(mask))
        case If(cond, then):
            return If(expr(cond), tuple(_renamed(x, names) for x in then))
    raise TypeError(f"a {type(s).__name__} in a body that only computes and stores")
