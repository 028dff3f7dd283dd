"""The arithmetic that the transformations share: running means of trees, norms, casts."""

from __future__ import annotations

import functools
import operator
from typing import Any

from .. import dtypes, tree
from .. import numpy as fnp

__all__ = ["global_norm", "safe_norm", "safe_root_mean_squares"]

Tree = Any


def squared(x: Any) -> Any:
    """``|x|**2``, real."""
    return fnp.square(x.real) + fnp.square(x.imag) if dtypes.is_complex(x.dtype) else fnp.square(x)


def cast(values: Tree, dtype: Any) -> Tree:
    """The leaves in a dtype; None leaves them as they are."""
    return values if dtype is None else tree.map(lambda x: x.astype(dtype), values)


def cast_like(values: Tree, like: Tree) -> Tree:
    """The leaves in the dtypes of those of another tree."""
    return tree.map(lambda x, y: fnp.asarray(x).astype(fnp.asarray(y).dtype), values, like)


def zeros_like(values: Tree, dtype: Any = None) -> Tree:
    return tree.map(lambda x: fnp.zeros_like(x, dtype=dtype), values)


def widest(values: Tree) -> Any:
    """The dtype that holds all real parts, float32 at least."""
    kinds = [fnp.asarray(x).real.dtype for x in tree.leaves(values)]
    return functools.reduce(dtypes.promote_types, kinds, fnp.dtype("float32"))


def wide_zeros_like(values: Tree, dtype: Any = None) -> Tree:
    """Zeros to gather in, of a dtype, or those of the leaves but float32 for narrower ones; complex where these are."""

    def start(x: Any) -> Any:
        kind = dtypes.promote_types(x.dtype, dtypes.float32) if dtype is None else fnp.dtype(dtype)
        if dtypes.is_complex(x.dtype):  # a real sum would lose the imaginary parts
            kind = dtypes.promote_types(kind, dtypes.complex64)
        return fnp.zeros_like(x, dtype=kind)

    return tree.map(lambda x: start(fnp.asarray(x)), values)


def full_like(values: Tree, fill: Any) -> Tree:
    return tree.map(lambda x: fnp.full_like(x, fill), values)


def moment(values: Tree, mean: Tree, decay: Any, of: Any = lambda g: g) -> Tree:
    """The running mean ``(1 - decay) of(g) + decay mean``."""
    return tree.map(lambda g, m: (1 - decay) * of(g) + decay * m, values, mean)


def unbiased(mean: Tree, decay: Any, count: Any) -> Tree:
    """The running mean without the pull of its start at 0; the correction at least in float32, even for half precision."""

    def corrected(m: Any) -> Any:
        wide = fnp.promote_types("float32", m.real.dtype)
        correction = 1 - decay ** count.astype(wide)
        if m.real.dtype != wide:  # whose reciprocal half precision may not hold
            return m / correction.astype(m.dtype)
        return m * (1 / correction).astype(m.dtype)  # one division for a leaf, not for each of its numbers

    return tree.map(corrected, mean)


def looked_ahead(mean: Tree, updates: Tree, decay: Any, count: Any, nesterov: bool) -> Tree:
    """The unbiased mean, or with ``nesterov`` that mean as it will be after the next step (Dozat, 2016)."""
    if not nesterov:
        return unbiased(mean, decay, count)
    ahead, now = unbiased(mean, decay, count + 1), unbiased(updates, decay, count)
    return tree.map(lambda m, g: decay * m + (1 - decay) * g, ahead, now)


def dot(x: Tree, y: Tree) -> Any:
    """``Re <x, y>`` over all leaves."""
    products = tree.map(lambda a, b: fnp.vdot(a, b).real, x, y)
    return functools.reduce(operator.add, tree.leaves(products))


def add_scaled(x: Tree, factor: Any, y: Tree) -> Tree:
    """``x + factor * y``, in the dtypes of ``x``."""
    return tree.map(lambda a, b: (a + factor * b).astype(a.dtype), x, y)


def squared_norm(values: Tree) -> Any:
    return functools.reduce(operator.add, [fnp.sum(squared(x)) for x in tree.leaves(values)], fnp.asarray(0.0))


def global_norm(updates: Tree) -> Any:
    """The Euclidean norm of all numbers of a tree together.

    >>> global_norm({"a": fnp.asarray([3.0]), "b": fnp.asarray(4.0)})
    Array(5., dtype=float32)
    """
    return fnp.sqrt(squared_norm(updates))


def safe_norm(x: Any, min_norm: Any) -> Any:
    """``max(|x|, min_norm)``, whose gradient is finite at 0 too."""
    return _safe(lambda v: fnp.sqrt(fnp.sum(squared(v))), x, min_norm)


def safe_root_mean_squares(x: Any, min_rms: Any) -> Any:
    """``max(sqrt(mean(|x|**2)), min_rms)``, whose gradient is finite at 0 too."""
    return _safe(lambda v: fnp.sqrt(fnp.mean(squared(v))), x, min_rms)


def _safe(size: Any, x: Any, least: Any) -> Any:
    small = size(x) <= least
    return fnp.where(small, least, size(fnp.where(small, fnp.ones_like(x), x)))
