"""Kernels around LAPACK: a loop over the batch that packs a matrix, calls routines and unpacks the results.

Fortran wants every argument by address, matrices column by column, and behind the arguments the length of each character
argument.  Integers lie in 64-bit words: a library with 32-bit integers reads the lower half, which on a little-endian
machine comes first.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fx import dtypes

from ..cost import chunk_for
from ..lapack import Routine, guard, routine
from ..loop_builder import KernelBuilder
from ..loop_ir import Const, Expr, Kernel, Place, Ref, Ty, i64, maximum, minimum, select, u8
from .loops import coalesce, const
from .registry import Address, Foreign, LowerContext, Operand
from .types import ty_of

__all__ = ["Job", "Writer", "as_rows", "find", "letter", "run", "uniform"]

_INTS, _INFO = 24, 23  # words for integer arguments; the last is INFO
_FEW = 4  # so many matrices have work arrays of their own
_FLOPS_PER_NS = 4.0  # of LAPACK on small matrices, for the choice of pieces


def letter(dtype: np.dtype) -> str:
    """The first letter of the names of the routines for a dtype."""
    return {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}[dtype.name]


def find(dtype: np.dtype, *names: str) -> tuple[Routine, ...] | None:
    """The routines of these names for a dtype; ``orgqr`` is ``ungqr`` and ``syevd`` is ``heevd`` for complex numbers."""
    unitary = {"orgqr": "ungqr", "syevd": "heevd"} if dtypes.is_complex(dtype) else {}
    found = tuple(routine(letter(dtype) + unitary.get(n, n)) for n in names)
    return None if None in found else found  # type: ignore[return-value]


@dataclass(frozen=True)
class Matrices:
    """A batch of matrices (or of vectors) as a kernel sees it: all numbers count elements of ``dtype``."""

    pointer: str
    ty: Ty
    words: int  # 2 for complex numbers
    batch: Expr
    row: Expr
    column: Expr

    def at(self, k: Expr, i: Any = 0, j: Any = 0) -> Expr:
        return (k * self.batch + i * self.row + j * self.column) * self.words


@dataclass(frozen=True)
class Work:
    """Memory for one matrix: the part that belongs to the worker or, if there are few matrices, to the matrix."""

    pointer: str
    each_worker: Expr
    each_matrix: Expr
    start: Expr


class Writer:
    """Writes the body of such a kernel.

    Attributes:
        b: the builder.
        k: the number of the matrix.
        call_: for each routine the reference to its address, by position.
        ins, outs, works, sizes: as in ``Job``, by name for the last two.
    """

    def __init__(self, b: KernelBuilder, job: Job) -> None:
        self.b, self.words = b, 2 if dtypes.is_complex(job.dtype) else 1
        self.real = ty_of(dtypes.real_dtype(job.dtype))
        self.enter, self.leave = b.integer("enter"), b.integer("leave")
        self.routines = [b.integer(r.name) for r in job.routines]
        self.ins = [self._matrices(f"in{i}", x.dtype) for i, x in enumerate(job.ins)]
        self.outs = [self._matrices(f"out{i}", x.dtype) for i, x in enumerate(job.outs)]
        self.works = {
            name: Work(
                b.pointer(name, ty), b.integer(f"{name}_each_worker"), b.integer(f"{name}_each_matrix"), const(0)
            )
            for name, (ty, _) in job.works.items()
        }
        self.sizes = {name: b.integer(name) for name in job.sizes}
        self.ints, self.chars = b.alloc("ints", i64, _INTS), b.alloc("chars", u8, 8)
        self.k: Expr = const(0)

    def begin(self, k: Expr) -> None:
        """What follows is about matrix k."""
        self.k = k
        for name, x in self.works.items():
            start = self.b.let(f"{name}_start", self.b.worker * x.each_worker + k * x.each_matrix)
            self.works[name] = dataclasses.replace(x, start=start)

    def _matrices(self, name: str, dtype: np.dtype) -> Matrices:
        words, ty = (2, ty_of(dtypes.real_dtype(dtype))) if dtypes.is_complex(dtype) else (1, ty_of(dtype))
        p = self.b.pointer(name, ty)
        return Matrices(p, ty, words, *[self.b.integer(f"{name}_{what}") for what in ("batch", "row", "column")])

    def size(self, name: str) -> Ref:
        return self.sizes[name]

    # ------------------------------------------------------------------------------- Fortran calls

    def call(self, which: int, *args: Any) -> Expr:
        """Calls a routine; returns its INFO.

        Args:
            args: a work array by name, any other string being a character; an integer; a Place; None for INFO, and
                ``...`` for a null pointer.
        """
        b, chars, ints = self.b, 0, 0
        given: list[Any] = []
        for a in args:
            if isinstance(a, str) and a in self.works:
                given.append(self.place(a))
            elif isinstance(a, str):
                b.store(self.chars, chars, ord(a))
                given.append(b.place(self.chars, chars))
                chars += 1
            elif a is None:
                b.store(self.ints, _INFO, const(0))
                given.append(b.place(self.ints, _INFO))
            elif a is ...:
                given.append(const(0))
            elif isinstance(a, Place):
                given.append(a)
            else:
                b.store(self.ints, ints, a)
                given.append(b.place(self.ints, ints))
                ints += 1
        b.call(self.routines[which], *given, *[const(1)] * chars)
        return b.let("info", b.load(self.ints, _INFO))

    def place(self, work: str, offset: Any = 0) -> Place:
        w = self.works[work]
        return self.b.place(w.pointer, w.start + offset)

    def load(self, work: str, index: Any) -> Expr:
        w = self.works[work]
        return self.b.load(w.pointer, w.start + index)

    def store(self, work: str, index: Any, value: Any) -> None:
        w = self.works[work]
        self.b.store(w.pointer, w.start + index, value)

    # ------------------------------------------------------------------------------ moving matrices

    def pack(
        self, work: str, source: Matrices, rows: Any, columns: Any, keep: str = "all", check: bool = False
    ) -> Expr:
        """Copies a matrix into a work array, column by column.

        Args:
            keep: 'all'; 'lower' or 'upper': elements of the other triangle are mirrored; 'triu': they are zero.
            check: see the result.

        Returns:
            Whether all elements that were read are finite (with ``check``; else True).
        """
        b = self.b
        odd = b.var("odd", Const(0.0, self.real)) if check else None
        with b.for_("j", const(0), _count(columns)) as j, b.for_("i", const(0), _count(rows)) as i:
            row: Expr = i
            column: Expr = j
            if keep in ("lower", "upper"):
                row, column = (maximum(i, j), minimum(i, j)) if keep == "lower" else (minimum(i, j), maximum(i, j))
            start = b.let("from_", source.at(self.k, row, column))
            to = b.let("to", (j * rows + i) * self.words)
            for part in range(self.words):
                v: Expr = b.let("v", b.load(source.pointer, start + part).cast(self.real))
                if keep == "triu":
                    v = select(i > j, Const(0.0, self.real), v)
                self.store(work, to + part, v)
                if odd is not None:
                    b.assign(odd, odd + v * 0.0)
        return odd.eq(0.0) if odd is not None else Const(True, Ty("b", 1))

    def unpack(self, target: Matrices, work: str, rows: Any, columns: Any, ld: Any, keep: str = "all") -> None:
        """Copies a matrix out of a work array with ``ld`` rows; ``keep='triu'``: zeros below the diagonal."""
        b = self.b
        with b.for_("i", const(0), _count(rows)) as i, b.for_("j", const(0), _count(columns)) as j:
            start, to = b.let("from_", (j * ld + i) * self.words), b.let("to", target.at(self.k, i, j))
            for part in range(self.words):
                v = self.load(work, start + part).cast(target.ty)
                b.store(target.pointer, to + part, select(i > j, Const(0.0, target.ty), v) if keep == "triu" else v)

    def unpack_vector(self, target: Matrices, work: str, n: Any) -> None:
        """Copies n elements out of a work array; those of a real target are real."""
        b = self.b
        with b.for_("i", const(0), _count(n)) as i:
            for part in range(target.words):
                v = self.load(work, i * target.words + part).cast(target.ty)
                b.store(target.pointer, target.at(self.k, 0, i) + part, v)

    def fill(self, target: Matrices, rows: Any, columns: Any, value: float) -> None:
        b = self.b
        with b.for_("i", const(0), _count(rows)) as i, b.for_("j", const(0), _count(columns)) as j:
            for part in range(target.words):
                b.store(target.pointer, target.at(self.k, i, j) + part, Const(value, target.ty))

    @contextmanager
    def otherwise_nan(self, good: Expr, *targets: tuple[Matrices, Any, Any]) -> Iterator[None]:
        """The block runs if ``good``; else the targets (with their rows and columns) become NaN."""
        with self.b.if_(good):
            yield
        with self.b.else_():
            for target, rows, columns in targets:
                self.fill(target, rows, columns, math.nan)


def _count(n: Any) -> Expr:
    return const(n) if isinstance(n, int) else n


@dataclass(frozen=True)
class Job:
    """What such a kernel works on.

    Attributes:
        name: of the operation.
        variant: what the kernel's text depends on besides the dtype.
        dtype: of the matrices.
        routines: that it calls, in the order of ``Writer.call``'s numbers.
        ins, outs: operands of matrices; vectors are matrices of one row.
        works: for each work array its type and its length.
        sizes: integers that the body reads.
        flops: for one matrix.
    """

    name: str
    variant: tuple[Hashable, ...]
    dtype: np.dtype
    routines: tuple[Routine, ...]
    ins: tuple[Operand, ...]
    outs: tuple[Operand, ...]
    works: dict[str, tuple[Ty, int]]
    sizes: dict[str, int]
    flops: float


def as_rows(x: Operand) -> Operand:
    """Vectors as matrices of one row."""
    return dataclasses.replace(x, shape=(*x.shape[:-1], 1, x.shape[-1]), strides=(*x.strides[:-1], 0, x.strides[-1]))


def uniform(ctx: LowerContext, x: Operand) -> tuple[Operand, int]:
    """The operand, copied if need be so that its batch dimensions are one, and that dimension's stride."""
    outer = coalesce(list(zip(x.shape[:-2], x.strides[:-2])))
    if len(outer) > 1:
        x = ctx.contiguous(x)
        outer = coalesce(list(zip(x.shape[:-2], x.strides[:-2])))
    return x, outer[0][1] if outer else 0


