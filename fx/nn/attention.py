"""Attention, and products of block-scaled operands."""

from __future__ import annotations

import math
from typing import Any

from .. import dtypes
from .. import numpy as fnp
from ..api import stop_gradient
from ..errors import DTypeError, ShapeError
from ..numpy.core import as_type, as_value
from ..plans import planned
from ..primitives.linalg import dot_general
from ..scipy.special import logsumexp, softmax

__all__ = ["dot_product_attention", "scaled_matmul"]

Value = Any


def _with_batch(x: Any, name: str) -> Value:
    """An operand of attention with four axes, a missing batch axis in front."""
    x = as_value(x, f"{name} of dot_product_attention")
    if x.ndim not in (3, 4):
        raise ShapeError(f"dot_product_attention: {name} has 3 axes, or 4 with a batch axis in front; found {x.shape}")
    return x if x.ndim == 4 else fnp.expand_dims(x, 0)


def _check_operands(query: Value, key: Value, value: Value) -> None:
    if value.shape != key.shape:
        raise ShapeError(f"dot_product_attention: value has shape {value.shape}, key {key.shape}; they must be equal")
    batch, _, heads, size = key.shape
    if query.shape[0] != batch or query.shape[3] != size or not heads or query.shape[2] % heads:
        raise ShapeError(
            f"dot_product_attention: query of shape {query.shape} does not fit key of shape {key.shape}: batch (first) and"
            " size of a head (last) must be equal, and the number of query heads must be a multiple of that of key heads"
        )
    if not query.dtype == key.dtype == value.dtype or not dtypes.is_float(query.dtype):
        raise DTypeError(
            f"dot_product_attention takes query, key and value of one float dtype; found {query.dtype}, {key.dtype}, {value.dtype}"
        )


def _lengths(x: Any, batch: int, name: str) -> Value:
    x = as_value(x, f"{name} of dot_product_attention")
    if x.shape != (batch,) or not dtypes.is_integer(x.dtype):
        raise ShapeError(f"dot_product_attention: {name} must be integers of shape ({batch},); found {x.aval}")
    return x


def _allowed(
    shape: tuple[int, ...], mask: Value | None, causal: bool, window: Any, q_lengths: Value | None, kv_lengths: Value | None
) -> Value | None:  # fmt: skip
    """Which keys (last axis) each query (the axis before) looks at; None for all."""
    rows, columns = fnp.arange(shape[2])[:, None], fnp.arange(shape[3])[None, :]
    parts = [] if mask is None else [mask]
    if causal:
        parts.append(columns <= rows)
    if window is not None:
        left, right = (window, window) if isinstance(window, int) else window
        parts.append((rows - left <= columns) & (columns <= rows + right))
    if q_lengths is not None:
        parts.append(rows < q_lengths[:, None, None, None])
    if kv_lengths is not None:
        parts.append(columns < kv_lengths[:, None, None, None])
    if not parts:
        return None
    out = parts[0]
    for part in parts[1:]:
        out = out & part
    return fnp.broadcast_to(out, shape)


