"""Cotangents that are zero outside a block, which are not filled up before it is known what they are added to.

The transpose of a slice is its cotangent with zeros around it.  Where an array is read in slices (the gates of a cell,
the heads of attention, ``x[1:] - x[:-1]``) its cotangent is a sum of such arrays; if the blocks lie side by side along one
axis, it is their concatenation, and no zero is written or added.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from ..primitive import Block
from ..trace import aval_of
from .elementwise import add
from .helpers import scalar_of
from .joining import concatenate, pad
from .shaping import broadcast_in_dim

__all__ = ["add_blocks"]


def _sizes(block: Block) -> tuple[int, ...]:
    return aval_of(block.value).shape


def _filled_up(block: Block) -> Any:
    return pad(block.value, 0, [(s, n - s - k, 0) for s, n, k in zip(block.starts, block.shape, _sizes(block))])


def add_blocks(blocks: Sequence[Block]) -> Any:
    """The sum of blocks in arrays of one shape: their concatenation where they do not overlap along one axis."""
    axis = _only_axis(blocks)
    if axis is None or len(blocks) == 1:
        total = _filled_up(blocks[0])
        for b in blocks[1:]:
            total = add(total, _filled_up(b))
        return total
    parts, at, shape = [], 0, blocks[0].shape
    for b in sorted(blocks, key=lambda b: b.starts[axis]):
        parts += _zeros(b, axis, b.starts[axis] - at)
        parts.append(b.value)
        at = b.starts[axis] + _sizes(b)[axis]
    return concatenate([*parts, *_zeros(blocks[0], axis, shape[axis] - at)], axis)


def _only_axis(blocks: Sequence[Block]) -> int | None:
    """The axis along which the blocks lie one after the other, whole along all others; None if there is none."""
    shape = blocks[0].shape
    partial = {k for b in blocks for k, n in enumerate(shape) if _sizes(b)[k] != n}
    if len(partial) != 1:
        return None
    (axis,) = partial
    spans = sorted((b.starts[axis], b.starts[axis] + _sizes(b)[axis]) for b in blocks)
    return axis if all(end <= start for (_, end), (start, _) in itertools.pairwise(spans)) else None


def _zeros(like: Block, axis: int, size: int) -> list[Any]:
    if not size:
        return []
    zero = scalar_of(0, aval_of(like.value).dtype)
    return [broadcast_in_dim(zero, (*like.shape[:axis], size, *like.shape[axis + 1 :]), ())]
