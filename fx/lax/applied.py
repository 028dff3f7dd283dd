"""A function applied as one operation (``composite``), or at places of an array (``scatter_apply``)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..primitives import elementwise as p
from ..primitives.gather_scatter import GatherScatterMode, ScatterDimensionNumbers, scatter_add
from ..primitives.reductions import reduce_max
from ..primitives.shaping import full
from ..trace import aval_of, named_scope
from .control_flow import while_loop

__all__ = ["composite", "scatter_apply"]

Value = Any


def composite(decomposition: Callable[..., Any], name: str, version: int = 0) -> Callable[..., Any]:
    """``decomposition`` under a name: its equations stand in a scope of that name in graphs and ``explain()``.

    >>> import numpy as np
    >>> doubled = composite(lambda x, *, by: x * by, name="my.scale")
    >>> doubled(np.float32(3), by=2.0)
    np.float32(6.0)
    """

    @functools.wraps(decomposition)
    def call(*args: Any, **kwargs: Any) -> Any:
        with named_scope(name):
            return decomposition(*args, **kwargs)

    return call


def scatter_apply(
    operand: Value, scatter_indices: Value, func: Callable[[Value], Value], dimension_numbers: ScatterDimensionNumbers, *,
    update_shape: Sequence[int] = (), indices_are_sorted: bool = False, unique_indices: bool = False,
    mode: str | GatherScatterMode | None = None,
) -> Value:  # fmt: skip
    """Applies ``func`` to elements, as often as they are indexed.

    Args:
        scatter_indices, dimension_numbers, mode: as for ``scatter``.
        func: elementwise.
        update_shape: the shape that the updates of ``scatter`` would have.

    Without ``unique_indices`` it is a loop of as many rounds as the most frequent element asks for.
    """
    shape = aval_of(operand).shape
    ones = full(tuple(update_shape), np.int32(1))
    times = scatter_add(full(shape, np.int32(0)), scatter_indices, ones, dimension_numbers, mode=mode)

    def applied(k: Value, x: Value) -> Value:
        here = p.gt(times, full(shape, k))
        return p.select(here, func(p.select(here, x, p.stop_gradient(x))), x)  # steep elsewhere, it leaves no NaN

    if unique_indices:
        return applied(np.int32(0), operand)
    if 0 in shape:
        return operand
    most = reduce_max(times, tuple(range(len(shape))))
    again = while_loop(
        lambda s: p.lt(s[0], most), lambda s: (s[0] + np.int32(1), applied(*s)), (np.int32(0), operand),
        max_steps=math.prod(update_shape),
    )  # fmt: skip
    return again[1]
