"""The arithmetic of windows that slide over padded, dilated arrays: shared by convolutions and window reductions.

Along one dimension an operand of ``n`` elements is *dilated* (``base_dilation - 1`` holes between neighbours) and
then padded with ``lo`` and ``hi`` more holes (negative padding crops).  A window of ``k`` taps, ``window_dilation``
apart, starts at every ``stride``-th position of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ConcretizationError, ShapeError
from ..sizes import as_size

__all__ = [
    "Pads",
    "dilated_size",
    "pad_and_dilate",
    "plain_pads",
    "plain_sizes",
    "resolve_padding",
    "transposed_pads",
    "window_counts",
]

Dims = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


def dilated_size(n: int, dilation: int) -> int:
    """Elements and the holes between them."""
    return (n - 1) * dilation + 1 if n else 0


def window_counts(
    sizes: Sequence[int],
    windows: Sequence[int],
    strides: Dims,
    padding: Pads,
    base_dilation: Dims,
    window_dilation: Dims,
) -> Dims:
    """How many windows fit in each dimension."""
    counts = []
    for n, k, s, (lo, hi), bd, wd in zip(sizes, windows, strides, padding, base_dilation, window_dilation):
        room = max(dilated_size(n, bd) + lo + hi, 0) - dilated_size(k, wd)
        counts.append(room // s + 1 if room >= 0 else 0)
    return tuple(counts)


def transposed_pads(
    sizes: Sequence[int],
    windows: Sequence[int],
    strides: Dims,
    padding: Pads,
    base_dilation: Dims,
    window_dilation: Dims,
) -> Pads:
    """The padding under which the transposed windows give back exactly ``sizes``.

    The transpose slides the reversed window over the cotangent, with ``strides`` as base dilation and
    ``base_dilation`` as strides: element j of the operand is tap t of window o where ``o*s + t*wd = j*bd + lo``.
    """
    counts = window_counts(sizes, windows, strides, padding, base_dilation, window_dilation)
    pads = []
    for n, k, s, (lo, _), bd, wd, count in zip(
        sizes, windows, strides, padding, base_dilation, window_dilation, counts
    ):
        reach = dilated_size(k, wd) - 1
        before = reach - lo
        pads.append((before, dilated_size(n, bd) + reach - dilated_size(count, s) - before))
    return tuple(pads)


def plain_sizes(what: str, name: str, values: Sequence[int] | None, ndim: int, least: int = 1) -> Dims:
    """A tuple of ``ndim`` ints, each at least ``least``; None means ones.

    Raises:
        ShapeError: there are more or fewer than ``ndim`` of them, or one is too small.
    """
    try:
        found = (1,) * ndim if values is None else tuple(as_size(v) for v in values)
    except ConcretizationError:
        raise
    except TypeError:
        raise ShapeError(f"{what}: {name} takes {ndim} integers, one for each dimension; found {values!r}") from None
    if len(found) != ndim:
        raise ShapeError(
            f"{what}: {name}={found} has {len(found)} entries; there must be {ndim}, one for each dimension"
        )
    if any(v < least for v in found):
        raise ShapeError(f"{what}: {name}={found} has an entry below {least}")
    return found


def plain_pads(what: str, padding: Sequence[Sequence[int]], ndim: int) -> Pads:
    """A tuple of ``ndim`` pairs of ints."""
    try:
        found = tuple(tuple(as_size(p) for p in pair) for pair in padding)
    except ConcretizationError:
        raise
    except TypeError:
        raise ShapeError(
            f"{what}: padding takes 'SAME', 'VALID', or {ndim} pairs (before, after), one for each dimension; found {padding!r}"
        ) from None
    if len(found) != ndim or any(len(pair) != 2 for pair in found):
        raise ShapeError(
            f"{what}: padding={found} must be 'SAME', 'SAME_LOWER', 'VALID' or {ndim} pairs (before, after),"
            " one for each dimension that the window slides along"
        )
    return found  # type: ignore[return-value]


def resolve_padding(
    what: str, padding: Any, sizes: Sequence[int], dilated_windows: Sequence[int], strides: Dims
) -> Pads:
    """Padding as pairs, from pairs or from a name.

    ``'VALID'`` pads nothing.  ``'SAME'`` pads so that there are ``ceil(size / stride)`` windows, an odd element
    after; ``'SAME_LOWER'`` puts it before.

    Raises:
        ShapeError: another name, or a wrong number of pairs.
    """
    if not isinstance(padding, str):
        return plain_pads(what, padding, len(sizes))
    name = padding.upper()
    if name == "VALID":
        return ((0, 0),) * len(sizes)
    if name not in ("SAME", "SAME_LOWER"):
        raise ShapeError(
            f"{what}: padding={padding!r} is not known. Use 'SAME', 'SAME_LOWER', 'VALID' or pairs (before, after)."
        )
    pads = []
    for n, k, s in zip(sizes, dilated_windows, strides):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        small, large = total // 2, total - total // 2
        pads.append((small, large) if name == "SAME" else (large, small))
    return tuple(pads)


def pad_and_dilate(x: np.ndarray, padding: Pads, dilation: Dims, value: Any) -> np.ndarray:
    """The NumPy array that windows slide over: holes hold ``value``.  Returns ``x`` itself if there are none."""
    if all(p == (0, 0) for p in padding) and all(d == 1 or n <= 1 for d, n in zip(dilation, x.shape)):
        return x
    wide = [dilated_size(n, d) for n, d in zip(x.shape, dilation)]
    out = np.full([max(w + lo + hi, 0) for w, (lo, hi) in zip(wide, padding)], value, x.dtype)
    into, taken = [], []
    for n, d, (lo, _), room in zip(x.shape, dilation, padding, out.shape):
        first = max(-(lo // d), 0)  # the first element that negative padding leaves
        last = min(n, (room - lo + d - 1) // d)  # one past the last
        taken.append(slice(first, max(last, first)))
        begin = lo + first * d
        into.append(slice(begin, begin + dilated_size(max(last - first, 0), d), d))
    out[tuple(into)] = x[tuple(taken)]
    return out
