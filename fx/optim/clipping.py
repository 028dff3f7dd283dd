"""Bounds on the size of updates."""

from __future__ import annotations

from typing import Any

from .. import numpy as fnp
from .. import tree
from ..api import vmap
from ..errors import ShapeError
from .base import GradientTransformation, required, stateless, stateless_with_tree_map
from .moments import global_norm, squared

__all__ = [
    "adaptive_grad_clip", "clip", "clip_by_block_rms", "clip_by_global_norm", "per_example_global_norm_clip",
    "unitwise_clip", "unitwise_norm",
]  # fmt: skip

Tree = Any


def clip(max_delta: Any) -> GradientTransformation:
    """Every number into ``[-max_delta, max_delta]``."""
    return stateless_with_tree_map(lambda u, p: fnp.clip(u, -max_delta, max_delta))


def clip_by_block_rms(threshold: Any) -> GradientTransformation:
    """Scales down each leaf whose root mean square is above ``threshold`` (Shazeer, Stern, "Adafactor", 2018)."""
    return stateless_with_tree_map(
        lambda u, p: u / fnp.maximum(1.0, fnp.sqrt(fnp.mean(squared(u))) / threshold).astype(u.real.dtype)
    )


def clip_by_global_norm(max_norm: Any) -> GradientTransformation:
    """Scales all leaves down together if their norm is above ``max_norm`` (Pascanu et al., 2012).

    >>> clipper = clip_by_global_norm(1.0)
    >>> clipper.update([fnp.asarray([3.0]), fnp.asarray([4.0])], clipper.init(None))[0]
    [Array([0.6], dtype=float32), Array([0.8], dtype=float32)]
    """

    def whole(updates: Tree, params: Tree) -> Tree:
        norm = global_norm(updates)
        return tree.map(
            lambda u: fnp.where(norm < max_norm, u, (u / norm.astype(u.real.dtype)) * max_norm).astype(u.dtype), updates
        )

    return stateless(whole)


def per_example_global_norm_clip(grads: Tree, l2_norm_clip: Any) -> tuple[Tree, Any]:
    """Clips the gradient of each example and sums them: the heart of differentially private SGD (Abadi et al., 2016).

    Args:
        grads: leaves of shape (examples, ...), as ``vmap(grad(loss))`` makes them.
        l2_norm_clip: the largest norm of an example's gradient.

    Returns:
        (sum of the clipped gradients, number of those that were clipped).
    """
    lengths = {g.shape[0] if g.ndim else None for g in tree.leaves(grads)}
    if len(lengths) != 1 or None in lengths:
        raise ShapeError(
            "per_example_global_norm_clip takes gradients with a first axis of examples, of one length in all leaves;"
            f" found shapes {[g.shape for g in tree.leaves(grads)]}"
        )
    norms = vmap(global_norm)(grads)
    factors = fnp.nan_to_num(fnp.minimum(l2_norm_clip / norms, 1.0), nan=1.0)
    clipped = tree.map(lambda g: fnp.tensordot(factors, g, axes=1), grads)
    return clipped, fnp.sum(factors < 1.0)


_UNIT_AXES = {2: 0, 3: 0, 4: (0, 1, 2), 5: (0, 1, 2, 3)}
"""rank of a weight -> the axes that lead into one unit (output), which is the last."""


def unitwise_norm(x: Any, axis: Any = None) -> Any:
    """The norm of the weights of each unit, in the shape of ``x``.

    Args:
        axis: the axes over which a unit's weights stand; by default all but the last (of vectors: all).
    """
    if axis is None and fnp.squeeze(x).ndim > 1:
        if x.ndim not in _UNIT_AXES:
            raise ShapeError(f"unitwise_norm takes weights of 1 to 5 axes; found shape {x.shape}; pass axis=")
        axis = _UNIT_AXES[x.ndim]
    return fnp.broadcast_to(fnp.sqrt(fnp.sum(squared(x), axis=axis, keepdims=True)), x.shape)


def unitwise_clip(g_norm: Any, max_norm: Any, grad: Any, div_eps: Any = 1e-6) -> Any:
    """``grad`` scaled down to ``max_norm`` where ``g_norm`` is above it."""
    return fnp.where(g_norm < max_norm, grad, grad * (max_norm / fnp.maximum(g_norm, div_eps)))


def adaptive_grad_clip(clipping: Any, eps: Any = 1e-3, axis: Any = None) -> GradientTransformation:
    """Clips each unit's gradient to ``clipping`` times the norm of its weights (Brock et al., 2021).

    Args:
        eps: the least norm that weights count as.
        axis: see ``unitwise_norm``.
    """

    def leaf(u: Any, p: Any) -> Any:
        return unitwise_clip(unitwise_norm(u, axis), clipping * fnp.maximum(unitwise_norm(p, axis), eps), u)

    return stateless(lambda updates, params: tree.map(leaf, updates, required(params, "adaptive_grad_clip")))
