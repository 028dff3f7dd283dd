"""What a product of a batch touches of its arrays: those that lie matrix after matrix, of each item its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fx.sizes import alike, is_sized

from .contraction import Array, Contraction, size
from .registry import Items, Operand

__all__ = ["items_of"]


def items_of(p: Contraction, a: Array | None, b: Array | None, c: Array, each: int) -> Items:
    """The items of a product whose range is the batch, row-major, times ``each`` pieces.

    a, b: None where an operand does not lie as ``p`` says.
    """
    inside = (
        (a, 1, [(d[0], d[1]) for d in (*p.rows, *p.ks)]),
        (b, 2, [(d[0], d[1]) for d in p.cols] + [(d[0], d[2]) for d in p.ks]),
        (c, 3, [(d[0], d[2]) for d in (*p.rows, *p.cols)]),
    )
    found: dict[int, Any] = {}
    for array, which, dims in inside:
        if array is None:
            continue
        begins = array.at.offset if isinstance(array.at, Operand) else array.at.byte_offset
        apart = _apart([(d[0], d[which]) for d in p.batch])
        held = None
        if not p.pairs and not is_sized(begins) and begins == 0 and apart is not None and _fits(dims, apart):
            held = apart * array.ty.itemsize
        buffer = array.at.buffer
        found[buffer] = held if found.setdefault(buffer, held) == held else None
    return Items(size(p.batch), each, tuple([(k, n) for k, n in found.items() if n is not None]))


def _apart(batch: Sequence[tuple[Any, Any]]) -> int | None:
    """How far the items of a batch are apart, (size, stride) from the outermost dimension on, if all are evenly."""
    apart: Any = None
    for n, stride in reversed(batch):
        if apart is None:
            apart, count = stride, n
        elif alike(stride, apart * count):
            count = count * n
        else:
            return None
    return None if apart is None or is_sized(apart) else int(apart)


def _fits(dims: Sequence[tuple[Any, Any]], apart: int) -> bool:
    """Whether the elements of an item, (size, stride), lie in front of the next one."""
    if any(is_sized(n) or is_sized(stride) or stride < 0 or n < 1 for n, stride in dims):
        return False
    return sum((n - 1) * stride for n, stride in dims) < apart
