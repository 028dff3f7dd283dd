"""Which of the kernels in ``kernels/fft.py`` runs a transform of complex numbers; ``fft`` asks NumPy's loops for the others."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

from fx import dtypes
from fx.sizes import late, smallest

from ..cost import chunk_for, halvings
from ..kernels.fft import (
    POWERS_OF_TWO,
    RADICES,
    FourierSpec,
    across_kernel,
    columns_kernel,
    lanes_kernel,
    roots_kernel,
    rows_kernel,
    whole_kernel,
)
from ..kernels.fft_real import real_kernel
from ..loop_ir import Ty, f64
from .registry import Address, LowerContext, Operand
from .types import ty_of

__all__ = ["in_vectors", "real_in_vectors"]

_LONGEST_IN_LANES = 1 << 9  # numbers of rows that lie in a lane each
_LONGEST_ALONE = 1 << 14  # numbers of a row that one worker transforms
_LONGEST_BESIDE = 1 << 13  # numbers of a transform whose lanes are neighbours in memory
_FLOPS_A_NS = 5.0  # fewer than the 10 to 25 that were measured: work of ten microseconds gains from being cut in two
_PIECE = 1 << 12  # pairs of numbers that are taken apart at once


@dataclass(frozen=True)
class _Roots:
    """The powers that transforms multiply by: see ``roots_kernel``."""

    roots: Address
    tables: Address
    at: int  # words before those of ``Powers``
    order: int
    low_bits: int


@dataclass(frozen=True)
class _Side:
    """Where rows begin: words from one to the next, of ``inner`` ones, and from one outer index to the next."""

    array: Operand | Address
    row: int
    outer: int


def in_vectors(
    ctx: LowerContext, x: Operand, out: Operand, axis: int, rows: list[tuple[int, ...]], inverse: bool
) -> bool:
    """Lowers a transform between complex arrays of the same length; False where none of these kernels fits.

    rows: the dimensions beside ``axis`` as (size, stride, stride of the result), two of them.
    """
    real = ty_of(dtypes.real_dtype(x.dtype))
    n, lanes = x.shape[axis], ctx.host.lanes(real)
    if lanes < 2 or late(_largest_factor, n) > 5:
        return False
    spec = _spec(real, lanes, n)
    if x.strides[axis] == out.strides[axis] == 1:
        (outer, x_outer, out_outer), (inner, x_row, out_row) = rows
        factors = _factors(n, outer * inner, lanes)
        if factors is not None:
            sides = _Side(x, 2 * x_row, 2 * x_outer), _Side(out, 2 * out_row, 2 * out_outer)
            _rows(ctx, spec, _roots(ctx, spec, *factors, n), *sides, factors, outer, inner, inverse)
            return True
    elif rows[1][1:] == (1, 1) and rows[1][0] >= lanes and n <= _LONGEST_BESIDE:
        _beside(ctx, spec, x, out, axis, rows, inverse)
        return True
    return False


def real_in_vectors(
    ctx: LowerContext, x: Operand, out: Operand, axis: int, rows: list[tuple[int, ...]], inverse: bool
) -> bool:
    """The same from real rows of even length to half of their transforms, or back; False where none of these kernels fits."""
    whole, half = (out, x) if inverse else (x, out)
    real = ty_of(whole.dtype)
    n, lanes = whole.shape[axis], ctx.host.lanes(real)
    if lanes < 2 or x.strides[axis] != 1 or out.strides[axis] != 1 or n % 2:
        return False
    m = n // 2
    (outer, *outer_steps), (inner, *inner_steps) = rows
    factors = _factors(m, outer * inner, lanes)
    if late(_largest_factor, m) > 5 or factors is None:
        return False
    spec = _spec(real, lanes, m)
    (x_outer, out_outer), (x_row, out_row) = (
        tuple(step * (2 if a is half else 1) for step, a in zip(steps, (x, out)))
        for steps in (outer_steps, inner_steps)
    )
    source, target = _Side(x, x_row, x_outer), _Side(out, out_row, out_outer)
    r = _roots(ctx, spec, *factors, n)
    if not inverse:
        _rows(ctx, spec, r, source, target, factors, outer, inner, inverse)
        _real(ctx, spec, r, target, target, m, outer, inner, inverse)
        return True
    packed = _Side(_scratch(ctx, spec, n * outer * inner), n, n * inner)
    _real(ctx, spec, r, source, packed, m, outer, inner, inverse)
    _rows(ctx, spec, r, packed, target, factors, outer, inner, inverse)
    return True


def _real(
    ctx: LowerContext, spec: FourierSpec, r: _Roots, x: _Side, out: _Side, m: int, outer: int, inner: int, inverse: bool
) -> None:
    pieces = -(-(m // 2 + 1) // _PIECE)
    any_length = FourierSpec(spec.real, spec.lanes)
    kernel = ctx.kernel(("fft_real", any_length, inverse), lambda: real_kernel(any_length, inverse))
    args = (
        x.array, out.array, r.at, r.roots, r.order, r.low_bits, m, inner, pieces, _PIECE, x.row, x.outer, out.row, out.outer,
    )  # fmt: skip
    total, each = outer * inner * pieces, smallest(m // 2 + 1, _PIECE)
    ctx.step(
        kernel, args, total, chunk_for(total, each * 2.0), "fft (real)", flops=10 * m * outer * inner,
        nbytes=4 * m * outer * inner * spec.real.itemsize, reads=(x.array, r.roots), writes=(out.array,),
    )  # fmt: skip


def _spec(real: Ty, lanes: int, n: Any) -> FourierSpec:
    return FourierSpec(real, lanes, POWERS_OF_TWO if late(_is_power_of_two, n, at_least=0) > 0 else RADICES)


def _is_power_of_two(n: int) -> int:
    return int(n & (n - 1) == 0)


def _largest_factor(n: int) -> int:
    """6 for any that is larger than 5."""
    for r in (2, 3, 5):
        while n % r == 0 and n > 1:
            n //= r
    return 6 if n != 1 else 1


def _first_factor(n: int, lanes: int) -> int:
    """The largest factor that is no larger than the square root; 0 if it is smaller than the number of lanes."""
    best = next(k for k in range(math.isqrt(n), 0, -1) if n % k == 0)
    return best if best >= lanes else 0


def _factors(n: int, rows: int, lanes: int) -> tuple[int, int] | None:
    """The lengths of the two steps of a row; n and 0 where rows go into lanes; None where neither fits."""
    if n <= _LONGEST_IN_LANES and rows >= lanes:
        return n, 0
    n1 = late(_first_factor, n, lanes, at_least=0)
    return (n1, n // n1) if n1 > 0 else None


def _low_bits(n: int, lanes: int) -> int:
    """Half of the bits of n; or more, so that there is a fine power for each lane."""
    return max(n.bit_length() // 2, lanes.bit_length() - 1)


def _scratch(ctx: LowerContext, spec: FourierSpec, words: int, per_worker: bool = False) -> Address:
    return ctx.scratch(-(-words * spec.real.itemsize // 64) * 64, per_worker)


def _roots(ctx: LowerContext, spec: FourierSpec, n1: int, n2: int, order: int) -> _Roots:
    """For steps of n1 and n2 numbers, or one of n1, and all powers of w_order; 0 leaves these out."""
    vector = ctx.host.lanes(f64)
    turned = n1 if n2 else 0
    low_bits = late(_low_bits, order, spec.lanes) if order else 0
    count = n1 + n2 + (late(_powers, order, spec.lanes) if order else 0)
    roots = ctx.scratch(-(-(count + vector) * 16 // 64) * 64)
    tables = _scratch(ctx, spec, 2 * (n1 + n2) + 2 * spec.lanes * turned)
    kernel = ctx.kernel(
        ("fft_roots", spec.real, spec.lanes, vector), lambda: roots_kernel(spec.real, spec.lanes, vector)
    )
    args = (roots, tables, n1, n2, turned, order, low_bits)
    ctx.step(kernel, args, 1, 1, "fft (roots of unity)", flops=count * 100, writes=(roots, tables))
    return _Roots(roots, tables, 2 * (n1 + n2), order, low_bits)


def _powers(n: int, lanes: int) -> int:
    low_bits = _low_bits(n, lanes)
    return (n >> low_bits) + 1 + (1 << low_bits)


def _beside(
    ctx: LowerContext,
    spec: FourierSpec,
    x: Operand,
    out: Operand,
    axis: int,
    rows: list[tuple[int, ...]],
    inverse: bool,
) -> None:
    n, ((outer, x_outer, out_outer), (inner, *_)) = x.shape[axis], rows
    tables = _roots(ctx, spec, n, 0, 0).tables
    words = 4 * spec.lanes * n
    work = _scratch(ctx, spec, words, per_worker=True)
    kernel = ctx.kernel(("fft_lanes", spec), lambda: lanes_kernel(spec))
    blocks = -(-inner // spec.lanes)
    flops = 5 * n * halvings(n)
    args = (
        x, out, work, tables, words, int(inverse), n, inner, blocks, 2 * x.strides[axis], 2 * x_outer, 2 * out.strides[axis], 2 * out_outer,
    )  # fmt: skip
    total = outer * blocks
    ctx.step(
        kernel, args, total, chunk_for(total, flops * spec.lanes / _FLOPS_A_NS), "fft (beside each other)",
        flops=flops * outer * inner, nbytes=2 * x.size * x.dtype.itemsize, reads=(x, tables), writes=(out, work),
    )  # fmt: skip


def _rows(
    ctx: LowerContext,
    spec: FourierSpec,
    r: _Roots,
    x: _Side,
    out: _Side,
    factors: tuple[int, int],
    outer: int,
    inner: int,
    inverse: bool,
) -> None:
    """Transforms ``outer * inner`` contiguous rows of complex numbers."""
    n1, n2 = factors
    n, count = n1 * n2 if n2 else n1, outer * inner
    flops = 5 * n * halvings(n)
    ns = flops / _FLOPS_A_NS
    if not n2:
        work_size = 4 * spec.lanes * (-(-n // spec.lanes) * spec.lanes)
        work = _scratch(ctx, spec, work_size, per_worker=True)
        kernel = ctx.kernel(("fft_rows", spec), lambda: rows_kernel(spec))
        groups = -(-count // spec.lanes)
        args = (
            x.array, out.array, work, r.tables, work_size, int(inverse), n, count, inner, x.row, x.outer, out.row, out.outer,
        )  # fmt: skip
        ctx.step(
            kernel, args, groups, chunk_for(groups, ns * spec.lanes), "fft (rows)", flops=flops * count,
            nbytes=4 * n * count * spec.real.itemsize, reads=(x.array, r.tables), writes=(out.array, work),
        )  # fmt: skip
        return
    columns, blocks = -(-n2 // spec.lanes), -(-n1 // spec.lanes)
    work_size, between_size = 4 * spec.lanes * n2, 2 * columns * blocks * spec.lanes**2
    work = _scratch(ctx, spec, work_size, per_worker=True)
    alone = n <= _LONGEST_ALONE
    between = _scratch(ctx, spec, between_size * (1 if alone else count), per_worker=alone)
    common = (work, r.tables, work_size, int(inverse), n1, n2, r.roots, r.order, r.low_bits, between_size, inner)

    def step(make: Any, arrays: tuple, more: tuple, total: int, each: float, reads: tuple, writes: tuple) -> None:
        kind = make.__name__.removesuffix("_kernel")
        kernel = ctx.kernel((f"fft_{kind}", spec), functools.partial(make, spec))
        ctx.step(
            kernel, (*arrays, *common, *more), total, chunk_for(total, each), f"fft ({kind})",
            flops=flops * count // (1 if alone else 2), nbytes=4 * n * count * spec.real.itemsize,
            reads=(*reads, r.tables, r.roots), writes=(*writes, work),
        )  # fmt: skip

    source, target = (x.row, x.outer), (out.row, out.outer)
    if alone:
        step(
            whole_kernel, (x.array, out.array, between), (*source, *target), count, ns, (x.array,), (out.array, between)
        )
    else:
        step(columns_kernel, (x.array, between), source, count * columns, ns / 2 / columns, (x.array,), (between,))
        step(across_kernel, (between, out.array), target, count * blocks, ns / 2 / blocks, (between,), (out.array,))
