"""Whether many small matrices are factorised and solved in lanes (``kernels/small_matrices.py``); LAPACK has the others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fx import dtypes

from ..cost import chunk_for
from ..kernels.small_matrices import cholesky_kernel, lu_kernel, triangular_solve_kernel
from ..loop_ir import Kernel, Ty
from .lapack_kernel import as_rows, uniform
from .registry import LowerContext, Operand
from .types import ty_of

__all__ = ["cholesky_in_lanes", "lu_in_lanes", "triangular_solve_in_lanes"]

_LARGEST = 16  # rows, and columns of a right-hand side
_FLOPS_A_NS = 1.0


def _lanes(ctx: LowerContext, like: Operand, *sizes: int) -> int:
    """How many matrices side by side; 0 where that does not pay."""
    if not dtypes.is_float(like.dtype) or like.dtype.itemsize < 4 or any(n > _LARGEST or n < 1 for n in sizes):
        return 0
    lanes = ctx.host.lanes(ty_of(like.dtype))
    return lanes if lanes > 1 and math.prod(like.shape[:-2]) >= lanes else 0


def _run(
    ctx: LowerContext, name: str, variant: tuple, make: Callable[[Ty, int], Kernel], lanes: int, ins: tuple[Operand, ...],
    outs: tuple[Operand, ...], sizes: tuple[int, ...], vectors: int, flops: int,
) -> None:  # fmt: skip
    dtype: np.dtype = ins[0].dtype
    total = math.prod(outs[0].shape[:-2])
    each = -(-vectors * lanes * dtype.itemsize // 64) * 64
    scratch = ctx.scratch(each, per_worker=True)
    args: list[Any] = [scratch, each // dtype.itemsize, total]
    for x in (*ins, *outs):
        x, batch = uniform(ctx, x)
        args += [x, batch, x.strides[-2], x.strides[-1]]
    kernel = ctx.kernel((name, dtype.name, lanes, *variant), lambda: make(ty_of(dtype), lanes))
    groups = -(-total // lanes)
    size = sum(x.size * x.dtype.itemsize for x in (*ins, *outs))
    ctx.step(
        kernel, (*args, *sizes), groups, chunk_for(groups, lanes * (flops / _FLOPS_A_NS + vectors)), f"{name} (in lanes)",
        flops=flops * total, nbytes=size, reads=ins, writes=(*outs, scratch),
    )  # fmt: skip


def lu_in_lanes(ctx: LowerContext, a: Operand, out: Operand, pivots: Operand) -> bool:
    m, n = a.shape[-2:]
    lanes = _lanes(ctx, a, m, n)
    if not lanes or m != n:
        return False
    _run(ctx, "lu", (), lu_kernel, lanes, (a,), (out, as_rows(pivots)), (n,), n * n + n, n**3)
    return True


def cholesky_in_lanes(ctx: LowerContext, a: Operand, out: Operand) -> bool:
    n = a.shape[-1]
    lanes = _lanes(ctx, a, n)
    if not lanes:
        return False
    _run(ctx, "cholesky", (), cholesky_kernel, lanes, (a,), (out,), (n,), n * n, n**3 // 3 + n * n)
    return True


def triangular_solve_in_lanes(
    ctx: LowerContext, a: Operand, rhs: Operand, out: Operand, left: bool, lower: bool, transpose: bool, unit: bool
) -> bool:
    rows, columns = rhs.shape[-2:]
    n = a.shape[-1]
    lanes = _lanes(ctx, rhs, n, rows, columns)
    if not lanes:
        return False
    variant = (left, lower, transpose, unit)
    _run(
        ctx, "triangular_solve", variant, lambda real, lanes: triangular_solve_kernel(real, lanes, *variant), lanes, (a, rhs),
        (out,), (n, rows, columns), n * n + rows * columns, rows * columns * n + n * n,
    )  # fmt: skip
    return True