@planned
def dot_product_attention(
    query: Any, key: Any, value: Any, bias: Any = None, mask: Any = None, *, scale: Any = None, is_causal: bool = False,
    query_seq_lengths: Any = None, key_value_seq_lengths: Any = None, local_window_size: Any = None,
    implementation: str | None = None, return_residual: bool = False,
) -> Any:  # fmt: skip
    """softmax(scale * query key^T + bias) value, for every head.

    With fewer heads of keys than of queries, consecutive queries share one (grouped-query attention).  The logits and
    their softmax are computed at least in float32.  A query that may look at no key gets the mean of all values.

    Args:
        query: (batch, targets, heads, size), or without batch.
        key, value: (batch, sources, key heads, size), or without batch; heads is a multiple of key heads.
        bias: added to the logits; broadcasts to (batch, heads, targets, sources).
        mask: boolean, True where a query looks at a key; broadcasts as ``bias`` does.
        scale: None means 1 / sqrt(size).
        is_causal: query t looks at the keys up to t alone.
        query_seq_lengths, key_value_seq_lengths: (batch,) integers: how many of the targets and sources there are, the
            rest being padding. The outputs of padded queries are 0.
        local_window_size: ``(left, right)``, or an int for both: query t looks at the keys from t - left to t + right.
        implementation: None or "xla", accepted as in JAX; there is one.
        return_residual: return the logsumexp of the logits too, of shape (batch, targets, heads), as a constant.

    Returns:
        Array of the shape of ``query``; with ``return_residual`` a pair.

    >>> x = fnp.ones((1, 3, 2, 4))
    >>> dot_product_attention(x, x, x, is_causal=True).shape
    (1, 3, 2, 4)

    Source: Vaswani et al., "Attention is all you need", 2017; Ainslie et al., "GQA", 2023.
    """
    if implementation not in (None, "xla"):
        raise ShapeError(f"dot_product_attention: implementation={implementation!r} is for a GPU; leave it out")
    q, k, v = _with_batch(query, "query"), _with_batch(key, "key"), _with_batch(value, "value")
    _check_operands(q, k, v)
    batch, targets, heads, size = q.shape
    groups, scale = heads // k.shape[2], 1 / math.sqrt(size) if scale is None else scale
    lengths = [
        None if x is None else _lengths(x, batch, n)
        for x, n in ((query_seq_lengths, "query_seq_lengths"), (key_value_seq_lengths, "key_value_seq_lengths"))
    ]
    wide = dtypes.promote_types(q.dtype, dtypes.float32)
    grouped = fnp.reshape(q, (batch, targets, heads // groups, groups, size))
    products = dot_general(
        grouped, k, (((4,), (3,)), ((0, 2), (0, 2))), None, wide
    )  # (batch, key heads, targets, groups, sources)
    shape = (batch, heads, targets, k.shape[1])
    logits = fnp.reshape(fnp.swapaxes(products, 2, 3), shape) * scale
    if bias is not None:
        logits = as_type(logits + _with_batch(bias, "bias"), wide)
    mask = None if mask is None else _with_batch(mask, "mask")
    if mask is not None and not dtypes.is_bool(mask.dtype):
        raise DTypeError(f"mask of dot_product_attention must be boolean; found {mask.dtype}. Add numbers as bias.")
    allowed = _allowed(shape, mask, is_causal, local_window_size, *lengths)
    if allowed is not None:
        logits = fnp.where(allowed, logits, -0.7 * fnp.finfo(dtypes.float32).max)
    weights = as_type(softmax(logits, axis=-1), k.dtype)
    weights = fnp.reshape(weights, (batch, heads // groups, groups, *shape[2:]))
    mixed = dot_general(weights, v, (((4,), (1,)), ((0, 1), (0, 2))))  # (batch, key heads, groups, targets, size)
    out = fnp.reshape(fnp.transpose(mixed, (0, 3, 1, 2, 4)), q.shape)
    if lengths[0] is not None:
        out = fnp.where(fnp.arange(targets)[:, None, None] < lengths[0][:, None, None, None], out, 0)
    out = fnp.reshape(out, as_value(query).shape)
    if not return_residual:
        return out
    total = stop_gradient(as_type(logsumexp(logits, axis=-1), k.dtype))
    return out, fnp.reshape(fnp.swapaxes(total, 1, 2), out.shape[:-1])


def scaled_matmul(
    lhs: Any, rhs: Any, lhs_scales: Any, rhs_scales: Any, preferred_element_type: Any = dtypes.float32
) -> Value:
    """The products of matrices whose blocks along the contracted axis have scales of their own.

    out[b, m, n] = sum_k lhs[b, m, k] s[b, m, k // block] rhs[b, n, k] t[b, n, k // block]

    Args:
        lhs: (B, M, K).        lhs_scales: s, of shape (B, M, K / block).
        rhs: (B, N, K).        rhs_scales: t, of shape (B, N, K / block).
        preferred_element_type: dtype of the result.

    >>> ones, half = fnp.ones((1, 2, 4)), fnp.full((1, 2, 2), 0.5)
    >>> scaled_matmul(ones, ones, half, half)
    Array([[[1., 1.],
            [1., 1.]]], dtype=float32)
    """
    xs = [as_value(x, "an operand of scaled_matmul") for x in (lhs, rhs, lhs_scales, rhs_scales)]
    a, b, s, t = xs
    fits = all(x.ndim == 3 for x in xs) and (a.shape[0], a.shape[2]) == (b.shape[0], b.shape[2])
    if not fits or s.shape[:2] != a.shape[:2] or t.shape[:2] != b.shape[:2] or s.shape[2] != t.shape[2]:
        raise ShapeError(
            f"scaled_matmul takes (B, M, K), (B, N, K) and scales (B, M, L), (B, N, L); found {', '.join(str(x.shape) for x in xs)}"
        )
    if not s.shape[2] or a.shape[2] % s.shape[2]:
        raise ShapeError(f"scaled_matmul: {s.shape[2]} blocks do not divide the contracted size {a.shape[2]}")
    d = dtypes.promote_types(dtypes.float32, dtypes.canonical(preferred_element_type))
    block = a.shape[2] // s.shape[2]
    left, right = [as_type(x, d) * fnp.repeat(as_type(y, d), block, axis=-1) for x, y in ((a, s), (b, t))]
    return as_type(dot_general(left, right, (((2,), (2,)), ((0,), (0,)))), preferred_element_type)
