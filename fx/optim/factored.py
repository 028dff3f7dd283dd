"""Second moments of matrices kept as one row and one column: the memory of Adafactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import numpy as fnp
from .. import tree
from .base import GradientTransformation, exact, incremented, new_count, required
from .moments import squared

__all__ = ["FactoredState", "scale_by_factored_rms"]

Tree = Any


class FactoredState(NamedTuple):
    """Steps taken, and of every leaf the means over its rows and columns, or (of small leaves) of the squares."""

    count: Any
    v_row: Tree
    v_col: Tree
    v: Tree


def _decay(count: Any, exponent: Any) -> Any:
    return 1.0 - exact(count + 1) ** -exponent


def _axes(shape: tuple[int, ...], factored: bool, least: int) -> tuple[int, int] | None:
    """The second largest and the largest axis, or None if the leaf keeps all its squares."""
    if not factored or len(shape) < 2:
        return None
    order = np.argsort(shape)
    return None if shape[order[-2]] < least else (int(order[-2]), int(order[-1]))


def scale_by_factored_rms(
    factored: bool = True, decay_rate: Any = 0.8, step_offset: Any = 0, min_dim_size_to_factor: int = 128,
    epsilon: Any = 1e-30, decay_rate_fn: Callable[[Any, Any], Any] = _decay,
) -> GradientTransformation:  # fmt: skip
    """Divides by the root of a running mean of squares that, for large matrices, is the outer product of the means over
    rows and over columns (Shazeer, Stern, "Adafactor", 2018).

    Args:
        factored: False to keep all squares.
        decay_rate: the mean decays by 1 - t**-decay_rate.
        step_offset: steps that do not count for the decay.
        min_dim_size_to_factor: leaves whose second largest axis is shorter keep all squares.
        epsilon: added to the squares.
        decay_rate_fn: the decay from (count, decay_rate).
    """

    def start(p: Any) -> tuple[Any, Any, Any]:
        axes, none = _axes(p.shape, factored, min_dim_size_to_factor), fnp.zeros((1,), p.real.dtype)
        if axes is None:
            return none, none, fnp.zeros(p.shape, p.real.dtype)
        without = lambda axis: fnp.zeros(p.shape[:axis] + p.shape[axis + 1 :], p.real.dtype)
        return without(axes[1]), without(axes[0]), none

    def leaf(g: Any, row: Any, col: Any, v: Any, p: Any, decay: Any) -> tuple[Any, Any, Any, Any]:
        axes, square = _axes(p.shape, factored, min_dim_size_to_factor), squared(g) + epsilon
        mean = lambda old, new: (decay * old + (1.0 - decay) * new).astype(old.dtype)
        if axes is None:
            v = mean(v, square)
            return g * v**-0.5, row, col, v
        d1, d0 = axes
        row, col = mean(row, fnp.mean(square, axis=d0)), mean(col, fnp.mean(square, axis=d1))
        share = row / fnp.mean(row, axis=d1 - 1 if d1 > d0 else d1, keepdims=True)
        return g * fnp.expand_dims(share**-0.5, d0) * fnp.expand_dims(col**-0.5, d1), row, col, v

    def init(params: Tree) -> FactoredState:
        leaves, structure = tree.flatten(params)
        columns = zip(*[start(fnp.asarray(p)) for p in leaves]) if leaves else ((), (), ())
        return FactoredState(new_count(), *[structure.unflatten(c) for c in columns])

    def update(updates: Tree, state: FactoredState, params: Tree = None) -> tuple[Tree, Tree]:
        decay = decay_rate_fn(state.count - step_offset, decay_rate)
        leaves, structure = tree.flatten(updates)
        parts = [state.v_row, state.v_col, state.v, required(params, "scale_by_factored_rms")]
        rows = zip(leaves, *[tree.flatten_up_to(structure, part) for part in parts])
        columns = zip(*[leaf(g, r, c, v, p, decay) for g, r, c, v, p in rows]) if leaves else ((), (), (), ())
        new, *moments = [structure.unflatten(c) for c in columns]
        return new, FactoredState(incremented(state.count), *moments)

    return GradientTransformation(init, update)
