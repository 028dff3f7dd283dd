"""``fx.scipy.cluster.vq``: vector quantisation."""

from __future__ import annotations

from typing import Any

from ... import numpy as fnp
from ...errors import ShapeError
from ...numpy.core import operand, promote_dtype
from ...traceback import hide_frames
from ..special.core import Value

__all__ = ["vq"]


def vq(obs: Any, code_book: Any, check_finite: bool = True) -> tuple[Value, Value]:
    """The nearest code of every observation.

    Args:
        obs: shape (m, n), or (m,) for n = 1.
        code_book: shape (k, n), or (k,) for n = 1.
        check_finite: accepted for compatibility.

    Returns:
        ``(code, distance)``: positions in the code book (int32, the first of equally near ones) and Euclidean distances,
        both of shape (m,).

    Raises:
        ShapeError: the shapes do not fit.

    >>> vq(fnp.array([[1.1, 2.1], [5.0, 4.0]]), fnp.array([[1.0, 2.0], [3.0, 4.0]]))[0]
    Array([0, 1], dtype=int32)
    """
    x, codes = promote_dtype(operand(obs, "obs of vq"), operand(code_book, "code_book of vq"), to_float=True)
    x, codes = (v[:, None] if v.ndim == 1 else v for v in (x, codes))
    if x.ndim != 2 or codes.ndim != 2 or x.shape[1] != codes.shape[1] or not codes.shape[0]:
        raise ShapeError(
            f"vq: obs of shape {x.shape} and code_book of shape {codes.shape} must be (m, n) and (k, n), k > 0"
        )
    squares = fnp.sum((x[:, None, :] - codes[None, :, :]) ** 2, axis=-1)
    code = fnp.argmin(squares, axis=-1).astype("int32")
    return code, fnp.sqrt(fnp.take_along_axis(squares, code[:, None], axis=-1)[:, 0])


hide_frames(globals())
