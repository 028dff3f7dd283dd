"""``dot_general``: every matrix product is a strided contraction (``contract.py``); nothing is transposed first."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fx import dtypes
from fx.ir import Eqn

from ..kernels.microkernel import Epilogue
from ..loop_ir import Ty, f32, f64, i32, i64
from .contract import contract, fits
from .contraction import Array, Contraction, Dims
from .loops import dense_strides
from .registry import LowerContext, Operand, lowers_product
from .types import ty_of

__all__ = ["array_of", "sum_type"]


def sum_type(operand: np.dtype, result: np.dtype) -> Ty:
    """The type in which products of ``operand`` are added up for a result of dtype ``result``.

    float16 and bfloat16 add up in float32; integers wrap, so narrow ones may add up in 32 bits; booleans are counted.
    """
    if dtypes.is_inexact(operand) or dtypes.is_inexact(result):
        wide = any(dtypes.real_dtype(d) == dtypes.float64 for d in (operand, result))
        return f64 if wide else f32
    return i64 if max(operand.itemsize, result.itemsize) == 8 else i32


def array_of(x: Operand) -> Array:
    return Array(x, ty_of(x.dtype))


@dataclass(frozen=True, slots=True)
class _Matrix:
    """An operand with its dimensions in three groups, each (size, stride)."""

    operand: Operand
    batch: Dims
    free: Dims
    contracting: Dims

    @staticmethod
    def of(x: Operand, contracting: tuple[int, ...], batch: tuple[int, ...]) -> _Matrix:
        dims = tuple(zip(x.shape, x.strides))
        free = tuple(d for i, d in enumerate(dims) if i not in contracting and i not in batch)
        return _Matrix(x, tuple(dims[i] for i in batch), free, tuple(dims[i] for i in contracting))

    def dense(self, ctx: LowerContext) -> _Matrix:
        """A copy that is dense in the order batch, free, contracting: every group is one dimension."""
        dims = (*self.batch, *self.free, *self.contracting)
        shape = tuple(n for n, _ in dims)
        copy = ctx.contiguous(replace(self.operand, shape=shape, strides=tuple(s for _, s in dims)))
        dims = tuple(zip(shape, dense_strides(shape)))
        nb, nf = len(self.batch), len(self.free)
        return _Matrix(copy, dims[:nb], dims[nb : nb + nf], dims[nb + nf :])


def _contraction(a: _Matrix, b: _Matrix, out: Operand) -> Contraction:
    pairs = dtypes.is_complex(out.dtype)
    unit = 2 if pairs else 1  # strides count reals
    c = [s * unit for s in out.strides]
    nb, na = len(a.batch), len(a.free)
    return Contraction(
        batch=tuple((n, s * unit, t * unit, u) for (n, s), (_, t), u in zip(a.batch, b.batch, c)),
        rows=tuple((n, s * unit, u) for (n, s), u in zip(a.free, c[nb:])),
        cols=tuple((n, t * unit, u) for (n, t), u in zip(b.free, c[nb + na :])),
        ks=tuple((n, s * unit, t * unit) for (n, s), (_, t) in zip(a.contracting, b.contracting)),
        compute=sum_type(a.operand.dtype, out.dtype),
        pairs=pairs,
    )


def _untransposed(out: Operand, permutation: tuple[int, ...]) -> Operand:
    """The result in the order of the dimensions before it is transposed."""
    order = sorted(range(len(permutation)), key=permutation.__getitem__)
    return replace(out, shape=tuple(out.shape[i] for i in order), strides=tuple(out.strides[i] for i in order))


@lowers_product("dot_general")
def dot_general(
    ctx: LowerContext, eqn: Eqn, ins: tuple[Operand, ...], outs: tuple[Operand, ...], epilogue: Epilogue | None
) -> bool:
    """Result dimensions: batch, free dimensions of lhs, free dimensions of rhs; or these transposed by ``permutation``, where
    the planner says so.  Returns whether it took the epilogue."""
    (lhs, rhs), (out,) = ins, outs
    if "permutation" in eqn.params:
        out = _untransposed(out, eqn.params["permutation"])
    contracting, batch = eqn.params["dimension_numbers"]
    a, b = _Matrix.of(lhs, contracting[0], batch[0]), _Matrix.of(rhs, contracting[1], batch[1])
    problem = _contraction(a, b, out)
    if not fits(problem):
        a, b = a.dense(ctx), b.dense(ctx)
        problem = _contraction(a, b, out)
    return contract(ctx, "dot_general", problem, array_of(a.operand), array_of(b.operand), array_of(out), epilogue)
