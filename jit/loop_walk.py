"""Walks over kernels: what stands inside a statement or an expression."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .loop_ir import Alloc, Assign, Call, Const, Expr, For, If, Let, Load, Op, Place, Prefetch, Ref, Stmt, Store, While


def blocks(s: Stmt) -> tuple[tuple[Stmt, ...], ...]:
    """The blocks of a loop or branch; none of any other statement."""
    if isinstance(s, (For, While)):
        return (s.body,)
    return (s.then, s.orelse) if isinstance(s, If) else ()


def statements(stmts: Sequence[Stmt]) -> list[Stmt]:
    """Every statement, those inside others included, in the order of the text."""
    found: list[Stmt] = []
    _collect(stmts, found)
    return found


def _collect(stmts: Sequence[Stmt], found: list[Stmt]) -> None:
    for s in stmts:
        found.append(s)
        kind = type(s)
        if kind is For or kind is While:
            _collect(s.body, found)  # type: ignore[union-attr]
        elif kind is If:
            _collect(s.then, found)  # type: ignore[union-attr]
            _collect(s.orelse, found)  # type: ignore[union-attr]


def operands(node: Stmt | Expr) -> tuple[Expr, ...]:
    """The expressions that a statement or an expression is made of, not those inside them or in its blocks."""
    match node:
        case Op(args=args):
            return args
        case Load(index=index, mask=mask):
            return (index,) if mask is None else (index, mask)
        case Let(value=value) | Assign(value=value):
            return (value,)
        case Store(index=index, value=value, mask=mask):
            return (index, value) if mask is None else (index, value, mask)
        case Prefetch(index=index):
            return (index,)
        case For(start=start, stop=stop):
            return (start, stop)
        case While(cond=cond) | If(cond=cond):
            return (cond,)
        case Call(function=function, args=args):
            return (function, *(a.index if isinstance(a, Place) else a for a in args))
    return ()


def inside(node: Stmt | Expr) -> list[Stmt | Expr]:
    """The node, and every statement and expression that stands in it or in its blocks, some of them several times."""
    found: list[Stmt | Expr] = [node]
    for part in found:  # which grows
        if isinstance(part, (Const, Ref)):
            continue
        found += part.args if isinstance(part, Op) else operands(part)
        if isinstance(part, (If, For, While)):
            for block in blocks(part):
                found += block
    return found


def declared(stmts: Sequence[Stmt]) -> Iterator[str]:
    """The names of locals, loop indices and scratch arrays."""
    for s in statements(stmts):
        if isinstance(s, (Let, Alloc)):
            yield s.name
        elif isinstance(s, For):
            yield s.var


def assigned(stmts: Sequence[Stmt]) -> Iterator[str]:
    return (s.name for s in statements(stmts) if isinstance(s, Assign))


def stored(stmts: Sequence[Stmt]) -> Iterator[str]:
    """The buffers that are written to; a function that is called may write to all that it is given."""
    for s in statements(stmts):
        if isinstance(s, Store):
            yield s.buf
        elif isinstance(s, Call):
            yield from (a.buf for a in s.args if isinstance(a, Place))


def loops(stmts: Sequence[Stmt]) -> Iterator[For | While]:
    """Every loop, those inside others included."""
    return (s for s in statements(stmts) if isinstance(s, (For, While)))


def is_any(cond: Expr) -> bool:
    """Whether a branch is taken for all lanes if some lane wants it."""
    return isinstance(cond, Op) and cond.name == "any"


def is_innermost(loop: For) -> bool:
    return not any(isinstance(s, (For, While)) for s in statements(loop.body))


def has_vectors(stmts: Sequence[Stmt]) -> bool:
    """Some value that is named or stored is a vector."""
    return any(isinstance(s, (Let, Assign, Store)) and s.value.ty.lanes > 1 for s in statements(stmts))


def has_vectorizable_loops(stmts: Sequence[Stmt]) -> bool:
    """Some innermost loop is marked ``vectorize``."""
    return any(isinstance(s, For) and s.vectorize and is_innermost(s) for s in statements(stmts))