def run(ctx: LowerContext, job: Job, body: Callable[[Writer], None]) -> None:
    """Appends the step that runs ``body`` for every matrix of the batch."""
    guards, total = guard(), math.prod(job.outs[0].shape[:-2])
    args: list[Any] = [*map(Foreign, (guards.enter, guards.leave, *(r.address for r in job.routines)))]
    for x in (*job.ins, *job.outs):
        x, batch = uniform(ctx, x)
        args += [x, batch, x.strides[-2], x.strides[-1]]
    scratch: list[Address] = []
    for ty, length in job.works.values():
        each = -(-max(length, 1) * ty.itemsize // 64) * 64
        few = total <= _FEW  # memory for all workers would be much more than that for all matrices
        scratch.append(ctx.scratch(each * total if few else each, per_worker=not few))
        args += [scratch[-1], *((0, each // ty.itemsize) if few else (each // ty.itemsize, 0))]
    args += job.sizes.values()
    key = ("lapack", job.name, job.ins[0].dtype.name, job.dtype.name, *job.variant, *(r.bits for r in job.routines))
    kernel = ctx.kernel(key, lambda: _build(job, body))
    title = f"{job.name} ({', '.join(map(str, job.routines))})"
    size = sum(math.prod(x.shape) * x.dtype.itemsize for x in (*job.ins, *job.outs))
    chunk = chunk_for(total, max(job.flops / _FLOPS_PER_NS, 200.0))
    ctx.step(
        kernel, tuple(args), total, chunk, title, flops=round(job.flops * total), nbytes=size, reads=job.ins,
        writes=(*job.outs, *scratch),
    )  # fmt: skip


def _build(job: Job, body: Callable[[Writer], None]) -> Kernel:
    b = KernelBuilder(job.name)
    w = Writer(b, job)
    b.call(w.enter)
    with b.for_("k", b.lo, b.hi) as k:
        w.begin(k)
        body(w)
    b.call(w.leave)
    return b.build()
