"""Collectives of ``fx.lax`` made of ``all_gather``, ``psum`` and ``axis_index``, over an axis that ``vmap`` names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import tree
from ..array import Array
from ..errors import ArgumentError, ShapeError
from ..primitives import shaping
from ..primitives.collectives import all_gather, axis_index, axis_size, place_in_group, psum
from ..primitives.elementwise import select
from ..primitives.helpers import move_batch, zeros_like
from ..primitives.indexing import dynamic_index_in_dim
from ..trace import aval_of

__all__ = ["all_to_all", "pbroadcast", "pcast", "ppermute", "pshuffle", "psum_scatter", "pswapaxes", "pvary"]

Value = Any


def ppermute(x: Any, axis_name: Any, perm: Sequence[tuple[int, int]]) -> Any:
    """Example ``source`` gives its leaves to example ``destination``, for each pair; who gets nothing gets zeros."""
    size = axis_size(axis_name)
    pairs = [(int(s), int(d)) for s, d in perm]
    for what, found in (("source", [s for s, _ in pairs]), ("destination", [d for _, d in pairs])):
        if len(set(found)) != len(found) or any(not 0 <= i < size for i in found):
            raise ShapeError(f"ppermute: each {what} of {pairs} must be one of 0 .. {size - 1} and occur once")
    table = np.full(size, -1, np.int32)
    for s, d in pairs:
        table[d] = s
    source = dynamic_index_in_dim(Array(np.maximum(table, 0)), axis_index(axis_name), 0, keepdims=False)
    gets = dynamic_index_in_dim(Array(table >= 0), axis_index(axis_name), 0, keepdims=False)

    def one(v: Value) -> Value:
        out = dynamic_index_in_dim(all_gather(v, axis_name), source, 0, keepdims=False)
        return out if (table >= 0).all() else select(gets, out, zeros_like(out))

    return tree.map(one, x)


def pshuffle(x: Any, axis_name: Any, perm: Sequence[int]) -> Any:
    """Example i gets the leaves of example ``perm[i]``."""
    return ppermute(x, axis_name, list(zip(perm, range(len(perm)))))


def pbroadcast(x: Any, axis_name: Any, source: int) -> Any:
    """Every example gets the leaves of example ``source``."""
    return tree.map(lambda v: dynamic_index_in_dim(all_gather(v, axis_name), np.int32(source), 0, keepdims=False), x)


def _my_part(axis_name: Any, axis: int, tiled: bool, what: str, groups: Any = None) -> Callable[[Value, int], Value]:
    """Cuts this example's share out of an axis: one slice (the axis goes), or with ``tiled`` one block."""
    size = axis_size(axis_name) if groups is None else len(groups[0])
    place = axis_index(axis_name) if groups is None else place_in_group(axis_name, groups)

    def cut(v: Value, shift: int) -> Value:
        d, n = axis + shift, aval_of(v).shape[axis + shift]
        if not tiled:
            if n != size:
                raise ShapeError(
                    f"{what}: axis {axis} has size {n}; without tiled=True it must be the size {size} of axis {axis_name!r}"
                )
            return dynamic_index_in_dim(v, place, d, keepdims=False)
        if n % size:
            raise ShapeError(
                f"{what}: axis {axis} of size {n} is not divisible by {size}, the size of axis {axis_name!r}"
            )
        blocks = shaping.reshape(v, (*v.shape[:d], size, n // size, *v.shape[d + 1 :]))
        return dynamic_index_in_dim(blocks, place, d, keepdims=False)

    return cut


def psum_scatter(
    x: Any, axis_name: Any, *, scatter_dimension: int = 0, axis_index_groups: Any = None, tiled: bool = False
) -> Any:
    """``psum``, of which each example keeps its own share along ``scatter_dimension``."""
    cut = _my_part(axis_name, scatter_dimension, tiled, "psum_scatter", axis_index_groups)
    return tree.map(lambda v: cut(v, 0), psum(x, axis_name, axis_index_groups=axis_index_groups))


def all_to_all(
    x: Any, axis_name: Any, split_axis: int, concat_axis: int, *, axis_index_groups: Any = None, tiled: bool = False
) -> Any:
    """Every example cuts ``split_axis`` into shares, one for each example (of its group, see ``psum``), and joins what it gets
    along ``concat_axis``."""
    cut = _my_part(axis_name, split_axis, tiled, "all_to_all", axis_index_groups)

    def one(v: Value) -> Value:
        shares = cut(all_gather(v, axis_name, axis_index_groups=axis_index_groups), 1)  # (sender, *rest)
        shares = move_batch(shares, 0, concat_axis)
        if not tiled:
            return shares
        s = shares.shape
        return shaping.reshape(shares, (*s[:concat_axis], s[concat_axis] * s[concat_axis + 1], *s[concat_axis + 2 :]))

    return tree.map(one, x)


def pswapaxes(x: Any, axis_name: Any, axis: int, *, axis_index_groups: Any = None) -> Any:
    """The named axis exchanged with an axis of the array."""
    return all_to_all(x, axis_name, axis, axis, axis_index_groups=axis_index_groups)


def pcast(x: Any, axis_name: Any, *, to: str) -> Any:
    """``x``: whether a value may differ along an axis is known of it, and need not be said."""
    axis_size(axis_name)
    if to not in ("varying", "reduced", "unreduced", "replicated"):
        raise ArgumentError(f"pcast: to must be 'varying', 'reduced' or 'unreduced'; found {to!r}")
    return x


def pvary(x: Any, axis_name: Any) -> Any:
    """``pcast(x, axis_name, to="varying")``: ``x``."""
    return pcast(x, axis_name, to="varying")
