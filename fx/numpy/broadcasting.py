"""The shape that arrays broadcast to, and whether they may."""

from __future__ import annotations

import warnings

from ..config import config
from ..errors import RankPromotionWarning, ShapeError
from ..sizes import broadcast_shapes as joint_shape
from ..trace import user_source

__all__ = ["broadcast_shapes", "check_ranks"]


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that arrays of these shapes broadcast to.

    Raises:
        ShapeError: there is none.
    """
    if all(len(s) == len(shapes[0]) and s == shapes[0] for s in shapes):
        return shapes[0] if shapes else ()
    try:
        return joint_shape(*shapes)
    except ValueError:
        raise ShapeError(
            f"Incompatible shapes for broadcasting: {', '.join(map(str, shapes))}; counted from the right, sizes must be"
            " equal or 1"
        ) from None


def check_ranks(*shapes: tuple[int, ...]) -> None:
    """Raises, or warns, as ``fx.config.numpy_rank_promotion`` says, where arrays have different numbers of dimensions.

    Raises:
        ShapeError: they do.
    """
    wish = config.numpy_rank_promotion
    ranked = [s for s in shapes if s]
    if wish == "allow" or len({len(s) for s in ranked}) < 2:
        return
    text = (
        f"operands of shapes {' and '.join(map(str, ranked))} have different numbers of dimensions"
        f" (fx.config.numpy_rank_promotion = {wish!r}). Write out what is meant: y[None, :], or fx.numpy.expand_dims."
    )
    if wish == "raise":
        raise ShapeError(text)
    warnings.warn(f"{text}\n  at {user_source()}", RankPromotionWarning, stacklevel=2)
