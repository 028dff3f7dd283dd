"""Which operand elements a window meets, and what it does with them: shared by the kernels in ``window.py``."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from fx import dtypes
from fx.errors import LoweringError

from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Ty, i32, maximum, minimum, op_, select, u8
from ..lower.loops import ceil_div, const, floor_div, word_type
from ..lower.types import compute_type, ty_of

__all__ = [
    "STATIC_STRIDE",
    "Buffers",
    "Combine",
    "Dim",
    "FrameDim",
    "Walk",
    "WindowShape",
    "flat_tap",
    "interior",
    "nest",
]

STATIC_STRIDE = 4  # strides up to this are constants of the kernel, so that LLVM sees the access pattern

# ------------------------------------------------------------------------------------ dimensions


@dataclass(frozen=True)
class Dim:
    """One windowed dimension: result o meets operand element i as tap t where o*stride - low + t*dilation = i*base."""

    n: int  # operand elements
    count: int  # results
    taps: int
    stride: int
    low: int
    base: int
    dilation: int

    @property
    def trivial(self) -> bool:
        return (self.taps, self.stride, self.low, self.base) == (1, 1, 0, 1) and self.n == self.count

    @property
    def plain(self) -> bool:
        """Nothing is dilated: the taps of a window are neighbours."""
        return self.base == 1 and self.dilation == 1

    @property
    def disjoint(self) -> bool:
        """Windows do not overlap, and all of them lie inside the operand."""
        return (
            self.plain
            and self.stride >= self.taps
            and self.low == 0
            and (self.count - 1) * self.stride + self.taps <= self.n
        )

    def transposed(self) -> Dim:
        """Operand elements as results and windows as operand; tap t becomes tap ``taps - 1 - t``."""
        low = (self.taps - 1) * self.dilation - self.low
        return Dim(self.count, self.n, self.taps, self.base, low, self.stride, self.dilation)

    def integers(self) -> tuple[int, ...]:
        return (self.n, self.count, self.taps, self.stride, self.low, self.base, self.dilation)


@dataclass(frozen=True)
class WindowShape:
    """What a kernel is specialised on besides the combination."""

    dims: tuple[Dim, ...]  # only which of base, dilation are 1 counts, and taps where the window is written out
    written_out: tuple[int, ...] | None
    static_stride: int | None

    @property
    def key(self) -> tuple:
        return (tuple((d.base == 1, d.dilation == 1) for d in self.dims), self.written_out, self.static_stride)


class FrameDim:
    """A windowed dimension inside a kernel: its integers, constants where the kernel's key fixes them."""

    def __init__(self, b: KernelBuilder, d: int, like: Dim, static_stride: bool) -> None:
        names = ("n", "count", "taps", "stride", "low", "base", "dilation")
        frame = [b.integer(f"{name}{d}") for name in names]
        self.n, self.count, self.taps, self.low = frame[0], frame[1], frame[2], frame[4]
        self.stride: Expr = const(like.stride) if static_stride else frame[3]
        self.base: Expr = const(1) if like.base == 1 else frame[5]
        self.dilation: Expr = const(1) if like.dilation == 1 else frame[6]
        self.like = like

    def walk(self, b: KernelBuilder, o: Expr) -> Walk:
        """The taps of result ``o``."""
        first = b.let("first", o * self.stride - self.low)
        if self.like.plain:
            begin, end = maximum(first, 0), minimum(first + self.taps, self.n)
        elif self.like.dilation == 1:
            begin = maximum(ceil_div(first, self.base), 0)
            end = minimum(floor_div(first + self.taps - 1, self.base) + 1, self.n)
        elif self.like.base == 1:
            begin = maximum(ceil_div(-first, self.dilation), 0)
            end = minimum(ceil_div(self.n - first, self.dilation), self.taps)
        else:
            begin, end = const(0), self.taps
        return Walk(self, first, b.let("begin", begin), b.let("end", end))


