"""associative_scan: all partial results of an associative operation, in logarithmic depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import tree
from ..api.bodies import error, leaves_of
from ..errors import CarryTypeError, ShapeError
from ..primitives.checks import canonical_axis
from ..primitives.joining import concatenate, slice_in_dim
from ..primitives.shaping import reshape, rev
from ..trace import aval_of
from ..traceback import user_frames
from ..transforms.flat import (
    check_function,
    function_name,
)

__all__ = ["associative_scan"]

Leaves = Sequence[Any]


@user_frames
def associative_scan(fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """``e0, fn(e0, e1), fn(fn(e0, e1), e2), ...`` along an axis, for an associative ``fn``.

    About 2 n applications in 2 log2(n) calls of ``fn``, each on many elements at once: neighbours are joined, the half as
    many results scanned, and the other places filled in from these.

    Args:
        fn: two pytrees of the structure of ``elems`` to a third; it joins the elements of whole arrays along the axis, like
            ``np.add`` or ``np.matmul``.
        elems: pytree of arrays, whose axis has one size.
        reverse: from the last element to the first.

    Returns:
        The partial results, in the structure and shapes of ``elems``.

    >>> import fx, numpy as np
    >>> fx.lax.associative_scan(np.multiply, np.arange(1, 5))
    Array([ 1,  2,  6, 24], dtype=int64)

    Source: Blelloch, "Prefix sums and their applications" (1990).
    """
    check_function(fn, "associative_scan")
    leaves, structure = leaves_of("elems", elems), tree.structure(elems)
    axes = [canonical_axis("associative_scan", axis, len(aval_of(x).shape)) for x in leaves]
    sizes = {aval_of(x).shape[d] for x, d in zip(leaves, axes)}
    if len(sizes) > 1:
        raise error(ShapeError, f"associative_scan: the leaves have different sizes {sorted(sizes)} along axis {axis}")

    def join(a: Leaves, b: Leaves) -> list[Any]:
        out, found = tree.flatten(fn(tree.unflatten(structure, a), tree.unflatten(structure, b)))
        if found != structure or any(aval_of(x).shape != aval_of(y).shape for x, y in zip(a, out)):
            raise error(
                CarryTypeError,
                f"associative_scan: {function_name(fn)!r} must return what it gets: it got {structure}"
                f" ({', '.join(str(aval_of(x)) for x in a)}), and returned {found} ({', '.join(str(aval_of(x)) for x in out)})",
            )
        return out

    def part(xs: Leaves, start: int, stop: int, step: int = 1) -> list[Any]:
        return [slice_in_dim(x, start, stop, step, d) for x, d in zip(xs, axes)]

    def partial_results(xs: Leaves, n: int) -> Leaves:
        if n < 2:
            return xs
        half = n // 2
        odd = partial_results(join(part(xs, 0, 2 * half, 2), part(xs, 1, 2 * half, 2)), half)
        even = part(xs, 0, 1)
        if n > 2:
            filled = join(part(odd, 0, (n - 1) // 2), part(xs, 2, n, 2))
            even = [concatenate([a, b], d) for a, b, d in zip(even, filled, axes)]
        return [_interleaved(a, b, d) for a, b, d in zip(even, odd, axes)]

    if reverse:
        leaves = [rev(x, (d,)) for x, d in zip(leaves, axes)]
    out = partial_results(leaves, sizes.pop() if sizes else 0)
    if reverse:
        out = [rev(x, (d,)) for x, d in zip(out, axes)]
    return tree.unflatten(structure, out)


def _interleaved(a: Any, b: Any, axis: int) -> Any:
    """``a0, b0, a1, b1, ...`` where ``a`` may have one element more."""
    shape, n = aval_of(b).shape, aval_of(b).shape[axis]
    pairs = concatenate(
        [reshape(slice_in_dim(x, 0, n, 1, axis), (*shape[: axis + 1], 1, *shape[axis + 1 :])) for x in (a, b)], axis + 1
    )
    joined = reshape(pairs, (*shape[:axis], 2 * n, *shape[axis + 1 :]))
    last = aval_of(a).shape[axis]
    return joined if last == n else concatenate([joined, slice_in_dim(a, n, last, 1, axis)], axis)
