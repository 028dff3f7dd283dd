"""Products of ragged groups (``ragged_dot`` and its kin) and of scaled blocks (``scaled_dot``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import (
    DTypeError,
    ShapeError,
    UnsupportedArgumentError,
)
from ..primitives import elementwise as p
from ..primitives import shaping
from ..primitives.cumulative import cumsum
from ..primitives.helpers import zeros_like
from ..primitives.linalg import dot_general
from ..primitives.reductions import reduce_or
from ..trace import aval_of

__all__ = [
    "DotDimensionNumbers",
    "PrecisionLike",
    "RaggedDotDimensionNumbers",
    "ragged_dot",
    "ragged_dot_general",
    "scaled_dot",
]

Value = Any
Dims = tuple[int, ...]
DotDimensionNumbers = tuple[tuple[Sequence[int], Sequence[int]], tuple[Sequence[int], Sequence[int]]]
PrecisionLike = Any  # taken wherever JAX takes it: products are always computed at full precision


@dataclass(frozen=True)
class RaggedDotDimensionNumbers:
    """Which dimensions of ``ragged_dot_general`` are what.

    Args:
        dot_dimension_numbers: those of ``dot_general``: ((lhs contracting, rhs contracting), (lhs batch, rhs batch)).
        lhs_ragged_dimensions: the one dimension of the left operand that is cut into groups.
        rhs_group_dimensions: the dimension of the right operand that counts the groups, if the groups are rows.
    """

    dot_dimension_numbers: DotDimensionNumbers
    lhs_ragged_dimensions: Sequence[int]
    rhs_group_dimensions: Sequence[int]


def ragged_dot(
    lhs: Value, rhs: Value, group_sizes: Value, precision: PrecisionLike = None, preferred_element_type: Any = None,
    group_offset: Any = None, out_sharding: Any = None,
) -> Value:  # fmt: skip
    """A product in which each group of rows has a matrix of its own: the layer of a mixture of experts.

    The first ``group_sizes[0]`` rows of ``lhs`` are multiplied by ``rhs[0]``, the next by ``rhs[1]``, and so on; rows
    beyond the last group give zero.

    Args:
        lhs: (m, k).  rhs: (g, k, n).  group_sizes: (g,) integers.

    Returns:
        (m, n)

    >>> import numpy as np
    >>> ragged_dot(np.ones((3, 1)), np.array([[[1.0]], [[5.0]]]), np.array([1, 2])).tolist()
    [[1.0], [5.0], [5.0]]
    """
    numbers = RaggedDotDimensionNumbers((((1,), (1,)), ((), ())), (0,), (0,))
    return ragged_dot_general(lhs, rhs, group_sizes, numbers, precision, preferred_element_type, group_offset)


def ragged_dot_general(
    lhs: Value, rhs: Value, group_sizes: Value, ragged_dot_dimension_numbers: RaggedDotDimensionNumbers,
    precision: PrecisionLike = None, preferred_element_type: Any = None, group_offset: Any = None, out_sharding: Any = None,
) -> Value:  # fmt: skip
    """A product with one dimension of ``lhs`` cut into groups of the sizes ``group_sizes``.

    Where that dimension is neither contracted nor a batch, each group meets a part of ``rhs`` of its own (as in
    ``ragged_dot``); where it is contracted, there is one product for each group, along a new first dimension; where it is a
    batch, what lies beyond the last group gives zero.

    Args:
        group_sizes: (g,) integers; or one such vector for each position in the batch and in the dimensions of the
            ragged one's kind that stand before it.
        ragged_dot_dimension_numbers: see ``RaggedDotDimensionNumbers``.
    """
    if group_offset is not None:
        raise UnsupportedArgumentError(
            "ragged_dot with group_offset=: pass the groups from the offset on in rhs and group_sizes"
        )
    numbers = ragged_dot_dimension_numbers
    (l_contract, r_contract), (l_batch, r_batch) = [
        [[int(d) for d in dims] for dims in pair] for pair in numbers.dot_dimension_numbers
    ]
    if len(numbers.lhs_ragged_dimensions) != 1:
        raise ShapeError(f"lhs has one ragged dimension; found {tuple(numbers.lhs_ragged_dimensions)}")
    ragged, shape = int(numbers.lhs_ragged_dimensions[0]), aval_of(lhs).shape
    if not dtypes.is_integer(aval_of(group_sizes).dtype):
        raise DTypeError(f"group_sizes are integers; found {aval_of(group_sizes).dtype}")
    up = lambda dims: [d + 1 for d in dims]

    def product(a: Value, b: Value, dims: Any) -> Value:
        return dot_general(a, b, dims, precision, preferred_element_type)

    if ragged in l_batch:
        mask = reduce_or(_groups(shape, ragged, l_batch[: l_batch.index(ragged)], group_sizes), (0,))
        dims = ((l_contract, r_contract), (l_batch, r_batch))
        return product(p.select(mask, lhs, zeros_like(aval_of(lhs))), rhs, dims)
    if ragged in l_contract:
        place = l_contract.index(ragged)
        parts = _by_group(lhs, ragged, [*l_batch, *l_contract[:place]], group_sizes)
        others = _by_group(rhs, r_contract[place], [*r_batch, *r_contract[:place]], group_sizes)
        return product(parts, others, ((up(l_contract), up(r_contract)), ([0, *up(l_batch)], [0, *up(r_batch)])))
    group = numbers.rhs_group_dimensions
    if len(group) != 1:
        raise ShapeError(f"rhs has one dimension that counts the groups of rows; found {tuple(group)}")
    free = [d for d in range(len(shape)) if d not in l_contract and d not in l_batch]
    parts = _by_group(lhs, ragged, [*l_batch, *free[: free.index(ragged)]], group_sizes)
    return product(parts, rhs, (([*up(l_contract), 0], [*r_contract, int(group[0])]), (up(l_batch), r_batch)))


def _groups(shape: Dims, dim: int, prefix: Sequence[int], sizes: Value) -> Value:
    """(g, *shape): where along ``dim`` the groups lie."""
    if aval_of(sizes).dtype.itemsize < 4:  # the ends are sums of the sizes
        sizes = p.convert_element_type(sizes, dtypes.int32)
    s = aval_of(sizes)
    lead = tuple(shape[d] for d in prefix)
    if s.ndim != 1 and s.shape[:-1] != lead:
        raise ShapeError(f"group_sizes has the shape {s.shape}; (g,) or {(*lead, 'g')} is wanted")
    full = (s.shape[-1], *shape)
    ends = cumsum(sizes, s.ndim - 1)
    at = (0,) if s.ndim == 1 else (*[d + 1 for d in prefix], 0)
    place = shaping.broadcasted_iota(s.dtype, full, dim + 1)
    spread = lambda x: shaping.broadcast_in_dim(x, full, at) if list(at) == sorted(at) else _spread(x, full, at)
    return p.bitwise_and(p.le(spread(p.sub(ends, sizes)), place), p.lt(place, spread(ends)))


def _spread(x: Value, full: Dims, at: Dims) -> Value:
    """``broadcast_in_dim`` to dimensions in any order."""
    order = np.argsort(at)
    return shaping.broadcast_in_dim(shaping.transpose(x, order.tolist()), full, tuple(sorted(at)))


def _by_group(x: Value, dim: int, prefix: Sequence[int], sizes: Value) -> Value:
    """(g, *x.shape): ``x`` in the group, zero elsewhere."""
    shape = aval_of(x).shape
    mask = _groups(shape, dim, prefix, sizes)
    whole = shaping.broadcast_in_dim(x, aval_of(mask).shape, tuple(range(1, len(shape) + 1)))
    return p.select(mask, whole, zeros_like(aval_of(whole)))


def scaled_dot(
    lhs: Value, rhs: Value, *, lhs_scale: Value | None = None, rhs_scale: Value | None = None,
    dimension_numbers: DotDimensionNumbers | None = None, preferred_element_type: Any = None,
) -> Value:  # fmt: skip
    """``(lhs * lhs_scale) @ (rhs * rhs_scale)``, where one scale stands for a block of elements along the contraction.

    Args:
        lhs_scale, rhs_scale: as their operand, but along the contracting dimension a divisor of its size.
        dimension_numbers: those of ``dot_general``; None: matrices, or batches of them.
        preferred_element_type: the dtype of the result, bfloat16 if it is not given; products are added in float32.
    """
    n = aval_of(lhs).ndim
    if dimension_numbers is None:
        if n < 2:
            raise ShapeError("scaled_dot takes matrices, or batches of them; for vectors give dimension_numbers")
        batch = tuple(range(n - 2))
        dimension_numbers = (((n - 1,), (n - 2,)), (batch, batch))
    wide = dtypes.canonical("float32")
    a, b = _scaled(lhs, lhs_scale, wide), _scaled(rhs, rhs_scale, wide)
    out = dot_general(a, b, dimension_numbers)
    return p.convert_element_type(out, dtypes.canonical(preferred_element_type or "bfloat16"))


def _scaled(x: Value, scale: Value | None, d: np.dtype) -> Value:
    x = p.convert_element_type(x, d)
    if scale is None:
        return x
    scale = p.convert_element_type(scale, d)
    shape, blocks = aval_of(x).shape, aval_of(scale).shape
    if len(shape) != len(blocks) or any(b == 0 or n % b for n, b in zip(shape, blocks)):
        raise ShapeError(f"a scale of shape {blocks} does not divide an operand of shape {shape} into blocks")
    for axis, (size, count) in enumerate(zip(shape, blocks)):
        if size != count:  # each scale as often as its block is long
            now = list(aval_of(scale).shape)
            longer = [*now[: axis + 1], size // count, *now[axis + 1 :]]
            kept = [i for i in range(len(longer)) if i != axis + 1]
            now[axis] = size
            scale = shaping.reshape(shaping.broadcast_in_dim(scale, longer, kept), now)
    return p.mul(x, scale)