@dataclass(frozen=True)
class Walk:
    """The taps of one result in one dimension: a loop over operand elements, or over taps where those are dilated."""

    dim: FrameDim
    first: Expr  # the position of tap 0 in the dilated operand
    begin: Expr
    end: Expr

    @contextmanager
    def taps(self, b: KernelBuilder) -> Iterator[tuple[Expr, Expr]]:
        """Loops over (operand element, tap)."""
        dim = self.dim
        if dim.like.dilation == 1:
            with b.for_("i", self.begin, self.end) as i:
                yield i, i * dim.base - self.first
            return
        with b.for_("t", self.begin, self.end) as t:
            position = b.let("position", self.first + t * dim.dilation)
            if dim.like.base == 1:
                yield position, t
                return
            i = b.let("i", position // dim.base)
            with b.if_((position >= 0) & (i * dim.base).eq(position) & (i < dim.n)):
                yield i, t


# ------------------------------------------------------------------------------------ combining


class Combine:
    """What a result does with the operand elements that it meets: a state of registers, and one step.

    ``sum max min``; ``argmax argmin`` (keeps the tap of the first extreme, NaN wins; ``extreme``: and what ``max`` or ``min``
    keeps); ``select`` (keeps the element at a given tap); ``scatter`` (adds the elements whose given tap is the one at which they
    are met).
    """

    def __init__(self, mode: str, dtype: np.dtype, extreme: bool = False) -> None:
        if dtypes.is_complex(dtype) and mode not in ("sum", "select", "scatter"):
            raise LoweringError(f"window {mode} of dtype {dtype}: complex numbers have no order")
        self.parts = 2 if dtypes.is_complex(dtype) else 1
        self.memory = u8 if dtypes.is_bool(dtype) else ty_of(dtype)
        self.mode = "max" if mode == "sum" and dtypes.is_bool(dtype) else mode
        if mode == "select":
            self.memory, self.parts = word_type(dtype)
        self.work = self.memory if mode == "select" else compute_type(self.memory)
        self.out = i32 if mode.startswith("arg") else self.memory
        self.positions = mode in ("select", "scatter")
        self.top = 1 if dtypes.is_bool(dtype) else None
        self.extreme = mode.removeprefix("arg") if extreme else None

    @property
    def state(self) -> tuple[Ty, ...]:
        if self.mode.startswith("arg"):
            return (self.work, i32, self.work) if self.extreme else (self.work, i32)
        return (self.work,) * self.parts

    def _identity(self) -> float | int:
        lowest = self.mode.endswith("max")
        if self.work.is_float:
            return -math.inf if lowest else math.inf
        if lowest:
            return -(1 << self.work.bits - 1) if self.work.kind == "i" else 0
        return self.top or (1 << self.work.bits - (self.work.kind == "i")) - 1

    def start(self, lanes: int) -> list[Expr]:
        if self.mode in ("sum", "select", "scatter"):
            return [Const(0, ty.vector(lanes)) for ty in self.state]
        least, none = Const(self._identity(), self.work.vector(lanes)), Const(-1, i32.vector(lanes))
        found: list[Expr] = [least, none, least]
        return found[: len(self.state)]

    def first(self, values: Sequence[Expr], tap: Expr) -> list[Expr] | None:
        """The state after meeting the first element of a window of which no tap lies outside, if that is what it met."""
        if self.mode.startswith("arg"):
            return [values[0], tap, values[0]][: len(self.state)]
        return list(values) if self.mode in ("max", "min") else None

    def step(
        self, state: Sequence[Expr], values: Sequence[Expr], tap: Expr, position: Expr | None, later: bool = False
    ) -> list[Expr]:
        """The state after meeting ``values`` at ``tap`` (an i32); ``position`` is the given tap.  ``later``: the state knows an
        element."""
        if self.mode == "sum":
            return [s + v for s, v in zip(state, values)]
        if self.mode in ("max", "min"):
            return [op_(self.mode, state[0], values[0])]
        if self.mode == "select":
            assert position is not None
            return [select(position.eq(tap), v, s) for s, v in zip(state, values)]
        if self.mode == "scatter":
            assert position is not None
            return [s + select(position.eq(tap), v, Const(0, v.ty)) for s, v in zip(state, values)]
        best, at, *extreme = state
        (v,) = values
        if self.work.is_float:
            better = ~(v <= best if self.mode == "argmax" else v >= best) & best.eq(best)
        else:
            better = v > best if self.mode == "argmax" else v < best
        if not later:
            better = better | (at < 0)
        return [select(better, v, best), select(better, tap, at), *(op_(str(self.extreme), e, v) for e in extreme)]

    def finish(self, state: Sequence[Expr]) -> list[Expr]:
        """What is stored in ``out``."""
        if self.mode.startswith("arg"):
            return [maximum(state[1], 0)]
        return [s.cast(self.memory.vector(s.ty.lanes)) for s in state]


class Buffers:
    """The kernel's arrays, and how a combination reads and writes them."""

    def __init__(self, b: KernelBuilder, combine: Combine) -> None:
        self.b, self.combine = b, combine
        self.x = b.pointer("x", combine.memory)
        self.taps = b.pointer("positions", i32) if combine.positions else None
        self.out = b.pointer("out", combine.out)
        self.extreme = b.pointer("extreme", combine.memory) if combine.extreme else None

    def given(self, index: Expr, lanes: int) -> Expr | None:
        """The tap that is given for an element, if taps are."""
        return self.b.let("given", self.b.load(self.taps, index, lanes)) if self.taps else None

    def load(self, i: Expr, lanes: int) -> list[Expr]:
        """The parts of operand element ``i``, as they are combined."""
        parts, work = self.combine.parts, self.combine.work.vector(lanes)
        return [self.b.load(self.x, i * parts + k if parts > 1 else i, lanes).cast(work) for k in range(parts)]

    def meet(
        self, state: Sequence[Expr] | None, values: Sequence[Expr], tap: Expr, given: Expr | None, lanes: int, later: bool = False,
    ) -> list[Expr]:  # fmt: skip
        """The state after meeting ``values``; ``given`` is the tap that a ``select`` or ``scatter`` looks for.

        state: None before the first element of a window of which no tap lies outside; ``later``: behind it.
        """
        tap = tap.cast(i32).splat(lanes)
        if state is None:
            started = self.combine.first(values, tap)
            return started or self.combine.step(self.combine.start(lanes), values, tap, given)
        return self.combine.step(state, values, tap, given, later)

    def step(
        self, state: Sequence[Expr] | None, i: Expr, tap: Expr, given: Expr | None, lanes: int, later: bool = False
    ) -> list[Expr]:
        """The state after meeting operand element ``i``."""
        given = self.given(i, lanes) if self.combine.mode == "scatter" else given
        return self.meet(state, self.load(i, lanes), tap, given, lanes, later)

    def store(self, index: Expr, state: Sequence[Expr]) -> None:
        values = self.combine.finish(state)
        for k, v in enumerate(values):
            self.b.store(self.out, index * len(values) + k if len(values) > 1 else index, v)
        if self.extreme:
            self.b.store(self.extreme, index, state[2].cast(self.combine.memory.vector(state[2].ty.lanes)))


def flat_tap(combine: Combine, dims: Sequence[FrameDim], taps: Sequence[Expr]) -> Expr:
    """The row-major position in the window; transposed loops count each dimension's taps from the other end."""
    flat: Expr = const(0)
    for dim, t in zip(dims, taps):
        flat = flat * dim.taps + (dim.taps - 1 - t if combine.mode == "scatter" else t)
    return flat


def nest(
    b: KernelBuilder, combine: Combine, walks: Sequence[Walk], offset: Expr, leaf: Callable[[Expr, list[Expr]], None]
) -> None:
    """Loops over the taps of all ``walks``; ``leaf(operand row-major index, taps)``."""

    def level(d: int, offset: Expr, taps: list[Expr]) -> None:
        if d == len(walks):
            leaf(offset, taps)
            return
        with walks[d].taps(b) as (i, t):
            level(d + 1, b.let("at", offset * walks[d].dim.n + i), [*taps, b.let("tap", t)])

    level(0, offset, [])


def interior(walks: Sequence[Walk]) -> Expr:
    """Whether every tap lies inside the operand."""
    return functools.reduce(operator.and_, [(w.first >= 0) & (w.first + w.dim.taps <= w.dim.n) for w in walks])
