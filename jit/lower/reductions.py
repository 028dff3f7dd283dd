"""Reductions: what is accumulated, from which value, in which type.

A reduction here says nothing of loops: ``nest.kernel`` builds those.  Those of float16 and bfloat16 accumulate in float32,
everything else in its own dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fx import dtypes
from fx.errors import LoweringError
from fx.ir import Eqn, Literal

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Ty, maximum, minimum, select
from ..nest.index_map import Affine, Cond
from .registry import Value
from .types import compute_type, ty_of

if TYPE_CHECKING:
    from ..nest.nodes import Node
    from ..nest.trace import Reader

__all__ = ["COMBINE", "REDUCTIONS", "Reduction", "accumulator", "identity_of", "reduced_axes"]


def reduced_axes(eqn: Eqn) -> tuple[int, ...]:
    """The operand axes that a reduction equation reduces."""
    return tuple(eqn.params["axes"]) if "axes" in eqn.params else (int(eqn.params["axis"]),)


def accumulator(op: str, dtype: np.dtype) -> np.dtype:
    """The dtype that partial results have."""
    if op in ("sum", "prod", "max", "min", "argmax", "argmin") and dtypes.is_float(dtype) and dtype.itemsize == 2:
        return dtypes.float32
    return dtype


def _extreme(dtype: np.dtype, largest: bool) -> Any:
    if dtype.kind == "b":
        return largest
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return info.max if largest else info.min
    inf = float("inf") if largest else float("-inf")
    return complex(inf, inf) if dtype.kind == "c" else inf


def identity_of(op: str, dtype: np.dtype) -> Any:
    """The result over no elements."""
    if op == "sum" or op == "or":
        return False if dtype.kind == "b" else 0
    if op == "prod":
        return True if dtype.kind == "b" else 1
    if op == "and":
        return True if dtype.kind == "b" else (-1 if dtype.kind == "i" else np.iinfo(dtype).max)
    return _extreme(dtype, op == "min")


# ------------------------------------------------------------------------------- combining values


def _widened(f: Callable[[Expr, Expr], Expr]) -> Callable[[Expr, Expr], Expr]:
    def combine(a: Expr, x: Expr) -> Expr:
        wide = compute_type(a.ty)
        return f(a.cast(wide), x.cast(wide)).cast(a.ty)

    return combine


def _sum(b: KernelBuilder, a: Value, x: Value) -> Value:
    if isinstance(a, tuple):
        return a[0] + x[0], a[1] + x[1]
    return a | x if a.ty.kind == "b" else a + x


def _prod(b: KernelBuilder, a: Value, x: Value) -> Value:
    if isinstance(a, tuple):
        return a[0] * x[0] - a[1] * x[1], a[0] * x[1] + a[1] * x[0]
    return a & x if a.ty.kind == "b" else a * x


def _ordered(largest: bool) -> Callable[[KernelBuilder, Value, Value], Value]:
    bare = _widened(maximum if largest else minimum)

    def combine(b: KernelBuilder, a: Value, x: Value) -> Value:
        if isinstance(a, tuple):
            return _lexicographic(b, a, x, largest)
        if a.ty.kind == "b":
            return a | x if largest else a & x
        return bare(a, x)

    return combine


def _lexicographic(b: KernelBuilder, a: Value, x: Value, largest: bool) -> Value:
    """The larger (smaller) complex number by real, then imaginary part; one with a NaN wins, the first of them."""
    ahead = (x[0] > a[0]) if largest else (x[0] < a[0])
    tie = x[0].eq(a[0]) & ((x[1] > a[1]) if largest else (x[1] < a[1]))
    x_nan, a_nan = x[0].ne(x[0]) | x[1].ne(x[1]), a[0].ne(a[0]) | a[1].ne(a[1])
    take = b.let("take", (ahead | tie | x_nan) & ~a_nan)
    return select(take, x[0], a[0]), select(take, x[1], a[1])


# op -> combine(b, accumulator, value) -> accumulator
COMBINE: dict[str, Callable[[KernelBuilder, Value, Value], Value]] = {
    "sum": _sum,
    "prod": _prod,
    "max": _ordered(True),
    "min": _ordered(False),
    "and": lambda b, a, x: a & x,
    "or": lambda b, a, x: a | x,
}

# ------------------------------------------------------------------------------- the primitives


@dataclass(frozen=True, slots=True)
class Reduction:
    """op: what is accumulated ('sum' ... or 'argmax', 'argmin').

    read(reader, eqn, full) -> node: the reduced value; ``full`` is the operand's index over the domain.
    of_one(reader, eqn, index, conds) -> node: the same where every reduced axis has size 1.
    """

    op: str
    read: Callable[[Reader, Eqn, tuple[Affine, ...]], Node]
    of_one: Callable[[Reader, Eqn, tuple[Affine, ...], tuple[Cond, ...]], Node]

    def identity(self, dtype: np.dtype) -> Any:
        return 0 if is_arg(self.op) else identity_of(self.op, dtype)


def _plain(op: str) -> Reduction:
    def read(t: Reader, eqn: Eqn, full: tuple[Affine, ...]) -> Node:
        dtype = eqn.inputs[0].aval.dtype
        return t.reduce(op, (t.read(eqn.inputs[0], full),), accumulator(op, dtype), eqn.outputs[0].aval.dtype)

    def of_one(t: Reader, eqn: Eqn, index: tuple[Affine, ...], conds: tuple[Cond, ...]) -> Node:
        return t.read(eqn.inputs[0], index, conds)

    return Reduction(op, read, of_one)


def _arg(op: str) -> Reduction:
    def read(t: Reader, eqn: Eqn, full: tuple[Affine, ...]) -> Node:
        (x,) = eqn.inputs
        dtype, out = x.aval.dtype, eqn.outputs[0].aval
        if dtypes.is_complex(dtype):
            raise LoweringError(f"{eqn.prim.name} of {dtype} has no native loop ({eqn.source})")
        values = t.read(x, full), t.index(full[eqn.params["axis"]], out.dtype)
        return t.reduce(op, values, accumulator(op, dtype), out.dtype)

    def of_one(t: Reader, eqn: Eqn, index: tuple[Affine, ...], conds: tuple[Cond, ...]) -> Node:
        return t.read(Literal(0, eqn.outputs[0].aval.with_(shape=())), ())

    return Reduction(op, read, of_one)


REDUCTIONS: dict[str, Reduction] = {
    **{f"reduce_{op}": _plain(op) for op in ("sum", "prod", "max", "min", "and", "or")},
    "argmax": _arg("argmax"),
    "argmin": _arg("argmin"),
}


# argmax and argmin carry a pair (value, position): the first extreme value stays, the first NaN wins.


def is_arg(op: str) -> bool:
    return op.startswith("arg")


def ahead(op: str, x: Expr, best: Expr) -> Expr:
    """Whether x takes the place of the extreme value so far."""
    wide = compute_type(x.ty)
    x, best = x.cast(wide), best.cast(wide)
    beats = (x > best) if op == "argmax" else (x < best)
    return (beats | x.ne(x)) & ~best.ne(best) if wide.is_float else beats


def carry_position(b: KernelBuilder, op: str, best: Expr, at: Expr, x: Expr, position: Expr) -> tuple[Expr, Expr]:
    """The pair after one more value, positions growing."""
    take = b.let("take", ahead(op, x, best))
    return select(take, x, best), select(take, position, at)


def nowhere(position: Ty) -> int:
    """The largest position of a type: behind any other."""
    return (1 << (position.bits - (position.kind == "i"))) - 1


def short_of(op: str, best: Expr) -> Expr:
    """What ``is_hit`` takes, for the extreme value of a block, which is a NaN if there is one.

    Of floats, the number next to it that is less extreme, so that zeros of both signs lie beyond; for a NaN the infinity that
    only NaN lie beyond; and for the infinity that is the least extreme, a NaN, which nothing falls short of.
    """
    wide = compute_type(best.ty)
    if not wide.is_float:
        return best
    best, largest = best.cast(wide), op == "argmax"
    i = best.bitcast(Ty("i", wide.bits))
    away, back = (best > 0.0, best < 0.0) if largest else (best < 0.0, best > 0.0)
    zero = Const(1 | (-largest << (wide.bits - 1)), i.ty)  # the least number of the other sign
    short = select(away, i - 1, select(back, i + 1, zero)).bitcast(wide)
    return select(best.ne(best), Const(math.inf if largest else -math.inf, wide), short)


def is_hit(op: str, x: Expr, short: Expr) -> Expr:
    """Whether x is the extreme value of a block, of which ``short`` is ``short_of``: one comparison."""
    if not short.ty.is_float:
        return x.eq(short)
    x = x.cast(short.ty)
    return ~(x <= short if op == "argmax" else x >= short)


def widen(value: Value, dtype: np.dtype) -> Value:
    """A value in the accumulator's type."""
    return value if isinstance(value, tuple) else value.cast(ty_of(dtype))
